# SPDX-License-Identifier: LGPL-2.1-or-later
"""Signatures and the policy: skopeo signs and we accept, we sign and skopeo accepts, and everything else is refused with its reason."""
import base64
import gzip
import http.server
import io
import json
import os
import shutil
import subprocess
import tarfile
import threading

import pytest

from conftest import Daemon
from test_layers import make_image

pytestmark = [pytest.mark.skipif(shutil.which("gpg") is None, reason="needs gpg"),
              pytest.mark.skipif(shutil.which("skopeo") is None, reason="needs skopeo")]

NAME = "registry.example/team/app:1"
REPOSITORY = "registry.example/team/app"


def new_key(home, address):
    os.makedirs(home, mode=0o700)
    gpg = ["gpg", "--homedir", home, "--batch", "--quiet"]
    subprocess.run([*gpg, "--passphrase", "", "--quick-gen-key", address, "default", "sign", "never"], check=True, capture_output=True)
    listing = subprocess.run([*gpg, "--with-colons", "--list-secret-keys"], check=True, capture_output=True, text=True).stdout
    fingerprint = next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr"))
    return fingerprint, subprocess.run([*gpg, "--export", fingerprint], check=True, capture_output=True).stdout


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    base = tmp_path_factory.mktemp("keys")
    made = {}
    for name in ("ours", "theirs"):
        home = str(base / name)
        fingerprint, public = new_key(home, f"{name}@example.com")
        path = str(base / f"{name}.gpg")
        with open(path, "wb") as file:
            file.write(public)
        made[name] = {"home": home, "key": fingerprint, "path": path, "data": base64.b64encode(public).decode()}
    yield made
    for key in made.values():
        subprocess.run(["gpgconf", "--homedir", key["home"], "--kill", "all"], check=False)


class Verified(Daemon):
    """A daemon with a policy and a store of signatures of its own, and an image under NAME."""

    def __init__(self, image):
        super().__init__()
        self.policy_path = f"{self.dir}/policy.json"
        self.lookaside = f"{self.dir}/lookaside"
        self.plugins = f"{self.dir}/plugins.d"
        os.makedirs(f"{self.dir}/registries.d")
        self.store(f"file://{self.lookaside}")
        self.policy([{"type": "insecureAcceptAnything"}])
        self.start("--set", f"verifier-gpg.Policy={self.policy_path}", "--set", f"verifier-gpg.RegistriesDir={self.dir}/registries.d")
        self.run("image", "import", f"{image}/oci.tar")
        self.run("image", "tag", "busybox", NAME)
        self.digest = next(one["target"][1] for one in self.json("image", "ls") if one["name"] == NAME)

    def store(self, url, staging=None):
        with open(f"{self.dir}/registries.d/default.yaml", "w", encoding="utf-8") as file:
            file.write(f"docker:\n  registry.example/team:\n    lookaside: {url}\n" + (f"    lookaside-staging: {staging}\n" if staging else ""))

    def policy(self, requirements, scope=None):
        whole = {"default": requirements} if scope is None else {"default": [{"type": "reject"}], "transports": {"docker": {scope: requirements}}}
        with open(self.policy_path, "w", encoding="utf-8") as file:
            json.dump(whole, file)

    def place(self, number):
        return f"{self.lookaside}/{REPOSITORY}@{self.digest.replace(':', '=')}/signature-{number}"

    def forget(self):
        shutil.rmtree(self.lookaside, ignore_errors=True)
        for name in os.listdir(f"{self.dir}/r/verifier-gpg/signatures"):
            shutil.rmtree(f"{self.dir}/r/verifier-gpg/signatures/{name}")

    def verify(self, name=NAME, *options):
        result = self.run("image", "verify", *options, name, check=False)
        return result.returncode, result.stdout.decode(), result.stderr.decode()


@pytest.fixture(scope="module")
def verified(image):
    one = Verified(image)
    yield one
    one.stop()
    log = one.read_log()
    assert "AddressSanitizer" not in log and "runtime error" not in log, log
    shutil.rmtree(one.dir)


def skopeo_sign(verified, key, name, number, tmp_path):
    """skopeo's own signature of the manifest under @name, put into the store."""
    manifest = subprocess.run(["skopeo", "inspect", "--raw", f"oci-archive:{tmp_path}/export.tar"], check=True, capture_output=True).stdout
    (tmp_path / "manifest").write_bytes(manifest)
    os.makedirs(os.path.dirname(verified.place(number)), exist_ok=True)
    subprocess.run(["skopeo", "standalone-sign", str(tmp_path / "manifest"), name, key["key"], "--output", verified.place(number)], check=True,
                   capture_output=True, env={**os.environ, "GNUPGHOME": key["home"]})


