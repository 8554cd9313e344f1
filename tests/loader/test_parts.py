# SPDX-License-Identifier: LGPL-2.1-or-later
"""What modules open at first use (lib/part): taken at start, opened later, from the file that was there at start."""
import glob
import os
import shutil
import subprocess

import pytest
from conftest import BUILD, GANTRY, PATIENCE

PART = "registry-oci-client.so"


class Modules:
    """Copies of the modules that are built here, that a test may break."""

    def __init__(self, lab):
        self.lab = lab
        self.dir = f"{lab.dir}/modules"
        os.makedirs(f"{self.dir}/parts")
        for path in glob.glob(f"{BUILD}/plugins/*.so"):
            os.symlink(path, f"{self.dir}/{os.path.basename(path)}")
        # The one that is looked at is a file of its own: its parts are beside it.
        self.own("registry-oci.so", self.dir)
        self.own(f"parts/{PART}", f"{self.dir}/parts")

    def own(self, name, directory):
        path = f"{directory}/{os.path.basename(name)}"
        if os.path.lexists(path):
            os.unlink(path)
        shutil.copy(f"{BUILD}/plugins/{name}", path)

    def manifest(self):
        with open(f"{BUILD}/plugins/registry-oci.plugin", encoding="utf-8") as file:
            self.lab.write("usr/registry-oci.plugin", file.read())
        return "--module-dir", self.dir

    def replace(self, text):
        path = f"{self.dir}/parts/{PART}"
        self.lab.write(f"modules/parts/{PART}.new", text)
        os.rename(f"{path}.new", path)


@pytest.fixture
def modules(lab):
    return Modules(lab)


def test_module_with_its_part(lab, modules):
    assert lab.once("registry-oci", *modules.manifest()) == "registry-oci: ok"


def test_missing_part_is_told_at_start(lab, modules):
    path = f"{modules.dir}/parts/{PART}"
    os.unlink(path)
    assert lab.once("registry-oci", *modules.manifest()) == (
        f"registry-oci: failed: opening {path}, a part of this module: No such file or directory")


def test_part_that_others_can_write(lab, modules):
    path = f"{modules.dir}/parts/{PART}"
    os.chmod(path, 0o777)
    assert lab.once("registry-oci", *modules.manifest()) == (
        f"registry-oci: failed: {path} is not loaded: it must be a file that belongs to root and that nobody else can write")


def explain(lab):
    """Asks for something that the part does. Returns: exit status, and what was printed."""
    done = subprocess.run([GANTRY, "--address", f"unix:path={lab.dir}/state/gantry.sock", "registry", "explain", "127.0.0.1:1/none"],
                          capture_output=True, text=True, timeout=PATIENCE, check=False)
    return done.returncode, done.stdout + done.stderr


def start_whole_daemon(lab, modules):
    for path in glob.glob(f"{BUILD}/plugins/*.plugin"):
        if not path.endswith(".uninstalled.plugin"):
            shutil.copy(path, f"{lab.dir}/usr/{os.path.basename(path)}")
    for path in glob.glob(f"{BUILD}/plugins/parts/*.so"):
        if os.path.basename(path) != PART:
            os.symlink(path, f"{modules.dir}/parts/{os.path.basename(path)}")
    running = lab.start("--module-dir", modules.dir)
    running.wait_for("everything that can start has started")
    return running


def test_part_of_when_the_daemon_started_is_used(lab, modules):
    running = start_whole_daemon(lab, modules)
    modules.replace("what another version would be\n")
    status, text = explain(lab)
    assert "127.0.0.1:1" in text and "part" not in text, (status, text)
    running.stop()


def test_part_that_cannot_be_loaded(lab, modules):
    modules.replace("no shared object\n")
    running = start_whole_daemon(lab, modules)
    status, text = explain(lab)
    assert status != 0 and "opening the part registry-oci-client: " in text
    assert explain(lab)[0] != 0
    running.stop()
