# SPDX-License-Identifier: LGPL-2.1-or-later
"""Layers in formats that carry more than a tar, layers that are elsewhere, annotations, and blobs that namespaces share."""
import gzip
import json
import os
import subprocess
import tarfile

import pytest

from conftest import sha256
from layers import DIR, REG, archive, entry
from test_layers import OCI, make_image
from test_pull import FakeRegistry

FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


def test_zstd_chunked(daemon, registry, tmp_path):
    """As skopeo writes it: frames, then a manifest in frames that decoders skip."""
    # Of tars without padding: skopeo 1.9 leaves that out, and such a layer unpacks to something else than its config says.
    make_image(tmp_path / "in.tar", "example.com/chunked:1", [archive(entry("d", DIR), entry("d/f", REG, b"a text\n")),
                                                              archive(entry("d/large", REG, os.urandom(300_000)))])
    result = subprocess.run(["skopeo", "copy", "-q", "--dest-tls-verify=false", "--dest-compress-format", "zstd:chunked",
                             f"oci-archive:{tmp_path}/in.tar", f"docker://{registry.host}/chunked:1"], capture_output=True, check=False)
    if b"unknown compression" in result.stderr.lower():
        pytest.skip("this skopeo writes no zstd:chunked")
    assert result.returncode == 0, result.stderr
    raw = registry.raw("chunked:1")
    layer = json.loads(raw)["layers"][0]
    assert layer["mediaType"].endswith("tar+zstd") and "io.containers.zstd-chunked.manifest-position" in layer["annotations"]
    reference = f"{registry.host}/chunked:1"
    daemon.run("pull", "-q", reference)
    found = files_of(daemon, "f", "large")
    assert found["f"] == b"a text\n" and len(found["large"]) == 300_000
    assert daemon.out("push", "-q", reference, f"{registry.host}/back:1") == sha256(raw) == sha256(registry.raw("back:1"))
    daemon.run("image", "export", "-o", str(tmp_path / "out.tar"), reference)
    exported = subprocess.run(["skopeo", "inspect", "--raw", f"oci-archive:{tmp_path}/out.tar"], check=True, capture_output=True).stdout
    assert exported == raw


def estargz(files):
    """A layer as stargz-snapshotter's documentation describes it: a gzip member an entry, a table of contents, a footer."""
    blob, toc = b"", {"version": 1, "entries": []}
    for name, data in files.items():
        toc["entries"].append({"name": name, "type": "reg", "size": len(data), "offset": len(blob), "mode": 0o644, "chunkDigest": sha256(data)})
        blob += gzip.compress(entry(name, REG, data), mtime=0)
    at = len(blob)
    toc_json = json.dumps(toc).encode()
    blob += gzip.compress(entry("stargz.index.json", REG, toc_json) + b"\0" * 1024, mtime=0)
    extra = b"SG" + (22).to_bytes(2, "little") + b"%016xSTARGZ" % at
    footer = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff" + len(extra).to_bytes(2, "little") + extra + b"\x01\0\0\xff\xff" + b"\0" * 8
    assert len(footer) == 51
    return blob + footer, sha256(toc_json)


def put_image(fake, layers, annotations=None):
    """layers: (descriptor without digest and size, blob). Returns: the manifest."""
    descriptors = [{**more, "digest": sha256(blob), "size": len(blob)} for more, blob in layers]
    diff_ids = [sha256(gzip.decompress(blob)) for _, blob in layers]
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode()
    manifest = json.dumps({"schemaVersion": 2, "mediaType": OCI + ".manifest.v1+json", "layers": descriptors,
                           "config": {"mediaType": OCI + ".config.v1+json", "digest": sha256(config), "size": len(config),
                                      "annotations": {"of": "the config"}},
                           "annotations": annotations or {}}).encode()
    fake.blobs[sha256(config)] = config
    fake.manifests["1"] = fake.manifests[sha256(manifest)] = (OCI + ".manifest.v1+json", manifest)
    return manifest


def files_of(daemon, *names):
    """What the newest snapshots have of these names."""
    found = {}
    for top, _, files in os.walk(f"{daemon.dir}/r"):
        for name in set(files) & set(names):
            with open(os.path.join(top, name), "rb") as file:
                found[name] = file.read()
    return found


def test_estargz(daemon):
    blob, toc = estargz({"hello": b"a text\n", "large": os.urandom(200_000)})
    with FakeRegistry() as fake:
        fake.blobs[sha256(blob)] = blob
        put_image(fake, [({"mediaType": OCI + ".layer.v1.tar+gzip", "annotations": {"containerd.io/snapshot/stargz/toc.digest": toc}}, blob)])
        daemon.run("pull", "-q", f"{fake.host}/stargz:1")
    found = files_of(daemon, "hello", "large", "stargz.index.json")
    assert found["hello"] == b"a text\n" and len(found["large"]) == 200_000 and sha256(found["stargz.index.json"]) == toc


