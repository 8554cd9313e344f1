# SPDX-License-Identifier: LGPL-2.1-or-later
"""Transfer between registries and the image store: credentials by stream, headers, hosts directories, platforms, names."""
import base64
import importlib.util
import os
import queue
import threading

import pytest

grpc = pytest.importorskip('grpc')
from client import message, pack, unpack  # noqa: E402
from common import NOT_FOUND, refused  # noqa: E402
from test_services import Stream, store  # noqa: E402

# There is a server.py here, too.
SPEC = importlib.util.spec_from_file_location('registry_server', os.path.join(os.path.dirname(__file__), '..', 'registry', 'server.py'))
server = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(server)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root')

BASIC = 'Basic ' + base64.b64encode(b'someone:a secret').decode()


@pytest.fixture
def registry():
    one = server.Registry()

    @one.on('POST', r'/v2/.+/blobs/uploads/')
    def post(handler, match):
        handler.answer(202, Location=f'/v2/upload/{len(one.requests)}')

    @one.on('PUT', r'/v2/upload/\d+\?digest=(.*)')
    def upload(handler, match):
        one.add_blob(handler.body)
        handler.answer(201)

    yield one
    one.close()


@pytest.fixture
def closed(registry):
    """Wants a password."""
    @registry.on('*', '/v2/')
    def check(handler, match):
        if handler.headers.get('Authorization') == BASIC:
            return False
        return handler.answer(401, {'errors': [{'code': 'UNAUTHORIZED'}]}, WWW_Authenticate='Basic realm="the door"')
    return registry


def at(registry, name, **resolver):
    return pack(message('containerd.types.transfer.OCIRegistry', reference=f'{registry.name}/{name}', resolver=resolver))


class Asked:
    """A client that answers what it is asked on a stream."""

    def __init__(self, client, *answers):
        self.stream, self.questions, self.answers = Stream(client, 'auth'), [], queue.Queue()
        for answer in answers:
            self.answers.put(answer)
        self.thread = threading.Thread(target=self.answer, daemon=True)
        self.thread.start()

    def answer(self):
        try:
            for any_ in self.stream.call:
                self.questions.append(unpack(any_))
                self.stream.send(self.answers.get(timeout=60))
        except grpc.RpcError:
            pass  # the test has ended it


def auth(kind, **fields):
    return message('containerd.types.transfer.AuthResponse', authType=kind, **fields)


def test_credentials_by_stream(client, closed):
    closed.add_image('team/app')
    asked = Asked(client, auth(1, username='someone', secret='a secret'))
    client.transfer.Transfer(source=at(closed, 'team/app:1', auth_stream='auth', headers={'X-Who': 'me'}), destination=store(name='example.com/app:1'))
    (question,) = asked.questions
    assert question.host == closed.name and question.reference == f'{closed.name}/team/app:1' and 'the door' in ' '.join(question.wwwauthenticate)
    assert client.images.Get(name='example.com/app:1').image.target.digest == closed.add_image('team/app')
    assert all(headers.get('X-Who') == 'me' for _, path, headers in closed.requests if path.startswith('/v2/team'))
    asked.stream.close()


def test_a_header_by_stream_for_a_push(client, closed):
    closed.add_image('team/app')
    asked = Asked(client, auth(3, secret=BASIC), auth(3, secret=BASIC))
    client.transfer.Transfer(source=at(closed, 'team/app:1', auth_stream='auth'), destination=store(name='example.com/app:1'))
    client.transfer.Transfer(source=store(name='example.com/app:1'), destination=at(closed, 'other/copy:2', auth_stream='auth'))
    assert closed.manifests['other/copy', '2'] == closed.manifests['team/app', '1'] and len(asked.questions) == 2
    asked.stream.close()


@pytest.mark.parametrize('answer', [auth(1, username='someone', secret='wrong'), auth(0)], ids=['wrong', 'none'])
def test_credentials_that_do_not_do(client, closed, answer):
    closed.add_image('team/app')
    asked = Asked(client, *[answer] * 8)
    said = refused(grpc.StatusCode.UNAUTHENTICATED, client.transfer.Transfer, source=at(closed, 'team/app:1', auth_stream='auth'),
                   destination=store(name='example.com/app:1'))
    assert closed.name in said and 'wrong' not in said and asked.questions
    assert not client.images.List().images
    asked.stream.close()


def test_no_such_stream(client, closed):
    refused(NOT_FOUND, client.transfer.Transfer, source=at(closed, 'team/app:1', auth_stream='none'), destination=store(name='example.com/app:1'))


def test_hosts_directory(client, registry, tmp_path):
    """As the client has it; the name stays what it is called."""
    digest = registry.add_image('team/app')
    os.mkdir(tmp_path / 'far.example')
    (tmp_path / 'far.example/hosts.toml').write_text(f'server = "{registry.url}"\n[host."{registry.url}"]\ncapabilities = ["pull", "resolve"]\n')
    source = pack(message('containerd.types.transfer.OCIRegistry', reference='far.example/team/app:1', resolver={'host_dir': str(tmp_path)}))
    client.transfer.Transfer(source=source, destination=store(name='far.example/team/app:1'))
    assert client.images.Get(name='far.example/team/app:1').image.target.digest == digest


def test_platforms_names_and_progress(client, registry):
    """One platform of two, with the metadata of both; more names go with the first one."""
    manifests = []
    for architecture in ('amd64', 'arm64'):
        digest = registry.add_image('team/app', architecture, layer=architecture.encode() * 1000)
        manifests.append({'mediaType': server.MANIFEST, 'digest': digest, 'size': len(registry.manifests['team/app', digest]),
                          'platform': {'os': 'linux', 'architecture': architecture}})
    index = registry.add_manifest('team/app', '1', {'schemaVersion': 2, 'mediaType': server.INDEX, 'manifests': manifests}, server.INDEX)
    progress, events = Stream(client, 'progress'), []
    hearing = threading.Thread(target=lambda: events.extend(unpack(one) for one in progress.call))
    hearing.start()
    client.transfer.Transfer(
        source=at(registry, 'team/app:1'), options={'progress_stream': 'progress'},
        destination=store(name='example.com/app:1', platforms=[{'os': 'linux', 'architecture': 'arm64'}], manifest_limit=1, all_metadata=True,
                          labels={'a': 'b'}, extra_references=[{'name': 'example.com/app:also'},
                                                               {'name': 'example.com/app', 'is_prefix': True, 'add_digest': True}]))
    hearing.join(60)
    words = [one.event for one in events]
    assert words[0].startswith('Pulling from') and words[-1].startswith('Completed pull') and 'saved' in words
    there = {info.digest for block in client.content.List() for info in block.info}
    assert {index, manifests[0]['digest'], manifests[1]['digest'], server.digest_of(b'arm64' * 1000)} <= there
    assert server.digest_of(b'amd64' * 1000) not in there
    names = {image.name: dict(image.labels) for image in client.images.List().images}
    assert set(names) == {'example.com/app:1', 'example.com/app:also', f'example.com/app@{index}'}
    assert names['example.com/app:1'] == {'a': 'b'}
    assert names['example.com/app:also']['containerd.io/gc.bref.image'] == 'example.com/app:1'
    client.images.Delete(name='example.com/app:1', sync=True)
    assert not client.images.List().images, 'more names go with the first one'
