# SPDX-License-Identifier: LGPL-2.1-or-later
"""The echo server as a process, and what tests do with it."""
import os
import shutil
import subprocess
import tempfile
import time

import grpc

BUILD = os.environ["GANTRY_BUILD"]

# Nothing of the transport takes longer, on however slow a machine.
LONG = 60


class Server:
    def __init__(self, *settings, address="unix"):
        self.dir = tempfile.mkdtemp(prefix="gantry-grpc.")
        self.path = f"{self.dir}/s"
        self.process = subprocess.Popen(
            [f"{BUILD}/tests/grpc/echo-server", f"unix:{self.path}" if address == "unix" else address, *settings],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        word, port = self.process.stdout.readline().split()
        assert word == "ready"
        self.target = f"unix:{self.path}" if address == "unix" else f"127.0.0.1:{port}"
        self.port = int(port)

    def channel(self, **options):
        return grpc.insecure_channel(self.target, options=[
            ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1),
            ("grpc.use_local_subchannel_pool", 1), *options.items()])

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().split()

    def counts(self):
        """connections, calls, bytes of messages that no method has"""
        return [int(word) for word in self.say("counts")]

    def wait_counts(self, **wanted):
        """Waits until the named counts are as wanted."""
        deadline = time.monotonic() + LONG
        while True:
            counts = dict(zip(("connections", "calls", "buffered"), self.counts()))
            if all(counts[name] == value for name, value in wanted.items()):
                return
            assert time.monotonic() < deadline, (counts, wanted)
            time.sleep(0.01)

    def rss(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS"))

    def cpu(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self):
        if self.process.poll() is None:
            assert self.say("stop 0") == ["stopped"]
        status = self.process.wait(LONG)
        shutil.rmtree(self.dir)
        assert status == 0, status


def unary(channel, method, request=b"", **kwargs):
    kwargs.setdefault("timeout", LONG)
    return channel.unary_unary(f"/test.Echo/{method}")(request, **kwargs)
