# SPDX-License-Identifier: LGPL-2.1-or-later
"""The Mounts service: what is mounted for clients, for how long, and that the task service uses it."""
import os
import pathlib
import subprocess
import time

import pytest

pytest.importorskip('grpc')
pytest.importorskip('gi')
from bus import Bus, v  # noqa: E402
from common import EXISTS, INVALID, NOT_FOUND, PRECONDITION, UNIMPLEMENTED, any_spec, container, import_image, make_spec, refused, run  # noqa: E402
from sides import Side  # noqa: E402

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root')
TMPFS = {'type': 'tmpfs', 'source': 'tmpfs', 'options': ['size=64k', 'mode=0755']}


def mounted(path):
    return any(line.split()[1] == path for line in pathlib.Path('/proc/self/mounts').read_text().splitlines())


def gone(path):
    for _ in range(600):
        if not mounted(path) and not os.path.exists(path):
            return True
        time.sleep(0.1)
    return False


@pytest.fixture
def leased(client):
    return client.within(lease=client.leases.Create(id='held').lease.id)


def test_what_the_system_can_mount_by_itself(client):
    assert 'not implemented' in refused(UNIMPLEMENTED, client.mounts.Activate, name='x', mounts=[{'type': 'overlay', 'source': 'overlay'}])
    assert 'magic' in refused(UNIMPLEMENTED, client.mounts.Activate, name='x', mounts=[{'type': 'magic/ext4', 'source': '/x'}])
    refused(INVALID, client.mounts.Activate, name='x', mounts=[])
    refused(INVALID, client.mounts.Activate, name='', mounts=[TMPFS], temporary=True)
    for call in (client.mounts.Info, client.mounts.Deactivate):
        refused(NOT_FOUND, call, name='x')
    refused(NOT_FOUND, client.mounts.Update, info={'name': 'x'})
    assert not list(client.mounts.List())


def test_a_temporary_activation(leased, side):
    info = leased.mounts.Activate(name='look', mounts=[TMPFS], labels={'a': 'b'}, temporary=True).info
    point = info.active[0].mount_point
    assert point.startswith(f'{side.dir}/s/mounts-local/') and mounted(point) and info.active[0].mounted_at.seconds > 0
    assert [(one.type, one.source, list(one.options)) for one in info.system] == [('bind', point, ['rbind'])]
    assert leased.mounts.Info(name='look').info == info and dict(info.labels) == {'a': 'b'}
    assert [one.info for one in leased.mounts.List()] == [info]
    assert [one.info.name for one in leased.mounts.List(filters=['labels.a==b'])] == ['look']
    assert not list(leased.mounts.List(filters=['labels.a==c']))
    assert not list(leased.within('elsewhere').mounts.List())
    refused(EXISTS, leased.mounts.Activate, name='look', mounts=[TMPFS], temporary=True)
    updated = leased.mounts.Update(info={'name': 'look', 'labels': {'c': 'd'}}, update_mask={'paths': ['labels.c']}).info
    assert dict(updated.labels) == {'a': 'b', 'c': 'd'} and updated.active == info.active
    leased.mounts.Deactivate(name='look')
    assert not mounted(point) and not os.path.exists(point)
    refused(NOT_FOUND, leased.mounts.Info, name='look')


def test_mounts_that_name_each_other(leased, side):
    """Two file systems of ours, a directory in one of them, and an overlay of both that is left for the caller."""
    one, two = ({**TMPFS, 'options': [*TMPFS['options'], f'nr_inodes={n}']} for n in (10, 20))
    overlay = {'type': 'format/mkdir/overlay', 'source': 'overlay', 'target': '', 'options': [
        'lowerdir={{ overlay 1 0 }}', 'ro', 'X-containerd.mkdir.path={{ mount 0 }}/made:0751:5:6']}
    info = leased.mounts.Activate(name='stack', mounts=[one, two, overlay]).info
    points = [active.mount_point for active in info.active]
    assert len(points) == 2 and all(mounted(point) for point in points)
    assert [(left.type, list(left.options)) for left in info.system] == [('overlay', [f'lowerdir={points[1]}:{points[0]}', 'ro'])]
    made = os.stat(f'{points[0]}/made')
    assert (made.st_mode & 0o7777, made.st_uid, made.st_gid) == (0o751, 5, 6)
    leased.mounts.Deactivate(name='stack')
    assert not any(mounted(point) for point in points)
    for options in (['lowerdir={{ mount 7 }}'], ['lowerdir={{ shell 0 }}'], ['lowerdir={{ mount 0'], ['X-containerd.mkdir.path=/etc/made'],
                    ['X-containerd.mkdir.path={{ mount 0 }}/../../../../made'], ['X-containerd.mkdir.mode=1']):
        bad = {**overlay, 'options': options}
        refused(INVALID, leased.mounts.Activate, name='bad', mounts=[one, bad])
        refused(NOT_FOUND, leased.mounts.Info, name='bad')
    assert os.listdir(f'{side.dir}/s/mounts-local') == [] and not os.path.exists('/etc/made') and not os.path.exists(f'{side.dir}/made')


