# SPDX-License-Identifier: LGPL-2.1-or-later
"""Images of Docker's manifest schema 1: refused, or made into OCI images when that is asked for. docker-registry takes signed ones and checks
their signatures; a registry in memory serves the rest."""
import base64
import gzip
import hashlib
import json
import os
import subprocess
import sys

import pytest

from conftest import HERE, Registry, sha256
from layers import DIR, REG, archive, entry

sys.path.append(os.path.join(HERE, "..", "registry"))
import server  # noqa: E402
from test_referrers import put_blob, request  # noqa: E402

V1 = "application/vnd.docker.distribution.manifest.v1+json"
SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"
EMPTY = gzip.compress(archive(), mtime=0)
# What Docker itself wrote for an empty tar.
DOCKER_EMPTY = bytes.fromhex("1f8b080000096e8800ff621805a360148c5800080000ffff2eafb5ef00040000")


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def text_of(document):
    return json.dumps(document, indent=3).encode()


def image(name, tag, layers, config=None):
    """layers: (blob, throwaway), the oldest first. Returns: the unsigned manifest."""
    history = []
    for i, (_, throwaway) in enumerate(layers):
        v1 = {"id": f"{i + 1:064x}", "created": f"2014-01-0{i + 1}T00:00:00Z", "container_config": {"Cmd": ["/bin/sh", "-c", f"step {i}"]}}
        if i > 0:
            v1["parent"] = f"{i:064x}"
        if throwaway:
            v1["throwaway"] = True
        if i + 1 == len(layers):
            v1.update({"architecture": "amd64", "os": "linux", "Size": 17, "author": "somebody", "docker_version": "1.0",
                       "config": config or {"Cmd": ["/bin/busybox", "sh"], "Env": ["PATH=/bin", "HELLO=world"], "WorkingDir": "/tmp"}})
        history.insert(0, {"v1Compatibility": json.dumps(v1)})
    return text_of({"schemaVersion": 1, "name": name, "tag": tag, "architecture": "amd64",
                    "fsLayers": [{"blobSum": sha256(blob)} for blob, _ in reversed(layers)], "history": history})


def sign(text, key):
    """A JSON Web Signature in Docker's layout, by a key of the moment."""
    spki = subprocess.run(["openssl", "ec", "-in", key, "-pubout", "-outform", "DER"], check=True, capture_output=True).stdout
    point = spki[-64:]
    kid = base64.b32encode(hashlib.sha256(spki).digest()[:30]).decode()
    jwk = {"crv": "P-256", "kid": ":".join(kid[i:i + 4] for i in range(0, 48, 4)), "kty": "EC", "x": b64(point[:32]), "y": b64(point[32:])}
    kept = text.rstrip(b"}").rstrip()
    protected = b64(json.dumps({"formatLength": len(kept), "formatTail": b64(text[len(kept):]), "time": "2026-01-01T00:00:00Z"}).encode())
    der = subprocess.run(["openssl", "dgst", "-sha256", "-sign", key], input=f"{protected}.{b64(text)}".encode(), check=True,
                         capture_output=True).stdout
    r_length = der[3]
    r, s = der[4:4 + r_length], der[6 + r_length:]
    raw = r.lstrip(b"\0").rjust(32, b"\0") + s.lstrip(b"\0").rjust(32, b"\0")
    signatures = [{"header": {"jwk": jwk, "alg": "ES256"}, "signature": b64(raw), "protected": protected}]
    return kept + b',\n   "signatures": ' + json.dumps(signatures, indent=3).encode() + b"\n}"


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("key") / "key.pem")
    subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path], check=True)
    return path


@pytest.fixture
def old_registry():
    """docker-registry that takes schema 1."""
    one = Registry(compatibility={"schema1": {"enabled": True}})
    yield one
    one.stop()


def busybox_layers():
    with open("/bin/busybox", "rb") as file:
        busybox = file.read()
    return [gzip.compress(archive(entry("bin", DIR), entry("bin/busybox", REG, busybox, mode=0o755), entry("tmp", DIR))),
            gzip.compress(archive(entry("etc", DIR), entry("etc/hello", REG, b"from the second layer\n")))]


