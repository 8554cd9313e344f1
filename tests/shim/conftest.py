# SPDX-License-Identifier: LGPL-2.1-or-later
"""A shim with one container, driven as a daemon does it; and an image for other daemons."""
import time
import errno
import json
import os
import shutil
import subprocess
import tempfile

import pytest

from ttrpc import Client, Error, encode

SHIM = os.environ["GANTRY_SHIM"]


def pytest_collection_modifyitems(items):
    for item in items:
        if os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root"))
        if shutil.which("runc") is None or not os.path.exists("/bin/busybox"):
            item.add_marker(pytest.mark.skip(reason="needs runc and busybox-static"))


@pytest.fixture(scope="session", autouse=True)
def reports(tmp_path_factory):
    """What sanitizers say of any shim, its server too, fails the run."""
    if "GANTRY_SHIM_SANITIZED" not in os.environ:
        yield
        return
    directory = tmp_path_factory.mktemp("reports")
    os.environ["ASAN_OPTIONS"] = f"detect_leaks=1:log_path={directory}/asan"
    os.environ["UBSAN_OPTIONS"] = f"print_stacktrace=1:log_path={directory}/ubsan"
    yield
    text = "".join(path.read_text(encoding="utf-8", errors="replace") for path in directory.iterdir())
    assert text == "", text


@pytest.fixture(scope="session")
def rootfs():
    path = tempfile.mkdtemp(prefix="gantry-rootfs.")
    for directory in ("bin", "proc", "dev", "sys", "tmp", "etc"):
        os.mkdir(f"{path}/{directory}")
    shutil.copy("/bin/busybox", f"{path}/bin/busybox")
    for name in ("sh", "cat", "true", "false", "sleep", "echo", "head", "stty", "kill", "tty", "id", "dd", "ls"):
        os.symlink("busybox", f"{path}/bin/{name}")
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def image():
    """An OCI archive and a docker archive with busybox."""
    work = tempfile.mkdtemp(prefix="gantry-image.")
    subprocess.run([os.path.join(os.path.dirname(__file__), "../../tools/make-busybox-image"), f"{work}/oci.tar"], check=True)
    subprocess.run(["skopeo", "copy", "-q", f"oci-archive:{work}/oci.tar", f"docker-archive:{work}/docker.tar:example.com/busybox:1"],
                   check=True)
    yield work
    shutil.rmtree(work)


class Task:
    """One container of a shim: of its own, or, with sockets and a group's annotation, of a shared one."""

    def __init__(self, rootfs, name, args, terminal=False, sockets=None, annotations=None, stdin=b"", **linux):
        self.name = name
        self.last = True
        self.bundle = tempfile.mkdtemp(prefix="gantry-bundle.")
        self.root = tempfile.mkdtemp(prefix="gantry-runc.")
        self.upper = tempfile.mkdtemp(prefix="gantry-upper.")
        os.mkdir(f"{self.upper}/fs")
        os.mkdir(f"{self.upper}/work")
        self.rootfs = rootfs
        self.process = {
            "terminal": terminal, "user": {"uid": 0, "gid": 0}, "args": args, "cwd": "/", "env": ["PATH=/bin"],
        }
        namespaces = linux.pop("namespaces", ("pid", "mount", "ipc", "uts", "network"))
        self.cgroup = f"/gantry-test/{name}"
        spec = {
            "ociVersion": "1.0.2", "process": self.process, "root": {"path": "rootfs"},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
                       {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
                       {"destination": "/dev/pts", "type": "devpts", "source": "devpts"}],
            "linux": {"namespaces": [{"type": kind} for kind in namespaces], "cgroupsPath": self.cgroup, **linux},
            "annotations": annotations or {},
        }
        with open(f"{self.bundle}/config.json", "w", encoding="utf-8") as file:
            json.dump(spec, file)
        self.address = subprocess.run(
            [SHIM, "-namespace", "test", "-id", name, "-address", "", "-sockets", sockets or self.bundle, "start"], cwd=self.bundle,
            check=True, input=stdin, stdout=subprocess.PIPE).stdout.decode().removeprefix("unix://")
        self.client = Client(self.address)
        self.watch = Client(self.address)
        self.watch.call("Watch", [], service="gantry.shim.v1.Shim")
        self.pid = self.client.call("Connect", [])[1][0]

    def create(self, stdin="", stdout="", stderr="", fds=(), terminal=False, options=(), checkpoint=""):
        any_options = encode([(2, encode([(7, self.root), *options]))])
        mount = encode([(1, "overlay"), (2, "overlay"), (4, f"lowerdir={self.rootfs}"),
                        (4, f"upperdir={self.upper}/fs"), (4, f"workdir={self.upper}/work")])
        fields = [(1, self.name), (2, self.bundle), (3, mount), (5, stdin), (6, stdout), (7, stderr), (8, checkpoint), (10, any_options)]
        if terminal:
            fields.append((4, True))
        return self.client.call("Create", fields, fds=fds)

    def call(self, method, *fields, **kwargs):
        return self.client.call(method, [(1, self.name), *fields], **kwargs)

    def run(self):
        self.call("Start")
        return self.call("Wait").get(1, [0])[0]

    def exec(self, name, *args, stdout=None):
        """Runs one more process; returns its status."""
        spec = encode([(1, "types.containerd.io/x"), (2, json.dumps(dict(self.process, args=args)))])
        passed = {"fds": (stdout,)} if stdout is not None else {}
        self.call("Exec", (2, name), *([(5, "fd:0")] if stdout is not None else []), (7, spec), **passed)
        self.call("Start", (2, name))
        status = self.call("Wait", (2, name)).get(1, [0])[0]
        self.call("Delete", (2, name))
        return status

    def end(self):
        try:
            for method, fields in (("Kill", [(3, 9), (4, True)]), ("Wait", []), ("Delete", []), ("Shutdown", [])):
                try:
                    # What was never started does not end; its deletion ends it.
                    if method != "Wait" or self.call("State")[4][0] != 1:
                        self.call(method, *fields)
                except Error:
                    pass
        except (ConnectionError, EOFError):
            pass  # a pod's shim has gone with another's container
        self.client.close()
        try:
            # A shim ends with its last container.
            while self.last:
                self.watch.read_frame()
        except (EOFError, ConnectionError):
            pass
        self.watch.close()
        for path in (self.bundle, self.root, self.upper):
            assert not os.path.ismount(f"{path}/rootfs")
            remove(path)


def remove(path):
    """Removes a tree into which the OCI runtime may still be writing its log: it is no child of ours that could be waited for."""
    deadline = time.monotonic() + 30
    while True:
        try:
            shutil.rmtree(path)
            return
        except OSError as error:
            if error.errno != errno.ENOTEMPTY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


@pytest.fixture
def task(rootfs, request):
    tasks = []

    def make(args, **kwargs):
        name = f"{request.node.name.replace('[', '-').replace(']', '')}-{os.getpid()}-{len(tasks)}"
        tasks.append(Task(rootfs, name, args, **kwargs))
        return tasks[-1]

    make.made = tasks
    yield make
    for index, made in enumerate(tasks):
        made.last = made.pid not in [other.pid for other in tasks[index + 1:]]
        made.end()
