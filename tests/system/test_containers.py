# SPDX-License-Identifier: LGPL-2.1-or-later
"""Containers end to end: gantry, D-Bus, gantryd, the shim, runc, overlay."""
import concurrent.futures
import os
import pty
import subprocess
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


def test_terminal(busybox):
    ours, theirs = pty.openpty()
    process = subprocess.Popen([f"{BUILD}/cli/gantry", "--address", f"unix:path={busybox.socket}", "run", "--rm", "-it", "busybox",
                                "sh", "-c", "tty; read x; echo got $x"], stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    output = b""
    while b"/dev/pts" not in output:
        output += os.read(ours, 1024)
    os.write(ours, b"ping\n")
    try:
        while True:
            output += os.read(ours, 1024)
    except OSError:
        pass
    assert process.wait(30) == 0 and b"got ping" in output


def test_many_at_once(busybox):
    def one(index):
        return busybox.run("run", "--rm", "busybox", "sh", "-c", f"echo {index}; exit {index}", check=False)

    count = 16
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for index, result in enumerate(pool.map(one, range(count))):
            assert result.returncode == index and result.stdout == f"{index}\n".encode(), result.stderr
    assert busybox.out("ps", "-q") == "" and busybox.out("check") == ""


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
