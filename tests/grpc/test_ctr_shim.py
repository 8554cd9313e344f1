# SPDX-License-Identifier: LGPL-2.1-or-later
"""ctr shim: the shim of a container, asked without the daemon."""
import hashlib
import json
import os
import pathlib
import shutil

import pytest

from test_ctr import IMAGE, PID, archive, both, images, sides, sleeper, wait_stopped  # pylint: disable=unused-import

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason='needs root'),
    pytest.mark.skipif(shutil.which('ctr') is None or shutil.which('containerd') is None, reason='needs Debian\'s containerd and ctr'),
]


def link_of(side, container):
    """Where ctr looks for the shim of a container."""
    return '/run/containerd/s/' + hashlib.sha256(f'{side.address}/{side.ns}/{container}'.encode()).hexdigest()


SHIM = [PID, (r'"bundle": "[^"]*"', 'BUNDLE'), (r'/fifo/\d+/', '/fifo/N/')]


def test_shim(images, sleeper):
    both(images, 'shim', '--id', sleeper, 'state', ok=True, extra=SHIM)
    both(images, 'shim', '--id', 'none', 'state', ok=False)
    # These of 1.6 name no container, so no shim does them.
    for command in ('start', 'delete'):
        both(images, 'shim', '--id', sleeper, command, ok=False, compare_err=False)
    both(images, 'shim', '--id', sleeper, 'exec', '--spec', '/none', 'e', ok=False)
    both(images, 'tasks', 'kill', '-s', 'KILL', sleeper, ok=True)
    for side in images:
        wait_stopped(side, sleeper)
    both(images, 'shim', '--id', sleeper, 'state', ok=True, extra=SHIM)
    both(images, 'tasks', 'rm', sleeper)
    both(images, 'shim', '--id', sleeper, 'state', ok=False)
    assert not os.path.lexists(link_of(images[0], sleeper))


def test_the_shim_is_found_while_the_daemon_is_away(images):
    side = images[0]
    for name in ('stays', 'dies'):
        assert side.ctr('run', '-d', IMAGE, name, 'sleep', '1000').returncode == 0
    pid = json.loads(side.ctr('shim', '--id', 'dies', 'state').out)['pid']
    shim = int(pathlib.Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[1])
    side.process.kill()
    side.process.wait()
    assert json.loads(side.ctr('shim', '--id', 'stays', 'state').out)['status'] == 2
    os.kill(shim, 9)
    os.unlink(link_of(side, 'stays'))
    side.start()
    # One is made again, the other goes with what it led to.
    assert json.loads(side.ctr('shim', '--id', 'stays', 'state').out)['status'] == 2
    assert not os.path.lexists(link_of(side, 'dies'))
    for name in ('stays', 'dies'):
        side.ctr('tasks', 'rm', '-f', name)
        assert side.ctr('containers', 'rm', name).returncode == 0
        assert not os.path.lexists(link_of(side, name))


def test_what_is_no_link_is_left_alone(images):
    side = images[0]
    pathlib.Path(link_of(side, 'taken')).write_text('somebody\'s')
    try:
        assert side.ctr('run', '--rm', IMAGE, 'taken', 'true').returncode == 0
        assert pathlib.Path(link_of(side, 'taken')).read_text() == 'somebody\'s'
    finally:
        os.unlink(link_of(side, 'taken'))
