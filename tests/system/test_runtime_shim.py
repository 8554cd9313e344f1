# SPDX-License-Identifier: LGPL-2.1-or-later
"""A shim of containerd's own under our daemon: Debian's containerd-shim-runc-v2, driven by runtime-shim."""
import os
import shutil
import time

import pytest

from test_containers import Terminal

pytestmark = pytest.mark.skipif(shutil.which("containerd-shim-runc-v2") is None, reason="needs containerd-shim-runc-v2")
# The OCI runtime's state is every containerd's: a name of our own.
ONE = f"one-{os.getpid()}"
RUN = ["run", "--runtime", "shim"]


def parent_name(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        parent = stat.read().rsplit(")", 1)[1].split()[1]
    with open(f"/proc/{parent}/comm", encoding="ascii") as comm:
        return int(parent), comm.read().strip()


def test_run(busybox):
    assert busybox.out(*RUN, "--rm", "--name", ONE, "busybox", "echo", "hello") == "hello"
    result = busybox.run(*RUN, "--rm", "--name", ONE, "busybox", "sh", "-c", "echo err >&2; exit 42", check=False)
    assert (result.returncode, result.stderr) == (42, b"err\n")
    result = busybox.run(*RUN, "--rm", "--name", ONE, "busybox", "/no/such", check=False)
    assert result.returncode == 127 and result.stderr.count(b"\n") == 1 and b"/no/such" in result.stderr
    data = os.urandom(3000000)
    assert busybox.run(*RUN, "--rm", "-i", "--name", ONE, "busybox", "cat", input=data).stdout == data
    assert busybox.out("ps", "-q") == "" and busybox.out("check") == ""


def test_task(busybox):
    busybox.run(*RUN, "-d", "--name", ONE, "busybox", "sleep", "1000")
    shim, name = parent_name(busybox.json("ps")[0]["pid"])
    assert name == "containerd-shim"
    assert busybox.out("exec", ONE, "echo", "inside") == "inside"
    assert busybox.run("exec", ONE, "sh", "-c", "exit 7", check=False).returncode == 7
    terminal = Terminal(busybox, "exec", "-it", ONE, "sh", "-c", "tty; read x; exit $x")
    terminal.expect(b"/dev/pts")
    terminal.type(b"8\n")
    assert terminal.end() == 8
    busybox.run("kill", "-s", "KILL", ONE)
    assert busybox.out("wait", ONE) == "137"
    busybox.run("rm", ONE)
    deadline = time.monotonic() + 60
    while os.path.exists(f"/proc/{shim}"):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_daemon_killed(busybox):
    """What ended while the daemon was away is known, what runs goes on, and a shim that died is cleaned up after."""
    gate = f"{busybox.dir}/gate"
    os.mkfifo(gate)
    two, three = f"two-{os.getpid()}", f"three-{os.getpid()}"
    busybox.run(*RUN, "-d", "--name", ONE, "-v", f"{gate}:/gate", "busybox", "sh", "-c", "read x </gate; exit 6")
    for name in (two, three):
        busybox.run(*RUN, "-d", "--name", name, "busybox", "sleep", "1000")
    pids = {one["id"]: one["pid"] for one in busybox.json("ps")}
    busybox.kill()
    with open(gate, "w", encoding="ascii") as file:
        file.write("go\n")
    os.kill(parent_name(pids[three])[0], 9)
    deadline = time.monotonic() + 60
    while os.path.exists(f"/proc/{pids[ONE]}"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    busybox.start()
    assert busybox.out("wait", ONE) == "6"
    assert busybox.out("wait", three) == "137"
    assert busybox.out("exec", two, "echo", "alive") == "alive"
    busybox.run("rm", ONE, three)
    assert busybox.out("check") == ""