def test_what_nobody_holds_is_unmounted(client, side):
    """By leases, by a container that lives, or not at all."""
    lease = client.leases.Create(id='l').lease.id
    held = client.within(lease=lease).mounts.Activate(name='held', mounts=[TMPFS], temporary=True).info.active[0].mount_point
    client.containers.Create(container=container(client, 'owner'))
    owned = client.mounts.Activate(name='owned', mounts=[TMPFS], temporary=True,
                                   labels={'containerd.io/gc.bref.container': 'owner'}).info.active[0].mount_point
    free = client.mounts.Activate(name='free', mounts=[TMPFS], temporary=True).info.active[0].mount_point
    def collect():
        client.leases.Delete(id=client.leases.Create(id='none').lease.id, sync=True)
    collect()
    assert gone(free)
    refused(NOT_FOUND, client.mounts.Info, name='free')
    assert mounted(held) and mounted(owned)
    client.containers.Delete(id='owner')
    collect()
    assert gone(owned) and mounted(held)
    client.leases.Delete(id=lease, sync=True)
    assert gone(held)


@pytest.fixture
def bus(side):
    one = Bus(side)
    yield one
    one.close()


def words(mount):
    """A mount as D-Bus has it."""
    return {'type': mount.type, 'source': mount.source, 'options': list(mount.options)}


def test_what_is_activated_here_is_there_on_dbus(leased, side, bus):
    path = f'/org/gantry1/mount/{leased.namespace.replace("-", "_2d")}_2fseen_2fhere'
    ns = f'/org/gantry1/namespace/{leased.namespace.replace("-", "_2d")}'
    info = leased.mounts.Activate(name='seen/here', mounts=[TMPFS], labels={'a': 'b'}, temporary=True).info
    told = bus.until('InterfacesAdded', path)[1]['org.gantry1.Mount']
    point = info.active[0].mount_point
    assert [one['mount-point'] for one in told['Active']] == [point] and words(info.active[0].mount).items() <= told['Active'][0].items()
    assert [{**one, 'target': ''} for one in told['System']] == [{**words(info.system[0]), 'target': ''}]
    assert (told['Name'], told['Namespace'], told['Labels']) == ('seen/here', leased.namespace, {'a': 'b'})
    properties = bus.properties(path, 'org.gantry1.Mount')
    assert {**properties, 'CreatedAt': 0, 'UpdatedAt': 0} == {**told, 'CreatedAt': 0, 'UpdatedAt': 0} and properties['CreatedAt'] > 0
    assert bus.managed()[path]['org.gantry1.Mount'] == properties
    listed, = bus.call(ns, 'org.gantry1.Namespace', 'ListMounts', '(a{sv})', {'filters': v('as', ['labels.a==b'])})
    assert [(one['path'], one['name'], one['active']) for one in listed] == [(path, 'seen/here', properties['Active'])]
    assert bus.call(path, 'org.gantry1.Mount', 'Inspect')[0] == listed[0]
    assert bus.call(ns, 'org.gantry1.Namespace', 'ListMounts', '(a{sv})', {'filters': v('as', ['labels.a==c'])}) == ([],)
    leased.mounts.Update(info={'name': 'seen/here', 'labels': {'c': 'd'}}, update_mask={'paths': ['labels.c']})
    assert bus.until('PropertiesChanged', 'org.gantry1.Mount', at=path)[1] == {'Labels': {'a': 'b', 'c': 'd'}}
    bus.call(path, 'org.gantry1.Mount', 'SetLabels', '(a{ss})', {'a': '', 'e': 'f'})
    assert dict(leased.mounts.Info(name='seen/here').info.labels) == {'c': 'd', 'e': 'f'}
    # What garbage collection takes is told, too.
    leased.leases.Delete(id='held', sync=True)
    bus.until('InterfacesRemoved', path)
    assert gone(point)
    assert 'seen/here' in bus.refused('NotFound', path, 'org.gantry1.Mount', 'Inspect')


