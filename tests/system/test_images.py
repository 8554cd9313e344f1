# SPDX-License-Identifier: LGPL-2.1-or-later
"""Images in and out: archives of skopeo, umoci, docker and podman; what goes out has the digests that came in."""
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile

import pytest

from conftest import BUILD
from test_layers import OCI, digest, make_image
from layers import HARDLINK, REG, archive, entry, gz


def inspect(archive_name):
    return json.loads(subprocess.run(["skopeo", "inspect", "--raw", archive_name], check=True, capture_output=True).stdout)


def raw_digest(archive_name):
    raw = subprocess.run(["skopeo", "inspect", "--raw", archive_name], check=True, capture_output=True).stdout
    return "sha256:" + hashlib.sha256(raw).hexdigest()


def test_export_is_read_by_skopeo_and_umoci(busybox, image, tmp_path):
    busybox.run("image", "export", "-o", f"{tmp_path}/out.tar", "busybox")
    assert raw_digest(f"oci-archive:{tmp_path}/out.tar") == raw_digest(f"oci-archive:{image}/oci.tar")
    # What docker load would read.
    config = subprocess.run(["skopeo", "inspect", "--config", f"docker-archive:{tmp_path}/out.tar:busybox:latest"], check=True,
                            capture_output=True)
    assert json.loads(config.stdout)["rootfs"]["diff_ids"]
    os.mkdir(tmp_path / "layout")
    with tarfile.open(tmp_path / "out.tar") as tar:
        tar.extractall(tmp_path / "layout")
    subprocess.run(["umoci", "unpack", "--image", f"{tmp_path}/layout:latest", f"{tmp_path}/bundle"], check=True, capture_output=True)
    assert (tmp_path / "bundle/rootfs/bin/busybox").exists()


def test_export_is_reproducible_and_comes_back(busybox, tmp_path):
    for name in ("one", "two"):
        busybox.run("image", "export", "-o", f"{tmp_path}/{name}.tar", "busybox")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    with open(tmp_path / "three.tar", "wb") as file:
        busybox.run("image", "export", "busybox", stdout=file)
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "three.tar").read_bytes()
    before = busybox.json("image", "ls")[0]["target"]
    busybox.run("-n", "other", "image", "import", f"{tmp_path}/one.tar")
    again = busybox.json("-n", "other", "image", "ls")
    assert [one["name"] for one in again] == ["docker.io/library/busybox:latest"] and again[0]["target"][:3] == before[:3]
    busybox.run("-n", "other", "image", "rm", "busybox")


def test_export_to_a_full_disk_leaves_nothing(busybox, tmp_path):
    result = busybox.run("image", "export", "-o", "/dev/full", "busybox", check=False)
    assert result.returncode == 1
    with open("/dev/full", "wb") as full:
        result = subprocess.run([f"{BUILD}/cli/gantry", "--address", f"unix:path={busybox.socket}", "image", "export", "busybox"],
                                stdout=full, stderr=subprocess.PIPE, check=False, timeout=60)
    assert result.returncode == 1 and b"No space left" in result.stderr
    result = busybox.run("image", "export", "-o", f"{tmp_path}/x.tar", "no-such-image", check=False)
    assert result.returncode == 1 and b"no-such-image" in result.stderr and os.listdir(tmp_path) == []


def multi_platform(path, platforms):
    """An OCI archive with an index; every platform has a layer of its own."""
    blobs, entries = {}, []
    for arch in platforms:
        layer = archive(entry("arch", REG, arch.encode()))
        blob = gz(layer)
        config = json.dumps({"architecture": arch, "os": "linux", "config": {},
                             "rootfs": {"type": "layers", "diff_ids": [digest(layer)]}}).encode()
        manifest = json.dumps({"schemaVersion": 2, "mediaType": OCI + ".manifest.v1+json",
                               "config": {"mediaType": OCI + ".config.v1+json", "digest": digest(config), "size": len(config)},
                               "layers": [{"mediaType": OCI + ".layer.v1.tar+gzip", "digest": digest(blob), "size": len(blob)}]}).encode()
        for data in (blob, config, manifest):
            blobs[digest(data)] = data
        entries.append({"mediaType": OCI + ".manifest.v1+json", "digest": digest(manifest), "size": len(manifest),
                        "platform": {"os": "linux", "architecture": arch}})
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI + ".index.v1+json", "manifests": entries}).encode()
    blobs[digest(index)] = index
    top = json.dumps({"schemaVersion": 2, "manifests": [{"mediaType": OCI + ".index.v1+json", "digest": digest(index), "size": len(index),
                                                         "annotations": {"io.containerd.image.name": "example.com/multi:1"}}]}).encode()
    files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": top}
    files.update({"blobs/sha256/" + key[7:]: data for key, data in blobs.items()})
    with open(path, "wb") as file:
        file.write(archive(*(entry(name, REG, data) for name, data in files.items())))


