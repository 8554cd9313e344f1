# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs inside the guest of tests/vm/run, against the installed daemon under systemd."""
import json
import os
import subprocess
import time

import pytest
from gi.repository import Gio, GLib

RUNC_OPTIONS = "containerd.runc.v1.Options"
SYSTEMD_CGROUP = bytes([9 << 3, 1])
CRUN = bytes([6 << 3 | 2, 4]) + b"crun"


def sh(*args, check=True, **kwargs):
    result = subprocess.run(args, capture_output=True, text=True, timeout=120, check=False, **kwargs)
    assert result.returncode == 0 or not check, (args, result.stdout, result.stderr)
    return result


def gantry(*args, **kwargs):
    return sh("gantry", *args, **kwargs)


@pytest.fixture(scope="session", autouse=True)
def daemon():
    os.makedirs("/etc/gantry", exist_ok=True)
    with open("/etc/gantry/gantryd.conf", "w", encoding="utf-8") as file:
        file.write("[Daemon]\nLogLevel=info\n")
    sh("systemctl", "restart", "gantryd")
    gantry("image", "import", "/opt/gantry-tests/busybox.tar")
    yield
    print(sh("journalctl", "-u", "gantryd", "--no-pager", "-n", "200").stdout)
    print(sh("ps", "-ef", "--forest", check=False).stdout)


@pytest.fixture
def bus():
    return Gio.bus_get_sync(Gio.BusType.SYSTEM, None)


def call(bus, path, interface, method, body=None):
    return bus.call_sync("org.gantry1", path, f"org.gantry1.{interface}", method, body, None, 0, 120000, None).unpack()


def run_with_options(bus, name, args, options, **more):
    """A container by D-Bus with a runtime's own options. Returns its path."""
    given = {"args": GLib.Variant("as", args), "runtime-options": GLib.Variant("(say)", (RUNC_OPTIONS, options)), **more}
    path, = call(bus, "/org/gantry1/namespace/default", "Namespace", "CreateContainer", GLib.Variant("(ssa{sv})", (name, "busybox", given)))
    call(bus, path, "Container", "CreateTask", GLib.Variant("(a{sv}ah)", ({}, [])))
    call(bus, path, "Task", "Start", GLib.Variant("(s)", ("",)))
    return path


def delete(bus, path):
    call(bus, path, "Container", "Delete", GLib.Variant("(b)", (True,)))


def test_the_machine_is_what_this_is_for():
    assert os.path.exists("/sys/fs/cgroup/cgroup.controllers") and os.readlink("/proc/1/exe").endswith("systemd")


def test_the_service_is_ready_and_logs_to_the_journal():
    assert sh("systemctl", "show", "-P", "ActiveState,Type", "gantryd").stdout.split() == ["active", "notify"] or \
        sh("systemctl", "is-active", "gantryd").stdout.strip() == "active"
    lines = [json.loads(line) for line in sh("journalctl", "-u", "gantryd", "-o", "json", "--no-pager").stdout.splitlines()]
    ours = [line for line in lines if line.get("_COMM") == "gantryd"]
    assert ours and all(line["PRIORITY"] in "34567" for line in ours)
    assert not any(line["MESSAGE"].startswith("<") for line in ours if isinstance(line["MESSAGE"], str)), "a prefix is not part of a message"
    assert not [line["MESSAGE"] for line in ours if int(line["PRIORITY"]) <= 4]


def test_the_system_bus_starts_the_daemon():
    sh("systemctl", "stop", "gantryd")
    sh("busctl", "call", "org.gantry1", "/org/gantry1", "org.gantry1.Manager", "ListNamespaces")
    assert sh("systemctl", "is-active", "gantryd").stdout.strip() == "active"


def as_nobody(*args, check=True):
    return sh("busctl", "call", "org.gantry1", "/org/gantry1", "org.gantry1.Manager", *args, check=check, user=65534, group=65534,
              extra_groups=[])


def test_polkit_decides():
    refused = as_nobody("ListNamespaces", check=False)
    assert refused.returncode != 0 and "polkit" in refused.stderr, refused.stderr
    rules = "/etc/polkit-1/rules.d/10-gantry-test.rules"
    with open(rules, "w", encoding="utf-8") as file:
        file.write('polkit.addRule(function(action, subject) {'
                   ' if (action.id == "org.gantry1.inspect" && subject.user == "nobody") return polkit.Result.YES; });')
    os.chmod(rules, 0o644)
    deadline = time.monotonic() + 60
    while as_nobody("ListNamespaces", check=False).returncode != 0:
        # polkitd notices the file by itself, and tells nobody when it has.
        assert time.monotonic() < deadline
        time.sleep(0.2)
    denied = as_nobody("CreateNamespace", "sa{ss}", "mine", "0", check=False)
    assert denied.returncode != 0 and "polkit" in denied.stderr and "mine" not in gantry("ns", "ls").stdout
    os.unlink(rules)


