# SPDX-License-Identifier: LGPL-2.1-or-later
"""The D-Bus API for other clients: objects, properties and signals on a bus, polkit, gdbus, and libgantry from Python."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap

import pytest

from conftest import BUILD, Daemon

pytestmark = pytest.mark.skipif(shutil.which("dbus-daemon") is None, reason="needs dbus-daemon")

CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={dir}/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy></busconfig>"""


@pytest.fixture
def bus():
    # Not below pytest's own directory: others must get in, and another pytest would shut it again.
    directory = tempfile.mkdtemp(prefix="gantry-bus.")
    os.chmod(directory, 0o755)
    with open(f"{directory}/config", "w", encoding="utf-8") as config:
        config.write(CONFIG.format(dir=directory))
    process = subprocess.Popen(["dbus-daemon", f"--config-file={directory}/config", "--nofork", "--print-address"],
                               stdout=subprocess.PIPE, text=True)
    address = process.stdout.readline().strip()
    assert address
    yield address
    process.terminate()
    process.wait()
    shutil.rmtree(directory)


@pytest.fixture
def on_bus(bus, image):
    one = Daemon()
    one.start("--bus", bus)
    one.bus = bus
    one.run("image", "import", f"{image}/oci.tar")
    yield one
    for container in one.out("ps", "-q").split():
        one.run("rm", "-f", container)
    one.stop()
    shutil.rmtree(one.dir)


def python(script, *args, **kwargs):
    return subprocess.run([sys.executable, "-c", textwrap.dedent(script), *args], capture_output=True, text=True, timeout=60, check=False,
                          **kwargs)


PRELUDE = """
import sys
from gi.repository import Gio, GLib
bus = Gio.DBusConnection.new_for_address_sync(sys.argv[1], Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT
                                              | Gio.DBusConnectionFlags.MESSAGE_BUS_CONNECTION, None, None)
NAME = "org.gantry1"
def call(path, interface, method, body=None):
    return bus.call_sync(NAME, path, interface, method, body, None, 0, 60000, None).unpack()
"""


def script(body):
    return PRELUDE + textwrap.dedent(body)


def test_gdbus_on_a_bus(on_bus):
    def gdbus(*args):
        return subprocess.run(["gdbus", "call", "--address", on_bus.bus, "--dest", "org.gantry1", "--object-path", *args], capture_output=True,
                              text=True, check=True).stdout.strip()

    path = gdbus("/org/gantry1/namespace/default", "--method", "org.gantry1.Namespace.CreateContainer", "one", "busybox",
                 "{'args': <['sh', '-c', 'exit 9']>}").split("'")[1]
    gdbus(path, "--method", "org.gantry1.Container.CreateTask", "{}", "[]")
    gdbus(path, "--method", "org.gantry1.Task.Start", "")
    assert gdbus(path, "--method", "org.gantry1.Task.Wait", "").startswith("(uint32 9,")
    assert "'stopped'" in gdbus(path, "--method", "org.freedesktop.DBus.Properties.Get", "org.gantry1.Task", "Status")
    gdbus(path, "--method", "org.gantry1.Container.Delete", "true")
    tree = subprocess.run(["gdbus", "introspect", "--address", on_bus.bus, "--dest", "org.gantry1", "--object-path", "/org/gantry1"],
                          capture_output=True, text=True, check=True).stdout
    assert "org.gantry1.Manager" in tree and "org.freedesktop.DBus.ObjectManager" in tree and "readonly s Version" in tree


