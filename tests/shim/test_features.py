# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the shim does beyond the life of a process: limits, resource use, out of memory, pods, options, logs, checkpoints."""
import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

import pytest

from conftest import SHIM
from ttrpc import Error, decode, encode

UNIFIED = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
MEMORY_CGROUP = "/sys/fs/cgroup" if UNIFIED else "/sys/fs/cgroup/memory"
GROUP = "io.kubernetes.cri.sandbox-id"


def metrics(one):
    """The metrics message, and its type."""
    stats = decode(one.call("Stats")[1][0])
    return decode(stats[2][0]), stats[1][0].decode()


def test_stats(task):
    one = task(["sh", "-c", "while :; do :; done"], resources={"memory": {"limit": 64 << 20}, "pids": {"limit": 33}})
    one.create()
    one.call("Start")
    deadline = time.monotonic() + 60
    while True:
        message, kind = metrics(one)
        cpu = decode(message[2 if UNIFIED else 3][0])
        total = cpu.get(1, [0])[0] if UNIFIED else decode(cpu[1][0]).get(1, [0])[0]
        # Until init has become the program, threads of the OCI runtime count too.
        if total > 0 and decode(message[1 if UNIFIED else 2][0])[1] == [1]:
            break
        assert time.monotonic() < deadline
    assert kind == f"io.containerd.cgroups.v{2 if UNIFIED else 1}.Metrics"
    assert decode(message[1 if UNIFIED else 2][0]) == {1: [1], 2: [33]}
    memory = decode(message[4][0])
    limit, usage = (memory[33][0], memory[32][0]) if UNIFIED else (decode(memory[33][0])[key][0] for key in (1, 2))
    assert limit == 64 << 20 and 0 < usage < limit
    one.call("Update", (2, encode([(1, "x"), (2, json.dumps({"memory": {"limit": 48 << 20}}))])))
    memory = decode(metrics(one)[0][4][0])
    assert (memory[33][0] if UNIFIED else decode(memory[33][0])[1][0]) == 48 << 20
    with pytest.raises(Error):
        one.call("Update", (2, encode([(1, "x"), (2, "no JSON")])))


def test_out_of_memory_is_told_before_the_exit(task):
    one = task(["sh", "-c", "x=a; while :; do x=$x$x; done"], resources={"memory": {"limit": 16 << 20, "swap": 16 << 20}})
    one.create()
    assert one.run() == 137
    topics = []
    while "/tasks/exit" not in topics:
        topics.append(one.watch.any_event()[0])
    assert "/tasks/oom" in topics


def test_pod_shares_a_shim(task, tmp_path):
    first = task(["sleep", "1000"], sockets=str(tmp_path), annotations={GROUP: "pod"})
    second = task(["sh", "-c", "exit 3"], sockets=str(tmp_path), annotations={"io.containerd.runc.v2.group": "pod"})
    other = task(["true"], sockets=str(tmp_path))
    assert first.pid == second.pid != other.pid and first.address == second.address
    first.create()
    second.create()
    first.call("Start")
    assert second.run() == 3
    second.call("Delete")
    second.client.call("Shutdown", [(1, second.name)])
    assert first.call("State")[4][0] == 2
    other.create()
    assert other.run() == 0


@pytest.mark.skipif(shutil.which("crun") is None, reason="needs crun")
def test_crun(rootfs):
    """In a mount namespace of its own: this crun does not know a machine where version 2 has just the one controller hugetlb."""
    script = os.path.join(os.path.dirname(__file__), "crun.py")
    command = f"umount /sys/fs/cgroup/unified 2>/dev/null; exec /usr/bin/python3 {script} {rootfs}"
    result = subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-c", command], capture_output=True, text=True,
                            check=False, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "crun ran it: 42" in result.stdout


