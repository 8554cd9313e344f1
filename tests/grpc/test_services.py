# SPDX-License-Identifier: LGPL-2.1-or-later
"""Services and their semantics, method by method, with a client of our own."""
import gzip
import io
import json
import os
import pathlib
import queue
import shutil
import socket
import subprocess
import tarfile
import threading
import time

import pytest

grpc = pytest.importorskip('grpc')
from client import Client, message, pack, unpack  # noqa: E402
from common import EXISTS, INVALID, NOT_FOUND, PRECONDITION, SPEC, UNIMPLEMENTED, container, refused  # noqa: E402
from sides import Side  # noqa: E402


pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root')


# Frames around services

def test_version_and_health(client):
    assert client.version.Version().version.startswith('v2.')
    assert client.health.Check().status == 1
    refused(NOT_FOUND, client.health.Check, service='none')
    watch = client.health.Watch(timeout=None)
    assert next(watch).status == 1
    watch.cancel()


def test_a_namespace_is_required(client):
    nowhere = client.within(namespace='')
    for call in (nowhere.containers.List, nowhere.images.List, nowhere.content.List, nowhere.leases.List, nowhere.tasks.List):
        assert refused(PRECONDITION, call) == 'namespace is required: failed precondition'
    assert 'identifier' in refused(INVALID, client.within(namespace='a/b').leases.Create, id='x')


def test_strings_that_are_none(client):
    call = client.channel.unary_unary('/containerd.services.containers.v1.Containers/Get')
    metadata = client.metadata()
    assert 'UTF-8' in refused(grpc.StatusCode.INTERNAL, call, b'\x0a\x02\xff\xfe', metadata=metadata)
    assert 'UTF-8' in refused(grpc.StatusCode.INTERNAL, call, b'\x0a\x03a\x00b', metadata=metadata)
    refused(grpc.StatusCode.INTERNAL, call, b'\x0a\x7f', metadata=metadata)
    refused(UNIMPLEMENTED, client.channel.unary_unary('/containerd.services.containers.v1.Containers/None'), b'', metadata=metadata)


def test_a_message_that_would_take_too_much_memory(client):
    """Two bytes each, some eighty when unpacked."""
    call = client.channel.unary_unary('/containerd.services.diff.v1.Diff/Apply')
    assert 'memory' in refused(grpc.StatusCode.RESOURCE_EXHAUSTED, call, b'\x12\x00' * (7 << 20), metadata=client.metadata())