def test_python_gdbus_object_manager_and_signals(on_bus):
    result = python(script("""
    seen = []
    def on_signal(connection, sender, path, interface, signal, parameters):
        seen.append((path, signal, parameters.unpack()))
    bus.signal_subscribe(NAME, None, None, None, None, 0, on_signal)
    manager = Gio.DBusObjectManagerClient.new_sync(bus, 0, NAME, "/org/gantry1", None, None, None)
    paths = [one.get_object_path() for one in manager.get_objects()]
    assert "/org/gantry1/namespace/default" in paths, paths
    assert any(path.startswith("/org/gantry1/image/default_2fdocker") for path in paths), paths
    assert any(path.startswith("/org/gantry1/plugin/") for path in paths), paths
    path, = call("/org/gantry1/namespace/default", "org.gantry1.Namespace", "CreateContainer",
                 GLib.Variant("(ssa{sv})", ("two", "busybox", {"args": GLib.Variant("as", ["true"]), "labels": GLib.Variant("a{ss}", {"x": "y"})})))
    proxy = Gio.DBusProxy.new_sync(bus, 0, None, NAME, path, "org.gantry1.Container", None)
    assert proxy.get_cached_property("Id").unpack() == "two" and proxy.get_cached_property("Labels").unpack() == {"x": "y"}
    call(path, "org.gantry1.Container", "CreateTask", GLib.Variant("(a{sv}ah)", ({}, [])))
    call(path, "org.gantry1.Task", "Start", GLib.Variant("(s)", ("",)))
    assert call(path, "org.gantry1.Task", "Wait", GLib.Variant("(s)", ("",)))[0] == 0
    call(path, "org.gantry1.Task", "Delete", GLib.Variant("(s)", ("",)))
    call(path, "org.gantry1.Container", "Delete", GLib.Variant("(b)", (False,)))
    context = GLib.MainContext.default()
    def gone():
        return any(s == "InterfacesRemoved" and p[0] == path and "org.gantry1.Container" in p[1] for _, s, p in seen)
    while not gone():
        context.iteration(True)
    added = [interface for _, s, p in seen if s == "InterfacesAdded" and p[0] == path for interface in p[1]]
    assert added == ["org.gantry1.Container", "org.gantry1.Task"], added
    statuses = [p[1]["Status"] for at, s, p in seen if s == "PropertiesChanged" and at == path and "Status" in p[1]]
    assert "stopped" in statuses, statuses
    topics = [p[4] for _, s, p in seen if s == "Event" and p[3] == "default"]
    for topic in ("/containers/create", "/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete", "/containers/delete"):
        assert topic in topics, topics
    try:
        call(path, "org.gantry1.Container", "Inspect")
        sys.exit("a container that is gone answers")
    except GLib.Error as error:
        assert "org.gantry1.Error.NotFound" in error.message, error.message
    """), on_bus.bus)
    assert result.returncode == 0, result.stdout + result.stderr


def test_containers_are_listed_in_pages(on_bus):
    names = [f"page{n}" for n in range(7)]
    for name in reversed(names):
        on_bus.run("create", "--name", name, "--label", f"odd={int(name[-1]) % 2}", "busybox", "true")
    result = python(script("""
    def page(**options):
        found, = call("/org/gantry1/namespace/default", "org.gantry1.Namespace", "ListContainers", GLib.Variant("(a{sv})", (options,)))
        return [one["id"] for one in found]
    def u(n): return GLib.Variant("u", n)
    def s(text): return GLib.Variant("s", text)
    odd = GLib.Variant("as", ["labels.odd==1"])
    assert page(limit=u(3)) == ["page0", "page1", "page2"]
    assert page(limit=u(3), after=s("page2")) == ["page3", "page4", "page5"]
    assert page(limit=u(3), after=s("page5")) == ["page6"] and page(limit=u(3), after=s("page6")) == []
    assert page(after=s("page45")) == ["page5", "page6"]
    assert page(limit=u(2), filters=odd) == ["page1", "page3"] and page(limit=u(2), filters=odd, after=s("page3")) == ["page5"]
    """), on_bus.bus)
    assert result.returncode == 0, result.stdout + result.stderr
    for size in ("1", "2", "7", "20000"):
        assert on_bus.out("ps", "-q", "--page-size", size).split() == names
    assert on_bus.out("ps", "-q", "--page-size", "2", "-f", "labels.odd==1").split() == names[1::2]
    assert on_bus.run("ps", "--page-size", "20001", check=False).returncode == 2


