# SPDX-License-Identifier: LGPL-2.1-or-later
"""The server against another implementation of gRPC, and against ctr."""
import contextlib
import os
import queue
import shutil
import socket
import stat
import subprocess
import threading
import time

import grpc
import pytest

from server import LONG, Server, unary

MIB = 1024 * 1024


@pytest.fixture(name="server")
def fixture_server():
    server = Server()
    yield server
    server.close()


@pytest.fixture(name="channel")
def fixture_channel(server):
    with server.channel() as channel:
        yield channel


def wait_begun(channel, count):
    """Waits until so many calls of lasting methods have begun."""
    while int(unary(channel, "Count").split()[0]) < count:
        time.sleep(0.01)


def status_of(call):
    with pytest.raises(grpc.RpcError) as info:
        call()
    return info.value


@pytest.mark.parametrize("method", ["Echo", "Quick"])
@pytest.mark.parametrize("size", [0, 1, 4091, 16384, 65536, 5 * MIB, 16 * MIB])
def test_unary(channel, method, size):
    message = os.urandom(size)
    assert unary(channel, method, message) == message


def test_many_at_once(channel):
    call = channel.unary_unary("/test.Echo/Echo")
    futures = [call.future(b"%d" % i, timeout=LONG) for i in range(2000)]
    assert [future.result() for future in futures] == [b"%d" % i for i in range(2000)]


