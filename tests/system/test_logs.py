# SPDX-License-Identifier: LGPL-2.1-or-later
"""What detached containers say is kept, printed, followed, bounded, and goes with them."""
import glob
import json
import os
import re
import subprocess
import time

import pytest

PATIENCE = 120


def files(daemon):
    return sorted(os.path.basename(path) for path in glob.glob(f"{daemon.dir}/r/tasks-local/logs/*/*"))


def ended(daemon, name, *command, options=()):
    daemon.run("run", "-d", "--name", name, *options, "busybox", *command)
    daemon.run("wait", name)


def settled(daemon, name, last):
    """What it wrote last is on its way to the log when its end is told."""
    deadline = time.monotonic() + PATIENCE
    while last not in (done := daemon.run("logs", name)).stdout + done.stderr:
        assert time.monotonic() < deadline, done
        time.sleep(0.02)
    return done


def follow(daemon, *args):
    return subprocess.Popen([*daemon.client(), "logs", "-f", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_both_streams(busybox):
    ended(busybox, "one", "sh", "-c", "echo out; echo err >&2; printf 'no end'")
    done = settled(busybox, "one", b"no end")
    assert (done.stdout, done.stderr) == (b"out\nno end", b"err\n")
    lines = [json.loads(line) for line in busybox.out("--format", "json", "logs", "one").splitlines()]
    assert {(line["stream"], line["text"], line["partial"]) for line in lines} == {
        ("stdout", "out", False), ("stderr", "err", False), ("stdout", "no end", True)}
    assert "tasks-local: container one in namespace default has ended with status 0" in busybox.read_log()
    stamped = busybox.out("logs", "-t", "one").splitlines()
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z out", stamped[0])


def test_any_bytes(busybox):
    ended(busybox, "one", "sh", "-c", "head -c 100000 /dev/zero; printf '\\377 \\n'; head -c 200000 /dev/zero | tr '\\0' x; echo; echo end")
    assert settled(busybox, "one", b"end\n").stdout == bytes(100000) + b"\xff \n" + b"x" * 200000 + b"\nend\n"


def test_last_lines_and_since(busybox):
    ended(busybox, "one", "sh", "-c", "for i in 1 2 3 4 5; do echo $i; done; sleep 1.1; echo 6; printf 7")
    settled(busybox, "one", b"7")
    assert busybox.run("logs", "-n", "3", "one").stdout == b"5\n6\n7"
    assert busybox.run("logs", "-n", "0", "one").stdout == b""
    sixth = next(line["time"] for line in map(json.loads, busybox.out("--format", "json", "logs", "one").splitlines()) if line["text"] == "6")
    assert busybox.run("logs", "--since", sixth[:26] + "Z", "one").stdout == b"6\n7"
    assert busybox.run("logs", "--since", "1h", "one").stdout == b"1\n2\n3\n4\n5\n6\n7"
    assert busybox.run("logs", "--since", "2100-01-01T00:00:00Z", "one").stdout == b""
    done = busybox.run("logs", "--since", "soon", "one", check=False)
    assert done.returncode == 2 and b'--since "soon" is neither a time' in done.stderr


def test_follow(busybox):
    busybox.run("run", "-d", "--name", "one", "busybox", "sh", "-c",
                "echo one; printf 'what? '; until [ -e /go ]; do sleep 0.05; done; echo two; echo three >&2")
    settled(busybox, "one", b"what? ")
    follower = follow(busybox, "-n", "1", "one")
    assert follower.stdout.read(len("what? ")) == b"what? "
    busybox.run("exec", "one", "touch", "/go")
    assert follower.communicate(timeout=PATIENCE) == (b"two\n", b"three\n")
    assert follower.returncode == 0


def test_follow_one_that_is_removed(busybox):
    busybox.run("run", "-d", "--name", "one", "busybox", "sh", "-c", "echo one; sleep 1000")
    follower = follow(busybox, "one")
    assert follower.stdout.readline() == b"one\n"
    busybox.run("rm", "-f", "one")
    assert follower.wait(PATIENCE) == 0
    follower.communicate()


def test_terminal(busybox):
    ended(busybox, "one", "sh", "-c", "tty; echo err >&2", options=["-t"])
    assert settled(busybox, "one", b"err").stdout == b"/dev/pts/0\r\nerr\r\n"


def test_it_is_bounded(busybox):
    """And followed over the change from one file to the next."""
    busybox.run("run", "-d", "--name", "one", "busybox", "sh", "-c", "until [ -e /go ]; do sleep 0.05; done; seq 1 300000; seq 1 9 >&2; echo end")
    follower = follow(busybox, "one")
    busybox.run("exec", "one", "touch", "/go")
    out, err = follower.communicate(timeout=PATIENCE)
    assert follower.returncode == 0, follower.returncode
    numbers = out.decode().splitlines()
    assert numbers[-1] == "end" and err == b"1\n2\n3\n4\n5\n6\n7\n8\n9\n"
    numbers = [int(number) for number in numbers[:-1]]
    assert numbers == list(range(1, 300001))
    assert files(busybox) == ["one.log", "one.log.1"]
    sizes = [os.stat(path).st_size for path in glob.glob(f"{busybox.dir}/r/tasks-local/logs/default/*")]
    assert 8 << 20 < sum(sizes) < 2 * (8 << 20) + (2 << 20)
    # The first of what is kept may be the end of a line.
    kept = [int(number) for number in busybox.out("logs", "one").splitlines()[1:-1]]
    assert kept == list(range(2, 300001)) and len(kept) > 200000
    busybox.run("rm", "one")
    assert files(busybox) == []


def test_it_stays_over_a_kill_and_goes_with_the_container(busybox):
    busybox.run("run", "-d", "--name", "one", "busybox", "sh", "-c", "echo before; until [ -e /go ]; do sleep 0.05; done; echo while; sleep 1000")
    settled(busybox, "one", b"before")
    pid = busybox.json("inspect", "one")["task"]["Pid"]
    busybox.kill()
    with open(f"/proc/{pid}/root/go", "w", encoding="utf-8"):
        pass
    log = f"{busybox.dir}/r/tasks-local/logs/default/one.log"
    deadline = time.monotonic() + PATIENCE
    while b"while" not in open(log, "rb").read():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    stray = f"{busybox.dir}/r/tasks-local/logs/default/gone.log.1"
    with open(stray, "w", encoding="utf-8"):
        pass
    os.utime(stray, (1, 1))
    busybox.start()
    assert busybox.run("logs", "one").stdout == b"before\nwhile\n"
    while os.path.exists(stray):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    busybox.run("rm", "-f", "one")
    assert files(busybox) == []


@pytest.mark.parametrize("args,message", [
    (["absent"], "absent"),
    (["quiet"], "container quiet has no log; only one that was started detached keeps it, by runtime runc"),
])
def test_without_a_log(busybox, args, message):
    busybox.run("run", "--name", "quiet", "busybox", "true")
    done = busybox.run("logs", *args, check=False)
    assert done.returncode == 1 and message in done.stderr.decode()
