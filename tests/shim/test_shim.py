# SPDX-License-Identifier: LGPL-2.1-or-later
"""Drives gantry-shim-runc with the real runc, as the daemon does."""
import json
import os
import re
import signal
import socket
import subprocess
import threading

import pytest

from ttrpc import Client, Error, decode, encode


@pytest.mark.parametrize("status", [0, 42])
def test_exit_status(task, status):
    one = task(["sh", "-c", f"exit {status}"])
    one.create()
    assert one.run() == status
    event = one.watch.event("/tasks/exit")
    assert event.get(4, [0])[0] == status
    with open(f"{one.bundle}/exit.", encoding="utf-8") as record:
        assert int(record.read().split()[0]) == status
    reply = one.call("Delete")
    assert reply.get(2, [0])[0] == status
    assert not os.path.ismount(f"{one.bundle}/rootfs")


@pytest.mark.parametrize("inner", [False, True])
def test_what_runc_has_goes_with_the_end(task, inner):
    """Without runc, unless somebody made a cgroup in the container's."""
    one = task(["sh", "-c", "read line"])
    in_read, in_write = os.pipe()
    one.create(stdin="fd:0", fds=(in_read,))
    os.close(in_read)
    one.call("Start")
    with open(f"{one.root}/test/{one.name}/state.json", encoding="utf-8") as file:
        cgroups = list(json.load(file)["cgroup_paths"].values())
    assert cgroups and all(os.path.isdir(path) for path in cgroups)
    if inner:
        os.mkdir(f"{cgroups[-1]}/inner")
    os.close(in_write)
    one.call("Wait")
    one.call("Delete")
    assert not [path for path in cgroups if os.path.exists(path)]
    assert not os.path.exists(f"{one.root}/test/{one.name}")
    assert os.path.exists(f"{one.bundle}/log-delete.json") == inner


def test_killed(task):
    one = task(["sleep", "1000"])
    one.create()
    one.call("Start")
    waiting = one.client.send("Wait", [(1, one.name)])
    other = Client(one.address)
    other.call("Kill", [(1, one.name), (3, signal.SIGKILL)])
    assert one.client.wait(waiting)[1][0] == 137
    with pytest.raises(Error) as error:
        one.call("Kill", (3, signal.SIGKILL))
    assert error.value.code == 5 and "process already finished" in error.value.message


def test_program_not_found(task):
    one = task(["/no/such/program"])
    with pytest.raises(Error) as error:
        one.create()
        one.call("Start")
    assert error.value.code == 5 and "/no/such/program" in error.value.message


def test_passed_fds_carry_100_mb(task):
    one = task(["cat"])
    size = 100 * 1024 * 1024
    in_read, in_write = os.pipe()
    out_read, out_write = os.pipe()
    one.create(stdin="fd:0", stdout="fd:1", stderr="fd:1", fds=(in_read, out_write))
    os.close(in_read)
    os.close(out_write)
    one.call("Start")

    def write_all():
        remaining = size
        block = memoryview(b"x" * (1024 * 1024))
        while remaining:
            remaining -= os.write(in_write, block[:min(len(block), remaining)])
        os.close(in_write)

    thread = threading.Thread(target=write_all)
    thread.start()
    received = 0
    while chunk := os.read(out_read, 1 << 20):
        received += len(chunk)
    thread.join()
    os.close(out_read)
    assert received == size
    assert one.call("Wait").get(1, [0])[0] == 0


# What a daemon says whose containers may be checkpointed (options.c): then the process itself has pipes.
CHECKPOINTABLE = [(100, 1)]


@pytest.mark.parametrize("options, kind", [([], "/"), (CHECKPOINTABLE, "pipe:"), ([(11, "/tmp")], "pipe:")],
                         ids=["direct", "checkpointable", "criu"])
def test_fifos(task, tmp_path, options, kind):
    one = task(["sh", "-c", "cat; echo done >&2"])
    for name in ("in", "out", "err"):
        os.mkfifo(tmp_path / name)
    one.create(stdin=str(tmp_path / "in"), stdout=str(tmp_path / "out"), stderr=str(tmp_path / "err"), options=options)
    init = one.call("State")[3][0]
    assert all(os.readlink(f"/proc/{init}/fd/{fd}").startswith(kind) for fd in range(3))
    one.call("Start")
    with open(tmp_path / "in", "wb") as stdin:
        stdin.write(b"hello\n")
    out = open(tmp_path / "out", "rb")
    assert out.readline() == b"hello\n"
    err = open(tmp_path / "err", "rb")
    one.call("CloseIO", (3, True))
    assert one.call("Wait").get(1, [0])[0] == 0
    assert err.read() == b"done\n"
    assert out.read() == b""


