# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which hosts are asked, in which order and how: hosts.toml as containerd reads it, proxies, explain, names."""
import os
import ssl

import pytest

from conftest import PASSWORD, USER, RealRegistry, run
from server import MANIFEST, Registry, digest_of


@pytest.fixture
def mirrors():
    made = [Registry(), Registry()]
    yield made
    for mirror in made:
        mirror.close()


@pytest.fixture
def certs(tmp_path):
    """certs (server, text): writes a hosts.toml; returns the directory for HostsDirs."""
    def write(server, text):
        directory = tmp_path / "certs.d" / server
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "hosts.toml").write_text(text)
        return tmp_path / "certs.d"
    return write


def test_mirrors_in_order(tool, faulty, mirrors, certs):
    digest = faulty.add_image()
    directory = certs("registry.example", f"""
server = "{faulty.url}"
[host."{mirrors[0].url}"]
  capabilities = ["pull", "resolve"]
[host."{mirrors[1].url}"]
  capabilities = ["pull"]
[host."{mirrors[1].url}".header]
  X-One = "1"
  X-Two = ["2", "3"]
""")
    # The first does not have it; the second is not asked for tags; the server has it.
    assert tool.good("resolve", "registry.example/a/image:1", HostsDirs=directory).split()[1] == digest
    assert [len(m.requests) for m in mirrors] == [1, 0] and len(faulty.requests) == 1
    # A mirror is told which server is meant, the server itself is not.
    assert "ns=registry.example" in mirrors[0].requests[0][1] and "ns=" not in faulty.requests[0][1]
    # By digest both mirrors are asked, with the headers that are theirs.
    mirrors[1].add_image()
    tool.good("manifest", f"registry.example/a/image@{digest}", HostsDirs=directory)
    assert len(faulty.requests) == 1
    assert mirrors[1].requests[0][2]["X-One"] == "1" and mirrors[1].requests[0][2]["X-Two"] == "2, 3"
    # A mirror that breaks, lies or wants credentials does no harm.
    for status, body in ((500, b""), (401, b""), (403, b""), (200, b"rubbish")):
        @mirrors[0].on("*", "/manifests/")
        def answer(handler, match, status=status, body=body):
            handler.answer(status, body)
        assert tool.good("resolve", "registry.example/a/image:1", HostsDirs=directory, Attempts=1).split()[1] == digest, status


def test_blob_moves_to_the_next_host(tool, faulty, mirrors, certs):
    data = os.urandom(1_000_000)
    digest = faulty.add_blob(data)

    @mirrors[0].on("GET", "/blobs/")
    def half(handler, match):
        if "Range" in handler.headers:
            handler.answer(500)
            return
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[:400_000])
        handler.cut()

    directory = certs("registry.example", f'server = "{faulty.url}"\n[host."{mirrors[0].url}"]\n')
    assert tool("blob", "registry.example/a/b", digest, len(data), 0, 0, HostsDirs=directory, Attempts=2).stdout == data
    assert int(faulty.requests[0][2]["Range"].split("=")[1].split("-")[0]) > 0


def test_all_hosts_are_told(tool, faulty, mirrors, certs):
    directory = certs("registry.example", f'server = "{faulty.url}"\n[host."{mirrors[0].url}"]\n[host."{mirrors[1].url}"]\n')
    said = tool.bad("resolve", "registry.example/a/image:1", HostsDirs=directory)
    assert said.startswith("NotFound: ") and all(r.name in said for r in (faulty, *mirrors)), said


def test_push_goes_to_the_server(tool, faulty, mirrors, certs):
    (tool.directory / "manifest").write_text("{}")
    directory = certs("registry.example", f'server = "{faulty.url}"\n[host."{mirrors[0].url}"]\ncapabilities = ["pull", "resolve"]\n')
    tool.good("push-manifest", "registry.example/a/b", tool.directory / "manifest", MANIFEST, "1", HostsDirs=directory)
    assert mirrors[0].requests == [] and faulty.seen("PUT", "/v2/a/b/manifests/1")


def test_paths(tool, faulty, certs):
    digest = faulty.add_image()
    data = faulty.manifests["a/image", "1"]

    @faulty.on("*", "^/(own/path|team/v2)/a/image/manifests/1")
    def serve(handler, match):
        handler.answer(200, data, Content_Type=MANIFEST, Docker_Content_Digest=digest)

    for url, override in ((f"{faulty.url}/own/path", "true"), (f"{faulty.url}/team", "false"), (f"{faulty.url}/team/v2/", "false")):
        directory = certs("registry.example", f'server = "{url}"\noverride_path = {override}\n')
        assert tool.good("resolve", "registry.example/a/image:1", HostsDirs=directory).split()[1] == digest, url


