# SPDX-License-Identifier: LGPL-2.1-or-later
"""The shim under Debian's containerd and dockerd, unmodified: as io.containerd.gantry.v1, and in the place of io.containerd.runc.v2."""
import json
import os
import pty
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

from conftest import SHIM

# The OCI runtime's state is every containerd's.
ONE, TWO = f"one-{os.getpid()}", f"two-{os.getpid()}"
IMAGE = "docker.io/library/busybox:latest"


def wait_for(condition, what):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


class Containerd:
    """A private containerd that finds our shim on its PATH under the given names."""

    def __init__(self, shims):
        self.dir = tempfile.mkdtemp(prefix="gantry-containerd.")
        self.socket = f"{self.dir}/containerd.sock"
        os.mkdir(f"{self.dir}/bin")
        for name in shims:
            os.symlink(SHIM, f"{self.dir}/bin/{name}")
        with open(f"{self.dir}/config.toml", "w", encoding="utf-8") as file:
            file.write(f'version = 2\nroot = "{self.dir}/root"\nstate = "{self.dir}/state"\n'
                       'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
                       f'[grpc]\n  address = "{self.socket}"\n[debug]\n  level = "debug"\n')
        self.log = open(f"{self.dir}/log", "ab")
        self.process = subprocess.Popen(["containerd", "-c", f"{self.dir}/config.toml"], stdout=self.log, stderr=self.log,
                                        env=dict(os.environ, PATH=f"{self.dir}/bin:{os.environ['PATH']}"))
        wait_for(lambda: self.ctr("version", check=False).returncode == 0, "containerd does not answer")

    def ctr(self, *args, check=True, **kwargs):
        result = subprocess.run(["ctr", "-a", self.socket, *args], capture_output=True, text=True, check=False, timeout=120, **kwargs)
        assert not check or result.returncode == 0, (args, result.stdout, result.stderr, self.read_log()[-4000:])
        return result

    def read_log(self):
        with open(f"{self.dir}/log", encoding="utf-8", errors="replace") as file:
            return file.read()

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        with open("/proc/self/mounts", encoding="utf-8") as mounts:
            assert self.dir not in mounts.read()
        assert self.dir.encode() not in b"".join(command_lines()), "a shim is left"
        shutil.rmtree(self.dir)


def command_lines():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                yield file.read()
        except OSError:
            pass


needs_containerd = pytest.mark.skipif(shutil.which("containerd") is None, reason="needs containerd")


@pytest.fixture
def containerd(image):
    one = Containerd(["containerd-shim-gantry-v1"])
    one.ctr("images", "import", "--snapshotter", "native", f"{image}/oci.tar")
    yield one
    one.stop()


def run_args(*args):
    return ["run", "--runtime", "io.containerd.gantry.v1", "--snapshotter", "native", *args]


@needs_containerd
def test_ctr(containerd, tmp_path):
    ctr = containerd.ctr
    assert ctr(*run_args("--rm", IMAGE, ONE, "echo", "hello")).stdout == "hello\n"
    result = ctr(*run_args("--rm", IMAGE, ONE, "sh", "-c", "echo err >&2; exit 42"), check=False)
    assert (result.returncode, result.stderr) == (42, "err\n")
    result = ctr(*run_args("--rm", IMAGE, ONE, "/no/such"), check=False)
    assert result.returncode == 1 and result.stderr.count("\n") == 1
    assert "OCI runtime create failed" in result.stderr and result.stderr.endswith("/no/such: no such file or directory: unknown\n")
    ctr(*run_args("--log-uri", f"file://{tmp_path}/log", "-d", IMAGE, ONE, "echo", "logged"))
    wait_for(lambda: (tmp_path / "log").exists() and (tmp_path / "log").read_text() == "logged\n", "no log")
    wait_for(lambda: "STOPPED" in ctr("tasks", "ls").stdout, "it does not end")
    ctr("tasks", "rm", ONE)
    ctr("containers", "rm", ONE)


@needs_containerd
def test_ctr_task(containerd):
    ctr = containerd.ctr
    ctr(*run_args("-d", "--memory-limit", "50000000", IMAGE, ONE, "sleep", "1000"))
    try:
        assert ctr("tasks", "exec", "--exec-id", "e1", ONE, "cat", input="through\n").stdout == "through\n"
        assert ctr("tasks", "exec", "--exec-id", "e2", ONE, "sh", "-c", "exit 7", check=False).returncode == 7
        metrics = ctr("tasks", "metrics", ONE).stdout
        assert "memory.limit_in_bytes    49999872" in metrics and "pids.current             1" in metrics
        ctr("tasks", "pause", ONE)
        assert "PAUSED" in ctr("tasks", "ls").stdout
        ctr("tasks", "resume", ONE)
        assert "RUNNING" in ctr("tasks", "ls").stdout
        checkpoint = ctr("tasks", "checkpoint", ONE, check=False)
        assert checkpoint.returncode == 0 or "criu" in checkpoint.stderr
        assert "containerd.events.TaskExit" in containerd.read_log() and "topic=/tasks/exec-started" in containerd.read_log()
    finally:
        ctr("tasks", "kill", "-s", "KILL", ONE)
        wait_for(lambda: "STOPPED" in ctr("tasks", "ls").stdout, "it does not end")
        assert "exit code 137" in ctr("tasks", "rm", ONE).stderr
        ctr("containers", "rm", ONE)


