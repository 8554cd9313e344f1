# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs a command with TMPDIR on a btrfs of its own, in a mount namespace of its own."""
import os
import shutil
import subprocess
import sys
import tempfile

if os.geteuid() != 0 or shutil.which("mkfs.btrfs") is None:
    print("1..0 # SKIP needs root and mkfs.btrfs")
    sys.exit(0)
with tempfile.TemporaryDirectory(prefix="gantry-btrfs.") as work:
    with open(f"{work}/disk", "wb") as disk:
        disk.truncate(1 << 30)
    subprocess.run(["mkfs.btrfs", "-q", f"{work}/disk"], check=True, stdout=subprocess.DEVNULL)
    os.mkdir(f"{work}/mnt")
    # The mount ends with the namespace, and that with the command.
    script = 'mount -t btrfs -o loop "$0/disk" "$0/mnt" || { echo "1..0 # SKIP no btrfs can be mounted"; exit 0; }; TMPDIR="$0/mnt" "$@"'
    status = subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-c", script, work, *sys.argv[1:]], check=False).returncode
sys.exit(status)
