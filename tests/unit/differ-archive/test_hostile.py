# SPDX-License-Identifier: LGPL-2.1-or-later
"""Hostile layers: none may touch anything outside its snapshot, and each is refused with an error that names the entry, unless
what it asks for is harmless when the snapshot is taken for the root."""
import gzip
import os
import stat
import subprocess
import zlib

import pytest

from layers import (BLOCK, CHAR, DIR, FIFO, HARDLINK, LONGNAME, PAX, REG, SYMLINK, Target, archive, entry, gz, header, pad,
                    record, sparse_entry)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture(params=["plain", "overlay"])
def target(request, tmp_path):
    target = Target(tmp_path, overlay=request.param == "overlay")
    yield target
    target.assert_contained()
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        assert target.base not in file.read()


def refused(result, code, *words):
    assert result.status == 1, result.out
    assert result.code == code, result.error
    for word in words:
        assert word in result.error
    assert len(result.error) < 1000


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "./../evil", "/../evil", "a/b/../../../../outside/secret", ".."])
def test_name_above_the_root(target, name):
    refused(target.apply(archive(entry(name, REG, b"x"))), "InvalidArgument", f'"{name}"', "leaves the root")


def test_absolute_name_is_below_the_root(target):
    assert target.apply(archive(entry(target.outside + "/secret", REG, b"x"))).status == 0
    assert target.read(target.outside.lstrip("/") + "/secret") == b"x"


@pytest.mark.parametrize("where", ["absolute", "relative"])
@pytest.mark.parametrize("name", ["secret", "new", "dir/new"])
def test_symlink_out(target, where, name):
    link = target.outside if where == "absolute" else "../../../../../../../../.." + target.outside
    layer = archive(entry("esc", SYMLINK, link=link), entry("esc/" + name, REG, b"x"))
    assert target.apply(layer).status == 0
    assert target.read(target.outside.lstrip("/") + "/" + name) == b"x"


def test_directory_becomes_symlink(target):
    layer = archive(entry("d", DIR), entry("d/a", REG, b"1"), entry("d", SYMLINK, link=target.outside), entry("d/secret", REG, b"x"),
                    entry("d/sub", DIR), entry("d/sub/b", REG, b"x"))
    assert target.apply(layer).status == 0
    assert os.readlink(target.path("d")) == target.outside


def test_symlink_of_the_last_part_is_replaced(target):
    layer = archive(entry("s", SYMLINK, link=target.outside + "/secret"), entry("s", REG, b"x", mode=0o4777, uid=7))
    assert target.apply(layer).status == 0
    assert stat.S_ISREG(target.stat("s").st_mode)


def test_symlink_as_directory_entry_is_replaced(target):
    layer = archive(entry("s", SYMLINK, link=target.outside), entry("s", DIR, mode=0o777, uid=7), entry("s/x", REG, b"x"))
    assert target.apply(layer).status == 0
    assert stat.S_ISDIR(target.stat("s").st_mode)


def test_symlink_loop(target):
    layer = archive(entry("a", SYMLINK, link="b"), entry("b", SYMLINK, link="a"), entry("a/x", REG, b"x"))
    refused(target.apply(layer), "InvalidArgument", '"a/x"', "links")


def test_symlink_that_grows(target):
    layer = archive(entry("a", SYMLINK, link="a/" + "b/" * 48), entry("a/x", REG, b"x"))
    refused(target.apply(layer), "InvalidArgument", '"a/x"')


@pytest.mark.parametrize("link", ["../../outside/secret", "../outside/secret"])
def test_hard_link_above_the_root(target, link):
    refused(target.apply(archive(entry("h", HARDLINK, link=link))), "InvalidArgument", '"h"', "leaves the root")


def test_hard_link_to_absolute(target):
    refused(target.apply(archive(entry("h", HARDLINK, link=target.outside + "/secret"))), "InvalidArgument", '"h"')


