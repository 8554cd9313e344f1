# SPDX-License-Identifier: LGPL-2.1-or-later
"""The blobs of a namespace, from the command line: listed, read by descriptor, removed, and kept apart from other namespaces'."""
import hashlib


def test_content(busybox):
    target = busybox.json("image", "ls")[0]["target"]
    blobs = {one["digest"]: one for one in busybox.json("content", "ls")}
    assert len(blobs) == 3 and set(busybox.out("content", "ls", "-q").split()) == set(blobs)
    for digest, info in blobs.items():
        data = busybox.run("content", "get", digest).stdout
        assert "sha256:" + hashlib.sha256(data).hexdigest() == digest and len(data) == info["size"]
        assert busybox.json("content", "inspect", digest) == info
    manifest = blobs[target[1]]
    assert manifest["labels"]["containerd.io/gc.ref.content.config"] in blobs
    label = "containerd.io/gc.ref.content.config"
    found = busybox.out("content", "ls", "-q", "-f", f'labels."{label}"=={manifest["labels"][label]}')
    assert found == target[1]


def test_namespaces_and_what_is_not_there(busybox):
    digest = busybox.json("image", "ls")[0]["target"][1]
    absent = "sha256:" + "0" * 64
    assert busybox.out("-n", "other", "content", "ls", "-q") == ""
    for args in (("-n", "other", "content", "get", digest), ("content", "get", absent), ("content", "inspect", absent),
                 ("content", "rm", absent), ("content", "rm", "--force", absent)):
        result = busybox.run(*args, check=False)
        assert result.returncode == 1 and args[-1].encode() in result.stderr and result.stdout == b"", (args, result)
    for bad in ("../../etc/passwd", "sha256:short", ""):
        assert busybox.run("content", "get", bad, check=False).returncode == 1


def test_rm_and_prune(busybox):
    target = busybox.json("image", "ls")[0]["target"][1]
    config = busybox.json("content", "inspect", target)["labels"]["containerd.io/gc.ref.content.config"]
    result = busybox.run("content", "rm", config, check=False)
    assert result.returncode == 1 and b"busybox" in result.stderr and b"force" in result.stderr, result
    assert busybox.out("content", "prune", "--dry-run") == "" and config in busybox.out("content", "ls", "-q")
    busybox.run("content", "rm", "--force", config)
    assert config not in busybox.out("content", "ls", "-q")
    busybox.run("image", "rm", "busybox")
    busybox.run("content", "prune")
    assert busybox.out("content", "ls", "-q") == ""
