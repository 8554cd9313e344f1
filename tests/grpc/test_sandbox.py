# SPDX-License-Identifier: LGPL-2.1-or-later
"""The controller of sandboxes: a process holds the namespaces, and containers join them."""
import json
import os
import queue
import subprocess
import threading
import time

import pytest

grpc = pytest.importorskip('grpc')
pytest.importorskip('gi')
from bus import Bus, v  # noqa: E402
from client import Client, message, unpack  # noqa: E402
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


@pytest.fixture
def bus(side):
    one = Bus(side)
    yield one
    one.close()


SANDBOX, TASK = 'org.gantry1.Sandbox', 'org.gantry1.Task'


def object_of(client, kind, name=None):
    escaped = f'{client.namespace}/{name}' if name else client.namespace
    return f'/org/gantry1/{kind}/' + escaped.replace('-', '_2d').replace('/', '_2f')


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


def test_what_is_made_here_is_there_on_dbus(client, pod, bus):
    path, ns = object_of(client, 'sandbox', 'pod'), object_of(client, 'namespace')

    def listed(**options):
        return bus.call(ns, 'org.gantry1.Namespace', 'ListSandboxes', '(a{sv})', options)[0]

    client.sandboxes.Create(sandbox={'sandbox_id': 'other', **SHIM})
    told = bus.until('InterfacesAdded', object_of(client, 'sandbox', 'other'))[1][SANDBOX]
    assert (told['Id'], told['Namespace'], told['Sandboxer'], told['Runtime']) == ('other', client.namespace, 'shim', '')
    properties = bus.properties(path, SANDBOX)
    assert (properties['Id'], properties['Runtime'], properties['Labels']) == ('pod', 'io.containerd.runc.v2', {'a': 'b'})
    assert [one['id'] for one in listed()] == ['other', 'pod'] and [one['path'] for one in listed(limit=v('u', 1), after=v('s', 'other'))] == [path]
    assert [one['id'] for one in listed(filters=v('as', ['labels.a==b']))] == ['pod'] and 'status' not in listed()[1]
    assert bus.call(path, SANDBOX, 'GetStatus')[0].keys() == {'state', 'created'} and TASK not in bus.managed()[path]
    client.controller.Create(**pod)
    assert bus.until('InterfacesAdded', path)[1][TASK]['Status'] == 'created'
    pid = client.controller.Start(**pod).pid
    bus.status(path, 'running')
    managed = bus.managed()
    assert managed[path][SANDBOX] == properties and managed[path][TASK]['Pid'] == pid and object_of(client, 'container', 'pod') not in managed
    assert (listed()[1]['status'], listed()[1]['pid']) == ('running', pid)
    status, = bus.call(path, SANDBOX, 'GetStatus')
    assert (status['state'], status['status'], status['pid']) == ('ready', 'running', pid) and os.path.isdir(status['bundle'])
    assert bus.call(path, SANDBOX, 'Inspect')[0]['task']['Pid'] == pid
    platform = client.controller.Platform(**pod).platform
    assert bus.call(path, SANDBOX, 'GetPlatform')[0].split('/')[:2] == [platform.os, platform.architecture]
    assert bus.call(path, SANDBOX, 'GetStats')[0] and bus.call(path, TASK, 'ListPids')[0][0][0] == pid
    client.sandboxes.Update(sandbox={'sandbox_id': 'pod', 'labels': {'c': 'd'}}, fields=['labels.c'])
    assert bus.until('PropertiesChanged', SANDBOX, at=path)[1] == {'Labels': {'a': 'b', 'c': 'd'}}
    # Nobody waits here, and its end is told all the same.
    client.controller.Stop(**pod)
    bus.status(path, 'stopped')
    while bus.until('Event')[4] != '/sandboxes/exit':
        pass
    assert bus.call(path, SANDBOX, 'GetStatus')[0]['state'] == 'not-ready' and bus.call(path, SANDBOX, 'Wait')[0] == 0
    client.controller.Shutdown(**pod)
    assert bus.until('InterfacesRemoved', path)[1] == [TASK]
    client.sandboxes.Delete(sandbox_id='pod')
    assert bus.until('InterfacesRemoved', path)[1] == [SANDBOX]
    assert not any('/container/' in at or '/container/' in str(arguments[0]) for at, _, arguments in bus.seen), bus.seen
    for method, *args in (('Inspect',), ('GetStatus',), ('GetPlatform',), ('GetStats',), ('Start',), ('Wait',), ('Shutdown',), ('Stop', '(u)', 1),
                          ('Delete', '(b)', True), ('Update', '(a{sv})', {}), ('SetLabels', '(a{ss})', {'a': 'b'}), ('CreateTask', '(a{sv})', {})):
        assert 'pod' in bus.refused('NotFound', path, SANDBOX, method, *args), method
    client.sandboxes.Delete(sandbox_id='other')


