#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes a manifest for the build tree: MODULE becomes the built file's absolute path."""
import os
import sys

source, stamp, target, module = sys.argv[1:]
with open(source, encoding="utf-8") as file:
    text = file.read().replace("@MODULE@", module)
os.makedirs(os.path.dirname(target), exist_ok=True)
for path in (target, stamp):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
