# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs one container by crun; started by test_features.py in a mount namespace."""
import os
import shutil
import sys
import tempfile

os.environ.setdefault("GANTRY_SHIM", "")
from conftest import Task  # noqa: E402

one = Task(sys.argv[1], f"crun-{os.getpid()}", ["sh", "-c", "exit 42"])
one.last = True
one.create(options=[(6, shutil.which("crun"))])
assert os.path.exists(f"{one.root}/test/{one.name}/status"), os.listdir(one.root)
print("crun ran it:", one.run())
one.call("Delete")
assert os.listdir(f"{one.root}/test") == []
one.end()
