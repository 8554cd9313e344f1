# SPDX-License-Identifier: LGPL-2.1-or-later
"""Keeps what a run of the tests saw, for docs/compatibility.md: with GANTRY_COMPATIBILITY=FILE, one line of JSON a fact."""
import json
import os

FILE = os.environ.get('GANTRY_COMPATIBILITY')
RECORDED = set()


def record(*fact):
    RECORDED.add(json.dumps(fact))


def pytest_sessionfinish(session, exitstatus):
    if FILE and exitstatus == 0:
        with open(FILE, 'a', encoding='utf-8') as file:
            file.writelines(line + '\n' for line in sorted(RECORDED))