def test_execs_are_objects(on_bus):
    result = python(script("""
    context = GLib.MainContext.default()
    seen = []
    bus.signal_subscribe(NAME, None, None, None, None, 0, lambda *args: seen.append((args[2], args[4], args[5].unpack())))
    box, = call("/org/gantry1/namespace/default", "org.gantry1.Namespace", "CreateContainer",
                GLib.Variant("(ssa{sv})", ("box", "busybox", {"args": GLib.Variant("as", ["cat"])})))
    call(box, "org.gantry1.Container", "CreateTask", GLib.Variant("(a{sv}ah)", ({"stdin": GLib.Variant("s", "stream:")}, [])))
    call(box, "org.gantry1.Task", "Start", GLib.Variant("(s)", ("",)))
    PROCESS = "org.gantry1.Process"
    one, = call(box, "org.gantry1.Task", "Exec",
                GLib.Variant("(sa{sv}ah)", ("one", {"args": GLib.Variant("as", ["sleep", "1000"])}, [])))
    assert one == "/org/gantry1/process/default_2fbox_2fone", one
    pid, = call(one, PROCESS, "Start")
    properties, = call(one, "org.freedesktop.DBus.Properties", "GetAll", GLib.Variant("(s)", (PROCESS,)))
    assert properties["Pid"] == pid > 0 and properties["Status"] == "running" and properties["Container"] == box, properties
    objects, = call("/org/gantry1", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
    assert objects[one][PROCESS]["Pid"] == pid and "org.gantry1.Task" in objects[box], objects
    call(one, PROCESS, "Kill", GLib.Variant("(ub)", (9, False)))
    assert call(one, PROCESS, "Wait")[0] == 137
    assert call(one, PROCESS, "Delete")[0] == 137
    while not any(path == "/org/gantry1" and name == "InterfacesRemoved" and body == (one, [PROCESS]) for path, name, body in seen):
        context.iteration(True)
    assert any(name == "InterfacesAdded" and body[0] == one and body[1][PROCESS]["Id"] == "one" for _, name, body in seen), seen
    statuses = [body[1]["Status"] for path, name, body in seen if path == one and name == "PropertiesChanged"]
    assert statuses[-1] == "stopped", statuses
    for bad in ("/org/gantry1/process/default_2fbox_2fone", "/org/gantry1/process/default_2fbox_2fnever"):
        try:
            call(bad, PROCESS, "Wait")
            sys.exit("a process that is gone answers")
        except GLib.Error as error:
            assert "org.gantry1.Error.NotFound" in error.message, error.message
    call(box, "org.gantry1.Container", "Delete", GLib.Variant("(b)", (True,)))
    """), on_bus.bus)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_documented_property_is_told(on_bus):
    """Of every object, whatever state it is in, with the type that the documentation gives it; by GetAll, by Get and by the manager."""
    on_bus.run("run", "-d", "--name", "runs", "busybox", "sleep", "1000")
    on_bus.run("create", "--name", "waits", "busybox", "true")
    on_bus.run("run", "--name", "ended", "busybox", "true")
    on_bus.run("mount", "activate", "--temporary", "kept", "type=tmpfs,source=tmpfs")
    on_bus.run("sandbox", "create", "pod")
    result = python(script("""
    managed, = call("/org/gantry1", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
    seen = set()
    managed.setdefault("/org/gantry1", {})
    process, = call("/org/gantry1/container/default_2fruns", "org.gantry1.Task", "Exec",
                    GLib.Variant("(sa{sv}ah)", ("one", {"args": GLib.Variant("as", ["sleep", "1000"])}, [])))
    managed[process] = {}
    for path in managed:
        text, = call(path, "org.freedesktop.DBus.Introspectable", "Introspect")
        for interface in Gio.DBusNodeInfo.new_for_xml(text).interfaces:
            # A container has the interface of its task when it has one.
            if not interface.name.startswith("org.gantry1.") or (managed[path] and interface.name not in managed[path]):
                continue
            seen.add(interface.name)
            told, = call(path, "org.freedesktop.DBus.Properties", "GetAll", GLib.Variant("(s)", (interface.name,)))
            documented = {one.name: one.signature for one in interface.properties}
            assert set(told) == set(documented), (path, interface.name, set(told) ^ set(documented))
            if interface.name in managed[path]:
                assert set(managed[path][interface.name]) == set(documented), (path, interface.name)
            for name, signature in documented.items():
                value = bus.call_sync(NAME, path, "org.freedesktop.DBus.Properties", "Get", GLib.Variant("(ss)", (interface.name, name)),
                                      None, 0, -1, None).get_child_value(0).get_variant()
                assert value.get_type_string() == signature, (path, name, value)
    print(sorted(seen))
    """), on_bus.bus)
    assert result.returncode == 0, result.stdout + result.stderr
    for name in ("Container", "Image", "Job", "Manager", "Mount", "Namespace", "Plugin", "Process", "Sandbox", "Task"):
        assert f"'org.gantry1.{name}'" in result.stdout, result.stdout
    on_bus.run("mount", "deactivate", "kept")
    on_bus.run("sandbox", "rm", "-f", "pod")


def test_jobs_by_token_and_progress(on_bus, image):
    result = python(script("""
    import os
    fds = Gio.UnixFDList.new()
    fds.append(os.open(sys.argv[2], os.O_RDONLY))
    seen = []
    bus.signal_subscribe(NAME, "org.freedesktop.DBus.Properties", "PropertiesChanged", "/org/gantry1/job/_30_5fmine", None, 0,
                         lambda *args: seen.append(args[5].unpack()[1]))
    reply, _ = bus.call_with_unix_fd_list_sync(NAME, "/org/gantry1/namespace/other", "org.gantry1.Namespace", "ImportImages",
                                            GLib.Variant("(ha{sv})", (0, {"token": GLib.Variant("s", "mine")})), None, 0, -1, fds, None)
    path, = reply.unpack()
    assert path == "/org/gantry1/job/_30_5fmine", path
    result, = call(path, "org.gantry1.Job", "Wait")
    assert result == {"names": ["docker.io/library/busybox:latest"]}, result
    properties, = call(path, "org.freedesktop.DBus.Properties", "GetAll", GLib.Variant("(s)", ("org.gantry1.Job",)))
    assert properties["Finished"] and properties["Operation"] == "import" and properties["Bytes"] > 0, properties
    assert properties["StartedByUID"] == 0 and properties["Progress"] >= 0 and isinstance(properties["ProgressValid"], bool), properties
    context = GLib.MainContext.default()
    while not any("Finished" in one for one in seen):
        context.iteration(True)
    image, = call("/org/gantry1/namespace/other", "org.gantry1.Namespace", "GetImage", GLib.Variant("(s)", ("busybox",)))
    call(image, "org.gantry1.Image", "Remove")
    """), on_bus.bus, f"{image}/oci.tar")
    assert result.returncode == 0, result.stdout + result.stderr


