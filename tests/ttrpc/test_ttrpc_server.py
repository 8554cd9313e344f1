# SPDX-License-Identifier: LGPL-2.1-or-later
"""The ttrpc server as the daemon has it: events of shims, and peers that break the protocol."""
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

import grpc
import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../shim"))
from ttrpc import decode, encode  # noqa: E402  pylint: disable=wrong-import-position

BUILD = os.environ["GANTRY_BUILD"]
LONG = 60
SERVICE = "containerd.services.events.ttrpc.v1.Events"


@pytest.fixture(name="daemon", scope="module")
def fixture_daemon():
    work = tempfile.mkdtemp(prefix="gantry-ttrpc.")
    with open(f"{work}/log", "wb") as log:
        process = subprocess.Popen([f"{BUILD}/core/gantryd", "--plugins-dir", f"{BUILD}/plugins.d", "--root", f"{work}/r", "--state",
                                    f"{work}/s"], stdout=log, stderr=log)
    deadline = time.monotonic() + LONG
    while not (os.path.exists(f"{work}/s/ttrpc.sock") and os.path.exists(f"{work}/s/grpc.sock")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    yield work
    process.send_signal(signal.SIGTERM)
    assert process.wait(LONG) == 0
    assert not os.path.exists(f"{work}/s/ttrpc.sock")
    shutil.rmtree(work)


def frame(stream, payload, kind=1, flags=0, length=None):
    return struct.pack(">IIBB", len(payload) if length is None else length, stream, kind, flags) + payload


def request(method="Forward", payload=b"", service=SERVICE):
    return encode([(1, service), (2, method), (3, payload), (4, 30_000_000_000), (5, encode([(1, "k"), (2, "v")]))])


def envelope(number, ns="default"):
    any_event = encode([(1, "containerd.events.TaskOOM"), (2, encode([(1, f"container-{number}")]))])
    return encode([(1, encode([(1, encode([(1, 1), (2, 2)])), (2, ns), (3, "/tasks/oom"), (4, any_event)]))])


class Client:
    def __init__(self, work):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(LONG)
        self.socket.connect(f"{work}/s/ttrpc.sock")

    def send(self, data):
        self.socket.sendall(data)

    def read(self, n):
        out = b""
        while len(out) < n:
            more = self.socket.recv(n - len(out))
            if not more:
                raise EOFError
            out += more
        return out

    def answer(self):
        """(stream, status code, message)"""
        length, stream, kind, _ = struct.unpack(">IIBB", self.read(10))
        assert kind == 2
        fields = decode(self.read(length))
        status = decode(fields[1][0]) if 1 in fields else {}
        return stream, status.get(1, [0])[0], status.get(2, [b""])[0].decode()

    def ended(self):
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True


def test_events_reach_subscribers(daemon):
    """In their order, and bit for bit."""
    with grpc.insecure_channel(f"unix:{daemon}/s/grpc.sock") as channel:
        events = channel.unary_stream("/containerd.services.events.v1.Events/Subscribe")(encode([(1, "topic==/tasks/oom")]), timeout=LONG)
        events.initial_metadata()
        client = Client(daemon)
        for number in range(20):
            client.send(frame(2 * number + 1, request(payload=envelope(number))))  # all at once: they are answered in order
        for number in range(20):
            assert client.answer() == (2 * number + 1, 0, "")
        for number in range(20):
            got = decode(next(events))
            assert (got[2], got[3]) == ([b"default"], [b"/tasks/oom"])
            assert got[4] == [encode([(1, "containerd.events.TaskOOM"), (2, encode([(1, f"container-{number}")]))])]
        events.cancel()


@pytest.mark.parametrize("data,code", [
    (frame(1, request("Nothing")), 12), (frame(1, request(service="no.Such")), 12), (frame(1, request(), flags=2), 12),
    (frame(2, request()), 3), (frame(1, b"\xff\xff\xff"), 3), (frame(1, b""), 3), (frame(1, request(payload=b"\xff")), 3),
    (frame(1, request(payload=b"")), 3), (frame(1, request(payload=envelope(1, ns=""))), 3)])
def test_refusals(daemon, data, code):
    """And the connection lives on."""
    client = Client(daemon)
    client.send(data)
    assert client.answer()[1] == code
    client.send(frame(3, request(payload=envelope(1))))
    assert client.answer()[:2] == (3, 0)


@pytest.mark.parametrize("data", [frame(1, b"", length=4 * 1024 * 1024 + 1), frame(1, b"", kind=0), frame(1, b"", kind=9),
                                  b"GET / HTTP/1.1\r\n\r\n"])
def test_what_ends_a_connection(daemon, data):
    client = Client(daemon)
    client.send(data)
    assert client.ended()


def test_random_bytes_and_stalled_peers(daemon):
    rng = random.Random(3)
    stalled = [Client(daemon) for _ in range(50)]
    for client in stalled:
        client.send(frame(1, request(payload=envelope(1)))[:rng.randrange(1, 40)])
    for _ in range(300):
        client = Client(daemon)
        try:
            client.send(rng.randbytes(rng.randrange(1, 300)) if rng.random() < 0.5 else
                        frame(rng.randrange(9), rng.randbytes(rng.randrange(100)), kind=rng.randrange(1, 4), flags=rng.randrange(8)))
        except OSError:
            pass
        client.socket.close()
    client = Client(daemon)
    client.send(frame(1, request(payload=envelope(1))))
    assert client.answer()[1] == 0


def test_flood_that_reads_nothing(daemon):
    """Its requests wait in its own socket; others are served."""
    flood = Client(daemon)
    flood.socket.setblocking(False)
    sent = 0
    try:
        while sent < 200_000_000:
            sent += flood.socket.send(frame(1, request("Nothing" * 100)) * 50)
    except BlockingIOError:
        pass
    assert sent < 100_000_000
    client = Client(daemon)
    client.send(frame(1, request(payload=envelope(1))))
    assert client.answer()[1] == 0
