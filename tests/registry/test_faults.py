# SPDX-License-Identifier: LGPL-2.1-or-later
"""What bad registries and bad networks do. Every error says which host, which reference and why; memory stays bounded."""
import os
import random
import re
import socket
import subprocess
import time

import pytest

from conftest import MODULE, PASSWORD, TOOL, USER
from server import INDEX, MANIFEST, Registry, digest_of

SANITIZED = "UNDER_SANITIZER" in os.environ
# In kB, of the whole process. A sanitizer's own memory says nothing.
MEMORY_LIMIT = 40_000


def assert_says(said, kind, registry, name, *words):
    assert said.startswith(f"{kind}: "), said
    for word in (registry.name, name, *words):
        assert word in said, (word, said)
    assert "\n" not in said and len(said) < 3000


def memory(result):
    return int(re.search(rb"memory (\d+)", result.stderr)[1])


def test_cut_at_random_bytes(tool, faulty):
    """A blob arrives whole although its transfer breaks again and again; no byte is fetched twice."""
    data = os.urandom(2_000_000)
    digest = faulty.add_blob(data)
    seed = random.randrange(2 ** 32)
    rng = random.Random(seed)
    sent = []

    @faulty.on("GET", "/blobs/")
    def cut(handler, match):
        start = int(re.match(r"bytes=(\d+)-", handler.headers.get("Range") or "bytes=0-")[1])
        n = rng.randrange(1, 300_000)
        sent.append(min(n, len(data) - start))
        handler.send_response(206 if "Range" in handler.headers else 200)
        handler.send_header("Content-Length", str(len(data) - start))
        if "Range" in handler.headers:
            handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        handler.end_headers()
        handler.wfile.write(data[start:start + n])
        if start + n < len(data):
            handler.cut()

    assert tool("blob", f"{faulty.name}/a/b", digest, len(data), 0, 0).stdout == data, f"seed {seed}"
    assert len(sent) > 3 and sum(sent) == len(data), (seed, sent)


def test_cut_for_ever(tool, faulty):
    digest = faulty.add_blob(b"x" * 1000)

    @faulty.on("GET", "/blobs/")
    def cut(handler, match):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.cut()

    said = tool.bad("blob", f"{faulty.name}/a/b", digest, 1000, 0, 0)
    assert_says(said, "Unavailable", faulty, f"{faulty.name}/a/b:latest", f"blob {digest} at byte 0")
    assert len(faulty.seen("GET", "/blobs/")) == 4


def test_cut_before_the_answer(tool, faulty):
    digest = faulty.add_image()
    left = [3]

    @faulty.on("*", "/manifests/")
    def cut(handler, match):
        left[0] -= 1
        return handler.cut() if left[0] >= 0 else False

    assert tool.good("resolve", f"{faulty.name}/a/image:1").split()[1] == digest
    left[0] = 1000
    assert_says(tool.bad("resolve", f"{faulty.name}/a/image:1"), "Unavailable", faulty, "a/image:1")


def test_resume_without_ranges(tool, faulty):
    """A host that does not serve ranges: the bytes before are read again and dropped; a part is refused."""
    data = os.urandom(500_000)
    digest = faulty.add_blob(data)
    first = [True]

    @faulty.on("GET", "/blobs/")
    def serve(handler, match):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[:200_000] if first[0] else data)
        if first[0]:
            first[0] = False
            handler.cut()

    assert tool("blob", f"{faulty.name}/a/b", digest, len(data), 0, 0).stdout == data
    assert not first[0]
    assert_says(tool.bad("blob", f"{faulty.name}/a/b", digest, len(data), 0, 10), "NotImplemented", faulty, "a/b", "ranges")


def test_wrong_range(tool, faulty):
    digest = faulty.add_blob(b"0123456789")

    @faulty.on("GET", "/blobs/")
    def serve(handler, match):
        handler.answer(206, b"01234", Content_Range="bytes 0-4/10")

    assert_says(tool.bad("blob", f"{faulty.name}/a/b", digest, 10, 5, 5), "Unavailable", faulty, "a/b", "another range")


def test_wrong_size(tool, faulty):
    digest = faulty.add_blob(b"0123456789")
    assert_says(tool.bad("blob", f"{faulty.name}/a/b", digest, 11, 0, 0), "DataLoss", faulty, digest, "10 bytes there instead of 11")
    assert_says(tool.bad("blob", f"{faulty.name}/a/b", digest, 9, 2, 3), "DataLoss", faulty, digest)


