# SPDX-License-Identifier: LGPL-2.1-or-later
"""Containers on a daemon whose root is on btrfs: a loop mount of the test's own."""
import os
import random
import shutil
import subprocess
import time

import pytest

from conftest import Daemon, sanitizer_reports

pytestmark = pytest.mark.skipif(shutil.which("mkfs.btrfs") is None or os.geteuid() != 0, reason="needs root and mkfs.btrfs")


@pytest.fixture
def daemon(image):
    one = Daemon()
    os.mkdir(f"{one.dir}/r")
    with open(f"{one.dir}/disk", "wb") as disk:
        disk.truncate(1 << 30)
    subprocess.run(["mkfs.btrfs", "-q", f"{one.dir}/disk"], check=True)
    if subprocess.run(["mount", "-t", "btrfs", "-o", "loop", f"{one.dir}/disk", f"{one.dir}/r"], check=False).returncode != 0:
        pytest.skip("no btrfs can be mounted")
    one.start()
    try:
        yield one
        for container in one.out("ps", "-q").split():
            one.run("rm", "-f", container)
        one.stop()
        assert not sanitizer_reports(one)
    finally:
        if one.process.poll() is None:
            one.kill()
        subprocess.run(["umount", f"{one.dir}/r"], check=True)
    shutil.rmtree(one.dir)


def subvolumes(daemon):
    return {line.split()[-1] for line in subprocess.run(["btrfs", "subvolume", "list", f"{daemon.dir}/r"], check=True, capture_output=True,
                                                        text=True).stdout.splitlines()}


def ctr(daemon, *args):
    return subprocess.run(["ctr", "-a", f"{daemon.dir}/s/grpc.sock", *args], check=True, capture_output=True, text=True).stdout


def settled(daemon, count):
    """Until as many subvolumes are there: those of what was removed go in the background."""
    deadline = time.monotonic() + 60
    while len(subvolumes(daemon)) != count:
        assert time.monotonic() < deadline, subvolumes(daemon)


def test_containers_are_subvolumes(daemon, image):
    daemon.run("image", "import", "--snapshotter", "btrfs", f"{image}/oci.tar")
    assert len(subvolumes(daemon)) == 1
    daemon.run("run", "--name", "one", "--snapshotter", "btrfs", "busybox", "sh", "-c", "dd if=/dev/zero of=/big bs=1M count=3; rm /bin/ls")
    assert len(subvolumes(daemon)) == 2
    # What the container has written counts, not what it shares with its image.
    size, = (line.split() for line in ctr(daemon, "snapshots", "--snapshotter", "btrfs", "usage", "-b", "one").splitlines()[1:])
    assert 3 << 20 <= int(size[1]) < 4 << 20, size
    # A container may make subvolumes of its own, and one in the image is not touched by what is done in a container.
    subprocess.run(["btrfs", "subvolume", "create", f"{daemon.dir}/r/{sorted(subvolumes(daemon))[-1]}/within"], check=True, capture_output=True)
    assert daemon.out("run", "--rm", "--snapshotter", "btrfs", "busybox", "ls", "/bin/ls") == "/bin/ls"
    daemon.run("rm", "one")
    settled(daemon, 1)
    assert daemon.out("check") == ""


def test_names_of_containerd(daemon, image):
    ctr(daemon, "images", "import", "--snapshotter", "btrfs", f"{image}/oci.tar")
    assert ctr(daemon, "run", "--rm", "--snapshotter", "btrfs", "docker.io/library/busybox:latest", "two", "echo", "through ctr") == "through ctr\n"
    plugins = [line.split() for line in ctr(daemon, "plugins", "ls").splitlines()]
    assert any(one[:2] == ["io.containerd.snapshotter.v1", "btrfs"] and one[-1] == "ok" for one in plugins), plugins


def test_crashes_leave_no_subvolume(daemon, image):
    """kill -9 at random instants while containers come and go."""
    daemon.run("image", "import", "--snapshotter", "btrfs", f"{image}/oci.tar")
    chance = random.Random(os.environ.get("GANTRY_CRASH_SEED", "btrfs"))
    for number in range(10):
        clients = [subprocess.Popen([*daemon.client(), "create", "--snapshotter", "btrfs", "--name", f"c{number}-{one}", "busybox", "true"],
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for one in range(6)]
        if number > 0:
            clients.append(subprocess.Popen([*daemon.client(), "rm", *daemon.out("ps", "-q").split()[:4]], stdout=subprocess.DEVNULL,
                                            stderr=subprocess.DEVNULL))
        # The instant is what is being drawn.
        time.sleep(chance.uniform(0, 0.05))
        daemon.kill()
        for client in clients:
            client.wait(60)
        daemon.start()
        assert daemon.out("check") == ""
    for container in daemon.out("ps", "-q").split():
        daemon.run("rm", container)
    settled(daemon, 1)