def test_what_is_activated_on_dbus_is_here(client, side, bus):
    ns = f'/org/gantry1/namespace/{client.namespace.replace("-", "_2d")}'
    tmpfs = {'type': v('s', 'tmpfs'), 'source': v('s', 'tmpfs'), 'options': v('as', ['size=64k'])}

    def activate(name, mounts, **options):
        return (ns, 'org.gantry1.Namespace', 'ActivateMounts', '(saa{sv}a{sv})', name, mounts, options)

    temporary = {'temporary': v('b', True)}
    path, = bus.call(*activate('mine', [tmpfs], **temporary))
    assert path == bus.call(ns, 'org.gantry1.Namespace', 'GetMount', '(s)', 'mine')[0] == bus.until('InterfacesAdded', path)[0]
    info = client.mounts.Info(name='mine').info
    point = info.active[0].mount_point
    assert mounted(point) and list(info.active[0].mount.options) == ['size=64k'] and list(info.labels) == ['containerd.io/gc.root']
    owned, = bus.call(*activate('owned', [tmpfs], **temporary, labels=v('a{ss}', {'containerd.io/gc.bref.container': 'nobody'})))
    bus.until('InterfacesAdded', owned)
    client.leases.Delete(id=client.leases.Create(id='none').lease.id, sync=True)
    bus.until('InterfacesRemoved', owned)
    assert mounted(point) and [one.info.name for one in client.mounts.List()] == ['mine']
    # Until a time, or as long as a lease.
    bus.call(*activate('timed', [tmpfs], **temporary, labels=v('a{ss}', {'containerd.io/gc.expire': '2100-01-01T00:00:00Z'})))
    bus.call(*activate('leased', [tmpfs], **temporary, lease=v('s', client.leases.Create(id='l').lease.id)))
    client.leases.Delete(id=client.leases.Create(id='none').lease.id, sync=True)
    assert {one.info.name for one in client.mounts.List()} == {'mine', 'timed', 'leased'}
    client.leases.Delete(id='l', sync=True)
    assert {one.info.name for one in client.mounts.List()} == {'mine', 'timed'}
    client.mounts.Deactivate(name='timed')
    for name in ('leased', 'timed'):
        bus.until('InterfacesRemoved', path.replace('mine', name))
    del bus.seen[:]
    assert '"magic"' in bus.refused('InvalidArgument', *activate('x', [tmpfs], magic=v('b', True)))
    assert '"temporary"' in bus.refused('InvalidArgument', *activate('x', [tmpfs], temporary=v('s', 'yes')))
    assert '"colour"' in bus.refused('InvalidArgument', *activate('x', [{**tmpfs, 'colour': v('s', 'red')}], **temporary))
    assert 'type' in bus.refused('InvalidArgument', *activate('x', [{'source': v('s', 'tmpfs')}], **temporary))
    assert 'system' in bus.refused('NotImplemented', *activate('x', [tmpfs]))
    assert 'mine' in bus.refused('AlreadyExists', *activate('mine', [tmpfs], **temporary))
    bus.refused('NotFound', *activate('x', [tmpfs], **temporary, lease=v('s', 'none')))
    # One that fails amid it is not there for anybody at any time.
    bus.refused('InvalidArgument', *activate('x', [tmpfs, {'type': v('s', 'format/bind'), 'source': v('s', '{{ mount 7 }}')}], **temporary))
    assert [one.info.name for one in client.mounts.List()] == ['mine']
    bus.call(path, 'org.gantry1.Mount', 'Deactivate')
    bus.until('InterfacesRemoved', path)
    assert not mounted(point) and not any(name == 'InterfacesAdded' for _, name, _ in bus.seen), bus.seen
    refused(NOT_FOUND, client.mounts.Info, name='mine')
    bus.refused('NotFound', path, 'org.gantry1.Mount', 'Deactivate')


def loop_devices_work():
    return os.path.exists('/dev/loop-control') and os.path.exists('/sbin/mke2fs')


@pytest.fixture
def image(tmp_path):
    """An ext4 image with busybox in it."""
    if not loop_devices_work():
        pytest.skip('needs loop devices and mke2fs')
    root = tmp_path / 'root'
    for name in ('bin', 'proc', 'dev', 'sys', 'run', 'etc', 'tmp'):
        (root / name).mkdir(parents=True)
    subprocess.run(['cp', '/bin/busybox', root / 'bin/busybox'], check=True)
    subprocess.run(['/sbin/mke2fs', '-q', '-t', 'ext4', '-d', root, tmp_path / 'image', '16M'], check=True)
    return tmp_path / 'image'