@pytest.fixture
def signed(verified, keys, tmp_path):
    verified.forget()
    verified.store(f"file://{verified.lookaside}")
    verified.run("image", "export", "-o", f"{tmp_path}/export.tar", NAME)
    return lambda name, key="ours", number=1: skopeo_sign(verified, keys[key], name, number, tmp_path)


def by(keys, **more):
    return [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": keys["ours"]["path"], **more}]


def test_accept_and_reject(verified):
    verified.policy([{"type": "insecureAcceptAnything"}])
    assert verified.verify()[0] == 0
    verified.policy([{"type": "reject"}])
    code, _, err = verified.verify()
    assert code == 1 and "it is rejected" in err and 'scope "default"' in err and NAME in err and err.count("\n") == 1
    result = verified.run("run", "--rm", NAME, "true", check=False)
    assert result.returncode == 125 and b"may not be used" in result.stderr, result.stderr
    assert verified.out("ps", "-q") == ""


@pytest.mark.parametrize("scope", [NAME, REPOSITORY, "registry.example/team", "registry.example", "*.example", ""])
def test_scopes_from_narrow_to_wide(verified, scope):
    verified.policy([{"type": "insecureAcceptAnything"}], scope)
    code, out, err = verified.verify()
    assert code == 0 and (f'"docker:{scope}"' if scope else '"docker"') in out, out + err
    verified.policy([{"type": "insecureAcceptAnything"}], "registry.example/other")
    assert verified.verify()[0] == 1


def test_skopeo_signs_and_we_accept(verified, keys, signed):
    signed(NAME)
    verified.policy(by(keys))
    code, out, err = verified.verify()
    assert code == 0 and keys["ours"]["key"] in out, out + err
    assert verified.run("run", "--rm", NAME, "echo", "signed").stdout == b"signed\n"
    shutil.rmtree(verified.lookaside)
    assert verified.verify(NAME, "--offline")[0] == 0, "what was verified once is kept"


def test_nobody_signed(verified, keys, signed):
    verified.policy(by(keys))
    code, out, err = verified.verify()
    assert code == 1 and "no signature fulfils" in err and "0 signatures" in out, out + err


def test_the_wrong_key(verified, keys, signed):
    signed(NAME, "theirs")
    verified.policy(by(keys))
    code, out, err = verified.verify()
    assert code == 1 and keys["theirs"]["key"] in out and "does not trust" in out, out + err
    signed(NAME, "ours", 2)
    assert verified.verify()[0] == 0, "one good signature is enough"
    verified.policy([{"type": "signedBy", "keyType": "GPGKeys", "keyPaths": [keys["theirs"]["path"], keys["ours"]["path"]]}])
    assert verified.verify()[0] == 0
    verified.policy([{"type": "signedBy", "keyType": "GPGKeys", "keyData": keys["theirs"]["data"]}])
    assert verified.verify()[0] == 0


@pytest.mark.parametrize("signed_name, identity, good", [
    (NAME, {"type": "matchExact"}, True),
    (REPOSITORY + ":2", {"type": "matchExact"}, False),
    (REPOSITORY + ":2", {"type": "matchRepoDigestOrExact"}, False),
    (REPOSITORY + ":2", {"type": "matchRepository"}, True),
    ("registry.example/other:1", {"type": "matchRepository"}, False),
    ("vendor.example/app:7", {"type": "exactReference", "dockerReference": "vendor.example/app:7"}, True),
    ("vendor.example/app:8", {"type": "exactReference", "dockerReference": "vendor.example/app:7"}, False),
    ("vendor.example/app:8", {"type": "exactRepository", "dockerRepository": "vendor.example/app"}, True),
    ("vendor.example/apple:8", {"type": "exactRepository", "dockerRepository": "vendor.example/app"}, False),
    ("vendor.example/app:1", {"type": "remapIdentity", "prefix": "registry.example/team", "signedPrefix": "vendor.example"}, True),
    ("vendor.example/app:2", {"type": "remapIdentity", "prefix": "registry.example/team", "signedPrefix": "vendor.example"}, False),
    ("vendor.example/app:1", {"type": "remapIdentity", "prefix": "registry.example/te", "signedPrefix": "vendor.example"}, False),
])
def test_identities(verified, keys, signed, signed_name, identity, good):
    signed(signed_name)
    verified.policy(by(keys, signedIdentity=identity))
    code, out, err = verified.verify()
    assert (code == 0) == good, out + err
    if not good:
        assert f'it is a signature for "{signed_name}"' in out


def test_another_image_under_the_signed_name(verified, keys, signed, tmp_path):
    signed(NAME)
    other = REPOSITORY + "@sha256=" + "0" * 64
    os.makedirs(f"{verified.lookaside}/{other}")
    shutil.move(verified.place(1), f"{verified.lookaside}/{other}/signature-1")
    forged = {"critical": {"type": "atomic container signature", "image": {"docker-manifest-digest": "sha256:" + "0" * 64},
                           "identity": {"docker-reference": NAME}}, "optional": {}}
    (tmp_path / "payload").write_text(json.dumps(forged))
    subprocess.run(["gpg", "--homedir", keys["ours"]["home"], "--batch", "--yes", "-o", verified.place(1), "--sign", str(tmp_path / "payload")],
                   check=True, capture_output=True)
    verified.policy(by(keys))
    code, out, err = verified.verify()
    assert code == 1 and "it is a signature of sha256:000" in out, out + err


@pytest.mark.parametrize("payload, reason", [
    ("{}", "must have"),
    ('{"critical":{"type":"atomic container signature","image":{"docker-manifest-digest":"DIGEST"},"identity":{"docker-reference":"NAME"},'
     '"more":1},"optional":{}}', "known form"),
    ('{"critical":{"type":"other","image":{"docker-manifest-digest":"DIGEST"},"identity":{"docker-reference":"NAME"}},"optional":{}}', '"other"'),
    ('{"critical":{"type":"atomic container signature","image":{"docker-manifest-digest":"DIGEST"},"identity":{"docker-reference":"x",'
     '"docker-reference":"NAME"}},"optional":{}}', "twice"),
    ("[" * 100, "deep"),
    ("not json", "not JSON"),
])
def test_strange_payloads(verified, keys, signed, tmp_path, payload, reason):
    os.makedirs(os.path.dirname(verified.place(1)))
    (tmp_path / "payload").write_text(payload.replace("DIGEST", verified.digest).replace("NAME", NAME))
    subprocess.run(["gpg", "--homedir", keys["ours"]["home"], "--batch", "--yes", "-o", verified.place(1), "--sign", str(tmp_path / "payload")],
                   check=True, capture_output=True)
    verified.policy(by(keys))
    code, out, err = verified.verify()
    assert code == 1 and reason in out, out + err


def test_what_is_no_signature(verified, keys, signed):
    os.makedirs(os.path.dirname(verified.place(1)))
    with open(verified.place(1), "wb") as file:
        file.write(os.urandom(5000))
    signed(NAME, number=2)
    with open(verified.place(2), "r+b") as file:
        file.seek(150)
        byte = file.read(1)
        file.seek(150)
        file.write(bytes([byte[0] ^ 1]))
    verified.policy(by(keys))
    code, out, err = verified.verify()
    assert code == 1 and out.count("not accepted") == 2, out + err


@pytest.mark.parametrize("policy, reason", [
    ("", "no JSON object"), ("{", "not JSON"), ("[]", "no JSON object"), ("{}", '"default"'), ('{"default":[]}', "at least one"),
    ('{"default":[{"type":"maybe"}]}', '"maybe"'), ('{"default":[{"type":"reject","x":1}]}', '"x"'),
    ('{"default":[{"type":"reject"}],"defaults":1}', '"defaults"'), ('{"default":[{"type":"reject"}],"default":[{"type":"insecureAcceptAnything"}]}', "twice"),
    ('{"default":[{"type":"signedBy","keyType":"GPGKeys"}]}', "just one of"),
    ('{"default":[{"type":"signedBy","keyType":"X509","keyPath":"/x"}]}', "X509"),
    ('{"default":[{"type":"signedBy","keyType":"GPGKeys","keyPath":"/x","signedIdentity":{"type":"anyOf"}}]}', "anyOf"),
    ('{"default":[{"type":"signedBy","keyType":"GPGKeys","keyPath":"/nowhere"}]}', "/nowhere"),
    ('{"default":[{"type":"insecureAcceptAnything"}],"transports":{"docker":{"x":[]}}}', 'scope "docker:x"'),
    ("{" * 5000, "deep"),
])
def test_a_broken_policy_allows_nothing(verified, policy, reason):
    with open(verified.policy_path, "w", encoding="utf-8") as file:
        file.write(policy)
    code, _, err = verified.verify()
    assert code == 1 and reason in err and err.count("\n") == 1, err
    assert verified.run("run", "--rm", NAME, "true", check=False).returncode == 125


def test_a_missing_policy_that_was_named(verified):
    os.unlink(verified.policy_path)
    code, _, err = verified.verify()
    assert code == 1 and "cannot be read" in err, err


def test_sigstore_is_not_taken_for_fulfilled(verified, keys):
    verified.policy([{"type": "sigstoreSigned", "keyPath": "/some/key.pub"}])
    code, _, err = verified.verify()
    assert code == 1 and "sigstore" in err, err


@pytest.mark.parametrize("yaml, reason", [("docker: [", "registries.d"), ("docker: 1", "mapping"), ("other: {}", '"other"'),
                                          ("docker:\n  registry.example: {lookaside: [1]}", "URL"),
                                          ("docker:\n  registry.example: {lookaside: 'ftp://x'}", "none of")])
def test_broken_registries_d(verified, keys, signed, yaml, reason):
    with open(f"{verified.dir}/registries.d/default.yaml", "w", encoding="utf-8") as file:
        file.write(yaml)
    verified.policy(by(keys))
    code, _, err = verified.verify()
    assert code == 1 and reason in err, err


def test_a_store_on_the_web(verified, keys, signed):
    signed(NAME)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=verified.lookaside)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    verified.store(f"http://127.0.0.1:{server.server_port}", f"file://{verified.lookaside}")
    verified.policy(by(keys))
    assert verified.verify(NAME, "--offline")[0] == 1
    code, out, err = verified.verify()
    assert code == 0 and "http://127.0.0.1" in out, out + err
    server.shutdown()
    server.server_close()
    assert verified.verify()[0] == 0, "kept from before"
    verified.forget()
    code, _, err = verified.verify()
    assert code == 1 and "asking http://127.0.0.1" in err, err


