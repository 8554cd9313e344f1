# SPDX-License-Identifier: LGPL-2.1-or-later
"""Good layers arrive as they are meant."""
import hashlib
import os
import shutil
import stat
import struct
import subprocess

import pytest

from layers import (BLOCK, CHAR, DIR, FIFO, HARDLINK, LONGNAME, REG, SYMLINK, Target, archive, capability, entry, gz,
                    sparse_entry)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture(params=["plain", "overlay"])
def make(request, tmp_path):
    return lambda *lower: Target(tmp_path, overlay=request.param == "overlay", lower=lower)


@pytest.fixture
def target(make):
    return make()


def applied(target, layer, **settings):
    result = target.apply(layer, **settings)
    assert result.status == 0, result.error
    return result


@pytest.mark.parametrize("sync", ["yes", "no"])
def test_diff_id(target, sync):
    plain = archive(entry("a", REG, b"x" * 700000))
    result = applied(target, gz(plain), sync=sync)
    assert result.out == f"sha256:{hashlib.sha256(plain).hexdigest()} {len(plain)}\n"


def test_diff_id_covers_what_follows_the_archive(target):
    plain = archive(entry("a", REG, b"x")) + bytes(300000) + b"trailer"
    assert applied(target, gz(plain)).digest == "sha256:" + hashlib.sha256(plain).hexdigest()


def test_empty(target):
    assert applied(target, b"").out.split()[1] == "0"
    applied(target, bytes(1024))
    applied(target, gz(bytes(10240)))
    assert target.names(target.root) == {}


def test_gzip_members(target):
    plain = archive(entry("a", REG, os.urandom(300000)), entry("b", REG, b"b"))
    parts = [plain[i:i + 10000] for i in range(0, len(plain), 10000)]
    assert applied(target, b"".join(gz(part) for part in parts)).digest == "sha256:" + hashlib.sha256(plain).hexdigest()
    assert target.read("b") == b"b"
    applied(target, gz(plain) + bytes(100))


