# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which manifest counts, and what of it."""
import os
import subprocess

import pytest

from conftest import GANTRYD, PATIENCE


def setting(one, key):
    return next((item["value"], item["origin"], item["known"]) for item in one["config"] if item["key"] == key)


def test_later_directories_win(lab):
    lab.add("one", Rank="1")
    lab.add("one", directory="etc", Rank="2")
    assert lab.inspect()[0]["one"]["rank"] == 2
    path = lab.add("one", directory="run", Rank="3")
    one = lab.inspect()[0]["one"]
    assert (one["rank"], one["manifest"]) == (3, path)


def test_drop_ins_override_keys(lab):
    lab.add("one", config={"Init": "fail", "Threads": "1"}, Rank="1")
    first = lab.write("usr/one.plugin.d/10-a.conf", "[Plugin]\nRank=10\n[Config]\n\nThreads=2\n")
    second = lab.write("etc/one.plugin.d/20-b.conf", "[Config]\nThreads=3\n")
    one = lab.inspect()[0]["one"]
    assert one["rank"] == 10
    assert setting(one, "Threads") == ("3", f"{second}:2", True)
    assert setting(one, "Init") == ("fail", f"{lab.dir}/usr/one.plugin:7", True)
    # The same name in a later directory replaces the file; an empty one takes it away.
    lab.write("run/20-b.conf", "")
    lab.write("run/one.plugin.d/20-b.conf", "")
    assert setting(lab.inspect()[0]["one"], "Threads") == ("2", f"{first}:5", True)


def test_drop_ins_also_hold_for_a_replaced_manifest(lab):
    lab.add("one", Rank="1")
    lab.write("usr/one.plugin.d/a.conf", "[Plugin]\nRank=10\n")
    lab.add("one", directory="etc", Rank="2")
    assert lab.inspect()[0]["one"]["rank"] == 10


@pytest.mark.parametrize("how", ["empty", "null"])
def test_masking(lab, how):
    lab.add("one", OnFailure="fail")
    path = f"{lab.dir}/etc/one.plugin"
    if how == "empty":
        lab.write("etc/one.plugin", "")
    else:
        os.symlink("/dev/null", path)
    one = lab.inspect()[0]["one"]
    assert (one["state"], one["reason"], one["masked"]) == ("skipped", f"masked by {path}", True)
    # What is masked is known all the same, and a masked plugin is not missed although it is required.
    assert one["types"] == ["org.example.one.v1"]
    lab.start().wait_for("everything that can start has started")


def test_unmasking_in_a_later_directory(lab):
    lab.add("one")
    lab.write("etc/one.plugin", "")
    lab.add("one", directory="run")
    assert lab.state("one") == ("pending", "")


def test_unknown_keys_are_told_with_file_and_line(lab):
    path = lab.write("usr/one.plugin", f"""# a comment
[Plugin]
Module={lab.module("one")}
Provides=org.example.one.v1
Id=one
Colour=blue
X-Colour=green

[Config]
Init=ok
Shape=round

[Extra]
A=1
""")
    drop_in = lab.write("etc/one.plugin.d/a.conf", "[Plugin]\n# no\nSmell=none\n")
    one, warnings = lab.inspect()
    lines = [line.removeprefix("warning: gantryd: ") for line in warnings.splitlines()]
    assert sorted(lines) == sorted([
        f"{path}:6: unknown key Colour",
        f"{path}:11: one does not know the key Shape",
        f"{path}:13: unknown section [Extra]",
        f"{drop_in}:3: unknown key Smell",
    ])
    assert one["one"]["state"] == "pending"
    assert setting(one["one"], "Shape") == ("round", f"{path}:11", False)


def test_a_key_that_stands_twice(lab):
    path = lab.write("usr/one.plugin", f"""[Plugin]
Module={lab.module("one")}
Provides=org.example.one.v1
Id=one
[Config]
Init=fail
Init=skip
""")
    assert setting(lab.inspect()[0]["one"], "Init") == ("skip", f"{path}:7", True)


def test_command_line_overrides(lab):
    lab.add("one", config={"Init": "fail"})
    one = lab.inspect(options=["--set", "one.Init=skip"])[0]["one"]
    assert setting(one, "Init") == ("skip", "command line", True)
    for bad, message in (("one", '"one" is not PLUGIN.KEY=VALUE'),
                         ("two.Init=ok", '"two.Init=ok" names no plugin that has a manifest; see `gantry plugin list`')):
        done = subprocess.run([GANTRYD, *lab.options(), "--set", bad, "--inspect", "plugins"], capture_output=True, text=True,
                              timeout=PATIENCE, check=False)
        assert (done.returncode, done.stderr) == (1, f"gantryd: {message}\n")


def test_rank_decides(lab):
    lab.add("one", Rank="1")
    lab.add("other", "one", Rank="2")
    lab.add("needs-one")
    assert lab.inspect()[0]["needs-one"]["needs"][0]["providers"] == ["other"]
    lab.write("etc/one.plugin.d/a.conf", "[Plugin]\nRank=3\n")
    assert lab.inspect()[0]["needs-one"]["needs"][0]["providers"] == ["one"]