def test_hard_link_through_symlink(target):
    layer = archive(entry("esc", SYMLINK, link=target.outside), entry("h", HARDLINK, link="esc/secret"))
    refused(target.apply(layer), "InvalidArgument", '"h"')
    assert os.stat(target.outside + "/secret").st_nlink == 1


def test_hard_link_to_symlink_is_not_followed(target):
    layer = archive(entry("s", SYMLINK, link=target.outside + "/secret"), entry("h", HARDLINK, link="s"), entry("h", REG, b"x"))
    assert target.apply(layer).status == 0


def test_hard_link_to_directory(target):
    layer = archive(entry("d", DIR), entry("h", HARDLINK, link="d"))
    refused(target.apply(layer), "InvalidArgument", '"h"', "directory")


def test_hard_link_to_itself(target):
    refused(target.apply(archive(entry("h", HARDLINK, link="h"))), "InvalidArgument", '"h"')


@pytest.mark.parametrize("kind", [REG, SYMLINK, HARDLINK, FIFO])
@pytest.mark.parametrize("name", ["./", "/", "a/.."])
def test_root_replaced(target, kind, name):
    if kind == REG and name.endswith("/"):
        pytest.skip("old archives write directories like this")
    refused(target.apply(archive(entry("x"), entry(name, kind, link="x"))), "InvalidArgument", "root directory")


def test_device_is_not_written_to(target):
    layer = archive(entry("null", CHAR, device=(1, 3)), entry("null", REG, b"x" * 10), entry("zero", CHAR, device=(1, 5)),
                    entry("zero/x", REG, b"x"))
    refused(target.apply(layer), "InvalidArgument", '"zero/x"', "not a directory")
    assert target.read("null") == b"x" * 10


def test_fifo_is_not_opened(target):
    layer = archive(entry("f", FIFO), entry("f", REG, b"x"), entry("g", FIFO), entry("g", DIR))
    assert target.apply(layer).status == 0


def test_device_bomb(target):
    layer = archive(*(entry(f"d{i}", BLOCK, device=(8, i)) for i in range(50)))
    refused(target.apply(layer, MaxDevices=20), "ResourceExhausted", '"d20"', "MaxDevices")


def test_file_as_directory(target):
    refused(target.apply(archive(entry("f", REG, b"x"), entry("f/x", REG, b"x"))), "InvalidArgument", '"f/x"', "not a directory")


def test_sparse_file_of_ten_terabytes(target):
    layer = archive(sparse_entry("huge", 10 << 40, [(0, b"a"), ((10 << 40) - 1, b"z")]))
    refused(target.apply(layer), "ResourceExhausted", '"huge"', "MaxBytes")


def test_sparse_file_whose_data_lies_outside(target):
    result = target.apply(archive(sparse_entry("s", 10, [(100000, b"a" * 10)])))
    assert result.status == 0 and target.stat("s").st_size == 10 or result.code == "InvalidArgument"


def test_many_sparse_files(target):
    layer = archive(*(sparse_entry(f"s{i}", 60 << 30, [(0, b"a")]) for i in range(8)))
    refused(target.apply(layer), "ResourceExhausted", '"s4"', "MaxBytes")


def test_entries_without_end(target):
    layer = gz(b"".join(entry(f"f{i}") for i in range(3000)))
    refused(target.apply(layer, MaxEntries=1000), "ResourceExhausted", "MaxEntries")


def test_endless_gzip(target):
    compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
    layer = compressor.compress(header("zeros", REG, 1 << 30)) + b"".join(compressor.compress(bytes(1 << 20)) for _ in range(200))
    refused(target.apply(layer + compressor.flush(), MaxBytes=8 << 20), "ResourceExhausted", "MaxBytes")


def test_endless_gzip_after_the_archive(target):
    layer = gz(archive(entry("a")) + bytes(64 << 20))
    refused(target.apply(layer, MaxBytes=8 << 20), "ResourceExhausted", "MaxBytes")


