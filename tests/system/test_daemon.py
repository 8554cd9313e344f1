# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon itself: plugins, instances, D-Bus by other clients, bad input."""
import os
import queue
import shutil
import subprocess
import threading

import pytest

from conftest import BUILD


def test_every_plugin_is_ok(daemon):
    plugins = daemon.json("plugin", "list")
    assert len(plugins) >= 12
    wrong = {one["name"]: one["reason"] for one in plugins if one["state"] != "ok"}
    if shutil.which("containerd-shim-runc-v2") is None:
        assert "is not installed" in wrong.pop("runtime-shim")
    # Those are templates: a manifest of their own names a socket.
    for proxy in ("content-proxy", "differ-proxy", "snapshotter-proxy"):
        assert "no Address= is set" in wrong.pop(proxy)
    # On another file system there are no subvolumes.
    if "snapshotter-btrfs" in wrong:
        assert "is not on btrfs" in wrong.pop("snapshotter-btrfs")
    assert wrong == {}


def test_second_instance_says_who_has_the_root(daemon):
    result = subprocess.run([f"{BUILD}/core/gantryd", "--plugins-dir", f"{BUILD}/plugins.d", "--root", f"{daemon.dir}/r",
                             "--state", f"{daemon.dir}/s2"], capture_output=True, check=False)
    assert result.returncode == 1
    assert f"another gantryd (pid {daemon.process.pid}, ".encode() in result.stderr and b"--root" in result.stderr


def resident(pid):
    """KiB of what is mapped of files."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssFile:"))


def test_program_text_is_not_mapped_at_rest(tmp_path, image):
    def at_rest():
        for line in process.stderr:
            if "at rest:" in line:
                return
        raise AssertionError("the daemon ended")

    with subprocess.Popen([f"{BUILD}/core/gantryd", "--plugins-dir", f"{BUILD}/plugins.d", "--root", f"{tmp_path}/r", "--state",
                           f"{tmp_path}/s", "--log-level", "debug"], stderr=subprocess.PIPE, text=True) as process:
        try:
            while "ready after" not in process.stderr.readline():
                pass
            started = resident(process.pid)
            at_rest()
            assert resident(process.pid) < started / 2
            # What is called comes back, and goes again.
            gantry = [f"{BUILD}/cli/gantry", "--address", f"unix:path={tmp_path}/s/gantry.sock"]
            subprocess.run([*gantry, "image", "import", f"{image}/oci.tar"], check=True)
            assert subprocess.run([*gantry, "run", "--rm", "busybox", "echo", "back"], check=True, capture_output=True).stdout == b"back\n"
            at_rest()
        finally:
            process.terminate()
            process.stderr.read()
    assert process.returncode == 0


def test_a_root_that_overlay_cannot_take(tmp_path, image):
    """The reason is told, and containers run on copies."""
    root = f"{tmp_path}/a:b,c"
    with subprocess.Popen([f"{BUILD}/core/gantryd", "--plugins-dir", f"{BUILD}/plugins.d", "--root", root, "--state", f"{tmp_path}/s",
                           "--log-level", "info"], stderr=subprocess.PIPE, text=True) as process:
        try:
            while "ready after" not in process.stderr.readline():
                pass
            gantry = [f"{BUILD}/cli/gantry", "--address", f"unix:path={tmp_path}/s/gantry.sock"]
            told = subprocess.run([*gantry, "plugin", "list"], check=True, capture_output=True, text=True).stdout
            assert f"as {root}/snapshotter-overlay has; choose another root" in told, told
            subprocess.run([*gantry, "image", "import", f"{image}/oci.tar"], check=True)
            assert subprocess.run([*gantry, "run", "--rm", "busybox", "echo", "copied"], check=True, capture_output=True).stdout == b"copied\n"
        finally:
            process.terminate()
            process.stderr.read()
    assert process.returncode == 0


def test_namespaces(busybox):
    busybox.run("ns", "create", "other")
    assert busybox.out("ns", "ls", "-q").split() == ["default", "other"]
    assert busybox.json("-n", "other", "image", "ls") == []
    result = busybox.run("ns", "rm", "default", check=False)
    assert result.returncode == 1 and b"must be empty" in result.stderr
    busybox.run("ns", "rm", "other")


@pytest.mark.skipif(shutil.which("busctl") is None, reason="needs busctl")
def test_busctl_alone_runs_a_container(busybox):
    def call(path, interface, *args):
        return subprocess.run(["busctl", f"--address=unix:path={busybox.socket}", "--", "call", "org.gantry1", path,
                               f"org.gantry1.{interface}", *args], capture_output=True, text=True, check=True).stdout.strip()

    tree = subprocess.run(["busctl", f"--address=unix:path={busybox.socket}", "introspect", "org.gantry1", "/org/gantry1"],
                          capture_output=True, text=True, check=True).stdout
    assert "org.gantry1.Manager" in tree
    path = call("/org/gantry1/namespace/default", "Namespace", "CreateContainer", "ssa{sv}", "one",
                "docker.io/library/busybox:latest", "1", "args", "as", "3", "sh", "-c", "exit 5").split('"')[1]
    assert call(path, "Container", "CreateTask", "a{sv}ah", "0", "0").startswith("u ")
    assert call(path, "Task", "Start", "s", "").startswith("u ")
    assert call(path, "Task", "Wait", "s", "").startswith("ux 5 ")
    call(path, "Task", "Delete", "s", "")
    call(path, "Container", "Delete", "b", "false")


@pytest.mark.skipif(shutil.which("busctl") is None, reason="needs busctl")
def test_busctl_connects_while_events_flow(daemon):
    """A signal must not come before the answer to a client's Hello."""
    flood = """
import sys
from gi.repository import Gio, GLib
bus = Gio.DBusConnection.new_for_address_sync(sys.argv[1], Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT, None, None)
number = 0
while True:
    number += 1
    for method, body in (("CreateNamespace", GLib.Variant("(sa{ss})", (f"f{number}", {}))),
                         ("DeleteNamespace", GLib.Variant("(s)", (f"f{number}",)))):
        bus.call_sync(None, "/org/gantry1", "org.gantry1.Manager", method, body, None, 0, -1, None)
"""
    address = f"unix:path={daemon.socket}"
    process = subprocess.Popen(["/usr/bin/python3", "-c", flood, address])
    try:
        for _ in range(100):
            subprocess.run(["busctl", f"--address={address}", "call", "org.gantry1", "/org/gantry1", "org.gantry1.Manager",
                            "ListNamespaces"], check=True, capture_output=True)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def test_events(busybox):
    process = subprocess.Popen([f"{BUILD}/cli/gantry", "--address", f"unix:path={busybox.socket}", "events"], stdout=subprocess.PIPE,
                               text=True, bufsize=1)
    lines = queue.Queue()
    threading.Thread(target=lambda: [lines.put(line.split()[2]) for line in process.stdout], daemon=True).start()
    seen = []
    try:
        # That it has subscribed is only seen by an event that arrives.
        for number in range(200):
            busybox.run("ns", "create", f"n{number}")
            try:
                seen.append(lines.get(timeout=0.2))
                break
            except queue.Empty:
                pass
        busybox.run("run", "--rm", "busybox", "true")
        while seen[-1] != "/containers/delete":
            seen.append(lines.get(timeout=30))
    finally:
        process.kill()
        process.wait()
    topics = [topic for topic in seen if topic.startswith(("/tasks", "/containers"))]
    assert topics == ["/containers/create", "/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete", "/containers/delete"]


