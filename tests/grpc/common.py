# SPDX-License-Identifier: LGPL-2.1-or-later
"""What tests of services have in common."""
import json
import os

import grpc
import pytest

from client import message

IMAGE = 'docker.io/library/busybox:latest'
SPEC_TYPE = 'types.containerd.io/opencontainers/runtime-spec/1/Spec'
SPEC = message('google.protobuf.Any', type_url='types.containerd.io/opencontainers/runtime-spec/1/Spec', value=b'{"ociVersion": "1.0.2"}')


def refused(code, call, *args, **kwargs):
    """The words of the error of class @code that the call ends with."""
    with pytest.raises(grpc.RpcError) as caught:
        result = call(*args, **kwargs)
        if hasattr(result, '__next__'):
            list(result)
    assert caught.value.code() == code, caught.value
    return caught.value.details()


NOT_FOUND, EXISTS = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.ALREADY_EXISTS
INVALID, PRECONDITION = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION
UNIMPLEMENTED, RANGE = grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.OUT_OF_RANGE


def container(client, name, **fields):
    fields.setdefault('spec', SPEC)
    fields.setdefault('runtime', {'name': 'io.containerd.runc.v2'})
    return client.containers.message('Container', id=name, **fields)


def import_image(client, side, archive):
    """Returns: the name of its top layer's snapshot."""
    done = side.ctr('-n', client.namespace, 'images', 'import', archive)
    assert done.returncode == 0, done
    return [one.name for block in client.snapshots.List(snapshotter='overlayfs') for one in block.info][0]


def make_spec(client, side, name, *args):
    """A spec as ctr makes it, as a dictionary."""
    spec = json.loads(side.ctr('oci', 'spec').out)
    spec['process'].update(args=list(args), env=['PATH=/bin'], terminal=False)
    spec['root'] = {'path': 'rootfs'}
    spec['linux']['cgroupsPath'] = f'/{client.namespace}/{name}'
    return spec


def any_spec(spec):
    return message('google.protobuf.Any', type_url=SPEC_TYPE, value=json.dumps(spec).encode())


def run(client, name, spec, rootfs, tmp_path, **fields):
    """A task from beginning to end. Returns: exit code and what it said."""
    said = str(tmp_path / f'{name}.out')
    client.containers.Create(container=container(client, name, spec=any_spec(spec), **fields))
    try:
        client.tasks.Create(container_id=name, rootfs=rootfs, stdout=f'file://{said}', stderr=f'file://{said}')
        client.tasks.Start(container_id=name)
        code = client.tasks.Wait(container_id=name).exit_status
        client.tasks.Delete(container_id=name)
    finally:
        client.containers.Delete(id=name)
    with open(said, encoding='utf-8') as file:
        return code, file.read()
