# SPDX-License-Identifier: LGPL-2.1-or-later
"""A daemon that the command line started by itself leaves when it is idle; containers go on, and the next command finds them again."""
import json
import os
import select
import shutil
import subprocess
import tempfile

import pytest

from conftest import BUILD


class OnDemand:
    """The command line without a daemon: it starts its own."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="gantry-test.")
        self.env = dict(os.environ, GANTRY_ROOT=f"{self.dir}/r", GANTRY_STATE=f"{self.dir}/s", GANTRY_IDLE_TIMEOUT="1")
        self.env.pop("GANTRY_ADDRESS", None)

    def run(self, *args):
        result = subprocess.run([f"{BUILD}/cli/gantry", *args], env=self.env, capture_output=True, timeout=120, check=False)
        assert result.returncode == 0, (args, result.stdout, result.stderr)
        return result.stdout.decode().strip()

    def daemon(self):
        with open(f"{self.dir}/r/lock", encoding="utf-8") as file:
            return int(file.read())

    def wait_until_it_leaves(self):
        """Returns the pid of the daemon that left; its end is an event of its pidfd."""
        pid = self.daemon()
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return pid
        try:
            assert select.select([fd], [], [], 120)[0], "the daemon does not leave"
        finally:
            os.close(fd)
        return pid


@pytest.fixture
def on_demand():
    one = OnDemand()
    yield one
    for container in one.run("ps", "-q").split():
        one.run("rm", "-f", container)
    one.wait_until_it_leaves()
    shutil.rmtree(one.dir)


def test_the_daemon_leaves_and_comes_back(on_demand, image):
    on_demand.run("image", "import", f"{image}/oci.tar")
    assert on_demand.run("run", "-d", "--name", "one", "busybox", "sh", "-c", "echo $$ > /pid; exec sleep 1000000") == "one"
    os.mkdir(f"{on_demand.dir}/shared")
    os.mkfifo(f"{on_demand.dir}/shared/go")
    on_demand.run("run", "-d", "--name", "two", "-v", f"{on_demand.dir}/shared:/shared", "busybox", "sh", "-c",
                  "read x < /shared/go; exit 3")
    first = on_demand.wait_until_it_leaves()
    # It ends while there is no daemon.
    with open(f"{on_demand.dir}/shared/go", "w", encoding="utf-8") as go:
        go.write("now\n")
    assert not os.path.exists(f"{on_demand.dir}/s/gantry.sock")
    assert on_demand.run("wait", "two") == "3"
    second = on_demand.daemon()
    assert second != first
    states = {one["id"]: one["status"] for one in json.loads(on_demand.run("--format", "json", "ps"))}
    assert states == {"one": "running", "two": "stopped"}
    assert on_demand.run("exec", "one", "cat", "/pid") == "1"
    assert on_demand.run("check") == ""
    on_demand.wait_until_it_leaves()


def test_a_client_keeps_it(on_demand, image):
    on_demand.run("image", "import", f"{image}/oci.tar")
    follower = subprocess.Popen([f"{BUILD}/cli/gantry", "run", "--rm", "-i", "busybox", "cat"], env=on_demand.env, stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE)
    follower.stdin.write(b"x\n")
    follower.stdin.flush()
    assert follower.stdout.readline() == b"x\n"
    fd = os.pidfd_open(on_demand.daemon())
    # Three times its idle time: it has to stay, and there is no event of nothing happening.
    assert not select.select([fd], [], [], 3)[0]
    follower.stdin.close()
    assert follower.wait(60) == 0
    assert select.select([fd], [], [], 120)[0]
    os.close(fd)