def test_bad_calls_change_nothing(busybox):
    for args in (["run", "busybox:nosuch", "true"], ["run", "--name", "../x", "busybox", "true"], ["exec", "nosuch", "true"],
                 ["run", "--memory", "lots", "busybox", "true"], ["run", "--cap-add", "NO_SUCH", "busybox", "true"],
                 ["run", "--network", "bogus", "busybox", "true"], ["wait", "nosuch"], ["inspect", "nosuch"], ["rm", "nosuch"]):
        result = busybox.run(*args, check=False)
        assert result.returncode in (1, 2, 125), args
        assert result.stderr.startswith(b"gantry: ") and result.stderr.count(b"\n") == 1, (args, result.stderr)
    assert busybox.out("ps", "-q") == "" and busybox.out("check") == ""


def test_manifests_mask_override_and_diagnose(daemon, tmp_path):
    def plugins():
        result = subprocess.run([f"{BUILD}/core/gantryd", "--inspect", "plugins", "--root", f"{tmp_path}/r", "--state", f"{tmp_path}/s",
                                 "--plugins-dir", f"{BUILD}/plugins.d", "--plugins-dir", str(tmp_path)],
                                capture_output=True, text=True, check=True)
        import json
        return {one["name"]: one for one in json.loads(result.stdout)}, result.stderr

    os.symlink("/dev/null", tmp_path / "runtime-runc.plugin")
    os.mkdir(tmp_path / "events-local.plugin.d")
    (tmp_path / "events-local.plugin.d" / "10.conf").write_text("[Plugin]\nBogus=1\n[Config]\nBacklog=77\n", encoding="utf-8")
    found, complaints = plugins()
    assert found["runtime-runc"]["state"] == "skipped" and "masked by" in found["runtime-runc"]["reason"]
    assert found["events-local"]["config"][0]["value"] == "77"
    assert found["events-local"]["config"][0]["origin"].endswith("10.conf:4")
    assert "10.conf:2: unknown key Bogus" in complaints


@pytest.mark.parametrize("name", ["api-dbus", "events-local", "jobs-local", "verifier-gpg"])
def test_modules_pass_the_check(name):
    """A few of them: each one's contract suite is a test of its own (tests/contract)."""
    result = subprocess.run([f"{BUILD}/core/gantryd", "--check", f"{BUILD}/plugins.d/{name}.plugin"], capture_output=True, text=True, check=False)
    assert result.returncode == 0 and "FAIL" not in result.stdout and "contract: org.gantry." in result.stdout, result.stdout


def test_every_member_is_documented():
    path = os.path.join(os.path.dirname(__file__), "../../data/dbus/org.gantry1.xml")
    with open(path, encoding="utf-8") as file:
        lines = file.read().splitlines()
    for index, line in enumerate(lines):
        if line.strip().startswith(("<interface", "<method", "<signal", "<property")):
            assert lines[index - 1].strip().endswith("-->"), f"undocumented: {line.strip()}"
