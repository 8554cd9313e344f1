# SPDX-License-Identifier: LGPL-2.1-or-later
"""Shims of others under our daemon, driven by runtime-shim: Debian's containerd-shim-runc-v2, and our own as if it were another's."""
import os
import shutil
import subprocess
import time

import pytest
from gi.repository import Gio, GLib

from conftest import BUILD
from test_containers import Terminal

pytestmark = pytest.mark.skipif(shutil.which("containerd-shim-runc-v2") is None, reason="needs containerd-shim-runc-v2")
# The OCI runtime's state is every containerd's: a name of our own.
ONE = f"one-{os.getpid()}"
RUN = ["run", "--runtime", "shim"]
PATIENCE = 60
MANIFEST = """[Plugin]
Module={build}/plugins/runtime-shim.so
Provides=org.gantry.runtime.v1
Id=own
Rank=0
[Config]
Shim={build}/plugins/runtime-runc/shim/gantry-shim-runc
"""


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


@pytest.fixture
def own(busybox):
    """The daemon drives our own shim, too, by containerd's protocol alone."""
    directory = f"{busybox.dir}/plugins.d"
    os.mkdir(directory)
    with open(f"{directory}/runtime-own.plugin", "w", encoding="utf-8") as file:
        file.write(MANIFEST.format(build=BUILD))
    busybox.stop()
    start = busybox.start
    busybox.start = lambda: start("--plugins-dir", directory)
    return busybox.start()


class Bus:
    """The daemon's D-Bus API, for what the command line has no words for."""

    def __init__(self, daemon):
        self.bus = Gio.DBusConnection.new_for_address_sync(f"unix:path={daemon.socket}", Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT, None, None)

    def call(self, path, interface, method, body=None, fds=()):
        handles = Gio.UnixFDList.new()
        for fd in fds:
            handles.append(fd)
        return self.bus.call_with_unix_fd_list_sync(None, path, f"org.gantry1.{interface}", method, body, None, 0, PATIENCE * 1000, handles,
                                                    None)[0].unpack()

    def run(self, name, runtime, *args, **stdio):
        path, = self.call("/org/gantry1/namespace/default", "Namespace", "CreateContainer", GLib.Variant("(ssa{sv})", (name, "busybox", {
            "args": GLib.Variant("as", args), "runtime": GLib.Variant("s", runtime)})))
        self.call(path, "Container", "CreateTask", GLib.Variant("(a{sv}ah)", (kept(**stdio), [])))
        self.call(path, "Task", "Start", GLib.Variant("(s)", ("",)))
        return path

    def exec(self, container, name, *args, start=True):
        path, = self.call(container, "Task", "Exec", GLib.Variant("(sa{sv}ah)", (name, {"args": GLib.Variant("as", args), **kept()}, [])))
        if start:
            self.call(path, "Process", "Start")
        return path

    def attach(self, path, interface="Process", *words):
        """Returns the other ends of its stdin, stdout and stderr."""
        pipes = [os.pipe() for _ in range(3)]
        theirs = [pipes[0][0], pipes[1][1], pipes[2][1]]
        signature = f"({'s' * len(words)}ah)"
        self.call(path, interface, "Attach", GLib.Variant(signature, (*words, [0, 1, 2])), theirs)
        for fd in theirs:
            os.close(fd)
        return [os.fdopen(pipes[0][1], "wb", buffering=0), os.fdopen(pipes[1][0], "rb"), os.fdopen(pipes[2][0], "rb")]

    def execs(self, container):
        """What there is of execs: name to status."""
        objects, = self.bus.call_sync(None, "/org/gantry1", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", None, None, 0,
                                      PATIENCE * 1000, None).unpack()
        found = [interfaces["org.gantry1.Process"] for interfaces in objects.values() if "org.gantry1.Process" in interfaces]
        return {one["Id"]: one["Status"] for one in found if one["Container"] == container}


def kept(**stdio):
    return {name: GLib.Variant("s", stdio.get(name, "stream:")) for name in ("stdin", "stdout", "stderr")}


def gone(pid):
    deadline = time.monotonic() + PATIENCE
    while os.path.exists(f"/proc/{pid}"):
        assert time.monotonic() < deadline
        time.sleep(0.02)


SHIMS = ["shim", "own"]


@pytest.mark.parametrize("runtime", SHIMS)
def test_terminal_after_the_daemon_was_killed(own, runtime):
    own.run("run", "--runtime", runtime, "-d", "-i", "-t", "--name", ONE, "busybox", "sh")
    terminal = Terminal(own, "attach", "-t", ONE)
    terminal.type(b"x=kept; echo fi''rst\n")
    terminal.expect(b"first\r\n")
    own.kill()
    terminal.end()
    own.start()
    terminal = Terminal(own, "attach", "-t", ONE)
    terminal.type(b"echo $x ag''ain\n")
    terminal.expect(b"kept again\r\n")
    terminal.type(b"exit 4\n")
    assert terminal.end() == 4
    assert own.out("wait", ONE) == "4"


