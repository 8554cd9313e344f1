# SPDX-License-Identifier: LGPL-2.1-or-later
"""Power cuts. The daemon's root is a file system of its own, which is shut down as a power cut would: what is not on the disk at that
instant, the journal's last part too, is never written. Then it is mounted again, and the daemon is started on what is there.

GANTRY_POWER_ROUNDS sets how often (4 for what was acknowledged, twice as often amid a pull)."""
import contextlib
import fcntl
import hashlib
import os
import random
import shutil
import struct
import subprocess
import time

import pytest

from conftest import Daemon
from layers import DIR, REG, archive, entry
from test_pull import push_layers

ROUNDS = int(os.environ.get("GANTRY_POWER_ROUNDS", "4"))
FS_IOC_SHUTDOWN = 2 << 30 | 4 << 16 | ord("X") << 8 | 125  # _IOR ('X', 125, __u32)
NO_LOG_FLUSH = 2


class Disk:
    """An ext4 in a file, at `point`."""
    def __init__(self, image, point):
        self.image, self.point = image, point
        with open(image, "wb") as file:
            file.truncate(2 << 30)
        subprocess.run(["mkfs.ext4", "-q", image], check=True)
        os.makedirs(point, exist_ok=True)
        if not self.mount():
            pytest.skip("file systems can't be mounted here")

    def mount(self):
        return subprocess.run(["mount", "-o", "loop", self.image, self.point], check=False).returncode == 0

    def cut(self):
        fd = os.open(self.point, os.O_RDONLY)
        fcntl.ioctl(fd, FS_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        os.close(fd)

    def unmount(self):
        """Returns when the kernel has let go of it: workers of a killed daemon end a moment later, and mount namespaces that somebody
        makes meanwhile have it, too, till they end."""
        deadline = time.monotonic() + 60
        for still_there in (lambda: subprocess.run(["umount", self.point], check=False, capture_output=True).returncode != 0,
                            lambda: subprocess.run(["losetup", "-j", self.image], check=True, capture_output=True).stdout):
            while still_there():
                assert time.monotonic() < deadline
                time.sleep(0.02)


@pytest.fixture
def machine(tmp_path):
    """A daemon whose root can lose its power."""
    one = Daemon()
    disk = Disk(str(tmp_path / "disk"), f"{one.dir}/r")
    one.disk = disk
    one.start()
    yield one
    one.stop()
    disk.unmount()
    shutil.rmtree(one.dir)


def cut_power(machine):
    machine.disk.cut()
    machine.kill()
    machine.disk.unmount()
    shutil.rmtree(f"{machine.dir}/s")
    assert machine.disk.mount()
    machine.start()


def mixed_layers(seed):
    """Eight layers, some without entries for their directories, of odd seeds one large: the sync of a large layer is one for all."""
    source = random.Random(seed)
    layers = []
    for i in range(8):
        files = [(f"d{i % 3}/sub/{seed}-{i}-{n}", source.randbytes(source.choice((100, 5000, 300000)))) for n in range(20)]
        if i == 4 and seed % 2 == 1:
            files.append((f"large-{seed}", source.randbytes(12 << 20)))
        entries = [entry(f"d{i % 3}", DIR), entry(f"d{i % 3}/sub", DIR)] if i % 2 == 0 else []
        layers.append((archive(*entries, *(entry(name, REG, data) for name, data in files)), files))
    return [layer for layer, _ in layers], {name: hashlib.sha256(data).hexdigest() for _, files in layers for name, data in files}


def unpacked(machine):
    """Name -> digest of every file in every snapshot; some may be on their way out."""
    found = {}
    for directory, _, names in os.walk(f"{machine.dir}/r/snapshotter-overlay"):
        for name in names:
            path = os.path.join(directory, name)
            if "/fs/" not in path:
                continue
            with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
                found[path.split("/fs/", 1)[1]] = hashlib.sha256(file.read()).hexdigest()
    return found


def assert_whole(machine, registry, reference, files):
    assert [one["name"] for one in machine.json("image", "ls")] == [reference]
    # What an interrupted pull had unpacked half is garbage now, and goes in the background.
    machine.run("gc", "run")
    assert machine.out("check") == ""
    deadline = time.monotonic() + 60
    while (found := unpacked(machine)) != files:
        assert time.monotonic() < deadline, {name: value for name, value in found.items() if files.get(name) != value}
        time.sleep(0.1)
    registry.forget()
    machine.run("pull", reference)
    assert registry.blob_gets() == {}


def forget(machine, reference):
    machine.run("image", "rm", reference)
    machine.run("gc", "run")


def test_acknowledged_pull_survives(machine, registry, tmp_path):
    for number in range(ROUNDS):
        layers, files = mixed_layers(number)
        reference = push_layers(registry, tmp_path, f"power:{number}", layers)
        machine.run("pull", reference)
        cut_power(machine)
        assert_whole(machine, registry, reference, files)
        forget(machine, reference)


def test_acknowledged_import_survives(machine, registry, tmp_path):
    layers, files = mixed_layers(77)
    push_layers(registry, tmp_path, "power:import", layers)
    machine.run("image", "import", str(tmp_path / "pushed.tar"))
    cut_power(machine)
    machine.run("gc", "run")
    assert len(machine.json("image", "ls")) == 1 and machine.out("check") == "" and unpacked(machine) == files


def test_cut_amid_a_pull(machine, registry, tmp_path):
    seed = int(os.environ.get("GANTRY_SEED", random.randrange(1 << 30)))
    print("GANTRY_SEED", seed)
    source = random.Random(seed)
    took = 1.0
    for number in range(2 * ROUNDS):
        layers, files = mixed_layers(seed + number)
        reference = push_layers(registry, tmp_path, f"power:{number}", layers)
        pull = subprocess.Popen([*machine.client(), "pull", reference], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(source.uniform(0, took))
        cut_power(machine)
        pull.wait()
        machine.run("gc", "run")
        assert machine.out("check") == ""
        begin = time.monotonic()
        machine.run("pull", reference)
        took = max(0.2, 0.5 * (took + time.monotonic() - begin))
        assert_whole(machine, registry, reference, files)
        forget(machine, reference)
