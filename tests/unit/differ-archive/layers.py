# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes layers, good and hostile, byte by byte, and applies them with differ-tool."""
import gzip
import os
import struct
import subprocess

TOOL = os.environ.get("DIFFER_TOOL", "build/tests/unit/differ-archive/differ-tool")
WORKER = os.environ.get("GANTRY_UNPACK", "build/plugins/differ-archive/gantry-unpack")

REG, HARDLINK, SYMLINK, CHAR, BLOCK, DIR, FIFO, PAX, LONGNAME = b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"x", b"L"


def number(value, width):
    """Octal, or GNU's base 256 where that does not fit."""
    text = b"%0*o" % (width - 1, value) if value >= 0 else b""
    if value >= 0 and len(text) < width:
        return text + b"\0"
    return (value & ((1 << (8 * width)) - 1) | (0x80 << (8 * (width - 1)))).to_bytes(width, "big")


def header(name, kind=REG, size=0, mode=0o644, uid=0, gid=0, mtime=0, link=b"", device=(0, 0), checksum=None):
    name = name.encode() if isinstance(name, str) else name
    link = link.encode() if isinstance(link, str) else link
    block = (name[:100].ljust(100, b"\0") + number(mode, 8) + number(uid, 8) + number(gid, 8) + number(size, 12)
             + number(mtime, 12) + b" " * 8 + kind + link[:100].ljust(100, b"\0") + b"ustar\00000" + b"\0" * 64
             + number(device[0], 8) + number(device[1], 8)).ljust(512, b"\0")
    if checksum is None:
        checksum = sum(block)
    return block[:148] + b"%06o\0 " % checksum + block[156:]


def pad(data):
    return data + b"\0" * (-len(data) % 512)


def record(key, value):
    key = key.encode() if isinstance(key, str) else key
    value = value.encode() if isinstance(value, str) else value
    length = len(key) + len(value) + 3
    while length != len(b"%d" % length) + len(key) + len(value) + 3:
        length = len(b"%d" % length) + len(key) + len(value) + 3
    return b"%d %s=%s\n" % (length, key, value)


def entry(name, kind=REG, data=b"", pax=None, **fields):
    out = b""
    pax = dict(pax or {})
    for key, value in (("path", name), ("linkpath", fields.get("link", b""))):
        if len(value.encode() if isinstance(value, str) else value) > 100:
            pax.setdefault(key, value)
    if pax:
        body = b"".join(record(key, value) for key, value in pax.items())
        out += header("PaxHeaders/x", PAX, len(body)) + pad(body)
    mode = fields.pop("mode", 0o755 if kind == DIR else 0o644)
    return out + header(name, kind, fields.pop("size", len(data)), mode, **fields) + pad(data)


def archive(*entries):
    return b"".join(entries) + b"\0" * 1024


class Result:
    def __init__(self, process):
        self.status = process.returncode
        self.out = process.stdout.decode()
        self.error = process.stderr.decode(errors="replace").strip()
        self.code = self.error.split(":", 1)[0]

    @property
    def digest(self):
        return self.out.split()[0]