@pytest.mark.parametrize("runtime", SHIMS)
def test_execs_after_the_daemon_was_killed(own, runtime):
    """What runs is attached to and waited for, what was made is started, and what has ended keeps its status."""
    bus = Bus(own)
    box = bus.run(ONE, runtime, "sh", "-c", "while read x; do echo got $x; echo err $x >&2; done; echo end; exit 3")
    answer = ["sh", "-c", "read x; echo in $x; exit $x"]
    seen = bus.exec(box, "seen", "sh", "-c", "exit 5")
    assert bus.call(seen, "Process", "Wait")[0] == 5
    removed = bus.exec(box, "removed", "true")
    bus.call(removed, "Process", "Wait")
    assert bus.call(removed, "Process", "Delete")[0] == 0
    runs, made, killed = bus.exec(box, "runs", *answer), bus.exec(box, "made", *answer, start=False), bus.exec(box, "killed", "sleep", "1000")
    ends = bus.exec(box, "ends", *answer)
    pid = bus.bus.call_sync(None, ends, "org.freedesktop.DBus.Properties", "Get", GLib.Variant("(ss)", ("org.gantry1.Process", "Pid")), None, 0,
                            PATIENCE * 1000, None).unpack()[0]
    stdin, stdout, stderr = bus.attach(box, "Task", "")
    stdin.write(b"one\n")
    assert (stdout.readline(), stderr.readline()) == (b"got one\n", b"err one\n")
    own.kill()
    # Of those who were attached; the process's own stdin goes on.
    assert (stdout.read(), stderr.read()) == (b"", b"")
    bundle = f"{own.dir}/s/runtime-{runtime}/bundles/default/{ONE}"
    with open(f"{bundle}/io.ends.0", "wb") as fifo:
        fifo.write(b"7\n")
    gone(pid)
    own.start()
    bus = Bus(own)
    assert bus.execs(box) == {"seen": "stopped", "ends": "stopped", "runs": "running", "made": "created", "killed": "running"}
    assert [bus.call(path, "Process", "Wait")[0] for path in (seen, ends)] == [5, 7]
    bus.call(made, "Process", "Start")
    for path, status in ((runs, 9), (made, 255)):
        stdin, stdout, stderr = bus.attach(path)
        stdin.write(f"{status}\n".encode())
        assert (stdout.read(), stderr.read()) == (f"in {status}\n".encode(), b"")
        assert bus.call(path, "Process", "Wait")[0] == status
    with pytest.raises(GLib.Error, match="has exited"):
        bus.attach(runs)
    with pytest.raises(GLib.Error, match="already exists"):
        bus.exec(box, "seen", "true")
    bus.call(killed, "Process", "Kill", GLib.Variant("(ub)", (9, False)))
    assert bus.call(killed, "Process", "Wait")[0] == 137
    assert [bus.call(path, "Process", "Delete")[0] for path in (seen, ends, runs, made, killed)] == [5, 7, 9, 255, 137]
    assert [name for name in os.listdir(bundle) if name.startswith(("io.", "stdio.", "exit.")) and name.split(".")[1] != ""] == []
    # Two at once, and the end of stdin.
    first, second = bus.attach(box, "Task", ""), bus.attach(box, "Task", "")
    second[0].write(b"two\n")
    assert [one[1].readline() for one in (first, second)] == [b"got two\n"] * 2
    bus.call(box, "Task", "CloseStdin", GLib.Variant("(s)", ("",)))
    assert [one[1].read() for one in (first, second)] == [b"end\n"] * 2 and [one[2].read() for one in (first, second)] == [b"err two\n"] * 2
    assert own.out("wait", ONE) == "3"
    own.run("rm", ONE)
    assert own.out("check") == ""


@pytest.mark.parametrize("runtime", SHIMS)
def test_shim_killed_while_the_daemon_was_away(own, runtime):
    """Of what had ended the status is exact all the same."""
    bus = Bus(own)
    box = bus.run(ONE, runtime, "sleep", "1000")
    seen, runs = bus.exec(box, "seen", "sh", "-c", "exit 5"), bus.exec(box, "runs", "sleep", "1000")
    assert bus.call(seen, "Process", "Wait")[0] == 5
    shim = parent_name(own.json("ps")[0]["pid"])[0]
    own.kill()
    os.kill(shim, 9)
    own.start()
    bus = Bus(own)
    assert bus.execs(box) == {"seen": "stopped", "runs": "stopped"}
    assert [bus.call(path, "Process", "Wait")[0] for path in (seen, runs)] == [5, 137] and own.out("wait", ONE) == "137"
    assert [bus.call(path, "Process", "Delete")[0] for path in (seen, runs)] == [5, 137]
    own.run("rm", ONE)
    assert own.out("check") == ""


@pytest.mark.parametrize("runtime", SHIMS)
def test_a_descriptor_that_went_with_the_daemon(own, runtime):
    """Its process is not held up by output that nobody reads, and its stdin ends."""
    gate = f"{own.dir}/gate"
    os.mkfifo(gate)
    ours, theirs = os.pipe()
    command = own.client() + ["run", "--runtime", runtime, "-i", "--name", ONE, "-v", f"{gate}:/gate", "busybox", "sh", "-c",
                              "echo up; read x </gate; head -c 300000 /dev/zero; cat; exit 8"]
    with subprocess.Popen(command, stdin=ours, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout.readline() == b"up\n"
        own.kill()
        process.communicate(timeout=PATIENCE)
    own.start()
    with pytest.raises(GLib.Error, match="not kept: they are \"fd:0\""):
        Bus(own).attach(f"/org/gantry1/container/default_2f{ONE.replace('-', '_2d')}", "Task", "")
    with open(gate, "w", encoding="ascii") as file:
        file.write("go\n")
    assert own.out("wait", ONE) == "8"
    os.close(ours)
    os.close(theirs)
