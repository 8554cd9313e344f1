# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every command of Debian's ctr, on Gantry and on Debian's containerd: same exit codes, same output."""
import hashlib
import json
import os
import pathlib
import pty
import select
import shutil
import socket
import subprocess
import time

import pytest

from conftest import record
from sides import Side, normal

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason='needs root'),
    pytest.mark.skipif(shutil.which('ctr') is None or shutil.which('containerd') is None, reason='needs Debian\'s containerd and ctr'),
]
IMAGE = 'docker.io/library/busybox:latest'
PID = (r'\b\d{2,7}\b', 'PID')


@pytest.fixture(scope='module')
def archive():
    work = pathlib.Path(f'/tmp/gantry-ctr.{os.getpid()}')
    work.mkdir()
    tool = pathlib.Path(__file__).parent.parent.parent / 'tools/make-busybox-image'
    subprocess.run([tool, work / 'oci.tar'], check=True)
    yield work / 'oci.tar'
    shutil.rmtree(work)


@pytest.fixture(scope='module')
def sides(archive):
    both = [Side('gantry').start(), Side('containerd').start()]
    yield both
    for side in both:
        side.stop()


@pytest.fixture(scope='module')
def images(sides, archive):
    """Both have the image."""
    for side in sides:
        done = side.ctr('images', 'import', archive)
        assert done.returncode == 0, (side.name, done, side.read_log())
    return sides


def both(sides, *args, extra=(), ordered=True, compare_err=True, ok=None, **kwargs):
    """Runs ctr ARGS on both and compares. Returns: Gantry's result."""
    ours, theirs = [side.ctr(*args, **kwargs) for side in sides]
    told = f'ctr {" ".join(map(str, args))}\nGantry {ours}\ncontainerd {theirs}'
    assert ours.returncode == theirs.returncode, told
    for stream in ['out', 'err'] if compare_err else ['out']:
        lines = [normal(getattr(result, stream), side, extra) for result, side in zip((ours, theirs), sides)]
        if not ordered:
            lines = [sorted(some) for some in lines]
        assert lines[0] == lines[1], told
    if ok is not None:
        assert (ours.returncode == 0) == ok, told
    record('ctr', command_of(args), ours.returncode)
    return ours


def command_of(args):
    """The words that name the command, without options and arguments."""
    words = [str(word) for word in args]
    while words[0].startswith('-'):
        words = words[2:]
    if words[0] in ('run', 'version', 'info', 'events', 'install'):
        return words[0]
    rest = words[1:]
    while rest[0].startswith('-'):
        rest = rest[2:]
    return f'{words[0]} {rest[0]}'


def collect(sides, namespace='@NS@'):
    """Has both collect garbage, which each does at its own time otherwise."""
    both(sides, '-n', namespace, 'leases', 'create', '--id', 'collect', ok=True)
    both(sides, '-n', namespace, 'leases', 'rm', '--sync', 'collect', ok=True)


# The daemon

def test_version(sides):
    ours, theirs = [side.ctr('version') for side in sides]
    assert ours.returncode == theirs.returncode == 0
    shape = [[line.split(':')[0].strip() for line in result.out.splitlines()] for result in (ours, theirs)]
    assert shape[0] == shape[1]
    record('ctr', 'version', 0)


def test_info(sides):
    both(sides, 'info')  # 1.6 has none; later ones do


def test_plugins(sides):
    ours, theirs = [side.ctr('plugins', 'ls') for side in sides]
    assert ours.returncode == theirs.returncode == 0
    wanted = {('io.containerd.snapshotter.v1', 'overlayfs'), ('io.containerd.snapshotter.v1', 'native'),
              ('io.containerd.content.v1', 'content'), ('io.containerd.metadata.v1', 'bolt'),
              ('io.containerd.runtime.v2', 'task'), ('io.containerd.gc.v1', 'scheduler'), ('io.containerd.event.v1', 'exchange')}
    rows = [{tuple(line.split()[:2]): line.split()[2:] for line in result.out.splitlines()[1:]} for result in (ours, theirs)]
    for plugin in wanted:
        assert rows[0][plugin] == rows[1][plugin], plugin
    services = {key for key in rows[1] if key[0] in ('io.containerd.grpc.v1', 'io.containerd.service.v1')}
    assert {key for key in services if rows[1][key][-1] == 'ok'} <= set(rows[0])
    record('ctr', 'plugins ls', 0)


def test_plugins_in_detail(sides):
    ours = sides[0].ctr('plugins', 'ls', '-d')
    assert ours.returncode == 0
    assert 'overlayfs' in ours.out and 'Exports:' in ours.out and 'Capabilities:' in ours.out


# Namespaces

