#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The size and the offsets of every struct of the SDK against layout-<machine>.txt, which is checked in.

What stands in the table never changes: a module that was built yesterday has it compiled in. New members at the end of a struct,
and new structs, are added to the table by  tests/abi/test_layout.py --update ; until then they are not promised.
"""
import os
import platform
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import sdk  # noqa: E402

TABLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"layout-{platform.machine()}.txt")


def program(structs):
    lines = [f"#include <{header}>" for header in sdk.headers()] + ["#include <stdio.h>", "int main (void) {"]
    for struct in structs:
        for member in struct.members:
            lines.append(f'  printf ("{struct.name}.{member.name} %zu %zu\\n", offsetof ({struct.name}, {member.name}), '
                         f'sizeof ((({struct.name} *) 0)->{member.name}));')
        lines.append(f'  printf ("{struct.name} %zu\\n", sizeof ({struct.name}));')
    return "\n".join([*lines, "  return 0;", "}"])


def layout():
    """Lines by struct, members first."""
    structs = sdk.structs()
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "gio-2.0", "gio-unix-2.0"], capture_output=True, text=True,
                           check=True).stdout.split()
    with tempfile.TemporaryDirectory() as work:
        subprocess.run(["cc", "-std=gnu11", "-x", "c", "-", "-o", f"{work}/layout", "-I", sdk.SDK, *flags], input=program(structs),
                       text=True, check=True)
        lines = subprocess.run([f"{work}/layout"], capture_output=True, text=True, check=True).stdout.splitlines()
    return group(lines)


def group(lines):
    found = {}
    for line in lines:
        if line and not line.startswith("#"):
            found.setdefault(line.split(" ")[0].split(".")[0], []).append(line)
    return found


def recorded():
    with open(TABLE, encoding="utf-8") as file:
        return group(file.read().splitlines())


def differences(old, new):
    """What of the promised layout is gone or has moved."""
    found = []
    for name, lines in old.items():
        members, now = lines[:-1], new.get(name, [""])[:-1]
        if now[:len(members)] != members:
            moved = next((a for a, b in zip(members, now + [""] * len(members)) if a != b), name)
            found.append(f"{moved} is gone or has moved; members are only appended")
        elif len(now) == len(members) and new[name] != lines:
            found.append(f"the size of {name} was {lines[-1].split()[1]} and is {new[name][-1].split()[1]}")
    return found


def test_nothing_promised_has_changed():
    old, new = recorded(), layout()
    assert len(old) > 40
    assert not differences(old, new)
    for name in new:
        if new[name] != old.get(name):
            print(f"{name} has grown: tests/abi/test_layout.py --update")


def test_the_check_can_fail():
    old = {"A": ["A.size 0 8", "A.one 8 8", "A 16"]}
    assert not differences(old, old)
    assert not differences(old, {"A": ["A.size 0 8", "A.one 8 8", "A.two 16 8", "A 24"], "B": ["B 8"]})
    for bad in (["A.size 0 8", "A.zero 8 8", "A.one 16 8", "A 24"], ["A.size 0 8", "A 8"], ["A.size 0 8", "A.one 8 4", "A 16"],
                ["A.size 0 8", "A.one 8 8", "A 24"]):
        assert differences(old, {"A": bad})
    assert differences(old, {})


if __name__ == "__main__":
    if sys.argv[1:] != ["--update"]:
        sys.exit("usage: test_layout.py --update")
    current = layout()
    if os.path.exists(TABLE) and differences(recorded(), current):
        print("\n".join(differences(recorded(), current)))
        print("The promised layout changes with this. Go on only before 1.0.")
    with open(TABLE, "w", encoding="utf-8") as table:
        table.write("# SPDX-License-Identifier: LGPL-2.1-or-later\n# Struct.member offset size, then Struct size. Written by test_layout.py --update.\n")
        for lines in current.values():
            table.write("\n".join(lines) + "\n")