def test_limits_in_cgroup_v2():
    out = gantry("run", "--rm", "-m", "32m", "--cpus", "0.5", "--pids-limit", "17", "busybox", "sh", "-c",
                 "cd /sys/fs/cgroup; cat memory.max cpu.max pids.max").stdout.split("\n")
    assert out[:3] == ["33554432", "50000 100000", "17"]


def test_stats_of_cgroup_v2(bus):
    gantry("run", "-d", "--name", "busy", "-m", "64m", "busybox", "sh", "-c", "while :; do :; done")
    stats, = call(bus, "/org/gantry1/container/default_2fbusy", "Task", "GetStats")
    assert stats["memory-usage"] > 0 and stats["memory-limit"] == 64 << 20 and stats["cpu-usage-ns"] > 0 and stats["pids"] == 1
    assert stats["any"][0] == "io.containerd.cgroups.v2.Metrics"
    lines = gantry("stats").stdout.splitlines()
    assert lines[0].split()[:2] == ["CONTAINER", "CPU"] and lines[1].split()[0] == "busy" and "/ 67.1 MB" in lines[1].replace("\u00a0", " "), lines
    gantry("rm", "-f", "busy")


def test_out_of_memory_is_told(bus):
    seen = []
    loop = GLib.MainLoop()

    def on_event(*args):
        seen.append(args[5].unpack()[4])
        if "/tasks/oom" in seen and "/tasks/exit" in seen:
            loop.quit()

    bus.signal_subscribe("org.gantry1", "org.gantry1.Manager", "Event", None, None, 0, on_event)
    GLib.timeout_add_seconds(120, loop.quit)
    path = run_with_options(bus, "oom", ["sh", "-c", "tail /dev/zero"], b"", memory=GLib.Variant("t", 16 << 20))
    loop.run()
    assert "/tasks/oom" in seen, seen
    delete(bus, path)


def test_containers_outlive_the_daemon():
    gantry("run", "-d", "--name", "stays", "busybox", "sleep", "1000")
    pid = next(one["pid"] for one in json.loads(gantry("--format", "json", "ps").stdout) if one["id"] == "stays")
    sh("systemctl", "restart", "gantryd")
    assert next(one["pid"] for one in json.loads(gantry("--format", "json", "ps").stdout) if one["id"] == "stays") == pid
    sh("systemctl", "kill", "-s", "KILL", "--kill-whom=main", "gantryd")
    # The unit has it started again; the bus waits for that, too.
    assert next(one["pid"] for one in json.loads(gantry("--format", "json", "ps").stdout) if one["id"] == "stays") == pid
    assert os.path.exists(f"/proc/{pid}")
    gantry("rm", "-f", "stays")
    assert not os.path.exists(f"/proc/{pid}")


def test_the_systemd_cgroup_driver(bus):
    path = run_with_options(bus, "scoped", ["sleep", "1000"], SYSTEMD_CGROUP, **{"cgroup-path": GLib.Variant("s", "system.slice:gantry:scoped"),
                                                                                    "memory": GLib.Variant("t", 64 << 20)})
    assert sh("systemctl", "show", "-P", "MemoryMax", "gantry-scoped.scope").stdout.strip() == str(64 << 20)
    stats, = call(bus, path, "Task", "GetStats")
    assert stats["memory-limit"] == 64 << 20
    delete(bus, path)
    assert "inactive" in sh("systemctl", "is-active", "gantry-scoped.scope", check=False).stdout


def test_crun(bus):
    path = run_with_options(bus, "crun", ["sleep", "1000"], CRUN)
    stats, = call(bus, path, "Task", "GetStats")
    assert stats["pids"] == 1
    call(bus, path, "Task", "Kill", GLib.Variant("(sub)", ("", 9, False)))
    assert call(bus, path, "Task", "Wait", GLib.Variant("(s)", ("",)))[0] == 137
    delete(bus, path)


def ctr(*args, **kwargs):
    return sh("ctr", "--address", "/run/gantry/grpc.sock", "-n", "criu", *args, **kwargs)


IMAGE = "docker.io/library/busybox:latest"
COUNT = "i=0; while :; do i=$((i+1)); echo $i >/count.new; mv /count.new /count; sleep 0.1; done"


def counted(container, more_than):
    """What a container has counted to, once it is past @more_than."""
    deadline = time.monotonic() + 60
    while True:
        seen = ctr("tasks", "exec", "--exec-id", f"look-{time.monotonic_ns()}", container, "cat", "/count", check=False).stdout.strip()
        if seen and int(seen) > more_than:
            return int(seen)
        assert time.monotonic() < deadline, seen
        time.sleep(0.1)


def end(container):
    ctr("tasks", "kill", "-s", "KILL", container)
    deadline = time.monotonic() + 60
    while "STOPPED" not in ctr("tasks", "ls").stdout:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    ctr("tasks", "rm", container, check=False)
    ctr("containers", "rm", container)


