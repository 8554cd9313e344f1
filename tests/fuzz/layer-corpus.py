#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes the seed layers of fuzz-layer into a directory: layer-corpus.py DIRECTORY STAMP."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "unit", "differ-archive"))
sys.dont_write_bytecode = True
from layers import (BLOCK, CHAR, DIR, FIFO, HARDLINK, LONGNAME, REG, SYMLINK, archive, entry, gz, header, pad, record,  # noqa: E402
                    sparse_entry)

SEEDS = {
    "plain": archive(entry("d", DIR), entry("d/f", REG, b"data" * 200), entry("l", SYMLINK, link="d"), entry("h", HARDLINK, link="d/f")),
    "special": archive(entry("n", CHAR, device=(1, 3)), entry("b", BLOCK, device=(8, 0)), entry("p", FIFO)),
    "pax": archive(entry("x", REG, b"x", pax={"path": "n" * 150, "mtime": "1.5", "SCHILY.xattr.user.a": "b"})),
    "pax-bytes": archive(entry("x", REG, b"x", pax={"path": b"\xff" * 150}), entry("l", SYMLINK, pax={"linkpath": b"\xfe" * 120})),
    "gnu": archive(entry("././@LongLink", LONGNAME, b"n" * 150 + b"\0"), entry("n" * 100, REG, b"x")),
    "sparse": archive(sparse_entry("s", 100000, [(0, b"a" * 100), (50000, b"b")])),
    "huge": archive(sparse_entry("s", 10 << 40, [(0, b"a")])),
    "whiteouts": archive(entry("d/.wh.f"), entry(".wh.d"), entry("d", DIR), entry("d/.wh..wh..opq"), entry("l/.wh.f"), entry("out/.wh.secret")),
    "whiteouts-bad": archive(entry(".wh.")) + archive(entry(".wh..")),
    "dots": archive(entry("../secret", REG, b"x")),
    "dots-inside": archive(entry("a/../../secret", REG, b"x")),
    "link-out": archive(entry("o", SYMLINK, link="../secret"), entry("o", REG, b"x"), entry("u", SYMLINK, link=".."), entry("u/secret", REG, b"x")),
    "link-loop": archive(entry("a", SYMLINK, link="b"), entry("b", SYMLINK, link="a/b"), entry("a/x", REG)),
    "hard-link-out": archive(entry("u", SYMLINK, link=".."), entry("h", HARDLINK, link="u/secret")),
    "hard-link-lower": archive(entry("l/h", HARDLINK, link="l/f"), entry("out", REG, b"x")),
    "through-lower": archive(entry("l/new", REG, b"x"), entry("out/x", REG, b"x"), entry("f/x", REG, b"x")),
    "replace": archive(entry("x", DIR), entry("x/y", REG), entry("x", SYMLINK, link=".."), entry("x/secret", REG), entry("x", REG)),
    "root": archive(entry("./", DIR, mode=0o700, mtime=5), entry("/", REG)),
    "deep": archive(entry("x", REG, pax={"path": "d/" * 40 + "x"})),
    "checksum": archive(entry("a"), header("b", checksum=0)),
    "truncated": archive(entry("a", REG, b"x" * 5000))[:2000],
    "pax-lies": archive(header("p", b"x", 30) + pad(b"999 path=x\n") + entry("y")),
    "pax-global": archive(header("p", b"g", 20) + pad(record("path", b"glob")) + entry("y")),
    "empty": b"",
    "zeros": bytes(2048),
}


def main():
    directory = sys.argv[1]
    os.makedirs(directory, exist_ok=True)
    for name, tar in SEEDS.items():
        for kind in range(4):
            for suffix, blob in (("", tar), (".gz", gz(tar))):
                with open(os.path.join(directory, f"{name}-{kind}{suffix}"), "wb") as file:
                    file.write(bytes([kind]) + blob)
    with open(sys.argv[2], "wb"):
        pass


main()