def test_foreign_layers(daemon, registry):
    """Fetched where the manifest says, and not passed on."""
    own, foreign = (gzip.compress(archive(entry("d", DIR), entry(f"d/{name}", REG, name.encode()))) for name in ("own", "foreign"))
    with FakeRegistry() as fake, FakeRegistry() as vendor:
        fake.blobs[sha256(own)] = own
        vendor.blobs[sha256(foreign)] = foreign
        url = f"http://{vendor.host}/v2/x/blobs/{sha256(foreign)}"
        manifest = put_image(fake, [({"mediaType": OCI + ".layer.v1.tar+gzip"}, own), ({"mediaType": FOREIGN, "urls": [url]}, foreign)])
        reference = f"{fake.host}/windows:1"
        daemon.run("pull", "-q", reference)
        assert files_of(daemon, "own", "foreign") == {"own": b"own", "foreign": b"foreign"}
    assert daemon.out("push", "-q", reference, f"{registry.host}/windows:1") == sha256(manifest) == sha256(registry.raw("windows:1"))
    blobs = [path for method, path, _, _ in registry.requests() if "/blobs/" in path]
    assert any(sha256(own) in path for path in blobs) and not any(sha256(foreign) in path for path in blobs)


def test_annotations_are_kept(daemon, registry, tmp_path):
    layer = gzip.compress(archive(entry("f", REG, b"f")))
    with FakeRegistry() as fake:
        fake.blobs[sha256(layer)] = layer
        manifest = put_image(fake, [({"mediaType": OCI + ".layer.v1.tar+gzip", "annotations": {"of": "the layer"}}, layer)],
                             {"org.opencontainers.image.title": "Ünïcode", "of": "the manifest"})
        index = json.dumps({"schemaVersion": 2, "mediaType": OCI + ".index.v1+json", "annotations": {"of": "the index"}, "manifests": [
            {"mediaType": OCI + ".manifest.v1+json", "digest": sha256(manifest), "size": len(manifest),
             "platform": {"os": "linux", "architecture": "amd64"}, "annotations": {"of": "the entry"}}]}).encode()
        fake.manifests["1"] = fake.manifests[sha256(index)] = (OCI + ".index.v1+json", index)
        reference = f"{fake.host}/annotated:1"
        daemon.run("pull", "-q", "--all-platforms", reference)
    daemon.run("push", "-q", reference, f"{registry.host}/annotated:1")
    assert registry.raw("annotated:1") == index
    assert registry.raw(f"annotated@{sha256(manifest)}") == manifest
    daemon.run("image", "export", "-o", str(tmp_path / "out.tar"), reference)
    with tarfile.open(tmp_path / "out.tar") as tar:
        for data in (index, manifest):
            assert tar.extractfile("blobs/sha256/" + sha256(data)[7:]).read() == data
    daemon.run("-n", "again", "image", "import", "--all-platforms", str(tmp_path / "out.tar"))
    assert daemon.json("-n", "again", "image", "ls")[0]["target"][1] == sha256(index)


def use_plugins(daemon, plugin, text):
    """Starts the daemon anew with a drop-in for one plugin."""
    daemon.stop()
    directory = f"{daemon.dir}/plugins.d"
    os.makedirs(f"{directory}/{plugin}.plugin.d")
    for name in os.listdir(f"{os.environ['GANTRY_BUILD']}/plugins.d"):
        os.symlink(f"{os.environ['GANTRY_BUILD']}/plugins.d/{name}", f"{directory}/{name}")
    with open(f"{directory}/{plugin}.plugin.d/test.conf", "w", encoding="utf-8") as file:
        file.write(f"[Config]\n{text}\n")
    daemon.start("--plugins-dir", directory)


@pytest.mark.parametrize("policy", ["shared", "isolated"])
def test_namespaces_share_blobs_by_policy(daemon, registry, image, policy):
    reference = registry.push(f"{image}/oci.tar", "shared:1")
    use_plugins(daemon, "store-local", f"ContentSharing={policy}")
    daemon.run("-n", "one", "pull", "-q", reference)
    fetched = set(registry.blob_gets())
    registry.forget()
    daemon.run("-n", "two", "pull", "-q", reference)
    assert len(fetched) == 2 and set(registry.blob_gets()) == (set() if policy == "shared" else fetched)
    blobs = f"{daemon.dir}/r/content-local/blobs/sha256"
    assert len(os.listdir(blobs)) == 3, "once on disk, whoever has it"
    daemon.run("-n", "one", "image", "rm", reference)
    daemon.run("gc", "run")
    assert len(os.listdir(blobs)) == 3 and daemon.out("-n", "two", "run", "--rm", reference, "echo", "still") == "still"
    daemon.run("-n", "two", "image", "rm", reference)
    daemon.run("gc", "run")
    assert os.listdir(blobs) == [] and daemon.out("check") == ""


