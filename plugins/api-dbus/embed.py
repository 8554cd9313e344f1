#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes a text file as a C string."""
import json
import sys

source, target, name = sys.argv[1:]
with open(source, encoding="utf-8") as file:
    lines = file.read().splitlines(keepends=True)
with open(target, "w", encoding="utf-8") as file:
    file.write(f"/* SPDX-License-Identifier: LGPL-2.1-or-later */\nstatic const char {name}[] =\n")
    for line in lines:
        file.write("  " + json.dumps(line) + "\n")
    file.write("  ;\n")
