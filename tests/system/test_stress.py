# SPDX-License-Identifier: LGPL-2.1-or-later
"""Many clients at once: run, rm, import, export, tag and collect side by side, all answers right, and nothing left over afterwards.

GANTRY_STRESS_CLIENTS says how many (32), GANTRY_STRESS_ROUNDS how often each (3).
"""
import os
import random
import tarfile
import threading

CLIENTS = int(os.environ.get("GANTRY_STRESS_CLIENTS", "32"))
ROUNDS = int(os.environ.get("GANTRY_STRESS_ROUNDS", "3"))


class Client:
    def __init__(self, daemon, image, number):
        self.daemon, self.image, self.number = daemon, image, number
        self.random = random.Random(number)
        self.ns = f"s{os.getpid()}x{number % 4}"

    def gantry(self, *args):
        return self.daemon.run("-n", self.ns, *args, check=False)

    def expect(self, result, status, out=None):
        assert result.returncode == status, (self.number, result.args, result.stdout, result.stderr)
        if out is not None:
            assert result.stdout.decode().strip() == out, (self.number, result.stdout)

    def once(self, turn):
        name = f"c{self.number}-{turn}"
        own = f"example.com/own{self.number}:{turn}"
        self.expect(self.gantry("image", "import", "--name", own, f"{self.image}/oci.tar"), 0)
        kind = self.random.choice(("run", "detach", "export", "fail"))
        if kind == "run":
            self.expect(self.gantry("run", "--rm", "--name", name, own, "echo", name), 0, name)
        elif kind == "fail":
            self.expect(self.gantry("run", "--rm", "--name", name, own, "sh", "-c", "exit 9"), 9)
        elif kind == "detach":
            self.expect(self.gantry("run", "-d", "--name", name, own, "sleep", "1000000"), 0, name)
            self.expect(self.gantry("exec", name, "echo", "in", name), 0, f"in {name}")
            self.expect(self.gantry("rm", "-f", name), 0)
        else:
            path = f"{self.daemon.dir}/{name}.tar"
            self.expect(self.gantry("image", "export", "-o", path, own), 0)
            with tarfile.open(path) as tar:
                assert "index.json" in tar.getnames()
            os.unlink(path)
        self.expect(self.gantry("image", "rm", own), 0)
        if self.random.random() < 0.3:
            self.expect(self.gantry("gc", "run"), 0)


def test_many_clients_at_once(daemon, image):
    failures = []

    def work(number):
        try:
            client = Client(daemon, image, number)
            for turn in range(ROUNDS):
                client.once(turn)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, "\n".join(map(str, failures[:3]))
    assert daemon.run("gc", "run").returncode == 0
    assert daemon.out("check") == ""
    for path in ("content-local/blobs/sha256", "content-local/ingest", "snapshotter-overlay"):
        assert os.listdir(f"{daemon.dir}/r/{path}") == [], path