def test_terminal_with_resize(task):
    one = task(["sh", "-c", "tty; read line; stty size; echo got $line"], terminal=True)
    one.create(stdin="stream:", stdout="stream:", terminal=True)
    ours, theirs = socket.socketpair()
    one.call("Attach", service="gantry.shim.v1.Shim", fds=(theirs.fileno(),))
    theirs.close()
    one.call("ResizePty", (3, 101), (4, 37))
    one.call("Start")
    ours.settimeout(20)
    output = b""
    while b"/dev/pts" not in output:
        output += ours.recv(4096)
    ours.sendall(b"ping\n")
    while chunk := ours.recv(4096):
        output += chunk
    assert b"37 101" in output and b"got ping" in output
    assert one.call("Wait").get(1, [0])[0] == 0


def test_stream_is_kept_and_logged(task, tmp_path):
    one = task(["sh", "-c", "echo early; read line; echo late $line"])
    one.create(stdin="stream:", stdout=f"stream://{tmp_path}/log", stderr="stream:")
    one.call("Start")
    in_read, in_write = os.pipe()
    out_read, out_write = os.pipe()
    one.call("Attach", service="gantry.shim.v1.Shim", fds=(in_read, out_write))
    os.close(in_read)
    os.close(out_write)
    os.write(in_write, b"x\n")
    output = b""
    while chunk := os.read(out_read, 4096):
        output += chunk
    assert output.endswith(b"late x\n")
    assert one.call("Wait").get(1, [0])[0] == 0
    with open(tmp_path / "log", "rb") as log:
        lines = [line.split(b" ", 3) for line in log.read().splitlines()]
    assert [line[1:] for line in lines] == [[b"stdout", b"F", b"early"], [b"stdout", b"F", b"late x"]]
    assert all(re.fullmatch(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", line[0]) for line in lines)


def test_attach_needs_kept_streams(task):
    one = task(["sleep", "1000"])
    one.create()
    one.call("Start")
    with pytest.raises(Error) as error:
        one.call("Attach", service="gantry.shim.v1.Shim", fds=(0,))
    assert "not kept" in error.value.message


def test_exec(task):
    one = task(["sleep", "1000"])
    one.create()
    one.call("Start")
    process = dict(one.process, args=["sh", "-c", "echo out; exit 7"])
    out_read, out_write = os.pipe()
    spec = encode([(1, "types.containerd.io/x"), (2, json.dumps(process))])
    one.call("Exec", (2, "e1"), (5, "fd:0"), (7, spec), fds=(out_write,))
    os.close(out_write)
    one.call("Start", (2, "e1"))
    assert os.read(out_read, 100) == b"out\n"
    assert os.read(out_read, 100) == b""
    assert one.call("Wait", (2, "e1"))[1][0] == 7
    assert one.call("State", (2, "e1"))[4][0] == 3
    assert one.call("Delete", (2, "e1"))[2][0] == 7
    with pytest.raises(Error) as error:
        one.call("State", (2, "e1"))
    assert error.value.code == 5


def test_pause_pids_state(task):
    one = task(["sleep", "1000"])
    one.create()
    assert one.call("State")[4][0] == 1
    one.call("Start")
    assert one.call("State")[4][0] == 2
    pids = [decode(process)[1][0] for process in one.call("Pids")[1]]
    assert pids == [one.call("State")[3][0]]
    one.call("Pause")
    assert one.call("State")[4][0] == 4
    one.call("Resume")
    assert one.call("State")[4][0] == 2
    with pytest.raises(Error):
        one.call("Delete")


def test_no_leaks(task):
    one = task(["sleep", "1000"])
    one.create()
    one.call("Start")
    fds = len(os.listdir(f"/proc/{one.pid}/fd"))
    for index in range(8):
        process = dict(one.process, args=["true"])
        spec = encode([(1, "x"), (2, json.dumps(process))])
        read, write = os.pipe()
        one.call("Exec", (2, f"e{index}"), (5, "fd:0"), (7, spec), fds=(write,))
        os.close(write)
        one.call("Start", (2, f"e{index}"))
        one.call("Wait", (2, f"e{index}"))
        one.call("Delete", (2, f"e{index}"))
        os.close(read)
    assert len(os.listdir(f"/proc/{one.pid}/fd")) == fds
    children = subprocess.run(["ps", "--ppid", str(one.pid), "-o", "stat="], capture_output=True, text=True, check=True)
    assert "Z" not in children.stdout


def test_hostile_frames(task):
    one = task(["true"])
    for data in (b"\xff" * 100, b"\x00\x00\x00\x05\x00\x00\x00\x01\x01\x00hello", os.urandom(4096), b"\x00" * 9):
        raw = socket.socket(socket.AF_UNIX)
        raw.connect(one.address)
        raw.sendall(data)
        raw.close()
    with pytest.raises(Error) as error:
        one.client.call("NoSuchMethod", [(1, "x")])
    assert error.value.code == 12
    one.create()
    assert one.run() == 0