def test_a_task_on_an_image_file(client, side, image, tmp_path):
    """Create is given a loop device and a file system on it."""
    mounts = [{'type': 'loop', 'source': str(image)}, {'type': 'format/ext4', 'source': '{{ mount 0 }}'}]
    spec = make_spec(client, side, 'one', '/bin/busybox', 'sh', '-c', 'echo written >/file; /bin/busybox grep " / " /proc/mounts')
    code, said = run(client, 'one', spec, mounts, tmp_path)
    assert code == 0 and ' ext4 ' in said, said
    for _ in range(600):
        if not list(client.mounts.List()):
            break
        time.sleep(0.1)
    assert not list(client.mounts.List()) and os.listdir(f'{side.dir}/s/mounts-local') == []
    assert str(image) not in subprocess.run(['losetup', '-a'], capture_output=True, text=True, check=False).stdout
    again = [mounts[0], {**mounts[1], 'options': ['ro']}]
    code, said = run(client, 'two', make_spec(client, side, 'two', '/bin/busybox', 'cat', '/file'), again, tmp_path)
    assert (code, said) == (0, 'written\n'), said


def test_file_systems_that_are_made(leased, side):
    """An image of its own for a client, by the size that it says, once."""
    path = f'{side.dir}/r/made.img'
    uuid = '11111111-2222-3333-4444-555555555555'
    options = ['X-containerd.mkfs.size=16MiB', f'X-containerd.mkfs.uuid={uuid}', 'loop']
    for content in (None, 'kept'):
        info = leased.mounts.Activate(name='made', mounts=[{'type': 'mkfs/ext4', 'source': path, 'options': options}], temporary=True).info
        point = info.active[0].mount_point
        assert mounted(point) and os.stat(path).st_size == 16 << 20
        file = pathlib.Path(point, 'file')
        assert (file.read_text() if file.exists() else None) == content
        file.write_text('kept')
        leased.mounts.Deactivate(name='made')
    assert uuid in subprocess.run(['/sbin/dumpe2fs', '-h', path], capture_output=True, text=True, check=True).stdout
    os.unlink(path)
    # As a loop device for what the caller mounts by itself.
    stack = [{'type': 'mkfs/loop', 'source': path, 'options': ['X-containerd.mkfs.size=1048576', 'X-containerd.mkfs.fs=ext2']},
             {'type': 'format/ext2', 'source': '{{ mount 0 }}'}]
    assert os.path.realpath(leased.mounts.Activate(name='made', mounts=stack).info.system[0].source).startswith('/dev/loop')
    leased.mounts.Deactivate(name='made')
    os.unlink(path)
    for wrong in ('size=1', 'size=1YiB', 'size=-1', 'size=99999999999999999999', 'size=17TiB', 'fs=vfat', 'fs=../x', 'uuid=no', 'label=x', ''):
        refused(INVALID, leased.mounts.Activate, name='made',
                mounts=[{'type': 'mkfs/ext4', 'source': path, 'options': ['X-containerd.mkfs.size=1MiB', f'X-containerd.mkfs.{wrong}', 'loop']}])
    for source, size in ((path, []), ('/etc/made.img', options), (f'{side.dir}/r/../../made.img', options), (f'{side.dir}/r', options), ('', options)):
        refused(INVALID, leased.mounts.Activate, name='made', mounts=[{'type': 'mkfs/ext4', 'source': source, 'options': size}])
    # Too small for what is asked of mkfs: its own words, and nothing is left.
    said = refused(PRECONDITION, leased.mounts.Activate, name='made',
                   mounts=[{'type': 'mkfs/ext4', 'source': path, 'options': ['X-containerd.mkfs.size=64KiB', 'loop']}], temporary=True)
    assert 'mkfs.ext4' in said and not os.path.exists(path) and not list(leased.mounts.List())


def test_what_outlives_the_daemon_and_what_does_not(tmp_path):
    """An activation is there after a restart; one that a crash cut off, and a directory that no record names, are not."""
    side = Side('gantry').start()
    try:
        from client import Client
        client = Client(side.address, 'restarted')
        client = client.within(lease=client.leases.Create(id='l').lease.id)
        info = client.mounts.Activate(name='stays', mounts=[TMPFS], temporary=True).info
        side.process.kill()
        side.process.wait()
        stray = f'{side.dir}/s/mounts-local/stray/000'
        os.makedirs(stray)
        subprocess.run(['mount', '-t', 'tmpfs', 'tmpfs', stray], check=True)
        side.start()
        client = Client(side.address, 'restarted')
        assert client.mounts.Info(name='stays').info == info and mounted(info.active[0].mount_point)
        assert not mounted(stray) and not os.path.exists(f'{side.dir}/s/mounts-local/stray')
        client.mounts.Deactivate(name='stays')
    finally:
        side.stop()