def test_many_connections(server):
    def client(index):
        with server.channel() as channel:
            for i in range(20):
                assert unary(channel, "Echo", b"%d %d" % (index, i)) == b"%d %d" % (index, i)
            done.put(index)

    done = queue.Queue()
    threads = [threading.Thread(target=client, args=(i,)) for i in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done.qsize() == 32


def test_message_limits(channel):
    error = status_of(lambda: unary(channel, "Echo", b"x" * (16 * MIB + 1)))
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error.details() == "grpc: received message larger than max (16777217 vs. 16777216)"
    error = status_of(lambda: unary(channel, "Large", b"16777217"))
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert len(unary(channel, "Large", b"16777216")) == 16 * MIB


CODES = {1: "CANCELLED", 2: "INVALID_ARGUMENT", 3: "NOT_FOUND", 4: "ALREADY_EXISTS", 5: "PERMISSION_DENIED", 6: "UNAUTHENTICATED",
         7: "RESOURCE_EXHAUSTED", 8: "FAILED_PRECONDITION", 9: "FAILED_PRECONDITION", 10: "FAILED_PRECONDITION", 11: "ABORTED",
         12: "OUT_OF_RANGE", 13: "UNIMPLEMENTED", 14: "INTERNAL", 15: "UNAVAILABLE", 16: "DATA_LOSS", 17: "DEADLINE_EXCEEDED",
         0: "UNKNOWN"}


@pytest.mark.parametrize("code", CODES)
def test_errors(channel, code):
    text = 'no "ümläut" 100% → here\n'
    error = status_of(lambda: unary(channel, "Fail", f"{code} {text}".encode()))
    assert (error.code().name, error.details()) == (CODES[code], text)
    assert ("x-why", "asked") in error.trailing_metadata()


def test_status_details(channel):
    error = status_of(lambda: unary(channel, "Fail", b"details gone"))
    assert error.code() == grpc.StatusCode.NOT_FOUND
    assert dict(error.trailing_metadata())["grpc-status-details-bin"] == b"\x08\x05\x12\x04more"


def test_unknown_methods(channel):
    def call(path):
        return status_of(lambda: channel.unary_unary(path)(b"", timeout=LONG))

    for path, words in (("/test.Echo/No", "unknown method No for service test.Echo"), ("/no.Such/Echo", "unknown service no.Such"),
                        ("/x", 'malformed method name: "/x"')):
        error = call(path)
        assert (error.code(), error.details()) == (grpc.StatusCode.UNIMPLEMENTED, words)


def test_metadata(channel):
    reply, call = channel.unary_unary("/test.Echo/Metadata").with_call(
        b"", timeout=30, metadata=[("containerd-namespace", "k8s"), ("some-bin", b"\x00\xff"), ("twice", "1"), ("twice", "2")])
    lines = reply.decode().splitlines()
    assert "containerd-namespace=k8s" in lines and "twice=1" in lines and "twice=2" in lines
    assert any(line in lines for line in ("some-bin=AP8", "some-bin=AP8="))
    assert f"peer={os.getpid()} {os.getuid()} {os.getgid()}" in lines
    left = next(int(line[5:]) for line in lines if line.startswith("left="))
    assert 0 < left <= 31_000_000  # the client rounds up
    assert not any(line.startswith((":", "te=", "grpc-timeout", "content-type")) for line in lines)
    assert ("x-head", "early") in call.initial_metadata()


def test_too_much_metadata(channel):
    error = status_of(lambda: unary(channel, "Metadata", metadata=[(f"k{i}", "v" * 1000) for i in range(80)]))
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert unary(channel, "Echo", b"still here") == b"still here"


def test_compressed_messages_are_refused(channel):
    call = channel.unary_unary("/test.Echo/Echo")
    error = status_of(lambda: call(b"x" * 1000, compression=grpc.Compression.Gzip, timeout=LONG))
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED


def test_later_replies_hold_no_thread(channel):
    """A thousand calls wait at once, with 16 workers, and others pass them."""
    call = channel.unary_unary("/test.Echo/Wait")
    waiting = [call.future(b"3000", timeout=LONG) for _ in range(1000)]
    assert unary(channel, "Echo", b"x") == b"x"
    assert not waiting[0].done()
    assert {future.result() for future in waiting} == {b"later"}


def test_deadline(channel, server):
    start = time.monotonic()
    error = status_of(lambda: unary(channel, "Block", timeout=0.3))
    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - start < LONG / 2
    error = status_of(lambda: unary(channel, "Wait", b"600000", timeout=0.3))
    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    server.wait_counts(calls=0)
    assert unary(channel, "Count") == b"2 2 0"


def test_cancel_reaches_the_method(channel, server):
    methods = (("Block", b""), ("Wait", b"600000"), ("Stream", b"1000000 100000"), ("Upload", b""))
    for number, (method, request) in enumerate(methods, 1):
        if method == "Stream":
            call = channel.unary_stream("/test.Echo/Stream")(request)
            next(call)
        elif method == "Upload":
            parts = queue.Queue()
            parts.put(b"one")
            call = channel.stream_unary("/test.Echo/Upload").future(iter(parts.get, None))
        else:
            call = channel.unary_unary(f"/test.Echo/{method}").future(request)
        wait_begun(channel, number)
        call.cancel()
        if method == "Upload":
            parts.put(None)
        server.wait_counts(calls=0)
    assert unary(channel, "Count") == b"4 4 0"


def test_disconnect_reaches_the_method(server):
    channel = server.channel()
    calls = [channel.unary_unary(f"/test.Echo/{method}").future(b"600000") for method in ("Block", "Wait")]
    wait_begun(channel, 2)
    channel.close()
    server.wait_counts(calls=0, connections=0)
    assert all(call.cancelled() or call.exception() is not None for call in calls)
    with server.channel() as other:
        assert unary(other, "Count") == b"2 2 0"


def test_server_streaming(channel):
    replies = list(channel.unary_stream("/test.Echo/Stream")(b"500 100000", timeout=LONG))
    assert len(replies) == 500 and {len(reply) for reply in replies} == {100000}
    assert not list(channel.unary_stream("/test.Echo/Stream")(b"0 0", timeout=LONG))
    assert list(channel.unary_stream("/test.Echo/Stream")(b"3 0", timeout=LONG)) == [b""] * 3


def test_client_streaming(channel):
    call = channel.stream_unary("/test.Echo/Upload")
    assert call((b"x" * MIB for _ in range(200)), timeout=LONG) == b"200 209715200"
    assert call(iter([]), timeout=LONG) == b"0 0"
    assert call(iter([b"", b"slow", b"a"]), timeout=LONG) == b"3 5"


def test_both_ways(channel):
    def talk():
        for i in range(1000):
            sent.append(i)
            yield b"%d" % i * 100

    sent = []
    replies = list(channel.stream_stream("/test.Echo/Both")(talk(), timeout=LONG))
    assert replies == [b"%d" % i * 100 for i in range(1000)]


def test_headers_before_messages(channel):
    parts = queue.Queue()
    call = channel.stream_stream("/test.Echo/Both")(iter(parts.get, None), timeout=LONG)
    assert call.initial_metadata() is not None  # comes although nothing was sent
    parts.put(b"ping")
    assert next(call) == b"ping"
    parts.put(None)
    assert list(call) == []


@pytest.mark.skipif(os.environ.get("SANITIZER") == "thread", reason="ThreadSanitizer's own memory grows with ours")
def test_slow_reader_costs_little(server):
    """10 GB for a reader that reads 100 messages and then no more."""
    with server.channel() as channel:
        unary(channel, "Echo", b"x")
        before = server.rss()
        calls = [channel.unary_stream("/test.Echo/Stream")(b"10000 1000000", timeout=LONG) for _ in range(10)]
        for call in calls:
            next(call)
        assert unary(channel, "Echo", b"x") == b"x"
        assert server.rss() - before < 10 * 2.5 * MIB + 16 * MIB
        for call in calls:
            call.cancel()
        server.wait_counts(calls=0)


def test_slow_method_costs_little(server):
    """A client that sends a gigabyte to a method that asks for nothing waits, and the server buffers no more than a window."""
    def endless():
        yield b"stop"
        for _ in range(1000):
            sent.append(1)
            yield b"x" * MIB

    sent = []
    with server.channel() as channel:
        call = channel.stream_unary("/test.Echo/Upload").future(endless())
        deadline = time.monotonic() + LONG
        while not sent and time.monotonic() < deadline:
            time.sleep(0.01)
        assert unary(channel, "Echo", b"x" * MIB) == b"x" * MIB
        assert server.counts()[2] <= 300 * 1024
        assert len(sent) < 100
        call.cancel()
        server.wait_counts(calls=0, buffered=0)


def test_drain(server):
    """What runs may end, what is new is refused, and the server ends as soon as nothing runs."""
    with server.channel() as channel, server.channel() as idle:
        assert unary(idle, "Echo", b"x") == b"x"
        waiting = channel.unary_unary("/test.Echo/Wait").future(b"2000", timeout=LONG)
        server.wait_counts(calls=1)
        server.process.stdin.write("stop 300000\n")
        server.process.stdin.flush()
        while os.path.exists(server.path):
            time.sleep(0.01)
        time.sleep(0.2)  # past the final GOAWAY: not a matter of success, only of what is tested
        assert status_of(lambda: unary(channel, "Echo")).code() == grpc.StatusCode.UNAVAILABLE
        assert waiting.result() == b"later"
        assert server.process.wait(LONG) == 0


def test_drain_gives_up(server):
    with server.channel() as channel:
        waiting = channel.unary_unary("/test.Echo/Wait").future(b"600000", timeout=LONG)
        blocked = channel.unary_unary("/test.Echo/Block").future(b"", timeout=LONG)
        server.wait_counts(calls=2)
        assert server.say("stop 300") == ["stopped"]
        assert server.process.wait(LONG) == 0
        assert {call.exception().code() for call in (waiting, blocked)} <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


def test_socket_file():
    server = Server()
    mode = os.stat(server.path).st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600
    again = subprocess.run([server.process.args[0], f"unix:{server.path}"], capture_output=True, text=True, check=False)
    assert again.returncode != 0 and "another program listens" in again.stderr
    server.process.kill()
    server.process.wait()
    assert os.path.exists(server.path)
    heir = subprocess.Popen([server.process.args[0], f"unix:{server.path}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert heir.stdout.readline().startswith(b"ready")
    heir.communicate(b"stop 0\n")
    shutil.rmtree(server.dir)


def test_tcp():
    server = Server(address="tcp:127.0.0.1")
    with server.channel() as channel:
        assert unary(channel, "Echo", b"x" * MIB) == b"x" * MIB
        assert b"peer=" not in unary(channel, "Metadata")
    server.close()


def test_tls(tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key,
                    "-out", certificate, "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-days", "2"],
                   check=True, capture_output=True)
    server = Server(address=f"tls:127.0.0.1:{certificate}:{key}")
    credentials = grpc.ssl_channel_credentials(certificate.read_bytes())
    with grpc.secure_channel(server.target, credentials, options=[("grpc.max_receive_message_length", -1)]) as channel:
        assert unary(channel, "Echo", b"x" * 3 * MIB) == b"x" * 3 * MIB
        assert len(list(channel.unary_stream("/test.Echo/Stream")(b"100 100000", timeout=LONG))) == 100
    with socket.create_connection(("127.0.0.1", server.port)) as plain:
        plain.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        plain.settimeout(LONG)
        with contextlib.suppress(ConnectionResetError):
            while plain.recv(1000):
                pass  # refused: it ends
    server.close()


@pytest.mark.skipif(shutil.which("ctr") is None, reason="needs ctr")
def test_ctr_version(server):
    out = subprocess.run(["ctr", "--address", server.path, "version"], capture_output=True, text=True, check=False, timeout=LONG)
    assert "Version:  1.2.3" in out.stdout and "Revision: abc" in out.stdout, out


def test_limits():
    server = Server("max_connections=2", "max_calls=4")
    with server.channel() as channel:
        calls = [channel.unary_unary("/test.Echo/Wait").future(b"600000") for _ in range(4)]
        server.wait_counts(calls=4)
        error = status_of(lambda: unary(channel, "Echo"))
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        for call in calls:
            call.cancel()
        server.wait_counts(calls=0)
        assert unary(channel, "Echo", b"x") == b"x"
        with socket.socket(socket.AF_UNIX) as second, socket.socket(socket.AF_UNIX) as third:
            second.connect(server.path)
            server.wait_counts(connections=2)
            third.connect(server.path)
            third.settimeout(LONG)
            assert third.recv(100) == b""
            assert unary(channel, "Echo", b"x") == b"x"
    server.close()
