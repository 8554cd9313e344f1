# SPDX-License-Identifier: LGPL-2.1-or-later
"""kill -9 of the daemon at random instants while images are imported, exported and removed and containers made, run and removed.

After each restart: what was acknowledged is there, nothing half-made is visible, `gantry check` says nothing, and what is on the disk,
mounted, running or in a cgroup is what the database knows. GANTRY_CRASH_ROUNDS says how often (200), GANTRY_CRASH_SEED which instants.
"""
import glob
import hashlib
import io
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import tarfile
import tempfile
import threading
import time

import pytest

from conftest import BUILD, Daemon, sanitizer_reports

ROUNDS = int(os.environ.get("GANTRY_CRASH_ROUNDS", "200"))
SEED = int(os.environ.get("GANTRY_CRASH_SEED", str(random.SystemRandom().randrange(10**9))))
CLIENTS = 4
# A namespace of its own, since its name is also that of the cgroups.
NS = f"crash{os.getpid()}"


def make_image(path, busybox, number):
    """An OCI archive with the layer of the busybox image and one that no other image has."""
    with tarfile.open(busybox) as archive:
        files = {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}
    index = json.loads(files["index.json"])
    manifest = json.loads(files["blobs/sha256/" + index["manifests"][0]["digest"][7:]])
    config = json.loads(files["blobs/sha256/" + manifest["config"]["digest"][7:]])
    blobs = {layer["digest"]: files["blobs/sha256/" + layer["digest"][7:]] for layer in manifest["layers"]}

    def add(data):
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"digest": digest, "size": len(data)}

    source = random.Random(number)
    layer, digests = io.BytesIO(), {}
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for index_of_file in range(40):
            data = source.randbytes(source.randrange(1, 40000))
            info = tarfile.TarInfo(f"data/{index_of_file % 5}/{index_of_file:03}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
            digests["/" + info.name] = hashlib.sha256(data).hexdigest()
    described = add(layer.getvalue())
    manifest["layers"].append({"mediaType": "application/vnd.oci.image.layer.v1.tar", **described})
    config["rootfs"]["diff_ids"].append(described["digest"])
    config.pop("history", None)
    manifest["config"].update(add(json.dumps(config).encode()))
    top = {"mediaType": "application/vnd.oci.image.manifest.v1+json", **add(json.dumps(manifest).encode())}
    top["annotations"] = {"io.containerd.image.name": f"example.com/crash:{number}"}
    with tarfile.open(path, "w") as tar:
        documents = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
                     "index.json": json.dumps({"schemaVersion": 2, "manifests": [top]}).encode()}
        for name, data in [*documents.items(), *(("blobs/sha256/" + digest[7:], data) for digest, data in blobs.items())]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return digests, sorted(blobs)


class Ledger:
    """What has been acknowledged. A thing that is in neither set may be there or not."""

    def __init__(self):
        self.lock = threading.Lock()
        self.images, self.no_images = set(), set()
        self.containers, self.no_containers = {}, set()
        self.unknown_images, self.unknown_containers = set(), set()
        self.counts = {}

    def count(self, what, acknowledged):
        with self.lock:
            done, broken = self.counts.get(what, (0, 0))
            self.counts[what] = (done + acknowledged, broken + (not acknowledged))