def test_the_name_moves_while_it_is_checked(verified, keys, signed, tmp_path):
    """What is run is what was checked: the store answers when the name already means another image, which nobody signed."""
    with tarfile.open(tmp_path / "base.tar", "w") as tar:
        member = tarfile.TarInfo("evil")
        tar.addfile(member, io.BytesIO(b""))
    signed(NAME)
    with tarfile.open(tmp_path / "export.tar") as tar:
        manifest = json.load(tar.extractfile(f"blobs/sha256/{verified.digest[7:]}"))
        layers = [gzip.decompress(tar.extractfile(f"blobs/sha256/{one['digest'][7:]}").read()) for one in manifest["layers"]]
    make_image(tmp_path / "evil.tar", "registry.example/evil:1", [*layers, (tmp_path / "base.tar").read_bytes()])
    verified.policy([{"type": "insecureAcceptAnything"}])
    verified.run("image", "import", f"{tmp_path}/evil.tar")
    moved = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=verified.lookaside)

        def log_message(self, *args):
            pass

        def do_GET(self):
            if not moved:
                moved.append(verified.run("image", "tag", "-f", "registry.example/evil:1", NAME))
            super().do_GET()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    verified.store(f"http://127.0.0.1:{server.server_port}")
    verified.policy(by(keys))
    try:
        first = verified.run("run", "--rm", NAME, "test", "!", "-e", "/evil", check=False)
        second = verified.run("run", "--rm", NAME, "test", "!", "-e", "/evil", check=False)
    finally:
        server.shutdown()
        server.server_close()
        verified.run("image", "tag", "-f", "busybox", NAME)
    assert moved and first.returncode == 0, first.stderr
    assert second.returncode == 125 and b"may not be used" in second.stderr, second.stderr


