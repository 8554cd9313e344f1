# SPDX-License-Identifier: LGPL-2.1-or-later
"""A large layer is unpacked while it comes, and nothing of it counts before all of it is verified."""
import contextlib
import gzip
import hashlib
import http.server
import json
import os
import random
import re
import signal
import subprocess
import threading
import time

import pytest

from conftest import sha256
from layers import DIR, REG, archive, entry

OCI = "application/vnd.oci.image"
MIB = 1 << 20
FILES = 48  # of 1 MiB: more than the least that is followed


class SlowRegistry:
    """One image of one layer. `allowed` is how much of the layer may be sent now, `cut` where a connection breaks once."""
    def __init__(self, ranges):
        source = random.Random(5)
        self.files = {f"data/{i}": source.randbytes(MIB) for i in range(FILES)}
        tar = archive(entry("data", DIR), *(entry(name, REG, data) for name, data in self.files.items()))
        self.layer = gzip.compress(tar, 0, mtime=0)
        config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [sha256(tar)]}}).encode()
        self.digest = sha256(self.layer)
        self.manifest = json.dumps({"schemaVersion": 2, "mediaType": OCI + ".manifest.v1+json",
                                    "config": {"mediaType": OCI + ".config.v1+json", "digest": sha256(config), "size": len(config)},
                                    "layers": [{"mediaType": OCI + ".layer.v1.tar+gzip", "digest": self.digest, "size": len(self.layer)}]}).encode()
        self.blobs = {sha256(config): config, self.digest: self.layer}
        self.ranges, self.allowed, self.cut, self.sent = ranges, len(self.layer), None, 0
        self.parts = []  # that were asked for
        self.changed = threading.Condition()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                name = self.path.rsplit("/", 1)[1]
                data = outer.manifest if "/manifests/" in self.path else outer.blobs.get(name, b"{}")
                asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
                begin, end = (int(asked[1]), int(asked[2]) + 1) if asked and outer.ranges else (0, len(data))
                if asked and outer.ranges:
                    outer.parts.append((begin, end))
                self.send_response(206 if asked and outer.ranges else 200)
                self.send_header("Content-Type", OCI + ".manifest.v1+json" if "/manifests/" in self.path else "application/octet-stream")
                self.send_header("Content-Length", str(end - begin))
                if asked and outer.ranges:
                    self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(data)}")
                self.end_headers()
                if self.command == "GET":
                    self.send(name, data, begin, end)

            do_HEAD = do_GET

            def send(self, name, data, begin, end):
                while begin < end:
                    n = min(end - begin, 65536)
                    if name == outer.digest and not outer.may_send(begin, n):
                        self.close_connection = True
                        return
                    self.wfile.write(data[begin:begin + n])
                    begin += n

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.reference = f"127.0.0.1:{self.server.server_port}/large:1"

    def may_send(self, begin, n):
        with self.changed:
            self.changed.wait_for(lambda: begin + n <= self.allowed, 120)
            if self.cut is not None and begin <= self.cut < begin + n:
                self.cut = None
                return False
            self.sent += n
        return True

    def allow(self, size):
        with self.changed:
            self.allowed = size
            self.changed.notify_all()

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *args):
        self.allow(len(self.layer))
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(params=[True, False], ids=["ranges", "whole"])
def slow(request):
    with SlowRegistry(request.param) as one:
        yield one


def unpacked(daemon):
    """Path below a snapshot -> bytes; some may be on their way out."""
    found = {}
    for directory, _, names in os.walk(f"{daemon.dir}/r/snapshotter-overlay"):
        for name in names:
            path = os.path.join(directory, name)
            if "/fs/" not in path:
                continue
            with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
                found[path.split("/fs/", 1)[1]] = file.read()
    return found