def test_endless_gzip_members(target):
    layer = gz(archive(entry("a"))) + gz(bytes(1 << 20)) * 100
    refused(target.apply(layer, MaxBytes=8 << 20), "ResourceExhausted", "MaxBytes")


@pytest.mark.parametrize("size", [300, 5000, 1000000])
def test_long_names(target, size):
    name = "n" * size
    refused(target.apply(archive(entry("x", REG, b"", pax={"path": name}))), "InvalidArgument", "nnn" if size < 1000000 else "1MB")
    gnu = entry("././@LongLink", LONGNAME, name.encode() + b"\0") + entry("x")
    refused(target.apply(archive(gnu)), "InvalidArgument", "nnn")


def test_name_of_two_megabytes(target):
    refused(target.apply(archive(entry("x", REG, b"", pax={"path": "n" * 2000000}))), "InvalidArgument")


def test_long_link(target):
    refused(target.apply(archive(entry("l", SYMLINK, pax={"linkpath": "n" * 6000}))), "InvalidArgument", '"l"')


def test_deep_directories(target):
    layer = archive(entry("x", REG, b"", pax={"path": "d/" * 1000 + "x"}))
    refused(target.apply(layer), "ResourceExhausted", "deeper")
    layer = archive(*(entry("x", DIR, b"", pax={"path": "e/" * depth}) for depth in range(1, 40)))
    refused(target.apply(layer, MaxDepth=30), "ResourceExhausted", "deeper")


def test_large_pax_header(target):
    body = record("comment", b"c" * (40 << 20))
    layer = archive(header("p", PAX, len(body)) + pad(body) + entry("x"))
    refused(target.apply(gz(layer, 1)), "InvalidArgument")


def test_pax_header_that_lies_about_its_size(target):
    for body in (b"999999 path=x\n", b"5 p\n", b"-3 path=x\n", b"99999999999999999999 path=x\n", b"12 path=", b"\0" * 20):
        result = target.apply(archive(header("p", PAX, len(body)) + pad(body) + entry("fine")))
        assert result.status == 0 or result.code == "InvalidArgument", body


def test_xattrs_without_end(target):
    pax = {f"SCHILY.xattr.user.{i}": "v" * 500 for i in range(5)}
    refused(target.apply(archive(entry("x", pax=pax)), MaxXattrs=1200), "ResourceExhausted", '"x"', "extended attributes")


def test_overlay_xattrs_are_left_out(target):
    pax = {"SCHILY.xattr.trusted.overlay.redirect": "/outside", "SCHILY.xattr.trusted.overlay.opaque": "y",
           "SCHILY.xattr.user.overlay.opaque": "y"}
    assert target.apply(archive(entry("d", DIR, pax=pax))).status == 0
    assert not [name for name in os.listxattr(target.path("d")) if "overlay" in name]


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "a/.wh..."])
def test_whiteout_of_nothing(target, name):
    refused(target.apply(archive(entry("a/x", REG, b"x"), entry(name))), "InvalidArgument", f'"{name}"', "whiteout")


def test_whiteout_through_symlink(target):
    layer = archive(entry("esc", SYMLINK, link=target.outside), entry("esc/.wh.secret"), entry("esc/.wh..wh..opq"))
    assert target.apply(layer).status == 0
    assert os.path.exists(target.outside + "/secret")


@pytest.mark.parametrize("field", ["uid", "gid"])
@pytest.mark.parametrize("value", [-1, 1 << 32, (1 << 32) - 1])
def test_ids_out_of_range(target, field, value):
    refused(target.apply(archive(entry("x", REG, b"x", **{field: value}))), "InvalidArgument", '"x"', "id")


def test_negative_size(target):
    assert target.apply(archive(entry("x", REG, b"", size=-5))).code == "InvalidArgument"