MOCK_POLKIT = """
import sys
from gi.repository import Gio, GLib
XML = '''<node><interface name="org.freedesktop.PolicyKit1.Authority"><method name="CheckAuthorization">
<arg type="(sa{sv})" direction="in"/><arg type="s" direction="in"/><arg type="a{ss}" direction="in"/><arg type="u" direction="in"/>
<arg type="s" direction="in"/><arg type="(bba{ss})" direction="out"/></method></interface></node>'''
bus = Gio.DBusConnection.new_for_address_sync(sys.argv[1], Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT
                                              | Gio.DBusConnectionFlags.MESSAGE_BUS_CONNECTION, None, None)
def on_call(connection, sender, path, interface, method, parameters, invocation):
    subject, action, details, flags, cancel = parameters.unpack()
    assert subject[0] == "system-bus-name" and subject[1]["name"].startswith(":")
    invocation.return_value(GLib.Variant("((bba{ss}))", ((action == "org.gantry1.inspect", False, {}),)))
bus.register_object("/org/freedesktop/PolicyKit1/Authority", Gio.DBusNodeInfo.new_for_xml(XML).interfaces[0], on_call, None, None)
Gio.bus_own_name_on_connection(bus, "org.freedesktop.PolicyKit1", 0, lambda *args: print("ready", flush=True), None)
GLib.MainLoop().run()
"""

NOBODY = """
assert call("/org/gantry1", "org.gantry1.Manager", "ListNamespaces")
try:
    call("/org/gantry1", "org.gantry1.Manager", "CreateNamespace", GLib.Variant("(sa{ss})", ("mine", {})))
    sys.exit("it was allowed")
except GLib.Error as error:
    assert "org.gantry1.Error.PermissionDenied" in error.message and "user 65534" in error.message, error.message
"""


def test_polkit_decides_for_others(on_bus):
    nobody = {"user": 65534, "group": 65534, "extra_groups": [], "cwd": "/"}
    refused = python(script(NOBODY), on_bus.bus, **nobody)
    assert refused.returncode != 0 and "polkit could not be asked" in refused.stderr, refused.stderr
    polkit = subprocess.Popen([sys.executable, "-c", MOCK_POLKIT, on_bus.bus], stdout=subprocess.PIPE, text=True)
    try:
        assert polkit.stdout.readline().strip() == "ready"
        allowed = python(script(NOBODY), on_bus.bus, **nobody)
        assert allowed.returncode == 0, allowed.stdout + allowed.stderr
        assert "mine" not in on_bus.out("ns", "ls", "-q")
    finally:
        polkit.terminate()
        polkit.wait()


def test_private_socket_is_closed_to_others(on_bus):
    result = python("""
    import sys
    from gi.repository import Gio
    Gio.DBusConnection.new_for_address_sync(sys.argv[1], Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT, None, None)
    """, f"unix:path={on_bus.socket}", user=65534, group=65534, extra_groups=[], cwd="/")
    assert result.returncode != 0


