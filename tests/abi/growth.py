#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes a C program that calls every checked wrapper of the SDK on a vtable that ends just before its slot.

That is what a new caller finds in an old module. The vtable is an allocation of exactly that size, so that a sanitizer sees a wrapper
which reads beyond it. The wrapper has to answer NOT_IMPLEMENTED. A second round calls it on a vtable that is longer than ours,
whose slots all record that they were reached: what an old caller finds in a new module."""
import re
import sys

import sdk

HEAD = """/* Written by tests/abi/growth.py. */
%s
#include <stdlib.h>

/* What a vtable or a host is before anything is known of it. */
typedef struct
{
  size_t size;
  void (*slots[]) (void);
} AnyVtable;

static AnyVtable *
make_vtable (size_t size)
{
  AnyVtable *vtable = (AnyVtable *) malloc (size);

  memset (vtable, 0x5a, size); /* a slot that is there would be jumped to */
  vtable->size = size;
  return vtable;
}

static void
check_absent (const char *what, GError *error)
{
  if (!g_error_matches (error, GANTRY_ERROR, GANTRY_ERROR_NOT_IMPLEMENTED))
    g_error ("%%s: %%s", what, error != NULL ? error->message : "no error");
  g_clear_error (&error);
}
"""

CASE = """
static void
absent_{name} (void)
{{
  AnyVtable *vtable = make_vtable (G_STRUCT_OFFSET ({vtable}, {slot}));
  {instance}
  GError *error = NULL;

  (void) {name} ({arguments});
  check_absent ("{name}", error);
  free (vtable);
}}
"""


def zero(argument):
    """A zero of the type of "const char *name"."""
    type_ = re.sub(r"\w+$", "", argument).strip()
    return f"({type_}) 0"


def checked():
    """Wrapper, vtable's type, slot."""
    vtables = {member.name: None for member in ()}
    vtables = {}
    for struct in sdk.vtables():
        for member in struct.members:
            if member.is_slot:
                vtables.setdefault((struct.header, member.name), []).append(struct.name)
    for wrapper in sdk.wrappers():
        if not wrapper.arguments[-1].startswith("GError **"):
            continue
        if match := re.search(r"GANTRY_REQUIRE_SLOT \(self, (\w+), (\w+)", wrapper.body):
            yield wrapper, match[1], match[2]
        elif match := re.search(r"GANTRY_REQUIRE_HOST_SLOT \(self, (\w+)", wrapper.body):
            yield wrapper, "GantryHost", match[1]
        elif match := re.search(r"_CALL \((\w+)", wrapper.body):
            yield wrapper, next(name for name in vtables[wrapper.header, match[1]]), match[1]


def main():
    cases = list(checked())
    assert len(cases) > 80, len(cases)
    out = [HEAD % "\n".join(f"#include <{header}>" for header in sdk.headers())]
    for wrapper, vtable, slot in cases:
        self_type = re.match(r"((?:const )?\w+)", wrapper.arguments[0])[1]
        if vtable == "GantryHost":
            instance, self = "const GantryHost *self = (const GantryHost *) vtable;", "self"
        else:
            instance, self = f"struct {{ const {vtable} *vtable; }} self = {{ (const {vtable} *) vtable }};", f"({self_type} *) &self"
        arguments = [self, *(zero(argument) for argument in wrapper.arguments[1:-1]), "&error"]
        out.append(CASE.format(name=wrapper.name, vtable=vtable, slot=slot, instance=instance, arguments=", ".join(arguments)))
    out.append("\nint\nmain (int argc, char **argv)\n{\n  g_test_init (&argc, &argv, NULL);\n")
    out += [f'  g_test_add_func ("/growth/{vtable}/{slot}/{wrapper.name}", absent_{wrapper.name});\n' for wrapper, vtable, slot in cases]
    out.append("  return g_test_run ();\n}\n")
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        file.write("".join(out))


main()