class Target:
    """A place to unpack to, next to a place that must not change."""

    def __init__(self, base, overlay=False, lower=()):
        self.base = str(base)
        self.overlay = overlay
        self.root = os.path.join(self.base, "snapshots", "1", "fs")
        self.outside = os.path.join(self.base, "outside")
        os.makedirs(self.root)
        os.makedirs(self.outside)
        with open(os.path.join(self.outside, "secret"), "w", encoding="ascii") as file:
            file.write("secret")
        self.lowers = []
        for i, layer in enumerate(lower):
            path = os.path.join(self.base, f"lower-{i}")
            os.mkdir(path)
            self.lowers.insert(0, path)
            if overlay:
                below = os.path.join(self.base, f"below-{i}")
                os.mkdir(below)
                options = self.overlay_options(path, self.lowers[1:] or [below])
                assert self.run(layer, "overlay", "overlay", options).status == 0
        if overlay and not self.lowers:
            os.mkdir(os.path.join(self.base, "empty"))
            self.lowers.append(os.path.join(self.base, "empty"))
        if not overlay:
            for layer in lower:
                assert self.apply(layer).status == 0
        self.before = self.list_outside()

    def overlay_options(self, upper, lowers):
        work = os.path.join(self.base, "work-" + os.path.basename(os.path.dirname(upper)) + os.path.basename(upper))
        os.makedirs(work, exist_ok=True)
        return f"lowerdir={':'.join(lowers)},upperdir={upper},workdir={work}"

    def run(self, layer, *mount, **settings):
        path = os.path.join(self.base, "layer")
        with open(path, "wb") as file:
            file.write(layer)
        argv = [TOOL, WORKER, "apply", path, *mount, *(f"{key.replace('_', '-')}={value}" for key, value in settings.items())]
        return Result(subprocess.run(argv, capture_output=True, timeout=120, check=False))

    def apply(self, layer, **settings):
        settings.setdefault("sync", "no")
        if self.overlay:
            return self.run(layer, "overlay", "overlay", self.overlay_options(self.root, self.lowers), **settings)
        return self.run(layer, "bind", self.root, "rbind,rw", **settings)

    def list_outside(self):
        """Everything below base that is not the snapshot or the layer, with what could change about it."""
        found = {}
        for directory, subdirs, names in os.walk(self.base):
            if directory == os.path.dirname(self.root):
                subdirs.clear()
                continue
            for name in subdirs + names:
                path = os.path.join(directory, name)
                if path == os.path.join(self.base, "layer") or name.startswith("work-"):
                    continue
                st = os.lstat(path)
                found[path] = (st.st_mode, st.st_uid, st.st_nlink, st.st_mtime_ns, st.st_size, st.st_ino)
        return found

    def assert_contained(self):
        assert self.list_outside() == self.before

    def path(self, name):
        return os.path.join(self.root.encode() if isinstance(name, bytes) else self.root, name)

    def stat(self, name):
        return os.lstat(self.path(name))

    def read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def merged(self):
        """What a container would see, as {name: kind}."""
        if not self.overlay:
            return self.names(self.root)
        point = os.path.join(self.base, "merged")
        os.makedirs(point, exist_ok=True)
        # The mount lives and dies with this process's own mount namespace.
        script = 'mount -t overlay overlay -o "$1" "$2" && cd "$2" && find . -mindepth 1 -printf "%P\\t%y%l\\n"'
        options = f"lowerdir={':'.join([self.root, *self.lowers])}"
        text = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", options, point], check=True, capture_output=True).stdout
        return dict(line.split("\t") for line in text.decode().splitlines())

    @staticmethod
    def names(root):
        found = {}
        for directory, subdirs, names in os.walk(root):
            for name in subdirs + names:
                path = os.path.join(directory, name)
                kind = "l" + os.readlink(path) if os.path.islink(path) else "d" if os.path.isdir(path) else "f" if os.path.isfile(path) else "?"
                found[os.path.relpath(path, root)] = kind
        return found


def sparse_entry(name, real_size, pieces):
    """A PAX 1.0 sparse file; pieces are (offset, data)."""
    table = b"%d\n" % len(pieces) + b"".join(b"%d\n%d\n" % (offset, len(data)) for offset, data in pieces)
    body = pad(table) + b"".join(data for _, data in pieces)
    pax = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": name, "GNU.sparse.realsize": str(real_size)}
    return entry("GNUSparseFile.0/" + name, REG, body, pax=pax)


def capability(*bits):
    """A security.capability value, revision 2, permitted and effective."""
    mask = sum(1 << bit for bit in bits)
    return struct.pack("<IIIII", 0x02000001, mask & 0xFFFFFFFF, 0, mask >> 32, 0)


def gz(data, level=6):
    return gzip.compress(data, level, mtime=0)