def test_more_addresses():
    """Another socket with a mode and a group, and TCP because it was asked for."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    one = Side('gantry', f'--set=api-grpc.Addresses=unix:path=@DIR@/s/more.sock,mode=0666,gid=12;tcp:host=127.0.0.1,port={port}')
    try:
        one.start()
        more = os.stat(f'{one.dir}/s/more.sock')
        assert (more.st_mode & 0o777, more.st_gid) == (0o666, 12)
        assert os.stat(one.address).st_mode & 0o777 == 0o660
        for channel in (grpc.insecure_channel(f'unix:{one.dir}/s/more.sock'), grpc.insecure_channel(f'127.0.0.1:{port}')):
            assert Client(one.address, 'x', channel=channel).version.Version().version.startswith('v2.')
    finally:
        one.stop()
    assert not os.path.exists(f'{one.dir}/s/more.sock')


@pytest.mark.parametrize('address', ['http://x', 'unix:path=relative', 'unix:path=/x,mode=9', 'unix:path=/x,odd=1', 'tcp:port=1',
                                     'tcp:host=127.0.0.1,port=1,certificate=/x'])
def test_an_address_that_is_none_is_told(address):
    one = Side('gantry', f'--set=api-grpc.Addresses={address}')
    process = subprocess.Popen(one.command(), stdout=one.log, stderr=one.log)
    try:
        deadline = time.monotonic() + 60
        while f'address {address}' not in one.read_log():
            assert time.monotonic() < deadline, one.read_log()
            time.sleep(0.05)
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(one.dir)


# Namespaces

def test_namespaces(client):
    name = client.namespace
    assert client.namespaces.Get(name=name).namespace.name == name
    client.leases.Create(id='x')
    assert name in [one.name for one in client.namespaces.List().namespaces]
    assert refused(EXISTS, client.namespaces.Create, namespace={'name': name}) == f'namespace "{name}": already exists'
    client.namespaces.Update(namespace={'name': name, 'labels': {'a': 'b', 'c': 'd'}})
    client.namespaces.Update(namespace={'name': name, 'labels': {'a': 'z', 'e': 'f'}}, update_mask={'paths': ['labels.a', 'labels.c']})
    assert dict(client.namespaces.Get(name=name).namespace.labels) == {'a': 'z'}
    assert refused(INVALID, client.namespaces.Update, namespace={'name': name}, update_mask={'paths': ['name']}) \
        == 'cannot update "name" field'
    client.leases.Delete(id='x')
    client.namespaces.Delete(name=name)
    refused(NOT_FOUND, client.namespaces.Delete, name=name)
    assert client.namespaces.Create(namespace={'name': name, 'labels': {'g': 'h'}}).namespace.labels['g'] == 'h'


# Containers

def test_containers(client):
    extension = message('google.protobuf.Any', type_url='some.where/Odd', value=bytes(range(256)))
    made = client.containers.Create(container=container(client, 'one', labels={'a': 'b'}, image='i', snapshotter='overlayfs',
                                                        snapshot_key='k', sandbox='s', extensions={'x': extension})).container
    assert made.created_at.seconds > 0 and made.created_at == made.updated_at
    got = client.containers.Get(id='one').container
    assert got == made
    assert got.spec == SPEC and got.extensions['x'] == extension and got.snapshotter == 'overlayfs'
    assert got.runtime.name == 'io.containerd.runc.v2' and got.sandbox == 's'
    assert 'already exists' in refused(EXISTS, client.containers.Create, container=container(client, 'one'))
    assert refused(NOT_FOUND, client.containers.Get, id='two') == f'container "two" in namespace "{client.namespace}": not found'
    client.containers.Delete(id='one')
    refused(NOT_FOUND, client.containers.Delete, id='one')


def test_an_any_comes_back_bit_for_bit(client):
    """Also one that is no message, and one that is large."""
    for name, value in (('none', b''), ('odd', b'\xff\x00\x80'), ('large', os.urandom(3 << 20))):
        spec = message('google.protobuf.Any', type_url='x/y', value=value)
        client.containers.Create(container=container(client, name, spec=spec))
        assert client.containers.Get(id=name).container.spec == spec


def test_containers_are_validated(client):
    def create(**fields):
        return refused(INVALID, client.containers.Create, container=client.containers.message('Container', **fields))
    runtime = {'name': 'io.containerd.runc.v2'}
    assert create(id='', spec=SPEC, runtime=runtime).startswith('create container failed validation: container.ID: ')
    assert 'must match' in create(id='a/b', spec=SPEC, runtime=runtime)
    assert 'greater than maximum length' in create(id='a' * 77, spec=SPEC, runtime=runtime)
    assert 'container.Runtime.Name must be set' in create(id='a', spec=SPEC)
    assert 'container.Spec must be set' in create(id='a', runtime=runtime)
    assert 'container.Snapshotter must be set' in create(id='a', spec=SPEC, runtime=runtime, snapshot_key='k')
    assert 'containers.Labels: label key and value length' in create(id='a', spec=SPEC, runtime=runtime, labels={'k': 'v' * 4096})
    assert len(client.containers.List().containers) == 0
    client.containers.Create(container=container(client, 'a' * 76, labels={'k': 'v' * 4095}))


def test_masks_of_containers(client):
    first = {'a': message('google.protobuf.Any', type_url='t', value=b'1'), 'b': message('google.protobuf.Any', type_url='t', value=b'2')}
    client.containers.Create(container=container(client, 'one', labels={'a': 'b', 'c': 'd'}, image='i', extensions=first))
    other = message('google.protobuf.Any', type_url='t', value=b'3')

    def update(paths, **fields):
        return client.containers.Update(container=container(client, 'one', **fields), update_mask={'paths': paths}).container
    assert dict(update(['labels.a'], labels={'a': 'z', 'c': 'ignored'}).labels) == {'a': 'z', 'c': 'd'}
    assert dict(update(['labels.a'], labels={}).labels) == {'c': 'd'}
    assert dict(update(['labels'], labels={'only': 'this'}).labels) == {'only': 'this'}
    assert update(['image'], image='j').image == 'j'
    changed = update(['extensions.a'], extensions={'a': other, 'b': other})
    assert changed.extensions['a'] == other and changed.extensions['b'] == first['b'] and changed.image == 'j'
    assert set(update(['extensions'], extensions={'c': other}).extensions) == {'c'}
    assert 'cannot update "created_at" field on "one"' in refused(
        INVALID, client.containers.Update, container=container(client, 'one'), update_mask={'paths': ['created_at']})
    whole = client.containers.Update(container=container(client, 'one', image='k')).container
    assert whole.image == 'k' and not whole.labels and not whole.extensions
    for wrong in ({'snapshotter': 'other'}, {'runtime': {'name': 'other'}}):
        assert 'immutable' in refused(INVALID, client.containers.Update, container=container(client, 'one', **wrong))
    assert client.containers.Get(id='one').container == whole


def test_filters(client):
    for name, labels in (('one', {'a': '1', 'x.y/z': 'nested'}), ('two', {'a': '2'}), ('three', {})):
        client.containers.Create(container=container(client, name, labels=labels, image=f'image-{name}'))

    def found(*filters):
        return sorted(one.id for one in client.containers.List(filters=filters).containers)
    assert found() == ['one', 'three', 'two']
    assert found('id==one') == ['one']
    assert found('id==one', 'id==two') == ['one', 'two']
    assert found('id!=one') == ['three', 'two']
    assert found('id~=^t') == ['three', 'two']
    assert found('labels.a') == ['one', 'two']
    assert found('labels.a==1') == ['one']
    assert found('labels."x.y/z"==nested') == ['one']
    assert found('id~=^t,labels.a==2') == ['two']
    assert found('image==image-two') == ['two']
    assert found('image=="image-two"') == ['two']
    assert found('nonsense==x') == []
    refused(INVALID, client.containers.List, filters=['id=='])
    refused(INVALID, client.containers.List, filters=['id~=('])
    assert sorted(one.container.id for one in client.containers.ListStream(filters=['id~=^t'])) == ['three', 'two']


def test_a_list_past_the_message_limit(client):
    big = message('google.protobuf.Any', type_url='t', value=bytes(5 << 20))
    for i in range(4):
        client.containers.Create(container=container(client, f'c{i}', spec=big))
    assert 'Containers.ListStream' in refused(grpc.StatusCode.RESOURCE_EXHAUSTED, client.containers.List)
    assert [one.container.id for one in client.containers.ListStream()] == ['c0', 'c1', 'c2', 'c3']


# Images

TARGET = {'media_type': 'application/vnd.oci.image.manifest.v1+json', 'digest': 'sha256:' + 'a' * 64, 'size': 7}


def test_images(client):
    made = client.images.Create(image={'name': 'x', 'target': {**TARGET, 'annotations': {'k': 'v'}}, 'labels': {'a': 'b'}}).image
    assert client.images.Get(name='x').image == made and made.target.annotations['k'] == 'v'
    assert refused(EXISTS, client.images.Create, image={'name': 'x', 'target': TARGET}) == 'image "x": already exists'
    assert refused(NOT_FOUND, client.images.Get, name='y') == 'image "y": not found'
    other = {**TARGET, 'digest': 'sha256:' + 'b' * 64}
    updated = client.images.Update(image={'name': 'x', 'target': other}, update_mask={'paths': ['target']}).image
    assert updated.target.digest == other['digest'] and updated.labels['a'] == 'b' and not updated.target.annotations
    updated = client.images.Update(image={'name': 'x', 'target': {'annotations': {'p': 'q', 'r': 's'}}},
                                   update_mask={'paths': ['annotations.p']}).image
    assert dict(updated.target.annotations) == {'p': 'q'} and updated.target.digest == other['digest']
    refused(NOT_FOUND, client.images.Delete, name='x', target=TARGET)
    client.images.Delete(name='x', target=other, sync=True)
    refused(NOT_FOUND, client.images.Delete, name='x')


def test_images_are_validated(client):
    assert refused(INVALID, client.images.Create, image={'name': ''}) == 'Image.Name required'
    for target, words in (({}, 'Target.Digest'), ({**TARGET, 'digest': 'sha256:abc'}, 'Target.Digest'), ({**TARGET, 'size': 0}, 'Target.Size'),
                          ({**TARGET, 'media_type': ''}, 'Target.MediaType')):
        assert words in refused(INVALID, client.images.Create, image={'name': 'x', 'target': target})


# Leases

def test_a_lease_holds_what_is_made_under_it(client):
    client.leases.Create(id='one', labels={'a': 'b'})
    held = client.within(lease='one').write(b'held')
    free = client.write(b'free', ref='other')
    client.snapshots.Prepare(snapshotter='overlayfs', key='loose')
    client.within(lease='one').snapshots.Prepare(snapshotter='overlayfs', key='held')
    resources = {(one.type, one.id) for one in client.leases.ListResources(id='one').resources}
    assert ('content', held) in resources and ('snapshots/overlayfs', 'held') in resources
    client.leases.Create(id='sync')
    client.leases.Delete(id='sync', sync=True)
    assert client.read(held) == b'held'
    refused(NOT_FOUND, client.content.Info, digest=free)
    refused(NOT_FOUND, client.snapshots.Stat, snapshotter='overlayfs', key='loose')
    client.snapshots.Stat(snapshotter='overlayfs', key='held')
    client.leases.Delete(id='one', sync=True)
    refused(NOT_FOUND, client.content.Info, digest=held)
    refused(NOT_FOUND, client.snapshots.Stat, snapshotter='overlayfs', key='held')
    assert refused(NOT_FOUND, client.leases.Delete, id='one') == 'lease "one": not found'
    refused(NOT_FOUND, client.within(lease='one').write, b'x')


def test_resources_of_leases(client):
    client.leases.Create(id='one')
    digest = client.write(b'by hand', labels={'containerd.io/gc.root': 'x'})
    client.leases.AddResource(id='one', resource={'type': 'content', 'id': digest})
    client.leases.AddResource(id='one', resource={'type': 'snapshots/overlayfs', 'id': 'later'})
    assert len(client.leases.ListResources(id='one').resources) == 2
    client.leases.DeleteResource(id='one', resource={'type': 'snapshots/overlayfs', 'id': 'later'})
    assert [one.id for one in client.leases.ListResources(id='one').resources] == [digest]
    refused(INVALID, client.leases.AddResource, id='one', resource={'type': 'snapshots', 'id': 'x'})
    refused(UNIMPLEMENTED, client.leases.AddResource, id='one', resource={'type': 'odd', 'id': 'x'})
    refused(NOT_FOUND, client.leases.ListResources, id='none')
    assert client.leases.Create().lease.id != ''


def test_labels_that_hold(client):
    """gc.ref from a root to a blob, gc.root, and an end in the future and in the past."""
    future, past = '2100-01-01T00:00:00Z', '2001-01-01T00:00:00Z'
    inner = client.write(b'inner', ref='1', labels={'containerd.io/gc.root': 'x'})
    outer = client.write(b'outer', ref='2', labels={'containerd.io/gc.root': 'x', 'containerd.io/gc.ref.content.0': inner})
    client.content.Update(info={'digest': inner}, update_mask={'paths': ['labels']})
    timed = client.write(b'timed', ref='3', labels={'containerd.io/gc.expire': future})
    client.leases.Create(id='ended', labels={'containerd.io/gc.expire': past})
    client.leases.Create(id='sync')
    client.leases.Delete(id='sync', sync=True)
    assert client.read(inner) == b'inner' and client.read(timed) == b'timed'
    assert 'ended' not in [one.id for one in client.leases.List().leases]
    client.content.Delete(digest=outer)
    client.leases.Create(id='sync')
    client.leases.Delete(id='sync', sync=True)
    refused(NOT_FOUND, client.content.Info, digest=inner)


# Snapshots

def test_snapshots(client):
    root = {'containerd.io/gc.root': 'x'}
    shots = client.snapshots
    mounts = shots.Prepare(snapshotter='overlayfs', key='a', labels=root).mounts
    assert len(mounts) == 1 and mounts[0].type in ('bind', 'overlay')
    assert [one.source for one in shots.Mounts(snapshotter='overlayfs', key='a').mounts] == [mounts[0].source]
    shots.Commit(snapshotter='overlayfs', name='b', key='a', labels={**root, 'l': 'm'})
    info = shots.Stat(snapshotter='overlayfs', key='b').info
    assert (info.kind, info.parent, info.labels['l']) == (3, '', 'm')
    shots.View(snapshotter='overlayfs', key='v', parent='b', labels=root)
    assert refused(PRECONDITION, shots.Remove, snapshotter='overlayfs', key='b') == 'cannot remove snapshot with child: failed precondition'
    infos = {one.name: one for block in shots.List(snapshotter='overlayfs') for one in block.info}
    assert set(infos) == {'b', 'v'} and infos['v'].parent == 'b' and infos['v'].kind == 1
    assert [one.name for block in shots.List(snapshotter='overlayfs', filters=['parent==b']) for one in block.info] == ['v']
    for filters, names in ((['name==v'], 'v'), (['name==v', 'labels.l==m'], 'bv'), (['labels."l"=="m",kind==committed'], 'b'),
                           (['labels."l"==m,name==v'], ''), (['name=="b"', 'kind==view'], 'bv'), (['name==overlay/b'], ''),
                           (['name=="a\\"b\\\\"'], '')):
        assert ''.join(sorted(one.name for block in shots.List(snapshotter='overlayfs', filters=filters) for one in block.info)) == names
    assert shots.Usage(snapshotter='overlayfs', key='b').inodes > 0
    updated = shots.Update(snapshotter='overlayfs', info={'name': 'v', 'labels': {'l': 'n'}}, update_mask={'paths': ['labels.l']}).info
    assert updated.labels['l'] == 'n'
    assert 'cannot update' in refused(INVALID, shots.Update, snapshotter='overlayfs', info={'name': 'v'}, update_mask={'paths': ['kind']})
    assert refused(INVALID, shots.Stat, snapshotter='', key='b') == 'snapshotter argument missing: invalid argument'
    assert refused(INVALID, shots.Stat, snapshotter='none', key='b') == 'snapshotter not loaded: none: invalid argument'
    refused(NOT_FOUND, shots.Prepare, snapshotter='overlayfs', key='c', parent='none')
    for key in ('v', 'b'):
        shots.Remove(snapshotter='overlayfs', key=key)
    shots.Cleanup(snapshotter='overlayfs')
    shots.Prepare(snapshotter='native', key='a', labels=root)
    shots.Remove(snapshotter='native', key='a')


# Events

class Listener:
    def __init__(self, client, *filters):
        self.stream = client.events.Subscribe(filters=filters, timeout=None)
        self.stream.initial_metadata()

    def until(self, topic):
        heard = []
        for envelope in self.stream:
            heard.append(envelope)
            if envelope.topic == topic:
                self.stream.cancel()
                return heard


def test_events_of_records(client):
    listener = Listener(client, f'namespace=={client.namespace}')
    options = pack(message('containerd.runc.v1.Options', binary_name='runc'))
    client.images.Create(image={'name': 'x', 'target': TARGET, 'labels': {'a': 'b'}})
    client.containers.Create(container=container(client, 'one', image='i', runtime={'name': 'io.containerd.runc.v2', 'options': options}))
    client.containers.Update(container=container(client, 'one', image='j'), update_mask={'paths': ['image']})
    client.snapshots.Prepare(snapshotter='overlayfs', key='k', labels={'containerd.io/gc.root': 'x'})
    client.write(b'told', labels={'containerd.io/gc.root': 'x'})
    client.images.Delete(name='x')
    client.containers.Delete(id='one')
    heard = [(one.topic, unpack(one.event)) for one in listener.until('/containers/delete')]
    told = dict(heard)
    assert [topic for topic, _ in heard] == ['/images/create', '/containers/create', '/containers/update', '/snapshot/prepare',
                                             '/content/create', '/images/delete', '/containers/delete']
    assert told['/images/create'].DESCRIPTOR.full_name == 'containerd.services.images.v1.ImageCreate'
    assert told['/images/create'].labels['a'] == 'b'
    assert told['/containers/create'].runtime.name == 'io.containerd.runc.v2' and told['/containers/create'].runtime.options == options
    assert told['/containers/update'].image == 'j'
    assert (told['/snapshot/prepare'].key, told['/snapshot/prepare'].snapshotter) == ('k', 'overlayfs')
    assert told['/content/create'].size == 4


def test_what_another_frontend_does_is_told(client, side):
    listener = Listener(client, 'topic=="/namespaces/create"')
    name = client.namespace + '-dbus'
    environment = dict(os.environ)
    gantry = pathlib.Path(os.environ['GANTRY_BUILD']) / 'cli/gantry'
    subprocess.run([gantry, '--address', f'unix:path={side.dir}/s/gantry.sock', 'ns', 'create', name], check=True, env=environment)
    envelope = listener.until('/namespaces/create')[-1]
    assert unpack(envelope.event).name == name and envelope.namespace == name


def test_published_events(client):
    listener = Listener(client, 'event.container_id==mine', 'topic~=^/own/')
    event = message('containerd.events.TaskOOM', container_id='mine')
    client.events.Publish(topic='/tasks/oom', event=pack(message('containerd.events.TaskOOM', container_id='other')))
    client.events.Publish(topic='/tasks/oom', event=pack(event))
    client.events.Forward(envelope={'timestamp': {'seconds': 1}, 'namespace': 'far', 'topic': '/own/thing',
                                    'event': message('google.protobuf.Any', type_url='odd', value=b'\xff')})
    heard = listener.until('/own/thing')
    assert unpack(heard[0].event) == event and heard[0].namespace == client.namespace
    assert (heard[1].namespace, heard[1].event.type_url, heard[1].event.value) == ('far', 'odd', b'\xff')
    refused(INVALID, client.events.Publish, topic='no-slash', event=pack(event))
    refused(PRECONDITION, client.within(namespace='').events.Publish, topic='/x', event=pack(event))
    refused(INVALID, client.events.Subscribe, filters=['=='])


# Tasks

def test_waiting_for_a_task(client, side, archive):
    side.ctr('-n', client.namespace, 'images', 'import', archive)
    done = side.ctr('-n', client.namespace, 'run', '-d', 'docker.io/library/busybox:latest', 'waited', 'sleep', '1000')
    assert done.returncode == 0, done
    results = queue.Queue()
    waits = [threading.Thread(target=lambda: results.put(client.tasks.Wait(container_id='waited', timeout=None))) for _ in range(20)]
    for wait in waits:
        wait.start()
    refused(grpc.StatusCode.DEADLINE_EXCEEDED, client.tasks.Wait, container_id='waited', timeout=0.2)
    process = client.tasks.Get(container_id='waited').process
    assert (process.id, process.status) == ('waited', 2) and process.pid > 0
    client.tasks.Kill(container_id='waited', signal=9)
    exits = [results.get(timeout=60) for _ in waits]
    assert {one.exit_status for one in exits} == {137} and all(one.exited_at.seconds > 0 for one in exits)
    assert client.tasks.Wait(container_id='waited').exit_status == 137
    assert client.tasks.Delete(container_id='waited').exit_status == 137
    assert refused(NOT_FOUND, client.tasks.Get, container_id='waited') == 'task waited not found'
    assert refused(NOT_FOUND, client.tasks.Get, container_id='none') == f'container "none" in namespace "{client.namespace}": not found'
    client.containers.Delete(id='waited')


def test_a_task_by_every_method(client, side, archive, tmp_path):
    """Create to delete without ctr: a snapshot, a spec, FIFOs, an exec, a terminal."""
    side.ctr('-n', client.namespace, 'images', 'import', archive)
    parent = [one.name for block in client.snapshots.List(snapshotter='overlayfs') for one in block.info][0]
    client.leases.Create(id='l')
    rootfs = client.within(lease='l').snapshots.Prepare(snapshotter='overlayfs', key='one', parent=parent).mounts
    spec = json.loads(side.ctr('oci', 'spec').out)
    spec['process'].update(args=['cat'], env=['PATH=/bin'], terminal=False)
    spec['root'] = {'path': 'rootfs'}
    spec['linux']['cgroupsPath'] = f'/{client.namespace}/one'
    any_spec = message('google.protobuf.Any', type_url=SPEC.type_url, value=json.dumps(spec).encode())
    client.containers.Create(container=container(client, 'one', spec=any_spec, snapshotter='overlayfs', snapshot_key='one'))
    fifos = {name: str(tmp_path / name) for name in ('stdin', 'stdout')}
    for path in fifos.values():
        os.mkfifo(path)
    ends = {name: os.open(path, os.O_RDWR) for name, path in fifos.items()}
    options = pack(message('containerd.runc.v1.Options', binary_name='runc'))
    pid = client.tasks.Create(container_id='one', rootfs=rootfs, options=options, **fifos).pid
    assert pid > 0 and client.tasks.Get(container_id='one').process.status == 1
    refused(EXISTS, client.tasks.Create, container_id='one', rootfs=rootfs)
    assert client.tasks.Start(container_id='one').pid == pid
    os.write(ends['stdin'], b'through\n')
    assert os.read(ends['stdout'], 100) == b'through\n'
    assert [one.id for one in client.tasks.List().tasks] == ['one']
    client.tasks.Pause(container_id='one')
    assert client.tasks.Get(container_id='one').process.status == 4
    client.tasks.Resume(container_id='one')

    process = message('google.protobuf.Any', type_url='types.containerd.io/opencontainers/runtime-spec/1/Process',
                      value=json.dumps({**spec['process'], 'args': ['sh', '-c', 'sleep 1; exit 3'], 'terminal': True}).encode())
    client.tasks.Exec(container_id='one', exec_id='e', spec=process, terminal=True)
    refused(EXISTS, client.tasks.Exec, container_id='one', exec_id='e', spec=process, terminal=True)
    client.tasks.Start(container_id='one', exec_id='e')
    client.tasks.ResizePty(container_id='one', exec_id='e', width=80, height=25)
    pids = client.tasks.ListPids(container_id='one').processes
    assert pid in [one.pid for one in pids] and 'e' in [unpack(one.info).exec_id for one in pids if one.HasField('info')]
    assert client.tasks.Wait(container_id='one', exec_id='e').exit_status == 3
    assert client.tasks.DeleteProcess(container_id='one', exec_id='e').exit_status == 3
    refused(NOT_FOUND, client.tasks.DeleteProcess, container_id='one', exec_id='e')

    metrics = client.tasks.Metrics(filters=['id==one']).metrics
    assert [one.id for one in metrics] == ['one'] and 'Metrics' in metrics[0].data.type_url
    resources = message('google.protobuf.Any', type_url='types.containerd.io/opencontainers/runtime-spec/1/LinuxResources',
                        value=b'{"pids": {"limit": 100}}')
    client.tasks.Update(container_id='one', resources=resources)
    # criu is missing, or can't run here: in its words.
    checkpoint = pack(message('containerd.runc.v1.CheckpointOptions', image_path=str(tmp_path / 'criu')))
    with pytest.raises(grpc.RpcError) as caught:
        client.tasks.Checkpoint(container_id='one', options=checkpoint)
    assert 'criu' in caught.value.details().lower()
    refused(PRECONDITION, client.tasks.Delete, container_id='one')
    client.tasks.Kill(container_id='one', signal=9)
    assert client.tasks.Wait(container_id='one').exit_status == 137
    client.tasks.CloseIO(container_id='one', stdin=True)
    assert client.tasks.Delete(container_id='one').exit_status == 137
    for end in ends.values():
        os.close(end)

    layer = client.within(lease='l').diff.Diff(left=client.within(lease='l').snapshots.View(snapshotter='overlayfs', key='v', parent=parent).mounts,
                                              right=rootfs, media_type='application/vnd.oci.image.layer.v1.tar+gzip', ref='d').diff
    again = client.within(lease='l').snapshots.Prepare(snapshotter='overlayfs', key='again', parent=parent).mounts
    applied = client.within(lease='l').diff.Apply(diff=layer, mounts=again).applied
    assert applied.media_type == 'application/vnd.oci.image.layer.v1.tar'
    assert applied.digest == client.content.Info(digest=layer.digest).info.labels['containerd.io/uncompressed']
    client.containers.Delete(id='one')


# Sandboxes

def test_the_store_of_sandboxes(client):
    store = client.sandboxes
    made = store.Create(sandbox={'sandbox_id': 'pod', 'runtime': {'name': 'io.containerd.runc.v2', 'options': SPEC}, 'spec': SPEC,
                                 'labels': {'a': 'b'}, 'extensions': {'e': SPEC}, 'sandboxer': 'shim'}).sandbox
    assert store.Get(sandbox_id='pod').sandbox == made and made.sandboxer == 'shim' and made.extensions['e'] == SPEC
    assert [one.sandbox_id for one in store.List(filters=['labels.a==b']).list] == ['pod']
    updated = store.Update(sandbox={'sandbox_id': 'pod', 'labels': {'c': 'd'}}, fields=['labels']).sandbox
    assert dict(updated.labels) == {'c': 'd'} and updated.spec == SPEC
    refused(EXISTS, store.Create, sandbox={'sandbox_id': 'pod'})
    refused(INVALID, store.Create, sandbox={'sandbox_id': ''})
    store.Delete(sandbox_id='pod')
    refused(NOT_FOUND, store.Get, sandbox_id='pod')


# Introspection

def test_introspection(client, side):
    server = client.introspection.Server()
    assert server.pid == side.process.pid and len(server.uuid) == 36 and server.pidns == os.stat('/proc/self/ns/pid').st_ino
    plugins = client.introspection.Plugins(filters=['type==io.containerd.snapshotter.v1,id==overlayfs']).plugins
    assert len(plugins) == 1 and plugins[0].exports['root'].endswith('/r/snapshotter-overlay') and plugins[0].platforms[0].os == 'linux'
    assert os.path.isdir(plugins[0].exports['root'])
    info = client.introspection.PluginInfo(type='io.containerd.snapshotter.v1', id='overlayfs').plugin
    assert info == plugins[0]
    refused(NOT_FOUND, client.introspection.PluginInfo, type='x', id='y')


def test_what_the_runtime_can_do(client):
    task = {'type': 'io.containerd.runtime.v2', 'id': 'task'}
    given = pack(message('containerd.runc.v1.Options', binary_name='runc'))
    for path in ('io.containerd.runc.v2', 'runc'):
        reply = client.introspection.PluginInfo(options=pack(message('containerd.types.RuntimeRequest', runtime_path=path, options=given)), **task)
        info = unpack(reply.extra)
        assert info.name == 'io.containerd.gantry.v1' and info.version.version and info.options == given
        features = json.loads(info.features.value)
        assert info.features.type_url.endswith('/features/Features') and 'poststop' in features['hooks'] and features['linux']['namespaces']
    crun = pack(message('containerd.runc.v1.Options', binary_name='no-such-runtime'))
    request = pack(message('containerd.types.RuntimeRequest', runtime_path='runc', options=crun))
    assert 'no-such-runtime is not installed' in refused(grpc.StatusCode.INTERNAL, client.introspection.PluginInfo, options=request, **task)
    request = pack(message('containerd.types.RuntimeRequest', runtime_path='io.containerd.none.v1'))
    refused(NOT_FOUND, client.introspection.PluginInfo, options=request, **task)
    refused(UNIMPLEMENTED, client.introspection.PluginInfo, options=given, **task)
    refused(UNIMPLEMENTED, client.introspection.PluginInfo, options=request, type='io.containerd.snapshotter.v1', id='overlayfs')


# Streams and transfer

class Stream:
    """A named stream, with what came in so far."""

    def __init__(self, client, name):
        self.name = name
        self.out = queue.Queue()
        self.call = client.streaming.Stream(iter(self.out.get, None), timeout=None)
        self.send(message('containerd.services.streaming.v1.StreamInit', id=name))
        assert unpack(next(self.call)).DESCRIPTOR.full_name == 'google.protobuf.Empty'

    def send(self, inner):
        self.out.put(pack(inner))

    def close(self):
        self.out.put(None)

    def write(self, data, piece=32 << 10):
        """Sends @data against the window that the other end opens."""
        window = 0
        while data:
            while window <= 0:
                window += unpack(next(self.call)).update
            some, data = data[:min(piece, window)], data[min(piece, window):]
            window -= len(some)
            self.send(message('containerd.types.transfer.Data', data=some))
        self.close()

    def read(self, window=64 << 10):
        data, left = [], 0
        self.send(message('containerd.types.transfer.WindowUpdate', update=window))
        for any_ in self.call:
            some = unpack(any_).data
            data.append(some)
            left += len(some)
            if left >= window // 2:
                self.send(message('containerd.types.transfer.WindowUpdate', update=left))
                left = 0
        return b''.join(data)


def store(**fields):
    return pack(message('containerd.types.transfer.ImageStore', **fields))


def test_import_and_export_by_stream(client, archive):
    data = archive.read_bytes()
    stream, progress = Stream(client, 'in'), Stream(client, 'progress')
    events = []
    hearing = threading.Thread(target=lambda: events.extend(unpack(one) for one in progress.call))
    writing = threading.Thread(target=stream.write, args=(data,))
    hearing.start()
    writing.start()
    client.transfer.Transfer(source=pack(message('containerd.types.transfer.ImageImportStream', stream='in')),
                             destination=store(extra_references=[{'name': 'example.com/x', 'is_prefix': True, 'allow_overwrite': True}],
                                               unpacks=[{'platform': {'os': 'linux', 'architecture': 'amd64'}, 'snapshotter': 'overlayfs'}]),
                             options={'progress_stream': 'progress'})
    writing.join()
    hearing.join(60)
    assert [one.event for one in events][0] == 'Importing' and events[-1].event == 'Completed import'
    images = client.images.List().images
    assert [one.name for one in images] == ['docker.io/library/busybox:latest']
    assert [one.kind for block in client.snapshots.List(snapshotter='overlayfs') for one in block.info] == [3]

    out = Stream(client, 'out')
    got = []
    reading = threading.Thread(target=lambda: got.append(out.read()))
    reading.start()
    client.transfer.Transfer(source=store(name=images[0].name),
                             destination=pack(message('containerd.types.transfer.ImageExportStream', stream='out')))
    reading.join(60)
    names = tarfile.open(fileobj=io.BytesIO(got[0])).getnames()
    assert 'oci-layout' in names and 'manifest.json' in names
    assert any(name.endswith(images[0].target.digest.split(':')[1]) for name in names)

    client.transfer.Transfer(source=store(name=images[0].name), destination=store(name='example.com/tagged:1'))
    assert client.images.Get(name='example.com/tagged:1').image.target == images[0].target


def bring(client, data, force=False, **fields):
    """Imports @data by stream."""
    stream = Stream(client, 'in')
    writing = threading.Thread(target=stream.write, args=(data,))
    writing.start()
    client.transfer.Transfer(source=pack(message('containerd.types.transfer.ImageImportStream', stream='in', force_compress=force)),
                             destination=store(**fields))
    writing.join()
    for image in client.images.List().images:
        yield image.name, image


def fetch(client, source, **fields):
    """Exports by stream. Returns: the archive."""
    out = Stream(client, 'out')
    got = []
    reading = threading.Thread(target=lambda: got.append(out.read()))
    reading.start()
    client.transfer.Transfer(source=source, destination=pack(message('containerd.types.transfer.ImageExportStream', stream='out', **fields)))
    reading.join(60)
    return tarfile.open(fileobj=io.BytesIO(got[0]))


def test_names_of_what_is_imported(client, archive):
    """As containerd gives them: the name is the index's, and prefixes name what is in it."""
    data = archive.read_bytes()
    prefix = {'name': 'example.com/x', 'is_prefix': True}
    assert not dict(bring(client, data, extra_references=[prefix])), 'a name of another prefix'
    digested = dict(bring(client, data, extra_references=[{**prefix, 'add_digest': True}]))
    assert [name.split('@')[0] for name in digested] == ['example.com/x']
    assert all(name.split('@')[1] == image.target.digest for name, image in digested.items())
    one = dict(bring(client.within(namespace='one'), data, name='example.com/index:1', labels={'a': 'b'}, extra_references=[
        {'name': 'example.com/also:1'}, {**prefix, 'allow_overwrite': True, 'add_digest': True, 'skip_named_digest': True}]))
    index = one['example.com/index:1'].target
    assert set(one) == {'example.com/index:1', 'example.com/also:1', f'example.com/x@{index.digest}', 'docker.io/library/busybox:latest'}
    assert index.media_type.endswith('index.v1+json') and one['example.com/also:1'].target == index
    assert dict(one['example.com/index:1'].labels) == {'a': 'b'}
    labels = dict(one['docker.io/library/busybox:latest'].labels)
    assert labels['containerd.io/gc.bref.image'] == 'example.com/index:1' and labels['containerd.io/gc.expire'] and labels['a'] == 'b'