def test_namespaces(sides):
    both(sides, 'namespaces', 'create', 'one', 'a=b', 'c=d', ok=True)
    both(sides, 'namespaces', 'create', 'one', ok=False)
    both(sides, 'namespaces', 'create', 'no/slash', ok=False)
    both(sides, 'namespaces', 'create', 'x' * 77, ok=False)
    both(sides, 'namespaces', 'ls', ok=True)
    both(sides, 'namespaces', 'ls', '-q', ok=True)
    both(sides, 'namespaces', 'label', 'one', 'a=z', 'c=', 'e=f', ok=True)
    both(sides, 'namespaces', 'ls', ok=True)
    both(sides, 'namespaces', 'rm', 'one', ok=True)
    both(sides, 'namespaces', 'rm', 'one')
    both(sides, 'namespaces', 'ls', ok=True)


def test_a_namespace_with_something_in_it_stays(sides):
    both(sides, '-n', '@NS@-full', 'leases', 'create', '--id', 'l', ok=True)
    both(sides, '-n', '@NS@-full', 'content', 'ingest', 'thing', stdin=open('/etc/hostname', 'rb'))
    both(sides, 'namespaces', 'rm', '@NS@-full', ok=False)


# Content

def ingest(side, ref, data):
    """Puts @data into content, and a label on it so that it stays: Gantry collects what nothing holds sooner than containerd does."""
    blob = 'sha256:' + hashlib.sha256(data).hexdigest()
    pathlib.Path(side.dir, 'blob').write_bytes(data)
    for _ in range(10):
        with open(f'{side.dir}/blob', 'rb') as stdin:
            done = side.ctr('content', 'ingest', '--expected-digest', blob, '--expected-size', len(data), ref, stdin=stdin)
        assert done.returncode == 0, done
        if side.ctr('content', 'label', blob, 'containerd.io/gc.root=kept').returncode == 0:
            return blob
    raise AssertionError('garbage collection was always faster')


def test_content(sides):
    blob = [ingest(side, 'ref-1', b'some content\n') for side in sides][0]
    both(sides, 'content', 'ls', ok=True)
    both(sides, 'content', 'ls', '-q', ok=True)
    assert both(sides, 'content', 'get', blob, ok=True).out == 'some content\n'
    both(sides, 'content', 'get', 'sha256:' + '0' * 64, ok=False)
    both(sides, 'content', 'get', 'nonsense', ok=False)
    both(sides, 'content', 'label', blob, 'x=y', ok=True)
    both(sides, 'content', 'ls', 'labels.x==y', ok=True)
    both(sides, 'content', 'ls', 'labels.x==n', ok=True)
    both(sides, 'content', 'ls', 'labels.x~=y.*', '-q')
    # The words about a broken filter are each daemon's own.
    both(sides, 'content', 'ls', 'labels.x~~nonsense', ok=False, compare_err=False)
    both(sides, 'content', 'active', ok=True)
    both(sides, 'content', 'rm', blob, ok=True)
    both(sides, 'content', 'rm', blob)
    both(sides, 'content', 'ls', ok=True)


def test_content_of_wrong_size_or_digest(sides):
    for args in (['--expected-size', '999'], ['--expected-digest', 'sha256:' + '1' * 64]):
        results = []
        for side in sides:
            pathlib.Path(side.dir, 'blob').write_bytes(b'some content\n')
            with open(f'{side.dir}/blob', 'rb') as stdin:
                results.append(side.ctr('content', 'ingest', *args, 'ref-2', stdin=stdin))
        assert results[0].returncode == results[1].returncode != 0
        assert normal(results[0].err, sides[0]) == normal(results[1].err, sides[1])


def test_content_that_is_being_written(sides):
    """An ingest whose writer waits, as "content active" shows it; and nobody else may write it."""
    writers = []
    for side in sides:
        read, write = os.pipe()
        writers.append((side.popen('content', 'ingest', 'slow', stdin=read, stdout=subprocess.PIPE, stderr=subprocess.PIPE), write))
        os.close(read)
        os.write(write, b'x' * 1000)
        wait_for(lambda: 'slow' in side.ctr('content', 'active').out)
    # What could not be verified is gone on Gantry, and waits for nothing on containerd.
    both(sides, 'content', 'active', ok=True, extra=[(r'[\d.]+ ?k?B', 'SIZE'), (r'ref-2\s+SIZE\s+AGE', '')])
    for process, write in writers:
        os.close(write)
        assert process.wait(60) == 0, process.stderr.read()
        process.communicate()
    both(sides, 'content', 'active', ok=True, extra=[(r'ref-2.*', '')])


def test_content_prune(images):
    both(images, 'content', 'prune', 'references', '--dry', ok=True, ordered=False)
    both(images, 'images', 'check', ok=True)


