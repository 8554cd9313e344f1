# SPDX-License-Identifier: LGPL-2.1-or-later
"""Containers end to end: gantry, D-Bus, gantryd, the shim, runc, overlay."""
import concurrent.futures
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

from conftest import BUILD


def test_hello(busybox):
    assert busybox.out("run", "--rm", "busybox", "echo", "hello") == "hello"
    assert busybox.out("ps", "-q") == ""
    assert busybox.out("check") == ""


def test_exit_statuses(busybox):
    for command, status in ((["true"], 0), (["sh", "-c", "exit 42"], 42)):
        result = busybox.run("run", "--rm", "busybox", *command, check=False)
        assert result.returncode == status and result.stderr == b"", result.stderr


@pytest.mark.parametrize("command,status,words", [
    ("/no/such", 127, b"/no/such: no such file or directory"), ("no-such", 127, b"executable file not found in $PATH"),
    ("/etc/passwd", 126, b"permission denied"), ("/etc", 126, b"permission denied"),
])
def test_program_that_cannot_be_run(busybox, command, status, words):
    """One clear line, whether it would have been the container's first program or one more."""
    busybox.run("run", "-d", "--name", "one", "busybox", "sleep", "1000")
    for verb in (["run", "--rm", "busybox"], ["exec", "one"]):
        result = busybox.run(*verb, command, check=False)
        assert result.returncode == status, result.stderr
        assert result.stderr.startswith(b"gantry: ") and result.stderr.count(b"\n") == 1 and words in result.stderr
    # A program that a mount brings is found, though the image does not have it.
    assert busybox.out("run", "--rm", "-v", "/bin:/host/bin", "-v", "/lib:/lib", "-v", "/lib64:/lib64", "busybox", "/host/bin/echo",
                       "here") == "here"
    assert len(busybox.json("ps")) == 1


def test_killed(busybox):
    busybox.run("run", "-d", "--name", "one", "busybox", "sleep", "1000")
    busybox.run("kill", "-s", "KILL", "one")
    assert busybox.out("wait", "one") == "137"
    assert busybox.json("ps")[0]["status"] == "stopped"
    assert busybox.out("ps", "-aq") == busybox.out("ps", "-q") != ""


def test_started_again(busybox):
    busybox.run("run", "-d", "--name", "one", "busybox", "sleep", "1000")
    result = busybox.run("start", "one", check=False)
    assert result.returncode == 125 and b"one" in result.stderr and b"exists" in result.stderr
    busybox.run("stop", "-t", "0", "one")
    busybox.run("start", "one")
    assert busybox.json("ps")[0]["status"] == "running"


def test_stdin_to_stdout_100_mb(busybox):
    feed = subprocess.Popen(["head", "-c", "100000000", "/dev/zero"], stdout=subprocess.PIPE)
    result = busybox.run("run", "--rm", "-i", "busybox", "cat", stdin=feed.stdout, stdout=subprocess.PIPE)
    assert len(result.stdout) == 100000000


def test_user_environment_and_limits(busybox):
    script = "id; env; pwd; hostname; cat /proc/self/status"
    text = busybox.out("run", "--rm", "-u", "user", "-e", "A=b", "-w", "/tmp", "--hostname", "box", "busybox", "sh", "-c", script)
    assert "uid=1000(user) gid=1000(user) groups=2000(extra)" in text
    assert "A=b\n" in text and "\n/tmp\nbox\n" in text
    assert "Seccomp:\t2" in text and "NoNewPrivs:\t1" in text and "CapEff:\t0000000000000000" in text
    assert busybox.run("run", "--rm", "--read-only", "busybox", "touch", "/x", check=False).returncode != 0
    assert busybox.run("run", "--rm", "-u", "nobody-here", "busybox", "true", check=False).returncode == 125


