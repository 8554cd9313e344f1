# SPDX-License-Identifier: LGPL-2.1-or-later
"""What compare finds, apply gives back."""
import gzip
import hashlib
import io
import os
import shutil
import stat
import subprocess
import tarfile

import pytest

from layers import TOOL, WORKER, CHAR, DIR, FIFO, HARDLINK, REG, SYMLINK, Result, Target, archive, capability, entry

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

OCI = "application/vnd.oci.image.layer.v1.tar"
BASE = archive(entry("etc", DIR), entry("etc/a", REG, b"a"), entry("etc/b", REG, b"b"), entry("usr/lib/x", REG, b"x"), entry("lib", SYMLINK, link="usr/lib"),
               entry("gone/deep/f", REG, b"f"), entry("keep", REG, b"k"), entry("dir/f", REG, b"f"), entry("file", REG, b"f"))


class Pair:
    """A lower tree and an upper one, to be changed and compared."""

    def __init__(self, base, kind):
        self.base, self.kind = str(base), kind
        self.lower = os.path.join(self.base, "lower")
        self.upper = os.path.join(self.base, "upper")
        self.work = os.path.join(self.base, "work")
        self.view = os.path.join(self.base, "view")
        for path in (self.lower, self.upper, self.work, self.view):
            os.mkdir(path)
        self.unpack(BASE, self.lower)
        if kind == "plain":
            subprocess.run(["cp", "-a", self.lower + "/.", self.upper], check=True)

    def unpack(self, layer, where):
        path = os.path.join(self.base, "in")
        with open(path, "wb") as file:
            file.write(layer)
        subprocess.run([TOOL, WORKER, "apply", path, "bind", where, "rbind", "sync=no"], check=True, capture_output=True)

    def options(self):
        return f"lowerdir={self.lower},upperdir={self.upper},workdir={self.work}"

    def change(self, script):
        """Runs @script in the upper tree, as a container would."""
        if self.kind == "plain":
            subprocess.run(["sh", "-ec", script], cwd=self.upper, check=True)
        else:
            mount = f'mount -t overlay overlay -o "$1" "$2"; cd "$2"; {script}'
            subprocess.run(["unshare", "-m", "sh", "-ec", mount, "sh", self.options(), self.view], check=True)

    def mounts(self):
        lower = f"bind|{self.lower}|ro,rbind"
        return (lower, f"bind|{self.upper}|rbind") if self.kind == "plain" else (lower, f"overlay|overlay|{self.options()}")

    def compare(self, media_type=OCI + "+gzip", lower=None, **settings):
        self.out = os.path.join(self.base, "out")
        mounts = self.mounts()
        argv = [TOOL, WORKER, "compare", self.out, media_type, mounts[0] if lower is None else lower, mounts[1],
                *(f"{key.replace('_', '-')}={value}" for key, value in settings.items())]
        return Result(subprocess.run(argv, capture_output=True, timeout=60, check=False))

    def layer(self, **settings):
        result = self.compare(**settings)
        assert result.status == 0, result.error
        with open(self.out, "rb") as file:
            data = file.read()
        diff_id, digest, size = result.out.split()
        assert digest == "sha256:" + hashlib.sha256(data).hexdigest() and int(size) == len(data)
        plain = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        assert diff_id == "sha256:" + hashlib.sha256(plain).hexdigest()
        return tarfile.open(fileobj=io.BytesIO(plain), encoding="utf-8", errors="surrogateescape")


@pytest.fixture(params=["plain", "overlay"])
def pair(request, tmp_path):
    return Pair(tmp_path, request.param)


CHANGES = """
echo new >new; mkdir -p d/e; echo x >d/e/f; echo bb >etc/b; rm -r gone; rm keep; rm -r dir; echo now >dir; rm file; mkdir file; echo in >file/in
chmod 4755 etc/a; ln new new2; mkfifo fifo; mknod null c 1 3; ln -s nowhere link; chown 5:6 -h link; touch -d @1000000000 new
"""


def test_names(pair):
    pair.change(CHANGES)
    names = pair.layer().getnames()
    expected = [".wh.gone", ".wh.keep", "d", "d/e", "d/e/f", "dir", "etc", "etc/a", "etc/b", "fifo", "file", "file/in", "link", "new", "new2", "null"]
    if pair.kind == "overlay":
        # A directory that replaces a file hides nothing below, but an overlay marks it all the same.
        names = [name for name in names if name != "file/.wh..wh..opq"]
    assert sorted(names) == sorted(expected)
    assert names.index("d") < names.index("d/e") < names.index("d/e/f")


