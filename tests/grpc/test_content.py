# SPDX-License-Identifier: LGPL-2.1-or-later
"""The content service: blobs, and ingests of several writers."""
import hashlib
import os
import pathlib
import queue

import pytest

grpc = pytest.importorskip('grpc')
from client import message  # noqa: E402
from common import EXISTS, INVALID, NOT_FOUND, PRECONDITION, RANGE, refused  # noqa: E402


pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root')


@pytest.fixture(scope='module', autouse=True)
def memory_is_told():
    """What ASan keeps back of the memory that the daemon has freed is not what a reader costs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('ASAN_OPTIONS', os.environ.get('ASAN_OPTIONS', '') + ':quarantine_size_mb=1')
        yield


def test_content(client):
    data = os.urandom(3 << 20)
    digest = client.write(data, labels={'containerd.io/gc.root': 'x'})
    assert digest == 'sha256:' + hashlib.sha256(data).hexdigest()
    assert client.read(digest) == data
    assert client.read(digest, offset=1000, size=70000) == data[1000:71000]
    assert client.read(digest, offset=len(data)) == b''
    refused(RANGE, client.content.Read, digest=digest, offset=len(data) + 1)
    info = client.content.Info(digest=digest).info
    assert info.size == len(data) and info.labels['containerd.io/gc.root'] == 'x'
    assert refused(NOT_FOUND, client.content.Info, digest='sha256:' + '0' * 64) == f'content digest sha256:{"0" * 64}: not found'
    assert 'failed validation' in refused(INVALID, client.content.Info, digest='sha256:../../../etc/passwd')
    info = client.content.Update(info={'digest': digest, 'labels': {'n': 'm'}}, update_mask={'paths': ['labels.n']}).info
    assert dict(info.labels) == {'containerd.io/gc.root': 'x', 'n': 'm'}
    assert [one.digest for block in client.content.List() for one in block.info] == [digest]
    assert not [one for block in client.within('elsewhere').content.List() for one in block.info]
    client.content.Delete(digest=digest)
    refused(NOT_FOUND, client.content.Read, digest=digest)


def rss(pid):
    """Memory of its own: program text is mapped as it is used."""
    for line in pathlib.Path(f'/proc/{pid}/status').read_text(encoding='ascii').splitlines():
        if line.startswith('RssAnon:'):
            return int(line.split()[1]) * 1024
    raise AssertionError('no RssAnon')


@pytest.mark.skipif(os.environ.get('SANITIZER') == 'thread', reason="ThreadSanitizer's own memory grows with ours")
def test_slow_readers_of_a_large_blob_cost_little(client, side):
    """10 GB, sparse, for eight clients that read the first piece and no more."""
    digest = client.write(b'x', labels={'containerd.io/gc.root': 'x'})
    os.truncate(f'{side.dir}/r/content-local/blobs/sha256/{digest.removeprefix("sha256:")}', 10 << 30)
    before = rss(side.process.pid)
    calls = [client.content.Read(digest=digest, timeout=None) for _ in range(8)]
    for call in calls:
        assert next(call).data[:2] == b'x\0'
    assert client.read(digest, offset=(10 << 30) - 70000) == bytes(70000)
    assert rss(side.process.pid) - before < 8 * (3 << 20) + (16 << 20)
    for call in calls:
        call.cancel()
    client.content.Delete(digest=digest)


def test_an_ingest_goes_on_where_it_ended(client):
    data = os.urandom(100000)
    kind = client.content.message

    def write(*requests):
        return list(client.content.Write(iter([kind('WriteContentRequest', ref='slow', **one) for one in requests])))
    assert write({'action': 1, 'data': data[:40000]})[0].offset == 40000
    status = client.content.Status(ref='slow').status
    assert status.offset == 40000 and status.ref == 'slow'
    assert [one.ref for one in client.content.ListStatuses().statuses] == ['slow']
    assert write({'action': 0})[0].offset == 40000
    refused(RANGE, write, {'action': 1, 'offset': 10, 'data': b'x'})
    done = write({'action': 1, 'offset': 40000, 'data': data[40000:]}, {'action': 2, 'offset': 100000, 'labels': {'containerd.io/gc.root': ''}})
    assert done[-1].digest == 'sha256:' + hashlib.sha256(data).hexdigest()
    refused(NOT_FOUND, client.content.Status, ref='slow')
    write({'action': 1, 'data': b'abandoned'})
    client.content.Abort(ref='slow')
    refused(NOT_FOUND, client.content.Abort, ref='slow')


def test_an_abort_under_a_writer(client):
    hold = queue.Queue()
    writer = client.content.Write(iter(hold.get, None))
    hold.put(client.content.message('WriteContentRequest', action=1, ref='taken', data=b'abc'))
    next(writer)
    client.content.Abort(ref='taken')
    refused(NOT_FOUND, client.content.Status, ref='taken')
    assert client.write(b'other', ref='taken', labels={'containerd.io/gc.root': ''}) == 'sha256:' + hashlib.sha256(b'other').hexdigest()
    hold.put(client.content.message('WriteContentRequest', action=2, ref='taken', offset=3))
    assert 'aborted' in refused(grpc.StatusCode.ABORTED, next, writer)
    refused(NOT_FOUND, client.content.Info, digest='sha256:' + hashlib.sha256(b'abc').hexdigest())


def test_one_writer_a_ref(client):
    hold = queue.Queue()
    first = client.content.Write(iter(hold.get, None))
    hold.put(client.content.message('WriteContentRequest', action=0, ref='busy'))
    next(first)
    assert 'busy' in refused(grpc.StatusCode.UNAVAILABLE, client.write, b'x', ref='busy')
    hold.put(None)
    list(first)


def test_content_that_exists_need_not_be_sent(client):
    digest = client.write(b'shared', labels={'containerd.io/gc.root': 'x'})
    refused(EXISTS, client.write, b'shared', expected=digest)
    refused(EXISTS, client.within(client.namespace + '-b').write, b'', expected=digest)
    assert client.within(client.namespace + '-b').read(digest) == b'shared'
    assert 'unexpected commit' in refused(PRECONDITION, client.write, b'other', expected='sha256:' + '1' * 64)
