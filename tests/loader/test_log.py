# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon's log: lines for people, JSON for programs, fields for the journal."""
import json
import os
import pty
import re
import shutil
import socket
import subprocess

import pytest

from conftest import GANTRYD, PATIENCE, Running
from test_catalog import message_id

def nasty(lab):
    """A plugin whose reason has a newline and an escape sequence from outside."""
    path = f"{lab.dir}/a\x1b[31mb\u2028c\u0085d\ne"
    lab.write("usr/one.plugin", f"[Plugin]\nModule={lab.module('one')}\nProvides=org.example.one.v1\nId=one\n[Config]\n"
                                f"WaitFor={path}\n".replace("\ne\n", "\\ne\n"))


def test_one_line_a_message(lab):
    nasty(lab)
    running = lab.start("--log-level", "info")
    running.wait_for("plugin one was skipped")
    log = running.stop()
    line = next(line for line in log if "plugin one was skipped" in line)
    assert re.fullmatch(rf"info: gantryd: plugin one was skipped: {re.escape(lab.dir)}/a \[31mb +c +d e is not there yet", line), log
    assert all(re.match(r"(error|warning|notice|info|debug): [a-z-]+: ", line) for line in log), log


@pytest.mark.parametrize("level,said,unsaid", [
    ("error", {"error"}, {"warning", "notice", "info"}),
    ("warning", {"error", "warning"}, {"notice", "info"}),
    ("notice", {"error", "warning"}, {"info"}),
    ("info", {"error", "warning", "info"}, {"debug"}),
])
def test_levels(lab, level, said, unsaid):
    lab.add("one", config={"Init": "fail"}, OnFailure="fail")
    levels = {line.split(":")[0] for line in lab.start("--log-level", level, env={"GANTRY_DEBUG": ""}).end(status=1)}
    assert said <= levels and not unsaid & levels


def test_json(lab):
    nasty(lab)
    lab.add("two", "one", config={"Threads": "2"})
    running = lab.start("--log-format", "json", "--log-level", "info")
    running.wait_for("plugin one was skipped")
    lines = [json.loads(line) for line in running.stop()]
    skipped = next(line for line in lines if line["message"].startswith("plugin one was skipped"))
    assert skipped["message"] == f"plugin one was skipped: {lab.dir}/a\x1b[31mb\u2028c\u0085d\ne is not there yet"
    assert skipped["level"] == "info" and skipped["domain"] == "gantryd"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", skipped["time"])
    jobs = next(line for line in lines if line["message"] == "2 jobs have run")
    assert jobs["gantry_plugin"] == "two" and jobs["level"] == "notice"


def test_format_from_the_configuration_file(lab):
    lab.write("gantryd.conf", "[Daemon]\nLogFormat=json\nLogLevel=info\n")
    running = Running([GANTRYD, *lab.options()], os.environ)
    lab.running.append(running)
    running.wait_for("ready after")
    assert all(json.loads(line)["level"] for line in running.stop())


def test_terminal(lab):
    """On a terminal, too, a message is a line."""
    nasty(lab)
    master, slave = pty.openpty()
    process = subprocess.Popen([GANTRYD, *lab.options(), "--log-level", "info"], stderr=slave)
    os.close(slave)
    text = b""
    while b"ready after" not in text:
        text += os.read(master, 65536)
    process.terminate()
    assert process.wait(PATIENCE) == 0
    os.close(master)
    line = next(line for line in text.split(b"\r\n") if b"plugin one was skipped" in line)
    assert line.endswith(b" e is not there yet") and b"\x1b" not in line


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare")
def test_journal(lab):
    """Fields go to the journal's socket, which is played here, in a mount namespace of our own."""
    lab.add("one", config={"Init": "fail"})
    os.mkdir(f"{lab.dir}/journal")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(f"{lab.dir}/journal/socket")
        journal.settimeout(PATIENCE)
        script = f"mkdir -p /run/systemd && mount -t tmpfs none /run/systemd && mkdir /run/systemd/journal && " \
                 f"mount --bind {lab.dir}/journal /run/systemd/journal && exec \"$@\""
        running = Running(["unshare", "-m", "sh", "-c", script, "sh", GANTRYD, *lab.options(), "--log-format", "journal",
                           "--log-level", "info"], os.environ)
        lab.running.append(running)
        entries = []
        while not any("MESSAGE=ready after" in entry for entry in entries):
            entries.append(journal.recv(65536).decode(errors="replace"))
        running.process.terminate()
        assert running.end() == []
    failed = next(entry for entry in entries if "MESSAGE=plugin one failed: the fixture fails as it was told\n" in entry)
    assert f"MESSAGE_ID={message_id('PLUGIN_FAILED')}\n" in failed and "GANTRY_PLUGIN=one\n" in failed
    assert f"MESSAGE_ID={message_id('READY')}\n" in entries[-1]
    assert "PRIORITY=4\n" in failed and "GLIB_DOMAIN=gantryd\n" in failed and "CODE_FUNC=" in failed


def test_debug_plugins_is_the_trace_alone(lab):
    lab.add("one")
    log = lab.start_and_stop()
    assert {line.split(":")[0] for line in log} == {"notice"}
    assert f"notice: gantryd: one: declared by {lab.dir}/usr/one.plugin" in log