def test_signed_from_docker_registry(daemon, old_registry, key):
    first, second = busybox_layers()
    manifest = image("old/app", "1", [(first, False), (DOCKER_EMPTY, True), (second, False), (DOCKER_EMPTY, True)])
    for blob in (first, second, DOCKER_EMPTY):
        put_blob(old_registry.host, "old/app", blob)
    request("PUT", f"http://{old_registry.host}/v2/old/app/manifests/1", sign(manifest, key), SIGNED).close()
    reference = f"{old_registry.host}/old/app:1"

    refused = daemon.run("pull", reference, check=False)
    assert refused.returncode == 1 and b"schema 1" in refused.stderr and b"--convert-schema1" in refused.stderr
    assert daemon.json("image", "ls") == []
    old_registry.forget()
    assert daemon.out("pull", "-q", "--convert-schema1", reference) == reference
    assert set(old_registry.blob_gets()) == {sha256(first), sha256(second)}, "what is thrown away is not fetched"
    assert daemon.out("run", "--rm", reference, "/bin/busybox", "cat", "/etc/hello") == "from the second layer"
    assert daemon.out("run", "--rm", reference, "/bin/busybox", "sh", "-c", "echo $HELLO $PWD") == "world /tmp"
    details = daemon.json("image", "inspect", reference)
    config = details["config"]
    assert details["target"][0] == server.MANIFEST
    assert config["rootfs"]["diff_ids"] == [sha256(gzip.decompress(blob)) for blob in (first, second)]
    assert [step.get("empty_layer", False) for step in config["history"]] == [False, True, False, True]
    assert config["history"][0] == {"created": "2014-01-01T00:00:00Z", "created_by": "/bin/sh -c step 0"}
    assert config["history"][3]["author"] == config["author"] == "somebody"
    assert not {"id", "parent", "throwaway", "Size"} & set(config) and config["docker_version"] == "1.0"
    assert [(one[0], one[1]) for one in details["layers"]] == [
        ("application/vnd.oci.image.layer.v1.tar+gzip", sha256(blob)) for blob in (first, second)]
    assert daemon.out("check") == ""

    # Once more fetches nothing, and makes the same; by digest, too, which is of the text without its signatures.
    old_registry.forget()
    daemon.run("pull", "-q", "--convert-schema1", reference)
    by_digest = f"{old_registry.host}/old/app@{sha256(manifest)}"
    daemon.run("pull", "-q", "--convert-schema1", by_digest)
    assert old_registry.blob_gets() == {}
    targets = {one["name"]: one["target"][1] for one in daemon.json("image", "ls")}
    assert targets[reference] == targets[by_digest]
    # It goes on as any OCI image does, and what was made here is sent whole.
    daemon.run("push", "-q", reference, f"{old_registry.host}/new/app:1")
    raw = old_registry.raw("new/app:1")
    assert sha256(raw) == targets[reference] and json.loads(raw)["mediaType"] == server.MANIFEST
    subprocess.run(["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{old_registry.host}/new/app:1", f"dir:{daemon.dir}/out"], check=True)
    daemon.run("gc", "run")
    assert daemon.out("run", "--rm", reference, "/bin/busybox", "echo", "still") == "still"


@pytest.fixture
def memory():
    one = server.Registry()
    yield one
    one.close()


def serve(memory, manifest, *blobs, kind=V1):
    memory.add_manifest("a/old", "1", manifest, kind)
    for blob in blobs:
        memory.add_blob(blob)
    return f"{memory.name}/a/old:1"


def test_unsigned(daemon, memory):
    """Also a layer that comes twice, one that is not compressed, an empty one, and Docker's empty one, which is none."""
    first, second = busybox_layers()
    plain = archive(entry("plain", REG, b"plain"))
    reference = serve(memory, image("a/old", "1", [(first, False), (second, False), (EMPTY, False), (plain, False), (second, False),
                                              (DOCKER_EMPTY, False)]),
                      first, second, plain, EMPTY)
    daemon.run("pull", "-q", "--convert-schema1", reference)
    details = daemon.json("image", "inspect", reference)
    assert [one[1] for one in details["layers"]] == [sha256(blob) for blob in (first, second, EMPTY, plain, second)]
    assert details["layers"][3][0] == "application/vnd.oci.image.layer.v1.tar"
    assert daemon.out("run", "--rm", reference, "/bin/busybox", "cat", "/plain", "/etc/hello").startswith("plainfrom the second")


def test_platform_and_unpack(daemon, memory):
    """What is not unpacked is converted all the same."""
    first, _ = busybox_layers()
    reference = serve(memory, image("a/old", "1", [(first, False)]), first)
    daemon.run("pull", "-q", "--no-unpack", "--convert-schema1", reference)
    assert daemon.json("image", "inspect", reference)["unpacked"] == []
    assert daemon.out("run", "--rm", reference, "/bin/busybox", "echo", "x") == "x"