def blobs_of(daemon):
    return len(os.listdir(f"{daemon.dir}/r/content-local/blobs/sha256"))


def test_platforms(daemon, tmp_path):
    multi_platform(tmp_path / "multi.tar", ["amd64", "arm64", "s390x"])
    machine = os.uname().machine
    host = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
    daemon.run("image", "import", f"{tmp_path}/multi.tar")
    daemon.run("gc", "run")
    assert blobs_of(daemon) == 4  # index, manifest, config, layer
    daemon.run("image", "export", "-o", f"{tmp_path}/host.tar", "example.com/multi:1")
    with tarfile.open(tmp_path / "host.tar") as tar:
        assert len([one for one in tar.getnames() if one.startswith("blobs/sha256/") and len(one) > 60]) == 4
    result = daemon.run("image", "export", "-o", f"{tmp_path}/s.tar", "--platform", "linux/s390x", "example.com/multi:1", check=False)
    assert result.returncode == 1
    daemon.run("image", "import", "--all-platforms", f"{tmp_path}/multi.tar")
    daemon.run("gc", "run")
    assert blobs_of(daemon) == 10
    daemon.run("image", "export", "-o", f"{tmp_path}/s.tar", "--platform", "linux/s390x", "example.com/multi:1")
    assert daemon.json("image", "inspect", "--platform", "linux/s390x", "example.com/multi:1")["platform"] == "linux/s390x"
    assert daemon.json("image", "inspect", "example.com/multi:1")["platform"] == f"linux/{host}"
    daemon.run("image", "rm", "example.com/multi:1")
    result = daemon.run("image", "import", "--platform", "linux/mips", f"{tmp_path}/multi.tar", check=False)
    assert result.returncode == 1 and daemon.json("image", "ls") == []
    daemon.run("image", "import", "--platform", "linux/s390x", "--no-unpack", f"{tmp_path}/multi.tar")
    daemon.run("gc", "run")
    assert blobs_of(daemon) == 4


def test_names_by_option(daemon, tmp_path, image):
    make_image(tmp_path / "x.tar", "v1", [archive(entry("f", REG, b"x"))])
    assert daemon.out("image", "import", "--no-unpack", "--prefix", "example.com/p", f"{tmp_path}/x.tar") == "example.com/p:v1"
    names = daemon.out("image", "import", "--no-unpack", "--digests", "--prefix", "example.com/p", f"{tmp_path}/x.tar").split()
    assert names[0] == "example.com/p:v1" and names[1].startswith("example.com/p@sha256:")
    daemon.run("image", "tag", "example.com/p:v1", "example.com/q:2")
    assert daemon.run("image", "tag", names[1], "example.com/q:2", check=False).returncode == 1
    daemon.run("image", "tag", "-f", names[1], "example.com/q:2")
    daemon.run("image", "label", "example.com/q:2", "a=b", "c=d")
    daemon.run("image", "label", "example.com/q:2", "c=")
    labels = {one["name"]: one.get("labels") for one in daemon.json("image", "ls")}
    assert labels["example.com/q:2"] == {"a": "b"} and not labels["example.com/p:v1"]
    assert [one["name"] for one in daemon.json("image", "ls", "-f", "labels.a==b")] == ["example.com/q:2"]


def docker_save(path, layers):
    """As `docker save` of docker 20 wrote it: a directory a layer, and a symlink where two images share one."""
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/sh"]},
                         "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]}}).encode()
    name = digest(config)[7:]
    entries, paths = [], []
    for index, layer in enumerate(layers):
        directory = f"{index:064x}"
        paths.append(f"{directory}/layer.tar")
        entries += [entry(f"{directory}/VERSION", REG, b"1.0"), entry(f"{directory}/json", REG, b"{}"), entry(paths[-1], REG, layer)]
    manifest = json.dumps([{"Config": f"{name}.json", "RepoTags": ["saved:1", "example.com/saved:2"], "Layers": paths}]).encode()
    entries += [entry(f"{name}.json", REG, config), entry("manifest.json", REG, manifest), entry("repositories", REG, b"{}")]
    with open(path, "wb") as file:
        file.write(archive(*entries))