def test_wrong_digest_of_a_manifest(tool, faulty):
    digest = faulty.add_image()
    other = faulty.add_manifest("a/image", "other", {"schemaVersion": 2, "manifests": []}, INDEX)
    faulty.manifests["a/image", digest] = faulty.manifests["a/image", other]
    said = tool.bad("manifest", f"{faulty.name}/a/image@{digest}")
    assert_says(said, "DataLoss", faulty, digest, f"it should be {digest} and is {other}")

    @faulty.on("GET", "/manifests/1")
    def lie(handler, match):
        handler.answer(200, b'{"schemaVersion": 2, "manifests": []}', Content_Type=INDEX, Docker_Content_Digest=digest)

    assert_says(tool.bad("manifest", f"{faulty.name}/a/image:1"), "DataLoss", faulty, "a/image:1", digest)


@pytest.mark.parametrize("body,kind", [
    (b"", "InvalidArgument"), (b"{", "InvalidArgument"), (b"null", "InvalidArgument"), (b"[1]", "InvalidArgument"),
    (b'{"a": ' * 3000, "InvalidArgument"), (b"\xff\xfe{}", "InvalidArgument"), (b"{}", "InvalidArgument"),
    (b'{"schemaVersion": 1, "fsLayers": []}', "NotImplemented"), (b"<html>log in</html>", "InvalidArgument"),
    (b'{"schemaVersion": {}}', "InvalidArgument"), (b'{"schemaVersion": 2, "config": {}, "x": 1e999}', "InvalidArgument"),
], ids=range(11))
def test_malformed_manifests(tool, faulty, body, kind):
    @faulty.on("*", "/manifests/")
    def serve(handler, match):
        handler.answer(200, body, Content_Type="application/json")

    for command in ("manifest", "resolve"):
        assert_says(tool.bad(command, f"{faulty.name}/a/b:1"), kind, faulty, "a/b:1", "manifest 1")


def test_content_types(tool, faulty):
    """A registry that does not say what a manifest is; the document does."""
    for document, expected in (({"schemaVersion": 2, "manifests": []}, INDEX),
                               ({"schemaVersion": 2, "config": {}, "layers": []}, MANIFEST),
                               ({"schemaVersion": 2, "mediaType": "x/own", "config": {}}, "x/own")):
        faulty.add_manifest("a/b", "1", document, "text/plain; charset=utf-8")
        assert tool.good("resolve", f"{faulty.name}/a/b:1").split()[0] == expected
    faulty.add_manifest("a/b", "old", {"schemaVersion": 1}, "application/vnd.docker.distribution.manifest.v1+prettyjws")
    said = tool.bad("resolve", f"{faulty.name}/a/b:old")
    assert_says(said, "NotImplemented", faulty, "a/b:old", "schema 1")
    assert "manifest.v1+json" in tool.good("manifest", f"{faulty.name}/a/b:old", schema1="yes")


def test_endless_bodies(tool, faulty):
    @faulty.on("GET", "/(manifests|tags|referrers|token)/|/errors/")
    def endless(handler, match):
        handler.send_response(500 if "errors" in handler.path else 200)
        handler.send_header("Content-Type", "application/json")
        handler.end_headers()
        handler.close_connection = True
        chunk = b'{"tags": ["' + b"x" * 1_000_000
        try:
            while True:
                handler.wfile.write(chunk)
        except OSError:
            pass

    for command in ("manifest", "tags"):
        result = tool(command, f"{faulty.name}/a/b:1", *(["10"] if command == "tags" else []), memory="yes")
        assert result.returncode == 1
        assert_says(result.stderr.decode().splitlines()[0], "ResourceExhausted", faulty, "a/b", "larger than 4194304 bytes")
        assert SANITIZED or memory(result) < MEMORY_LIMIT
    assert tool("manifest", f"{faulty.name}/errors/b:1", Attempts=1).returncode == 1


def test_endless_blob(tool, faulty):
    """Only what was asked for is taken."""
    @faulty.on("GET", "/blobs/")
    def endless(handler, match):
        handler.send_response(200)
        handler.end_headers()
        handler.close_connection = True
        try:
            while True:
                handler.wfile.write(b"x" * 1_000_000)
        except OSError:
            pass

    result = tool("blob", f"{faulty.name}/a/b", digest_of(b""), 3_000_000, 0, 0, memory="yes")
    assert result.stdout == b"x" * 3_000_000 and (SANITIZED or memory(result) < MEMORY_LIMIT)