def test_what_entries_say(pair):
    pair.change(CHANGES)
    layer = pair.layer()
    assert layer.extractfile("new").read() == b"new\n" and layer.getmember("new").mtime == 1000000000
    assert layer.getmember("new2").islnk() and layer.getmember("new2").linkname == "new"
    assert layer.getmember("etc/a").mode == 0o4755
    assert layer.getmember("link").linkname == "nowhere" and (layer.getmember("link").uid, layer.getmember("link").gid) == (5, 6)
    assert (layer.getmember("null").devmajor, layer.getmember("null").devminor) == (1, 3)
    assert layer.getmember("fifo").isfifo() and layer.getmember(".wh.gone").size == 0
    assert {member.uname for member in layer} == {""}


@pytest.mark.parametrize("media_type", [OCI, OCI + "+gzip", OCI + "+zstd", "application/vnd.docker.image.rootfs.diff.tar.gzip"])
def test_round_trip(pair, tmp_path, media_type):
    if media_type.endswith("zstd") and shutil.which("zstd") is None:
        pytest.skip("needs zstd")
    pair.change(CHANGES + "head -c 3000000 /dev/urandom >big; mkdir -p long/$(printf 'n%.0s' $(seq 120)); setfattr -n user.k -v v new || true")
    assert pair.compare(media_type=media_type).status == 0
    again = tmp_path / "again"
    shutil.copytree(pair.lower, again, symlinks=True)
    with open(pair.out, "rb") as file:
        pair.unpack(file.read(), str(again))
    listing = 'find . -printf "%P %y %m %U %G %n %Ts %l\\n" | grep -v "^ " | sort; find . -type f -exec md5sum {} + | sort'
    dirs = ' | sed -E "s/^([^ ]*) d ([0-9]+ [0-9]+ [0-9]+) [0-9]+ [0-9-]+/\\1 d \\2/"'
    ours = subprocess.run(["sh", "-c", f"({listing}){dirs}"], cwd=again, capture_output=True, text=True, check=True).stdout
    script = f"({listing}){dirs} >{pair.base}/listing"
    pair.change(script)
    with open(pair.base + "/listing", encoding="utf-8") as file:
        assert ours == file.read()


def test_deterministic(pair):
    pair.change(CHANGES)
    assert pair.compare().out == pair.compare().out


def test_nothing_changed(pair):
    assert pair.layer().getnames() == []


def test_first_layer(tmp_path):
    pair = Pair(tmp_path, "plain")
    names = pair.layer(lower="").getnames()
    assert "etc/a" in names and "lib" in names and not [name for name in names if ".wh." in name]


def test_opaque(tmp_path):
    pair = Pair(tmp_path, "overlay")
    pair.change("rm -r etc; mkdir etc; echo n >etc/new")
    assert pair.layer().getnames() == ["etc", "etc/.wh..wh..opq", "etc/new"]


@pytest.mark.parametrize("feature", ["redirect_dir=on", "metacopy=on"])
def test_overlay_features(tmp_path, feature):
    pair = Pair(tmp_path, "overlay")
    options = pair.options()
    pair.options = lambda: options + "," + feature
    try:
        pair.change("mv etc moved; chmod 700 keep")
    except subprocess.CalledProcessError:
        pytest.skip("this kernel's overlay has no " + feature)
    layer = pair.layer()
    assert set(layer.getnames()) == {".wh.etc", "keep", "moved", "moved/a", "moved/b"}
    assert layer.extractfile("moved/b").read() == b"b" and layer.extractfile("keep").read() == b"k"


def test_other_lower(tmp_path):
    """The lower tree is not the one below the upper: both are walked."""
    pair = Pair(tmp_path, "overlay")
    pair.change("echo n >etc/new")
    other = tmp_path / "other"
    other.mkdir()
    pair.unpack(archive(entry("etc", DIR), entry("etc/a", REG, b"A"), entry("strange", REG, b"s")), str(other))
    names = pair.layer(lower=f"bind|{other}|ro,rbind").getnames()
    assert ".wh.strange" in names and {"etc/a", "etc/b", "etc/new", "keep"} <= set(names)


