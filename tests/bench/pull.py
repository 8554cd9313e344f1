# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pull and unpack from docker-registry on loopback, beside `ctr images pull` and `podman pull`; a part of tests/bench/run.

The figure compared with is the better of the two. Each pull begins with an empty store on a file system of its own."""
import contextlib
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import time

import unpack
from servers import Containerd, Gantry, forget_peak, peak, programs_missing


@contextlib.contextmanager
def registry(directory):
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        host = f"localhost:{one.getsockname()[1]}"
    config = os.path.join(directory, "config.yml")
    with open(config, "w", encoding="utf-8") as file:
        json.dump({"version": 0.1, "log": {"level": "error", "accesslog": {"disabled": True}},
                   "storage": {"filesystem": {"rootdirectory": os.path.join(directory, "data")}}, "http": {"addr": host}}, file)
    process = subprocess.Popen(["docker-registry", "serve", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", int(host.split(":")[1]))) == 0:
                    break
            time.sleep(0.02)
        yield host
    finally:
        process.terminate()
        process.wait()


def push(layers, directory, reference):
    archive = unpack.make_oci_archive(directory, layers)
    subprocess.run(["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci-archive:{archive}", f"docker://{reference}"], check=True)
    os.unlink(archive)


def small_layers(directory, n):
    files = [path for path, size in unpack.candidates() if 1000 < size < 100000][:20 * n]
    layers = []
    for i in range(n):
        layers.append(os.path.join(directory, f"layer-{i}.tar.gz"))
        subprocess.run(["tar", "-czPf", layers[-1], *files[i::n]], check=True)
    return layers


def random_layer(directory, size):
    """One file that does not compress; the gzip is quick to make."""
    source = random.Random(1)
    path = os.path.join(directory, "data")
    with open(path, "wb") as file:
        for _ in range(size >> 20):
            file.write(source.randbytes(1 << 20))
    layer = os.path.join(directory, "layer-0.tar.gz")
    with open(layer, "wb") as out:
        tar = subprocess.Popen(["tar", "-C", directory, "-cf", "-", "data"], stdout=subprocess.PIPE)
        subprocess.run(["gzip", "-1", "-n"], stdin=tar.stdout, stdout=out, check=True)
        tar.wait()
    os.unlink(path)
    return [layer]


def pull_with(context, kind, reference):
    """Seconds of the pull, and the daemon's peak RSS."""
    with unpack.fresh_filesystem(context.directory("pull-fs")) as root:
        server = kind(os.path.join(root, "d"), context.build) if kind is Gantry else kind(os.path.join(root, "d"))
        with server:
            forget_peak(server.process.pid)
            begin = time.monotonic()
            server.pull(reference)
            return time.monotonic() - begin, peak(server.process.pid)


def pull_with_podman(context, reference):
    with unpack.fresh_filesystem(context.directory("pull-fs")) as root:
        podman = ["podman", "--root", f"{root}/r", "--runroot", f"{root}/rr", "--tmpdir", f"{root}/t", "--storage-driver", "overlay",
                  "--cgroup-manager", "cgroupfs", "--events-backend", "none"]
        begin = time.monotonic()
        subprocess.run([*podman, "pull", "-q", "--tls-verify=false", reference], check=True, stdout=subprocess.DEVNULL)
        taken = time.monotonic() - begin
        subprocess.run([*podman, "rmi", "-fa"], check=False, capture_output=True)
        subprocess.run(["umount", "-q", f"{root}/r/overlay"], check=False)
        return taken


def rows_of(context, title, reference, want):
    times = {Gantry: [], Containerd: [], "podman": []}
    memory = []
    for _ in range(context.rounds):
        for kind in (Gantry, Containerd):
            taken, rss = pull_with(context, kind, reference)
            times[kind].append(taken)
            if kind is Gantry:
                memory.append(rss)
        times["podman"].append(pull_with_podman(context, reference))
    ours, containerd, podman = (statistics.median(list_) for list_ in times.values())
    note = f"podman {context.show(podman, 's')}, containerd {context.show(containerd, 's')}"
    return [context.Row(f"pull + unpack, {title}", ours, min(containerd, podman), "s", want=want, note=note),
            context.Row(f"  peak RSS of the daemon, {title}", max(memory), None, "MiB", most=64 << 20)]


def bench(context):
    missing = programs_missing("docker-registry", "skopeo", "podman")
    if missing:
        print(f"pull is not measured: needs {', '.join(missing)}")
        return []
    directory = context.directory("pull")
    rows = []
    with registry(directory) as host:
        cases = [("1 layer", lambda scratch: unpack.make_layers(scratch, 1, 2000), 1), ("8 layers, 14,000 files", lambda scratch: context.layers(), 2),
                 ("40 small layers", lambda scratch: small_layers(scratch, 40), 2), ("one layer of 1 GB", lambda scratch: random_layer(scratch, 1 << 30), 1)]
        for number, (title, make, want) in enumerate(cases):
            scratch = context.directory(f"pull-layers-{number}")
            reference = f"{host}/bench/case{number}:1"
            push(make(scratch), directory, reference)
            shutil.rmtree(scratch)
            rows += rows_of(context, title, reference, want)
    return rows