def test_content_edit(sides):
    """An editor that changes one word. The command of 1.6 itself fails, in the same way on both."""
    for side in sides:
        editor = pathlib.Path(side.dir, 'editor')
        editor.write_text('#!/bin/sh\nsed -i s/two/three/ "$1"\n')
        editor.chmod(0o755)
    blob = [ingest(side, 'ref-3', b'one two\n') for side in sides][0]
    both(sides, 'content', 'edit', '--editor', '@DIR@/editor', blob)
    both(sides, 'content', 'rm', blob, ok=True)


# Images

def test_images(images):
    both(images, 'images', 'ls', ok=True)
    both(images, 'images', 'ls', '-q', ok=True)
    both(images, 'images', 'ls', f'name=={IMAGE}', ok=True)
    both(images, 'images', 'ls', 'name~=busy', ok=True)
    both(images, 'images', 'ls', 'name==none', ok=True)
    both(images, 'images', 'tag', IMAGE, 'example.com/two:1', ok=True)
    both(images, 'images', 'tag', IMAGE, 'example.com/two:1', ok=False)
    both(images, 'images', 'tag', '--force', IMAGE, 'example.com/two:1', ok=True)
    both(images, 'images', 'tag', 'example.com/none:1', 'example.com/three:1', ok=False)
    both(images, 'images', 'label', 'example.com/two:1', 'a=b', ok=True)
    both(images, 'images', 'ls', 'labels.a==b', ok=True)
    both(images, 'images', 'label', 'example.com/two:1', 'a=', ok=True)
    both(images, 'images', 'ls', ok=True)
    both(images, 'images', 'check', ok=True, ordered=False)
    both(images, 'images', 'check', '--quiet', ok=True, ordered=False)
    both(images, 'images', 'rm', '--sync', 'example.com/two:1', ok=True)
    both(images, 'images', 'rm', 'example.com/two:1')
    both(images, 'images', 'ls', ok=True)


def test_export_and_import(images):
    both(images, 'images', 'export', '@DIR@/out.tar', IMAGE, ok=True)
    both(images, 'images', 'export', '@DIR@/none.tar', 'example.com/none:1', ok=False)
    both(images, '-n', '@NS@-other', 'images', 'import', '--base-name', 'example.com/again', '@DIR@/out.tar', ok=True)
    both(images, '-n', '@NS@-other', 'images', 'ls', ok=True)
    collect(images, '@NS@-other')
    both(images, '-n', '@NS@-other', 'content', 'ls', ok=True, extra=[(r'\bsha256:\S+\s+\S+ B', 'BLOB')])


def test_import_without_unpacking(images, archive):
    both(images, '-n', '@NS@-packed', 'images', 'import', '--no-unpack', archive, ok=True)
    both(images, '-n', '@NS@-packed', 'images', 'check', ok=True)
    both(images, '-n', '@NS@-packed', 'snapshots', 'ls', ok=True)


def test_mount(images):
    for side in images:
        os.makedirs(f'{side.dir}/mnt', exist_ok=True)
    both(images, 'images', 'mount', IMAGE, '@DIR@/mnt', ok=True)
    for side in images:
        assert os.path.exists(f'{side.dir}/mnt/bin/busybox')
    both(images, 'images', 'unmount', '--rm', '@DIR@/mnt', ok=True)


def test_install(images):
    both(images, 'install', '--path', '@DIR@', IMAGE, ok=True)
    both(images, 'install', IMAGE, ok=True)
    for side in images:
        assert os.path.exists(f'{side.dir}/opt/bin/busybox') and not os.path.exists(f'{side.dir}/opt/etc')
    both(images, 'install', IMAGE, ok=False)
    both(images, 'install', '--replace', IMAGE, ok=True)


# A registry

@pytest.fixture(scope='module')
def registry(images):
    """Debian's docker-registry on loopback, at an address that it picks, with the image pushed by containerd."""
    if shutil.which('docker-registry') is None:
        pytest.skip('needs docker-registry')
    work = images[0].dir + '/registry'
    os.makedirs(work)
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        address = f'127.0.0.1:{probe.getsockname()[1]}'
    pathlib.Path(work, 'config.yml').write_text(
        f'version: 0.1\nstorage: {{filesystem: {{rootdirectory: {work}/data}}, delete: {{enabled: true}}}}\nhttp: {{addr: "{address}"}}\n')
    with open(f'{work}/log', 'wb') as log:
        process = subprocess.Popen(['docker-registry', 'serve', f'{work}/config.yml'], stdout=log, stderr=log)
    wait_for(lambda: connects(address))
    yield address
    process.terminate()
    process.wait()