@pytest.mark.skipif(shutil.which("zstd") is None, reason="needs zstd")
def test_zstd(target):
    plain = archive(entry("a", REG, b"x" * 700000), entry("b", REG, b"b"))
    pack = lambda data: subprocess.run(["zstd", "-c"], input=data, capture_output=True, check=True).stdout
    skippable = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"
    layer = skippable + pack(plain[:5000]) + skippable + pack(plain[5000:]) + skippable
    assert applied(target, layer).digest == "sha256:" + hashlib.sha256(plain).hexdigest()
    assert target.read("b") == b"b"
    result = target.apply(layer[:len(layer) // 2])
    assert result.status == 1 and "zstd data is truncated" in result.error
    broken = bytearray(layer)
    broken[60] ^= 0xFF
    assert "zstd" in target.apply(bytes(broken)).error


def test_modes_owners_and_times(target):
    applied(target, archive(
        entry("./", DIR, mode=0o711, uid=3, gid=4, mtime=1000),
        entry("d", DIR, mode=0o2775, uid=5, gid=6, mtime=2000),
        entry("d/suid", REG, b"x", mode=0o4755, uid=7, gid=8, mtime=3000),
        entry("d/root", REG, b"x", mode=0o600),
        entry("d/sticky", DIR, mode=0o1777),
        entry("d/ns", REG, b"x", pax={"mtime": "1234567890.123456789"}),
        entry("d/old", REG, b"x", pax={"mtime": "-5.5"}),
        entry("d/l", SYMLINK, link="root", uid=9, gid=10, mtime=4000),
        entry("e/deep/er", REG, b"x"),
        entry("d/late", REG, b"x", uid=(1 << 32) - 2, gid=2097152)))
    assert (stat.S_IMODE(target.stat("").st_mode), target.stat("").st_uid, target.stat("").st_gid) == (0o711, 3, 4)
    assert target.stat("").st_mtime == 1000
    d = target.stat("d")
    assert (stat.S_IMODE(d.st_mode), d.st_uid, d.st_gid, d.st_mtime) == (0o2775, 5, 6, 2000)
    suid = target.stat("d/suid")
    assert (stat.S_IMODE(suid.st_mode), suid.st_uid, suid.st_gid, suid.st_mtime) == (0o4755, 7, 8, 3000)
    root = target.stat("d/root")
    assert (stat.S_IMODE(root.st_mode), root.st_uid, root.st_gid) == (0o600, 0, 0)
    assert stat.S_IMODE(target.stat("d/sticky").st_mode) == 0o1777
    assert target.stat("d/ns").st_mtime_ns == 1234567890123456789
    assert target.stat("d/old").st_mtime_ns in (-5500000000, -4500000000)
    link = target.stat("d/l")
    assert (link.st_uid, link.st_gid, link.st_mtime, os.readlink(target.path("d/l"))) == (9, 10, 4000, "root")
    assert (target.stat("d/late").st_uid, target.stat("d/late").st_gid) == ((1 << 32) - 2, 2097152)
    assert stat.S_IMODE(target.stat("e").st_mode) == 0o755


def test_directory_after_its_files(target):
    applied(target, archive(entry("d/f", REG, b"x"), entry("x", REG, b"x"), entry("d", DIR, mode=0o700, mtime=77),
                            entry("y", REG, b"x"), entry("d/g", REG, b"x")))
    assert (stat.S_IMODE(target.stat("d").st_mode), target.stat("d").st_mtime) == (0o700, 77)


def test_read_only_directory(target):
    applied(target, archive(entry("d", DIR, mode=0o555), entry("d/f", REG, b"x", mode=0o400)))
    assert target.read("d/f") == b"x"


def test_special_files(target):
    applied(target, archive(entry("null", CHAR, device=(1, 3), mode=0o666), entry("b", BLOCK, device=(259, 70000), mode=0o660, gid=6),
                            entry("f", FIFO, mode=0o4640)))
    null = target.stat("null")
    assert stat.S_ISCHR(null.st_mode) and null.st_rdev == os.makedev(1, 3) and stat.S_IMODE(null.st_mode) == 0o666
    assert stat.S_ISBLK(target.stat("b").st_mode) and target.stat("b").st_rdev == os.makedev(259, 70000)
    assert stat.S_ISFIFO(target.stat("f").st_mode) and stat.S_IMODE(target.stat("f").st_mode) == 0o4640


def test_hard_links(target):
    applied(target, archive(entry("a/b", REG, b"x"), entry("c/d", HARDLINK, link="a/b"), entry("e", HARDLINK, link="./a//b"),
                            entry("l", SYMLINK, link="a"), entry("f", HARDLINK, link="l/b"), entry("s", HARDLINK, link="l"),
                            entry("e", HARDLINK, link="c/d")))
    assert target.stat("a/b").st_nlink == 4
    assert target.stat("a/b").st_ino == target.stat("e").st_ino == target.stat("f").st_ino
    assert os.readlink(target.path("s")) == "a"


def test_xattrs(target):
    caps = capability(10)
    applied(target, archive(
        entry("f", REG, b"x", uid=5, pax={"SCHILY.xattr.user.a": b"v\0\xff", "SCHILY.xattr.security.capability": caps}),
        entry("d", DIR, pax={"SCHILY.xattr.user.b": b""}),
        entry("l", SYMLINK, link="f", pax={"SCHILY.xattr.trusted.c": b"t", "SCHILY.xattr.user.no": b"x"})))
    assert os.getxattr(target.path("f"), "user.a") == b"v\0\xff"
    assert os.getxattr(target.path("f"), "security.capability") == caps
    assert os.getxattr(target.path("d"), "user.b") == b""
    assert os.getxattr(target.path("l"), "trusted.c", follow_symlinks=False) == b"t"


@pytest.mark.parametrize("name", [b"\xc3\xa9" * 60, b"\xff\xfe" * 60, b"sp ace\ttab\nline" * 8, b"'quote\"\\" * 20],
                         ids=["utf-8", "bytes", "spaces", "quotes"])
def test_pax_names(target, name):
    applied(target, archive(entry("x", REG, b"1", pax={"path": b"dir/" + name}),
                            entry("l", SYMLINK, pax={"linkpath": name * 3}), entry("x", HARDLINK, pax={"linkpath": b"dir/" + name, "path": b"h" + name})))
    assert os.listdir(target.path(b"dir")) == [name]
    assert os.readlink(target.path(b"l")) == name * 3
    assert target.stat(b"h" + name).st_nlink == 2


def test_gnu_long_name(target):
    name = "d" * 90 + "/" + "f" * 200
    applied(target, archive(entry("././@LongLink", LONGNAME, name.encode() + b"\0"), entry(name[:100], REG, b"x")))
    assert target.read(name) == b"x"


def test_sparse(target):
    applied(target, archive(sparse_entry("s", 50 << 20, [(4096, b"a" * 5000), (40 << 20, b"end")])))
    data = target.read("s")
    assert len(data) == 50 << 20 and data[4096:9096] == b"a" * 5000 and data[40 << 20:(40 << 20) + 4] == b"end\0"
    assert target.stat("s").st_blocks < 200


@pytest.mark.skipif(shutil.which("tar") is None, reason="needs GNU tar")
@pytest.mark.parametrize("format_", ["gnu", "pax", "ustar", "oldgnu"])
def test_gnu_tar(target, tmp_path, format_):
    source = tmp_path / "source"
    (source / "dir").mkdir(parents=True)
    (source / "dir" / "f").write_bytes(os.urandom(100000))
    (source / ("n" * 80)).write_text("x")
    with open(source / "sparse", "wb") as file:
        file.truncate(1 << 20)
        file.seek(1 << 19)
        file.write(b"middle")
    sparse = [] if format_ == "ustar" else ["--sparse"]
    layer = subprocess.run(["tar", "-C", source, f"--format={format_}", *sparse, "-czf", "-", "."], check=True, capture_output=True).stdout
    applied(target, layer)
    subprocess.run(["diff", "-r", source, target.root], check=True)


def test_entries_that_replace_each_other(target):
    applied(target, archive(entry("x", REG, b"1" * 100), entry("x", REG, b"2"), entry("y", DIR), entry("y/sub/f", REG, b"1"),
                            entry("y", REG, b"2"), entry("z", SYMLINK, link="a"), entry("z", DIR), entry("z/f", REG, b"3"),
                            entry("w", DIR), entry("w/f", REG, b"1"), entry("w", DIR, mode=0o700)))
    assert target.read("x") == b"2" and target.read("y") == b"2" and target.read("z/f") == b"3" and target.read("w/f") == b"1"


def test_id_maps(target):
    caps = capability(5)
    applied(target, archive(entry("root", REG, b"x", pax={"SCHILY.xattr.security.capability": caps}), entry("user", DIR, uid=1000, gid=50)),
            uid_map="0:100000:1000,1000:5000:1", gid_map="0:200000:65536")
    assert (target.stat("root").st_uid, target.stat("root").st_gid) == (100000, 200000)
    assert (target.stat("user").st_uid, target.stat("user").st_gid) == (5000, 200050)
    value = os.getxattr(target.path("root"), "security.capability")
    assert len(value) == 24 and int.from_bytes(value[20:24], "little") == 100000
    third = (0x03000001).to_bytes(4, "little") + caps[4:] + (1000).to_bytes(4, "little")
    applied(target, archive(entry("third", REG, b"x", pax={"SCHILY.xattr.security.capability": third})), uid_map="0:100000:1000,1000:5000:1")
    assert int.from_bytes(os.getxattr(target.path("third"), "security.capability")[20:24], "little") == 5000
    result = target.apply(archive(entry("bad", REG, b"x", pax={"SCHILY.xattr.security.capability": caps[:10]})), uid_map="0:100000:1000")
    assert result.code == "InvalidArgument" and '"bad"' in result.error
    result = target.apply(archive(entry("far", REG, b"x", uid=1001)), uid_map="0:100000:1000")
    assert result.code == "InvalidArgument" and '"far"' in result.error and "1001" in result.error
    assert target.apply(archive(entry("x")), uid_map="0:1").code == "InvalidArgument"


BASE = (entry("etc", DIR, mode=0o750, uid=4, gid=5, mtime=50, pax={"SCHILY.xattr.user.k": "v"}), entry("etc/a", REG, b"a"), entry("etc/b", REG, b"b"),
        entry("usr/lib/x", REG, b"x"), entry("lib", SYMLINK, link="usr/lib"), entry("abs", SYMLINK, link="/usr/lib"),
        entry("gone/deep/f", REG, b"f"), entry("keep", REG, b"k"))


def test_whiteout(make):
    target = make(archive(*BASE))
    applied(target, archive(entry("etc/.wh.a"), entry(".wh.gone"), entry("none/.wh.x")))
    names = target.merged()
    assert "etc/a" not in names and "gone" not in names and "gone/deep" not in names
    assert names["etc/b"] == "f" and names["keep"] == "f"


@pytest.mark.parametrize("first", ["whiteout", "files"])
def test_opaque(make, first):
    target = make(archive(*BASE))
    entries = [entry("etc", DIR, mode=0o755), entry("etc/.wh..wh..opq"), entry("etc/new/f", REG, b"n")]
    if first == "files":
        entries = [entries[0], entries[2], entries[1]]
    applied(target, archive(*entries))
    assert {name: kind for name, kind in target.merged().items() if name.startswith("etc")} == {"etc": "d", "etc/new": "d", "etc/new/f": "f"}


def test_whiteout_spares_its_own_layer(make):
    target = make(archive(*BASE))
    applied(target, archive(entry("gone", DIR), entry("gone/new", REG, b"n"), entry(".wh.gone"), entry("keep", REG, b"2"), entry(".wh.keep"),
                            entry(".wh.etc"), entry("etc", DIR), entry("etc/mine", REG, b"m")))
    names = target.merged()
    assert names["gone/new"] == "f" and "gone/deep" not in names
    assert names["keep"] == "f" and target.read("keep") == b"2"
    assert {name for name in names if name.startswith("etc")} == {"etc", "etc/mine"}


def test_whiteout_then_implied_directory(make):
    target = make(archive(*BASE))
    applied(target, archive(entry(".wh.etc"), entry("etc/mine", REG, b"m")))
    assert {name for name in target.merged() if name.startswith("etc")} == {"etc", "etc/mine"}


def test_rebase(tmp_path):
    """Unpacked without the layers below, then shown on top of them."""
    target = Target(tmp_path, overlay=True, lower=[archive(*BASE)])
    layer = archive(entry("etc", DIR), entry("etc/.wh.a"), entry("etc/new", REG, b"n"), entry(".wh.gone"), entry("dir", DIR), entry("dir/.wh..wh..opq"))
    result = target.run(layer, "bind", target.root, "rbind", rebase="yes", sync="no")
    assert result.status == 0, result.error
    names = target.merged()
    assert names["etc/new"] == "f" and names["etc/b"] == "f" and "etc/a" not in names and "gone" not in names


def settled(tmp_path, below, layer):
    """The same layer unpacked on the layers below, and without them and settled."""
    results = []
    for name in ("on-top", "settled"):
        (tmp_path / name).mkdir()
        target = Target(tmp_path / name, overlay=True, lower=below)
        if name == "on-top":
            result = target.apply(layer)
        else:
            result = target.run(layer, "bind", target.root, "rbind", rebase="yes", sync="no", below=":".join(target.lowers))
        results.append((target, result))
    return results


def metadata(target):
    found = {}
    for directory, subdirs, _ in os.walk(target.root):
        for name in ["."] + subdirs:
            path = os.path.join(directory, name)
            st = os.lstat(path)
            attributes = {key: os.getxattr(path, key) for key in os.listxattr(path) if not key.startswith("security.")}
            # What no layer says has the time of its making.
            mtime = st.st_mtime if st.st_mtime < 1e9 else None
            found[os.path.relpath(path, target.root)] = (oct(st.st_mode), st.st_uid, st.st_gid, mtime, attributes)
    return found


ABOVE = (entry("etc/deep", DIR, mode=0o2770, uid=7, gid=8, mtime=99, pax={"SCHILY.xattr.user.d": "e"}), entry("etc/deep/old", REG, b"o"))


@pytest.mark.parametrize("entries", [
    [entry("etc/new", REG, b"n")],
    [entry("etc/deep/new", REG, b"n"), entry("usr/lib/y", REG, b"y")],
    [entry("etc/.wh.a")],
    [entry("usr/lib/sub/.wh.nothing"), entry("usr/lib/sub/f", REG, b"f")],
    [entry("usr/lib/new", REG, b"n"), entry("usr/lib", DIR, mode=0o700, uid=1, mtime=5)],
    [entry(".wh.etc"), entry("etc/deep/mine", REG, b"m")],
    [entry("etc", DIR, mode=0o755), entry("etc/.wh..wh..opq"), entry("etc/deep/mine", REG, b"m")],
    [entry("a/b/c/f", REG, b"f"), entry("a", REG, b"no directory")],
], ids=["file", "deep", "whiteout", "nothing-below", "entry-later", "whited-out", "opaque", "replaced"])
def test_implied_directories_are_settled(tmp_path, entries):
    (on_top, first), (settled_, second) = settled(tmp_path, [archive(*BASE), archive(*ABOVE)], archive(entry("./", DIR, mtime=3), *entries))
    assert first.status == 0 and second.status == 0, (first.error, second.error)
    assert settled_.merged() == on_top.merged()
    assert metadata(settled_) == metadata(on_top)


def test_root_is_settled(tmp_path):
    below = [archive(entry("./", DIR, mode=0o711, uid=3, gid=4, mtime=77), entry("d", DIR))]
    target = Target(tmp_path, overlay=True, lower=below)
    result = target.run(archive(entry("f", REG, b"f")), "bind", target.root, "rbind", rebase="yes", sync="no", below=target.lowers[0])
    assert result.status == 0, result.error
    st = target.stat("")
    assert (stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid, st.st_mtime) == (0o711, 3, 4, 77)


@pytest.mark.parametrize("name", ["lib/y", "lib/.wh.x", "abs/y", "keep/y"])
def test_settle_refuses_what_is_no_directory(tmp_path, name):
    """A link below leads elsewhere, which only who unpacks on top of it can know."""
    target = Target(tmp_path, overlay=True, lower=[archive(*BASE)])
    result = target.run(archive(entry(name, REG, b"y")), "bind", target.root, "rbind", rebase="yes", sync="no", below=target.lowers[0])
    assert result.code == "FailedPrecondition" and name.split("/")[0] in result.error


@pytest.mark.parametrize("name", ["bad\nname/y", b"\xff/y"], ids=["newline", "no-utf8"])
def test_rebase_refuses_names_it_cannot_tell(tmp_path, name):
    target = Target(tmp_path)
    result = target.run(archive(entry(name, REG, b"y")), "bind", target.root, "rbind", rebase="yes", sync="no")
    assert result.code == "FailedPrecondition"


def test_aufs_metadata_is_left_out(target):
    applied(target, archive(entry(".wh..wh.aufs", REG, b"x"), entry(".wh..wh.plnk", DIR), entry(".wh..wh.plnk/1.2", REG, b"x"), entry("f", REG, b"x")))
    assert target.names(target.root) == {"f": "f"}


def test_through_lower_symlinks(make):
    target = make(archive(*BASE))
    applied(target, archive(entry("lib/new", REG, b"n"), entry("abs/other", REG, b"o"), entry("lib/h", HARDLINK, link="lib/new"), entry("lib/.wh.x")))
    names = target.merged()
    assert names["lib"] == "lusr/lib" and names["abs"] == "l/usr/lib"
    assert names["usr/lib/new"] == names["usr/lib/other"] == names["usr/lib/h"] == "f" and "usr/lib/x" not in names


def test_hard_link_to_a_lower_file(make):
    """The file is copied up, with what it is, and both names are one file."""
    pax = {"SCHILY.xattr.user.a": b"v"}
    target = make(archive(entry("etc", DIR, mode=0o750, uid=4, mtime=5), entry("etc/f", REG, b"data", mode=0o640, uid=7, gid=8, mtime=9, pax=pax),
                          entry("lib", SYMLINK, link="etc"), entry("s", SYMLINK, link="nowhere"), entry("p", FIFO)))
    applied(target, archive(entry("bin/h", HARDLINK, link="lib/f"), entry("i", HARDLINK, link="etc/f"), entry("t", HARDLINK, link="s")))
    one = target.stat("bin/h")
    assert one.st_ino == target.stat("etc/f").st_ino == target.stat("i").st_ino and one.st_nlink == 3
    assert (stat.S_IMODE(one.st_mode), one.st_uid, one.st_gid, one.st_mtime) == (0o640, 7, 8, 9) and target.read("i") == b"data"
    assert os.getxattr(target.path("i"), "user.a") == b"v" and os.readlink(target.path("t")) == "nowhere"
    etc = target.stat("etc")
    assert (stat.S_IMODE(etc.st_mode), etc.st_uid) == (0o750, 4)


def test_hard_links_to_what_is_not_there(make):
    target = make(archive(entry("d/f", REG, b"data" * 1000), entry("d/p", FIFO)))
    for layer, settings in ((archive(entry("d/.wh.f"), entry("h", HARDLINK, link="d/f")), {}),
                            (archive(entry("d/.wh..wh..opq"), entry("h", HARDLINK, link="d/f")), {}),
                            (archive(entry("h", HARDLINK, link="d/none")), {}), (archive(entry("h", HARDLINK, link="none/none")), {}),
                            (archive(entry("h", HARDLINK, link="d")), {})):
        result = target.apply(layer, **settings)
        assert result.status != 0 and '"h"' in result.error, (layer, result.error)


def test_hard_links_below_are_limited_and_rebased(tmp_path):
    os.mkdir(tmp_path / "alone")
    target = Target(tmp_path, overlay=True, lower=[archive(entry("d/f", REG, b"data" * 1000))])
    layer = archive(entry("h", HARDLINK, link="d/f"))
    assert "MaxBytes" in target.apply(layer, MaxBytes=2048).error
    alone = Target(tmp_path / "alone")
    result = alone.run(layer, "bind", alone.root, "rbind", rebase="yes", sync="no")
    assert result.code == "FailedPrecondition" and "on top of the layers below" in result.error


def test_acls(target):
    applied(target, archive(
        entry("f", REG, b"x", mode=0o660, pax={"SCHILY.acl.access": b"user::rw-,user:five:r--:5,group::r--,mask::rw-,other::---"}),
        entry("d", DIR, mode=0o750, pax={"SCHILY.acl.access": b"user::rwx,group::r-x,group:six:rwx:6,mask::r-x,other::---"}),
        entry("g", REG, b"x", mode=0o640, pax={"SCHILY.acl.access": b"user::rw-,user:nobody-knows:r--,group::r--,mask::r--,other::---"})))
    value = os.getxattr(target.path("f"), "system.posix_acl_access")
    assert value == struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *one) for one in (
        (1, 6, 2**32 - 1), (2, 4, 5), (4, 4, 2**32 - 1), (16, 6, 2**32 - 1), (32, 0, 2**32 - 1)))
    assert "system.posix_acl_access" in os.listxattr(target.path("d")) and stat.S_IMODE(target.stat("d").st_mode) == 0o750
    assert stat.S_IMODE(target.stat("g").st_mode) == 0o640 and "system.posix_acl_access" not in os.listxattr(target.path("g"))


