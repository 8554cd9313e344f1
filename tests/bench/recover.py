# SPDX-License-Identifier: LGPL-2.1-or-later
"""A daemon that was killed with 1,000 containers, some with tasks that run and some with tasks that have ended, while it was there or since:
the time from exec until it has told all of them as they are."""
import os
import signal
import statistics
import subprocess
import time

from servers import Containerd, Gantry

IMAGE = "docker.io/library/busybox:latest"
CONTAINERS = 1000
RUNNING = 40
ENDED = 40
ENDING = 20  # while no daemon is there


def each(names, argv, jobs=4):
    """Runs argv (name) for every name, some at once."""
    running = []
    for name in names:
        if len(running) >= jobs:
            finish(running.pop(0))
        running.append(subprocess.Popen(argv(name), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE))
    for process in running:
        finish(process)


def finish(process):
    _, err = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"{process.args}: {err.decode()}")


class GantryContainers:
    def __init__(self, server):
        self.server = server

    def create(self, name):
        return [*self.server.client, "create", "--name", name, IMAGE, "sleep", "1000"]

    def run(self, name, *command):
        return [*self.server.client, "run", "-d", "--name", name, IMAGE, *command]

    def pids(self):
        """Of the tasks that run, and how many containers there are."""
        lines = subprocess.run([*self.server.client, "ps"], check=True, capture_output=True, text=True).stdout.splitlines()[1:]
        tasks = {line.split()[0]: line.split()[3] for line in lines if "running" in line.split()[2]}
        return tasks, len(lines)

    def remove(self, name):
        return [*self.server.client, "rm", "-f", name]


class ContainerdContainers:
    def __init__(self, server):
        self.server = server

    def create(self, name):
        return [*self.server.client, "containers", "create", IMAGE, name, "sleep", "1000"]

    def run(self, name, *command):
        return [*self.server.client, "run", "-d", IMAGE, name, *command]

    def pids(self):
        tasks = subprocess.run([*self.server.client, "tasks", "ls"], check=True, capture_output=True, text=True).stdout.splitlines()[1:]
        names = subprocess.run([*self.server.client, "containers", "ls", "-q"], check=True, capture_output=True, text=True).stdout.split()
        return {line.split()[0]: line.split()[1] for line in tasks if line.split()[2] == "RUNNING"}, len(names)

    def remove(self, name):
        return [*self.server.client, "tasks", "rm", "-f", name]


def fill(containers):
    """Returns the pids of the tasks that go on, by container."""
    each([f"idle-{i}" for i in range(CONTAINERS - RUNNING - ENDED - ENDING)], containers.create)
    each([f"ended-{i}" for i in range(ENDED)], lambda name: containers.run(name, "true"))
    each([f"ending-{i}" for i in range(ENDING)] + [f"running-{i}" for i in range(RUNNING)], lambda name: containers.run(name, "sleep", "1000"))
    while True:
        pids, count = containers.pids()
        if count == CONTAINERS and len(pids) == RUNNING + ENDING:
            return pids


def kill(server):
    server.process.kill()
    server.process.wait()


def end(pids):
    """Ends the tasks that are to end while no daemon is there."""
    for name, pid in pids.items():
        if name.startswith("ending-"):
            os.kill(int(pid), signal.SIGKILL)
            while os.path.exists(f"/proc/{pid}"):
                time.sleep(0.01)


def measure(context, kind, of):
    with context.server(kind, "recover") as server:
        server.import_archive(context.busybox())
        containers = of(server)
        pids = fill(containers)
        try:
            kill(server)
            end(pids)
            pids = {name: pid for name, pid in pids.items() if name.startswith("running-")}
            times = []
            for _ in range(context.rounds):
                begin = time.monotonic()
                ready = server.start()
                found, count = containers.pids()
                times.append((ready, time.monotonic() - begin))
                if found != pids or count != CONTAINERS:
                    raise RuntimeError(f"{server.name} found {len(found)} of {len(pids)} tasks and {count} of {CONTAINERS} containers")
                kill(server)
            server.start()
            return [statistics.median(column) for column in zip(*times)]
        finally:
            each([f"{kind}-{i}" for kind, n in (("ended", ENDED), ("ending", ENDING), ("running", RUNNING)) for i in range(n)], containers.remove)


def bench(context):
    ours, theirs = measure(context, Gantry, GantryContainers), measure(context, Containerd, ContainerdContainers)
    named = f"{CONTAINERS:,} containers, {RUNNING} running, {ENDED + ENDING} ended"
    return [context.Row(f"ready to serve, {named}", ours[0], theirs[0], "ms"),
            context.Row("the same, until all are listed as they are", ours[1], theirs[1], "ms", most=1)]
