# SPDX-License-Identifier: LGPL-2.1-or-later
"""Messages to start from: whole ones, ones that are broken in a way each, and some bytes for every message of the API.

    message-corpus.py DIRECTORY STAMP PROTOS
"""
import pathlib
import random
import re
import sys


def varint(value):
    out = b''
    while value >= 0x80:
        out += bytes([value & 0x7f | 0x80])
        value >>= 7
    return out + bytes([value])


def number(field, value):
    return varint(field << 3) + varint(value)


def nested(field, data):
    return varint(field << 3 | 2) + varint(len(data)) + data


def any_(name, data):
    return nested(1, name.encode()) + nested(2, data)


TIME = number(1, 1700000000) + number(2, 5)
LABEL = nested(1, b'key') + nested(2, b'value')
CONTAINER = (nested(1, b'id') + nested(2, LABEL) + nested(2, LABEL) + nested(3, b'image') + nested(4, nested(1, b'runtime'))
             + nested(5, any_('spec', b'{}')) + nested(8, TIME) + nested(10, nested(1, b'x') + nested(2, any_('t', b'\xff'))))
MOUNT = nested(1, b'overlay') + nested(2, b'/source') + nested(4, b'ro') + nested(4, b'lowerdir=/a:/b')
SERVICES = 'containerd.services.'
WHOLE = {
    SERVICES + 'containers.v1.CreateContainerRequest': nested(1, CONTAINER),
    SERVICES + 'containers.v1.UpdateContainerRequest': nested(1, CONTAINER) + nested(2, nested(1, b'labels.key')),
    SERVICES + 'content.v1.WriteContentRequest': number(1, 1) + nested(2, b'ref') + number(3, 7) + nested(6, b'data') + nested(7, LABEL),
    SERVICES + 'tasks.v1.CreateTaskRequest': nested(1, b'id') + nested(3, MOUNT) + nested(4, b'/in') + number(7, 1) + nested(9, any_('o', b'')),
    SERVICES + 'images.v1.CreateImageRequest': nested(1, nested(1, b'name') + nested(2, LABEL) + nested(3, nested(1, b'type') + nested(2, b'sha256:'))),
    SERVICES + 'diff.v1.ApplyRequest': nested(1, nested(2, b'sha256:')) + nested(2, MOUNT) * 3,
    SERVICES + 'events.v1.ForwardRequest': nested(1, nested(1, TIME) + nested(2, b'ns') + nested(3, b'/t') + nested(4, any_('x', b'y'))),
    SERVICES + 'leases.v1.ListRequest': nested(1, b'id==x') * 4,
    'google.protobuf.Any': any_('containerd.events.TaskExit', nested(1, b'id') + number(3, 2 ** 32 - 1) + nested(5, TIME)),
    'containerd.events.TaskCreate': nested(1, b'id') + nested(3, MOUNT) + nested(4, number(4, 1)) + number(6, 12),
}


def messages(protos):
    """The names of all messages that the files define, those within others left out."""
    for path in sorted(protos.rglob('*.proto')):
        text = path.read_text(encoding='utf-8')
        package = re.search(r'^package ([\w.]+);', text, re.MULTILINE).group(1)
        yield from (f'{package}.{name}' for name in re.findall(r'^message (\w+)', text, re.MULTILINE))


# Fits whatever a field is: a text, a map's entry, a message with a text, an Any.
FITTING = nested(1, b'key') + nested(2, b'value')


def for_every_message(chance):
    fields = range(1, 16)
    yield 'texts', b''.join(nested(field, b'text') for field in fields)
    yield 'messages', b''.join(nested(field, FITTING) * 2 for field in fields)
    yield 'numbers', b''.join(number(field, chance.getrandbits(chance.choice((1, 7, 32, 64)))) for field in fields)
    yield 'each-alone', nested(chance.choice(fields), nested(1, FITTING) + nested(2, b'x' * 200))
    yield 'random', bytes(chance.choice((0x0a, 0x12, 0x1a, 0x08, 0x10, 0, 1, 2, 5, 0x61, 0xff)) for _ in range(60))


def main():
    directory, stamp, protos = map(pathlib.Path, sys.argv[1:4])
    directory.mkdir(exist_ok=True)
    chance = random.Random(1)
    for name, data in WHOLE.items():
        variants = {'whole': data, 'cut': data[:-1], 'empty': b'', 'twice': data + data, 'utf8': data.replace(b'id', b'\xff\xfe'),
                    'nul': data.replace(b'id', b'i\0'), 'long': b'\x0a' + varint(2 ** 40), 'tags': b'\x0a\x00' * 5000,
                    'group': b'\x0b\x0c', 'field0': b'\x00\x00', 'varint': b'\x08' + b'\xff' * 11,
                    'deep': b'\x12\x00' * 100}
        for i in range(8):
            broken = bytearray(data)
            for _ in range(3):
                broken[chance.randrange(len(broken))] = chance.randrange(256)
            variants[f'random-{i}'] = bytes(broken)
        for variant, some in variants.items():
            (directory / f'{name}-{variant}').write_bytes(name.encode() + b'\0' + some)
    names = list(messages(protos))
    if len(names) < 100:
        sys.exit(f'{protos} has {len(names)} messages only')
    for name in names:
        for variant, some in for_every_message(chance):
            (directory / f'{name}-{variant}').write_bytes(name.encode() + b'\0' + some)
    stamp.write_text('')


main()
