# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes a set of file descriptors as lines: what goes over the wire, and nothing else.

    describe.py FILE.descriptors
"""
import sys

from google.protobuf import descriptor_pb2

SCALARS = {1: 'double', 2: 'float', 3: 'int64', 4: 'uint64', 5: 'int32', 8: 'bool', 9: 'string', 12: 'bytes', 13: 'uint32'}


def type_of(field):
    name = SCALARS.get(field.type) or field.type_name[1:]
    return ('repeated ' if field.label == 3 else '') + name


def describe_message(message, path, lines):
    for field in message.field:
        lines.append(f'field {path}.{field.name} = {field.number} {type_of(field)}')
    if not message.field:
        lines.append(f'message {path}')
    for nested in message.nested_type:
        describe_message(nested, f'{path}.{nested.name}', lines)
    for enum in message.enum_type:
        describe_enum(enum, f'{path}.{enum.name}', lines)


def describe_enum(enum, path, lines):
    for value in enum.value:
        lines.append(f'value {path}.{value.name} = {value.number}')


def describe(data):
    files = descriptor_pb2.FileDescriptorSet()
    files.ParseFromString(data)
    lines = []
    for file in files.file:
        for message in file.message_type:
            describe_message(message, f'{file.package}.{message.name}', lines)
        for enum in file.enum_type:
            describe_enum(enum, f'{file.package}.{enum.name}', lines)
        for service in file.service:
            for method in service.method:
                asked = ('stream ' if method.client_streaming else '') + method.input_type[1:]
                answered = ('stream ' if method.server_streaming else '') + method.output_type[1:]
                lines.append(f'method {file.package}.{service.name}/{method.name} ({asked}) -> ({answered})')
    return ''.join(line + '\n' for line in sorted(lines))


if __name__ == '__main__':
    with open(sys.argv[1], 'rb') as opened:
        sys.stdout.write(describe(opened.read()))
