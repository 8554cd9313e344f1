# SPDX-License-Identifier: LGPL-2.1-or-later
"""The published Go client of containerd (tests/grpc/go) against a daemon of ours: one run of the program, one test a step."""
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import time

import pytest

from sides import BUILD, Side


SOURCE = pathlib.Path(__file__).parent / 'go'
TOOLS = pathlib.Path(__file__).parent.parent.parent / 'tools'
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason='needs root'),
    pytest.mark.skipif(any(shutil.which(name) is None for name in ('docker-registry', 'skopeo', 'umoci', 'runc')),
                       reason='needs docker-registry, skopeo, umoci and runc'),
]


def numbers(version):
    return tuple(int(number) for number in version.split('.'))


@pytest.fixture(scope='module')
def program():
    """The program, built in the build directory, where it stays for the next run."""
    if shutil.which('go') is None:
        pytest.skip('needs Go')
    wanted = re.search(r'^go ([\d.]+)$', (SOURCE / 'go.mod').read_text(), re.MULTILINE)[1]
    said = subprocess.run(['go', 'version'], capture_output=True, text=True, check=True, cwd='/').stdout
    found = re.search(r'\bgo(\d+(?:\.\d+)+)', said)
    if found is None or numbers(found[1]) < numbers(wanted):
        pytest.skip(f'needs Go {wanted} or newer, there is: {said.strip()}')
    environment = {**os.environ, 'GOTOOLCHAIN': 'local', 'GOFLAGS': '-mod=readonly -buildvcs=false', 'CGO_ENABLED': '0'}
    fetched = subprocess.run(['go', 'mod', 'download'], cwd=SOURCE, env=environment, capture_output=True, text=True, timeout=600, check=False)
    if fetched.returncode != 0:
        pytest.skip(f'needs the modules of tests/grpc/go/go.mod: {fetched.stderr.strip()[-300:]}')
    built = BUILD / 'tests/grpc/goclient'
    subprocess.run(['go', 'build', '-p', '2', '-o', built, '.'], cwd=SOURCE, env=environment, check=True, timeout=1500)
    return built


@pytest.fixture(scope='module')
def reference(tmp_path_factory):
    """A busybox image in a registry on loopback."""
    work = tmp_path_factory.mktemp('registry')
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        host = f'127.0.0.1:{probe.getsockname()[1]}'
    (work / 'config.yml').write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {work}/store}}}}\nhttp: {{addr: '{host}'}}\n")
    with open(work / 'log', 'wb') as log:
        process = subprocess.Popen(['docker-registry', 'serve', work / 'config.yml'], stdout=log, stderr=log)
    deadline = time.monotonic() + 120
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(('127.0.0.1', int(host.split(':')[1]))) == 0:
                break
        assert process.poll() is None and time.monotonic() < deadline, (work / 'log').read_text()
        time.sleep(0.05)
    subprocess.run([TOOLS / 'make-busybox-image', work / 'oci.tar'], check=True)
    subprocess.run(['skopeo', 'copy', '-q', '--dest-tls-verify=false', f'oci-archive:{work}/oci.tar', f'docker://{host}/team/busybox:1'], check=True)
    yield f'{host}/team/busybox:1'
    process.terminate()
    process.wait()


@pytest.fixture(scope='module')
def steps(program, reference, tmp_path_factory):
    # GANTRY_GO_CLIENT_SIDE=containerd runs the same on Debian's containerd, to see what is ours.
    side = Side(os.environ.get('GANTRY_GO_CLIENT_SIDE', 'gantry')).start()
    done = subprocess.run([program, side.address, reference, tmp_path_factory.mktemp('fifos')], capture_output=True, text=True,
                          timeout=1500, check=False)
    log = side.read_log()
    side.stop()
    assert done.returncode == 0, (done.stdout, done.stderr, log)
    if 'GANTRY_GO_CLIENT_OUT' in os.environ:
        pathlib.Path(os.environ['GANTRY_GO_CLIENT_OUT']).write_text(done.stdout + done.stderr + log)
    return {line['step']: line for line in map(json.loads, done.stdout.splitlines())}