def test_a_pinned_id_beats_rank(lab):
    lab.add("one", Rank="1")
    lab.add("other", "one", Rank="2")
    lab.add("needs-one", Needs="org.example.one.v1:one")
    assert lab.inspect()[0]["needs-one"]["needs"][0]["providers"] == ["one"]


def test_the_same_module_twice(lab):
    """Two ids, two configurations, two directories, both at once."""
    lab.add("one", config={"Threads": "3"})
    lab.add("other", "one", config={"Threads": "5"})
    running = lab.start()
    running.wait_for("everything that can start has started")
    log = running.stop()
    assert "notice: one: 3 jobs have run" in log and "notice: other: 5 jobs have run" in log


def test_on_failure_warn(lab):
    lab.add("one", config={"Init": "fail"}, OnFailure="warn")
    running = lab.start()
    running.wait_for("warning: gantryd: plugin one failed: the fixture fails as it was told")
    running.stop()


def test_on_failure_ignore(lab):
    lab.add("one", config={"Init": "fail"}, OnFailure="ignore")
    running = lab.start()
    running.wait_for("everything that can start has started")
    assert not any(line.startswith("warning") for line in running.stop())


def test_on_failure_fail(lab):
    lab.add("one", config={"Init": "fail"}, OnFailure="fail")
    lab.add("other", "one")
    log = lab.start().end(status=1)
    assert "error: gantryd: plugin one is required (OnFailure=fail): the fixture fails as it was told" in log
    assert "notice: other: has ended" in log or "notice: gantryd: other: starting" not in log


def test_on_failure_fail_of_a_broken_manifest(lab):
    lab.add("one", OnFailure="fail", Id=None)
    log = lab.start().end(status=1)
    assert f"error: gantryd: plugin one is required (OnFailure=fail): {lab.dir}/usr/one.plugin has no Id= in [Plugin]" in log


def test_on_failure_fail_for_want_of_a_need(lab):
    lab.add("needs-one", OnFailure="fail")
    log = lab.start().end(status=1)
    assert ("error: gantryd: plugin needs-one is required (OnFailure=fail): needs org.example.one.v1, which no plugin provides") in log


def test_a_name_that_is_no_word(lab):
    path = lab.write("usr/a b.plugin", "")
    plugins, warnings = lab.inspect()
    assert plugins == {}
    assert f"{path} is ignored: its name is no word of letters, digits, dashes and underscores" in warnings


def test_a_single_manifest_as_directory(lab):
    lab.add("one")
    path = lab.add("mine", "needs-one", directory="elsewhere")
    assert sorted(lab.inspect(options=["--plugins-dir", path])[0]) == ["mine", "one"]


def test_absent_directory_on_the_command_line(lab):
    done = subprocess.run([GANTRYD, "--plugins-dir", "/nowhere", "--config", lab.config()], capture_output=True, text=True,
                          timeout=PATIENCE, check=False)
    assert (done.returncode, done.stderr) == (2, "gantryd: there is no directory /nowhere (--plugins-dir)\n")


def test_daemon_settings_and_where_they_come_from(lab):
    lab.write("gantryd.conf", "[Daemon]\n# two\nIoThreads=2\nColour=blue\n[Other]\n")
    settings, warnings = lab.inspect("config")
    found = {one["key"]: (one["value"], one["origin"]) for one in settings}
    assert found["IoThreads"] == ("2", f"{lab.dir}/gantryd.conf:3")
    assert found["MaxQueue"] == ("8192", "built in")
    assert found["Root"] == (f"{lab.dir}/root", "command line")
    assert f"{lab.dir}/gantryd.conf:4: unknown key Colour" in warnings
    assert f"{lab.dir}/gantryd.conf:5: unknown section [Other]" in warnings


@pytest.mark.parametrize("text,message", [
    ("[Daemon]\nIoThreads=0\n", "{}:2: IoThreads=0 is not a number from 1 to 256"),
    ("[Daemon]\n\nLogLevel=loud\n", "{}:3: LogLevel=loud is none of error, warning, notice, info, debug"),
    ("[Daemon]\nLogFormat=xml\n", "{}:2: LogFormat=xml is none of auto, text, json, journal"),
])
def test_bad_daemon_settings(lab, text, message):
    path = lab.write("gantryd.conf", text)
    done = subprocess.run([GANTRYD, *lab.options(), "--inspect", "config"], capture_output=True, text=True, timeout=PATIENCE,
                          check=False)
    assert (done.returncode, done.stderr) == (2, f"gantryd: {message.format(path)}\n")


def test_daemon_settings_that_are_no_key_file(lab):
    path = lab.write("gantryd.conf", "Daemon\n")
    done = subprocess.run([GANTRYD, *lab.options(), "--inspect", "config"], capture_output=True, text=True, timeout=PATIENCE,
                          check=False)
    assert done.returncode == 2 and done.stderr.startswith(f"gantryd: {path}: Key file ")
