# SPDX-License-Identifier: LGPL-2.1-or-later
"""A private daemon for each test, and an image made on the spot."""
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

BUILD = os.environ["GANTRY_BUILD"]


def pytest_collection_modifyitems(items):
    for item in items:
        if os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root"))
        for program in ("runc", "skopeo", "umoci"):
            if shutil.which(program) is None:
                item.add_marker(pytest.mark.skip(reason=f"needs {program}"))


@pytest.fixture(scope="session")
def image():
    """An OCI archive with a busybox image, and the same as a docker archive."""
    work = tempfile.mkdtemp(prefix="gantry-image.")
    subprocess.run([os.path.join(os.path.dirname(__file__), "../../tools/make-busybox-image"), f"{work}/oci.tar"], check=True)
    subprocess.run(["skopeo", "copy", "-q", f"oci-archive:{work}/oci.tar",
                    f"docker-archive:{work}/docker.tar:example.com/docker:1"], check=True)
    yield work
    shutil.rmtree(work)


class Daemon:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="gantry-test.")
        self.socket = f"{self.dir}/s/gantry.sock"
        self.process = None

    def start(self, *options):
        if os.path.exists(self.socket):
            os.unlink(self.socket)
        self.log = open(f"{self.dir}/log", "ab")
        self.process = subprocess.Popen(
            [f"{BUILD}/core/gantryd", "--plugins-dir", f"{BUILD}/plugins.d", "--root", f"{self.dir}/r", "--state", f"{self.dir}/s",
             "--log-level", "info", *options], stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + 60
        while True:
            probe = self.run("system", "info", check=False) if os.path.exists(self.socket) else None
            if probe is not None and probe.returncode == 0:
                return self
            assert self.process.poll() is None and time.monotonic() < deadline, self.read_log()
            time.sleep(0.02)

    def read_log(self):
        with open(f"{self.dir}/log", encoding="utf-8", errors="replace") as file:
            return file.read()

    def unpackers(self):
        """What the daemon unpacks with, as {pid of a server that forks workers: pids of its workers}."""
        def children(pid):
            return [int(line) for line in subprocess.run(["pgrep", "-P", str(pid), "gantry-unpack"], capture_output=True, check=False).stdout.split()]
        return {server: children(server) for server in children(self.process.pid)}

    def kill(self):
        """Kills it; the processes that unpack for it end by themselves."""
        pidfds = []
        for server, workers in self.unpackers().items():
            for pid in (server, *workers):
                with contextlib.suppress(ProcessLookupError):
                    pidfds.append(os.pidfd_open(pid))
        self.process.kill()
        self.process.wait()
        for pidfd in pidfds:
            assert select.select([pidfd], [], [], 60)[0], "a process that unpacks outlives the daemon"
            os.close(pidfd)

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(30) == 0, self.read_log()

    def client(self):
        """What begins every command line."""
        return [f"{BUILD}/cli/gantry", "--address", f"unix:path={self.socket}"]

    def run(self, *args, check=True, **kwargs):
        """gantry ARGS."""
        result = subprocess.run([*self.client(), *args],
                                capture_output="stdout" not in kwargs, timeout=120, check=False, **kwargs)
        if check:
            assert result.returncode == 0, (args, result.stdout, result.stderr, self.read_log())
        return result

    def out(self, *args, **kwargs):
        return self.run(*args, **kwargs).stdout.decode().strip()

    def json(self, *args):
        return json.loads(self.out("--format", "json", *args))


def sanitizer_reports(daemon):
    """What the sanitizers said in the daemon's log and that of the programs it started."""
    marks = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "WARNING: ThreadSanitizer", "runtime error:")
    return [line for line in daemon.read_log().splitlines() if any(mark in line for mark in marks)]


@pytest.fixture
def daemon(image):
    one = Daemon()
    one.start()
    yield one
    for container in one.out("ps", "-q").split():
        one.run("rm", "-f", container)
    one.stop()
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        assert one.dir not in mounts.read()
    log = one.read_log()
    assert not sanitizer_reports(one) and "error:" not in log, log
    shutil.rmtree(one.dir)


@pytest.fixture
def busybox(daemon, image):
    """A daemon that has the image."""
    daemon.run("image", "import", f"{image}/oci.tar")
    return daemon