def test_same_size_and_second(tmp_path):
    """A file from an archive has no nanoseconds, so that a change in the same second shows only in its bytes."""
    pair = Pair(tmp_path, "plain")
    pair.change("t=$(stat -c %Y etc/a); printf Z >etc/a; touch -d @$t etc/a; t=$(stat -c %Y etc/b); printf b >etc/b; touch -d @$t etc/b")
    assert pair.layer().getnames() == ["etc", "etc/a"]


def test_root_directory(pair, tmp_path):
    """Its owner, mode and attributes are in the layer if they changed, and only then."""
    pair.change("touch new")
    assert "." not in pair.layer().getnames()
    pair.change("chmod 1770 .; chown 3:4 .; python3 -c 'import os; os.setxattr(\".\", \"user.a\", b\"b\")'")
    layer = pair.layer()
    assert layer.getnames()[0] == "." and (layer.getmember(".").mode, layer.getmember(".").uid, layer.getmember(".").gid) == (0o1770, 3, 4)
    copy = os.path.join(tmp_path, "copy")
    os.mkdir(copy)
    pair.unpack(BASE, copy)
    with open(pair.out, "rb") as file:
        pair.unpack(gzip.decompress(file.read()), copy)
    st = os.stat(copy)
    assert (stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid, os.getxattr(copy, "user.a")) == (0o1770, 3, 4, b"b")


def test_capabilities_and_attributes(pair):
    caps = capability(10)
    pair.change("echo x >cap; echo y >plain")
    path = os.path.join(pair.upper, "cap")
    os.setxattr(path, "security.capability", caps)
    os.setxattr(path, "user.mine", b"v")
    os.setxattr(path, "trusted.not", b"v")
    headers = pair.layer().getmember("cap").pax_headers
    assert headers["SCHILY.xattr.security.capability"].encode("utf-8", "surrogateescape") == caps
    assert headers["SCHILY.xattr.user.mine"] == "v" and not [key for key in headers if "trusted" in key or "LIBARCHIVE" in key]


def test_names_of_any_bytes(pair):
    for name in (b"\xc3\xa9", b"\xff\xfe", b"\xff" * 150, b"sp ace\n"):
        with open(os.path.join(pair.upper.encode(), name), "wb") as file:
            file.write(name)
    layer = pair.layer()
    assert {os.fsencode(name) for name in layer.getnames()} == {b"\xc3\xa9", b"\xff\xfe", b"\xff" * 150, b"sp ace\n"}


def test_source_date_epoch(pair):
    pair.change("touch -d @5000000000 future; touch -d @1000 past; rm keep")
    layer = pair.layer(source_date_epoch=2000000000)
    assert layer.getmember("future").mtime == 2000000000 and layer.getmember("past").mtime == 1000
    assert layer.getmember(".wh.keep").mtime == 2000000000


def test_sockets_are_left_out(pair):
    import socket
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(os.path.join(pair.upper, "s")))
    assert pair.layer().getnames() == []


def test_links_in_the_tree_are_not_followed(pair, tmp_path):
    (tmp_path / "secret").write_text("secret")
    pair.change(f"ln -s {tmp_path}/secret s; ln -s {tmp_path} d")
    layer = pair.layer()
    assert layer.getnames() == ["d", "s"] and layer.getmember("s").issym() and layer.getmember("d").issym()


def test_limits(pair):
    pair.change("for i in $(seq 50); do echo x >f$i; done")
    result = pair.compare(MaxEntries=20)
    assert result.code == "ResourceExhausted" and not os.path.exists(pair.out)
    assert pair.compare(MaxBytes=2048).code == "ResourceExhausted"


def test_media_type(pair):
    assert pair.compare(media_type="text/plain").code == "NotImplemented"


@pytest.mark.skipif(shutil.which("tar") is None, reason="needs GNU tar")
def test_gnu_tar_reads_it(pair, tmp_path):
    pair.change(CHANGES)
    assert pair.compare(media_type=OCI).status == 0
    listing = subprocess.run(["tar", "-tf", pair.out], capture_output=True, text=True, check=True)
    assert "d/e/f" in listing.stdout and listing.stderr == ""