class Crasher:
    def __init__(self, image, seed):
        self.random = random.Random(seed)
        self.daemon = Daemon()
        self.ledger = Ledger()
        self.serial = 0
        self.files = {}
        os.mkdir(f"{self.daemon.dir}/images")
        for number in range(24):
            path = f"{self.daemon.dir}/images/{number}.tar"
            self.files[f"example.com/crash:{number}"] = (path, *make_image(path, f"{image}/oci.tar", number))

    def gantry(self, *args):
        # Files, not pipes: a container that was made and never started keeps its streams open.
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            result = self.daemon.run("-n", NS, *args, check=False, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
            for name, file in (("stdout", out), ("stderr", err)):
                file.seek(0)
                setattr(result, name, file.read())
        return result

    # The operations. Each tells the ledger what it is about to do, and what was acknowledged.

    def do_import(self, name):
        with self.ledger.lock:
            self.ledger.no_images.discard(name)
            self.ledger.unknown_images.add(name)
        ok = self.gantry("image", "import", self.files[name][0]).returncode == 0
        self.ledger.count("import", ok)
        if ok:
            with self.ledger.lock:
                self.ledger.images.add(name)
                self.ledger.unknown_images.discard(name)

    def do_remove_image(self, name):
        with self.ledger.lock:
            self.ledger.images.discard(name)
            self.ledger.unknown_images.add(name)
        ok = self.gantry("image", "rm", name).returncode == 0
        self.ledger.count("image rm", ok)
        if ok:
            with self.ledger.lock:
                self.ledger.no_images.add(name)
                self.ledger.unknown_images.discard(name)

    def do_export(self, name):
        path = f"{self.daemon.dir}/export.{threading.get_ident()}.tar"
        ok = self.gantry("image", "export", "-o", path, name).returncode == 0
        self.ledger.count("export", ok)
        if ok:
            with tarfile.open(path) as tar:
                for member in tar:
                    if member.name.startswith("blobs/sha256/") and member.isfile():
                        assert hashlib.sha256(tar.extractfile(member).read()).hexdigest() == os.path.basename(member.name)
                assert {"sha256:" + os.path.basename(member.name) for member in tar if "/sha256/" in member.name and member.isfile()} \
                    == set(self.files[name][2])
        if os.path.exists(path):
            os.unlink(path)

    def do_run(self, image, container):
        with self.ledger.lock:
            self.ledger.unknown_containers.add(container)
        result = self.gantry("run", "--rm", "--name", container, image, "sh", "-c", "exit 7")
        # The status is the container's, whether its removal succeeded or not.
        ok = result.returncode == 7 and result.stderr == b""
        self.ledger.count("run", ok)
        if ok:
            with self.ledger.lock:
                self.ledger.no_containers.add(container)
                self.ledger.unknown_containers.discard(container)

    def do_detach(self, image, container):
        with self.ledger.lock:
            self.ledger.unknown_containers.add(container)
        result = self.gantry("run", "-d", "--name", container, image, "sleep", "1000000")
        ok = result.returncode == 0
        self.ledger.count("run -d", ok)
        if ok:
            with self.ledger.lock:
                self.ledger.containers[container] = "running"
                self.ledger.unknown_containers.discard(container)

    def do_create(self, image, container):
        with self.ledger.lock:
            self.ledger.unknown_containers.add(container)
        ok = self.gantry("create", "--name", container, image, "true").returncode == 0
        self.ledger.count("create", ok)
        if ok:
            with self.ledger.lock:
                self.ledger.containers[container] = None
                self.ledger.unknown_containers.discard(container)

    def do_remove(self, container):
        with self.ledger.lock:
            self.ledger.containers.pop(container)
            self.ledger.unknown_containers.add(container)
        ok = self.gantry("rm", "-f", container).returncode == 0
        self.ledger.count("rm -f", ok)
        if ok:
            with self.ledger.lock:
                self.ledger.no_containers.add(container)
                self.ledger.unknown_containers.discard(container)

    def choose(self):
        """The operations of one round: each on a thing of its own."""
        images = sorted(self.ledger.images)
        absent = sorted(set(self.files) - self.ledger.images - self.ledger.unknown_images)
        containers = sorted(self.ledger.containers)
        self.random.shuffle(images)
        self.random.shuffle(absent)
        self.random.shuffle(containers)
        base = images.pop() if images else None
        jobs = []
        for _ in range(CLIENTS):
            kinds = ["import"] * 3 if absent else []
            if base is not None:
                kinds += ["run"] * 3 + ["export"] + (["detach", "create"] if len(self.ledger.containers) < 6 else [])
            kinds += ["remove"] * 2 if containers else []
            kinds += ["image rm"] * 2 if len(images) > 3 else []
            if not kinds:
                continue
            kind = self.random.choice(kinds)
            self.serial += 1
            name = f"c{self.serial}"
            jobs.append({"import": lambda: (self.do_import, absent.pop()), "run": lambda: (self.do_run, base, name),
                         "export": lambda: (self.do_export, base), "detach": lambda: (self.do_detach, base, name),
                         "create": lambda: (self.do_create, base, name), "remove": lambda: (self.do_remove, containers.pop()),
                         "image rm": lambda: (self.do_remove_image, images.pop())}[kind]())
        return jobs

    def work_and_kill(self):
        failures = []

        def run(job):
            try:
                job[0](*job[1:])
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=run, args=(job,)) for job in self.choose()]
        for thread in threads:
            thread.start()
        # A random instant, more often an early one: a sleep is what is meant here.
        time.sleep(self.random.choice((0.05, 0.15, 0.4)) * self.random.random())
        self.daemon.kill()
        for thread in threads:
            thread.join(120)
            assert not thread.is_alive()
        assert not failures, failures

    # What must be so after a restart.

    def settle(self):
        """Finds out what became of whatever was not acknowledged."""
        images = {one["name"] for one in self.daemon.json("-n", NS, "image", "ls")}
        containers = {one["id"]: one for one in self.daemon.json("-n", NS, "ps")}
        ledger = self.ledger
        assert ledger.images <= images, f"images lost: {ledger.images - images}"
        assert not ledger.no_images & images, f"removed images are back: {ledger.no_images & images}"
        assert images <= ledger.images | ledger.unknown_images
        assert set(ledger.containers) <= set(containers), f"containers lost: {set(ledger.containers) - set(containers)}"
        assert not ledger.no_containers & set(containers), f"removed containers are back: {ledger.no_containers & set(containers)}"
        assert set(containers) <= set(ledger.containers) | ledger.unknown_containers
        for name, state in ledger.containers.items():
            assert containers[name].get("status") == state, (name, containers[name], state)
        ledger.images |= images
        for name in set(containers) - set(ledger.containers):
            # Half of those that nobody heard of go; the others must be usable as they are.
            ledger.containers[name] = containers[name].get("status")
            if self.random.random() < 0.5:
                assert self.gantry("rm", "-f", name).returncode == 0
                del ledger.containers[name]
                ledger.no_containers.add(name)
        ledger.unknown_images.clear()
        ledger.unknown_containers.clear()

    def shims(self):
        found = []
        for path in glob.glob("/proc/[0-9]*/cmdline"):
            try:
                with open(path, "rb") as file:
                    command = file.read()
            except OSError:
                continue
            if b"gantry-shim-runc" in command and self.daemon.dir.encode() in command:
                found.append(path)
            elif b"gantry-unpack" in command and self.daemon.dir.encode() in command:
                found.append(path)
        return found

    def inventory(self):
        """What is on the disk, mounted and running, in the terms of the database."""
        state, root = f"{self.daemon.dir}/s", f"{self.daemon.dir}/r"
        with open("/proc/self/mountinfo", encoding="utf-8") as file:
            mounts = sorted(line.split()[4] for line in file if self.daemon.dir in line)
        bundles = sorted(os.path.basename(path) for path in glob.glob(f"{state}/runtime-runc/bundles/{NS}/*"))
        return {
            "mounts": sorted(os.path.basename(os.path.dirname(path)) for path in mounts),
            "bundles": bundles,
            "shims": len(self.shims()),
            "runc": sorted(os.listdir(f"{state}/runtime-runc/runc/{NS}")) if os.path.isdir(f"{state}/runtime-runc/runc/{NS}") else [],
            # Of an instance that is not the usual one, with a suffix that tells which.
            "cgroups": sorted({os.path.basename(os.path.normpath(path)).rsplit(".", 1)[0] for path in
                               glob.glob(f"/sys/fs/cgroup/*/{NS}/*/") + glob.glob(f"/sys/fs/cgroup/{NS}/*/")}),
            "ingests": os.listdir(f"{root}/content-local/ingest"),
            "blobs": sorted("sha256:" + name for name in os.listdir(f"{root}/content-local/blobs/sha256")),
            "directories": sorted(name for name in os.listdir(f"{root}/snapshotter-overlay")),
        }

    def database(self):
        with sqlite3.connect(f"file:{self.daemon.dir}/r/metadata.db?mode=ro", uri=True) as connection:
            def column(sql):
                return sorted(row[0] for row in connection.execute(sql))
            return {
                "blobs": column("SELECT DISTINCT id FROM record WHERE kind='content'"),
                "directories": column("SELECT CAST(number AS TEXT) FROM snapshot WHERE snapshotter='overlay'"),
                "snapshots": column("SELECT id FROM record WHERE kind='snapshot'"),
                "leases": column("SELECT id FROM record WHERE kind='lease'"),
                "garbage": column("SELECT backend FROM garbage"),
            }

    def check(self):
        self.settle()
        collected = self.gantry("gc", "run")
        assert collected.returncode == 0, collected.stderr
        problems = self.gantry("check")
        assert (problems.returncode, problems.stdout) == (0, b""), problems.stdout.decode() + problems.stderr.decode()
        tasks = sorted(one["id"] for one in self.daemon.json("-n", NS, "ps") if "status" in one)
        running = sorted(one["id"] for one in self.daemon.json("-n", NS, "ps") if one.get("status", "stopped") != "stopped")
        wanted_blobs = set()
        for name in self.ledger.images:
            wanted_blobs.update(self.files[name][2])
        # Directories of removed snapshots and shims that were told to end go in the background; they must go soon.
        deadline = time.monotonic() + 30
        while True:
            found, known = self.inventory(), self.database()
            # A stopped task keeps its shim and its mount until it is deleted, unless the shim was lost; what the OCI runtime has of it
            # goes when it ends.
            stopped = [one for one in found["mounts"] if one in tasks and one not in running]
            live = sorted(running + stopped)
            wrong = {
                "mounts": (found["mounts"], live), "bundles": (found["bundles"], tasks), "shims": (found["shims"], len(live)),
                "runc": (found["runc"], running), "cgroups": (found["cgroups"], running), "ingests": (found["ingests"], []),
                "blobs": (found["blobs"], known["blobs"]), "wanted blobs": (known["blobs"], sorted(wanted_blobs)),
                "directories": (found["directories"], known["directories"]), "leases": (known["leases"], []),
                "garbage": (known["garbage"], []),
                "snapshots": ([one for one in known["snapshots"] if "extract-" in one], []),
                "containers' snapshots": (sorted(one[8:] for one in known["snapshots"] if "sha256:" not in one),
                                          sorted(self.ledger.containers)),
            }
            wrong = {key: value for key, value in wrong.items() if value[0] != value[1]}
            if not wrong or time.monotonic() > deadline:
                break
            time.sleep(0.05)
        assert not wrong, wrong

    def prove_an_image(self):
        """An image that was acknowledged is unpacked whole."""
        if not self.ledger.images:
            return
        name = self.random.choice(sorted(self.ledger.images))
        out = self.gantry("run", "--rm", name, "sh", "-c", "sha256sum /data/*/*")
        assert out.returncode == 0, out.stderr
        found = {line.split()[1]: line.split()[0] for line in out.stdout.decode().splitlines()}
        assert found == self.files[name][1], name


