# SPDX-License-Identifier: LGPL-2.1-or-later
"""gantry plugin and gantry config: from a running daemon, and from the files alone."""
import json
import os
import subprocess

import pytest

from conftest import BUILD, GANTRY, PATIENCE


class Cli:
    def __init__(self, lab):
        self.lab = lab
        self.env = {**os.environ, "GANTRY_STATE": f"{lab.dir}/state", "GANTRY_ROOT": f"{lab.dir}/root"}
        self.env.pop("GANTRY_ADDRESS", None)

    def run(self, *args, check=True):
        done = subprocess.run([GANTRY, *args], capture_output=True, text=True, timeout=PATIENCE, check=False, env=self.env)
        assert done.returncode == 0 or not check, (args, done.stdout, done.stderr)
        return done

    def files(self, *args, check=True):
        """The same about the lab's manifests."""
        dirs = [argument for name in ("usr", "etc", "run") for argument in ("--plugins-dir", f"{self.lab.dir}/{name}")]
        return self.run(*args, *dirs, check=check)


@pytest.fixture
def cli(lab):
    return Cli(lab)


@pytest.fixture
def served(lab, cli):
    """A daemon that listens, with all plugins of the tree and one that fails."""
    lab.add("broken", "one", config={"Init": "fail", "Colour": "blue"}, Rank="5")
    lab.add("waiting", "needs-one")
    running = lab.start("--plugins-dir", f"{BUILD}/plugins.d", "--log-level", "info")
    running.wait_for("everything that can start has started")
    running.wait_for("api-dbus: listens")
    yield cli
    running.stop()


def rows(text):
    lines = text.splitlines()
    starts = [lines[0].index(word) for word in lines[0].split()]
    return {line.split()[0]: dict(zip(lines[0].split(), [line[a:b].strip() for a, b in zip(starts, starts[1:] + [None])]))
            for line in lines[1:]}


def test_list_of_files_alone(lab, cli):
    lab.add("one", Rank="7")
    lab.add("broken", "wrong-abi")
    lab.add("needs-one")
    mask = lab.write("etc/masked.plugin", "")
    found = rows(cli.files("plugin", "list").stdout)
    assert found["one"] == {"PLUGIN": "one", "TYPE": "org.example.one.v1", "ID": "one", "VERSION": "1.2.3", "ABI": "1 of 1",
                            "STATE": "pending", "INIT": "-", "FILE": lab.module("one"), "REASON": ""}
    assert found["broken"]["STATE"] == "failed" and found["broken"]["REASON"].endswith("was built for ABI 99, this gantryd has ABI 1; rebuild it")
    assert found["masked"]["REASON"] == f"masked by {mask}"
    assert not os.path.exists(f"{lab.dir}/state"), "no daemon was started"


def test_a_module_that_crashes_when_it_is_opened_harms_nobody(lab, cli):
    """It is opened in a child."""
    source = lab.write("bomb.c", "#include <stdlib.h>\n__attribute__((constructor)) static void f (void) { abort (); }\n"
                                 "void *gantry_plugin_get_desc (void);\nvoid *gantry_plugin_get_desc (void) { return 0; }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", f"{lab.dir}/bomb.so", source], check=True)
    path = lab.add("bomb", Module=f"{lab.dir}/bomb.so")
    done = cli.files("plugin", "list", check=False)
    assert (done.returncode, done.stderr) == (
        1, "gantry: a module crashed while it was opened (signal 6); find it with gantryd --check\n")
    done = cli.run("plugin", "check", path, check=False)
    assert done.returncode == 1 and f"FAIL a module of {path} crashed while it was opened (signal 6)" in done.stdout


def test_without_a_daemon_the_files_are_read(cli, lab):
    done = cli.run("plugin", "list")
    assert done.stderr == "gantry: no daemon runs; this is what the files say\n" and "snapshotter-overlay" in done.stdout
    assert not os.path.exists(f"{lab.dir}/state"), "no daemon was started"
    done = cli.run("--address", f"unix:path={lab.dir}/none.sock", "plugin", "list", check=False)
    assert done.returncode == 1 and done.stderr.startswith(f"gantry: no daemon answers at unix:path={lab.dir}/none.sock")