def test_large_blob_in_little_memory(tool, faulty):
    data = bytes(200_000_000)
    digest = faulty.add_blob(data)
    result = tool("blob", f"{faulty.name}/a/b", digest, len(data), "sum", 0, memory="yes")
    assert result.stdout.decode().strip() == digest
    assert SANITIZED or memory(result) < MEMORY_LIMIT


def test_endless_header(tool, faulty):
    @faulty.on("*", "/manifests/")
    def endless(handler, match):
        handler.close_connection = True
        try:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
            for i in range(1_000_000):
                handler.wfile.write(b"X-%d: %s\r\n" % (i, b"y" * 1000))
        except OSError:
            pass

    result = tool("manifest", f"{faulty.name}/a/b:1", memory="yes", Attempts=2)
    assert result.returncode == 1 and faulty.name.encode() in result.stderr
    assert SANITIZED or memory(result) < MEMORY_LIMIT
    @faulty.on("*", "/manifests/")
    def many(handler, match):
        handler.answer(200, {}, **{f"X_{i}": "y" for i in range(300)})

    assert "more than 200 lines" in tool.bad("manifest", f"{faulty.name}/a/b:1", Attempts=1)


def test_slow_loris(tool, faulty):
    def drip(handler, data):
        try:
            for byte in data:
                handler.wfile.write(bytes([byte]))
                time.sleep(0.1)
        except OSError:
            pass

    @faulty.on("*", "/manifests/")
    def slow_header(handler, match):
        drip(handler, b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 1000)

    @faulty.on("GET", "/blobs/")
    def slow_body(handler, match):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        drip(handler, b"x" * 1000)

    settings = {"AnswerMs": 400, "StallMs": 400, "Attempts": 1}
    assert_says(tool.bad("resolve", f"{faulty.name}/a/b:1", **settings), "DeadlineExceeded", faulty, "a/b:1", "no answer came in time")
    assert_says(tool.bad("blob", f"{faulty.name}/a/b", digest_of(b""), 1000, 0, 0, **settings), "DeadlineExceeded", faulty, "a/b",
                "slower than")