def test_libgantry_from_python(busybox, tmp_path):
    typelib = f"{BUILD}/client"
    if not os.path.exists(f"{typelib}/Gantry-1.typelib"):
        pytest.skip("built without introspection")
    result = python("""
    import os, sys, gi
    gi.require_version("Gantry", "1")
    from gi.repository import Gantry, Gio, GLib
    client = Gantry.Client.new(sys.argv[1], None)
    print(client.get_server(None).unpack()["Version"])
    ns = client.get_namespace("default", None)
    images = ns.list_images(None, None)
    assert images[0].get_info().unpack()["name"] == "docker.io/library/busybox:latest"
    container = ns.create_container("py", "busybox", GLib.Variant("a{sv}", {"args": GLib.Variant("as", ["sh", "-c", "echo from python; exit 3"])}), None)
    for name in ("pz", "px"):
        ns.create_container(name, "busybox", None, None)
    loop = GLib.MainLoop()
    lists = []
    for size in (1, 2, 3, 100):
        ns.set_page_size(size)
        lists.append(ns.list_containers(None, None))
        ns.list_containers_async(None, None, lambda source, result: (lists.append(source.list_containers_finish(result)), loop.quit()))
        loop.run()
    assert len(lists) == 8
    for found in lists:
        assert [one.get_info().unpack()["id"] for one in found] == ["px", "py", "pz"], found
    ours, theirs = os.pipe()
    process = container.create_task(Gantry.Stdio.new_for_fds(-1, theirs, -1), None)
    os.close(theirs)
    assert process.start(None) > 0
    assert process.wait(None) == 3
    assert os.read(ours, 100) == b"from python\\n"
    try:
        process.start(None)
        sys.exit("a task that has ended starts")
    except GLib.Error as error:
        assert error.domain == "gantry-error-quark", (error.domain, error.message)
    process.delete(None)
    loop = GLib.MainLoop()
    outcome = []
    def on_deleted(source, result):
        outcome.append(source.delete_finish(result))
        loop.quit()
    container.delete_async(False, None, on_deleted)
    loop.run()
    assert outcome == [True]
    try:
        container.inspect(None)
        sys.exit("a container that is gone answers")
    except GLib.Error as error:
        assert error.matches(Gantry.error_quark(), Gantry.Error.NOT_FOUND), error
    job = ns.export_images(["busybox"], os.open(sys.argv[2], os.O_RDWR | os.O_CREAT), None, None)
    phases = []
    job.connect("changed", lambda job, changes: phases.append(changes.unpack()))
    job.wait_async(None, lambda source, result: (outcome.append(source.wait_finish(result)), loop.quit()))
    loop.run()
    assert os.path.getsize(sys.argv[2]) > 100000
    """, f"unix:path={busybox.socket}", f"{tmp_path}/out.tar",
                    env={**os.environ, "GI_TYPELIB_PATH": typelib, "LD_LIBRARY_PATH": typelib})
    assert result.returncode == 0, result.stdout + result.stderr


def libgantry(body, *args):
    """A program on libgantry, with the names Gantry, GLib, ns (the namespace default), and asynchronously(begin, finish)."""
    typelib = f"{BUILD}/client"
    if not os.path.exists(f"{typelib}/Gantry-1.typelib"):
        pytest.skip("built without introspection")
    result = python("""
    import sys, gi
    gi.require_version("Gantry", "1")
    from gi.repository import Gantry, GLib
    ns = Gantry.Client.new(sys.argv[1], None).get_namespace("default", None)
    def asynchronously(begin, finish, *args):
        loop, outcome = GLib.MainLoop(), []
        begin(*args, None, lambda source, result: (outcome.append(result), loop.quit()))
        loop.run()
        return finish(outcome[0])
    """ + textwrap.indent(textwrap.dedent(body), "    "), *args, env={**os.environ, "GI_TYPELIB_PATH": typelib, "LD_LIBRARY_PATH": typelib})
    assert result.returncode == 0, result.stdout + result.stderr


def test_mounts_by_libgantry(daemon):
    libgantry("""
    def v(**fields):
        return GLib.Variant("a{sv}", fields)
    def names(found):
        return [one.get_info().unpack()["name"] for one in found]
    tmpfs = GLib.Variant("aa{sv}", [{"type": GLib.Variant("s", "tmpfs"), "source": GLib.Variant("s", "tmpfs")}])
    temporary = v(temporary=GLib.Variant("b", True))
    one = ns.activate_mounts("one", tmpfs, temporary, None)
    two = asynchronously(ns.activate_mounts_async, ns.activate_mounts_finish, "two", tmpfs, temporary)
    assert names(ns.list_mounts(None, None)) == names(asynchronously(ns.list_mounts_async, ns.list_mounts_finish, None)) == ["one", "two"]
    assert names(ns.list_mounts(["name==two"], None)) == ["two"]
    one.set_labels(GLib.Variant("a{ss}", {"a": "b"}), None)
    assert asynchronously(two.set_labels_async, two.set_labels_finish, GLib.Variant("a{ss}", {"a": "c"}))
    assert one.inspect(None).unpack()["labels"]["a"] == "b"
    again = ns.get_mount("two", None)
    details = asynchronously(again.inspect_async, again.inspect_finish).unpack()
    assert details["labels"]["a"] == "c" and details["active"][0]["type"] == "tmpfs" and details["system"][0]["type"] == "bind", details
    assert again.get_path() == asynchronously(ns.get_mount_async, ns.get_mount_finish, "two").get_path() == details["path"]
    assert one.deactivate(None) and asynchronously(two.deactivate_async, two.deactivate_finish)
    try:
        one.inspect(None)
        sys.exit("what is gone answers")
    except GLib.Error as error:
        assert error.matches(Gantry.error_quark(), Gantry.Error.NOT_FOUND), error
    """, f"unix:path={daemon.socket}")


