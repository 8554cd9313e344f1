# SPDX-License-Identifier: LGPL-2.1-or-later
"""Hostile layers all the way through a daemon: refused with the entry's name, and nothing left behind."""
import hashlib
import io
import json
import os
import signal
import sys
import tarfile
import time

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "unit", "differ-archive"))
from layers import DIR, HARDLINK, REG, SYMLINK, archive, entry, gz, sparse_entry  # noqa: E402

OCI = "application/vnd.oci.image"

HOSTILE = {
    "dots": (archive(entry("../../escape", REG, b"x")), "../../escape"),
    "hard-link": (archive(entry("h", HARDLINK, link="../../../../etc/passwd")), '"h"'),
    "sparse": (archive(sparse_entry("huge", 10 << 40, [(0, b"x")])), "huge"),
    "truncated": (archive(entry("cut", REG, b"x" * 100000))[:50000], "cut"),
    "not-tar": (b"hello, world" * 1000, "tar"),
}


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def make_image(path, name, layers):
    """An OCI archive of one image with the tars `layers`."""
    blobs = {digest(blob): blob for blob in (gz(layer) for layer in layers)}
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {},
                         "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]}}).encode()
    descriptors = [{"mediaType": OCI + ".layer.v1.tar+gzip", "digest": key, "size": len(blob)} for key, blob in blobs.items()]
    manifest = json.dumps({"schemaVersion": 2, "mediaType": OCI + ".manifest.v1+json", "layers": descriptors,
                           "config": {"mediaType": OCI + ".config.v1+json", "digest": digest(config), "size": len(config)}}).encode()
    index = json.dumps({"schemaVersion": 2, "manifests": [{"mediaType": OCI + ".manifest.v1+json", "digest": digest(manifest), "size": len(manifest),
                                                           "annotations": {"io.containerd.image.name": name}}]}).encode()
    blobs.update({digest(config): config, digest(manifest): manifest})
    files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": index}
    files.update({"blobs/" + key.replace(":", "/"): blob for key, blob in blobs.items()})
    with tarfile.open(path, "w") as tar:
        for member, data in files.items():
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def snapshots(daemon):
    """Every directory tree that a snapshotter keeps."""
    found = []
    for directory, subdirs, _ in os.walk(f"{daemon.dir}/r"):
        if os.path.basename(directory) == "fs":
            found.append(directory)
            subdirs.clear()
    return found


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_layer(daemon, tmp_path, name):
    tar, word = HOSTILE[name]
    good = archive(entry("bin", DIR), entry("bin/tool", REG, b"good"))
    make_image(tmp_path / "image.tar", "hostile.test/x:1", [good, tar])
    result = daemon.run("image", "import", str(tmp_path / "image.tar"), check=False)
    assert result.returncode != 0
    message = result.stderr.decode()
    assert word in message and len(message.strip().splitlines()) == 1
    # A snapshot's files are removed after the answer.
    deadline = time.monotonic() + 60
    while len(snapshots(daemon)) > 1:
        assert time.monotonic() < deadline, "the good layer may stay, the hostile one may not"
        time.sleep(0.02)
    assert not [path for path in snapshots(daemon) if os.listdir(path) != ["bin"]]
    assert not any(daemon.unpackers().values())
    # The daemon is none the worse for it.
    make_image(tmp_path / "good.tar", "good.test/x:1", [good, archive(entry("bin/.wh.tool"), entry("l", SYMLINK, link="bin"))])
    daemon.run("image", "import", str(tmp_path / "good.tar"))
    assert "good.test/x:1" in daemon.out("image", "ls")


def test_end_of_the_unpackers(daemon, tmp_path):
    """What forks the workers ends when there is nothing to unpack, and may be killed at any time before."""
    def unpack():
        unpack.count += 1
        make_image(tmp_path / "image.tar", f"good.test/x:{unpack.count}", [archive(entry("file", REG, b"%d" % unpack.count))])
        daemon.run("image", "import", str(tmp_path / "image.tar"))
        return daemon.unpackers()
    unpack.count = 0
    deadline = time.monotonic() + 120
    while not (unpackers := unpack()):
        assert time.monotonic() < deadline
    (server, workers), = unpackers.items()
    assert workers == []
    os.kill(server, signal.SIGKILL)
    assert server not in unpack()
    while daemon.unpackers():
        assert time.monotonic() < deadline, "a daemon at rest has no process to unpack with"
        time.sleep(0.05)
    unpack()
