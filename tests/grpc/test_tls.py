# SPDX-License-Identifier: LGPL-2.1-or-later
"""The API over TCP with TLS: whoever has a certificate of the client authority is served, nobody else."""
import os
import shutil
import socket
import subprocess

import pytest

grpc = pytest.importorskip('grpc')
from client import Client  # noqa: E402
from sides import Side  # noqa: E402

pytestmark = pytest.mark.skipif(shutil.which('openssl') is None, reason='needs openssl')


def openssl(*args):
    subprocess.run(['openssl', *map(str, args)], check=True, capture_output=True)


def authority(path, name):
    openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', f'/CN={name}', '-keyout', path / f'{name}.key',
            '-out', path / f'{name}.pem')


def certify(path, name, by, more=''):
    (path / f'{name}.ext').write_text(f'basicConstraints=CA:FALSE\n{more}')
    openssl('req', '-newkey', 'rsa:2048', '-nodes', '-subj', f'/CN={name}', '-keyout', path / f'{name}.key', '-out', path / f'{name}.csr')
    openssl('x509', '-req', '-in', path / f'{name}.csr', '-CA', path / f'{by}.pem', '-CAkey', path / f'{by}.key', '-CAcreateserial', '-days', '2',
            '-extfile', path / f'{name}.ext', '-out', path / f'{name}.pem')


@pytest.fixture(scope='module')
def keys(tmp_path_factory):
    path = tmp_path_factory.mktemp('keys')
    for name in ('servers', 'clients', 'strangers'):
        authority(path, name)
    certify(path, 'server', 'servers', 'subjectAltName=IP:127.0.0.1\n')
    certify(path, 'client', 'clients')
    certify(path, 'stranger', 'strangers')
    return path


@pytest.fixture(scope='module')
def port(keys):
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        number = probe.getsockname()[1]
    one = Side('gantry', f'--set=api-grpc.Addresses=tcp:host=127.0.0.1,port={number},certificate={keys}/server.pem,key={keys}/server.key,'
                         f'client-ca={keys}/clients.pem').start()
    yield number
    one.stop()


def connect(port, keys, who, servers='servers'):
    read = lambda name: (keys / name).read_bytes()  # noqa: E731
    identity = {'private_key': read(f'{who}.key'), 'certificate_chain': read(f'{who}.pem')} if who else {}
    credentials = grpc.ssl_channel_credentials(root_certificates=read(f'{servers}.pem'), **identity)
    return Client(None, 'tls', channel=grpc.secure_channel(f'127.0.0.1:{port}', credentials, options=[('grpc.use_local_subchannel_pool', 1)]))


def test_a_client_with_a_certificate(port, keys):
    client = connect(port, keys, 'client')
    assert client.version.Version().version.startswith('v2.')
    data = os.urandom(3 << 20)
    digest = client.write(data, labels={'containerd.io/gc.root': ''})
    assert client.read(digest) == data
    client.content.Delete(digest=digest)


@pytest.mark.parametrize('who', [None, 'stranger'])
def test_a_client_without_one(port, keys, who):
    with pytest.raises(grpc.RpcError) as caught:
        connect(port, keys, who).version.Version(timeout=20)
    assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


def test_a_client_that_trusts_others(port, keys):
    with pytest.raises(grpc.RpcError):
        connect(port, keys, 'client', servers='strangers').version.Version(timeout=20)


def test_a_client_that_speaks_no_tls(port):
    with pytest.raises(grpc.RpcError):
        Client(None, 'tls', channel=grpc.insecure_channel(f'127.0.0.1:{port}')).version.Version(timeout=20)
    with socket.create_connection(('127.0.0.1', port)) as plain:
        plain.sendall(b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
        plain.settimeout(60)
        try:
            # A TLS alert, or nothing: no frame of HTTP/2, which would begin with its length.
            assert plain.recv(100)[:1] in (b'', b'\x15')
        except ConnectionResetError:
            pass