def test_what_is_made_on_dbus_is_here(client, side, archive, bus, tmp_path):
    """With a program of its own, that SIGTERM does not end."""
    path, ns = object_of(client, 'sandbox', 'made'), object_of(client, 'namespace')
    parent = import_image(client, side, archive)
    rootfs = client.within(lease=client.leases.Create(id='l').lease.id).snapshots.Prepare(snapshotter='overlayfs', key='made', parent=parent).mounts
    spec = make_spec(client, side, 'made', 'sh', '-c', 'trap "" TERM; while :; do sleep 1; done')
    fields = {'runtime': v('s', 'io.containerd.runc.v2'), 'labels': v('a{ss}', {'a': 'b'}), 'spec': v('s', json.dumps(spec)),
              'extensions': v('a{s(say)}', {'e': ('odd', b'\xff')})}

    def create(name, **given):
        return (ns, 'org.gantry1.Namespace', 'CreateSandbox', '(sa{sv})', name, given)

    assert bus.call(*create('made', **fields)) == (path,) == bus.call(ns, 'org.gantry1.Namespace', 'GetSandbox', '(s)', 'made')
    one = client.sandboxes.Get(sandbox_id='made').sandbox
    assert (one.sandboxer, one.runtime.name, dict(one.labels)) == ('shim', 'io.containerd.runc.v2', {'a': 'b'})
    assert one.spec == any_spec(spec) and (one.extensions['e'].type_url, one.extensions['e'].value) == ('odd', b'\xff')
    details, = bus.call(path, SANDBOX, 'Inspect')
    assert json.loads(details['spec']) == spec and details['spec-type'] == one.spec.type_url and details['extensions'] == {'e': ('odd', list(b'\xff'))}
    assert 'task' in bus.refused('NotFound', path, SANDBOX, 'Start') and 'task made' in bus.refused('NotFound', path, SANDBOX, 'Wait')
    mounts = [{'type': v('s', one.type), 'source': v('s', one.source), 'options': v('as', list(one.options))} for one in rootfs]
    pid, = bus.call(path, SANDBOX, 'CreateTask', '(a{sv})', {'rootfs': v('aa{sv}', mounts), 'annotations': v('a{ss}', {'x': 'y'})})
    assert 'made' in bus.refused('AlreadyExists', path, SANDBOX, 'CreateTask', '(a{sv})', {})
    assert client.controller.Status(sandbox_id='made', **SHIM).state == 'SANDBOX_NOTREADY'
    assert bus.call(path, SANDBOX, 'Start') == (pid,)
    status = client.controller.Status(sandbox_id='made', verbose=True, **SHIM)
    assert (status.state, status.pid) == ('SANDBOX_READY', pid)
    with open(f'{status.info["bundle"]}/config.json', encoding='utf-8') as file:
        assert json.load(file)['annotations']['x'] == 'y'
    runs(pid, b'sh\0-c\0trap')
    # One more process in it, which is made here.
    assert 'made' in bus.refused('NotImplemented', path, TASK, 'Exec', '(sa{sv}ah)', 'two', {'args': v('as', ['true'])}, [])
    process = {**spec['process'], 'args': ['sleep', '1000']}
    client.tasks.Exec(container_id='made', exec_id='two', spec=message('google.protobuf.Any', type_url='x', value=json.dumps(process).encode()))
    second = object_of(client, 'process', 'made/two')
    assert bus.until('InterfacesAdded', second)[1]['org.gantry1.Process']['Container'] == path
    assert bus.properties(second, 'org.gantry1.Process')['Container'] == bus.managed()[second]['org.gantry1.Process']['Container'] == path
    client.tasks.DeleteProcess(container_id='made', exec_id='two')
    # What is said of it changes; what runs does not.
    bus.call(path, SANDBOX, 'Update', '(a{sv})', {'labels': v('a{ss}', {'c': 'd'}), 'extensions': v('a{s(say)}', {})})
    bus.call(path, SANDBOX, 'SetLabels', '(a{ss})', {'e': 'f'})
    one = client.sandboxes.Get(sandbox_id='made').sandbox
    assert dict(one.labels) == {'c': 'd', 'e': 'f'} and not one.extensions and one.spec == any_spec(spec) and one.sandboxer == 'shim'
    bus.call(path, SANDBOX, 'Update', '(a{sv})', {})
    assert client.sandboxes.Get(sandbox_id='made').sandbox == one
    for key, value in (('sandboxer', v('s', 'podsandbox')), ('magic', v('b', True)), ('labels', v('s', 'a')), ('spec', v('u', 1))):
        assert f'"{key}"' in bus.refused('InvalidArgument', path, SANDBOX, 'Update', '(a{sv})', {key: value})
    assert '"magic"' in bus.refused('InvalidArgument', *create('x', magic=v('b', True)))
    assert '"netns"' in bus.refused('InvalidArgument', path, SANDBOX, 'CreateTask', '(a{sv})', {'netns': v('b', True)})
    assert 'type' in bus.refused('InvalidArgument', path, SANDBOX, 'CreateTask', '(a{sv})', {'rootfs': v('aa{sv}', [{}])})
    bus.refused('AlreadyExists', *create('made'))
    bus.refused('InvalidArgument', *create('not/a/name'))
    assert 'made' in bus.refused('FailedPrecondition', path, SANDBOX, 'Delete', '(b)', False)
    assert [one.sandbox_id for one in client.sandboxes.List().list] == ['made']
    # Whoever stops it may leave: it is killed when the time is over.
    ended = bus.begin(path, SANDBOX, 'Wait', None)
    leaver = Bus(side)
    began = time.monotonic()
    leaver.connection.call(None, path, SANDBOX, 'Stop', v('(u)', (1,)), None, 0, -1, None, None)
    leaver.connection.flush_sync(None)
    leaver.close()
    assert ended()[0] == 137 and time.monotonic() - began >= 1 and exited(pid)
    bus.call(path, SANDBOX, 'Stop', '(u)', 1)
    bus.call(path, SANDBOX, 'Delete', '(b)', False)
    refused(NOT_FOUND, client.sandboxes.Get, sandbox_id='made')
    client.leases.Delete(id='l')


