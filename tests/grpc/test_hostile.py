# SPDX-License-Identifier: LGPL-2.1-or-later
"""Peers that break HTTP/2 or gRPC, flood, stall or vanish: the server lives, others are served, and nothing is left of them."""
import contextlib
import random
import socket
import struct
import threading
import time

import pytest

from server import LONG, Server, unary

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, ACK = 1, 4, 1
MIB = 1024 * 1024


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def integer(value, bits, first=0):
    """An HPACK integer (RFC 7541, 5.1)."""
    limit = (1 << bits) - 1
    if value < limit:
        return bytes([first | value])
    out = bytearray([first | limit])
    value -= limit
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes(out + bytes([value]))


def field(name, value, first=0x00):
    """A literal; first=0x40 puts it into the table."""
    name, value = name.encode(), value.encode()
    return bytes([first]) + integer(len(name), 7) + name + integer(len(value), 7) + value


def request(path="/test.Echo/Echo", extra=b"", content_type="application/grpc", method="POST"):
    return (field(":method", method) + field(":scheme", "http") + field(":path", path) + field(":authority", "x")
            + field("te", "trailers") + field("content-type", content_type) + extra)


def message(body=b"", compressed=0):
    return struct.pack(">BI", compressed, len(body)) + body


@pytest.fixture(name="server")
def fixture_server():
    server = Server("handshake_ms=2000", "max_buffered=50000000")
    yield server
    server.close()


class Peer:
    def __init__(self, server, preface=PREFACE + frame(SETTINGS)):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(LONG)
        self.socket.connect(server.path)
        self.got = b""
        self.send(preface)

    def send(self, data):
        """Returns: whether the server still took it."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)
            return True
        return False

    def read_frame(self):
        """(type, flags, stream, payload), or None at the end."""
        while True:
            if len(self.got) >= 9:
                length = int.from_bytes(self.got[:3], "big")
                if len(self.got) >= 9 + length:
                    head, payload, self.got = self.got[:9], self.got[9:9 + length], self.got[9 + length:]
                    return head[3], head[4], int.from_bytes(head[5:9], "big"), payload
            try:
                more = self.socket.recv(65536)
            except OSError:
                more = b""
            if not more:
                return None
            self.got += more

    def read_until(self, kind, stream=None):
        while (got := self.read_frame()) is not None:
            if got[0] == kind and stream in (None, got[2]):
                return got
        return None

    def goaway_code(self):
        """Reads to the end. Returns: the last GOAWAY's error code, or None."""
        code = None
        while (got := self.read_frame()) is not None:
            if got[0] == GOAWAY:
                code = int.from_bytes(got[3][4:8], "big")
        return code

    def close(self):
        self.socket.close()


@contextlib.contextmanager
def others(server):
    """While the body runs another client calls all the time; it must never wait long. A stall of the whole machine is no failure:
    what is compared is how many calls went through."""
    stop, calls, failure = threading.Event(), [0], []

    def run():
        try:
            with server.channel() as channel:
                while not stop.is_set():
                    assert unary(channel, "Echo", b"other") == b"other"
                    calls[0] += 1
        except Exception as error:  # pylint: disable=broad-except
            failure.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    while calls[0] == 0 and not failure:
        time.sleep(0.001)
    before = calls[0]
    yield
    deadline = time.monotonic() + LONG
    while calls[0] < before + 20 and not failure:  # served while what the body left behind is dealt with
        assert time.monotonic() < deadline
        time.sleep(0.001)
    stop.set()
    thread.join()
    assert not failure, failure


def gone(server):
    server.wait_counts(connections=0, calls=0, buffered=0)


def test_random_bytes(server):
    rng = random.Random(1)
    with others(server):
        for _ in range(200):
            peer = Peer(server, rng.randbytes(rng.randrange(1, 5000)))
            peer.close()
        peer = Peer(server, b"GET / HTTP/1.1\r\n\r\n" * 3)
        assert peer.goaway_code() is None
    gone(server)


def test_random_frames(server):
    rng = random.Random(2)
    with others(server):
        for _ in range(300):
            peer = Peer(server)
            for _ in range(rng.randrange(1, 30)):
                kind, flags, stream = rng.randrange(12), rng.choice((0, 1, 4, 5, 8, 0x2d, 255)), rng.choice((0, 1, 1, 3, 5, 2))
                payload = request() if kind == HEADERS and rng.random() < 0.8 else rng.randbytes(rng.choice((0, 4, 5, 8, 40)))
                if not peer.send(frame(kind, flags, stream, payload)):
                    break
            peer.close()
    gone(server)