@pytest.fixture
def crasher(image):
    print(f"GANTRY_CRASH_SEED={SEED}")
    one = Crasher(image, SEED)
    yield one
    if one.daemon.process is not None and one.daemon.process.poll() is None:
        for container in one.daemon.run("-n", NS, "ps", "-q", check=False).stdout.decode().split():
            one.gantry("rm", "-f", container)
        one.daemon.process.send_signal(signal.SIGTERM)
        one.daemon.process.wait(60)
    assert not sanitizer_reports(one.daemon)
    shutil.rmtree(one.daemon.dir)


def test_kill_9_at_random_instants(crasher):
    for number in range(ROUNDS):
        crasher.daemon.start()
        try:
            crasher.check()
            if number % 4 == 0:
                crasher.prove_an_image()
            crasher.work_and_kill()
        except AssertionError:
            print(f"round {number} of seed {SEED}\n{crasher.daemon.read_log()[-8000:]}")
            raise
    crasher.daemon.start()
    crasher.check()
    # With everything removed, nothing at all is left.
    for container in list(crasher.ledger.containers):
        crasher.do_remove(container)
    for image in list(crasher.ledger.images):
        crasher.do_remove_image(image)
    crasher.check()
    known = crasher.database()
    assert known["blobs"] == [] and known["snapshots"] == [] and known["directories"] == []
    print("acknowledged, interrupted:", crasher.ledger.counts)
    subprocess.run(["rmdir", *glob.glob(f"/sys/fs/cgroup/*/{NS}"), *glob.glob(f"/sys/fs/cgroup/{NS}")], check=False, capture_output=True)