def test_it_is_forced_to_end(client, bus):
    """One that runs, and one whose spec is none."""
    path, ns = object_of(client, 'sandbox', 'pod'), object_of(client, 'namespace')
    bus.call(ns, 'org.gantry1.Namespace', 'CreateSandbox', '(sa{sv})', 'pod', {})
    bus.call(path, SANDBOX, 'CreateTask', '(a{sv})', {})
    pid, = bus.call(path, SANDBOX, 'Start')
    bus.call(path, SANDBOX, 'Shutdown')
    assert exited(pid) and client.controller.Status(sandbox_id='pod', **SHIM).state == ''
    bus.call(path, SANDBOX, 'Shutdown')
    bus.call(path, SANDBOX, 'Stop', '(u)', 1)
    bus.call(path, SANDBOX, 'CreateTask', '(a{sv})', {})
    pid, = bus.call(path, SANDBOX, 'Start')
    bus.call(path, SANDBOX, 'Delete', '(b)', True)
    assert exited(pid) and not client.tasks.List().tasks and not client.sandboxes.List().list
    bus.call(ns, 'org.gantry1.Namespace', 'CreateSandbox', '(sa{sv})', 'bad', {'spec': v('s', 'no JSON')})
    bad = object_of(client, 'sandbox', 'bad')
    assert 'bad' in bus.refused('InvalidArgument', bad, SANDBOX, 'CreateTask', '(a{sv})', {})
    bus.call(bad, SANDBOX, 'Delete', '(b)', False)


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
        # It is still known what the task is for.
        bus, path = Bus(side), object_of(client, 'sandbox', 'pod')
        client.controller.Shutdown(sandbox_id='pod', **SHIM)
        assert exited(pid)
        bus.status(path, 'stopped')
        assert bus.until('InterfacesRemoved', path)[1] == [TASK]
        assert '/sandboxes/exit' in [arguments[4] for _, name, arguments in bus.seen if name == 'Event']
        bus.close()
    finally:
        side.stop()