def test_exec(busybox):
    busybox.run("run", "-d", "--name", "one", "busybox", "sleep", "1000")
    assert busybox.out("exec", "one", "echo", "inside") == "inside"
    assert busybox.run("exec", "one", "sh", "-c", "exit 7", check=False).returncode == 7
    assert busybox.run("exec", "one", "/no/such", check=False).returncode == 127
    assert busybox.run("rm", "one", check=False).returncode == 1
    busybox.run("stop", "-t", "0", "one")


class Terminal:
    """gantry on a terminal of ours."""

    def __init__(self, daemon, *args, rows=24, columns=80):
        self.ours, theirs = pty.openpty()
        self.output = b""
        self.resize(rows, columns)
        self.process = subprocess.Popen(["setsid", "--ctty", f"{BUILD}/cli/gantry", "--address", f"unix:path={daemon.socket}", *args],
                                        stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)

    def resize(self, rows, columns):
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def expect(self, text):
        while text not in self.output:
            ready, _, _ = select.select([self.ours], [], [], 60)
            assert ready, (text, self.output)
            self.output += os.read(self.ours, 4096)
        self.output = self.output.split(text, 1)[1]

    def type(self, text):
        os.write(self.ours, text)

    def end(self):
        """Its exit status."""
        try:
            while select.select([self.ours], [], [], 60)[0] and os.read(self.ours, 4096):
                pass
        except OSError:
            pass
        os.close(self.ours)
        return self.process.wait(60)


SCRIPT = """
tty; stty size
trap 'echo resized; stty size' WINCH
echo ready; while [ "$(stty size)" = "31 101" ]; do sleep 0.05; done
cat; echo ended
trap 'echo interrupted; exit 9' INT
echo waiting; while :; do sleep 0.05; done
"""


def test_terminal(busybox):
    terminal = Terminal(busybox, "run", "--rm", "-it", "busybox", "sh", "-c", SCRIPT, rows=31, columns=101)
    terminal.expect(b"/dev/pts/0\r\n31 101\r\nready\r\n")
    terminal.resize(17, 55)
    terminal.expect(b"resized\r\n17 55\r\n")
    terminal.type(b"typed\n")
    terminal.expect(b"typed\r\ntyped\r\n")
    terminal.type(b"\x04")
    terminal.expect(b"ended\r\nwaiting\r\n")
    terminal.type(b"\x03")
    terminal.expect(b"interrupted\r\n")
    assert terminal.end() == 9


def test_terminal_of_an_exec(busybox):
    busybox.run("run", "-d", "--name", "one", "busybox", "sleep", "1000")
    terminal = Terminal(busybox, "exec", "-it", "one", "sh", "-c", "stty size; read x; exit $x", rows=40, columns=90)
    terminal.expect(b"40 90\r\n")
    terminal.type(b"8\n")
    assert terminal.end() == 8


def test_stdin_to_its_end(busybox):
    result = busybox.run("run", "--rm", "-i", "busybox", "sh", "-c", "cat; echo end", input=b"one\ntwo\n")
    assert result.stdout == b"one\ntwo\nend\n"
    # Without -i there is nothing to read.
    result = busybox.run("run", "--rm", "busybox", "sh", "-c", "cat; echo end", input=b"one\ntwo\n")
    assert result.stdout == b"end\n"


def test_64_at_once(busybox):
    def one(index):
        return busybox.run("run", "--rm", "busybox", "sh", "-c", f"echo {index}; exit {index}", check=False)

    count = 64
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        for index, result in enumerate(pool.map(one, range(count))):
            assert result.returncode == index and result.stdout == f"{index}\n".encode(), result.stderr
    assert busybox.out("ps", "-q") == "" and busybox.out("check") == ""


