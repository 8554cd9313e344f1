# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compiles every .proto into one C file and one header, and into a descriptor set for tests.

    generate.py PROTOC_C ROOT OUT.c OUT.h OUT.descriptors FILE.proto…
"""
import pathlib
import re
import subprocess
import sys
import tempfile


def in_order(root, files):
    """The files, each after those it imports."""
    done = []

    def visit(name):
        if name in done:
            return
        for imported in re.findall(r'^import "([^"]+)";', (root / name).read_text(), re.M):
            visit(imported)
        done.append(name)

    for name in files:
        visit(name)
    return done


# Every message, for tests.
ALL = '\n#define PROTOS_N_MESSAGES {n}\nextern const ProtobufCMessageDescriptor *const protos_messages[PROTOS_N_MESSAGES]{end};\n'


def without_includes(text):
    return re.sub(r'^#include (?!<protobuf-c).*\n', '', text, flags=re.M)


def main():
    protoc, root, out_c, out_h, out_set = sys.argv[1:6]
    root = pathlib.Path(root)
    files = in_order(root, [str(pathlib.Path(f).resolve().relative_to(root.resolve())) for f in sys.argv[6:]])
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run([protoc, f'--proto_path={root}', f'--c_out={scratch}', *files], check=True)
        subprocess.run([protoc, f'--proto_path={root}', f'--descriptor_set_out={out_set}', *files], check=True)
        stems = [pathlib.Path(scratch) / re.sub(r'\.proto$', '.pb-c', f) for f in files]
        headers = [without_includes(stem.with_suffix('.pb-c.h').read_text()) for stem in stems]
        bodies = [without_includes(stem.with_suffix('.pb-c.c').read_text()) for stem in stems]
    messages = re.findall(r'^extern const ProtobufCMessageDescriptor (\w+);', '\n'.join(headers), re.M)
    pathlib.Path(out_h).write_text('\n'.join(headers) + ALL.format(n=len(messages), end=''))
    pathlib.Path(out_c).write_text(f'#include "{pathlib.Path(out_h).name}"\n' + '\n'.join(bodies)
                                   + ALL.format(n=len(messages), end=f" = {{ {', '.join('&' + one for one in messages)} }}").replace('extern ', ''))


main()