@needs_containerd
def test_ctr_terminal(containerd):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(["ctr", "-a", containerd.socket, *run_args("--rm", "-t", IMAGE, ONE, "sh", "-c", "tty; read x; echo got $x")],
                               stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
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
    assert process.wait(60) == 0 and b"got ping" in output, output


@needs_containerd
def test_containerd_killed(containerd):
    """What ends while containerd is away is known to it afterwards; a shim that dies is cleaned up after."""
    ctr = containerd.ctr
    for name in (ONE, TWO):
        ctr(*run_args("-d", IMAGE, name, "sleep", "1000"))
    pids = {line.split()[0]: int(line.split()[1]) for line in ctr("tasks", "ls").stdout.splitlines()[1:]}
    containerd.process.kill()
    containerd.process.wait()
    os.kill(pids[ONE], signal.SIGKILL)
    containerd.process = subprocess.Popen(["containerd", "-c", f"{containerd.dir}/config.toml"], stdout=containerd.log,
                                          stderr=containerd.log,
                                          env=dict(os.environ, PATH=f"{containerd.dir}/bin:{os.environ['PATH']}"))
    wait_for(lambda: ctr("version", check=False).returncode == 0, "containerd does not come back")
    listed = ctr("tasks", "ls").stdout
    assert [line.split()[2] for line in sorted(listed.splitlines()[1:])] == ["STOPPED", "RUNNING"], listed
    assert "exit code 137" in ctr("tasks", "rm", ONE).stderr
    with open(f"/proc/{pids[TWO]}/stat", encoding="ascii") as stat:
        os.kill(int(stat.read().rsplit(")", 1)[1].split()[1]), signal.SIGKILL)
    wait_for(lambda: TWO not in ctr("tasks", "ls").stdout or "STOPPED" in ctr("tasks", "ls").stdout, "the lost shim is not noticed")
    wait_for(lambda: not os.path.exists(f"/proc/{pids[TWO]}"), "the container outlives its shim")
    ctr("tasks", "rm", TWO, check=False)
    for name in (ONE, TWO):
        ctr("containers", "rm", name)


class Docker:
    def __init__(self, containerd):
        self.dir = containerd.dir
        self.containerd = containerd
        self.socket = f"unix://{self.dir}/docker.sock"
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ["dockerd", f"--containerd={self.containerd.socket}", "--data-root", f"{self.dir}/docker", "--exec-root", f"{self.dir}/exec",
             "-p", f"{self.dir}/docker.pid", "-H", self.socket, "--iptables=false", "--ip6tables=false", "--bridge=none",
             "--storage-driver", "overlay2", "--live-restore"], stdout=self.containerd.log, stderr=self.containerd.log)
        wait_for(lambda: self("version", check=False).returncode == 0, "dockerd does not answer")

    def __call__(self, *args, check=True, **kwargs):
        result = subprocess.run(["docker", "-H", self.socket, *args], capture_output=True, text=True, check=False, timeout=120, **kwargs)
        assert not check or result.returncode == 0, (args, result.stdout, result.stderr, self.containerd.read_log()[-6000:])
        return result

    def stop(self):
        self.process.terminate()
        self.process.wait(60)
        # Its own; it leaves it.
        subprocess.run(["umount", f"{self.dir}/docker"], check=False, stderr=subprocess.DEVNULL)


@pytest.fixture
def docker(image):
    # This dockerd can name no other runtime than io.containerd.runc.v2, so ours stands in its place.
    containerd = Containerd(["containerd-shim-runc-v2"])
    one = Docker(containerd)
    one("load", "-i", f"{image}/docker.tar")
    yield one
    for container in one("ps", "-aq").stdout.split():
        one("rm", "-f", container)
    one.stop()
    containerd.stop()


@pytest.mark.skipif(shutil.which("dockerd") is None, reason="needs dockerd")
def test_docker(docker):
    run = ["run", "--network", "none"]
    image = "example.com/busybox:1"
    assert docker(*run, "--rm", image, "echo", "hello").stdout == "hello\n"
    for command, status in ((["sh", "-c", "exit 42"], 42), (["/no/such"], 127), (["nosuch"], 127), (["/etc/passwd"], 126)):
        assert docker(*run, "--rm", image, *command, check=False).returncode == status, command
    assert docker(*run, "--rm", "-i", image, "cat", input="x" * 1000000).stdout == "x" * 1000000
    docker(*run, "-d", "--name", "one", "--memory", "50m", image, "sh", "-c", "echo begun; sleep 1000")
    shim = next(line for line in command_lines() if f"-address\0{docker.containerd.socket}".encode() in line)
    assert b"containerd-shim-runc-v2" in shim and docker("logs", "one").stdout == "begun\n"
    assert docker("exec", "one", "echo", "inside").stdout == "inside\n"
    assert docker("exec", "one", "/no/such", check=False).returncode in (126, 127)
    docker("pause", "one")
    assert json.loads(docker("inspect", "one").stdout)[0]["State"]["Paused"]
    docker("unpause", "one")
    assert "sleep 1000" in docker("top", "one").stdout
    assert "/ 50MiB" in docker("stats", "--no-stream", "one").stdout.replace("MiB /", "/")
    docker("update", "--memory", "60m", "--memory-swap", "120m", "one")
    docker("restart", "-t", "0", "one")
    # live-restore: containers go on while dockerd is away.
    docker.process.kill()
    docker.process.wait()
    os.unlink(f"{docker.dir}/docker.pid")
    docker.start()
    assert docker("exec", "one", "echo", "alive").stdout == "alive\n"
    docker("stop", "-t", "0", "one")
    assert json.loads(docker("inspect", "one").stdout)[0]["State"]["ExitCode"] == 137
    oom = docker(*run, "--name", "two", "--memory", "10m", image, "sh", "-c", "x=a; while :; do x=$x$x; done", check=False)
    assert oom.returncode == 137 and json.loads(docker("inspect", "two").stdout)[0]["State"]["OOMKilled"]