def test_directories(tool, faulty, tmp_path, certs):
    """_default, host_port_, and the first directory that knows the server."""
    digest = faulty.add_image()
    for name in ("_default", "registry.example", "registry.example_5000_", "registry.example:5000"):
        directory = certs(name, f'server = "{faulty.url}"\n')
        reference = "registry.example:5000/a/image:1" if "5000" in name else "registry.example/a/image:1"
        assert tool.good("resolve", reference, HostsDirs=f"/nonexistent {directory}").split()[1] == digest
        assert tool.good("resolve", reference, hosts_dir=directory).split()[1] == digest
        os.rename(directory, tmp_path / f"old-{name}")


@pytest.mark.parametrize("text,word", [
    ("server = 5", "line 1: server must be a string, not a number"), ("server = ", "line 1"), ("[host.\"x\"\n", "line 1"),
    ("[host]\n\"http://a\" = 5", "line 2"), ("[host.\"ftp://x\"]", "no URL of a registry"), ("[host.\"http://u:p@x\"]", "no URL"),
    ("capabilities = [\"fly\"]", "none of pull, resolve, push, referrers"), ("ca = \"/nonexistent.pem\"", "/nonexistent.pem"),
    ("skip_verify = \"yes\"", "must be true or false"), ("client = [[1]]", "client"), ("[header]\n\"X\\ny\" = \"1\"", "can't be sent"),
    ("[header]\nX = \"a\\r\\nY: b\"", "can't be sent"), ("dial_timeout = \"soon\"", "no duration"), ("a = 1\na = 2", "line 2: \"a\" is there twice"),
])
def test_wrong_files(tool, certs, text, word):
    directory = certs("registry.example", text)
    said = tool.bad("resolve", "registry.example/a/b", HostsDirs=directory)
    assert said.startswith("InvalidArgument: ") and word in said and "hosts.toml" in said, said


def test_client_certificate(tool, pki, certs, faulty):
    secure = Registry()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / "server.crt", pki / "server.key")
    context.load_verify_locations(pki / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    secure.server.socket = context.wrap_socket(secure.server.socket, server_side=True)
    digest = secure.add_image()
    text = f'server = "https://{secure.name}"\nca = "{pki}/ca.crt"\n'
    assert tool("resolve", "registry.example/a/image:1", HostsDirs=certs("registry.example", text)).returncode == 1
    directory = certs("registry.example", text + f'client = [["{pki}/client.crt", "{pki}/client.key"]]\n')
    assert tool.good("resolve", "registry.example/a/image:1", HostsDirs=directory).split()[1] == digest
    secure.close()


@pytest.fixture(scope="module")
def second_pki(tmp_path_factory):
    """Another authority, and a client's certificate of it."""
    work = tmp_path_factory.mktemp("second")
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=Another authority", "-keyout", "ca.key",
        "-out", "ca.crt", "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=keyCertSign", cwd=work)
    run("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=other", "-keyout", "client.key", "-out", "client.csr", cwd=work)
    (work / "ext").write_text("extendedKeyUsage=clientAuth")
    run("openssl", "x509", "-req", "-in", "client.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30", "-extfile", "ext",
        "-out", "client.crt", cwd=work)
    (work / "both.pem").write_bytes((work / "client.crt").read_bytes() + (work / "client.key").read_bytes())
    return work


def test_several_client_certificates(tool, pki, second_pki, certs, tmp_path):
    """Each registry gets the one of the authority that it names."""
    for authority in (pki, second_pki):
        work = tmp_path / authority.name
        work.mkdir()
        secure = RealRegistry(work, tls=(pki / "server.crt", pki / "server.key"), client_ca=authority / "ca.crt")
        text = f'server = "https://{secure.name}"\nca = "{pki}/ca.crt"\n'
        first, other = f'["{pki}/client.crt", "{pki}/client.key"]', f'["{second_pki}/both.pem"]'
        for pairs in (f"[{first}, {other}]", f"[{other}, {first}]"):
            directory = certs("registry.example", text + f"client = {pairs}\n")
            assert tool.bad("resolve", "registry.example/a/image:1", HostsDirs=directory).startswith("NotFound: "), (authority, pairs)
        # Files alone; and a directory as docker has it.
        if authority is second_pki:
            directory = certs("registry.example", text + f'client = "{second_pki}/both.pem"\n')
            assert tool.bad("resolve", "registry.example/a/image:1", HostsDirs=directory).startswith("NotFound: ")
        docker = tmp_path / "docker.d" / secure.name
        docker.mkdir(parents=True)
        for name, source in (("ca.crt", pki / "ca.crt"), ("a.cert", pki / "client.crt"), ("a.key", pki / "client.key"),
                             ("b.cert", second_pki / "client.crt"), ("b.key", second_pki / "client.key")):
            (docker / name).write_bytes(source.read_bytes())
        assert tool.bad("resolve", f"{secure.name}/a/image:1", HostsDirs=tmp_path / "docker.d").startswith("NotFound: ")
        only = second_pki if authority is pki else pki
        directory = certs("registry.example", text + f'client = [["{only}/client.crt", "{only}/client.key"]]\n')
        assert tool.bad("resolve", "registry.example/a/image:1", HostsDirs=directory, Attempts=1, ConnectMs=2000, AnswerMs=2000,
                        StallMs=2000).startswith(
            ("Unavailable: ", "DeadlineExceeded: "))
        secure.close()


