# SPDX-License-Identifier: LGPL-2.1-or-later
"""gantry check: each kind of thing is damaged, told, repaired, and not told again."""
import hashlib
import os
import shutil
import sqlite3
import subprocess
import time

from conftest import BUILD


def check(daemon, *options):
    return daemon.run("check", *options, check=False)


def told_and_repaired(daemon, *wanted):
    """Exactly these are told, then repaired; afterwards there is nothing to tell. Each is a part of a line."""
    told = check(daemon)
    lines = told.stdout.decode().splitlines()
    assert told.returncode == 1, lines
    for part in wanted:
        assert [line for line in lines if part in line], (part, lines)
    assert [line for line in lines if not any(part in line for part in wanted)] == []
    repaired = check(daemon, "--repair").stdout.decode().splitlines()
    # What one repair takes with it is not told a second time.
    assert repaired and all(line.endswith(")") for line in repaired), repaired
    again = check(daemon)
    assert (again.returncode, again.stdout) == (0, b""), again.stdout


def sql(daemon, statement):
    with sqlite3.connect(f"{daemon.dir}/r/metadata.db", timeout=30) as connection:
        rows = connection.execute(statement).fetchall()
    # The daemon's readers look at what they saw last until it has written something itself.
    daemon.run("ns", "label", "default", "changed=yes")
    return rows


def layer_of(daemon):
    details = daemon.json("image", "inspect", "busybox")
    return details["layers"][0][1] if isinstance(details["layers"][0], list) else details["layers"][0]["digest"]


def blobs(daemon):
    return f"{daemon.dir}/r/content-local/blobs/sha256"


def test_a_sound_store_is_clean(busybox):
    busybox.run("run", "-d", "--name", "one", "busybox", "sleep", "1000000")
    result = check(busybox)
    assert (result.returncode, result.stdout) == (0, b"")
    assert check(busybox, "--repair").stdout == b""
    assert busybox.json("ps")[0]["status"] == "running"


def test_files_that_belong_to_nothing(busybox):
    for path in (f"{blobs(busybox)}/{'a' * 64}", f"{blobs(busybox)}/notes.txt", f"{busybox.dir}/r/content-local/ingest/{'b' * 64}.data"):
        with open(path, "w", encoding="utf-8") as file:
            file.write("x")
    told_and_repaired(busybox, f"blob sha256:{'a' * 64} belongs to no namespace", "blobs/sha256/notes.txt is no blob",
                      f"ingest/{'b' * 64}.data belongs to no ingest")
    assert busybox.out("run", "--rm", "busybox", "echo", "well") == "well"


def test_a_missing_and_a_short_blob_come_back_by_import(busybox, image):
    layer = layer_of(busybox)
    for damage in (os.unlink, lambda path: os.truncate(path, 100)):
        os.chmod(f"{blobs(busybox)}/{layer[7:]}", 0o600)
        damage(f"{blobs(busybox)}/{layer[7:]}")
        told = check(busybox).stdout.decode()
        assert layer in told and ("is missing" in told or "is damaged" in told), told
        assert "(forgotten)" in check(busybox, "--repair").stdout.decode()
        busybox.run("image", "import", f"{image}/oci.tar")
        assert check(busybox).stdout == b""
        busybox.run("image", "export", "-o", f"{busybox.dir}/out.tar", "busybox")


def test_a_directory_that_the_power_took_is_made_again(busybox):
    """Preparing a snapshot syncs nothing, so a power cut can leave its entry alone."""
    root = f"{busybox.dir}/r/snapshotter-overlay"
    before = set(os.listdir(root))
    busybox.run("create", "--name", "one", "busybox", "sh", "-c", "echo well >/new; cat /new")
    one, = set(os.listdir(root)) - before
    busybox.kill()
    shutil.rmtree(f"{root}/{one}")
    os.makedirs(f"{root}/new-{one}/fs/half")
    busybox.start()
    assert sorted(os.listdir(f"{root}/{one}")) == ["fs", "work"] and not os.path.exists(f"{root}/new-{one}")
    assert "it is empty again" in busybox.read_log()
    assert check(busybox).stdout == b""
    assert busybox.out("start", "-a", "one") == "well"


def test_snapshot_directories(busybox):
    root = f"{busybox.dir}/r/snapshotter-overlay"
    numbers = sorted(int(name) for name in os.listdir(root))
    os.makedirs(f"{root}/{numbers[-1] + 1}/fs/x")
    os.makedirs(f"{root}/junk")
    told_and_repaired(busybox, f"{root}/{numbers[-1] + 1} belongs to no snapshot", f"{root}/junk belongs to no snapshot")
    shutil.rmtree(f"{root}/{numbers[-1]}")
    told_and_repaired(busybox, "the directory of snapshot overlay/")
    # It is unpacked again when it is wanted.
    assert busybox.out("run", "--rm", "busybox", "echo", "again") == "again"
    assert check(busybox).stdout == b""