def connects(address):
    host, port = address.split(':')
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def last(result):
    """The end of what a command with progress has shown."""
    return [line for line in result.out.replace('\r', '\n').splitlines() if line.strip()][-1:]


def test_push_and_pull(images, registry):
    for side in images:
        assert side.ctr('images', 'tag', IMAGE, f'{registry}/busybox:{side.ns}').returncode == 0
        done = side.ctr('images', 'push', '--plain-http', f'{registry}/busybox:{side.ns}')
        assert done.returncode == 0, done
    # Each pulls what the other has pushed.
    for side, other in zip(images, reversed(images)):
        done = side.ctr('-n', f'{side.ns}-pulled', 'images', 'pull', '--plain-http', f'{registry}/busybox:{other.ns}')
        assert done.returncode == 0, done
        side.ctr('-n', f'{side.ns}-pulled', 'images', 'tag', f'{registry}/busybox:{other.ns}', 'example.com/pulled:1')
        assert side.ctr('-n', f'{side.ns}-pulled', 'images', 'rm', f'{registry}/busybox:{other.ns}').returncode == 0
    collect(images, '@NS@-pulled')
    both(images, '-n', '@NS@-pulled', 'images', 'ls', ok=True)
    both(images, '-n', '@NS@-pulled', 'content', 'ls', ok=True)
    both(images, '-n', '@NS@-pulled', 'run', '--rm', 'example.com/pulled:1', 'one', 'echo', 'pulled', ok=True)
    ours, theirs = [side.ctr('images', 'pull', '--plain-http', f'{registry}/none:1') for side in images]
    assert ours.returncode == theirs.returncode == 1 and 'not found' in ours.err and 'not found' in theirs.err
    for command in ('images push', 'images pull'):
        record('ctr', command, 0)
    for side in images:
        assert side.ctr('images', 'rm', f'{registry}/busybox:{side.ns}').returncode == 0


def test_content_fetch(images, registry):
    for side in images:
        side.ctr('images', 'tag', '--force', IMAGE, f'{registry}/fetched:1')
        assert side.ctr('images', 'push', '--plain-http', f'{registry}/fetched:1').returncode == 0
        done = side.ctr('-n', f'{side.ns}-fetched', 'content', 'fetch', '--plain-http', f'{registry}/fetched:1')
        assert done.returncode == 0, done
        assert side.ctr('images', 'rm', f'{registry}/fetched:1').returncode == 0
    both(images, '-n', '@NS@-fetched', 'images', 'ls', ok=True)
    both(images, '-n', '@NS@-fetched', 'images', 'check', ok=True)
    record('ctr', 'content fetch', 0)
    both(images, '-n', '@NS@-fetched', 'content', 'fetch-object', '--plain-http', f'{registry}/fetched:1', ok=True)
    both(images, '-n', '@NS@-fetched', 'content', 'fetch-object', '--plain-http', f'{registry}/none:1', ok=False)


# Snapshots

def layer_of(side):
    return [line.split()[0] for line in side.ctr('snapshots', 'ls').out.splitlines()[1:] if 'Committed' in line][0]


def test_snapshots(images):
    layer = layer_of(images[0])
    assert layer == layer_of(images[1])
    collect(images)
    both(images, 'snapshots', 'ls', ok=True)
    both(images, 'snapshots', 'prepare', 'work', layer, ok=True)
    both(images, 'snapshots', 'prepare', 'work', layer, ok=False)
    both(images, 'snapshots', 'prepare', 'orphan', 'no-such-parent', ok=False)
    both(images, 'snapshots', 'view', 'look', layer, ok=True)
    both(images, 'snapshots', 'label', 'look', 'containerd.io/gc.root=kept', ok=True)
    both(images, 'snapshots', 'ls', ok=True)
    both(images, 'snapshots', 'info', layer, ok=True)
    both(images, 'snapshots', 'info', 'none', ok=False)
    both(images, 'snapshots', 'tree', ok=True)
    both(images, 'snapshots', 'usage', layer, ok=True, extra=[(r'[\d.]+ [KM]?i?B', 'SIZE'), (r'\b\d+\b', 'N')])
    both(images, 'snapshots', 'label', 'work', 'a=b', ok=True)
    both(images, 'snapshots', 'info', 'work', ok=True)
    both(images, 'snapshots', 'ls', ok=True)
    both(images, 'snapshots', 'rm', layer, ok=False)
    both(images, 'snapshots', 'commit', 'done', 'work', ok=True)
    both(images, 'snapshots', 'commit', 'done', 'work', ok=False)
    both(images, 'snapshots', 'rm', 'done', 'look', ok=True)
    both(images, 'snapshots', 'rm', 'done', ok=False)
    both(images, 'snapshots', '--snapshotter', 'nonsense', 'ls', ok=False)