def test_a_checkpoint_in_content_is_restored_by_ctr():
    ctr("images", "import", "/opt/gantry-tests/busybox.tar")
    ctr("run", "-d", "--null-io", IMAGE, "counter", "sh", "-c", COUNT)
    before = counted("counter", 20)
    ctr("containers", "checkpoint", "--rw", "--image", "--task", "counter", "example.com/counter:1")
    assert "example.com/counter:1" in ctr("images", "ls", "-q").stdout
    # It was left running.
    counted("counter", before + 5)
    end("counter")
    ctr("containers", "restore", "--rw", "--live", "again", "example.com/counter:1")
    # It goes on from where it was, and did not begin anew.
    assert counted("again", 0) > before
    assert os.listdir("/run/gantry/tasks-local/restore/criu") == []
    end("again")
    ctr("images", "rm", "--sync", "example.com/counter:1")


def test_a_checkpoint_that_ends_the_task():
    ctr("run", "-d", "--null-io", IMAGE, "ended", "sh", "-c", COUNT)
    counted("ended", 5)
    ctr("tasks", "checkpoint", "--exit", "--image-path", "/var/tmp/ended", "ended")
    assert os.path.exists("/var/tmp/ended/inventory.img")
    deadline = time.monotonic() + 60
    while "STOPPED" not in ctr("tasks", "ls").stdout:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    ctr("tasks", "rm", "ended", check=False)
    ctr("containers", "rm", "ended")
    ctr("images", "rm", "--sync", IMAGE)


SAY = "trap 'exit 7' TERM; i=0; while :; do i=$((i+1)); echo $i; echo e$i >&2; sleep 0.05; done"


def numbers(stream, enough):
    """Reads lines of one more each until one is past @enough. Returns: the first and the last."""
    first = last = None
    for line in stream:
        number = int(line.removeprefix("e"))
        assert last is None or number == last + 1, "a line was lost"
        first, last = first or number, number
        if last > enough:
            return first, last
    raise AssertionError(f"ended after {last}")


def attached(*args):
    return subprocess.Popen(["ctr", "--address", "/run/gantry/grpc.sock", "-n", "criu", *args], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_checkpoint_of_fifos_is_refused_unless_configured():
    ctr("images", "import", "/opt/gantry-tests/busybox.tar")
    with attached("run", IMAGE, "direct", "sh", "-c", SAY) as process:
        numbers(process.stdout, 5)
        refused = ctr("tasks", "checkpoint", "--image-path", "/var/tmp/direct", "direct", check=False)
        assert refused.returncode != 0 and "Checkpointable=yes" in refused.stderr, refused.stderr
        ctr("tasks", "kill", "-s", "KILL", "direct")
        process.communicate(timeout=120)
    ctr("containers", "rm", "direct")


def test_a_checkpoint_of_fifos():
    """What is written to them is neither lost nor doubled, whether the task goes on or another does, which is saved once more."""
    directory = "/etc/gantry/plugins.d/runtime-runc.plugin.d"
    os.makedirs(directory)
    with open(f"{directory}/checkpointable.conf", "w", encoding="utf-8") as file:
        file.write("[Config]\nCheckpointable=yes\n")
    sh("systemctl", "restart", "gantryd")
    with attached("run", IMAGE, "spoken", "sh", "-c", SAY) as process:
        numbers(process.stdout, 20)
        ctr("containers", "checkpoint", "--rw", "--image", "--task", "spoken", "example.com/spoken:1")
        _, seen = numbers(process.stdout, 60)
        numbers(process.stderr, seen)
        ctr("tasks", "kill", "-s", "KILL", "spoken")
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 137, out
    ctr("containers", "rm", "spoken")
    image = "example.com/spoken:1"
    for name, next_image in (("again", "example.com/spoken:2"), ("twice", None)):
        ctr("containers", "restore", "--rw", "--live", name, image)
        with attached("tasks", "attach", name) as process:
            first, last = numbers(process.stdout, seen + 20)
            assert first > 20, "it began anew"
            numbers(process.stderr, last)
            if next_image is not None:
                ctr("containers", "checkpoint", "--rw", "--image", "--task", name, next_image)
                _, seen = numbers(process.stdout, last + 20)
            ctr("tasks", "kill", "-s", "TERM", name)
            out, _ = process.communicate(timeout=120)
            assert process.returncode == 7, out
        ctr("tasks", "rm", name, check=False)
        ctr("containers", "rm", name)
        ctr("images", "rm", "--sync", image)
        image = next_image
    ctr("images", "rm", "--sync", IMAGE)


def test_nothing_is_left():
    assert gantry("ps", "-q").stdout == ""
    assert "gantry" not in sh("sh", "-c", "cat /proc/self/mounts").stdout
    # The namespace's own cgroup stays, as an empty directory.
    assert sh("find", "/sys/fs/cgroup", "-mindepth", "2", "-path", "*/default/*", "-type", "d").stdout == ""
    assert gantry("check").stdout.strip() in ("", "no problems")