def test_docker_archives_by_stream(client, archive):
    """They have no index of their own, and their layers are packed if that is asked for."""
    dict(bring(client, archive.read_bytes(), extra_references=[{'name': 'x', 'is_prefix': True, 'allow_overwrite': True}]))
    tar = fetch(client, store(name='docker.io/library/busybox:latest'))
    saved = json.load(tar.extractfile('manifest.json'))[0]
    layer = tar.extractfile(saved['Layers'][0]).read()
    plain = gzip.decompress(layer) if layer[:2] == b'\x1f\x8b' else layer
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w') as docker:
        for name, content in (('c.json', tar.extractfile(saved['Config']).read()), ('l/layer.tar', plain),
                              ('manifest.json', json.dumps([{'Config': 'c.json', 'RepoTags': ['saved:1'], 'Layers': ['l/layer.tar']}]).encode())):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            docker.addfile(member, io.BytesIO(content))
    for force in (False, True):
        other = client.within(namespace=f'docker-{force}'.lower())
        found = dict(bring(other, out.getvalue(), force, name='example.com/index:1', unpacks=[{'snapshotter': 'overlayfs'}]))
        assert list(found) == ['example.com/index:1']
        index = json.loads(b''.join(one.data for one in other.content.Read(digest=found['example.com/index:1'].target.digest)))
        manifest = json.loads(b''.join(one.data for one in other.content.Read(digest=index['manifests'][0]['digest'])))
        assert manifest['layers'][0]['mediaType'].endswith('.tar.gzip' if force else '.tar')


