# SPDX-License-Identifier: LGPL-2.1-or-later
"""Snapshots whose files have mapped owners, in containers with a user namespace: what containerd 2 asks a snapshotter with "remap-ids" for."""
import os
import shutil

import pytest

pytest.importorskip('grpc')
from common import INVALID, import_image, make_spec, refused, run  # noqa: E402

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root')
UIDS, GIDS = '0:100000:65536', '0:200000:65536'
LABELS = {'containerd.io/snapshot/uidmapping': UIDS, 'containerd.io/snapshot/gidmapping': GIDS}


def mapped(spec):
    spec['linux']['namespaces'].append({'type': 'user'})
    for field, mapping in (('uidMappings', UIDS), ('gidMappings', GIDS)):
        inside, outside, size = map(int, mapping.split(':'))
        spec['linux'][field] = [{'containerID': inside, 'hostID': outside, 'size': size}]
    return spec


def capabilities(client, name):
    return [list(one.capabilities) for one in client.introspection.Plugins(filters=['type==io.containerd.snapshotter.v1']).plugins if one.id == name][0]


@pytest.mark.parametrize('snapshotter', ['overlayfs', 'native'])
def test_a_container_whose_root_is_nobody_outside(client, side, archive, tmp_path, snapshotter):
    if 'remap-ids' not in capabilities(client, snapshotter):
        pytest.skip('mounts can not be mapped here')
    parent = import_image(client, side, archive)
    if snapshotter == 'native':
        done = side.ctr('-n', client.namespace, 'images', 'import', '--snapshotter', 'native', archive)
        assert done.returncode == 0, done
    leased = client.within(lease=client.leases.Create(id='l').lease.id)
    rootfs = leased.snapshots.Prepare(snapshotter=snapshotter, key='one', parent=parent, labels=LABELS).mounts
    spec = mapped(make_spec(client, side, 'one', 'sh', '-c', 'stat -c %u:%g / /bin/busybox; cat /proc/self/uid_map; touch /made && stat -c %u:%g /made; '
                            'touch /bin/also && chown 5:6 /bin/also && stat -c %u:%g /bin/also'))
    code, said = run(client, 'one', spec, rootfs, tmp_path, snapshotter=snapshotter, snapshot_key='one')
    lines = said.split('\n')
    assert code == 0 and lines[:2] == ['0:0', '0:0'], said
    assert lines[2].split() == ['0', '100000', '65536'] and lines[3:5] == ['0:0', '5:6'], said
    # On the disk what it wrote belongs to those whom it runs as.
    mounts = rootfs[0]
    upper = mounts.source if mounts.type == 'bind' else [one[9:] for one in mounts.options if one.startswith('upperdir=')][0]
    for name, owner in (('made', (100000, 200000)), ('bin/also', (100005, 200006))):
        status = os.lstat(f'{upper}/{name}')
        assert (status.st_uid, status.st_gid) == owner, name
    client.leases.Delete(id='l')


def test_a_read_only_view_of_one_layer(client, side, tmp_path):
    if 'remap-ids' not in capabilities(client, 'overlayfs'):
        pytest.skip('mounts can not be mapped here')
    leased = client.within(lease=client.leases.Create(id='l').lease.id)
    base = leased.snapshots.Prepare(snapshotter='overlayfs', key='made').mounts[0].source
    for name in ('bin', 'proc', 'dev'):
        os.mkdir(f'{base}/{name}')
    shutil.copy('/bin/busybox', f'{base}/bin/stat')
    leased.snapshots.Commit(snapshotter='overlayfs', key='made', name='base')
    rootfs = leased.snapshots.View(snapshotter='overlayfs', key='v', parent='base', labels=LABELS).mounts
    assert f'uidmap={UIDS}' in rootfs[0].options and f'gidmap={GIDS}' in rootfs[0].options
    spec = mapped(make_spec(client, side, 'v', 'stat', '-c', '%u:%g', '/', '/bin'))
    spec['root']['readonly'] = True
    spec['mounts'] = [one for one in spec['mounts'] if one['destination'] in ('/proc', '/dev')]
    code, said = run(client, 'v', spec, rootfs, tmp_path, snapshotter='overlayfs', snapshot_key='v')
    assert (code, said) == (0, '0:0\n0:0\n'), said
    client.leases.Delete(id='l')


@pytest.mark.parametrize('labels', [{'containerd.io/snapshot/uidmapping': UIDS}, {**LABELS, 'containerd.io/snapshot/gidmapping': '0:1'},
                                    {**LABELS, 'containerd.io/snapshot/uidmapping': '0:4294967294:5'}])
def test_a_mapping_that_is_none(client, labels):
    for snapshotter in ('overlayfs', 'native'):
        if 'remap-ids' in capabilities(client, snapshotter):
            assert 'uidmapping' in refused(INVALID, client.snapshots.Prepare, snapshotter=snapshotter, key='x', labels=labels)
    assert not list(client.snapshots.List(snapshotter='overlayfs'))
