# SPDX-License-Identifier: LGPL-2.1-or-later
"""The controller of sandboxes: a process holds the namespaces, and containers join them."""
import os
import queue
import subprocess
import threading
import time

import pytest

grpc = pytest.importorskip('grpc')
from client import Client, unpack  # noqa: E402
from common import EXISTS, INVALID, NOT_FOUND, PRECONDITION, any_spec, container, import_image, make_spec, refused, run  # noqa: E402
from sides import Side  # noqa: E402

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root')
SHIM = {'sandboxer': 'shim'}


@pytest.fixture
def pod(client):
    client.sandboxes.Create(sandbox={'sandbox_id': 'pod', 'runtime': {'name': 'io.containerd.runc.v2'}, 'labels': {'a': 'b'}, **SHIM})
    yield {'sandbox_id': 'pod', **SHIM}
    try:
        client.controller.Shutdown(sandbox_id='pod', **SHIM)
    except grpc.RpcError:
        pass


def exited(pid):
    for _ in range(600):
        if not os.path.exists(f'/proc/{pid}'):
            return True
        time.sleep(0.1)
    return False


def runs(pid, command):
    """A start lets the OCI runtime's own program go on, which becomes the other one."""
    for _ in range(600):
        with open(f'/proc/{pid}/cmdline', 'rb') as file:
            seen = file.read()
        if seen.startswith(command):
            return
        time.sleep(0.1)
    raise AssertionError(seen)


def test_a_life(client, pod):
    controller = client.controller
    assert controller.Platform(**pod).platform.os == 'linux'
    assert controller.Status(**pod).state == ''
    assert controller.Create(**pod).sandbox_id == 'pod'
    assert controller.Status(**pod).state == 'SANDBOX_NOTREADY'
    refused(EXISTS, controller.Create, **pod)
    started = controller.Start(**pod)
    assert started.pid > 0 and dict(started.labels) == {'a': 'b'} and started.created_at.seconds > 0
    status = controller.Status(verbose=True, **pod)
    assert (status.state, status.pid) == ('SANDBOX_READY', started.pid) and os.path.isdir(status.info['bundle'])
    runs(started.pid, b'/pause\0')
    for name in ('net', 'ipc', 'uts', 'pid', 'mnt'):
        assert os.readlink(f'/proc/{started.pid}/ns/{name}') != os.readlink(f'/proc/self/ns/{name}')
    assert 'Metrics' in controller.Metrics(**pod).metrics.data.type_url
    controller.Update(sandbox={'sandbox_id': 'pod'}, **pod)
    refused(INVALID, controller.Update, **pod)
    results = queue.Queue()
    waits = [threading.Thread(target=lambda: results.put(controller.Wait(timeout=None, **pod))) for _ in range(3)]
    for wait in waits:
        wait.start()
    refused(grpc.StatusCode.DEADLINE_EXCEEDED, controller.Wait, timeout=0.2, **pod)
    controller.Stop(**pod)
    ends = [results.get(timeout=60) for _ in waits]
    assert {one.exit_status for one in ends} == {0} and all(one.exited_at.seconds > 0 for one in ends)
    assert exited(started.pid)
    assert controller.Status(**pod).state == 'SANDBOX_NOTREADY'
    controller.Stop(**pod)
    controller.Shutdown(**pod)
    assert controller.Status(**pod).state == '' and not client.tasks.List().tasks
    client.sandboxes.Delete(sandbox_id='pod')
    refused(NOT_FOUND, controller.Shutdown, **pod)


def test_what_is_refused(client, pod):
    controller = client.controller
    assert 'can not be empty' in refused(INVALID, controller.Create, sandbox_id='pod')
    assert 'failed to get sandbox controller by magic' in refused(NOT_FOUND, controller.Create, sandbox_id='pod', sandboxer='magic')
    for method in ('Create', 'Start', 'Wait', 'Metrics', 'Shutdown'):
        refused(NOT_FOUND, getattr(controller, method), sandbox_id='none', **SHIM)
    for method in ('Start', 'Wait', 'Metrics'):
        refused(NOT_FOUND, getattr(controller, method), **pod)
    controller.Stop(sandbox_id='none', **SHIM)
    client.containers.Create(container=container(client, 'pod'))
    refused(EXISTS, controller.Create, **pod)
    client.containers.Delete(id='pod')
    controller.Create(**pod)
    controller.Start(**pod)
    refused(PRECONDITION, controller.Start, **pod)