def test_oversize_frame(server):
    with others(server):
        peer = Peer(server)
        peer.send(frame(HEADERS, END_HEADERS, 1, request()))
        peer.send(frame(DATA, 0, 1, b"x" * 20000))
        assert peer.goaway_code() == 6  # FRAME_SIZE_ERROR
    gone(server)


@pytest.mark.parametrize("head,status", [
    (request(content_type="application/json"), b"415"), (request(content_type="application/grpcx"), b"415"),
    (request(method="PUT"), b"405")])
def test_wrong_http(server, head, status):
    peer = Peer(server)
    peer.send(frame(HEADERS, END_HEADERS, 1, head))
    _, flags, _, payload = peer.read_until(HEADERS)
    assert flags & END_STREAM
    assert payload.endswith(status)
    assert peer.read_until(RST_STREAM)[3] == b"\0\0\0\0"
    peer.close()


def test_messages_that_are_none(server):
    """A stream that ends within a message, one without a message, one with two, a flag that is none, a false length."""
    bodies = [message(b"abc")[:-1], b"", message(b"a") * 2, message(b"a", compressed=2), message(b"a", compressed=1),
              struct.pack(">BI", 0, 0xffffffff) + b"x", b"\0\0"]
    with others(server):
        for body in bodies:
            peer = Peer(server)
            peer.send(frame(HEADERS, END_HEADERS, 1, request()) + frame(DATA, END_STREAM, 1, body))
            assert peer.read_until(HEADERS, 1)[1] & END_STREAM
            peer.send(frame(HEADERS, END_HEADERS, 3, request()) + frame(DATA, END_STREAM, 3, message(b"still")))
            assert peer.read_until(DATA, 3)[3] == message(b"still")
            peer.close()
    gone(server)


def test_lying_length_costs_nothing(server):
    """A prefix that promises 16 MiB allocates what comes, not what it says."""
    before = server.rss()
    peers = []
    for _ in range(20):
        peer = Peer(server)
        for stream in range(1, 101, 2):
            peer.send(frame(HEADERS, END_HEADERS, stream, request()))
            peer.send(frame(DATA, 0, stream, struct.pack(">BI", 0, 16 * MIB) + b"x"))
        peers.append(peer)
    server.wait_counts(calls=1000)
    assert server.rss() - before < 60 * MIB
    for peer in peers:
        peer.close()
    gone(server)


def test_buffered_messages_are_bounded(server):
    """Clients that send almost whole messages, and never the end, run against the limit of the server (50 MB here)."""
    with others(server):
        peers = []
        for _ in range(10):
            peer = Peer(server)
            drain = threading.Thread(target=peer.goaway_code, daemon=True)
            drain.start()
            peer.send(frame(HEADERS, END_HEADERS, 1, request()))
            peer.send(frame(DATA, 0, 1, struct.pack(">BI", 0, 15 * MIB)))
            sender = threading.Thread(target=lambda peer=peer: [peer.send(frame(DATA, 0, 1, b"x" * 16000)) for _ in range(900)],
                                      daemon=True)
            sender.start()
            sender.join(0.2)  # it may stay for ever: the window is closed, and that is right
            peers.append(peer)
            assert server.counts()[2] <= 50000000
        for peer in peers:
            peer.socket.shutdown(socket.SHUT_RDWR)
            peer.close()
    gone(server)


def test_hpack_bomb(server):
    """4 KB in the table, and a block that refers to it 60,000 times: 240 MB of headers in 60 KB."""
    with others(server):
        before = server.rss()
        for _ in range(5):
            peer = Peer(server)
            bomb = field("bomb", "x" * 3900, first=0x40) + integer(62, 7, 0x80) * 16000
            peer.send(frame(HEADERS, 0, 1, request()))
            for part in range(0, len(bomb), 16000):
                peer.send(frame(CONTINUATION, 0, 1, bomb[part:part + 16000]))
            peer.send(frame(CONTINUATION, END_HEADERS, 1, integer(62, 7, 0x80) * 16000))
            peer.goaway_code()
            peer.close()
        assert server.rss() - before < 32 * MIB
    gone(server)


