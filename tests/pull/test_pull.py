# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pulls and pushes against Debian's docker-registry: digests, what is fetched and what is not, breaks, and hostile answers.

GANTRY_PULL_ROUNDS sets how often the daemon is killed (20)."""
import http.server
import json
import os
import pty
import random
import signal
import subprocess
import threading
import time

import pytest

from conftest import BUILD, sha256
from layers import DIR, REG, archive, entry
from test_images import multi_platform
from test_layers import OCI, make_image

ROUNDS = int(os.environ.get("GANTRY_PULL_ROUNDS", "20"))


def layers_of(n, size, seed=1):
    """Layers that do not compress."""
    source = random.Random(seed)
    return [archive(entry("data", DIR), entry(f"data/{seed}-{i}", REG, source.randbytes(size))) for i in range(n)]


def push_layers(registry, tmp_path, name, layers):
    make_image(tmp_path / "pushed.tar", "example.com/pushed:1", layers)
    return registry.push(tmp_path / "pushed.tar", name)


def sizes_of(registry, name):
    """Digest -> size of everything below the manifest."""
    manifest = json.loads(registry.raw(name))
    return {one["digest"]: one["size"] for one in [manifest["config"], *manifest["layers"]]}


def arrived(daemon):
    """Digest -> bytes, of every blob of which something is here."""
    content = f"{daemon.dir}/r/content-local"
    found = {"sha256:" + name: os.path.getsize(f"{content}/blobs/sha256/{name}") for name in os.listdir(f"{content}/blobs/sha256")}
    for name in os.listdir(f"{content}/ingest"):
        if name.endswith(".meta"):
            with open(f"{content}/ingest/{name}", encoding="utf-8") as file:
                notes = dict(line.strip().split("=", 1) for line in file if "=" in line)
            data = f"{content}/ingest/{name[:-5]}.data"
            if "Expected" in notes and os.path.exists(data):
                found[notes["Expected"]] = os.path.getsize(data)
    return found


def assert_only_the_rest(registry, here, sizes):
    """What was asked for since registry.forget () is what `here` lacked, and no byte of what it had."""
    gets = registry.blob_gets()
    for digest, size in sizes.items():
        sent = sum(one for _, one in gets.get(digest, []))
        assert sent == size - here.get(digest, 0), (digest, size, here.get(digest), gets.get(digest))


def test_pull_and_run(daemon, registry, image):
    reference = registry.push(f"{image}/oci.tar", "team/busybox:1")
    assert daemon.out("pull", "-q", reference) == reference
    record = daemon.json("image", "ls")[0]
    assert record["name"] == reference and record["target"][1] == sha256(registry.raw("team/busybox:1"))
    assert daemon.out("run", "--rm", reference, "echo", "hello") == "hello"
    # Once more: the manifest is asked for, nothing else.
    registry.forget()
    daemon.run("pull", reference)
    assert registry.blob_gets() == {} and not [one for one in registry.requests() if one[0] == "GET"]
    assert daemon.out("check") == ""


def test_run_of_an_absent_image_pulls(daemon, registry, image):
    reference = registry.push(f"{image}/oci.tar", "busybox:2")
    result = daemon.run("run", "--rm", "--pull", "never", reference, "true", check=False)
    assert result.returncode == 125
    assert daemon.out("run", "--rm", reference, "echo", "pulled") == "pulled"
    result = daemon.run("run", "--rm", f"{registry.host}/absent:1", "true", check=False)
    assert result.returncode == 125 and registry.host.encode() in result.stderr


def test_push_comes_back_the_same(daemon, registry, image, tmp_path):
    daemon.run("image", "import", f"{image}/oci.tar")
    before = daemon.json("image", "ls")[0]["target"]
    target = f"{registry.host}/out/busybox:1"
    assert daemon.out("push", "-q", "busybox", target) == before[1] == sha256(registry.raw("out/busybox:1"))
    subprocess.run(["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{target}", f"oci-archive:{tmp_path}/back.tar:busybox:back"],
                   check=True)
    daemon.run("-n", "other", "image", "import", f"{tmp_path}/back.tar")
    assert daemon.json("-n", "other", "image", "ls")[0]["target"][1] == before[1]
    # Nothing is sent twice, and another repository of the registry gets it without a copy.
    registry.forget()
    daemon.run("push", "busybox", target)
    assert not [one for one in registry.requests() if one[0] in ("POST", "PATCH")]
    daemon.run("push", "busybox", f"{registry.host}/else/busybox:1")
    requests = registry.requests()
    assert [one for one in requests if one[0] == "POST" and "mount=" in one[1] and one[2] == 201]
    assert not [one for one in requests if one[0] == "PATCH" or (one[0] == "PUT" and "/blobs/uploads/" in one[1])]
    assert sha256(registry.raw("else/busybox:1")) == before[1]
    daemon.run("-n", "other", "image", "rm", "busybox:back")


def test_platforms(daemon, registry, tmp_path):
    multi_platform(tmp_path / "multi.tar", ["amd64", "arm64", "s390x"])
    reference = registry.push(tmp_path / "multi.tar", "multi:1")
    host = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    daemon.run("pull", reference)
    assert len(registry.blob_gets()) == 2 and daemon.json("image", "inspect", reference)["platform"] == f"linux/{host}"
    assert daemon.run("pull", "--platform", "linux/mips", reference, check=False).returncode == 1
    registry.forget()
    daemon.run("pull", "--all-metadata", reference)
    assert len(registry.blob_gets()) == 2, "the configs of two platforms, no layer"
    # The index goes back whole only when it is here whole.
    result = daemon.run("push", reference, f"{registry.host}/copy:1", check=False)
    assert result.returncode == 1 and b"platform" in result.stderr
    only = daemon.out("push", "-q", "--platform", "linux/" + host, reference, f"{registry.host}/copy:host")
    assert sha256(registry.raw("copy:host")) == only
    registry.forget()
    daemon.run("pull", "--all-platforms", reference)
    assert len(registry.blob_gets()) == 2, "the layers of two platforms"
    whole = daemon.out("push", "-q", reference, f"{registry.host}/copy:all")
    assert whole == sha256(registry.raw("copy:all")) == sha256(registry.raw("multi:1"))
    # Of several platforms an index is made that has nothing else.
    some = ["--platform", "linux/s390x", "--platform", "linux/amd64"]
    digest = daemon.out("push", "-q", *some, reference, f"{registry.host}/some:1")
    index, original = json.loads(registry.raw("some:1")), json.loads(registry.raw("multi:1"))
    assert sha256(registry.raw("some:1")) == digest != whole
    assert index.pop("manifests") == [one for one in original.pop("manifests") if one["platform"]["architecture"] != "arm64"]
    assert index == original
    assert subprocess.run(["skopeo", "inspect", "--tls-verify=false", "--override-arch", "s390x", f"docker://{registry.host}/some:1"],
                          check=True, capture_output=True).stdout
    result = daemon.run("push", *some, "--platform", "linux/mips", reference, f"{registry.host}/some:2", check=False)
    assert result.returncode == 1 and b"no manifest for platform linux/mips" in result.stderr
    result = daemon.run("push", *some, reference, f"{registry.host}/some@{whole}", check=False)
    assert result.returncode == 1 and b"name a tag" in result.stderr
    every = [word for arch in ("amd64", "arm64", "s390x") for word in ("--platform", f"linux/{arch}")]
    assert daemon.out("push", "-q", *every, reference, f"{registry.host}/some:3") == whole
    daemon.run("gc", "run")
    assert daemon.out("check") == ""


def test_docker_manifests(daemon, registry, image):
    subprocess.run(["skopeo", "copy", "-q", "--format", "v2s2", "--dest-tls-verify=false", f"oci-archive:{image}/oci.tar",
                    f"docker://{registry.host}/s2:1"], check=True)
    reference = f"{registry.host}/s2:1"
    assert json.loads(registry.raw("s2:1"))["mediaType"].startswith("application/vnd.docker.")
    daemon.run("pull", reference)
    assert daemon.out("run", "--rm", reference, "echo", "v2s2") == "v2s2"
    assert daemon.out("push", "-q", reference, f"{registry.host}/s2:back") == sha256(registry.raw("s2:1")) == sha256(registry.raw("s2:back"))


def test_artifact(daemon, registry, tmp_path):
    """What is no image is fetched, kept and sent on, but not unpacked."""
    blobs = {sha256(data): data for data in (b"{}", b"some text")}
    config, layer = blobs
    manifest = json.dumps({"schemaVersion": 2, "mediaType": OCI + ".manifest.v1+json", "artifactType": "application/x.example",
                           "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": 2},
                           "layers": [{"mediaType": "text/plain", "digest": layer, "size": len(blobs[layer])}],
                           "annotations": {"a": "b"}}).encode()
    with FakeRegistry() as fake:
        fake.blobs.update(blobs)
        serve_manifest(fake, manifest)
        daemon.run("pull", f"{fake.host}/thing:1")
    assert daemon.json("image", "ls")[0]["target"][1] == sha256(manifest)
    daemon.run("gc", "run")
    assert daemon.out("push", "-q", f"{fake.host}/thing:1", f"{registry.host}/thing:1") == sha256(registry.raw("thing:1")) == sha256(manifest)


def pull_together(daemon, reference, *namespaces):
    jobs = [subprocess.Popen([*daemon.client(), "-n", ns, "pull", reference], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for ns in namespaces]
    for job in jobs:
        out, errors = job.communicate(timeout=300)
        assert job.returncode == 0, (out, errors, daemon.read_log())


@pytest.mark.parametrize("namespaces", [("one", "one", "one"), ("one", "two", "three")])
def test_each_blob_once_for_all(daemon, registry, tmp_path, namespaces):
    reference = push_layers(registry, tmp_path, "eight:1", layers_of(8, 1 << 20))
    registry.forget()
    pull_together(daemon, reference, *namespaces)
    counts = {digest: len(gets) for digest, gets in registry.blob_gets().items()}
    assert len(counts) == 9 and set(counts.values()) == {1}, counts
    for ns in set(namespaces):
        assert len(daemon.json("-n", ns, "image", "ls")) == 1
    assert daemon.out("check") == ""


def test_cancelled_pull_goes_on_where_it_ended(daemon, registry, tmp_path):
    reference = push_layers(registry, tmp_path, "cut:1", layers_of(4, 24 << 20))
    process = subprocess.Popen([*daemon.client(), "--format", "json", "pull", reference], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for line in process.stderr:
        if json.loads(line).get("Bytes", 0) > 0:
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 1 and daemon.json("image", "ls") == []
    daemon.run("gc", "run")
    here = arrived(daemon)
    assert here
    registry.forget()
    daemon.run("pull", reference)
    assert_only_the_rest(registry, here, sizes_of(registry, "cut:1"))
    assert daemon.out("check") == ""


def test_what_nobody_goes_on_with_expires(daemon, registry, tmp_path):
    reference = push_layers(registry, tmp_path, "given-up:1", layers_of(4, 24 << 20))
    process = subprocess.Popen([*daemon.client(), "--format", "json", "pull", reference], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for line in process.stderr:
        if json.loads(line).get("Bytes", 0) > 0:
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    ingest = f"{daemon.dir}/r/content-local/ingest"
    daemon.run("gc", "run")
    left = os.listdir(ingest)
    assert left
    for name in left:
        os.utime(f"{ingest}/{name}", (time.time() - 25 * 3600,) * 2)
    # The daemon looks after its start, and every few minutes.
    daemon.stop()
    daemon.start()
    deadline = time.monotonic() + 60
    while os.listdir(ingest):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_killed_daemon_goes_on_where_it_ended(daemon, registry, tmp_path):
    """kill -9 at a random instant of a pull of 8 layers."""
    seed = int(os.environ.get("GANTRY_SEED", random.randrange(1 << 30)))
    print("GANTRY_SEED", seed)
    source = random.Random(seed)
    took = 1.0
    for number in range(ROUNDS):
        reference = push_layers(registry, tmp_path, f"round:{number}", layers_of(8, 2 << 20, seed + number))
        sizes = sizes_of(registry, f"round:{number}")
        pull = subprocess.Popen([*daemon.client(), "pull", reference], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(source.uniform(0, took))
        daemon.kill()
        pull.wait()
        registry.wait_until_idle()
        daemon.start()
        assert [one["name"] for one in daemon.json("image", "ls")] in ([], [reference])
        here = arrived(daemon)
        registry.forget()
        begin = time.monotonic()
        daemon.run("pull", reference)
        took = max(0.2, 0.5 * (took + time.monotonic() - begin))
        assert_only_the_rest(registry, here, sizes)
        assert daemon.out("check") == "", number
        daemon.run("image", "rm", reference)
        daemon.run("gc", "run")
        for directory in ("blobs/sha256", "ingest"):
            assert os.listdir(f"{daemon.dir}/r/content-local/{directory}") == [], number


class FakeRegistry:
    """Serves whatever a test puts in: for answers that a real registry would not give."""
    def __init__(self):
        self.blobs = {}      # digest -> bytes
        self.manifests = {}  # tag or digest, or "*" -> (media type, bytes)
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self, status, kind, data):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                if status == 200:
                    self.send_header("Docker-Content-Digest", self.path.rsplit("/", 1)[1] if "sha256:" in self.path else sha256(data))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            def do_GET(self):
                name = self.path.rsplit("/", 1)[1]
                if "/manifests/" in self.path and (name in outer.manifests or "*" in outer.manifests):
                    self.answer(200, *outer.manifests.get(name, outer.manifests.get("*")))
                elif "/blobs/" in self.path and name in outer.blobs:
                    self.answer(200, "application/octet-stream", outer.blobs[name])
                elif self.path.rstrip("/") == "/v2":
                    self.answer(200, "application/json", b"{}")
                else:
                    self.answer(404, "application/json", b'{"errors":[{"code":"NOT_FOUND","message":"no"}]}')

            do_HEAD = do_GET

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *args):
        self.server.shutdown()
        self.server.server_close()


def index_of(*children):
    return json.dumps({"schemaVersion": 2, "mediaType": OCI + ".index.v1+json",
                       "manifests": [{"mediaType": OCI + ".index.v1+json", "digest": digest, "size": size} for digest, size in children]}).encode()


def hostile_self(fake):
    size = len(index_of(("sha256:" + "a" * 64, 999)))
    document = index_of(("sha256:" + "a" * 64, size))
    fake.manifests["*"] = (OCI + ".index.v1+json", document)
    return b"sha256:aaaa"


def hostile_nested(fake):
    document = index_of()
    for _ in range(100):
        fake.manifests[sha256(document)] = (OCI + ".index.v1+json", document)
        document = index_of((sha256(document), len(document)))
    fake.manifests["1"] = (OCI + ".index.v1+json", document)
    fake.manifests[sha256(document)] = fake.manifests["1"]
    return b"nested more than 8 deep"


def manifest_of(layers, config=b"{}"):
    return json.dumps({"schemaVersion": 2, "mediaType": OCI + ".manifest.v1+json",
                       "config": {"mediaType": OCI + ".config.v1+json", "digest": sha256(config), "size": len(config)},
                       "layers": layers}).encode()


def serve_manifest(fake, document):
    fake.manifests["1"] = fake.manifests[sha256(document)] = (OCI + ".manifest.v1+json", document)


def hostile_layers(fake):
    layer = {"mediaType": OCI + ".layer.v1.tar", "digest": sha256(b"x"), "size": 1}
    serve_manifest(fake, manifest_of([layer] * 10000))
    return b"10000 layers"


def hostile_digest(fake):
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [sha256(b"x")]}}).encode()
    fake.blobs[sha256(config)] = config
    fake.blobs[sha256(b"right")] = b"wrong"
    serve_manifest(fake, manifest_of([{"mediaType": OCI + ".layer.v1.tar", "digest": sha256(b"right"), "size": 5}], config))
    return sha256(b"right").encode()


def hostile_json(fake):
    document = b'{"schemaVersion": 2, "layers": ' + b"[" * 5000
    fake.manifests["1"] = fake.manifests[sha256(document)] = (OCI + ".manifest.v1+json", document)
    return sha256(document).encode()


@pytest.mark.parametrize("make", [hostile_self, hostile_nested, hostile_layers, hostile_digest, hostile_json])
def test_hostile(daemon, make):
    with FakeRegistry() as fake:
        word = make(fake)
        result = daemon.run("pull", f"{fake.host}/evil:1", check=False)
    assert result.returncode == 1
    message = result.stderr.strip().split(b"\n")[-1]
    assert word in message and fake.host.encode() in message, message
    daemon.run("gc", "run")
    assert daemon.json("image", "ls") == [] and daemon.out("check") == ""
    assert os.listdir(f"{daemon.dir}/r/content-local/blobs/sha256") == []


def test_bars_fit_the_terminal(daemon, registry, tmp_path):
    reference = push_layers(registry, tmp_path, "bars:1", layers_of(6, 4 << 20))
    ours, theirs = pty.openpty()
    process = subprocess.Popen([*daemon.client(), "pull", reference], stdout=subprocess.PIPE, stderr=theirs, close_fds=True)
    os.close(theirs)
    seen = b""
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:
            break
        if not data:
            break
        seen += data
    assert process.communicate(timeout=60)[0].decode().strip() == reference and process.returncode == 0
    lines = [line for part in seen.split(b"\r") for line in part.replace(b"\033[J", b"").split(b"\n") if b"[" in line and b"\033" not in line]
    assert lines and max(map(len, lines)) < 80, max(lines, key=len)
    assert any(line.count(b"#") for line in lines)
    assert seen.endswith(b"\033[J"), "what was drawn is taken away"


def test_progress_as_json(daemon, registry, tmp_path):
    reference = push_layers(registry, tmp_path, "json:1", layers_of(3, 4 << 20))
    result = daemon.run("--format", "json", "pull", reference)
    assert json.loads(result.stdout)["name"] == reference
    changes = [json.loads(line) for line in result.stderr.splitlines()]
    items = {}
    for one in changes:
        items.update(one.get("Items", {}))
    assert len(items) == 4 and {item["state"] for item in items.values()} == {"done"}
    assert changes[-1]["Bytes"] == changes[-1].get("TotalBytes", changes[-1]["Bytes"]) if "Bytes" in changes[-1] else True
