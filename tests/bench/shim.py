# SPDX-License-Identifier: LGPL-2.1-or-later
"""What holds a running container: the memory of a shim (PSS: its own pages, and its part of those it shares with the other shims)."""
import statistics
import subprocess

from servers import Containerd, Gantry, memory

IMAGE = "docker.io/library/busybox:latest"
CONTAINERS = 10


def parent(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        return int(stat.read().rsplit(")", 1)[1].split()[1])


def gantry_shims(server):
    for number in range(CONTAINERS):
        subprocess.run([*server.client, "run", "-d", "--name", f"shim-{number}", IMAGE, "sleep", "1000"], check=True,
                       stdout=subprocess.DEVNULL)
    lines = subprocess.run([*server.client, "ps"], check=True, capture_output=True, text=True).stdout.splitlines()[1:]
    return [parent(line.split()[3]) for line in lines]


def containerd_shims(server):
    for number in range(CONTAINERS):
        subprocess.run([*server.client, "run", "-d", IMAGE, f"bench-shim-{number}", "sleep", "1000"], check=True)
    lines = subprocess.run([*server.client, "tasks", "ls"], check=True, capture_output=True, text=True).stdout.splitlines()[1:]
    return [parent(line.split()[1]) for line in lines]


def measure(server, shims, remove):
    """The median PSS and RSS of the shims, in bytes."""
    try:
        pids = shims(server)
        return statistics.median(memory(pid)[1] for pid in pids), statistics.median(memory(pid)[0] for pid in pids)
    finally:
        for number in range(CONTAINERS):
            for command in remove(number):
                subprocess.run([*server.client, *command], check=False, capture_output=True)


def remove_gantry(number):
    return [["rm", "-f", f"shim-{number}"]]


def remove_containerd(number):
    name = f"bench-shim-{number}"
    return [["tasks", "rm", "-f", name], ["containers", "rm", name]]


def bench(context):
    archive = context.busybox()
    with context.server(Gantry, "shim") as gantry, context.server(Containerd, "shim") as containerd:
        for server in (gantry, containerd):
            server.import_archive(archive)
        ours = measure(gantry, gantry_shims, remove_gantry)
        theirs = measure(containerd, containerd_shims, remove_containerd)
    return [context.Row(f"shim of a running container, PSS among {CONTAINERS}", ours[0], theirs[0], "MiB", most=1 << 20),
            context.Row("the same, RSS", ours[1], theirs[1], "MiB")]
