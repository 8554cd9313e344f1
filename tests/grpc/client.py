# SPDX-License-Identifier: LGPL-2.1-or-later
"""A client of containerd's API, made from the descriptors of the build."""
import os
import pathlib

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from conftest import record

BUILD = pathlib.Path(os.environ['GANTRY_BUILD'])


def _load():
    files = descriptor_pb2.FileDescriptorSet()
    files.ParseFromString((BUILD / 'data/protos/protos.descriptors').read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return pool, files


POOL, FILES = _load()
FACTORY = message_factory.MessageFactory(POOL)


def message(name, /, **fields):
    """A message by its full name."""
    return FACTORY.GetPrototype(POOL.FindMessageTypeByName(name))(**fields)


def pack(inner):
    """An Any, named as containerd names it: without a host."""
    return message('google.protobuf.Any', type_url=inner.DESCRIPTOR.full_name, value=inner.SerializeToString())


def unpack(any_):
    inner = message(any_.type_url.split('/')[-1])
    inner.ParseFromString(any_.value)
    return inner


class Service:
    """client.containers.Get(id='x')"""

    def __init__(self, client, descriptor):
        self.client = client
        self.types = {method.name: method for method in descriptor.methods}
        self.package = descriptor.full_name.rsplit('.', 1)[0]
        for file in FILES.file:
            if file.package != self.package:
                continue
            for service in file.service:
                if f'{file.package}.{service.name}' != descriptor.full_name:
                    continue
                for method in service.method:
                    setattr(self, method.name, self.make(descriptor.full_name, method))

    def message(self, name, /, **fields):
        return message(f'{self.package}.{name}', **fields)

    def make(self, full_name, method):
        request = FACTORY.GetPrototype(POOL.FindMessageTypeByName(method.input_type[1:]))
        reply = FACTORY.GetPrototype(POOL.FindMessageTypeByName(method.output_type[1:]))
        shape = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
        stub = getattr(self.client.channel, shape)(f'/{full_name}/{method.name}', request_serializer=request.SerializeToString,
                                                   response_deserializer=reply.FromString)

        def noted(result):
            """The result, whose end is recorded too."""
            if hasattr(result, 'add_callback'):
                def ended():
                    record('method', full_name, method.name, result.code().name)
                if not result.add_callback(ended):
                    ended()
            else:
                record('method', full_name, method.name, 'OK')
            return result

        def call(stream=None, *, timeout=120, metadata=(), **fields):
            all_metadata = [*self.client.metadata(), *metadata]
            try:
                if method.client_streaming:
                    return noted(stub(stream, timeout=timeout, metadata=all_metadata))
                return noted(stub(request(**fields), timeout=timeout, metadata=all_metadata))
            except grpc.RpcError as error:
                record('method', full_name, method.name, error.code().name)
                raise
        return call


class Client:
    """Every service of one daemon, for one namespace and perhaps a lease."""

    NAMES = {
        'version': 'containerd.services.version.v1.Version',
        'namespaces': 'containerd.services.namespaces.v1.Namespaces',
        'introspection': 'containerd.services.introspection.v1.Introspection',
        'content': 'containerd.services.content.v1.Content',
        'images': 'containerd.services.images.v1.Images',
        'snapshots': 'containerd.services.snapshots.v1.Snapshots',
        'diff': 'containerd.services.diff.v1.Diff',
        'containers': 'containerd.services.containers.v1.Containers',
        'tasks': 'containerd.services.tasks.v1.Tasks',
        'events': 'containerd.services.events.v1.Events',
        'leases': 'containerd.services.leases.v1.Leases',
        'transfer': 'containerd.services.transfer.v1.Transfer',
        'streaming': 'containerd.services.streaming.v1.Streaming',
        'sandboxes': 'containerd.services.sandbox.v1.Store',
        'controller': 'containerd.services.sandbox.v1.Controller',
        'mounts': 'containerd.services.mounts.v1.Mounts',
        'health': 'grpc.health.v1.Health',
    }

    def __init__(self, address, namespace='default', lease=None, channel=None):
        self.address, self.namespace, self.lease = address, namespace, lease
        self.channel = channel or grpc.insecure_channel(f'unix:{address}', options=[
            ('grpc.max_receive_message_length', 16 << 20), ('grpc.max_send_message_length', -1), ('grpc.use_local_subchannel_pool', 1)])
        for name, full_name in self.NAMES.items():
            setattr(self, name, Service(self, POOL.FindServiceByName(full_name)))

    def metadata(self):
        pairs = [('containerd-namespace', self.namespace)] if self.namespace else []
        return pairs + ([('containerd-lease', self.lease)] if self.lease else [])

    def within(self, namespace=None, lease=None):
        return Client(self.address, self.namespace if namespace is None else namespace, lease, self.channel)

    def write(self, data, ref='ref', labels=None, expected='', total=0):
        """Puts @data into content. Returns: its digest."""
        requests = [self.content.message('WriteContentRequest', action=1, ref=ref, total=total, expected=expected, data=data),
                    self.content.message('WriteContentRequest', action=2, ref=ref, offset=len(data), labels=labels or {})]
        return list(self.content.Write(iter(requests)))[-1].digest

    def read(self, digest, **fields):
        return b''.join(piece.data for piece in self.content.Read(digest=digest, **fields))
