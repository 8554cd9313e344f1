# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs of images put among the host's files: plain files only, all or nothing, and never outside the directory."""
import os
import random
import shutil
import stat
import subprocess
import time

import pytest

from test_layers import make_image
from layers import CHAR, DIR, FIFO, HARDLINK, REG, SYMLINK, archive, entry


def load(daemon, tmp_path, *layers):
    make_image(tmp_path / "x.tar", "example.com/tools:1", [archive(*layer) for layer in layers])
    daemon.run("image", "import", "--no-unpack", f"{tmp_path}/x.tar")


def tree(path):
    return sorted(os.path.relpath(os.path.join(top, name), path) for top, dirs, files in os.walk(path) for name in dirs + files)


def test_install(daemon, tmp_path):
    load(daemon, tmp_path,
         [entry("bin", DIR), entry("bin/tool", REG, b"one", mode=0o4755, uid=7), entry("bin/old", REG, b"old"), entry("etc/conf", REG, b"c"),
          entry("lib/sub/x.so", REG, b"lib"), entry("etc/link", SYMLINK, link="/etc/passwd")],
         [entry("bin/tool", REG, b"two", mode=0o755), entry("bin/.wh.old", REG, b""), entry("bin/set", REG, b"s", mode=0o6755, uid=7, gid=8)])
    place = tmp_path / "opt"
    assert sorted(daemon.out("image", "install", "--path", str(place), "example.com/tools:1").split()) == [f"{place}/bin/set", f"{place}/bin/tool"]
    assert tree(place) == ["bin", "bin/set", "bin/tool"] and (place / "bin/tool").read_bytes() == b"two"
    status = (place / "bin/set").stat()
    assert stat.S_IMODE(status.st_mode) == 0o755 and (status.st_uid, status.st_gid) == (0, 0)
    (place / "bin/tool").write_bytes(b"mine")
    result = daemon.run("image", "install", "--libs", "--path", str(place), "example.com/tools:1", check=False)
    assert result.returncode == 1 and b"already" in result.stderr
    assert tree(place) == ["bin", "bin/set", "bin/tool"] and (place / "bin/tool").read_bytes() == b"mine"
    daemon.run("image", "install", "--libs", "--replace", "--path", str(place), "example.com/tools:1")
    assert tree(place) == ["bin", "bin/set", "bin/tool", "lib", "lib/sub", "lib/sub/x.so"]
    assert (place / "bin/tool").read_bytes() == b"two"


@pytest.mark.parametrize("name, layer", [
    ("symlink", [entry("bin/x", SYMLINK, link="/etc/passwd")]),
    ("bin is a link", [entry("bin", SYMLINK, link="/etc"), entry("bin/x", REG, b"x")]),
    ("directory link", [entry("bin/d", SYMLINK, link="/etc"), entry("bin/d/x", REG, b"x")]),
    ("hard link", [entry("bin/a", REG, b"a"), entry("bin/x", HARDLINK, link="bin/a")]),
    ("absolute", [entry("/bin/x", REG, b"x")]),
    ("device", [entry("bin/x", CHAR, device=(1, 3))]),
    ("fifo", [entry("bin/x", FIFO)]),
    ("dots", [entry("bin/../../../x", REG, b"x")]),
    ("bin is a file", [entry("bin", REG, b"x")]),
    ("nothing", [entry("etc/x", REG, b"x")]),
])
def test_refused(daemon, tmp_path, name, layer):
    load(daemon, tmp_path, [entry("bin/good", REG, b"g")] if name != "nothing" else [entry("a", REG, b"")], layer)
    place = tmp_path / "place" / "opt"
    result = daemon.run("image", "install", "--path", str(place), "example.com/tools:1", check=False)
    assert result.returncode == 1, name
    assert tree(tmp_path / "place") == ["opt"], (name, result.stderr)


def test_links_of_the_host(daemon, tmp_path):
    """What is in the directory already is not trusted either."""
    load(daemon, tmp_path, [entry("bin/x", REG, b"x")])
    outside, place = tmp_path / "outside", tmp_path / "opt"
    outside.mkdir()
    place.mkdir()
    os.symlink(outside, place / "bin")
    result = daemon.run("image", "install", "--replace", "--path", str(place), "example.com/tools:1", check=False)
    assert result.returncode == 1 and os.listdir(outside) == []
    # Of an install that was killed.
    (place / "bin").unlink()
    (place / ".gantry-install" / "bin").mkdir(parents=True)
    (place / ".gantry-install" / "bin" / "stale").write_bytes(b"")
    daemon.run("image", "install", "--path", str(place), "example.com/tools:1")
    assert tree(place) == ["bin", "bin/x"]


def test_killed_while_installing(daemon, tmp_path):
    """At random instants: each file is the old one or the new one, whole, and the next install leaves nothing of the last."""
    seed = random.randrange(2 ** 32)
    rng = random.Random(seed)
    place = tmp_path / "opt"
    names = [f"tool-{i}" for i in range(300)]

    def version(n):
        return {name: f"{n} {name} ".encode() * 2000 for name in names}

    for n in (1, 2):
        make_image(tmp_path / f"{n}.tar", f"example.com/tools:{n}",
                   [archive(*[entry(f"bin/{name}", REG, data, mode=0o755) for name, data in version(n).items()])])
        daemon.run("image", "import", "--no-unpack", f"{tmp_path}/{n}.tar")
    began = time.monotonic()
    daemon.run("image", "install", "--path", str(place), "example.com/tools:1")
    took = time.monotonic() - began
    interrupted = 0
    for round_number in range(10):
        n = 2 - round_number % 2
        client = subprocess.Popen([*daemon.client(), "image", "install", "--replace", "--path", str(place), f"example.com/tools:{n}"],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.random() * took)
        daemon.kill()
        interrupted += client.wait(60) != 0
        for name in names:
            data = (place / "bin" / name).read_bytes()
            assert data in (version(1)[name], version(2)[name]), (seed, round_number, name, len(data))
        daemon.start()
    assert interrupted > 0, seed
    daemon.run("image", "install", "--replace", "--path", str(place), "example.com/tools:2")
    assert tree(place) == sorted(["bin", *[f"bin/{name}" for name in names]])
    assert all((place / "bin" / name).read_bytes() == data for name, data in version(2).items())
    assert daemon.out("check") == ""
    shutil.rmtree(place)