def test_sandboxes_by_libgantry(daemon):
    libgantry("""
    def v(**fields):
        return GLib.Variant("a{sv}", fields)
    def ids(found):
        return [one.get_info().unpack()["id"] for one in found]
    labels = v(labels=GLib.Variant("a{ss}", {"a": "b"}))
    one = ns.create_sandbox("one", labels, None)
    two = asynchronously(ns.create_sandbox_async, ns.create_sandbox_finish, "two", None)
    assert ids(ns.list_sandboxes(None, None)) == ids(asynchronously(ns.list_sandboxes_async, ns.list_sandboxes_finish, None)) == ["one", "two"]
    assert ids(ns.list_sandboxes(["labels.a==b"], None)) == ["one"]
    assert ns.get_sandbox("two", None).get_path() == asynchronously(ns.get_sandbox_async, ns.get_sandbox_finish, "two").get_path() == two.get_path()
    assert one.get_status(None).unpack()["state"] == "absent" and one.get_platform(None).unpack().startswith("linux/")
    for call in (one.start, one.wait, one.get_stats):
        try:
            call(None)
            sys.exit("what is not there answers")
        except GLib.Error as error:
            assert error.matches(Gantry.error_quark(), Gantry.Error.NOT_FOUND), error
    pid = one.create_task(None, None)
    assert pid > 0 and asynchronously(two.create_task_async, two.create_task_finish, v(annotations=GLib.Variant("a{ss}", {"x": "y"}))) > 0
    assert one.start(None) == pid and asynchronously(two.start_async, two.start_finish) > 0
    assert asynchronously(two.get_status_async, two.get_status_finish).unpack()["state"] == "ready"
    assert asynchronously(two.get_platform_async, two.get_platform_finish).unpack() == one.get_platform(None).unpack()
    assert set(one.get_stats(None).unpack()) == set(asynchronously(two.get_stats_async, two.get_stats_finish).unpack())
    assert one.inspect(None).unpack()["task"]["Pid"] == pid and asynchronously(two.inspect_async, two.inspect_finish).unpack()["id"] == "two"
    assert one.set_labels(GLib.Variant("a{ss}", {"a": "", "c": "d"}), None)
    assert asynchronously(two.set_labels_async, two.set_labels_finish, GLib.Variant("a{ss}", {"e": "f"}))
    assert one.inspect(None).unpack()["labels"] == {"c": "d"} and two.inspect(None).unpack()["labels"] == {"e": "f"}
    assert one.update(labels, None) and asynchronously(two.update_async, two.update_finish, labels)
    assert one.inspect(None).unpack()["labels"] == two.inspect(None).unpack()["labels"] == {"a": "b"}
    assert one.stop(10, None) and one.wait(None) == 0
    assert asynchronously(two.stop_async, two.stop_finish, 10) and asynchronously(two.wait_async, two.wait_finish) == 0
    assert one.get_status(None).unpack()["state"] == "not-ready"
    assert one.shutdown(None) and asynchronously(two.shutdown_async, two.shutdown_finish)
    assert one.delete(False, None) and asynchronously(two.delete_async, two.delete_finish, True)
    assert ids(ns.list_sandboxes(None, None)) == []
    """, f"unix:path={daemon.socket}")