def test_what_export_leaves_out(client, archive):
    dict(bring(client, archive.read_bytes(), extra_references=[{'name': 'x', 'is_prefix': True, 'allow_overwrite': True}]))
    name = 'docker.io/library/busybox:latest'
    assert 'manifest.json' not in fetch(client, store(name=name), skip_compatibility_manifest=True).getnames()
    assert 'index.json' in fetch(client, store(name=name), all_platforms=True, skip_non_distributable=True).getnames()
    source = store(extra_references=[{'name': 'docker.io/library/busybox', 'is_prefix': True}])
    stream = Stream(client, 'out')
    to = pack(message('containerd.types.transfer.ImageExportStream', stream='out'))
    assert 'extra_references' in refused(UNIMPLEMENTED, client.transfer.Transfer, source=source, destination=to)
    stream.close()


def test_fields_that_are_not_honoured_are_named(client):
    for field, code, resolver, to in (('http_debug', UNIMPLEMENTED, {'http_debug': 1}, {}),
                                      ('default_scheme', INVALID, {'default_scheme': 'ftp'}, {}),
                                      ('manifest_limit', UNIMPLEMENTED, {}, {'manifest_limit': 1})):
        source = pack(message('containerd.types.transfer.OCIRegistry', reference='127.0.0.1:1/x:1', resolver=resolver))
        assert field in refused(code, client.transfer.Transfer, source=source, destination=store(name='example.com/x:1', **to))


