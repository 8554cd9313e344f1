# SPDX-License-Identifier: LGPL-2.1-or-later
"""Gantry and Debian's containerd side by side, each with its own root and state, driven by Debian's ctr; and what of their output may
differ."""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

BUILD = pathlib.Path(os.environ['GANTRY_BUILD'])

CONTAINERD_CONFIG = """version = 2
root = "{dir}/r"
state = "{dir}/s"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
                    "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs"]
[grpc]
address = "{dir}/s/grpc.sock"
[ttrpc]
address = "{dir}/s/ttrpc.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "{dir}/opt"
"""


class Result:
    def __init__(self, returncode, out, err):
        self.returncode, self.out, self.err = returncode, out, err

    def __repr__(self):
        return f'rc={self.returncode}\n--- out\n{self.out}\n--- err\n{self.err}'


class Side:
    """One daemon and a directory of its own, which scenarios also use for files."""

    def __init__(self, name, *options):
        self.name, self.options = name, options
        self.dir = tempfile.mkdtemp(prefix=f'{name[:4]}-grpc.')
        # User namespaces of containers must come through.
        os.chmod(self.dir, 0o711)
        # A container's cgroup is /<namespace>/<id> on both, so namespaces must not be the same.
        # runc's state is shared by all containerds, and several of these tests may run at once.
        self.ns = f'{name[:4]}{os.getpid()}'
        self.address = f'{self.dir}/s/grpc.sock'
        self.log = open(f'{self.dir}/log', 'ab')
        self.process = None

    def command(self):
        if self.name == 'containerd':
            config = pathlib.Path(self.dir) / 'config.toml'
            config.write_text(CONTAINERD_CONFIG.format(dir=self.dir))
            return ['containerd', '--config', str(config)]
        return [BUILD / 'core/gantryd', '--plugins-dir', BUILD / 'plugins.d', '--root', f'{self.dir}/r', '--state', f'{self.dir}/s',
                '--set', f'transfer-local.InstallDirectory={self.dir}/opt', '--log-level', 'info', *[option.replace('@DIR@', self.dir) for option in self.options]]

    def start(self):
        os.makedirs(f'{self.dir}/s', exist_ok=True)
        self.process = subprocess.Popen(self.command(), stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + 120
        while not os.path.exists(self.address) or self.ctr('version').returncode != 0:
            assert self.process.poll() is None and time.monotonic() < deadline, self.read_log()
            time.sleep(0.05)
        return self

    def read_log(self):
        return pathlib.Path(f'{self.dir}/log').read_text(errors='replace')

    def stop(self):
        for namespace in self.ctr('namespaces', 'ls', '-q').out.split():
            for task in self.ctr('-n', namespace, 'tasks', 'ls', '-q').out.split():
                self.ctr('-n', namespace, 'tasks', 'rm', '-f', task)
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        log = self.read_log()
        assert self.name != 'gantry' or (self.process.returncode == 0 and 'ERROR: AddressSanitizer' not in log and 'runtime error:' not in log
                                         and 'WARNING: ThreadSanitizer' not in log and 'ERROR: LeakSanitizer' not in log
                                         and 'CRITICAL' not in log), log
        mounts = pathlib.Path('/proc/self/mounts').read_text()
        for line in reversed(mounts.splitlines()):
            if line.split()[1].startswith(self.dir):
                subprocess.run(['umount', '-l', line.split()[1]], check=False)
        shutil.rmtree(self.dir, ignore_errors=True)

    def arguments(self, args):
        return ['--address', self.address, '-n', self.ns, *[str(arg).replace('@DIR@', self.dir).replace('@NS@', self.ns) for arg in args]]

    def ctr(self, *args, timeout=120, **kwargs):
        """ctr ARGS, in which @DIR@ is this side's directory."""
        done = subprocess.run(['ctr', *self.arguments(args)], capture_output=True, text=True,
                              errors='replace', timeout=timeout, check=False, stdin=kwargs.pop('stdin', subprocess.DEVNULL), **kwargs)
        return Result(done.returncode, done.stdout, done.stderr)

    def popen(self, *args, **kwargs):
        return subprocess.Popen(['ctr', *self.arguments(args)], **kwargs)


MAY_DIFFER = [
    (r'Less than a second|\d+ seconds?\b', 'AGE'),
    (r'\x1b\[[0-9;?]*[A-Za-z]', ''),
    (r'\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| ?[+-]\d\d:?\d\d( \w+)?)?', 'TIME'),
    (r'"(pid|Pid)": ?\d+', r'"\1": PID'),
    (r'[\d.]+ ?(milli)?(seconds?|ms|s|µs)\b', 'DURATION'),
    (r'[\d.]+ [KMG]?i?B/s', 'RATE'),
    (r'[\d.]+[µm]?s', 'DURATION'),
    (r'/snapshots/\d+/', '/snapshots/N/'),
    (r'uuid": "[0-9a-f-]+"', 'uuid": UUID'),
]


def normal(text, side, extra=()):
    """What the two must have in common: without directories, times, pids, and widths of columns."""
    text = text.replace(side.dir, 'DIR').replace(side.ns, 'NS')
    for pattern, replacement in [*MAY_DIFFER, *extra]:
        text = re.sub(pattern, replacement, text)
    lines = [re.sub(r'\s+', ' ', line).strip() for line in text.replace('\r', '\n').splitlines()]
    # Labels are written in the order of a Go map, which is none.
    lines = [' '.join(','.join(sorted(word.split(','))) for word in line.split(' ')) for line in lines]
    return [line for line in lines if line]