@pytest.fixture
def seen(steps, request):
    line = steps[request.node.name.removeprefix('test_').replace('_', '-')]
    assert 'error' not in line, line
    return line['seen']


def test_version(seen):
    assert re.match(r'v2\.\d+\.\d+\+gantry', seen['version']) and seen['revision']


def test_server(seen):
    assert seen['uuid'] == seen['again'] and len(seen['uuid']) == 36


def test_serving(seen):
    assert seen['serving']


def test_plugins(seen):
    assert {'overlayfs', 'native'} <= set(seen['snapshotters']) and seen['capabilities'] == ['remap-ids', 'rebase']


def test_runtime_info(seen):
    assert seen['name'] == 'io.containerd.gantry.v1' and seen['features'] == '*features.Features', seen


def test_namespace_labels(seen):
    assert seen['labels'] == {'a': '1', 'b': '2'} and 'other' in seen['names']


def test_pull(seen, reference):
    assert seen['name'] == reference and seen['unpacked'] and seen['size'] > 500_000 and seen['labels'] == {'pulled': 'yes'}


def test_image_config(seen):
    assert seen['env'] == ['PATH=/bin'] and seen['cmd'] == ['/bin/sh'] and seen['layers'] == 1 and seen['usage'] > 1_000_000


def test_image_filters(seen, reference):
    found = [reference]
    assert seen == {'name': found, 'regexp': found, 'label': found, 'presence': found, 'other': [], 'or': found, 'and': [], 'broken': True}


def test_image_labels(seen):
    assert seen == {'partial': {'one': '1', 'pulled': 'yes'}, 'whole': {'three': '3'}}


def test_export_import(seen, reference):
    assert seen == {'images': {reference: True, 'example.com/index:1': True}, 'same': True}


def test_image_unpack(seen):
    assert seen['unpacked']


def test_image_push(seen):
    assert seen['same']


def test_lease(seen):
    assert seen['leases'] == 1 and seen['held'] and seen['gone']
    assert seen['resources']['content'] == 3 and seen['resources']['snapshots/overlayfs'] >= 1


def test_image_errors(seen):
    assert seen == {'missing': True, 'taken': True, 'text': 'image "example.com/none:1": not found'}


def test_content_walk(seen):
    # Manifest, config and layer, each with where it came from.
    assert seen == {'blobs': 3, 'target': True, 'sources': 3}


def test_content_ingest(seen):
    assert seen == {'offset': 1 << 20, 'total': 4 << 20, 'active': 1, 'same': True, 'labels': {'a': 'c'}, 'again': True, 'wrong': True}


def test_content_abort(seen):
    assert seen == {'gone': True, 'twice': True}


def test_snapshots(seen):
    assert seen['usage'] >= 100_000
    assert seen == {'type': 'overlay', 'same': True, 'usage': seen['usage'], 'size': 100_000, 'taken': True,
                    'kinds': {'saved': 'Committed', 'look': 'View'}, 'labels': {'containerd.io/gc.root': '1', 'l': '1'}, 'parent': True,
                    'in-use': True, 'gone': True}


def test_diff(seen):
    layer = 'application/vnd.oci.image.layer.v1.tar'
    assert seen == {'type': f'{layer}+gzip', 'applied': layer, 'data': 'new', 'removed': True, 'uncompressed': True}


def test_sandbox_store(seen):
    assert seen == {'labels': {'a': '1', 'b': '3'}, 'runtime': 'io.containerd.runc.v2', 'listed': 1, 'spec': True, 'extension': True,
                    'times': True, 'taken': True, 'gone': True}


def test_run(seen):
    assert seen == {'created': 'created', 'out': 'from stdin', 'err': 'err\n', 'code': 7, 'pid': True}