def test_list_of_a_daemon(served):
    found = rows(served.run("plugin", "list").stdout)
    assert found["api-dbus"]["STATE"] == "ok" and found["api-dbus"]["INIT"].endswith(" ms")
    assert found["broken"]["STATE"] == "failed" and found["broken"]["REASON"] == "the fixture fails as it was told"
    assert found["waiting"]["REASON"] == "needs org.example.one.v1, offered by broken, which failed: the fixture fails as it was told"
    assert list(rows(served.run("plugin", "list", "--state", "failed").stdout)) == ["broken"]
    assert list(rows(served.run("plugin", "list", "--type", "snapshot-index").stdout)) == ["metadata-sqlite"]
    answer = json.loads(served.run("--format", "json", "plugin", "list", "--type", "org.gantry.content.v1").stdout)
    local = next(one for one in answer if one["name"] == "content-local")
    assert local["attempts"] == 1 and local["interfaces"][0]["size"] > 50 and not any("snapshotter" in one["name"] for one in answer)


def test_inspect(served, lab):
    text = served.run("plugin", "inspect", "broken").stdout.splitlines()
    build_id = subprocess.run(["readelf", "-n", lab.module("one")], capture_output=True, text=True, check=True).stdout
    build_id = build_id[build_id.index("Build ID:"):].split()[2]
    assert text[0] == "broken"
    assert [" ".join(line.split()) for line in text[1:]] == [
        "description A fixture", "id broken", "version 1.2.3", "license LGPL-2.1-or-later", f"file {lab.module('one')}",
        f"build-id {build_id}", f"manifest {lab.dir}/usr/broken.plugin", "on-failure warn", "rank 5", "abi 1, the daemon has 1",
        "state failed", "reason the fixture fails as it was told", " ".join(text[13].split()), "provides", "org.example.one.v1", "needs", "serves",
        "config", f"Init=fail ({lab.dir}/usr/broken.plugin:7)", f"Colour=blue ({lab.dir}/usr/broken.plugin:8; unknown to the module)",
        "WaitFor= (default)", "Meet= (default)", "MeetAs=r (default)", "Threads=0 (default)", "Serve=ok (default)",
        "ServeWaitFor=/ (default)"]
    assert text[13].split()[0] == "init" and text[13].endswith(" ms, 1 time")
    text = served.run("plugin", "inspect", "metadata-sqlite").stdout
    assert "  org.gantry.snapshot-index.v1  (a vtable of " in text
    assert "  store-local: org.gantry.metadata.v1 (one)\n" in text
    done = served.run("plugin", "inspect", "overlay", check=False)
    assert (done.returncode, done.stderr) == (1, "gantry: there is no plugin overlay, but snapshotter-overlay\n")


def test_graph(lab, cli):
    lab.add("one", Rank="10")
    lab.add("spare", "one", Rank="5")
    lab.add("needs-one")
    lab.add("needs-two")
    lab.add("optional")
    lab.add("many")
    assert cli.files("plugin", "graph").stdout.splitlines() == [
        "many", "├─ one", "└─ spare", "needs-two", "└─ needs-one", "   └─ one", "optional", "├─ one", "└─ core"]
    dot = cli.files("plugin", "graph", "--dot").stdout
    assert '  "needs-one" -> "one" [label="org.example.one.v1"];' in dot and 'style=dashed' in dot
    assert cli.files("plugin", "graph", "--reverse", "one").stdout.splitlines() == [
        "If one goes, nothing stops.", "These go on without what they can do without:", "  many: org.example.one.v1 of one",
        "These go on with another:", "  needs-one: org.example.one.v1 of one, then of spare",
        "  optional: org.example.one.v1 of one, then of spare"]
    os.unlink(f"{lab.dir}/usr/spare.plugin")
    assert cli.files("plugin", "graph", "--reverse", "one").stdout.splitlines() == [
        "If one goes, these stop:", "  needs-one: org.example.one.v1 of one", "  needs-two: org.example.two.v1 of needs-one",
        "These go on without what they can do without:", "  many: org.example.one.v1 of one", "  optional: org.example.one.v1 of one"]
    answer = json.loads(cli.files("--format", "json", "plugin", "graph", "--reverse", "one").stdout)
    assert [one["name"] for one in answer["stops"]] == ["needs-one", "needs-two"]
    os.unlink(f"{lab.dir}/usr/one.plugin")
    assert "└─ (nobody serves org.example.one.v1)" in cli.files("plugin", "graph").stdout.replace("(skipped)", "").replace("   └", "└")


