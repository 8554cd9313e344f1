#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Times unpacking: 8 layers, 14,000 files, some 110 MB of gzip, one on top of the other as overlay snapshots.

    unpack.py BUILD_DIR [--layers 8] [--files 14000] [--rounds 3] [--keep DIR] [--no-sync] [--containerd]

The layers are made of this machine's own /usr. With --containerd the same layers, as an OCI archive, are also given to
`ctr image import` on a private containerd, which unpacks them. Needs root.
"""
import argparse
import contextlib
import gzip
import hashlib
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time


def candidates():
    for root in ("/usr/share", "/usr/lib", "/usr/include"):
        for directory, subdirs, names in os.walk(root):
            subdirs.sort()
            for name in sorted(names):
                path = os.path.join(directory, name)
                if not os.path.islink(path) and os.path.isfile(path):
                    yield path, os.path.getsize(path)


def choose(count, total):
    """About `count` files of about `total` bytes together."""
    small, large, size = [], [], 0
    for path, length in candidates():
        if length < 30000 and len(small) < count:
            small.append(path)
            size += length
        elif 300000 < length < 8000000:
            large.append((path, length))
    for path, length in large:
        if size >= total:
            break
        small.append(path)
        size += length
    return small


def make_layers(directory, n_layers, n_files):
    files = choose(n_files, 290_000_000)
    layers = []
    for i in range(n_layers):
        path = os.path.join(directory, f"layer-{i}.tar.gz")
        with tempfile.TemporaryFile(dir=directory) as plain:
            with tarfile.open(fileobj=plain, mode="w") as tar:
                made = set()
                for file in sorted(files[i::n_layers]):
                    parents = []
                    parent = os.path.dirname(file)
                    while parent != "/" and parent not in made:
                        parents.append(parent)
                        made.add(parent)
                        parent = os.path.dirname(parent)
                    for parent in reversed(parents):
                        tar.add(parent, recursive=False)
                    tar.add(file, recursive=False)
            plain.seek(0)
            with open(path, "wb") as out:
                subprocess.run(["gzip", "-6", "-n"], stdin=plain, stdout=out, check=True)
        layers.append(path)
    return layers


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def make_oci_archive(directory, layers):
    """The layers as an OCI image layout in a tar, as `ctr image import` takes it."""
    path = os.path.join(directory, "image.tar")
    blobs, descriptors, diff_ids = {}, [], []
    for layer in layers:
        with open(layer, "rb") as file:
            data = file.read()
        blobs[digest(data)] = data
        descriptors.append({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest(data), "size": len(data)})
        diff_ids.append(digest(gzip.decompress(data)))
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode()
    blobs[digest(config)] = config
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(config), "size": len(config)},
        "layers": descriptors}).encode()
    blobs[digest(manifest)] = manifest
    index = json.dumps({"schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(manifest), "size": len(manifest),
        "annotations": {"io.containerd.image.name": "bench.test/unpack:1"}}]}).encode()
    with tarfile.open(path, "w") as tar:
        def add(name, data):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        add("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        add("index.json", index)
        for name, data in blobs.items():
            add("blobs/" + name.replace(":", "/"), data)
    return path


@contextlib.contextmanager
def fresh_filesystem(scratch):
    """An ext4 of its own for each round: ext4 avoids inodes that were deleted a short while ago, and looks at each of them to find
    out, so that a round after a big `rm -r` would be ten times slower."""
    image, point = os.path.join(scratch, "image"), os.path.join(scratch, "mnt")
    with open(image, "wb") as file:
        file.truncate(6 << 30)
    subprocess.run(["mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=1", image], check=True)
    os.makedirs(point, exist_ok=True)
    subprocess.run(["mount", "-o", "loop", image, point], check=True)
    os.sync()
    try:
        yield point
    finally:
        subprocess.run(["umount", point], check=True)
        os.unlink(image)


def run_ours(tool, worker, layers, scratch, settings):
    with fresh_filesystem(scratch) as root:
        return apply_all(tool, worker, layers, root, settings)


def apply_all(tool, worker, layers, root, settings):
    lowers, times = [os.path.join(root, "empty")], []
    os.mkdir(lowers[0])
    for i, layer in enumerate(layers):
        upper, work = os.path.join(root, f"{i}/fs"), os.path.join(root, f"{i}/work")
        os.makedirs(upper)
        os.makedirs(work)
        options = f"lowerdir={':'.join(lowers)},upperdir={upper},workdir={work}"
        begin = time.monotonic()
        subprocess.run([tool, worker, "apply", layer, "overlay", "overlay", options, *settings], check=True, stdout=subprocess.DEVNULL)
        times.append(time.monotonic() - begin)
        lowers.insert(0, upper)
    return times


def run_gantry(build, archive, scratch):
    with fresh_filesystem(scratch) as root:
        return import_with_gantry(build, archive, root)


def import_with_gantry(build, archive, root):
    state = os.path.join(root, "state")
    address = f"unix:path={state}/gantry.sock"
    cli = os.path.join(build, "cli/gantry")
    daemon = subprocess.Popen([os.path.join(build, "core/gantryd"), "--plugins-dir", os.path.join(os.path.abspath(build), "plugins.d"),
                               "--root", os.path.join(root, "root"), "--state", state], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            if os.path.exists(os.path.join(state, "gantry.sock")):
                break
            time.sleep(0.1)
        begin = time.monotonic()
        subprocess.run([cli, "--address", address, "image", "import", archive], check=True, stdout=subprocess.DEVNULL)
        return time.monotonic() - begin
    finally:
        daemon.terminate()
        daemon.wait()


def run_containerd(archive, scratch):
    with fresh_filesystem(scratch) as root:
        return import_with_containerd(archive, root)


def import_with_containerd(archive, root):
    address = os.path.join(root, "containerd.sock")
    config = os.path.join(root, "config.toml")
    with open(config, "w", encoding="utf-8") as file:
        file.write(f'version = 2\nroot = "{root}/root"\nstate = "{root}/state"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "{address}"\n')
    daemon = subprocess.Popen(["containerd", "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            if subprocess.run(["ctr", "-a", address, "version"], capture_output=True).returncode == 0:
                break
            time.sleep(0.1)
        begin = time.monotonic()
        subprocess.run(["ctr", "-a", address, "image", "import", archive], check=True, stdout=subprocess.DEVNULL)
        return time.monotonic() - begin
    finally:
        daemon.terminate()
        daemon.wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--files", type=int, default=14000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", help="keep the layers in this directory and use those that are there")
    parser.add_argument("--no-sync", action="store_true")
    parser.add_argument("--containerd", action="store_true")
    args = parser.parse_args()
    tool = os.path.join(args.build, "tests/unit/differ-archive/differ-tool")
    worker = os.path.join(args.build, "plugins/differ-archive/gantry-unpack")
    with tempfile.TemporaryDirectory() as scratch:
        directory = args.keep or os.path.join(scratch, "layers")
        os.makedirs(directory, exist_ok=True)
        layers = sorted(os.path.join(directory, name) for name in os.listdir(directory) if name.startswith("layer-"))
        if not layers:
            layers = make_layers(directory, args.layers, args.files)
        print(f"{len(layers)} layers, {sum(os.path.getsize(layer) for layer in layers) / 1e6:.0f} MB")
        settings = ["sync=no"] if args.no_sync else []
        ours = []
        for _ in range(args.rounds):
            times = run_ours(tool, worker, layers, scratch, settings)
            ours.append(sum(times))
            print(f"gantry     unpack          {sum(times):6.2f} s  ({' '.join(f'{t:.2f}' for t in times)})")
        if args.containerd:
            archive = make_oci_archive(scratch, layers)
            whole = [run_gantry(args.build, archive, scratch) for _ in range(args.rounds)]
            print(f"gantry     import + unpack {' '.join(f'{t:.2f}' for t in whole)} s")
            theirs = [run_containerd(archive, scratch) for _ in range(args.rounds)]
            print(f"containerd import + unpack {' '.join(f'{t:.2f}' for t in theirs)} s")
            print(f"ratio of medians {statistics.median(theirs) / statistics.median(whole):.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
