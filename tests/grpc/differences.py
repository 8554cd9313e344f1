# SPDX-License-Identifier: LGPL-2.1-or-later
"""What Gantry does otherwise than containerd, on purpose, and why: a part of docs/compatibility.md."""

DIFFERENCES = [
    ('Version', 'The version is `v2.3.0+gantry.<ours>`.',
     'Clients compare versions of the API; whose it is stands behind the `+`. `ctr` of another version says that versions differ.'),
    ('Plugins', 'Our plugins are listed under the types and ids of containerd where they have one (`snapshotter.v1`/`overlayfs`), under their own where not.',
     'So clients find what they look for and people see what is there.'),
    ('Garbage', 'What no root, lease or label holds goes about a second after a change; containerd waits for a hundred changes.',
     'Space comes back when it is given up. Clients that take leases, as all of containerd\'s library do, see no difference; `ctr snapshots view` and '
     '`ctr content ingest` take none.'),
    ('Ingests', 'An ingest whose digest or size proves wrong at its commit is gone; containerd keeps it.', 'It can never be committed as what it was begun for.'),
    ('Content.Read', '`offset` of an answer is the place in the blob; containerd counts from 0 wherever the reading began.', 'As the message describes it.'),
    ('Content.Write', 'One answer follows a COMMIT; containerd sends it twice.', 'Clients read one.'),
    ('Content.Abort', 'A writer that still has the ingest open gets ABORTED from its next message; containerd lets it write on, and fails its commit.',
     'What it sends would go nowhere.'),
    ('Events of namespaces', 'They carry the namespace that they are about, as those of containerd 2 do; 1.6 has the caller\'s in two of three.',
     'A subscriber of a namespace hears what happens to it.'),
    ('Fields of filters', 'A bare field name may have `-` in it; containerd wants it in quotes.', 'It cannot mean anything else.'),
    ('Filters', 'The words about a filter that cannot be parsed are our own.', 'Nothing but people reads them.'),
    ('Errors of tasks', 'They begin with `container <id>:`, where containerd says `failed to create shim task:`.', 'They name the object.'),
    ('Events', 'A subscriber that is more than 8 MiB behind has its stream ended with RESOURCE_EXHAUSTED; containerd holds all of it in memory.',
     'A client learns that it has lost something, and a daemon does not grow without end.'),
    ('Lists', 'A list that does not fit into 16 MiB is refused by name of the streaming call; containerd sends what the client then cannot take.',
     'The message says what to do.'),
    ('Requests', 'Strings that are not UTF-8, or hold a NUL, are refused by every method.', 'containerd 2 does so, 1.6 did not.'),
    ('Sandbox Controller', '`shim` and `podsandbox` are one controller; a sandbox must be in the store first; its process holds all namespaces and is listed as a task of its id.',
     'A pod needs no pause image and no shim that knows sandboxes.'),
    ('Mounts', 'The transforms are `format/` and `mkdir/`; `mkfs/` answers NOT_IMPLEMENTED, and so does every mount that the system can make. Update works.',
     'Nobody has asked for file systems to be made. containerd says the same of what needs no help, and of Update.'),
]