def begin(daemon):
    """Starts @daemon and does not wait for it."""
    with open(f"{daemon.dir}/log", "ab") as log:
        return subprocess.Popen([f"{BUILD}/core/gantryd", "--plugins-dir", f"{BUILD}/plugins.d", "--root", f"{daemon.dir}/r", "--state",
                                 f"{daemon.dir}/s"], stdout=log, stderr=log)


def identity_of(daemon):
    with open(f"{daemon.dir}/r/uuid", encoding="ascii") as file:
        return file.read()


def test_kill_9_of_the_first_start():
    """Nothing is there, everything is being made: the database, directories, the identity. The next start finishes it."""
    source = random.Random(SEED)
    for number in range(max(20, ROUNDS // 5)):
        daemon = Daemon()
        for _ in range(source.randrange(1, 4)):
            process = begin(daemon)
            time.sleep(source.uniform(0, 0.05))
            process.kill()
            process.wait()
        daemon.start()
        try:
            identity = identity_of(daemon)
            assert len(identity) == 36
            assert daemon.run("check", check=False).returncode == 0
            assert not [one for one in daemon.json("plugin", "list") if one["state"] == "failed"]
            daemon.run("ns", "create", "kept")
            daemon.kill()
            daemon.start()
            assert identity_of(daemon) == identity and "kept" in daemon.out("ns", "ls")
            assert not glob.glob(f"{daemon.dir}/r/metadata.db.new*")
            daemon.stop()
            with open("/proc/self/mounts", encoding="ascii") as mounts:
                assert daemon.dir not in mounts.read()
        except AssertionError:
            print(f"round {number} of seed {SEED}\n{daemon.read_log()[-8000:]}")
            raise
        assert not sanitizer_reports(daemon)
        shutil.rmtree(daemon.dir)