def test_sandbox_verbs(busybox, tmp_path):
    def verb(*args, **kwargs):
        return busybox.out("sandbox", *args, **kwargs)

    def row(name):
        return next(line.split() for line in verb("ls").splitlines()[1:] if line.split()[0] == name)

    assert verb("create", "-l", "a=b", "--annotation", "x=y", "pod") == "pod"
    assert verb("ls").splitlines()[0].split() == ["SANDBOX", "STATUS", "PID", "CREATED", "LABELS"] and row("pod")[1] == "created"
    verb("start", "pod")
    status, pid = row("pod")[1:3]
    assert status == "running" and row("pod")[-1] == "a=b"
    # A container of the pod shares its network.
    assert busybox.out("run", "--rm", "--network", f"/proc/{pid}/ns/net", "busybox", "readlink", "/proc/self/ns/net") == os.readlink(f"/proc/{pid}/ns/net")
    verb("label", "pod", "a=", "c=d")
    details = json.loads(verb("inspect", "pod"))
    assert details["labels"] == {"c": "d"} and details["task"]["Pid"] == int(pid) and details["sandboxer"] == "shim"
    assert json.loads(verb("stats", "pod")) and busybox.json("sandbox", "ls")[0]["status"] == "running"
    assert verb("ls", "-q", "-f", "labels.c==d") == "pod" and verb("ls", "-q", "-f", "labels.c==e") == ""
    refused = busybox.run("sandbox", "stop", "-t", "0", "pod", check=False)
    assert refused.returncode == 2 and b"--time is 1 or more" in refused.stderr
    waiting = subprocess.Popen([*busybox.client(), "sandbox", "wait", "pod"], stdout=subprocess.PIPE, text=True)
    for args, code in ((["create"], 2), (["create", "pod"], 1), (["create", "not/a/name"], 1), (["create", "--spec", f"{tmp_path}/none", "x"], 1), (["start"], 2),
                       (["start", "none"], 1), (["start", "pod"], 1), (["rm", "pod"], 1), (["rm", "none"], 1), (["inspect", "none"], 1), (["wait", "none"], 1),
                       (["stop"], 2), (["stats", "none"], 1), (["label", "pod"], 2), (["create", "--runtime", "none", "x"], 1)):
        failed = busybox.run("sandbox", *args, check=False)
        assert failed.returncode == code and failed.stderr.startswith(b"gantry: ") and failed.stderr.count(b"\n") == 1, failed
    assert verb("ls", "-q") == "pod"
    verb("stop", "pod")
    assert waiting.communicate(timeout=120)[0] == "0\n" and row("pod")[1:3] == ["stopped", "-"]
    # Once more, in the namespaces of another.
    verb("start", "--netns", "/proc/self/ns/net", "pod")
    assert row("pod")[1] == "running" and row("pod")[2] != pid
    verb("rm", "-f", "pod")
    assert verb("ls", "-q") == ""
    # A program of its own.
    verb("create", "plain")
    spec = json.loads(verb("inspect", "plain")).get("spec")
    assert spec is None
    with open(json.loads(verb("inspect", "plain"))["task"]["Bundle"] + "/config.json", encoding="utf-8") as file:
        spec = json.load(file)
    verb("rm", "-f", "plain")
    spec["hostname"] = "special"
    spec["linux"]["cgroupsPath"] = "/default/own"
    (tmp_path / "spec").write_text(json.dumps(spec))
    verb("create", "--spec", f"{tmp_path}/spec", "own")
    verb("start", "own")
    assert json.loads(verb("inspect", "own"))["spec"]["hostname"] == "special"
    assert busybox.out("sandbox", "rm", "-f", "own") == "" and busybox.run("sandbox", "inspect", "own", check=False).returncode == 1
    # One that can't hear yet: the kernel forgets what a pid 1 without a handler is sent.
    spec["process"]["args"] = ["/busybox", "sh", "-c", "/busybox sleep 1; trap 'exit 0' TERM; while :; do /busybox sleep 0.05; done"]
    spec["mounts"].append({"destination": "/busybox", "type": "bind", "source": "/bin/busybox", "options": ["bind", "ro"]})
    (tmp_path / "spec").write_text(json.dumps(spec))
    verb("create", "--spec", f"{tmp_path}/spec", "deaf")
    waiting = subprocess.Popen([*busybox.client(), "sandbox", "wait", "deaf"], stdout=subprocess.PIPE, text=True)
    verb("start", "deaf")
    verb("stop", "-t", "20", "deaf")
    assert waiting.communicate(timeout=120)[0] == "0\n"
    verb("rm", "deaf")


def test_mount_verbs(busybox):
    made = busybox.out("mount", "activate", "--temporary", "-l", "a=b", "scratch", "type=tmpfs,source=tmpfs,size=64k,mode=0700").splitlines()
    assert [line.split()[:3] for line in made] == [["BY", "TYPE", "SOURCE"], ["daemon", "tmpfs", "tmpfs"], ["you", "bind", made[1].split()[3]]]
    point = made[1].split()[3]
    assert os.path.ismount(point) and made[1].split()[4] == "size=64k,mode=0700"
    assert busybox.json("mount", "activate", "--owner", "nobody", "second", "type=tmpfs,source=a", "type=mkdir/format/overlay,source=overlay,ro,"
                       "lowerdir={{ overlay 0 0 }},X-containerd.mkdir.path=" + f"{busybox.dir}/r/made")["system"][0]["options"][0] == "ro"
    assert os.path.isdir(f"{busybox.dir}/r/made")
    table = [line.split() for line in busybox.out("mount", "ls").splitlines()]
    assert table[0] == ["NAME", "MOUNTED", "LEFT", "CREATED", "LABELS"] and ["scratch", "1", "1"] in [row[:3] for row in table[1:]]
    assert busybox.out("mount", "ls", "-q", "-f", "labels.a==b") == "scratch"
    assert [one["name"] for one in busybox.json("mount", "ls", "-f", "name==scratch")] == ["scratch"]
    # Held by nobody who lives; the other is, by itself.
    busybox.run("gc", "run")
    assert busybox.out("mount", "ls", "-q") == "scratch"
    busybox.run("create", "--name", "owner", "busybox", "true")
    busybox.run("mount", "activate", "--temporary", "-o", "owner", "owned", "type=tmpfs,source=tmpfs")
    busybox.run("gc", "run")
    assert busybox.out("mount", "ls", "-q").split() == ["owned", "scratch"]
    busybox.run("rm", "owner")
    busybox.run("gc", "run")
    assert busybox.out("mount", "ls", "-q") == "scratch"
    busybox.run("mount", "label", "scratch", "a=", "c=d")
    details = json.loads(busybox.out("mount", "inspect", "scratch"))
    assert details["labels"]["c"] == "d" and "a" not in details["labels"] and details["active"][0]["mount-point"] == point
    for args, code in ((["activate", "x"], 2), (["activate", "x", "source=tmpfs"], 2), (["activate", "x", "type=overlay"], 1), (["inspect"], 2),
                       (["inspect", "none"], 1), (["deactivate", "none"], 1), (["ls", "-f", "=="], 1), (["label", "scratch"], 2)):
        failed = busybox.run("mount", *args, check=False)
        assert failed.returncode == code and failed.stderr.startswith(b"gantry: ") and failed.stderr.count(b"\n") == 1, failed
    assert busybox.out("--format", "json", "mount", "ls").startswith("[")
    busybox.run("mount", "deactivate", "scratch")
    assert not os.path.ismount(point) and busybox.out("mount", "ls", "-q") == ""