def test_snapshot_mounts(images):
    layer = layer_of(images[0])
    both(images, 'snapshots', 'prepare', 'mounted', layer, ok=True)
    ours, theirs = [side.ctr('snapshots', 'mounts', '/target', 'mounted') for side in images]
    assert ours.returncode == theirs.returncode == 0
    shape = [normal(result.out, side, [(r'[^ ,=:]*/(fs|work)\b', r'PATH/\1')]) for result, side in zip((ours, theirs), images)]
    assert [line.split(' -o ')[0] for line in shape[0]] == [line.split(' -o ')[0] for line in shape[1]]
    assert 'overlay' in shape[0][0]
    record('ctr', 'snapshots mounts', 0)
    both(images, 'snapshots', 'rm', 'mounted', ok=True)


def test_unpack(images, archive):
    both(images, '-n', '@NS@-unpack', 'images', 'import', '--no-unpack', archive, ok=True)
    digest = [line.split()[2] for line in images[0].ctr('-n', '@NS@-unpack', 'images', 'ls').out.splitlines()[1:]][0]
    both(images, '-n', '@NS@-unpack', 'snapshots', 'unpack', digest, ok=True)
    both(images, '-n', '@NS@-unpack', 'snapshots', 'ls', ok=True)


def test_diff_of_snapshots(images):
    layer = layer_of(images[0])
    both(images, 'snapshots', 'prepare', 'changed', layer, ok=True)
    for side in images:
        done = side.ctr('snapshots', 'diff', '--keep', '--ref', 'a-diff', '--media-type', 'application/vnd.oci.image.layer.v1.tar',
                        layer, 'changed')
        assert done.returncode == 0, done
    record('ctr', 'snapshots diff', 0)
    both(images, 'snapshots', 'rm', 'changed', ok=True)


# Leases

def test_leases(sides):
    both(sides, 'leases', 'create', '--id', 'one', '--expires', '1h', 'a=b', ok=True)
    both(sides, 'leases', 'create', '--id', 'one', ok=False)
    both(sides, 'leases', 'ls', ok=True)
    both(sides, 'leases', 'ls', '-q', ok=True)
    both(sides, 'leases', 'ls', 'labels.a==b', ok=True)
    both(sides, 'leases', 'rm', '--sync', 'one', ok=True)
    both(sides, 'leases', 'rm', 'one')
    both(sides, 'leases', 'ls', ok=True)


# Containers and tasks

def test_run(images):
    assert both(images, 'run', '--rm', IMAGE, 'hello', 'echo', 'hello', ok=True).out == 'hello\n'
    assert both(images, 'run', '--rm', IMAGE, 'seven', 'sh', '-c', 'exit 7').returncode == 7
    both(images, 'run', '--rm', IMAGE, 'streams', 'sh', '-c', 'echo out; echo err >&2', ok=True)
    both(images, 'run', '--rm', 'example.com/none:1', 'none', 'true', ok=False)
    both(images, 'run', '--rm', IMAGE, 'bad/id', 'true', ok=False)
    both(images, 'containers', 'ls', ok=True)
    collect(images)
    both(images, 'snapshots', 'ls', ok=True)


def test_run_options(images):
    for side in images:
        pathlib.Path(side.dir, 'shared').mkdir(exist_ok=True)
        pathlib.Path(side.dir, 'shared/file').write_text('mounted\n')
        pathlib.Path(side.dir, 'environment').write_text('FROM=file\n')
    both(images, 'run', '--rm', '--mount', 'type=bind,src=@DIR@/shared,dst=/mnt,options=rbind:ro', IMAGE, 'm', 'cat', '/mnt/file', ok=True)
    both(images, 'run', '--rm', '--env', 'A=B', IMAGE, 'e', 'sh', '-c', 'echo $A', ok=True)
    both(images, 'run', '--rm', '--env-file', '@DIR@/environment', IMAGE, 'e', 'sh', '-c', 'echo $FROM', ok=True)
    both(images, 'run', '--rm', '--read-only', IMAGE, 'r', 'touch', '/x', ok=False)
    both(images, 'run', '--rm', '--net-host', IMAGE, 'n', 'readlink', '/proc/self/ns/net', ok=True)
    both(images, 'run', '--rm', '--cwd', '/tmp', IMAGE, 'c', 'pwd', ok=True)
    both(images, 'run', '--rm', '--memory-limit', '64000000', IMAGE, 'l', 'true', ok=True)
    both(images, 'run', '--rm', '--cpus', '0.5', IMAGE, 'p', 'true', ok=True)
    both(images, 'run', '--rm', '--privileged', IMAGE, 'pr', 'true', ok=True)
    both(images, 'run', '--rm', '--label', 'a=b', IMAGE, 'la', 'true', ok=True)
    both(images, 'run', '--rm', IMAGE, 'np', 'no-such-program', compare_err=False, ok=False)


