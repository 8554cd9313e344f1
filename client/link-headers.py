#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""link-headers.py DIR STAMP HEADER...: links the headers into DIR, where sources include them as <gantry/...>."""
import os
import sys

directory, stamp, *headers = sys.argv[1:]
os.makedirs(directory, exist_ok=True)
for header in headers:
    link = os.path.join(directory, os.path.basename(header))
    if os.path.lexists(link):
        os.unlink(link)
    os.symlink(os.path.abspath(header), link)
with open(stamp, "w", encoding="ascii"):
    pass
