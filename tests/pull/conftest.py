# SPDX-License-Identifier: LGPL-2.1-or-later
"""A registry on loopback, and the daemon of the system tests."""
import collections
import hashlib
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path += [os.path.join(HERE, "..", "system"), os.path.join(HERE, "..", "unit", "differ-archive")]
_spec = importlib.util.spec_from_file_location("system_conftest", os.path.join(HERE, "..", "system", "conftest.py"))
_system = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_system)
BUILD, Daemon, daemon, image = _system.BUILD, _system.Daemon, _system.daemon, _system.image


def pytest_collection_modifyitems(items):
    for item in items:
        if os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root"))
        for program in ("runc", "skopeo", "umoci", "docker-registry"):
            if shutil.which(program) is None:
                item.add_marker(pytest.mark.skip(reason=f"needs {program}"))


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Registry:
    """docker-registry, plain HTTP on loopback. Its access log tells what was fetched."""
    LINE = re.compile(r'"(GET|HEAD|PUT|POST|PATCH) (/v2/\S*) HTTP/[\d.]+" (\d+) (\d+)')

    def __init__(self, **more):
        self.dir = tempfile.mkdtemp(prefix="gantry-registry.")
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        with open(f"{self.dir}/config.yml", "w", encoding="utf-8") as file:
            json.dump({"version": 0.1, "log": {"level": "error"}, "storage": {"filesystem": {"rootdirectory": f"{self.dir}/data"}},
                       "http": {"addr": self.host}, **more}, file)
        self.log = f"{self.dir}/log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(["docker-registry", "serve", f"{self.dir}/config.yml"], stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while True:
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)

    def stop(self):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.dir)

    def requests(self):
        """(method, path, status, bytes) of every request so far."""
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return [(m[1], m[2], int(m[3]), int(m[4])) for m in map(self.LINE.search, file) if m]

    def forget(self):
        os.truncate(self.log, 0)

    def wait_until_idle(self):
        """Until no client is connected: a request that was broken off is logged a moment later."""
        deadline = time.monotonic() + 60
        while self.connections():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def connections(self):
        """proc(5), net/tcp: addresses and ports are in hexadecimal; 0A is LISTEN, 06 is TIME_WAIT."""
        with open("/proc/net/tcp", encoding="ascii") as file:
            lines = [line.split() for line in list(file)[1:]]
        return [words for words in lines if int(words[1].split(":")[1], 16) == self.port and words[3] not in ("0A", "06")]

    def blob_gets(self):
        """Digest -> [(status, bytes)] of every GET of a blob."""
        found = collections.defaultdict(list)
        for method, path, status, size in self.requests():
            if method == "GET" and "/blobs/sha256:" in path:
                found[path.rsplit("/", 1)[1]].append((status, size))
        return found

    def push(self, archive, name):
        """What skopeo makes of the OCI archive there. Returns: the reference."""
        subprocess.run(["skopeo", "copy", "-q", "--all", "--dest-tls-verify=false", f"oci-archive:{archive}", f"docker://{self.host}/{name}"],
                       check=True)
        return f"{self.host}/{name}"

    def raw(self, name):
        """The manifest, as skopeo reads it."""
        return subprocess.run(["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{self.host}/{name}"], check=True,
                              capture_output=True).stdout


@pytest.fixture
def registry():
    one = Registry()
    yield one
    one.stop()