def test_shims_hold_no_zombies_and_no_descriptors(busybox):
    busybox.run("run", "-d", "--name", "one", "busybox", "sleep", "1000")
    init = busybox.json("ps")[0]["pid"]
    with open(f"/proc/{init}/stat", encoding="ascii") as stat:
        shim = int(stat.read().rsplit(")", 1)[1].split()[1])
    with open(f"/proc/{shim}/comm", encoding="ascii") as comm:
        assert comm.read().startswith("gantry-shim")
    before = sorted(os.readlink(f"/proc/{shim}/fd/{fd}").split(":")[0] for fd in os.listdir(f"/proc/{shim}/fd"))
    daemon_before = len(os.listdir(f"/proc/{busybox.process.pid}/fd"))
    for index in range(20):
        assert busybox.run("exec", "one", "sh", "-c", "sleep 0 & true", check=False).returncode == 0
    after = sorted(os.readlink(f"/proc/{shim}/fd/{fd}").split(":")[0] for fd in os.listdir(f"/proc/{shim}/fd"))
    assert after == before
    # Of the last client it may not have heard yet that it is gone.
    assert len(os.listdir(f"/proc/{busybox.process.pid}/fd")) <= daemon_before + 2
    with open(f"/proc/{shim}/task/{shim}/children", encoding="ascii") as children:
        assert children.read().split() == [str(init)]


def test_docker_archive(daemon, image):
    assert daemon.out("image", "import", f"{image}/docker.tar") == "example.com/docker:1"
    assert daemon.out("run", "--rm", "example.com/docker:1", "echo", "docker") == "docker"


def test_import_from_a_pipe(daemon, image):
    with open(f"{image}/oci.tar", "rb") as archive:
        daemon.run("image", "import", "-", stdin=archive)
    assert len(daemon.json("image", "ls")) == 1