def test_plugin_verbs(daemon):
    def offline(*args, check=True):
        result = subprocess.run([f"{BUILD}/cli/gantry", *args], capture_output=True, text=True, check=False)
        assert result.returncode == 0 or not check, result.stderr
        return result.stdout

    table = daemon.out("plugin", "list").splitlines()
    assert table[0].split() == ["PLUGIN", "TYPE", "ID", "VERSION", "ABI", "STATE", "INIT", "FILE", "REASON"] and len(table) > 10
    skipped = [line for line in table[1:] if " ok " not in line]
    assert all(("-proxy" in line and "no Address= is set" in line) or "is not on btrfs" in line for line in skipped), table
    text = daemon.out("plugin", "inspect", "snapshotter-overlay")
    assert "org.gantry.snapshot-index.v1 (one): metadata-sqlite" in text and "build-id" in text
    text = daemon.out("plugin", "graph")
    assert text.splitlines()[0].startswith("api-dbus") and "metadata-sqlite" in text
    reverse = daemon.json("plugin", "graph", "--reverse", "metadata-sqlite")
    stops = {one["name"] for one in reverse["stops"]}
    assert {"api-dbus", "snapshotter-overlay", "tasks-local"} <= stops and "content-local" not in stops
    dot = daemon.out("plugin", "graph", "--dot")
    assert dot.startswith("digraph") and '"tasks-local" -> "runtime-runc"' in dot
    # From the files alone nobody knows that a proxy without a socket will be skipped, or what is on btrfs.
    def names(graph):
        kept, below = [], None
        for line in graph.splitlines():
            name = line.lstrip("│├└─ ")
            depth = len(line) - len(name)
            if below is None or depth <= below:
                below = depth if "-proxy" in name or "-btrfs" in name else None
                if below is None:
                    kept.append(name)
        return kept

    assert names(offline("plugin", "graph", "--offline")) == names(text)
    assert "snapshotter-overlay" in offline("plugin", "list", "--offline")
    assert "declared by" in daemon.out("plugin", "trace") and "declared by" in offline("plugin", "trace", "--offline")
    assert daemon.run("plugin", "inspect", "nothing", check=False).returncode == 1
    config = daemon.out("config", "show", "--origin")
    assert f"Root={daemon.dir}/r  # command line" in config
    assert "#Bus=" in daemon.out("config", "show", "--effective")
    assert json.loads(offline("--format", "json", "plugin", "inspect", "--offline", "api-dbus"))["id"] == "dbus"


def test_help_teaches():
    for args in ([], ["run"], ["image"], ["image", "import"], ["plugin", "graph"], ["ns"], ["gc", "why"], ["mount"], ["mount", "activate"], ["sandbox"], ["sandbox", "create"]):
        result = subprocess.run([f"{BUILD}/cli/gantry", *args, "--help"], capture_output=True, text=True, check=True)
        assert "sage:" in result.stdout
    for args in (["nothing"], ["run"], ["image", "nothing"], ["--nothing", "ps"], ["run", "--nothing", "x"]):
        result = subprocess.run([f"{BUILD}/cli/gantry", *args], capture_output=True, text=True, check=False)
        assert result.returncode == 2 and result.stderr.startswith("gantry: ") and result.stderr.count("\n") == 1 and "--help" in result.stderr
