# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every module that is built here exports one symbol, links no library of Gantry's, and is as its manifest says."""
import configparser
import glob
import os
import re
import subprocess

import pytest

BUILD = os.environ["GANTRY_BUILD"]
MODULES = sorted(glob.glob(f"{BUILD}/plugins/*.so"))
# What modules open at first use (lib/part).
PARTS = sorted(glob.glob(f"{BUILD}/plugins/parts/*.so"))
MANIFESTS = sorted(glob.glob(f"{BUILD}/plugins.d/*.plugin"))


def test_there_are_modules():
    assert len(MODULES) >= 12 and len(MANIFESTS) >= 12


def exported(module):
    output = subprocess.run(["nm", "-D", "--defined-only", module], capture_output=True, text=True, check=True).stdout
    # Sanitizers add symbols of their own, with two underscores.
    return [line.split()[-1] for line in output.splitlines() if not line.split()[-1].startswith("__")]


@pytest.mark.parametrize("module", MODULES, ids=os.path.basename)
def test_one_symbol(module):
    assert exported(module) == ["gantry_plugin_get_desc"]


@pytest.mark.parametrize("part", PARTS, ids=os.path.basename)
def test_parts_export_one_symbol_and_belong_to_a_module(part):
    assert exported(part) == ["gantry_part_get_table"]
    assert any(os.path.basename(part).startswith(os.path.basename(module).removesuffix(".so") + "-") for module in MODULES)


@pytest.mark.parametrize("module", MODULES, ids=os.path.basename)
def test_no_heavy_library(module):
    """What a daemon at rest does not need comes with parts."""
    output = subprocess.run(["ldd", module], capture_output=True, text=True, check=True).stdout
    heavy = [name for name in ("libsoup", "libcrypto", "libssl", "libarchive", "libgpgme", "libyaml", "libsystemd") if name in output]
    assert not heavy, f"{os.path.basename(module)} needs {heavy}"


@pytest.mark.parametrize("module", MODULES, ids=os.path.basename)
def test_no_library_of_ours(module):
    output = subprocess.run(["ldd", module], capture_output=True, text=True, check=True).stdout
    assert "libgantry" not in output and "libglib-2.0" in output


@pytest.mark.parametrize("manifest", MANIFESTS, ids=os.path.basename)
def test_manifest_fits_and_is_complete(manifest):
    """gantryd --check holds the manifest against the descriptor; the manifest lists every key that the module knows."""
    done = subprocess.run([f"{BUILD}/core/gantryd", "--plugins-dir", f"{BUILD}/plugins.d", "--check", manifest, "--config",
                           "/dev/null"], capture_output=True, text=True, check=False)
    name = os.path.basename(manifest).removesuffix(".plugin")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"ok   {name}: descriptor: " in done.stdout and f"ok   {name}: symbols: " in done.stdout
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str
    parser.read(manifest)
    assert parser.has_section("Plugin") and set(parser["Plugin"]) >= {"Module", "Provides", "Id", "OnFailure"}


def test_core_is_small_and_knows_no_containers():
    core = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../core")
    texts = {path: open(path, encoding="utf-8").read() for path in glob.glob(f"{core}/*.[ch]")}
    assert sum(text.count("\n") for text in texts.values()) < 5000
    for path, text in texts.items():
        found = re.findall(r"\b(container|snapshot|blob|layer|digest|lease|bundle|rootfs|image|task)s?\b", text, re.I)
        assert not found, f"{path} speaks of {found}"
