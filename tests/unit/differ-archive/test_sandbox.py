# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the worker may do while it reads a layer, seen from outside."""
import glob
import os
import select
import signal
import subprocess
import time

import pytest

from layers import REG, TOOL, WORKER, archive, entry

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def children(pid):
    """Of all its threads."""
    found = []
    for path in glob.glob(f"/proc/{pid}/task/*/children"):
        try:
            with open(path, encoding="ascii") as file:
                found += [int(word) for word in file.read().split()]
        except FileNotFoundError:
            pass  # a thread that has ended since
    return found


def status(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def targets_of(pid):
    """What its descriptors are."""
    targets = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            targets.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except FileNotFoundError:
            pass  # closed since it was listed
    return targets


def workers(tool):
    """The workers of `tool`, which the server that it has started has forked."""
    return [worker for server in children(tool.pid) for worker in children(server)]


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
            pids = workers(tool)
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
    targets = targets_of(worker)
    for target in targets:
        assert target in ("/dev/null", "/root", "/") or target.startswith("socket:") or target.endswith("/layer") or os.environ.get("UNDER_SANITIZER"), targets


def test_limits(running):
    _, worker, _ = running
    with open(f"/proc/{worker}/limits", encoding="ascii") as file:
        text = file.read()
    assert "unlimited" not in [line.split()[3] for line in text.splitlines() if line.startswith("Max cpu time")]
    assert [line for line in text.splitlines() if line.startswith("Max core file size")][0].split()[4] == "0"


def wait_for_end(*pidfds):
    for pidfd in pidfds:
        assert select.select([pidfd], [], [], 60)[0]
        os.close(pidfd)


def test_server(running):
    """What workers are forked from has nothing of theirs, and what it needs to fork them."""
    tool, _, _ = running
    server = children(tool.pid)[0]
    fields = status(server)
    assert fields["NoNewPrivs"].strip() == "1" and int(fields["Threads"]) == 1
    # It may still be about to close what it has handed on.
    deadline = time.monotonic() + 60
    while any(target.endswith("/layer") for target in targets_of(server)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    # To the daemon, and the life of the one worker.
    assert len([target for target in targets_of(server) if target.startswith("socket:")]) == 2 or os.environ.get("UNDER_SANITIZER")


def test_worker_dies_with_its_parent(running):
    tool, worker, _ = running
    pidfds = [os.pidfd_open(worker), os.pidfd_open(children(tool.pid)[0])]
    # It can't notice by itself that it is alone.
    os.kill(worker, signal.SIGSTOP)
    tool.kill()
    wait_for_end(*pidfds)


def test_worker_that_is_killed(running):
    tool, worker, _ = running
    os.kill(worker, signal.SIGKILL)
    out, _ = tool.communicate(timeout=20)
    assert tool.returncode == 1 and b"killed by signal 9" in out


def test_server_that_is_killed(running):
    tool, worker, _ = running
    pidfd = os.pidfd_open(worker)
    os.kill(worker, signal.SIGSTOP)
    os.kill(children(tool.pid)[0], signal.SIGKILL)
    out, _ = tool.communicate(timeout=60)
    assert tool.returncode == 1 and b"without a result" in out and b"forked from, has died" in out
    wait_for_end(pidfd)


def test_death_of_one_worker(tmp_path):
    """It costs its own layer, and no other that is unpacked at the time."""
    layer = archive(entry("file", REG, b"x" * 10000))
    names = ["hostile", "good"]
    for name in names:
        os.mkfifo(tmp_path / f"{name}.layer")
        (tmp_path / name).mkdir()
    argv = [word for name in names for word in (str(tmp_path / f"{name}.layer"), str(tmp_path / name))]
    with subprocess.Popen([TOOL, WORKER, "apply-all", *argv], stdout=subprocess.PIPE, text=True) as tool:
        pipes = {}
        for name in names:
            pipes[name] = open(tmp_path / f"{name}.layer", "wb", buffering=0)
            pipes[name].write(layer[:2000])
        victim = None
        while victim is None:
            assert tool.poll() is None
            for worker in workers(tool):
                if str(tmp_path / "hostile.layer") in targets_of(worker) and status(worker)["Seccomp"].strip() == "2":
                    victim = worker
        # Not SIGSEGV, which a sanitizer would take for its own.
        os.kill(victim, signal.SIGKILL)
        line = tool.stdout.readline()
        # Before anything is asserted: a layer that still comes would keep the tool for ever.
        pipes["good"].write(layer[2000:])
        pipes["good"].close()
        assert line.startswith(str(tmp_path / "hostile")) and "killed by signal 9" in line
        assert tool.stdout.readline() == f"{tmp_path / 'good'} ok\n"
    assert (tmp_path / "good" / "file").read_bytes() == b"x" * 10000
    assert tool.returncode == 0
