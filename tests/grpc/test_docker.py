# SPDX-License-Identifier: LGPL-2.1-or-later
"""Debian's dockerd, unmodified, with Gantry in the place of containerd."""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

from sides import Side

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason='needs root'),
    pytest.mark.skipif(shutil.which('dockerd') is None or shutil.which('skopeo') is None, reason='needs dockerd and skopeo'),
]
STAYS = 'echo started; trap "exit 0" TERM; while true; do sleep 0.1; done'


class Docker:
    """A dockerd with its own root, no network of its own, on the containerd of @side."""

    def __init__(self, side):
        self.side = side
        self.dir = tempfile.mkdtemp(prefix='gantry-dk.')
        self.log = open(f'{self.dir}/log', 'ab')

    def start(self):
        self.process = subprocess.Popen(
            ['dockerd', f'--containerd={self.side.address}', '--data-root', f'{self.dir}/data', '--exec-root', f'{self.dir}/exec',
             '--pidfile', f'{self.dir}/pid', '--host', f'unix://{self.dir}/sock', '--iptables=false', '--bridge=none', '--ip-forward=false',
             '--storage-driver=vfs', '--live-restore'], stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + 120
        while self.run('version', check=False).returncode != 0:
            assert self.process.poll() is None and time.monotonic() < deadline, self.read_log()
            time.sleep(0.1)
        return self

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def read_log(self):
        return pathlib.Path(f'{self.dir}/log').read_text(errors='replace')[-4000:]

    def run(self, *args, check=True, **kwargs):
        done = subprocess.run(['docker', '-H', f'unix://{self.dir}/sock', *map(str, args)], capture_output=True, text=True, timeout=120,
                              check=False, stdin=kwargs.pop('stdin', subprocess.DEVNULL), **kwargs)
        assert not check or done.returncode == 0, (args, done.stdout, done.stderr, self.read_log(), self.side.read_log())
        return done

    def out(self, *args, **kwargs):
        return self.run(*args, **kwargs).stdout.strip()

    def status(self, name):
        return re.sub(r' \d.*| Less.*| About.*', '', self.out('ps', '-a', '--filter', f'name=^{name}$', '--format', '{{.Status}}'))

    def wait(self, name, status):
        deadline = time.monotonic() + 60
        while not self.status(name).startswith(status):
            assert time.monotonic() < deadline, (self.status(name), self.read_log())
            time.sleep(0.1)


@pytest.fixture(scope='module')
def image():
    work = tempfile.mkdtemp(prefix='gantry-dk-image.')
    tool = pathlib.Path(__file__).parent.parent.parent / 'tools/make-busybox-image'
    subprocess.run([tool, f'{work}/oci.tar'], check=True)
    subprocess.run(['skopeo', 'copy', '-q', f'oci-archive:{work}/oci.tar', f'docker-archive:{work}/docker.tar:busybox:latest'], check=True)
    yield f'{work}/docker.tar'
    shutil.rmtree(work)


@pytest.fixture(scope='module')
def docker(image):
    side = Side('gantry').start()
    one = Docker(side).start()
    one.run('load', '-i', image)
    yield one
    for container in one.out('ps', '-aq').split():
        one.run('rm', '-f', container)
    one.stop()
    side.stop()
    # With live-restore it leaves its root bound to itself, for containers that go on.
    if f' {one.dir}/data ' in pathlib.Path('/proc/self/mountinfo').read_text():
        subprocess.run(['umount', f'{one.dir}/data'], check=True)
    shutil.rmtree(one.dir)


@pytest.fixture
def running(docker):
    """A container that stays."""
    docker.run('run', '-d', '--name', 'stays', '--network', 'none', 'busybox', 'sh', '-c', STAYS)
    yield 'stays'
    docker.run('rm', '-f', 'stays')


def test_run(docker):
    def run(*args, **kwargs):
        return docker.run('run', '--rm', '--network', 'none', *args, check=False, **kwargs)
    assert run('busybox', 'echo', 'hello').stdout == 'hello\n'
    assert run('busybox', 'sh', '-c', 'exit 7').returncode == 7
    assert run('-u', '1000', '--read-only', '-m', '64m', '--cpus', '0.5', '--pids-limit', '20', 'busybox', 'id', '-u').stdout == '1000\n'
    missing = run('busybox', 'no-such-program')
    assert missing.returncode == 127 and 'executable file not found' in missing.stderr
    with open('/etc/hostname', encoding='utf-8') as stdin:
        assert run('-i', 'busybox', 'cat', stdin=stdin).stdout == pathlib.Path('/etc/hostname').read_text()
    typed = subprocess.run(['script', '-qec', f'docker -H unix://{docker.dir}/sock run --rm -t --network none busybox tty', '/dev/null'],
                           capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL)
    assert typed.returncode == 0 and '/dev/pts/0' in typed.stdout


def test_a_running_container(docker, running):
    docker.wait(running, 'Up')
    deadline = time.monotonic() + 60
    while docker.out('logs', running) != 'started':
        assert time.monotonic() < deadline
    assert docker.out('exec', running, 'echo', 'in') == 'in'
    assert docker.run('exec', running, 'sh', '-c', 'exit 5', check=False).returncode == 5
    assert 'sh -c' in docker.out('top', running)
    docker.run('pause', running)
    assert 'Paused' in docker.out('ps', '--filter', 'name=stays', '--format', '{{.Status}}')
    docker.run('unpause', running)
    name, pids, memory = docker.out('stats', '--no-stream', '--format', '{{.Name}} {{.PIDs}} {{.MemUsage}}', running).split(' ', 2)
    assert name == running and int(pids) >= 1 and not memory.startswith('0B')
    docker.run('update', '--pids-limit', '50', running)


def test_ends_of_a_container(docker, running):
    docker.run('restart', '-t', '5', running)
    assert docker.status(running) == 'Up'
    docker.run('stop', '-t', '10', running)
    assert docker.status(running) == 'Exited (0)'
    docker.run('start', running)
    docker.run('kill', running)
    docker.wait(running, 'Exited (137)')
    docker.run('start', running)
    assert docker.run('rm', running, check=False).returncode == 1
    docker.run('rm', '-f', running)
    assert docker.status(running) == ''


def test_a_container_outlives_dockerd_and_gantryd(docker, running):
    before = docker.out('inspect', '-f', '{{.State.Pid}}', running)
    docker.stop()
    docker.side.process.send_signal(signal.SIGTERM)
    docker.side.process.wait(60)
    docker.side.start()
    docker.start()
    assert docker.status(running) == 'Up' and docker.out('inspect', '-f', '{{.State.Pid}}', running) == before
    assert docker.out('exec', running, 'echo', 'still') == 'still'
    docker.side.process.kill()
    docker.side.process.wait()
    docker.side.start()
    deadline = time.monotonic() + 120
    while docker.run('exec', running, 'echo', 'again', check=False).stdout != 'again\n':
        assert time.monotonic() < deadline, docker.read_log()
        time.sleep(0.2)
    docker.run('stop', '-t', '10', running)
    docker.wait(running, 'Exited (0)')
