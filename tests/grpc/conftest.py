# SPDX-License-Identifier: LGPL-2.1-or-later
"""Keeps what a run of the tests saw, for docs/compatibility.md: with GANTRY_COMPATIBILITY=FILE, one line of JSON a fact."""
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

FILE = os.environ.get('GANTRY_COMPATIBILITY')
RECORDED = set()


def record(*fact):
    RECORDED.add(json.dumps(fact))


def pytest_sessionfinish(session, exitstatus):
    if FILE and exitstatus == 0:
        with open(FILE, 'a', encoding='utf-8') as file:
            file.writelines(line + '\n' for line in sorted(RECORDED))


@pytest.fixture(scope='module')
def side():
    """A Gantry of its own for each file of tests."""
    from sides import Side
    one = Side('gantry').start()
    yield one
    one.stop()


@pytest.fixture(scope='module')
def archive(tmp_path_factory):
    work = tmp_path_factory.mktemp('image')
    tool = pathlib.Path(__file__).parent.parent.parent / 'tools/make-busybox-image'
    subprocess.run([tool, work / 'oci.tar'], check=True)
    yield work / 'oci.tar'
    shutil.rmtree(work)


@pytest.fixture
def client(side, request):
    """A namespace of its own for each test."""
    from client import Client
    return Client(side.address, re.sub(r'[^a-z0-9]+', '-', request.node.name)[:70].strip('-'))
