# SPDX-License-Identifier: LGPL-2.1-or-later
"""Requests of containerd's API, beside containerd: with 1, 8 and 64 clients, with more and more containers there, blobs either way,
and events for many subscribers.

Both acknowledge a write when it is durable. A row gives the time a request (the reciprocal of the rate), so that the table's ratios read
as elsewhere; rates and the 99th percentiles stand behind it. The two daemons take turns of a second; figures are medians of the turns.
"""
import statistics
import subprocess

from servers import Containerd, Gantry

SECONDS = 1
# containerd looks at every container for each answer: of many it gives a few a second.
SCANNED = 8000
SUBSCRIBERS = 100
EVENTS = 500
PACE_US = 10000


def address(server):
    return server.socket if isinstance(server, Containerd) else f"{server.directory}/state/grpc.sock"


def program(context, name, server, *args):
    return subprocess.run([f"{context.build}/tests/bench/{name}", address(server), *map(str, args)], check=True, capture_output=True,
                          text=True).stdout.split()


def load(context, server, operation, clients, there):
    """Seconds a request, and the 99th percentile in s."""
    rate, _, late = program(context, "grpc-load", server, operation, clients, SECONDS, there)
    return 1 / float(rate), float(late) / 1e6


def by_turns(context, both, measure):
    """What measure (server) gives, a tuple of figures, for each of both: the medians."""
    figures = {server: [] for server in both}
    for _ in range(context.rounds):
        for server, list_ in figures.items():
            list_.append(measure(server))
    return [tuple(statistics.median(column) for column in zip(*list_)) for list_ in figures.values()]


def row(context, both, operation, clients, there, want, title):
    ours, theirs = by_turns(context, both, lambda server: load(context, server, operation, clients, there))
    note = (f"{1 / ours[0]:.0f}/s against {1 / theirs[0]:.0f}/s; p99 {ours[1] * 1000:.1f} ms against {theirs[1] * 1000:.1f} ms"
            f"{'' if ours[1] <= theirs[1] else ', later'}")
    return context.Row(title, ours[0], theirs[0], "ms", want=want, note=note)


def bench_clients(context):
    rows = []
    with context.server(Gantry, "grpc") as gantry, context.server(Containerd, "grpc") as containerd:
        both = (gantry, containerd)
        for clients in (1, 8, 64):
            named = f"{clients} client" + ("s" if clients > 1 else "")
            rows.append(row(context, both, "version", clients, 0, 1, f"Version, {named}"))
            # One client waits for one sync a request, whoever serves it.
            rows.append(row(context, both, "create", clients, 0, 5 if clients > 1 else 1, f"Containers.Create, {named}"))
    return rows


def bench_filled(context, there):
    rows = []
    named = f"{there:,} there"
    with context.server(Gantry, f"grpc-{there}") as gantry, context.server(Containerd, f"grpc-{there}") as containerd:
        both = (gantry, containerd)
        for server in both:
            program(context, "grpc-load", server, "fill", there)
        for clients in (1, 8, 64):
            rows.append(row(context, both, "get", clients, there, 1, f"Containers.Get, {clients} clients, {named}"))
        if there <= SCANNED:
            rows.append(row(context, both, "find", 8, there, 1, f"Containers.List id==, {named}"))
            rows.append(row(context, both, "label", 8, there, 1, f"Containers.List labels.number==, {named}"))
        if there <= 1000:
            rows.append(row(context, both, "list", 1, there, 1, f"Containers.List, {named}"))
            rows.append(row(context, both, "list", 8, there, 1, f"Containers.List, 8 clients, {named}"))
        rows.append(row(context, both, "stream", 1, there, 1, f"Containers.ListStream, {named}"))
        rows.append(row(context, both, "create", 8, there, 5, f"Containers.Create, 8 clients, {named}"))
    return rows


def bench_content(context, size):
    def write(server):
        seconds, digest = program(context, "grpc-stream-load", server, "write", size)
        written[server] = digest
        return (float(seconds),)

    def read(server):
        return (float(program(context, "grpc-stream-load", server, "read", written[server], size)[0]),)

    written = {}
    rows = []
    with context.server(Gantry, "grpc-content") as gantry, context.server(Containerd, "grpc-content") as containerd:
        for title, measure in ((f"Content.Write, {size} MiB, committed", write), (f"Content.Read, {size} MiB", read)):
            (ours,), (theirs,) = by_turns(context, (gantry, containerd), measure)
            rows.append(context.Row(title, ours, theirs, "s", want=1, note=f"{size / ours:.0f} MiB/s against {size / theirs:.0f} MiB/s"))
    return rows


def bench_events(context):
    def measure(server, events, pace):
        seconds, _, late = program(context, "grpc-stream-load", server, "fan-out", SUBSCRIBERS, events, pace)
        return float(seconds) / events, float(late) / 1e6

    with context.server(Gantry, "grpc-events") as gantry, context.server(Containerd, "grpc-events") as containerd:
        both = (gantry, containerd)
        ours, theirs = by_turns(context, both, lambda server: measure(server, EVENTS, 0))
        rate = f"{SUBSCRIBERS / ours[0]:.0f} deliveries/s against {SUBSCRIBERS / theirs[0]:.0f}"
        rows = [context.Row(f"an event for {SUBSCRIBERS} subscribers, one after the other", ours[0], theirs[0], "ms", want=1, note=rate)]
        ours, theirs = by_turns(context, both, lambda server: measure(server, EVENTS // 5, PACE_US))
        rows.append(context.Row(f"an event for {SUBSCRIBERS} subscribers, {1000000 // PACE_US}/s, p99", ours[1], theirs[1], "ms", want=1))
    return rows


def bench(context):
    rows = bench_clients(context)
    for there in context.containers:
        rows += bench_filled(context, there)
    return rows + bench_content(context, context.blob) + bench_events(context)