def test_referrers_capability(tool, faulty, mirrors, certs):
    """A host that is not said to keep referrers is not asked for them; the tag stands in where none is."""
    subject = digest_of(b"subject")
    directory = certs("registry.example", f'server = "{faulty.url}"\n[host."{mirrors[0].url}"]\ncapabilities = ["pull", "resolve"]\n'
                                          f'[host."{mirrors[1].url}"]\ncapabilities = ["pull", "resolve", "referrers"]\n')
    assert tool.good("referrers", "registry.example/a/b", subject, HostsDirs=directory) == ""
    assert [len(one.seen("GET", "/referrers/")) for one in (*mirrors, faulty)] == [0, 1, 1]
    directory = certs("registry.example", f'server = "{faulty.url}"\ncapabilities = ["pull", "resolve"]\nmade = 2024-01-31 10:00:00Z\n')
    faulty.requests.clear()
    assert tool.good("referrers", "registry.example/a/b", subject, HostsDirs=directory) == ""
    assert not faulty.seen("GET", "/referrers/") and faulty.seen("GET", "/manifests/sha256-")


def test_plain_http_only_to_loopback(tool):
    """Nothing listens there; what counts is how it would be asked."""
    assert "'url': <'https://registry.invalid/v2'>" in tool.good("explain", "registry.invalid/a/b")
    assert "'url': <'http://registry.invalid/v2'>" in tool.good("explain", "registry.invalid/a/b", plain_http="yes")
    assert "'url': <'http://127.0.0.1:1/v2'>" in tool.good("explain", "127.0.0.1:1/a/b")
    assert "'url': <'http://[::1]:1/v2'>" in tool.good("explain", "[::1]:1/a/b")
    assert "'url': <'https://127.0.0.1:1/v2'>" in tool.good("explain", "127.0.0.1:1/a/b", plain_http="no")


def test_explain(tool, faulty, mirrors, certs):
    digest = faulty.add_image()
    directory = certs("registry.example", f'server = "{faulty.url}"\n[host."{mirrors[0].url}"]\ncapabilities = ["pull"]\n')
    said = tool.good("explain", "registry.example/a/image:1", HostsDirs=directory, user=USER, password=PASSWORD)
    first, second = said.split("}, {")
    assert mirrors[0].name in first and "not asked for tags" in first and "'mirror': <true>" in first and "line 2" in first
    assert digest in second and "'status': <uint32 200>" in second and "maria from the call" in second and PASSWORD not in said
    assert mirrors[0].requests == [] and len(faulty.requests) == 1
    assert "Connection refused" in tool.good("explain", "127.0.0.1:1/a/b")


def test_proxy(tool, faulty):
    """The proxy of the environment or of the configuration is asked, but never for loopback."""
    seen = []

    @faulty.on("*", "^http://registry.invalid/v2/")
    def proxied(handler, match):
        seen.append((handler.path, handler.headers.get("Proxy-Authorization")))
        handler.answer(404)

    for settings in ({"env": {"http_proxy": faulty.url}}, {"Proxy": faulty.name}):
        assert "manifest latest" in tool.bad("manifest", "registry.invalid/a/b", plain_http="yes", **settings)
    assert len(seen) == 2
    assert f"'proxy': <'{faulty.url}/'>" in tool.good("explain", "registry.invalid/a/b", plain_http="yes",
                                                     Proxy=f"http://user:secret@{faulty.name}")
    said = tool.good("explain", "registry.invalid/a/b", plain_http="yes", Proxy=faulty.url, NoProxy="example.com,.invalid")
    assert "'proxy': <''>" in said
    assert "'proxy': <''>" in tool.good("explain", "127.0.0.1:1/a/b", Proxy=faulty.url)


def test_names(tool, faulty):
    assert tool.good("complete", "x", ShortNames="docker.io/library quay.io") .split() == [
        "docker.io/library/x:latest", "quay.io/x:latest"]
    assert "no image reference" in tool.bad("complete", "X")
    assert tool.bad("resolve", f"{faulty.name}/a/b", "bad tag").startswith("InvalidArgument: ")
    assert tool.bad("has", f"{faulty.name}/a/b", "sha256:1").startswith("InvalidArgument: ")
    assert faulty.requests == []


def test_foreign_layers(tool, faulty, mirrors):
    data = os.urandom(1000)
    digest = mirrors[0].add_blob(data)
    url = f"{mirrors[0].url}/v2/other/blobs/{digest}"
    assert tool("blob", f"{faulty.name}/a/b", digest, 1000, 0, 0, url, user=USER, password=PASSWORD).stdout == data
    assert "Authorization" not in mirrors[0].requests[0][2] and "ns=" not in mirrors[0].requests[0][1]
    assert tool.bad("blob", f"{faulty.name}/a/b", digest, 1000, 0, 0, "http://registry.example/x").startswith("InvalidArgument: ")