def test_transfers_that_cannot_be(client):
    importing = pack(message('containerd.types.transfer.ImageImportStream', stream='none'))
    assert 'stream "none": not found' in refused(NOT_FOUND, client.transfer.Transfer, source=importing, destination=store())
    assert 'unable to transfer' in refused(UNIMPLEMENTED, client.transfer.Transfer, source=importing, destination=importing)
    refused(UNIMPLEMENTED, client.transfer.Transfer)
    refused(NOT_FOUND, client.transfer.Transfer, source=store(name='none'), destination=store(name='x'))
    stream = Stream(client, 'broken')
    threading.Thread(target=stream.write, args=(b'this is no archive' * 1000,)).start()
    refused(INVALID, client.transfer.Transfer, source=pack(message('containerd.types.transfer.ImageImportStream', stream='broken')),
            destination=store())
    assert not client.images.List().images


def test_a_stream_needs_a_name_of_its_own(client):
    one = Stream(client, 'taken')
    call = client.streaming.Stream(iter([pack(message('containerd.services.streaming.v1.StreamInit', id='taken'))]))
    assert 'already exists' in refused(EXISTS, lambda: next(call))
    call = client.streaming.Stream(iter([pack(message('containerd.types.transfer.Data'))]))
    refused(INVALID, lambda: next(call))
    one.close()
    assert list(one.call) == []
    Stream(client, 'taken').close()


def test_a_client_that_goes_away_in_an_import(client, archive, side):
    stream = Stream(client, 'gone')
    failed = []

    def importing():
        try:
            client.transfer.Transfer(source=pack(message('containerd.types.transfer.ImageImportStream', stream='gone')),
                                     destination=store(), timeout=60)
        except grpc.RpcError as error:
            failed.append(error)
    thread = threading.Thread(target=importing)
    thread.start()
    stream.send(message('containerd.types.transfer.Data', data=archive.read_bytes()[:1000]))
    time.sleep(0.2)
    stream.call.cancel()
    thread.join(60)
    assert failed and failed[0].code() == INVALID
    assert not client.images.List().images