def test_options(task, tmp_path):
    log = tmp_path / "calls"
    program = tmp_path / "my-runc"
    program.write_text(f'#!/bin/sh\necho "$@" >>{log}\nexec runc "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    one = task(["true"])
    one.create(options=[(6, str(program)), (1, True), (2, True), (8, "/usr/sbin/criu"), (9, False)])
    assert one.run() == 0
    one.call("Delete")
    create = next(line for line in log.read_text().splitlines() if " create " in line)
    assert "--no-pivot" in create and "--no-new-keyring" in create and "--criu /usr/sbin/criu" in create
    assert f"--root {one.root}/test " in create and os.listdir(f"{one.root}/test") == []


def test_options_that_are_none(task):
    one = task(["true"])
    for number, value in ((6, "-x"), (8, "relative"), (7, "relative")):
        with pytest.raises(Error) as error:
            one.create(options=[(number, value)])
        assert error.value.code == 3
    with pytest.raises(Error) as error:
        one.create(options=[(6, "/no/such/runtime")])
    assert "/no/such/runtime is not installed" in error.value.message
    one.create()
    assert one.run() == 0


def test_shim_cgroup(task):
    path = f"/gantry-test-shim-{os.getpid()}"
    os.mkdir(MEMORY_CGROUP + path)
    try:
        options = encode([(1, "containerd.runc.v1.Options"), (2, encode([(3, path)]))])
        one = task(["true"], stdin=options)
        with open(f"/proc/{one.pid}/cgroup", encoding="ascii") as file:
            assert f":{path}\n" in file.read()
        one.create()
        assert one.run() == 0
        # Its container is not in it.
        one.end()
    finally:
        deadline = time.monotonic() + 30
        while True:
            try:
                os.rmdir(MEMORY_CGROUP + path)
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
    task.made.clear()


def test_io_uid(task, tmp_path):
    os.mkfifo(tmp_path / "out")
    one = task(["true"])
    one.create(stdout=str(tmp_path / "out"), options=[(4, 1234), (5, 4321)])
    # The OCI runtime gives it to the process's user after that.
    assert os.stat(tmp_path / "out").st_gid == 4321


def test_file_and_binary_logs(task, tmp_path):
    one = task(["sh", "-c", "echo out; echo err >&2"])
    one.create(stdout=f"file://{tmp_path}/log", stderr=f"file://{tmp_path}/log")
    assert one.run() == 0
    assert sorted((tmp_path / "log").read_text().split()) == ["err", "out"]
    program = tmp_path / "logger"
    program.write_text('#!/bin/sh\necho "$CONTAINER_NAMESPACE $CONTAINER_ID $*" >$2.env\nexec 5>&-\n'
                       "cat <&3 >$2.out &\ncat <&4 >$2.err\nwait\n", encoding="utf-8")
    program.chmod(0o755)
    two = task(["sh", "-c", "echo out; echo err >&2"])
    two.create(stdout=f"binary://{program}?file={tmp_path}/log", stderr=f"binary://{program}?file={tmp_path}/log")
    assert two.run() == 0
    deadline = time.monotonic() + 60
    while [(tmp_path / f"log.{name}").read_text() if (tmp_path / f"log.{name}").exists() else "" for name in ("out", "err")] \
            != ["out\n", "err\n"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert (tmp_path / "log.env").read_text() == f"test {two.name} file {tmp_path}/log\n"
    three = task(["true"])
    with pytest.raises(Error) as error:
        three.create(stdout="binary:///no/such/logger")
    assert "/no/such/logger" in error.value.message


def test_processes_of_a_shared_pid_namespace_end_with_init(task):
    one = task(["sh", "-c", "sleep 1000 & exit 5"], namespaces=("mount", "ipc", "uts", "network"))
    one.create()
    assert one.run() == 5
    procs = "/sys/fs/cgroup" if UNIFIED else "/sys/fs/cgroup/pids"
    deadline = time.monotonic() + 30
    # The cgroup goes when its last process has.
    with contextlib.suppress(FileNotFoundError):
        while open(f"{procs}{one.cgroup}/cgroup.procs", encoding="ascii").read():
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_checkpoint_says_why_not(task, tmp_path):
    one = task(["sleep", "1000"])
    one.create()
    one.call("Start")
    try:
        one.call("Checkpoint", (2, str(tmp_path / "image")))
    except Error as error:
        assert error.code == 12 and error.message.startswith("criu"), error
        assert one.call("State")[4][0] == 2
        two = task(["sleep", "1000"])
        two.create(checkpoint=str(tmp_path / "image"))
        assert two.call("State")[4][0] == 1
        with pytest.raises(Error) as refused:
            two.call("Start")
        assert refused.value.code == 12
    else:
        assert os.listdir(tmp_path / "image")


def test_delete_cleans_up_after_a_killed_shim(task):
    one = task(["sleep", "1000"])
    one.create()
    one.call("Start")
    pid = one.call("State")[3][0]
    os.kill(one.pid, signal.SIGKILL)
    output = subprocess.run([SHIM, "-namespace", "test", "-id", one.name, "-address", "", "-bundle", one.bundle, "delete"],
                            capture_output=True, check=True).stdout
    assert decode(output)[2][0] == 137
    with open(f"/proc/{pid}/stat" if os.path.exists(f"/proc/{pid}") else os.devnull, encoding="ascii") as stat:
        assert stat.read().rsplit(")", 1)[-1].split()[:1] in ([], ["Z"])
    assert not os.path.ismount(f"{one.bundle}/rootfs")
    assert os.listdir(f"{one.root}/test") == []
    task.made.clear()
    for path in (one.bundle, one.root, one.upper):
        shutil.rmtree(path)


class Events:
    """A daemon's events address: each Forward is answered only after a while; the first connection is cut instead of an answer."""

    def __init__(self, path):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.topics = []
        self.early = 0  # calls that came before the answer to the one before
        self.cut = False
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            while True:
                header = connection.recv(10, socket.MSG_WAITALL)
                if len(header) < 10:
                    return
                length, stream, _, _ = struct.unpack(">IIBB", header)
                request = decode(connection.recv(length, socket.MSG_WAITALL))
                assert request[2] == [b"Forward"]
                if not self.cut:
                    self.cut = True
                    connection.close()
                    return
                envelope = decode(decode(request[3][0])[1][0])
                assert envelope[2] == [b"test"]
                connection.settimeout(0.05)
                try:
                    self.early += len(connection.recv(1, socket.MSG_PEEK)) > 0
                except TimeoutError:
                    pass
                connection.settimeout(None)
                self.topics.append(envelope[3][0].decode())
                response = encode([(2, b"")])
                connection.sendall(struct.pack(">IIBB", len(response), stream, 2, 0) + response)
        except OSError:
            pass


def test_events_are_forwarded_in_order(task, tmp_path, monkeypatch):
    monkeypatch.setenv("TTRPC_ADDRESS", f"{tmp_path}/events")
    one = task(["true"])
    one.create()
    # Nobody is there yet.
    events = Events(f"{tmp_path}/events")
    assert one.run() == 0
    one.call("Delete")
    one.client.call("Shutdown", [(1, one.name)])
    deadline = time.monotonic() + 60
    while len(events.topics) < 4:
        assert time.monotonic() < deadline, events.topics
        time.sleep(0.02)
    assert events.topics == ["/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"]
    assert events.cut and events.early == 0


def test_two_starts_of_one_group_at_once(tmp_path):
    """Whoever comes first makes the shim; nobody is left with an address where nobody listens."""
    bundles = [tempfile.mkdtemp(prefix="gantry-bundle.") for _ in range(8)]
    for bundle in bundles:
        with open(f"{bundle}/config.json", "w", encoding="utf-8") as file:
            json.dump({"annotations": {GROUP: "one"}}, file)
    starts = [subprocess.Popen([SHIM, "-namespace", "test", "-id", f"c{index}", "-address", "", "-sockets", str(tmp_path), "start"],
                               cwd=bundle, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) for index, bundle in enumerate(bundles)]
    addresses = {start.communicate()[0] for start in starts}
    assert len(addresses) == 1
    from ttrpc import Client
    client = Client(addresses.pop().decode().removeprefix("unix://"))
    client.call("Shutdown", [(1, "c0")])
    for bundle in bundles:
        shutil.rmtree(bundle)


def shims_of(bundle):
    """The processes that work in @bundle, removed or not."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{pid}/cwd").startswith(str(bundle)):
                found.append(int(pid))
    return found


@pytest.mark.parametrize("how", ["nobody listens", "no bundle"])
def test_a_start_that_nobody_waits_for_leaves_no_server(tmp_path, how):
    """What a daemon that was killed amid a start leaves: nobody reads the address, or the next one has removed the bundle."""
    bundle, sockets = tmp_path / "bundle", tmp_path / "s"
    bundle.mkdir()
    sockets.mkdir()
    reader, writer = os.pipe()
    holder = os.open(sockets, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    start = subprocess.Popen([SHIM, "-namespace", "test", "-id", "one", "-address", "", "-sockets", str(sockets), "start"], cwd=bundle,
                             stdin=subprocess.DEVNULL, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    if how == "nobody listens":
        os.close(reader)
    else:
        bundle.rmdir()
    os.close(holder)
    assert start.wait(60) == 1 and b"address" in start.stderr.read()
    assert os.listdir(sockets) == [] and shims_of(bundle) == []
