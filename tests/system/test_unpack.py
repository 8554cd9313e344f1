# SPDX-License-Identifier: LGPL-2.1-or-later
"""Layers that are unpacked several at once make the same tree as one after the other, and once for all who want it."""
import subprocess

import pytest

from conftest import BUILD
from test_layers import make_image
from layers import DIR, REG, SYMLINK, archive, entry

NAME = "example.com/tree:1"


def base(*entries):
    with open("/bin/busybox", "rb") as file:
        busybox = file.read()
    return archive(entry("bin", DIR), entry("bin/busybox", REG, busybox, mode=0o755), entry("bin/sh", SYMLINK, link="busybox"),
                   entry("t", DIR), *entries)


LAYERS = {
    "usual": [
        base(entry("t/a", REG, b"1"), entry("t/d", DIR), entry("t/d/x", REG, b"x"), entry("t/d/y", REG, b"y"), entry("t/o", DIR),
             entry("t/o/old", REG, b"old"), entry("t/turns", REG, b"file")),
        archive(entry("t", DIR, mode=0o711), entry("t/.wh.a"), entry("t/d", DIR), entry("t/d/.wh.x"), entry("t/d/z", REG, b"z")),
        archive(entry("t", DIR), entry("t/o", DIR), entry("t/o/.wh..wh..opq"), entry("t/o/new", REG, b"new"), entry("t/.wh.turns"),
                entry("t/turns", DIR), entry("t/turns/in", REG, b"in")),
        archive(entry("t", DIR), entry("t/a", REG, b"again", mode=0o600, uid=7), entry("t/.wh.turns"), entry("t/turns", REG, b"file again")),
        archive(entry("t", DIR, mode=0o750, gid=9), entry("t/turns", DIR), entry("t/turns/late", REG, b"late")),
    ],
    # A layer may leave out directories that are below it, and then must look at what they are.
    "implied directories": [
        base(entry("t/deep", DIR, mode=0o700, uid=5), entry("t/deep/down", DIR, mode=0o711)),
        archive(entry("t/deep/down/file", REG, b"1")),
        archive(entry("t/deep/down/file", REG, b"2"), entry("t/deep/.wh.none")),
    ],
    # The root directory of a layer that says nothing of it is that of the layers below.
    "root directory": [
        base(entry("./", DIR, mode=0o751, uid=3, gid=4)),
        archive(entry("t", DIR), entry("t/one", REG, b"1")),
        archive(entry("./", DIR, mode=0o755), entry("t", DIR), entry("t/two", REG, b"2")),
        archive(entry("t", DIR), entry("t/three", REG, b"3")),
    ],
    "root directory once more": [
        base(),
        archive(entry("./", DIR, mode=0o711, gid=6), entry("t", DIR)),
        archive(entry("t", DIR), entry("t/three", REG, b"3")),
    ],
}
LOOK = "cd /; busybox stat -c '%a %u:%g' /; busybox find t -exec busybox stat -c '%n %a %u:%g %F' {} + | busybox sort; busybox find t -type f -exec busybox md5sum {} + | busybox sort"


@pytest.mark.parametrize("case", LAYERS)
def test_same_tree(daemon, tmp_path, case):
    make_image(tmp_path / "image.tar", NAME, LAYERS[case])
    daemon.run("image", "import", f"{tmp_path}/image.tar")
    daemon.run("image", "unpack", "--snapshotter", "native", NAME)
    at_once, in_turn = (daemon.out("run", "--rm", "--snapshotter", one, NAME, "sh", "-c", LOOK) for one in ("overlay", "native"))
    assert at_once == in_turn
    assert "t 7" in at_once and daemon.out("check") == ""


def test_once_for_all(daemon, tmp_path):
    layers = LAYERS["usual"]
    make_image(tmp_path / "image.tar", NAME, layers)
    daemon.run("image", "import", "--no-unpack", f"{tmp_path}/image.tar")
    with open(tmp_path / "events", "wb") as output:
        events = subprocess.Popen([f"{BUILD}/cli/gantry", "--address", f"unix:path={daemon.socket}", "events"], stdout=output)
    while b"marker" not in (tmp_path / "events").read_bytes():
        daemon.run("ns", "create", "marker")
        daemon.run("ns", "rm", "marker")
    jobs = [subprocess.Popen([*daemon.client(), "image", "unpack", NAME], stdout=subprocess.PIPE) for _ in range(5)]
    chains = {job.communicate(timeout=120)[0] for job in jobs}
    assert len(chains) == 1 and not any(job.returncode for job in jobs)
    while b"last" not in (tmp_path / "events").read_bytes():
        daemon.run("ns", "create", "last")
        daemon.run("ns", "rm", "last")
    events.terminate()
    events.wait()
    text = (tmp_path / "events").read_bytes()
    assert text.count(b"/snapshot/prepare") == text.count(b"/snapshot/commit") == len(layers)


def test_hostile_layer_among_good_ones(daemon, tmp_path):
    """One that fails ends the others, and what they had made is gone."""
    layers = LAYERS["usual"][:4] + [archive(entry("t", DIR), entry("../out", REG, b"x"))]
    make_image(tmp_path / "image.tar", NAME, layers)
    result = daemon.run("image", "import", f"{tmp_path}/image.tar", check=False)
    assert result.returncode == 1 and b"../out" in result.stderr and result.stderr.count(b"\n") == 1
    daemon.run("gc", "run")
    assert daemon.json("image", "ls") == [] and daemon.out("check") == ""
