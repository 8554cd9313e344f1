# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tasks made from checkpoints in content. Where criu runs they are really restored (tests/vm); everywhere, what can't be is told, and
nothing is left of it."""
import io
import os
import tarfile
import time

import pytest

grpc = pytest.importorskip('grpc')
from common import INVALID, NOT_FOUND, any_spec, container, import_image, make_spec, refused  # noqa: E402

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root')
CRIU = 'application/vnd.containerd.container.criu.checkpoint.criu.tar'


@pytest.fixture
def made(client, side, archive):
    """A container with a snapshot. Returns: its mounts."""
    parent = import_image(client, side, archive)
    rootfs = client.snapshots.Prepare(snapshotter='overlayfs', key='one', parent=parent, labels={'containerd.io/gc.root': ''}).mounts
    client.containers.Create(container=container(client, 'one', spec=any_spec(make_spec(client, side, 'one', 'sleep', '1000')),
                                                 snapshotter='overlayfs', snapshot_key='one'))
    return rootfs


def pack_checkpoint(client, files):
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode='w') as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
    data = tar.getvalue()
    return {'media_type': CRIU, 'digest': client.write(data, ref='checkpoint', labels={'containerd.io/gc.root': ''}), 'size': len(data)}


def unpacked(side, client):
    path = f'{side.dir}/s/tasks-local/restore/{client.namespace}'
    return os.listdir(path) if os.path.isdir(path) else []


def test_a_checkpoint_waits_for_the_start(client, side, made):
    checkpoint = pack_checkpoint(client, {'inventory.img': b'none', 'descriptors.json': b'["/dev/null", "/dev/null", "/dev/null"]'})
    client.tasks.Create(container_id='one', rootfs=made, checkpoint=checkpoint)
    assert client.tasks.Get(container_id='one').process.status == 1
    assert unpacked(side, client) == ['one']
    assert sorted(os.listdir(f'{side.dir}/s/tasks-local/restore/{client.namespace}/one')) == ['descriptors.json', 'inventory.img']
    with pytest.raises(grpc.RpcError) as caught:
        client.tasks.Start(container_id='one')
    assert 'criu' in caught.value.details().lower(), caught.value
    client.tasks.Delete(container_id='one')
    for _ in range(600):
        if unpacked(side, client) == []:
            break
        time.sleep(0.1)
    assert unpacked(side, client) == []


def test_what_is_no_checkpoint(client, side, made):
    checkpoint = pack_checkpoint(client, {'a': b''})
    assert 'unsupported checkpoint type' in refused(INVALID, client.tasks.Create, container_id='one', rootfs=made,
                                                    checkpoint={**checkpoint, 'media_type': 'text/plain'})
    refused(INVALID, client.tasks.Create, container_id='one', rootfs=made, checkpoint={**checkpoint, 'digest': '/etc'})
    refused(NOT_FOUND, client.tasks.Create, container_id='one', rootfs=made, checkpoint={**checkpoint, 'digest': 'sha256:' + '0' * 64})
    digest = client.write(b'no tar at all' * 100, ref='rubbish', labels={'containerd.io/gc.root': ''})
    refused(INVALID, client.tasks.Create, container_id='one', rootfs=made, checkpoint={**checkpoint, 'digest': digest, 'size': 1300})
    refused(NOT_FOUND, client.tasks.Get, container_id='one')
    assert unpacked(side, client) == []