def test_no_connection(tool):
    """An address that takes the connection and never says anything, and one that takes none."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        name = f"127.0.0.1:{listener.getsockname()[1]}"
        assert tool.bad("resolve", f"{name}/a/b", AnswerMs=300).startswith(f"DeadlineExceeded: {name}: {name}/a/b:latest: ")
    assert tool.bad("resolve", f"{name}/a/b").startswith(f"Unavailable: {name}: {name}/a/b:latest: ")


def test_cancel(tool, faulty):
    @faulty.on("*", "/manifests/")
    def hang(handler, match):
        time.sleep(3)

    start = time.monotonic()
    assert tool.bad("resolve", f"{faulty.name}/a/b", cancel_ms=200).startswith("Cancelled: ")
    @faulty.on("*", "/manifests/")
    def later(handler, match):
        handler.answer(503, Retry_After="30")

    assert tool.bad("resolve", f"{faulty.name}/a/b", cancel_ms=200).startswith("Cancelled: ")
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_passing_failures(tool, faulty, status):
    digest = faulty.add_image()
    times = []

    @faulty.on("*", "/manifests/")
    def later(handler, match):
        times.append(time.monotonic())
        return handler.answer(status, Retry_After="1") if len(times) == 1 else False

    assert tool.good("resolve", f"{faulty.name}/a/image:1").split()[1] == digest
    assert len(times) == 2 and times[1] - times[0] >= 0.9


def test_lasting_failures(tool, faulty):
    @faulty.on("*", "/manifests/")
    def later(handler, match):
        handler.answer(429 if "b" in handler.path else 503, {"errors": [{"code": "TOOMANYREQUESTS", "message": "slow\r\ndown\x1b[31m"}]},
                       Retry_After="3600" if "/w/" in handler.path else None)

    said = tool.bad("resolve", f"{faulty.name}/a/b:1")
    assert_says(said, "ResourceExhausted", faulty, "a/b:1", "429")
    assert len(faulty.seen("HEAD", "/a/b/")) == 4
    said = tool.bad("manifest", f"{faulty.name}/a/b:1")
    assert_says(said, "ResourceExhausted", faulty, "TOOMANYREQUESTS: slow  down")
    assert "\x1b" not in said
    assert_says(tool.bad("resolve", f"{faulty.name}/w/b:1"), "ResourceExhausted", faulty, "come again in 3600 s")
    assert_says(tool.bad("manifest", f"{faulty.name}/a/c:1"), "Unavailable", faulty, "503")


def test_401_loops(tool, faulty):
    tokens = []

    @faulty.on("GET", "^/token")
    def token(handler, match):
        tokens.append(handler.headers.get("Authorization"))
        handler.answer(200, {"token": f"t{len(tokens)}"})

    @faulty.on("*", "/manifests/")
    def never(handler, match):
        handler.answer(401, WWW_Authenticate=f'Bearer realm="{faulty.url}/token",service="s",scope="repository:evil:push"')

    assert_says(tool.bad("resolve", f"{faulty.name}/a/b:1", user=USER, password=PASSWORD), "Unauthenticated", faulty, "a/b:1", "401")
    assert 0 < len(tokens) <= 8
    # The scope is ours, whatever the challenge says.
    assert all("evil" not in path for _, path, _ in faulty.seen("GET", "^/token"))
    assert len(faulty.requests) < 20

    @faulty.on("*", "/manifests/")
    def basic(handler, match):
        handler.answer(401, WWW_Authenticate="Basic realm=x")

    assert_says(tool.bad("resolve", f"{faulty.name}/a/b:1", user=USER, password=PASSWORD), "Unauthenticated", faulty,
                "does not take the credentials of maria from the call")


@pytest.mark.parametrize("answer", [
    b"", b"{", b"[]", b'{"token": ""}', b'{"token": 5}', b'{"token": "a\\r\\nX-Evil: yes"}', b'{"access_token": "\\u0000"}',
    b'{"token": "' + b"x" * 100_000 + b'"}', b"x" * 1_000_000,
], ids=range(9))
def test_bad_tokens(tool, faulty, answer):
    @faulty.on("GET", "^/token")
    def token(handler, match):
        handler.answer(200, answer)

    @faulty.on("*", "/manifests/")
    def ask(handler, match):
        assert "X-Evil" not in handler.headers
        handler.answer(401, WWW_Authenticate=f'Bearer realm="{faulty.url}/token"')

    said = tool.bad("resolve", f"{faulty.name}/a/b:1")
    assert faulty.name in said and f"token service {faulty.url}/token: " in said


@pytest.mark.parametrize("challenge", ["", "Bearer", "Bearer realm=", "Bearer realm=\"ftp://x/\"", "Bearer realm=\"nothing\"",
                                       "Negotiate", "Bearer realm=\"http://registry.example/token\""])
def test_bad_challenges(tool, faulty, challenge):
    @faulty.on("*", "/manifests/")
    def ask(handler, match):
        handler.answer(401, WWW_Authenticate=challenge)

    said = tool.bad("resolve", f"{faulty.name}/a/b:1", user=USER, password=PASSWORD)
    assert said.startswith(("Unauthenticated: ", "PermissionDenied: ")) and faulty.name in said, said


def test_token_expiry(tool, faulty):
    """A token that the registry takes no longer is renewed once."""
    digest = faulty.add_image()
    tokens = []

    @faulty.on("GET", "^/token")
    def token(handler, match):
        tokens.append(1)
        handler.answer(200, {"token": f"t{len(tokens)}", "expires_in": 300})

    @faulty.on("*", "/manifests/|/blobs/")
    def ask(handler, match):
        valid = "t1" if "manifests" in handler.path else "t2"
        if handler.headers.get("Authorization") != f"Bearer {valid}":
            handler.answer(401, WWW_Authenticate=f'Bearer realm="{faulty.url}/token"')
            return None
        return False

    tool.good("resolve", f"{faulty.name}/a/image:1")
    layer = digest_of(b"layer" * 1000)
    tokens.clear()
    assert tool("blob", f"{faulty.name}/a/image", layer, 5000, 0, 0).stdout == b"layer" * 1000
    assert len(tokens) == 2 and digest


def test_redirects(tool, faulty):
    """To another host nothing goes along; the blob comes all the same."""
    other = Registry(host="127.0.0.2")
    data = os.urandom(100_000)
    digest = other.add_blob(data)

    @faulty.on("GET", "/blobs/")
    def away(handler, match):
        if handler.headers.get("Authorization") is None:
            handler.answer(401, WWW_Authenticate="Basic realm=x")
        else:
            handler.answer(307, Location=f"{other.url}{handler.path}?signed=1")

    settings = {"user": USER, "password": PASSWORD, "header.X-Mine": "private"}
    assert tool("blob", f"{faulty.name}/a/b", digest, len(data), 0, 0, **settings).stdout == data
    assert tool("blob", f"{faulty.name}/a/b", digest, len(data), 100, 50, **settings).stdout == data[100:150]
    assert len(other.seen("GET", "signed=1")) == 2
    for _, _, headers in other.requests:
        assert "Authorization" not in headers and "X-Mine" not in headers and "Cookie" not in headers
    assert faulty.requests[0][2]["X-Mine"] == "private"
    other.close()


@pytest.mark.parametrize("location,word", [
    (None, "without saying where"), ("", "redirects"), ("ftp://127.0.0.1/x", "no HTTP URL"), ("file:///etc/passwd", "no HTTP URL"),
    ("http://user:pw@127.0.0.1/", "no HTTP URL"), ("http://registry.example/x", "plain HTTP at registry.example"), ("/loop", "more than 10 times"),
])
def test_bad_redirects(tool, faulty, location, word):
    @faulty.on("GET", "/blobs/|/loop")
    def away(handler, match):
        handler.answer(302, Location=location)

    said = tool.bad("blob", f"{faulty.name}/a/b", digest_of(b""), 10, 0, 0)
    assert faulty.name in said and "a/b" in said and word in said, said


def test_tls_to_plain(tool, faulty, pki, tmp_path):
    """A redirect from TLS into the open is refused even on loopback, and so is a token service there."""
    secure = Registry(tls=(pki / "server.crt", pki / "server.key"))
    (tmp_path / "certs" / secure.name).mkdir(parents=True)
    (tmp_path / "certs" / secure.name / "ca.crt").write_bytes((pki / "ca.crt").read_bytes())

    @secure.on("GET", "/blobs/")
    def away(handler, match):
        handler.answer(307, Location=f"{faulty.url}{handler.path}")

    @secure.on("*", "/manifests/")
    def ask(handler, match):
        handler.answer(401, WWW_Authenticate=f'Bearer realm="{faulty.url}/token"')

    for words in (("blob", f"{secure.name}/a/b", digest_of(b""), 10, 0, 0), ("resolve", f"{secure.name}/a/b")):
        said = tool.bad(*words, HostsDirs=tmp_path / "certs", user=USER, password=PASSWORD)
        assert_says(said, "PermissionDenied", secure, "a/b", "plain HTTP")
    assert faulty.requests == []
    secure.close()


def test_push_breaks(tool, faulty):
    """An upload in one request begins again, one in chunks goes on."""
    data = os.urandom(300_000)
    (tool.directory / "blob").write_bytes(data)
    stored = bytearray()
    left = [2]

    @faulty.on("POST", "/blobs/uploads/")
    def begin(handler, match):
        stored.clear()
        handler.answer(202, Location="/upload/1?state=a")

    @faulty.on("PATCH", "^/upload/1")
    def chunk(handler, match):
        start = int(handler.headers["Content-Range"].split("-")[0])
        assert start == len(stored)
        if left[0] > 0 and start > 0:
            left[0] -= 1
            stored.extend(handler.body[:1000])
            handler.cut()
            return
        stored.extend(handler.body)
        handler.answer(202, Location="/upload/1?state=b", Range=f"0-{len(stored) - 1}")

    @faulty.on("GET", "^/upload/1")
    def ask(handler, match):
        handler.answer(204, Location="/upload/1?state=c", Range=f"0-{len(stored) - 1}")

    @faulty.on("PUT", "^/upload/1")
    def put(handler, match):
        stored.extend(handler.body)
        if left[0] > 0:
            left[0] -= 1
            handler.cut()
            return
        handler.answer(201, Docker_Content_Digest=digest_of(bytes(stored)))

    words = ("push-blob", f"{faulty.name}/a/b", tool.directory / "blob", digest_of(data))
    assert tool.good(*words, 50_000).startswith("uploaded ")
    assert bytes(stored) == data and left[0] == 0
    left[0] = 2
    assert tool.good(*words, 0) == "uploaded 300000"
    assert bytes(stored) == data
    left[0] = 1000
    assert_says(tool.bad(*words, 0), "Unavailable", faulty, "a/b")


def test_push_elsewhere(tool, faulty):
    """A Location at another host gets the blob, but no credentials."""
    other = Registry(host="127.0.0.2")
    (tool.directory / "blob").write_bytes(b"data")

    @faulty.on("POST", "/blobs/uploads/")
    def begin(handler, match):
        if handler.headers.get("Authorization") is None:
            handler.answer(401, WWW_Authenticate="Basic realm=x")
        else:
            handler.answer(202, Location=f"{other.url}/up")

    @other.on("PUT", "^/up")
    def put(handler, match):
        handler.answer(201)

    assert tool.good("push-blob", f"{faulty.name}/a/b", tool.directory / "blob", digest_of(b"data"), 0, user=USER,
                     password=PASSWORD) == "uploaded 4"
    assert other.requests and all("Authorization" not in headers for _, _, headers in other.requests)
    other.close()


def test_pages(tool, faulty):
    """Tags and referrers in pages; a next page at another host is not followed."""
    other = Registry(host="127.0.0.2")

    @faulty.on("GET", "/tags/list")
    def tags(handler, match):
        page = int((re.search(r"page=(\d+)", handler.path) or [0, 0])[1])
        link = f'</v2/a/b/tags/list?page={page + 1}>; rel="next"' if page < 2 else f'<{other.url}/v2/a/b/tags/list>; rel="next"'
        handler.answer(200, {"tags": [f"{page}-{i}" for i in range(3)] + ["not a tag", None, 5]}, Link=link)

    assert tool.good("tags", f"{faulty.name}/a/b", 100).split() == [f"{p}-{i}" for p in range(3) for i in range(3)]
    assert tool.good("tags", f"{faulty.name}/a/b", 4).split() == ["0-0", "0-1", "0-2", "1-0"]
    assert other.requests == []
    other.close()
    subject = digest_of(b"s")

    @faulty.on("GET", "/referrers/")
    def referrers(handler, match):
        page = "page=2" in handler.path
        handler.answer(200, {"schemaVersion": 2, "manifests": [
            {"mediaType": MANIFEST, "digest": digest_of(b"2" if page else b"1"), "size": 1, "artifactType": "x/a" if page else "x/b"},
            {"digest": "nonsense"}, 7]}, Link=None if page else f"<{match.string}?page=2>; rel=next")

    assert [line.split()[0] for line in tool.good("referrers", f"{faulty.name}/a/b", subject).splitlines()] == ["x/b", "x/a"]
    assert tool.good("referrers", f"{faulty.name}/a/b", subject, "x/a").split()[0] == "x/a"


def test_endless_pages(tool, faulty):
    @faulty.on("GET", "/tags/list")
    def tags(handler, match):
        handler.answer(200, {"tags": []}, Link="</v2/a/b/tags/list?n=1>; rel=next")

    assert tool.good("tags", f"{faulty.name}/a/b", 10) == ""
    assert len(faulty.seen("GET", "/tags/")) <= 200


def test_stalled_reader_holds_the_peer(tool, faulty):
    """Whoever does not read makes the peer wait, and nobody's memory grows."""
    sent = []

    @faulty.on("GET", "/blobs/")
    def serve(handler, match):
        handler.send_response(200)
        handler.send_header("Content-Length", str(100_000_000))
        handler.end_headers()
        handler.connection.settimeout(3)
        try:
            for _ in range(100):
                handler.wfile.write(bytes(1_000_000))
                sent.append(1_000_000)
        except OSError:
            pass

    process = subprocess.Popen([TOOL, MODULE, str(tool.directory), "HostsDirs=/nonexistent", "AuthFiles=/nonexistent", "blob",
                                f"{faulty.name}/a/b", digest_of(b""), "100000000", "0", "0"], stdout=subprocess.PIPE)
    process.stdout.read(1000)
    time.sleep(1)
    with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
        resident = int(re.search(r"VmHWM:\s+(\d+)", status.read())[1])
    assert sum(sent) < 30_000_000 and (SANITIZED or resident < MEMORY_LIMIT)
    process.kill()
    process.wait()
    process.stdout.close()
