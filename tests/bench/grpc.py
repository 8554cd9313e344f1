# SPDX-License-Identifier: LGPL-2.1-or-later
"""Requests of containerd's API, beside containerd: with 1, 8 and 64 clients, and with more and more containers there.

Both acknowledge a write when it is durable. Times a request (the reciprocal of the rate), so that the table's ratios read as elsewhere.
"""
import subprocess

from servers import Containerd, Gantry

# With how many containers there, and for how many seconds a figure is measured. containerd's own list is left out where it takes minutes.
FILLED = {"10": 10, "1,000": 1000, "8,000": 8000}
SECONDS = 2


def address(server):
    return server.socket if isinstance(server, Containerd) else f"{server.directory}/state/grpc.sock"


def load(context, server, operation, clients, there):
    """Seconds a request, and the 99th percentile in ms."""
    done = subprocess.run([f"{context.build}/tests/bench/grpc-load", address(server), operation, str(clients), str(SECONDS), str(there)],
                          check=True, capture_output=True, text=True)
    rate, _, late = done.stdout.split()
    return 1 / max(float(rate), 0.1), float(late) / 1000


def row(context, both, operation, clients, there, want, title):
    ours, theirs = [load(context, server, operation, clients, there) for server in both]
    note = f"{1 / ours[0]:.0f}/s against {1 / theirs[0]:.0f}/s; p99 {ours[1]:.1f} ms against {theirs[1]:.1f} ms"
    return context.Row(title, ours[0], theirs[0], "ms", want=want, note=note)


def bench(context):
    rows = []
    with context.server(Gantry, "grpc") as gantry, context.server(Containerd, "grpc") as containerd:
        both = (gantry, containerd)
        for clients in (1, 8, 64):
            rows.append(row(context, both, "version", clients, 0, 1, f"Version, {clients} clients"))
            rows.append(row(context, both, "create", clients, 0, 5 if clients > 1 else 1, f"Containers.Create, {clients} clients"))
    with context.server(Gantry, "grpc-filled") as gantry, context.server(Containerd, "grpc-filled") as containerd:
        both = (gantry, containerd)
        for title, there in FILLED.items():
            for server in both:
                subprocess.run([f"{context.build}/tests/bench/grpc-load", address(server), "fill", str(there)], check=True)
            rows.append(row(context, both, "get", 8, there, 1, f"Containers.Get, {title} there"))
            rows.append(row(context, both, "find", 8, there, 1, f"Containers.List id==, {title} there"))
            if there <= 1000:
                rows.append(row(context, both, "list", 1, there, 1, f"Containers.List, {title} there"))
    return rows
