# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every message with an id has a text in the journal's catalog, and the other way round."""
import glob
import os
import re
import shutil
import subprocess

import pytest

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
CATALOG = f"{SOURCE}/data/systemd/gantry.catalog"


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


MESSAGES = dict(re.findall(r'^#define GANTRY_MESSAGE_(\w+) +"([^"]*)"', read(f"{SOURCE}/sdk/gantry/messages.h"), re.M))


def message_id(name):
    return MESSAGES[name]


def test_the_catalog_has_every_message_and_no_other():
    ids = re.findall(r"^-- (\S+)$", read(CATALOG), re.M)
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in MESSAGES.values())
    assert len(set(MESSAGES.values())) == len(MESSAGES) > 5
    assert sorted(ids) == sorted(MESSAGES.values())


def test_every_message_is_said_and_under_its_name():
    text = "".join(read(path) for top in ("core", "host", "lib", "plugins") for path in glob.glob(f"{SOURCE}/{top}/**/*.c", recursive=True))
    assert {name for name in re.findall(r"\bGANTRY_MESSAGE_(\w+)", text)} == set(MESSAGES)
    assert re.findall(r'"[0-9a-f]{32}"', text) == []


def test_the_catalog_names_only_fields_that_come():
    header = read(f"{SOURCE}/sdk/gantry/messages.h")
    for entry in re.split(r"^-- ", read(CATALOG), flags=re.M)[1:]:
        line = next(line for line in header.splitlines() if entry[:32] in line)
        come = set(re.findall(r"GANTRY_\w+", line.partition("/**")[2]))
        assert set(re.findall(r"@(\w+)@", entry)) <= come, entry
        assert re.match(r"[0-9a-f]{32}\nSubject: .+\nDefined-By: Gantry\n\n\S", entry), entry


@pytest.mark.skipif(shutil.which("journalctl") is None, reason="needs journalctl")
def test_systemd_understands_it(tmp_path):
    directory = tmp_path / "usr/lib/systemd/catalog"
    directory.mkdir(parents=True)
    (tmp_path / "var/lib/systemd/catalog").mkdir(parents=True)
    shutil.copy(CATALOG, directory)
    subprocess.run(["journalctl", f"--root={tmp_path}", "--update-catalog"], check=True)
    listed = subprocess.run(["journalctl", f"--root={tmp_path}", "--list-catalog"], check=True, capture_output=True, text=True).stdout
    assert {line.split()[0] for line in listed.splitlines()} == set(MESSAGES.values())