def test_stays(seen):
    assert seen == {
        'status': 'running', 'args': ['sleep', '1000'], 'env': ['PATH=/bin'], 'pids': True, 'image-label': 'goclient', 'listed': 1,
        'exec-code': 5, 'exec-out': 'got a line\n', 'exec-taken': True, 'pids-with-exec': 2, 'loaded': True, 'killed-exec': 143,
        'metric-id': 'stays', 'memory': True, 'limit': 64 << 20, 'pids-now': 1, 'paused': 'paused', 'resumed': 'running',
        'new-limit': 128 << 20, 'reloaded': True, 'reloaded-image': True, 'wait-late': True, 'delete-running': True, 'remove-running': True,
        'code': 137}


def test_terminal(seen):
    assert seen['tty'].startswith('/dev/pts/') and seen['size'] == '43 132' and seen['code'] == 3


def test_container_update(seen):
    assert seen == {'labels': {'made-by': 'goclient', 'updated': 'yes', 'more': '1'}, 'extension': True, 'masked': '2', 'image': True,
                    'spec': True, 'later': True, 'runtime': 'io.containerd.runc.v2', 'no-task': True,
                    'immutable': 'cannot update "runtime" field on "changes": invalid argument'}


def test_checkpoint(seen):
    # Where criu cannot run that is said, and the task goes on.
    assert seen['image'] == 'example.com/checkpoint:1' and seen['restored'] and seen['status'] == 'running'
    assert seen['criu'] or 'criu' in seen['criu-error']


def test_task_errors(seen):
    assert seen['missing'] and seen['taken'] and seen['invalid']
    assert 'exec: "no-such-program": executable file not found in $PATH' in seen['failed']


def test_transfer_pull(seen, reference):
    assert seen['same'] and seen['unpacked'] and seen['labels'] == {'by': 'transfer'}
    assert {f'Pulling from OCI Registry ({reference})', f'Completed pull from OCI Registry ({reference})',
            'saved'} <= set(seen['progress']['words'])


def test_transfer_tag(seen):
    assert seen['same']


def test_transfer_push(seen, reference):
    assert seen['same'] and f'Completed push to OCI Registry ({reference}-transferred)' in seen['events']['words']


def test_transfer_export_import(seen):
    assert seen['size'] > 500_000 and seen['images'] == ['example.com/transferred:1']
    assert {'Exporting', 'Completed export'} <= set(seen['exported']['words'])
    assert {'Importing', 'Completed import', 'saved'} <= set(seen['imported']['words'])


def test_transfer_errors(seen):
    assert seen == {'missing': True, 'broken': True}


def topics_of(events, name):
    return [event['topic'] for event in events if name in (event.get('container_id'), event.get('id'), event.get('key'))]


LIFE = ['/snapshot/prepare', '/containers/create', '/tasks/create', '/tasks/start', '/tasks/exit', '/tasks/delete', '/snapshot/remove',
        '/containers/delete']


def test_events(seen, reference):
    events = seen['events']
    assert not [event for event in events if 'error' in event]
    for name in ('runs', 'types'):
        assert topics_of(events, name) == LIFE
    done = ['/tasks/exec-added', '/tasks/exec-started', '/tasks/exit']
    assert topics_of(events, 'stays') == [*LIFE[:4], *done, *done, '/tasks/paused', '/tasks/resumed', *LIFE[4:]]
    assert topics_of(events, 'changes') == [*LIFE[:2], *['/containers/update'] * 3, *LIFE[6:]]
    assert topics_of(events, 'fails') == [*LIFE[:2], *LIFE[6:]]
    execs = [event['topic'] for event in events if 'exec-2' in (event.get('exec_id'), event.get('id'))]
    assert execs == done
    pulled = [event['topic'] for event in events[:[event.get('name') for event in events].index(reference) + 1]]
    assert sorted(pulled) == [*['/content/create'] * 3, '/images/create', '/snapshot/commit', '/snapshot/prepare']