def test_implied_parents_keep_what_they_were(make):
    target = make(archive(*BASE))
    applied(target, archive(entry("etc/new", REG, b"n")))
    etc = target.stat("etc")
    assert (stat.S_IMODE(etc.st_mode), etc.st_uid, etc.st_gid) == (0o750, 4, 5)
    assert os.getxattr(target.path("etc"), "user.k") == b"v"
    assert target.merged()["etc/a"] == "f"


def test_file_over_directory_and_back(make):
    target = make(archive(*BASE))
    applied(target, archive(entry("etc", REG, b"now a file"), entry("keep", DIR), entry("keep/f", REG, b"x"), entry("lib", DIR), entry("lib/y", REG, b"y")))
    names = target.merged()
    assert names["etc"] == "f" and "etc/a" not in names and names["keep/f"] == "f"
    assert names["lib"] == "d" and names["lib/y"] == "f" and "lib/x" not in names


def test_three_layers(make):
    target = make(archive(*BASE), archive(entry(".wh.keep"), entry("etc/.wh.a"), entry("usr/lib/z", REG, b"z")))
    applied(target, archive(entry("keep", DIR), entry("usr/.wh.lib")))
    names = target.merged()
    assert names["keep"] == "d" and "usr/lib" not in names and names["usr"] == "d" and "etc/a" not in names