def test_the_database(busybox):
    sql(busybox, "INSERT INTO label (kind, ns, id, key, value) VALUES ('image', 'default', 'ghost', 'k', 'v')")
    sql(busybox, "INSERT INTO edge (ns, from_kind, from_id, to_kind, to_id, owner_kind, owner_id)"
                 " VALUES ('default', 'image', 'ghost', 'content', 'sha256:x', 'image', 'ghost')")
    sql(busybox, "INSERT INTO lease_item (ns, lease, kind, id) VALUES ('default', 'ghost', 'content', 'sha256:x')")
    told_and_repaired(busybox, "label without a record: image ghost", "edge without its owner: image ghost",
                      "lease item without its lease: ghost")
    assert busybox.json("image", "ls")[0]["name"] == "docker.io/library/busybox:latest"


def test_records_and_backends_that_lack_each_other(busybox):
    chain, = sql(busybox, "SELECT id FROM record WHERE kind='snapshot'")[0]
    sql(busybox, "DELETE FROM record WHERE kind='snapshot'")
    sql(busybox, "DELETE FROM edge WHERE owner_kind='snapshot'")
    told_and_repaired(busybox, "belongs to no namespace")
    assert busybox.out("run", "--rm", "busybox", "echo", "again") == "again"
    assert (chain,) in sql(busybox, "SELECT id FROM record WHERE kind='snapshot'")


def test_shims_mounts_and_bundles(busybox):
    state = f"{busybox.dir}/s/runtime-runc"
    bundle = f"{state}/bundles/default/ghost"
    busybox.run("run", "-d", "--name", "one", "busybox", "sleep", "1000000")
    os.makedirs(f"{bundle}/rootfs")
    os.makedirs(f"{state}/runc/default/spook")
    subprocess.run(["mount", "--bind", busybox.dir, f"{bundle}/rootfs"], check=True)
    subprocess.run([f"{BUILD}/plugins/runtime-runc/shim/gantry-shim-runc", "-namespace", "default", "-id", "ghost", "-address", state,
                    "-sockets", f"{state}/s", "-bundle", bundle, "start"], check=True, stdin=subprocess.DEVNULL, cwd=bundle,
                   capture_output=True)
    told_and_repaired(busybox, "of container ghost in namespace default has no task", "the bundle of container ghost",
                      f"{bundle}/rootfs is mounted, but container ghost", "the OCI runtime knows a container spook")
    assert not os.path.exists(bundle) and os.path.exists(f"{busybox.dir}/r/metadata.db")
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        assert bundle not in mounts.read()
    assert busybox.json("ps")[0]["status"] == "running"


def test_a_task_without_a_container(busybox):
    busybox.run("run", "-d", "--name", "one", "busybox", "sleep", "1000000")
    pid = busybox.json("ps")[0]["pid"]
    sql(busybox, "DELETE FROM record WHERE kind='container'")
    sql(busybox, "DELETE FROM edge WHERE owner_kind='container'")
    told_and_repaired(busybox, "task one in namespace default has no container")
    deadline = time.monotonic() + 30
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not os.path.exists(f"/proc/{pid}")
    busybox.run("gc", "run")
    assert check(busybox).stdout == b""


def test_a_boot_and_a_day(busybox):
    """What a power failure left goes after the boot, and an ingest that nobody went on with after a day."""
    ingest = f"{busybox.dir}/r/content-local/ingest"
    busybox.stop()
    shutil.rmtree(f"{busybox.dir}/s")
    with open(f"{blobs(busybox)}/{'c' * 64}", "w", encoding="utf-8") as file:
        file.write("x")
    for name, ref, age in (("d" * 64, "default/old", 25), ("e" * 64, "default/new", 23)):
        stem = hashlib.sha256(ref.encode()).hexdigest()
        with open(f"{ingest}/{stem}.meta", "w", encoding="utf-8") as file:
            file.write(f"[Ingest]\nRef={ref}\nTotal=0\nStarted=1\n")
        with open(f"{ingest}/{stem}.data", "w", encoding="utf-8") as file:
            file.write(name)
        os.utime(f"{ingest}/{stem}.data", (time.time() - age * 3600,) * 2)
    busybox.start()
    kept = hashlib.sha256(b"default/new").hexdigest()
    deadline = time.monotonic() + 60
    while (os.path.exists(f"{blobs(busybox)}/{'c' * 64}") or len(os.listdir(ingest)) > 2) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not os.path.exists(f"{blobs(busybox)}/{'c' * 64}")
    assert sorted(os.listdir(ingest)) == [f"{kept}.data", f"{kept}.meta"]
    assert busybox.out("run", "--rm", "busybox", "echo", "well") == "well"
    assert check(busybox).stdout == b""