def test_run_pid_file(images):
    both(images, 'run', '--rm', '--pid-file', '@DIR@/pid', IMAGE, 'pid', 'true', ok=True)
    for side in images:
        assert int(pathlib.Path(side.dir, 'pid').read_text()) > 0


def test_run_rootfs_and_config(images, archive):
    for side in images:
        root = pathlib.Path(side.dir, 'rootfs')
        (root / 'bin').mkdir(parents=True, exist_ok=True)
        shutil.copy('/bin/busybox', root / 'bin/busybox')
    both(images, 'run', '--rm', '--rootfs', '@DIR@/rootfs', 'rootfs', '/bin/busybox', 'echo', 'rooted', ok=True)
    for side in images:
        spec = json.loads(side.ctr('oci', 'spec').out)
        spec['process']['args'] = ['/bin/busybox', 'echo', 'configured']
        spec['process']['terminal'] = False
        spec['root'] = {'path': f'{side.dir}/rootfs'}
        pathlib.Path(side.dir, 'config.json').write_text(json.dumps(spec))
    both(images, 'run', '--rm', '--config', '@DIR@/config.json', 'config', ok=True)


def test_run_log_uri(images):
    for side in images:
        logger = pathlib.Path(side.dir, 'logger')
        logger.write_text(f'#!/bin/sh\ncat <&3 >{side.dir}/from-logger 5>&- &\nexec 5>&-\nwait\ntouch {side.dir}/logger-ended\n')
        logger.chmod(0o755)
    both(images, 'run', '-d', '--log-uri', 'file://@DIR@/logged', IMAGE, 'logs', 'echo', 'logged', ok=True)
    both(images, 'run', '-d', '--log-uri', 'binary://@DIR@/logger', IMAGE, 'logb', 'echo', 'piped', ok=True)
    for side in images:
        for name, text in (('logged', 'logged\n'), ('from-logger', 'piped\n')):
            wait_for(lambda: os.path.exists(f'{side.dir}/{name}') and pathlib.Path(side.dir, name).read_text() == text)
        # It hears of the end of what it started, and ends by itself; containerd's shim ends it.
        wait_for(lambda: side.name == 'containerd' or os.path.exists(f'{side.dir}/logger-ended'))
        for container in ('logs', 'logb'):
            wait_stopped(side, container)
            assert side.ctr('tasks', 'rm', container).returncode == 0
            assert side.ctr('containers', 'rm', container).returncode == 0


def test_run_fifo_dir(images):
    for side in images:
        os.makedirs(f'{side.dir}/fifos', exist_ok=True)
    both(images, 'run', '--rm', '--fifo-dir', '@DIR@/fifos', IMAGE, 'fifo', 'echo', 'through', ok=True)


