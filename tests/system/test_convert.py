# SPDX-License-Identifier: LGPL-2.1-or-later
"""Images converted: Docker to OCI and to another compression; what is in them, and what was unpacked of them, stays."""
import json
import os
import subprocess
import time

from test_images import multi_platform
from test_layers import digest, make_image
from layers import REG, archive, entry

ZSTD = b"\x28\xb5\x2f\xfd"
OCI = "application/vnd.oci.image"


def document(daemon, key):
    return json.loads(daemon.run("content", "get", key).stdout)


def manifest_of(daemon, name):
    """The manifest of an image that is no index."""
    target = [one["target"] for one in daemon.json("image", "ls") if one["name"] == name][0]
    found = document(daemon, target[1])
    assert found.get("mediaType", target[0]) == target[0]
    return found


def test_docker_to_oci(daemon, image, tmp_path):
    daemon.run("image", "import", "--label", "a=b", f"{image}/docker.tar")
    before = manifest_of(daemon, "example.com/docker:1")
    assert before["mediaType"].startswith("application/vnd.docker")
    assert daemon.out("image", "convert", "example.com/docker:1", "example.com/oci:1") == "example.com/oci:1"
    after = manifest_of(daemon, "example.com/oci:1")
    assert after["mediaType"] == f"{OCI}.manifest.v1+json" and after["config"]["mediaType"] == f"{OCI}.config.v1+json"
    assert all(layer["mediaType"].startswith(f"{OCI}.layer.v1.tar") for layer in after["layers"])
    assert [one["digest"] for one in after["layers"]] == [one["digest"] for one in before["layers"]]
    assert after["config"]["digest"] == before["config"]["digest"]
    assert [one["labels"] for one in daemon.json("image", "ls") if one["name"] == "example.com/oci:1"] == [{"a": "b"}]
    assert daemon.out("run", "--rm", "example.com/oci:1", "echo", "hello") == "hello"
    daemon.run("image", "rm", "example.com/docker:1")
    daemon.run("gc", "run")
    daemon.run("image", "export", "-o", f"{tmp_path}/out.tar", "example.com/oci:1")
    subprocess.run(["skopeo", "inspect", f"oci-archive:{tmp_path}/out.tar"], check=True, capture_output=True)


def test_compression(busybox, tmp_path):
    name = "docker.io/library/busybox:latest"
    before = manifest_of(busybox, name)
    unpacked = busybox.json("image", "inspect", "busybox")
    busybox.run("image", "convert", "--compression", "zstd", "busybox", "busybox:zstd")
    after = manifest_of(busybox, "docker.io/library/busybox:zstd")
    assert after["layers"][0]["mediaType"] == f"{OCI}.layer.v1.tar+zstd" and after["config"] == before["config"]
    data = busybox.run("content", "get", after["layers"][0]["digest"]).stdout
    assert data[:4] == ZSTD and len(data) == after["layers"][0]["size"]
    plain = subprocess.run(["zstd", "-dc"], input=data, check=True, capture_output=True).stdout
    assert digest(plain) == unpacked["diff-ids"][0]
    again = busybox.json("image", "inspect", "busybox:zstd")
    assert again["diff-ids"] == unpacked["diff-ids"] and again["chain-id"] == unpacked["chain-id"]
    busybox.run("image", "rm", "busybox")
    busybox.run("gc", "run")
    # Unpacked anew, elsewhere, from the new layers alone.
    busybox.run("image", "export", "-o", f"{tmp_path}/out.tar", "busybox:zstd")
    busybox.run("-n", "other", "image", "import", f"{tmp_path}/out.tar")
    assert busybox.out("-n", "other", "run", "--rm", "busybox:zstd", "echo", "hello") == "hello"
    busybox.run("image", "convert", "--compression", "gzip", "busybox:zstd", "busybox:zstd")
    assert manifest_of(busybox, "docker.io/library/busybox:zstd")["layers"][0]["mediaType"].endswith("tar+gzip")


def test_platforms(daemon, tmp_path):
    multi_platform(tmp_path / "multi.tar", ["amd64", "arm64", "s390x"])
    daemon.run("image", "import", "--all-platforms", "--no-unpack", f"{tmp_path}/multi.tar")
    daemon.run("image", "convert", "--compression", "zstd", "--platform", "linux/arm64", "--platform", "linux/s390x",
               "example.com/multi:1", "example.com/two:1")
    index = manifest_of(daemon, "example.com/two:1")
    assert [one["platform"]["architecture"] for one in index["manifests"]] == ["arm64", "s390x"]
    for one in index["manifests"]:
        assert document(daemon, one["digest"])["layers"][0]["mediaType"].endswith("+zstd")
    daemon.run("image", "convert", "--compression", "zstd", "example.com/multi:1", "example.com/all:1")
    assert len(manifest_of(daemon, "example.com/all:1")["manifests"]) == 3
    result = daemon.run("image", "convert", "--platform", "linux/mips", "example.com/multi:1", "example.com/none:1", check=False)
    assert result.returncode == 1 and b"platform" in result.stderr


def test_refused(daemon, tmp_path):
    make_image(tmp_path / "x.tar", "example.com/x:1", [archive(entry("f", REG, b"x"))])
    daemon.run("image", "import", f"{tmp_path}/x.tar")
    for args in (("--compression", "lzma", "example.com/x:1", "example.com/y:1"), ("example.com/absent:1", "example.com/y:1"),
                 ("example.com/x:1", "not a name")):
        assert daemon.run("image", "convert", *args, check=False).returncode == 1, args
    # A layer that is no longer what the config says.
    layer = manifest_of(daemon, "example.com/x:1")["layers"][0]["digest"]
    path = f"{daemon.dir}/r/content-local/blobs/sha256/{layer[7:]}"
    with open(path, "wb") as file:
        file.write(archive(entry("f", REG, b"y")))
    result = daemon.run("image", "convert", "--compression", "zstd", "example.com/x:1", "example.com/y:1", check=False)
    assert result.returncode == 1 and layer.encode() in result.stderr, result.stderr
    assert [one["name"] for one in daemon.json("image", "ls")] == ["example.com/x:1"]


def test_killed_while_converting(daemon, tmp_path):
    make_image(tmp_path / "x.tar", "example.com/x:1", [archive(entry("f", REG, bytes(64 << 20)))])
    daemon.run("image", "import", "--no-unpack", f"{tmp_path}/x.tar")
    before = {one["digest"] for one in daemon.json("content", "ls")}
    ingests = f"{daemon.dir}/r/content-local/ingest"
    arguments = ("image", "convert", "--compression", "zstd", "example.com/x:1", "example.com/y:1")
    client = subprocess.Popen([*daemon.client(), *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not os.listdir(ingests):
        assert client.poll() is None and time.monotonic() < deadline
    daemon.kill()
    assert client.wait(60) != 0
    daemon.start()
    assert [one["name"] for one in daemon.json("image", "ls")] == ["example.com/x:1"]
    daemon.run("gc", "run")
    assert {one["digest"] for one in daemon.json("content", "ls")} == before and os.listdir(ingests) == []
    daemon.run(*arguments)
    assert manifest_of(daemon, "example.com/y:1")["layers"][0]["mediaType"].endswith("+zstd")
