# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the worker may do while it reads a layer, seen from outside."""
import os
import select
import signal
import subprocess

import pytest

from layers import TOOL, WORKER

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


def status(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


@pytest.fixture
def running(tmp_path):
    """A worker in the middle of an endless layer: a blob that is an archive's end and then nothing but padding."""
    root = tmp_path / "fs"
    root.mkdir()
    layer = tmp_path / "layer"
    with open(layer, "wb") as file:
        file.truncate(200 << 30)
    tool = subprocess.Popen([TOOL, WORKER, "apply", str(layer), "bind", str(root), "rbind", "sync=no"],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    worker = None
    try:
        while True:
            assert tool.poll() is None, tool.stdout.read()
            pids = children(tool.pid)
            # The filter comes last, before the threads.
            if pids and status(pids[0])["Seccomp"].strip() == "2" and int(status(pids[0])["Threads"]) >= 3:
                worker = pids[0]
                break
        yield tool, worker, root
    finally:
        tool.kill()
        tool.wait()


def test_privileges(running):
    _, worker, _ = running
    fields = status(worker)
    assert fields["NoNewPrivs"].strip() == "1" and fields["Seccomp"].strip() == "2"
    names = {0: "chown", 1: "dac_override", 2: "dac_read_search", 3: "fowner", 4: "fsetid", 21: "sys_admin", 27: "mknod", 31: "setfcap"}
    effective = int(fields["CapEff"], 16)
    assert {bit for bit in range(64) if effective >> bit & 1} <= set(names)
    assert int(fields["CapPrm"], 16) == effective


def test_view_of_the_files(running):
    _, worker, root = running
    assert os.listdir(f"/proc/{worker}/root") == ["root"]
    for kind in ("mnt", "ipc"):
        assert os.readlink(f"/proc/{worker}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}")
    marker = root / "marker"
    marker.write_text("x")
    assert os.listdir(f"/proc/{worker}/root/root") == ["marker"]


def test_descriptors(running):
    """Nothing but /dev/null, its socket, the blob, and the tree."""
    _, worker, _ = running
    targets = set()
    for fd in os.listdir(f"/proc/{worker}/fd"):
        try:
            targets.add(os.readlink(f"/proc/{worker}/fd/{fd}"))
        except FileNotFoundError:
            pass  # closed since it was listed
    for target in targets:
        assert target in ("/dev/null", "/root", "/") or target.startswith("socket:") or target.endswith("/layer") or os.environ.get("UNDER_SANITIZER"), targets


def test_limits(running):
    _, worker, _ = running
    with open(f"/proc/{worker}/limits", encoding="ascii") as file:
        text = file.read()
    assert "unlimited" not in [line.split()[3] for line in text.splitlines() if line.startswith("Max cpu time")]
    assert [line for line in text.splitlines() if line.startswith("Max core file size")][0].split()[4] == "0"


def test_worker_dies_with_its_parent(running):
    tool, worker, _ = running
    pidfd = os.pidfd_open(worker)
    try:
        tool.kill()
        assert select.select([pidfd], [], [], 20)[0]
    finally:
        os.close(pidfd)


def test_worker_that_is_killed(running):
    tool, worker, _ = running
    os.kill(worker, signal.SIGKILL)
    out, _ = tool.communicate(timeout=20)
    assert tool.returncode == 1 and b"killed by signal 9" in out