def run_on_a_terminal(side, *args):
    """Runs ctr with a real terminal. Returns: exit code and what it shows."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp('ctr', ['ctr', *side.arguments(args)])
    shown = b''
    while True:
        try:
            some = os.read(terminal, 4096)
        except OSError:
            break
        if not some:
            break
        shown += some
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode(errors='replace')


def test_run_on_a_terminal(images):
    results = [run_on_a_terminal(side, 'run', '--rm', '-t', IMAGE, 'tty', 'sh', '-c', 'tty; echo typed; sleep 1; exit 3') for side in images]
    assert results[0] == results[1]
    assert results[0][0] == 3 and 'typed' in results[0][1] and '/dev/pts/0' in results[0][1]
    record('ctr', 'run -t', 3)


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def status(side, container):
    rows = [line.split() for line in side.ctr('tasks', 'ls').out.splitlines()]
    return [row[2] for row in rows if row[0] == container]


def wait_stopped(side, container):
    wait_for(lambda: status(side, container) == ['STOPPED'])


@pytest.fixture
def sleeper(images):
    """A running container on each side."""
    both(images, 'run', '-d', IMAGE, 'sleeper', 'sleep', '1000', ok=True)
    yield 'sleeper'
    for side in images:
        side.ctr('tasks', 'kill', '-s', 'SIGKILL', 'sleeper')
        if status(side, 'sleeper'):
            wait_stopped(side, 'sleeper')
        side.ctr('tasks', 'rm', 'sleeper')
        side.ctr('containers', 'rm', 'sleeper')


def test_tasks(images, sleeper):
    both(images, 'tasks', 'ls', ok=True, extra=[PID])
    both(images, 'tasks', 'ps', sleeper, ok=True, extra=[PID])
    both(images, 'tasks', 'pause', sleeper, ok=True)
    both(images, 'tasks', 'ls', ok=True, extra=[PID])
    both(images, 'tasks', 'resume', sleeper, ok=True)
    both(images, 'tasks', 'ls', ok=True, extra=[PID])
    both(images, 'containers', 'rm', sleeper, ok=False)
    both(images, 'tasks', 'rm', sleeper, ok=False)
    both(images, 'tasks', 'start', sleeper, ok=False)
    both(images, 'tasks', 'kill', '-s', 'SIGUSR1', sleeper, ok=True)
    both(images, 'tasks', 'kill', '-s', 'SIGKILL', '--all', sleeper, ok=True)
    for side in images:
        wait_stopped(side, sleeper)
    both(images, 'tasks', 'kill', '-s', 'SIGKILL', sleeper)
    both(images, 'tasks', 'rm', sleeper)
    both(images, 'tasks', 'rm', sleeper, ok=False)
    both(images, 'tasks', 'ps', sleeper, ok=False)
    both(images, 'tasks', 'kill', 'none', ok=False)
    both(images, 'containers', 'ls', ok=True)
    both(images, 'containers', 'rm', sleeper, ok=True)
    both(images, 'containers', 'rm', sleeper, ok=False)


def test_kill(images):
    both(images, 'run', '-d', IMAGE, 'trapped', 'sh', '-c', 'trap "exit 9" TERM; while true; do sleep 0.1; done', ok=True)
    time.sleep(0.3)
    both(images, 'tasks', 'kill', 'trapped', ok=True)
    for side in images:
        wait_stopped(side, 'trapped')
    both(images, 'tasks', 'rm', 'trapped')
    both(images, 'tasks', 'kill', '-s', 'SIGNONSENSE', 'trapped', ok=False)
    both(images, 'containers', 'rm', 'trapped', ok=True)


def test_a_container_in_a_namespace_is_seen_in_no_other(images):
    both(images, 'containers', 'create', IMAGE, 'mine', 'true', ok=True)
    both(images, '-n', '@NS@-elsewhere', 'containers', 'ls', ok=True)
    both(images, '-n', '@NS@-elsewhere', 'containers', 'info', 'mine', ok=False)
    both(images, '-n', '@NS@-elsewhere', 'snapshots', 'ls', ok=True)
    both(images, '-n', '@NS@-elsewhere', 'images', 'ls', ok=True)
    both(images, 'containers', 'rm', 'mine', ok=True)


def test_exec(images, sleeper):
    assert both(images, 'tasks', 'exec', '--exec-id', 'e1', sleeper, 'echo', 'in', ok=True).out == 'in\n'
    assert both(images, 'tasks', 'exec', '--exec-id', 'e2', sleeper, 'sh', '-c', 'exit 5').returncode == 5
    both(images, 'tasks', 'exec', '--exec-id', 'e3', '--user', '1000', '--cwd', '/tmp', sleeper, 'sh', '-c', 'id -u; pwd', ok=True)
    both(images, 'tasks', 'exec', '--exec-id', 'e4', 'none', 'true', ok=False)
    both(images, 'tasks', 'exec', '-d', '--exec-id', 'e5', sleeper, 'sleep', '999', ok=True)
    both(images, 'tasks', 'ps', sleeper, ok=True, extra=[PID])
    both(images, 'tasks', 'exec', '-d', '--exec-id', 'e5', sleeper, 'sleep', '999', ok=False)
    both(images, 'tasks', 'kill', '-s', 'SIGKILL', '--exec-id', 'e5', sleeper, ok=True)
    results = [run_on_a_terminal(side, 'tasks', 'exec', '-t', '--exec-id', 'e6', sleeper, 'sh', '-c', 'tty; sleep 1; exit 4') for side in images]
    assert results[0] == results[1] and results[0][0] == 4
    record('ctr', 'tasks exec -t', 4)


def shape_of(value):
    """The keys of a JSON value, all the way down, but of numbers: those that are 0 are left out."""
    if isinstance(value, list):
        return [shape_of(value[0])] if value else []
    return {key: shape_of(inner) for key, inner in value.items() if isinstance(inner, (dict, list))} if isinstance(value, dict) else None


def test_metrics(images, sleeper):
    ours, theirs = [side.ctr('tasks', 'metrics', sleeper) for side in images]
    assert ours.returncode == theirs.returncode == 0, ours
    names = [[line.split()[0] for line in result.out.splitlines() if line.strip()] for result in (ours, theirs)]
    assert names[0] == names[1]
    ours, theirs = [json.loads(side.ctr('tasks', 'metrics', '--format', 'json', sleeper).out) for side in images]
    assert shape_of(ours) == shape_of(theirs)
    record('ctr', 'tasks metrics', 0)
    both(images, 'tasks', 'metrics', 'none', ok=False)


def test_checkpoint_of_a_task_says_what_is_missing(images, sleeper):
    ours, theirs = [side.ctr('tasks', 'checkpoint', sleeper) for side in images]
    assert ours.returncode == theirs.returncode == 1
    assert 'criu' in ours.err.lower() and 'criu' in theirs.err.lower(), ours
    record('ctr', 'tasks checkpoint', 1)


def test_checkpoint_of_a_container(images, sleeper):
    both(images, 'containers', 'checkpoint', '--rw', '--image', sleeper, 'example.com/checkpoint:1', ok=True)
    both(images, 'images', 'ls', '-q', ok=True)
    both(images, 'images', 'rm', 'example.com/checkpoint:1', ok=True)


def test_containers(images):
    both(images, 'containers', 'create', '--label', 'a=b', IMAGE, 'made', 'false', ok=True)
    both(images, 'containers', 'create', IMAGE, 'made', 'true', ok=False)
    both(images, 'containers', 'ls', ok=True)
    both(images, 'containers', 'ls', '-q', ok=True)
    both(images, 'containers', 'ls', 'labels.a==b', ok=True)
    both(images, 'containers', 'ls', 'id==made', ok=True)
    both(images, 'containers', 'ls', 'id==none', ok=True)
    both(images, 'containers', 'ls', 'image~=busy', ok=True)
    both(images, 'containers', 'info', 'made', ok=True)
    both(images, 'containers', 'info', 'none', ok=False)
    both(images, 'containers', 'label', 'made', 'c=d', ok=True)
    both(images, 'containers', 'label', 'made', 'a=', ok=True)
    both(images, 'containers', 'ls', 'labels.a==b', ok=True)
    assert both(images, 'tasks', 'start', 'made').returncode == 1
    both(images, 'containers', 'rm', 'made', ok=True)


def test_attach(images):
    both(images, 'run', '-d', '--fifo-dir', '@DIR@', IMAGE, 'attached', 'sh', '-c', 'sleep 3; echo said; exit 6', compare_err=False)
    results = [side.popen('tasks', 'attach', 'attached', stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for side in images]
    told = [(one.communicate(timeout=60), one.returncode) for one in results]
    assert told[0] == told[1]
    record('ctr', 'tasks attach', told[0][1])
    for side in images:
        wait_for(lambda: status(side, 'attached') in ([], ['STOPPED']))
        side.ctr('tasks', 'rm', 'attached')
        assert side.ctr('containers', 'rm', 'attached').returncode == 0


def test_uidmap(images):
    both(images, 'run', '--rm', '--uidmap', '0:100000:65536', '--gidmap', '0:100000:65536', IMAGE, 'mapped', 'sh', '-c',
         'cat /proc/self/uid_map; ls -ln / | head -3 | tail -1 | tr -s " " | cut -d" " -f3', ok=True)


def test_oci_spec(sides):
    both(sides, 'oci', 'spec', ok=True)


# Events

def test_events(images):
    """What a life of a container is announced with, in order, and by which fields."""
    heard = []
    for side in images:
        listener = side.popen('events', stdout=subprocess.PIPE, text=True)
        wait_for(lambda: announced(side, listener))
        assert side.ctr('run', '--rm', IMAGE, 'heard', 'true').returncode == 0
        side.ctr('namespaces', 'create', 'the-end')
        lines = []
        while not lines or 'the-end' not in lines[-1]:
            lines.append(listener.stdout.readline())
        listener.kill()
        listener.communicate()
        side.ctr('namespaces', 'rm', 'the-end')
        heard.append([shape_of_event(line) for line in lines if f' {side.ns} ' in line and '/namespaces/' not in line])
    topics = [sorted(event[0] for event in events) for events in heard]
    assert topics[0] == topics[1]
    fields = [dict(events) for events in heard]
    for topic in set(topics[0]):
        assert fields[0][topic] == fields[1][topic], topic
    order = [[event[0] for event in events if event[0].startswith('/tasks') or event[0].startswith('/containers')] for events in heard]
    assert order[0] == order[1]
    record('ctr', 'events', 0)


def announced(side, listener):
    """Whether @listener hears: a namespace is made until it does. What it has heard is read."""
    side.ctr('namespaces', 'create', 'probe')
    side.ctr('namespaces', 'rm', 'probe')
    heard = select.select([listener.stdout], [], [], 0.1)[0] != []
    if heard:
        listener.stdout.readline()
    return heard


def shape_of_event(line):
    topic = [word for word in line.split() if word.startswith('/')][0]
    return topic, sorted(json.loads(line[line.index('{'):]))
