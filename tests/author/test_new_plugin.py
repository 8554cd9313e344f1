# SPDX-License-Identifier: LGPL-2.1-or-later
"""tools/new-plugin, for every interface that has a contract suite: what it makes builds out of tree against the installed SDK, loads
in a gantryd, and passes the suite."""
import json
import os
import re
import subprocess
import time

import pytest

BUILD = os.environ["GANTRY_BUILD"]
SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
PATIENCE = 300
TYPES = subprocess.run([f"{BUILD}/sdk/contract/gantry-contract", "--list"], capture_output=True, text=True, check=True).stdout.split()


def run(*args, **kwargs):
    done = subprocess.run([str(arg) for arg in args], capture_output=True, text=True, timeout=2 * PATIENCE, check=False, **kwargs)
    assert done.returncode == 0, (args, done.stdout, done.stderr)
    return done.stdout


class Sdk:
    """Gantry, installed below a directory of its own, and an environment in which pkg-config finds it."""

    def __init__(self, directory):
        self.destination = f"{directory}/installed"
        run("meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", "--destdir", self.destination)
        found = subprocess.run(["find", self.destination, "-name", "gantry-sdk.pc"], capture_output=True, text=True, check=True)
        with open(found.stdout.split()[0], encoding="utf-8") as file:
            text = file.read()
        prefix = re.search(r"^prefix=(.*)$", text, re.M)[1]
        self.prefix = self.destination + prefix
        # As if the prefix were where it is staged. All else in the file has to follow from it.
        os.mkdir(f"{directory}/pkgconfig")
        with open(f"{directory}/pkgconfig/gantry-sdk.pc", "w", encoding="utf-8") as file:
            file.write(text.replace(f"prefix={prefix}\n", f"prefix={self.prefix}\n"))
        self.env = {**os.environ, "PKG_CONFIG_PATH": f"{directory}/pkgconfig"}

    def variable(self, name):
        return run("pkg-config", f"--variable={name}", "gantry-sdk", env=self.env).strip()


@pytest.fixture(scope="module")
def sdk(tmp_path_factory):
    return Sdk(tmp_path_factory.mktemp("sdk"))


def test_the_sdk_is_installed_whole(sdk):
    for name in ("plugindir", "manifestdir", "contractdir", "sdkincludedir"):
        assert os.path.isdir(sdk.variable(name)), name
    for name in ("contract", "gantryd"):
        assert os.access(sdk.variable(name), os.X_OK), name
    headers = os.listdir(f"{SOURCE}/sdk/gantry")
    assert set(headers) <= set(os.listdir(f"{sdk.variable('sdkincludedir')}/gantry"))
    assert f"-I{sdk.prefix}/include/gantry-sdk" in run("pkg-config", "--cflags", "gantry-sdk", env=sdk.env)


def wait_for(plugin, address, process):
    """The daemon's own word on @plugin."""
    deadline = time.monotonic() + PATIENCE
    while True:
        done = subprocess.run([f"{BUILD}/cli/gantry", "--address", address, "--format", "json", "plugin", "list"], capture_output=True,
                              text=True, check=False)
        if done.returncode == 0:
            return next(one for one in json.loads(done.stdout) if one["name"] == plugin)
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)


def load(directory, name, tmp_path):
    """Starts a gantryd with the plugins of the tree and this one. Returns: what it says of it."""
    process = subprocess.Popen(
        [f"{BUILD}/core/gantryd", "--plugins-dir", f"{BUILD}/plugins.d", "--plugins-dir", f"{directory}/{name}.plugin", "--module-dir",
         f"{directory}/build", "--root", f"{tmp_path}/root", "--state", f"{tmp_path}/state", "--config", "/dev/null"],
        stderr=subprocess.PIPE, text=True)
    try:
        return wait_for(name, f"unix:path={tmp_path}/state/gantry.sock", process)
    finally:
        process.terminate()
        log = process.communicate(timeout=PATIENCE)[1]
        assert process.returncode == 0 and "Sanitizer" not in log, log


@pytest.mark.parametrize("type_", TYPES)
def test_it_builds_passes_and_loads(sdk, tmp_path, type_):
    noun = type_.split(".")[2]
    name = f"{noun}-mine"
    directory = tmp_path / name
    run(f"{sdk.prefix}/bin/gantry-new-plugin", noun, "mine", directory, env=sdk.env)
    run("meson", "setup", "-Dwerror=true", directory / "build", directory, env=sdk.env)
    run("ninja", "-C", directory / "build", env=sdk.env)
    run("meson", "test", "-C", directory / "build", "--no-rebuild", "--print-errorlogs", env=sdk.env)
    log = [json.loads(line) for line in (directory / "build/meson-logs/testlog.json").read_text().splitlines()]
    assert {one["name"].split(" / ")[-1]: one["result"] for one in log} == {"contract": "OK", "check": "OK"}
    text = next(one for one in log if one["name"].endswith("contract"))["stdout"]
    passed = [line for line in text.splitlines() if line.startswith("ok ") and "# SKIP" not in line]
    assert len(passed) > 1, text
    exported = run("nm", "-D", "--defined-only", directory / f"build/{name}.so").split()
    assert exported[2::3] == ["gantry_plugin_get_desc"]
    assert "libgantry" not in run("ldd", directory / f"build/{name}.so")
    one = load(directory, name, tmp_path)
    assert (one["state"], one["reason"], one["types"]) == ("ok", "", [type_])


def test_it_installs(sdk, tmp_path):
    """Where gantry-sdk.pc says, which is where gantryd looks."""
    directory = tmp_path / "x"
    run(f"{SOURCE}/tools/new-plugin", "content", "mine", directory)
    run("meson", "setup", directory / "build", directory, env=sdk.env)
    run("meson", "install", "-C", directory / "build", "--quiet", env=sdk.env)
    assert os.path.exists(f"{sdk.variable('plugindir')}/content-mine.so")
    assert os.path.exists(f"{sdk.variable('manifestdir')}/content-mine.plugin")
    assert f"[{sdk.variable('plugindir').removeprefix(sdk.destination)}]" in run(sdk.variable("gantryd"), "--help")


def test_what_it_makes(tmp_path):
    directory = tmp_path / "x"
    run(f"{SOURCE}/tools/new-plugin", "org.gantry.snapshotter.v1", "my-own", directory)
    names = set(os.listdir(directory))
    assert {"README.md", "meson.build", "snapshotter-my-own.plugin", "snapshotter-my-own-plugin.c", "snapshotter-my-own.c",
            "snapshotter-my-own.h"} <= names
    headings = re.findall(r"^## (.*)$", (directory / "README.md").read_text(), re.M)
    assert headings == ["Introduction", "Provides", "Needs", "Configuration", "External interface access", "Failure modes"]
    for name in names:
        text = (directory / name).read_text()
        assert "gantry_fake" not in text and "GantryFake" not in text, name
        assert "SPDX-License-Identifier" in text or name == "README.md"


@pytest.mark.parametrize("args,message", [
    (["nothing", "mine"], "no header of the SDK declares an interface nothing; there are content, "),
    (["content", "a/b"], '"a/b" is no id'),
    (["content", "mine", "/tmp"], "/tmp is there already"),
])
def test_mistakes(tmp_path, args, message):
    done = subprocess.run([f"{SOURCE}/tools/new-plugin", *args], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1 and done.stderr.startswith(f"new-plugin: {message}"), done.stderr
    assert os.listdir(tmp_path) == []