def test_we_sign_and_skopeo_accepts(verified, keys, signed, tmp_path):
    location = verified.out("image", "sign", "--key", keys["ours"]["key"], "--gnupg-home", keys["ours"]["home"], "-o", f"{tmp_path}/signature", NAME)
    assert location == verified.place(1)
    verified.policy(by(keys))
    assert verified.verify()[0] == 0
    manifest = subprocess.run(["skopeo", "inspect", "--raw", f"oci-archive:{tmp_path}/export.tar"], check=True, capture_output=True).stdout
    (tmp_path / "manifest").write_bytes(manifest)
    home = str(tmp_path / "reader")
    os.makedirs(home, mode=0o700)
    subprocess.run(["gpg", "--homedir", home, "--batch", "--quiet", "--import", keys["ours"]["path"]], check=True, capture_output=True)
    result = subprocess.run(["skopeo", "standalone-verify", str(tmp_path / "manifest"), NAME, keys["ours"]["key"], str(tmp_path / "signature")],
                            capture_output=True, text=True, check=False, env={**os.environ, "GNUPGHOME": home})
    assert result.returncode == 0 and verified.digest in result.stdout, result.stderr
    assert verified.out("image", "sign", "--key", keys["theirs"]["key"], "--gnupg-home", keys["theirs"]["home"], NAME) == verified.place(2)


def test_signing_fails_with_a_reason(verified, keys, signed):
    code = verified.run("image", "sign", "--key", "0" * 40, "--gnupg-home", keys["ours"]["home"], NAME, check=False)
    assert code.returncode == 1 and b"0000" in code.stderr and code.stderr.count(b"\n") == 1, code.stderr
    verified.store("https://signatures.example/read-only")
    code = verified.run("image", "sign", "--key", keys["ours"]["key"], "--gnupg-home", keys["ours"]["home"], NAME, check=False)
    assert code.returncode == 1 and b"lookaside-staging" in code.stderr, code.stderr
    assert not os.path.exists(verified.lookaside)