def test_broken_archives_leave_nothing(daemon, image):
    with open(f"{image}/oci.tar", "rb") as file:
        whole = file.read()
    for name, data in (("cut", whole[:len(whole) // 2]), ("noise", os.urandom(100000)), ("empty", b"")):
        path = f"{daemon.dir}/{name}"
        with open(path, "wb") as file:
            file.write(data)
        result = daemon.run("image", "import", path, check=False)
        assert result.returncode == 1 and result.stderr.startswith(b"gantry: ") and result.stderr.count(b"\n") == 1
    assert daemon.json("image", "ls") == [] and daemon.out("check") == ""


def test_image_removal_frees_everything(busybox):
    busybox.run("image", "rm", "docker.io/library/busybox:latest")
    blobs = f"{busybox.dir}/r/content-local/blobs/sha256"
    deadline = time.monotonic() + 30
    while os.listdir(blobs):
        assert time.monotonic() < deadline, os.listdir(blobs)
        time.sleep(0.05)
    assert busybox.out("check") == ""


def test_native_snapshotter(daemon, image):
    daemon.run("image", "import", "--snapshotter", "native", f"{image}/oci.tar")
    assert daemon.out("run", "--rm", "--snapshotter", "native", "busybox", "echo", "copied") == "copied"


def test_daemon_killed_with_containers(busybox):
    for index in range(10):
        command = "sleep 1000" if index < 5 else f"read x < /gate/fifo{index}; exit {index}"
        os.makedirs(f"{busybox.dir}/gate", exist_ok=True)
        os.mkfifo(f"{busybox.dir}/gate/fifo{index}")
        busybox.run("run", "-d", "--name", f"c{index}", "-v", f"{busybox.dir}/gate:/gate", "busybox", "sh", "-c", command)
    busybox.kill()
    for index in range(5, 10):
        with open(f"{busybox.dir}/gate/fifo{index}", "w", encoding="ascii") as gate:
            gate.write("go\n")
    records = [f"{busybox.dir}/s/runtime-runc/bundles/default/c{index}/exit." for index in range(5, 10)]
    deadline = time.monotonic() + 30
    while not all(os.path.exists(record) for record in records):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    busybox.start()
    known = {one["id"]: one for one in busybox.json("ps")}
    assert len(known) == 10
    for index in range(10):
        assert known[f"c{index}"]["status"] == ("running" if index < 5 else "stopped")
    for index in range(5, 10):
        assert busybox.out("wait", f"c{index}") == str(index)
    assert busybox.out("exec", "c0", "echo", "alive") == "alive"
    assert busybox.out("check") == ""


def test_attach_after_the_daemon_was_killed(busybox):
    busybox.run("run", "-d", "-i", "-t", "--name", "one", "busybox", "sh")
    terminal = Terminal(busybox, "attach", "-t", "one")
    terminal.type(b"x=kept; echo fi''rst\n")
    terminal.expect(b"first\r\n")
    busybox.kill()
    terminal.end()
    busybox.start()
    terminal = Terminal(busybox, "attach", "-t", "one")
    terminal.type(b"echo $x ag''ain\n")
    terminal.expect(b"kept again\r\n")
    terminal.type(b"exit 4\n")
    assert terminal.end() == 4
    assert busybox.out("wait", "one") == "4"


def test_shim_killed(busybox):
    """It takes its container with it; both are cleaned up after, whether the daemon saw it or comes back to it."""
    for name in ("seen", "missed"):
        busybox.run("run", "-d", "--name", name, "busybox", "sleep", "1000")
        init = next(one["pid"] for one in busybox.json("ps") if one["id"] == name)
        with open(f"/proc/{init}/stat", encoding="ascii") as stat:
            shim = int(stat.read().rsplit(")", 1)[1].split()[1])
        if name == "missed":
            busybox.kill()
        os.kill(shim, 9)
        if name == "missed":
            busybox.start()
        assert busybox.out("wait", name) == "137"
    deadline = time.monotonic() + 30
    while os.listdir(f"{busybox.dir}/s/runtime-runc/runc/default"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    busybox.run("rm", "seen", "missed")
    assert busybox.out("check") == ""


def test_daemon_killed_while_importing(daemon, image):
    for delay in (0.0, 0.01, 0.02, 0.04, 0.08):
        process = subprocess.Popen([f"{BUILD}/cli/gantry", "--address", f"unix:path={daemon.socket}", "image", "import",
                                    f"{image}/oci.tar"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(delay)  # the random instant itself
        daemon.kill()
        acknowledged = process.wait(30) == 0
        daemon.start()
        names = [one["name"] for one in daemon.json("image", "ls")]
        assert names or not acknowledged
        for name in names:
            assert daemon.out("run", "--rm", name, "echo", "whole") == "whole"
    daemon.run("image", "import", f"{image}/oci.tar")


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the 32-bit program is one of the x86")
def test_32bit_programs(daemon, image, tmp_path):
    """The default profile is for native programs, and for 32-bit ones where the image has their loader, or they are asked for."""
    source, program, layout = tmp_path / "exit.s", tmp_path / "exit", tmp_path / "layout"
    source.write_text(".globl _start\n_start:\n mov $1, %eax\n mov $3, %ebx\n int $0x80\n")
    subprocess.run(["gcc", "-m32", "-nostdlib", "-static", "-no-pie", "-o", program, source], check=True)
    subprocess.run(["skopeo", "copy", "-q", f"oci-archive:{image}/oci.tar", f"oci:{layout}:latest"], check=True)
    subprocess.run(["umoci", "insert", "--image", f"{layout}:latest", program, "/bin/exit32"], check=True, capture_output=True)
    subprocess.run(["umoci", "insert", "--image", f"{layout}:latest", "--tag", "loader", program, "/lib/ld-linux.so.2"], check=True,
                   capture_output=True)
    for tag in ("latest", "loader"):
        archive = tmp_path / f"{tag}.tar"
        subprocess.run(["skopeo", "copy", "-q", f"oci:{layout}:{tag}", f"oci-archive:{archive}:example.com/exit:{tag}"], check=True)
        daemon.run("image", "import", archive)
    for tag, options, status in (("latest", [], 128 + signal.SIGSYS), ("latest", ["--seccomp", "default-32bit"], 3), ("loader", [], 3)):
        assert daemon.run("run", "--rm", *options, f"example.com/exit:{tag}", "exit32", check=False).returncode == status, (tag, options)