def broken_history(manifest):
    manifest["history"].pop()
    return "fsLayers"


def broken_parent(manifest):
    v1 = json.loads(manifest["history"][0]["v1Compatibility"])
    v1["parent"] = "f" * 64
    manifest["history"][0]["v1Compatibility"] = json.dumps(v1)
    return "parent"


def broken_v1(manifest):
    manifest["history"][1]["v1Compatibility"] = "{"
    return "history 1"


def broken_sum(manifest):
    manifest["fsLayers"][0]["blobSum"] = "sha256:../../../etc/passwd"
    return "blobSum"


def broken_missing(manifest):
    manifest["fsLayers"][0]["blobSum"] = sha256(b"nobody has it")
    return sha256(b"nobody has it")


def broken_many(manifest):
    manifest["fsLayers"] *= 1000
    manifest["history"] *= 1000
    return "2000 layers"


def broken_layer(manifest):
    manifest["fsLayers"][0]["blobSum"] = sha256(b"\x1f\x8b no gzip")
    return sha256(b"\x1f\x8b no gzip")


@pytest.mark.parametrize("spoil", [broken_history, broken_parent, broken_v1, broken_sum, broken_missing, broken_many, broken_layer])
def test_broken(daemon, memory, spoil):
    first, second = busybox_layers()
    manifest = json.loads(image("a/old", "1", [(first, False), (second, False)]))
    word = spoil(manifest)
    reference = serve(memory, text_of(manifest), first, second, b"\x1f\x8b no gzip")
    result = daemon.run("pull", "--convert-schema1", reference, check=False)
    last = result.stderr.decode().strip().splitlines()[-1]
    assert result.returncode == 1 and word in last and memory.name in last, last
    assert daemon.json("image", "ls") == []
    daemon.run("gc", "run")
    assert os.listdir(f"{daemon.dir}/r/content-local/blobs/sha256") == []


def test_bad_signatures(daemon, memory, key):
    """A digest is of what was signed: another one, or a signature that does not say what it signs, is refused."""
    first, _ = busybox_layers()
    text = image("a/old", "1", [(first, False)])
    signed = sign(text, key)
    reference = f"{memory.name}/a/old:1"
    memory.add_blob(first)

    def pull(document, digest, word):
        @memory.on("*", "/manifests/")
        def manifest(handler, match):
            handler.answer(200, document, Content_Type=SIGNED, Docker_Content_Digest=digest)

        result = daemon.run("pull", "--convert-schema1", reference, check=False)
        assert (result.returncode == 0) == (word is None), result.stderr
        assert word is None or word.encode() in result.stderr, result.stderr

    pull(signed, sha256(signed), "it should be")
    pull(signed.replace(b"step 0", b"step 9"), sha256(text), "it should be")
    spoilt = json.loads(signed)
    for protected, word in (({"formatTail": "fQ"}, "formatLength"), ({"formatLength": 10 ** 9, "formatTail": "fQ"}, "formatLength"),
                            ({"formatLength": -5, "formatTail": "fQ"}, "formatLength"), ({"formatLength": 3}, "formatTail")):
        spoilt["signatures"][0]["protected"] = b64(json.dumps(protected).encode())
        pull(json.dumps(spoilt).encode(), sha256(text), word)
    pull(signed, sha256(text), None)


def test_by_configuration(daemon, memory):
    """An operator may allow it for all, so also for clients that can't ask for it."""
    first, _ = busybox_layers()
    reference = serve(memory, image("a/old", "1", [(first, False)]), first)
    daemon.stop()
    os.makedirs(f"{daemon.dir}/plugins.d")
    for name in os.listdir(f"{os.environ['GANTRY_BUILD']}/plugins.d"):
        os.symlink(f"{os.environ['GANTRY_BUILD']}/plugins.d/{name}", f"{daemon.dir}/plugins.d/{name}")
    os.mkdir(f"{daemon.dir}/plugins.d/transfer-local.plugin.d")
    with open(f"{daemon.dir}/plugins.d/transfer-local.plugin.d/schema1.conf", "w", encoding="utf-8") as file:
        file.write("[Config]\nConvertSchema1=yes\n")
    daemon.start("--plugins-dir", f"{daemon.dir}/plugins.d")
    daemon.run("pull", "-q", reference)
    assert daemon.out("run", "--rm", reference, "/bin/busybox", "echo", "y") == "y"