def test_docker_save(daemon, tmp_path):
    docker_save(tmp_path / "saved.tar", [archive(entry("a", REG, b"1")), archive(entry("b", REG, b"2"))])
    names = daemon.out("image", "import", f"{tmp_path}/saved.tar").split()
    assert names == ["docker.io/library/saved:1", "example.com/saved:2"]
    for compress in ("gzip", "zstd", "xz"):
        if shutil.which(compress):
            with open(tmp_path / "saved.tar", "rb") as source, open(tmp_path / "packed", "wb") as target:
                subprocess.run([compress, "-c"], stdin=source, stdout=target, check=True)
            assert daemon.out("image", "import", f"{tmp_path}/packed").split() == names


def test_umoci_and_skopeo(daemon, image, tmp_path):
    os.mkdir(tmp_path / "layout")
    with tarfile.open(f"{image}/oci.tar") as tar:
        tar.extractall(tmp_path / "layout")
    subprocess.run(["umoci", "config", "--image", f"{tmp_path}/layout:docker.io/library/busybox:latest", "--tag", "mine",
                    "--config.env", "MINE=yes"], check=False, capture_output=True)
    subprocess.run(["tar", "-C", tmp_path / "layout", "-cf", tmp_path / "umoci.tar", "."], check=True)
    assert "docker.io/library/busybox:latest" in daemon.out("image", "import", "--prefix", "example.com/u", f"{tmp_path}/umoci.tar").split()
    for target in ("oci-archive", "docker-archive"):
        subprocess.run(["skopeo", "copy", "-q", f"oci-archive:{image}/oci.tar", f"{target}:{tmp_path}/{target}.tar:example.com/s:{target}"],
                       check=True)
        daemon.run("image", "import", f"{tmp_path}/{target}.tar")
        assert daemon.out("run", "--rm", f"example.com/s:{target}", "echo", "ok") == "ok"


@pytest.mark.skipif(shutil.which("podman") is None, reason="needs podman")
def test_podman_save(daemon, image, tmp_path):
    podman = ["podman", "--root", f"{tmp_path}/r", "--runroot", f"{tmp_path}/rr", "--tmpdir", f"{tmp_path}/t", "--storage-driver", "vfs",
              "--cgroup-manager", "cgroupfs", "--events-backend", "none"]
    loaded = subprocess.run([*podman, "load", "-i", f"{image}/oci.tar"], capture_output=True, text=True, check=False)
    if loaded.returncode != 0:
        pytest.skip(f"podman cannot work here: {loaded.stderr.strip()}")
    for form in ("oci-archive", "docker-archive"):
        subprocess.run([*podman, "save", "--format", form, "-o", f"{tmp_path}/{form}.tar", "docker.io/library/busybox:latest"], check=True,
                       capture_output=True)
        names = daemon.out("image", "import", f"{tmp_path}/{form}.tar").split()
        assert names == ["docker.io/library/busybox:latest"]
        assert daemon.out("run", "--rm", "busybox", "echo", form) == form
    daemon.run("image", "export", "-o", f"{tmp_path}/back.tar", "busybox")
    subprocess.run([*podman, "load", "-i", f"{tmp_path}/back.tar"], check=True, capture_output=True)
    subprocess.run([*podman, "rmi", "-fa"], check=True, capture_output=True)