def wait_until(condition, what):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def start_pull(daemon, reference):
    return subprocess.Popen([*daemon.client(), "pull", reference], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def pull_some(daemon, slow):
    """Begins to pull and lets a little more of the layer come, again and again, until some of it is unpacked."""
    slow.allow(MIB)
    pull = start_pull(daemon, slow.reference)

    def goes_on():
        slow.allow(min(slow.allowed + MIB // 4, (FILES - 4) * MIB))
        return len(unpacked(daemon)) > 10
    wait_until(goes_on, "nothing is unpacked while the layer comes")
    return pull


@contextlib.contextmanager
def events(daemon, path):
    """Gives a function that ends them and returns their text."""
    def mark(word):
        while word.encode() not in path.read_bytes():
            daemon.run("ns", "create", word)
            daemon.run("ns", "rm", word)

    with open(path, "wb") as output:
        process = subprocess.Popen([*daemon.client(), "events"], stdout=output)

    def end():
        mark("last")
        return path.read_bytes()
    mark("marker")
    yield end
    process.terminate()
    process.wait()


def assert_pulled(daemon, slow):
    assert [one["name"] for one in daemon.json("image", "ls")] == [slow.reference]
    assert unpacked(daemon) == slow.files and daemon.out("check") == ""


def assert_nothing(daemon):
    daemon.run("gc", "run")
    assert daemon.json("image", "ls") == [] and daemon.out("check") == ""
    wait_until(lambda: unpacked(daemon) == {}, "files of the snapshot stay")


def test_unpacked_before_it_is_whole(daemon, slow):
    pull = pull_some(daemon, slow)
    assert daemon.json("image", "ls") == []
    slow.allow(len(slow.layer))
    assert pull.wait(120) == 0, pull.stderr.read()
    assert_pulled(daemon, slow)
    # It came slowly, so that it came by several connections if it could: 4 MiB by each, and once a byte to see that it can.
    assert (len([1 for begin, end in slow.parts if end - begin == 4 * MIB]) > 5) == slow.ranges


def test_wrong_digest_leaves_nothing(daemon, slow, tmp_path):
    """It unpacks to just what the image's config says, and only its end shows that it is not what was asked for."""
    wrong = bytearray(slow.layer)
    wrong[4] ^= 1  # RFC 1952: a time, which nothing depends on
    slow.blobs[slow.digest] = bytes(wrong)
    with events(daemon, tmp_path / "events") as end:
        pull = pull_some(daemon, slow)
        slow.allow(len(slow.layer))
        _, errors = pull.communicate(timeout=120)
        assert pull.returncode == 1 and slow.digest.encode() in errors, errors
        text = end()
    assert b"/snapshot/prepare" in text and b"/snapshot/commit" not in text
    assert_nothing(daemon)


def test_broken_connection(daemon, slow):
    slow.cut = 20 * MIB + 5
    daemon.run("pull", slow.reference)
    assert slow.cut is None
    assert_pulled(daemon, slow)


def test_cancelled(daemon, slow):
    pull = pull_some(daemon, slow)
    pull.send_signal(signal.SIGINT)
    pull.wait(60)
    wait_until(lambda: unpacked(daemon) == {}, "files of the snapshot stay")
    assert daemon.json("image", "ls") == []
    slow.allow(len(slow.layer))
    daemon.run("pull", slow.reference)
    assert_pulled(daemon, slow)


@pytest.mark.parametrize("spoilt", [False, True], ids=["killed", "killed-and-spoilt"])
def test_killed(daemon, slow, spoilt):
    """The next pull goes on where this one ended; if what is there was spoilt meanwhile, it begins anew."""
    pull = pull_some(daemon, slow)
    daemon.kill()
    pull.wait(60)
    slow.allow(len(slow.layer))
    ingest = f"{daemon.dir}/r/content-local/ingest"
    largest = max((f"{ingest}/{name}" for name in os.listdir(ingest)), key=os.path.getsize)
    assert os.path.getsize(largest) > 10 * MIB
    if spoilt:
        with open(largest, "r+b") as file:
            file.seek(2 * MIB)
            file.write(b"spoilt")
    daemon.start()
    daemon.run("pull", slow.reference)
    daemon.run("gc", "run")
    wait_until(lambda: {name: hashlib.sha256(data).digest() for name, data in unpacked(daemon).items()}
               == {name: hashlib.sha256(data).digest() for name, data in slow.files.items()}, "the files are not those of the layer")
    assert_pulled(daemon, slow)