def test_continuation_flood(server):
    with others(server):
        peer = Peer(server)
        peer.send(frame(HEADERS, 0, 1, request()))
        sent = 0
        while peer.send(frame(CONTINUATION, 0, 1, field(f"k{sent}", "v"))):
            sent += 1
            assert sent < 100000
        peer.close()
    gone(server)


def test_rapid_reset(server):
    """A hundred thousand calls that are given up at once: the connection ends long before, and few methods run."""
    with others(server):
        peer = Peer(server)
        stream = 1
        while stream < 200000 and peer.send(
                frame(HEADERS, END_HEADERS, stream, request("/test.Echo/Block")) + frame(DATA, END_STREAM, stream, message())
                + frame(RST_STREAM, 0, stream, b"\0\0\0\x08")):
            stream += 2
        assert stream < 100000
        peer.close()
        gone_calls = server.counts()[1]
        assert gone_calls < 10000
    gone(server)


@pytest.mark.parametrize("flood", [frame(PING, 0, 0, b"12345678"), frame(SETTINGS), frame(PRIORITY, 0, 1, b"\0\0\0\3\x10"),
                                   frame(RST_STREAM, 0, 1, b"\0\0\0\x08"), frame(DATA, 0, 1)],
                         ids=["ping", "settings", "priority", "reset", "empty-data"])
def test_flood(server, flood):
    """Frames that cost the server and not the peer, read by nobody: the connection ends."""
    with others(server):
        peer = Peer(server)
        peer.send(frame(HEADERS, END_HEADERS, 1, request("/test.Echo/Upload")))
        sent = 0
        while peer.send(flood * 1000):
            sent += 1000
            assert sent < 3000000
        peer.close()
    gone(server)


def test_window_overflow(server):
    with others(server):
        peer = Peer(server)
        peer.send(frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff") * 2)
        assert peer.goaway_code() == 3  # FLOW_CONTROL_ERROR
    gone(server)


def test_stalled_peers(server):
    """Who connects and says nothing, or half of the preface, is gone after handshake_ms; others are served meanwhile."""
    with others(server):
        peers = [Peer(server, start) for start in (b"", PREFACE[:10], PREFACE) for _ in range(20)]
        for peer in peers:
            peer.goaway_code()
            peer.close()
    gone(server)


def test_half_open_request(server):
    """Headers without an end, a message without its end: they wait, cost a stream, and end with the connection."""
    with others(server):
        peer = Peer(server)
        peer.send(frame(HEADERS, END_HEADERS, 1, request()) + frame(DATA, 0, 1, message(b"abc")[:-1]))
        peer.send(frame(HEADERS, 0, 3, request()))
        other = Peer(server)
        other.send(frame(HEADERS, END_HEADERS, 1, request(extra=field("grpc-timeout", "300m"))))
        payload = other.read_until(HEADERS, 1)
        assert payload[1] & END_STREAM  # its deadline ends it
        other.close()
        peer.close()
    gone(server)


def test_reader_that_stops(server):
    """A peer that asks for a gigabyte on 100 streams, opens its windows wide and reads nothing."""
    with others(server):
        before = server.rss()
        peer = Peer(server, PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0x7fffffff))
                    + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x7fff0000)))
        for stream in range(1, 201, 2):
            peer.send(frame(HEADERS, END_HEADERS, stream, request("/test.Echo/Stream"))
                      + frame(DATA, END_STREAM, stream, message(b"10000 100000")))
        time.sleep(0.5)
        assert server.rss() - before < 100 * 1.3 * MIB + 16 * MIB
        peer.close()
    gone(server)


def test_keepalive():
    server = Server("keepalive_ms=300", "keepalive_timeout_ms=500")
    dead = Peer(server)  # speaks HTTP/2 and does not answer PINGs
    assert dead.read_until(PING) is not None
    dead.goaway_code()
    dead.close()
    alive = Peer(server)
    for _ in range(3):
        ping = alive.read_until(PING)
        assert ping is not None
        alive.send(frame(PING, ACK, 0, ping[3]))
    alive.close()
    server.close()


def test_idle_costs_no_cpu(server):
    """Many connections at rest: the I/O thread sleeps."""
    peers = [Peer(server) for _ in range(200)]
    server.wait_counts(connections=200)
    before = server.cpu()
    time.sleep(1)
    assert server.cpu() - before < 0.2
    for peer in peers:
        peer.close()
    gone(server)
