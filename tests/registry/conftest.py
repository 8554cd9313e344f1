# SPDX-License-Identifier: LGPL-2.1-or-later
"""The module in a process of its own, real registries on loopback, and one that misbehaves."""
import base64
import crypt
import http.server
import json
import os
import socket
import subprocess
import threading
import time
import urllib.parse

import pytest

import server as fake

TOOL = os.environ["REGISTRY_TOOL"]
MODULE = os.environ["GANTRY_TEST_MODULE"]
USER, PASSWORD = "maria", "pass word:with=all&things"


def run_tool(directory, *args, timeout=120, env=None, **settings):
    """registry-tool; settings in capitals are the module's, the others the call's (with _ for -)."""
    known = {"BackoffMs": 5, "Attempts": 4, "HostsDirs": "/nonexistent", "AuthFiles": "/nonexistent"}
    known.update(settings)
    words = [f"{key.replace('_', '-')}={value}" for key, value in known.items()]
    return subprocess.run([TOOL, MODULE, str(directory), *words, *[str(arg) for arg in args]], capture_output=True, timeout=timeout,
                          check=False, env={**os.environ, "G_DEBUG": "fatal-criticals", **(env or {})})


@pytest.fixture
def tool(tmp_path):
    directory = tmp_path / "tool"
    directory.mkdir()

    def run(*args, **settings):
        return run_tool(directory, *args, **settings)

    def good(*args, **settings):
        result = run(*args, **settings)
        assert result.returncode == 0, (args, result.stdout[-2000:], result.stderr[-2000:])
        return result.stdout.decode().strip()

    def bad(*args, **settings):
        """Returns what it says: "<Class>: <message>"."""
        result = run(*args, **settings)
        assert result.returncode == 1, (args, result.returncode, result.stdout[-2000:], result.stderr[-2000:])
        return result.stderr.decode().strip().splitlines()[-1]

    run.good, run.bad, run.directory = good, bad, directory
    return run


@pytest.fixture
def faulty():
    registry = fake.Registry()
    yield registry
    registry.close()


def run(*words, **kwargs):
    subprocess.run(words, check=True, capture_output=True, **kwargs)


@pytest.fixture(scope="session")
def pki(tmp_path_factory):
    """An authority of our own, with a server's and a client's certificate."""
    work = tmp_path_factory.mktemp("pki")
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=Test authority", "-keyout", "ca.key",
        "-out", "ca.crt", "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=keyCertSign", cwd=work)
    for name, extra in (("server", "subjectAltName=DNS:localhost,IP:127.0.0.1"), ("client", "extendedKeyUsage=clientAuth")):
        run("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr", cwd=work)
        (work / "ext").write_text(extra)
        run("openssl", "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30",
            "-extfile", "ext", "-out", f"{name}.crt", cwd=work)
    return work


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class RealRegistry:
    """Debian's docker-registry."""

    def __init__(self, work, extra="", tls=None, client_ca=None):
        self.port = free_port()
        self.name = f"127.0.0.1:{self.port}"
        clients = f", clientcas: ['{client_ca}']" if client_ca else ""
        http_tls = f", tls: {{certificate: {tls[0]}, key: {tls[1]}{clients}}}" if tls else ""
        (work / "config.yml").write_text(
            f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {work}/store}}, delete: {{enabled: true}}}}\n"
            f'http: {{addr: "{self.name}"{http_tls}}}\n{extra}')
        self.log = open(work / "log", "wb")
        self.process = subprocess.Popen(["docker-registry", "serve", str(work / "config.yml")], stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + 60
        while socket.socket().connect_ex(("127.0.0.1", self.port)) != 0:
            assert self.process.poll() is None and time.monotonic() < deadline, (work / "log").read_text()
            time.sleep(0.02)

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()


@pytest.fixture(scope="session")
def plain_registry(tmp_path_factory):
    registry = RealRegistry(tmp_path_factory.mktemp("plain"))
    yield registry
    registry.close()


@pytest.fixture(scope="session")
def tls_registry(tmp_path_factory, pki):
    registry = RealRegistry(tmp_path_factory.mktemp("tls"), tls=(pki / "server.crt", pki / "server.key"))
    yield registry
    registry.close()


@pytest.fixture(scope="session")
def basic_registry(tmp_path_factory):
    work = tmp_path_factory.mktemp("basic")
    (work / "htpasswd").write_text(f"{USER}:{crypt.crypt(PASSWORD, crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=2 ** 5))}\n")
    registry = RealRegistry(work, extra=f"auth: {{htpasswd: {{realm: test, path: {work}/htpasswd}}}}\n")
    yield registry
    registry.close()


class TokenServer:
    """Signs what docker-registry's token authentication wants. Knows one user, and refresh tokens."""

    def __init__(self, pki):
        self.pki, self.requests = pki, []
        self.expires_in = 300
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_GET(self):
                query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
                self.reply(query, self.headers.get("Authorization"))

            def do_POST(self):
                form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                good = form.get("refresh_token") == ["the-identity-token"]
                self.reply(form, "identity" if good else "wrong")

            def reply(self, query, authorization):
                outer.requests.append((self.command, query, authorization))
                basic = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
                status, document = 200, None
                if authorization not in (None, basic, "identity"):
                    status, document = 401, {"details": "incorrect username or password"}
                else:
                    scopes = [word for scope in query.get("scope", []) for word in scope.split()]
                    document = {"token": outer.sign(scopes, authorization is not None), "expires_in": outer.expires_in}
                    if "offline_token" in query:
                        document["refresh_token"] = "the-identity-token"
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/token"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def sign(self, scopes, known):
        """Anybody may pull from pub/, the user everything."""
        def encode(data):
            return base64.urlsafe_b64encode(data).rstrip(b"=")

        der = subprocess.run(["openssl", "x509", "-in", str(self.pki / "server.crt"), "-outform", "DER"], check=True, capture_output=True).stdout
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            allowed = [a for a in actions.split(",") if known or (a == "pull" and name.startswith("pub/"))]
            access.append({"type": kind, "name": name, "actions": allowed})
        now = int(time.time())
        header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
        claims = {"iss": "test", "aud": "the service", "sub": "", "iat": now, "nbf": now - 60, "exp": now + 600, "jti": "1", "access": access}
        text = encode(json.dumps(header).encode()) + b"." + encode(json.dumps(claims).encode())
        signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", str(self.pki / "server.key")], input=text, check=True,
                                   capture_output=True).stdout
        return (text + b"." + encode(signature)).decode()


@pytest.fixture(scope="session")
def token_registry(tmp_path_factory, pki):
    tokens = TokenServer(pki)
    registry = RealRegistry(
        tmp_path_factory.mktemp("token"),
        extra=f'auth: {{token: {{realm: "{tokens.url}", service: "the service", issuer: test, rootcertbundle: "{pki}/ca.crt"}}}}\n')
    registry.tokens = tokens
    yield registry
    registry.close()
    tokens.server.shutdown()