def test_size_beyond_the_end(target):
    refused(target.apply(archive(entry("x", REG, b"abc", size=1 << 20))), "InvalidArgument", '"x"')
    refused(target.apply(archive(entry("x", REG, b"abc", size=1 << 50))), "ResourceExhausted", '"x"')


@pytest.mark.parametrize("length", [100, 512, 700, 1100, 2511, 2560 + 100, 3000, 4500])
def test_truncated(target, length):
    plain = archive(entry("a", REG, os.urandom(2000)), entry("b", REG, os.urandom(2000)))
    result = target.apply(plain[:length])
    # A cut between two entries can't be told from an archive without an end mark; its DiffID tells.
    assert result.status == 0 if length in (512 + 2048, 0) else result.code == "InvalidArgument"
    refused(target.apply(gz(plain)[:min(length, 4000)]), "InvalidArgument")


def test_without_padding(target):
    """"umoci insert" ends an archive right behind the data of its last file; what fills the block may lack in part, too."""
    data = os.urandom(2000)
    for length in (512 + 2000, 512 + 2000 + 1):
        result = target.apply(archive(entry("a", REG, data))[:length])
        assert result.status == 0, result.error
    assert open(target.path("a"), "rb").read() == data


def test_wrong_gzip_checksum(target):
    layer = bytearray(gz(archive(entry("a", REG, b"x" * 5000))))
    layer[-6] ^= 1
    refused(target.apply(bytes(layer)), "InvalidArgument", "gzip")


def test_broken_gzip(target):
    layer = bytearray(gz(archive(entry("a", REG, os.urandom(5000)))))
    layer[20:200] = os.urandom(180)
    refused(target.apply(bytes(layer)), "InvalidArgument")


def test_garbage_after_gzip(target):
    refused(target.apply(gz(archive(entry("a"))) + b"garbage"), "InvalidArgument")


def test_wrong_header_checksum(target):
    refused(target.apply(archive(entry("a", REG, b"x"), header("b", checksum=1))), "InvalidArgument")


@pytest.mark.parametrize("data", [b"PK\3\4" + b"zip" * 500, b"!<arch>\n" + b" " * 1000, b"\xff" * 4096, b"hello"],
                         ids=["zip", "ar", "bytes", "text"])
def test_not_tar(target, data):
    refused(target.apply(data), "InvalidArgument", "tar")
    refused(target.apply(gz(data)), "InvalidArgument", "tar")


def test_unprintable_name_in_error(target):
    result = target.apply(archive(entry(b"../\x1b[2J\n\xff", REG, b"x")))
    refused(result, "InvalidArgument", "leaves the root")
    assert "\x1b" not in result.error and "\n" not in result.error


def test_worker_alone_refuses(target):
    from layers import WORKER
    process = subprocess.run([WORKER], capture_output=True, stdin=subprocess.DEVNULL, check=False)
    assert process.returncode == 64


def test_memory_limit(target):
    layer = gz(archive(*(entry(f"d{i}/" * 3, DIR) for i in range(100))))
    assert target.apply(layer, MaxMemory=256 << 20).status == 0


def test_random_damage(target):
    """A good layer with bytes turned over: refused or unpacked, but never worse."""
    import random
    rng = random.Random(7)
    good = archive(entry("d", DIR), entry("d/f", REG, b"data" * 300, pax={"mtime": "1.5", "SCHILY.xattr.user.a": "b"}),
                   entry("l", SYMLINK, link="d"), entry("h", HARDLINK, link="d/f"), sparse_entry("s", 5000, [(0, b"a"), (4096, b"b")]))
    for _ in range(25):
        layer = bytearray(good)
        for _ in range(rng.randrange(1, 6)):
            layer[rng.randrange(len(layer))] = rng.randrange(256)
        result = target.apply(bytes(layer))
        assert result.status == 0 or result.code in ("InvalidArgument", "ResourceExhausted"), result.error
        target.assert_contained()