@pytest.mark.skipif(subprocess.run(["which", "dot"], capture_output=True, check=False).returncode != 0, reason="needs graphviz")
def test_dot_is_understood(cli):
    dot = cli.run("plugin", "graph", "--dot", "--offline").stdout
    assert subprocess.run(["dot", "-Tsvg"], input=dot, capture_output=True, text=True, check=False).returncode == 0


def test_trace(served, lab, cli):
    lines = served.run("plugin", "trace", "waiting").stdout.splitlines()
    assert lines[0] == f"waiting: declared by {lab.dir}/usr/waiting.plugin"
    assert lines[1:] == [
        "waiting: need org.example.one.v1: refused broken, which failed: the fixture fails as it was told",
        "waiting: skipped: needs org.example.one.v1, offered by broken, which failed: the fixture fails as it was told"]
    assert json.loads(served.run("--format", "json", "plugin", "trace", "waiting").stdout) == lines
    offline = cli.files("plugin", "trace", "waiting").stdout.splitlines()
    assert offline == lines[:1]
    done = served.run("plugin", "trace", "nothing", check=False)
    assert (done.returncode, done.stderr) == (1, "gantry: nothing is known of a plugin nothing; see gantry plugin list\n")


def test_config_show(served, lab):
    text = served.run("config", "show").stdout
    assert text.startswith(f"[Daemon]\nRoot={lab.dir}/root\nState={lab.dir}/state\n") and "IoThreads" not in text
    assert "[broken]\nInit=fail\nColour=blue\n" in text
    text = served.run("config", "show", "--effective", "--origin").stdout
    assert "IoThreads=8  # built in\n" in text and f"Root={lab.dir}/root  # command line\n" in text
    assert f"Init=fail  # {lab.dir}/usr/broken.plugin:7\n" in text
    assert served.run("config", "show", "broken").stdout == "[broken]\nInit=fail\nColour=blue\n\n"
    answer = json.loads(served.run("--format", "json", "config", "show", "broken").stdout)
    assert answer["broken"][0] == {"key": "Init", "value": "fail", "origin": f"{lab.dir}/usr/broken.plugin:7", "known": True, "default": "ok"}
    assert "#Serve=ok\n" in served.run("config", "show", "--effective", "broken").stdout
    assert "#Backlog=4096  # default\n" in text


def test_config_show_of_files_alone(lab, cli):
    lab.add("one", config={"Init": "ok"})
    lab.write("etc/one.plugin.d/local.conf", "[Config]\nInit=skip\n")
    text = cli.files("config", "show", "--origin").stdout
    assert f"Init=skip  # {lab.dir}/etc/one.plugin.d/local.conf:2\n" in text


@pytest.mark.parametrize("args", [["plugin", "list", "x"], ["plugin", "inspect"], ["plugin", "graph", "--dot", "--reverse", "x"],
                                  ["plugin", "trace", "a", "b"], ["config", "show", "a", "b"], ["plugin", "nothing"]])
def test_wrong_command_lines(cli, args):
    done = cli.run(*args, check=False)
    assert done.returncode == 2 and done.stderr.startswith("gantry: ") and done.stderr.count("\n") == 1 and "--help" in done.stderr