def test_containers_in_it(client, side, archive, pod, tmp_path):
    """Two containers share the sandbox's names and network, and a shim with it."""
    client.controller.Create(annotations={'x': 'y'}, **pod)
    pid = client.controller.Start(**pod).pid
    parent = import_image(client, side, archive)
    client.leases.Create(id='l')
    for name in ('one', 'two'):
        rootfs = client.within(lease='l').snapshots.Prepare(snapshotter='overlayfs', key=name, parent=parent).mounts
        spec = make_spec(client, side, name, 'sh', '-c', 'hostname; readlink /proc/self/ns/net; readlink /proc/self/ns/ipc')
        spec['annotations'] = {'io.containerd.runc.v2.group': 'pod'}
        paths = {'network': 'net', 'ipc': 'ipc', 'uts': 'uts'}
        spec['linux']['namespaces'] = [{**one, **({'path': f'/proc/{pid}/ns/{paths[one["type"]]}'} if one['type'] in paths else {})}
                                       for one in spec['linux']['namespaces']]
        spec.pop('hostname', None)
        code, said = run(client, name, spec, rootfs, tmp_path, sandbox='pod')
        assert code == 0 and said.split() == ['pod', os.readlink(f'/proc/{pid}/ns/net'), os.readlink(f'/proc/{pid}/ns/ipc')], said
        # Its shim was the pod's, which is still there.
        assert client.controller.Status(**pod).state == 'SANDBOX_READY'
    client.leases.Delete(id='l')


def test_a_network_namespace_that_is_given(client, pod):
    subprocess.run(['ip', 'netns', 'add', 'gantry-sandbox'], check=True)
    try:
        client.controller.Create(netns_path='/run/netns/gantry-sandbox', **pod)
        pid = client.controller.Start(**pod).pid
        assert os.stat(f'/proc/{pid}/ns/net').st_ino == os.stat('/run/netns/gantry-sandbox').st_ino
        client.controller.Shutdown(**pod)
    finally:
        subprocess.run(['ip', 'netns', 'delete', 'gantry-sandbox'], check=True)


def test_a_sandbox_with_a_program_of_its_own(client, side, archive):
    """One that does not end by SIGTERM is killed when the time is over."""
    parent = import_image(client, side, archive)
    client.leases.Create(id='l')
    rootfs = client.within(lease='l').snapshots.Prepare(snapshotter='overlayfs', key='own', parent=parent).mounts
    spec = any_spec(make_spec(client, side, 'own', 'sh', '-c', 'trap "" TERM; while :; do sleep 1; done'))
    own = {'sandbox_id': 'own', 'sandboxer': 'podsandbox'}
    client.sandboxes.Create(sandbox={'sandbox_id': 'own', 'runtime': {'name': 'io.containerd.runc.v2'}, 'spec': spec, 'sandboxer': 'podsandbox'})
    client.controller.Create(rootfs=rootfs, **own)
    started = client.controller.Start(**own)
    assert started.spec == spec
    runs(started.pid, b'sh\0-c\0trap')
    began = time.monotonic()
    client.controller.Stop(timeout_secs=1, **own)
    assert 1 <= time.monotonic() - began < 60
    assert client.controller.Wait(**own).exit_status == 137
    client.controller.Shutdown(**own)
    client.sandboxes.Delete(sandbox_id='own')
    client.leases.Delete(id='l')


def test_what_is_told(client, pod):
    stream = client.events.Subscribe(filters=[f'namespace=="{client.namespace}",topic~="^/sandboxes"'], timeout=None)
    stream.initial_metadata()
    client.controller.Create(**pod)
    client.controller.Start(**pod)
    client.controller.Stop(**pod)
    client.controller.Wait(**pod)
    heard = [next(stream) for _ in range(3)]
    stream.cancel()
    assert [one.topic for one in heard] == ['/sandboxes/create', '/sandboxes/start', '/sandboxes/exit']
    assert {unpack(one.event).sandbox_id for one in heard} == {'pod'}


def test_it_outlives_the_daemon():
    side = Side('gantry').start()
    try:
        client = Client(side.address, 'restarted')
        client.sandboxes.Create(sandbox={'sandbox_id': 'pod', **SHIM})
        client.controller.Create(sandbox_id='pod', **SHIM)
        pid = client.controller.Start(sandbox_id='pod', **SHIM).pid
        side.process.kill()
        side.process.wait()
        side.start()
        client = Client(side.address, 'restarted')
        status = client.controller.Status(sandbox_id='pod', **SHIM)
        assert (status.state, status.pid) == ('SANDBOX_READY', pid)
        client.controller.Shutdown(sandbox_id='pod', **SHIM)
        assert exited(pid)
    finally:
        side.stop()