def test_many_lower_layers(tmp_path):
    """More directories than fit in one page of mount options."""
    target = Target(tmp_path, overlay=True)
    for i in range(60):
        path = os.path.join(target.base, f"lower-{i}-" + "x" * 60)
        os.makedirs(os.path.join(path, "etc"), mode=0o711)
        target.lowers.append(path)
    applied(target, archive(entry("etc/f", REG, b"x")))
    assert stat.S_IMODE(target.stat("etc").st_mode) == 0o711


def test_real_mounts(tmp_path):
    """Anything but a lone overlay or bind mount is mounted in the worker's own namespace."""
    target = Target(tmp_path)
    lower = tmp_path / "lower"
    (lower / "sub").mkdir(parents=True)
    (lower / "sub" / "old").write_text("old")
    result = target.run(archive(entry("sub/new", REG, b"n"), entry("sub/.wh.old")), "overlay", "overlay",
                        target.overlay_options(target.root, [str(lower)]) + ",redirect_dir=off")
    assert result.status == 0, result.error
    assert not os.path.ismount(target.root)


def test_mount_that_fails(target):
    result = target.run(archive(entry("a")), "bind", target.base + "/absent", "rbind")
    assert result.code == "NotFound" and "absent" in result.error
    assert target.run(archive(entry("a")), "nosuchfs", "x", "rw").status == 1


def test_media_type_and_worker(target):
    import layers
    result = subprocess.run([layers.TOOL, "/nonexistent/gantry-unpack", "apply", "/dev/null", "bind", target.root, "rbind"], capture_output=True, text=True, check=False)
    assert result.returncode == 1 and "/nonexistent/gantry-unpack" in result.stderr
    result = subprocess.run([layers.TOOL, "/bin/false", "apply", "/dev/null", "bind", target.root, "rbind"], capture_output=True, text=True, check=False)
    assert result.returncode == 1 and "without a result" in result.stderr