def test_interrupt_cancels_an_import(daemon):
    ours, theirs = os.pipe()
    process = subprocess.Popen([f"{BUILD}/cli/gantry", "--address", f"unix:path={daemon.socket}", "image", "import", "-"], stdin=ours,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    os.close(ours)
    # The job is there, and waits for a pipe that says nothing.
    while not daemon.json("job", "ls"):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    os.close(theirs)
    assert process.returncode == 1 and b"cancel" in errors.lower(), errors
    assert daemon.out("check") == "" and daemon.json("image", "ls") == []


def test_jobs_are_listed_waited_for_and_cancelled(daemon):
    ours, theirs = os.pipe()
    process = subprocess.Popen([f"{BUILD}/cli/gantry", "--address", f"unix:path={daemon.socket}", "image", "import", "-"], stdin=ours,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    os.close(ours)
    while not (jobs := daemon.json("job", "ls")):
        assert process.poll() is None
    job = str(jobs[0]["Id"])
    header, row = daemon.out("job", "ls").splitlines()
    assert header.split() == ["JOB", "OPERATION", "NAMESPACE", "OBJECT", "STATE", "DONE", "UID", "STARTED"]
    assert row.split()[:3] == [job, "import", "default"]
    assert daemon.json("job", "inspect", job)["Finished"] is False
    waiter = subprocess.Popen([f"{BUILD}/cli/gantry", "--address", f"unix:path={daemon.socket}", "job", "wait", job], stderr=subprocess.PIPE)
    daemon.run("job", "cancel", job)
    # The job's error is that of all who wait for it.
    for one in (process, waiter):
        _, errors = one.communicate(timeout=30)
        assert one.returncode == 1 and b"cancel" in errors.lower(), errors
    os.close(theirs)
    assert daemon.out("job", "ls").splitlines()[1].split()[4] == "Cancelled"
    refused = daemon.run("job", "wait", "4711", check=False)
    assert refused.returncode == 1 and b"job 4711: not found" in refused.stderr


def test_the_daemon_ends_amid_an_import_that_says_no_more(daemon):
    ours, theirs = os.pipe()
    process = subprocess.Popen([f"{BUILD}/cli/gantry", "--address", f"unix:path={daemon.socket}", "image", "import", "-"], stdin=ours,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    os.close(ours)
    while not daemon.json("job", "ls"):
        assert process.poll() is None
    daemon.stop()
    assert process.wait(30) == 1
    os.close(theirs)
    daemon.start()
    assert daemon.out("check") == ""


def test_usage_and_prune(busybox, image, tmp_path):
    busybox.run("image", "import", f"{image}/docker.tar")
    busybox.run("image", "tag", "busybox", "example.com/again:1")
    usage = {one["name"]: one for one in busybox.json("image", "usage")}
    one, other = usage["docker.io/library/busybox:latest"], usage["example.com/docker:1"]
    layer = os.path.getsize(f"{image}/oci.tar") // 2
    assert one["blob-bytes"] > layer and one["snapshot-bytes"] > layer and len(one["snapshots"]) == 1
    assert one["snapshots"] == other["snapshots"] and one["own-bytes"] == 0, "another name holds all of it, too"
    assert 0 < other["own-bytes"] < other["blob-bytes"] + other["snapshot-bytes"], "a manifest of its own, the layer perhaps"
    busybox.run("run", "-d", "--name", "user", "example.com/docker:1", "sleep", "1000")
    assert busybox.out("image", "prune") == "" and len(busybox.json("image", "ls")) == 3
    assert busybox.out("image", "prune", "-a", "--dry-run").split() == ["docker.io/library/busybox:latest", "example.com/again:1"]
    busybox.run("image", "prune", "-a", "-f", "name~=again")
    assert len(busybox.json("image", "ls")) == 2
    busybox.run("image", "prune", "-a")
    assert [left["name"] for left in busybox.json("image", "ls")] == ["example.com/docker:1"]
    assert busybox.out("exec", "user", "echo", "well") == "well"
    busybox.run("rm", "-f", "user")
    assert busybox.out("image", "prune", "-a") == "example.com/docker:1" and busybox.out("check") == ""


def test_several_images_and_the_index(daemon, tmp_path):
    for number in "12":
        make_image(tmp_path / f"{number}.tar", f"example.com/x:{number}", [archive(entry("f", REG, number.encode()))])
        daemon.run("image", "import", f"{tmp_path}/{number}.tar")
    daemon.run("image", "export", "-o", f"{tmp_path}/both.tar", "example.com/x:1", "example.com/x:2")
    for compress in ("gzip", "zstd", "xz", "bzip2"):
        if not shutil.which(compress):
            continue
        with subprocess.Popen([compress, "-c", tmp_path / "both.tar"], stdout=subprocess.PIPE) as packer:
            names = daemon.out("-n", compress, "image", "import", "-", stdin=packer.stdout).split()
        assert names == ["example.com/x:1", "example.com/x:2"]
    result = daemon.run("-n", "one", "image", "import", "--name", "example.com/y:1", f"{tmp_path}/both.tar", check=False)
    assert result.returncode == 1 and b"several" in result.stderr and daemon.json("-n", "one", "image", "ls") == []
    names = daemon.out("-n", "index", "image", "import", "--index-name", "example.com/all:1", "--all-platforms",
                       f"{tmp_path}/both.tar").split()
    assert names == ["example.com/x:1", "example.com/x:2", "example.com/all:1"]
    daemon.run("-n", "index", "image", "rm", "example.com/x:1", "example.com/x:2")
    daemon.run("gc", "run")
    assert len(daemon.json("-n", "index", "content", "ls")) == 7  # the index, and of each image a manifest, a config and a layer
    result = daemon.run("-n", "docker", "image", "import", "--index-name", "example.com/all:1", "/dev/null", check=False)
    assert result.returncode == 1


def test_index_keeps_what_names_no_platform(daemon, tmp_path):
    """Beside what is for this machine; what is for others goes."""
    multi_platform(tmp_path / "multi.tar", ["amd64", "arm64", "s390x"])
    make_image(tmp_path / "x.tar", "example.com/x:1", [archive(entry("f", REG, b"x"))])
    daemon.run("image", "import", "--all-platforms", f"{tmp_path}/multi.tar")
    daemon.run("image", "import", f"{tmp_path}/x.tar")
    daemon.run("image", "export", "-o", f"{tmp_path}/both.tar", "example.com/multi:1", "example.com/x:1")
    # The archive's own index has the platforms of the one itself, and the other beside.
    with tarfile.open(tmp_path / "both.tar") as tar, tarfile.open(tmp_path / "flat.tar", "w") as flat:
        index = json.load(tar.extractfile("index.json"))
        nested = json.load(tar.extractfile("blobs/sha256/" + index["manifests"][0]["digest"][7:]))
        for one in index["manifests"][1:]:
            del one["annotations"]
        data = json.dumps({"schemaVersion": 2, "manifests": nested["manifests"] + index["manifests"][1:]}).encode()
        for member in tar.getmembers():
            if member.name != "index.json":
                flat.addfile(member, tar.extractfile(member) if member.isfile() else None)
        member = tarfile.TarInfo("index.json")
        member.size = len(data)
        flat.addfile(member, io.BytesIO(data))
    assert daemon.out("-n", "flat", "image", "import", "--index-name", "example.com/flat:1", f"{tmp_path}/flat.tar") == "example.com/flat:1"
    daemon.run("gc", "run")
    assert len(daemon.json("-n", "flat", "content", "ls")) == 7  # the index, and of two manifests each with a config and a layer


def test_hard_link_into_a_lower_layer(daemon, tmp_path):
    """The layer can't be unpacked beside the ones below, so it is unpacked on top of them, and the file is copied up."""
    make_image(tmp_path / "x.tar", "example.com/x:1", [archive(entry("d/f", REG, b"below")), archive(entry("h", HARDLINK, link="d/f"))])
    daemon.run("image", "import", f"{tmp_path}/x.tar")
    links = [os.path.join(top, name) for top, _, names in os.walk(f"{daemon.dir}/r") for name in names if name == "h"]
    assert len(links) == 1 and os.stat(links[0]).st_nlink == 2 and open(links[0], "rb").read() == b"below"


def peak(daemon):
    """The most memory that the daemon has had, in MiB."""
    with open(f"/proc/{daemon.process.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def test_streams_take_little_memory(daemon, tmp_path):
    """Hundreds of MiB in by a pipe and out by another: what comes out is what came in, and the daemon holds little of it."""
    make_image(tmp_path / "x.tar", "example.com/x:1", [archive(entry("f", REG, os.urandom(96 << 20)))])
    daemon.out("image", "ls")
    before = peak(daemon)
    with subprocess.Popen(["zstd", "-1", "-c", tmp_path / "x.tar"], stdout=subprocess.PIPE) as packer:
        assert daemon.out("image", "import", "--no-unpack", "-", stdin=packer.stdout) == "example.com/x:1"
    with subprocess.Popen([*daemon.client(), "image", "export", "example.com/x:1"], stdout=subprocess.PIPE) as exporter:
        with tarfile.open(fileobj=exporter.stdout, mode="r|") as tar:
            sizes = []
            for member in tar:
                sizes.append(member.size)
                if member.name.startswith("blobs/") and member.isfile():
                    name, hashed = member.name.split("/")[-1], hashlib.sha256()
                    file = tar.extractfile(member)
                    while data := file.read(1 << 20):
                        hashed.update(data)
                    assert hashed.hexdigest() == name
    assert exporter.wait(60) == 0 and max(sizes) > 96 << 20
    assert peak(daemon) - before < 48


def test_index_without_names(daemon, tmp_path):
    make_image(tmp_path / "x.tar", None, [archive(entry("f", REG, b"x"))])
    assert daemon.run("image", "import", f"{tmp_path}/x.tar", check=False).returncode == 1
    assert daemon.out("image", "import", "--index-name", "example.com/all:1", f"{tmp_path}/x.tar") == "example.com/all:1"
    assert daemon.json("image", "inspect", "example.com/all:1")["chain-id"]
