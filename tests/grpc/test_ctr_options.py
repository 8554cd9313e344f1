# SPDX-License-Identifier: LGPL-2.1-or-later
"""ctr's rarer options and what is refused, on Gantry and on Debian's containerd."""
import hashlib
import os
import pathlib
import shutil

import pytest

from test_ctr import IMAGE, archive, both, images, sides, sleeper, wait_for, wait_stopped  # pylint: disable=unused-import

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason='needs root'),
    pytest.mark.skipif(shutil.which('ctr') is None or shutil.which('containerd') is None, reason='needs Debian\'s containerd and ctr'),
]


WHAT_IT_SEES = 'id; pwd; grep -E "Cap|NoNewPrivs|Seccomp:" /proc/self/status; cat /proc/self/cgroup; ls -l /dev/fuse 2>&1; true'


@pytest.mark.parametrize('options', [
    '--cap-add CAP_NET_ADMIN --cap-drop CAP_CHOWN', '--allow-new-privs', '--seccomp', '--device /dev/fuse',
    '--cgroup /mine-@NS@', '--runc-binary runc', '--runc-root @DIR@/runc', '--no-pivot', '--annotation a=b',
    '--snapshotter native', '--snapshotter-label a=b', '--platform linux/amd64', '--cpu-quota 20000 --cpu-period 10000', '--rdt-class x',
    '--runtime io.containerd.runc.v1', '--null-io'])
def test_what_a_container_sees(images, options):
    both(images, 'run', '--rm', *options.split(), IMAGE, 'sees', 'sh', '-c', WHAT_IT_SEES, ok=True,
         extra=[(r' fuse.*|\d\d:\d\d /dev', '')])


@pytest.mark.parametrize('options', [
    '--runc-systemd-cgroup', '--runc-systemd-cgroup --cgroup system.slice:a:b', '--runc-binary /no/runc',
    '--apparmor-default-profile x', '--log-uri file://relative', '--log-uri nope://x', '--log-uri binary:///no/such', '--fifo-dir /proc/nope',
    '--memory-limit 1', '--rootfs-propagation x', '--mount type=nope,src=/x,dst=/y', '--mount nonsense', '--user nobodyhere', '--env =x',
    '--uidmap x --gidmap y', '--config /no', '--env-file /no', '--device /no', '--with-ns nope:/x',
    '--snapshotter nope', '--runtime io.containerd.nope.v9', '-d'])
def test_what_is_refused(images, options):
    """In words of our own."""
    name = f'refused-{hashlib.sha256(options.encode()).hexdigest()[:8]}'
    ours = both(images, 'run', '--rm', *options.split(), IMAGE, name, 'true', ok=False, compare_err=False)
    assert ours.err.splitlines()[-1].startswith('ctr: '), ours


def test_a_pid_namespace_that_is_given(images):
    """Whether it may be joined is the kernel's to say: not from below it."""
    both(images, 'run', '--rm', '--with-ns', 'pid:/proc/1/ns/pid', IMAGE, 'joined', 'true', compare_err=False)


def test_a_task_is_started_again(images):
    both(images, 'run', '-d', '--null-io', '--pid-file', '@DIR@/detached', IMAGE, 'twice', 'sh', '-c', 'echo said; exit 3', ok=True)
    for side in images:
        wait_stopped(side, 'twice')
    both(images, 'tasks', 'start', 'twice', ok=False)
    both(images, 'tasks', 'delete', '--force', 'twice', ok=True)
    assert both(images, 'tasks', 'start', '--null-io', 'twice').returncode == 3
    assert both(images, 'tasks', 'start', 'twice').out == 'said\n'
    both(images, 'tasks', 'start', '--log-uri', 'file://@DIR@/said', '--pid-file', '@DIR@/started', 'twice')
    for side in images:
        assert pathlib.Path(side.dir, 'said').read_text() == 'said\n'
        assert int(pathlib.Path(side.dir, 'started').read_text()) != int(pathlib.Path(side.dir, 'detached').read_text())  # pids wrap
    both(images, 'containers', 'delete', 'twice', ok=True)


def test_states_that_refuse(images, sleeper):
    both(images, 'tasks', 'kill', '--exec-id', 'none', sleeper, ok=False, compare_err=False)
    both(images, 'tasks', 'kill', '-s', '99', sleeper, ok=False, compare_err=False)
    both(images, 'tasks', 'pause', sleeper, ok=True)
    for command in (['pause', sleeper], ['exec', '--exec-id', 'e', sleeper, 'true']):
        both(images, 'tasks', *command, ok=False, compare_err=False)
    both(images, 'tasks', 'resume', sleeper, ok=True)
    both(images, 'tasks', 'resume', sleeper, ok=False, compare_err=False)
    both(images, 'tasks', 'exec', sleeper, 'true', ok=False)
    for words in ('no-such', '--cwd /none true'):
        *options, program = words.split()
        both(images, 'tasks', 'exec', '--exec-id', 'e', *options, sleeper, program, ok=False, compare_err=False)
        for side in images:
            side.ctr('tasks', 'rm', '--exec-id', 'e', sleeper)
    both(images, 'tasks', 'exec', '-d', '--exec-id', 'logged', '--log-uri', 'file://@DIR@/exec-log', sleeper, 'echo', 'logged', ok=True)
    for side in images:
        wait_for(lambda: pathlib.Path(side.dir, 'exec-log').read_text() == 'logged\n')
    both(images, 'tasks', 'rm', '--exec-id', 'logged', sleeper, ok=True)
    both(images, 'tasks', 'exec', '--exec-id', 'e', '--fifo-dir', '@DIR@', sleeper, 'echo', 'x', ok=True)
    for command in (['pause'], ['checkpoint'], ['ps'], ['metrics'], ['start'], ['kill'], ['resume', 'none'], ['attach', 'none'], ['checkpoint', 'none']):
        both(images, 'tasks', *command, ok=False)
    both(images, 'tasks', 'kill', '-a', '-s', '9', sleeper, ok=True)
    for side in images:
        wait_stopped(side, sleeper)
    for command in (['pause', sleeper], ['exec', '--exec-id', 'late', sleeper, 'true'], ['checkpoint', sleeper]):
        both(images, 'tasks', *command, ok=False, compare_err=False)
