# SPDX-License-Identifier: LGPL-2.1-or-later
"""Start, late arrivals, and the end."""
import os
import signal
import subprocess

from conftest import GANTRYD, PATIENCE

SETTLED = "everything that can start has started"


def index(log, text):
    return next(i for i, line in enumerate(log) if text in line)


def test_independent_plugins_start_in_parallel(lab):
    """Each opens one end of a FIFO, which takes both inits at the same time."""
    path = f"{lab.dir}/fifo"
    os.mkfifo(path)
    lab.add("reader", "one", config={"Meet": path, "MeetAs": "r"})
    lab.add("writer", "one", config={"Meet": path, "MeetAs": "w"})
    running = lab.start()
    running.wait_for("reader: ok")
    running.wait_for("writer: ok")
    running.stop()


def test_needs_start_first_and_end_last(lab):
    lab.add("a-needs-two", "needs-two")
    lab.add("b-needs-one", "needs-one")
    lab.add("c-one", "one")
    running = lab.start()
    running.wait_for("a-needs-two: ok")
    log = running.stop()
    assert index(log, ": c-one: ok") < index(log, ": b-needs-one: starting")
    assert index(log, ": b-needs-one: ok") < index(log, ": a-needs-two: starting")
    assert index(log, ": a-needs-two: has ended") < index(log, ": b-needs-one: has ended") < index(log, ": c-one: has ended")
    assert "notice: a-needs-two: has org.example.two.v1" in log


def test_all_jobs_run_before_anybody_ends(lab):
    lab.add("one", config={"Threads": "500"})
    running = lab.start()
    running.wait_for(SETTLED)
    log = running.stop()
    assert "notice: one: 500 jobs have run" in log


def test_the_queue_is_bounded(lab):
    lab.write("gantryd.conf", "[Daemon]\nMaxQueue=16\nIoThreads=1\nRuntimeThreads=1\n")
    lab.add("one", config={"Threads": "1000"})
    assert lab.once("one") == (
        "one: failed: the daemon is busy (16 jobs wait for a thread already); try again later, or raise MaxQueue")


def test_what_is_not_ready_comes_later_with_all_that_waits(lab):
    path = f"{lab.dir}/socket"
    lab.add("one", config={"WaitFor": path}, OnFailure="fail")
    lab.add("needs-one", OnFailure="fail")
    lab.add("needs-two")
    running = lab.start()
    running.wait_for(SETTLED)
    running.wait_for(f"needs-two: skipped: needs org.example.two.v1, offered by needs-one, which needs org.example.one.v1, offered by "
                     f"one, which is not ready yet: {path} is not there yet")
    lab.write("socket", "")
    running.wait_for("one: ok")
    running.wait_for("needs-two: ok")
    log = running.stop()
    assert index(log, ": needs-two: has ended") < index(log, ": needs-one: has ended") < index(log, ": one: has ended")


def test_a_required_one_ends_the_daemon_when_its_late_provider_fails(lab):
    path = f"{lab.dir}/socket"
    lab.add("one", config={"WaitFor": path, "Meet": path, "MeetAs": "w"})
    lab.add("needs-one", OnFailure="fail")
    running = lab.start()
    running.wait_for("needs-one: skipped")
    os.mkdir(path)  # It is there now, and can't be written.
    log = running.end(status=1)
    assert (f"error: gantryd: plugin needs-one is required (OnFailure=fail): needs org.example.one.v1, offered by one, which failed: "
            f"opening {path}: Is a directory") in log


def test_an_optional_need_that_comes_later_is_found(lab):
    path = f"{lab.dir}/socket"
    lab.add("one", config={"WaitFor": path})
    lab.add("optional")
    running = lab.start()
    running.wait_for("notice: optional: is without org.example.one.v1")
    lab.write("socket", "")
    running.wait_for("notice: optional: found org.example.one.v1 later")
    log = running.stop()
    # It started before its provider, and ends before it all the same.
    assert index(log, ": optional: has ended") < index(log, ": one: has ended")


def test_a_need_of_many_has_all_in_order_of_rank(lab):
    lab.add("one", Rank="1")
    lab.add("two", "one", Rank="30")
    lab.add("three", "one", Rank="20", config={"Init": "fail"})
    lab.add("many")
    running = lab.start()
    running.wait_for("many: ok")
    log = running.stop()
    has = [line for line in log if line.startswith("notice: many: has org")]
    assert has == ["notice: many: has org.example.one.v1:two of rank 30", "notice: many: has org.example.one.v1:one of rank 1"]
    assert index(log, ": many: has ended") < index(log, ": two: has ended")


def test_a_lower_rank_serves_when_the_higher_fails(lab):
    lab.add("one", Rank="100", config={"Init": "fail"})
    lab.add("spare", "one", Rank="1")
    lab.add("needs-one")
    running = lab.start()
    running.wait_for("needs-one: ok")
    log = running.stop()
    assert "notice: gantryd: needs-one: need org.example.one.v1: spare (rank 1) serves it" in log
    assert ("notice: gantryd: needs-one: need org.example.one.v1: refused one, which failed: the fixture fails as it was told") in log


def test_frontends_serve_last_and_stop_first(lab):
    lab.add("one")
    lab.add("frontend", Id="door")
    running = lab.start()
    running.wait_for("frontend: serves")
    log = running.stop()
    assert index(log, ": one: ok") < index(log, "frontend: serves")
    assert index(log, "frontend: stops serving") < index(log, ": one: has ended")


def test_a_frontend_that_cannot_listen_yet(lab):
    path = f"{lab.dir}/bus"
    lab.add("frontend", Id="door", config={"ServeWaitFor": path})
    running = lab.start()
    running.wait_for(f"frontend: does not listen yet: {path} is not there yet")
    lab.write("bus", "")
    running.wait_for("notice: frontend: serves")
    running.stop()


def test_a_frontend_that_cannot_listen_at_all(lab):
    """It is told once, whatever else starts later."""
    path = f"{lab.dir}/socket"
    lab.add("frontend", Id="door", config={"Serve": "fail"})
    lab.add("one", config={"WaitFor": path})
    running = lab.start()
    running.wait_for("frontend: failed: the address is taken")
    lab.write("socket", "")
    running.wait_for("one: ok")
    log = running.stop()
    assert sum("plugin frontend failed" in line for line in log) == 1


def test_one_instance_a_root(lab):
    running = lab.start()
    running.wait_for(SETTLED)
    for keep, change in (("root", "state"), ("state", "root")):
        options = [*lab.options(), f"--{change}", f"{lab.dir}/other"]
        second = subprocess.run([GANTRYD, *options], capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert second.returncode == 1
        assert second.stderr.startswith(f"gantryd: another gantryd (pid {running.process.pid}, {GANTRYD} ")
        assert second.stderr.endswith(f") has {lab.dir}/{keep}; stop it, or give this one another --{keep}\n")
    running.stop()
    # The lock goes with the process.
    third = lab.start()
    third.wait_for(SETTLED)
    third.process.kill()
    third.process.wait()
    fourth = lab.start()
    fourth.wait_for(SETTLED)
    fourth.stop()


def test_root_and_state_may_be_one_directory(lab):
    running = lab.start("--state", f"{lab.dir}/root")
    running.wait_for(SETTLED)
    running.stop()


def test_independent_instances(lab):
    lab.add("one")
    first = lab.start()
    second = lab.start("--root", f"{lab.dir}/r2", "--state", f"{lab.dir}/s2")
    first.wait_for(SETTLED)
    second.wait_for(SETTLED)
    first.stop()
    second.stop()


def test_sigint_ends_it_as_well(lab):
    lab.add("one")
    running = lab.start()
    running.wait_for(SETTLED)
    running.process.send_signal(signal.SIGINT)
    assert "notice: one: has ended" in running.end()


def test_sigterm_while_a_plugin_starts(lab):
    """The end waits for the init () under way, and ends that plugin too."""
    path = f"{lab.dir}/fifo"
    os.mkfifo(path)
    lab.add("one", config={"Meet": path, "MeetAs": "r"})
    lab.add("two", "one")
    running = lab.start()
    running.wait_for("two: ok")
    running.process.send_signal(signal.SIGTERM)
    with open(path, "w", encoding="utf-8"):
        log = running.end()
    assert "notice: one: has ended" in log and "notice: two: has ended" in log


def test_trace_says_why_in_order(lab):
    lab.add("one", Rank="7")
    lab.add("needs-one")
    log = [line.removeprefix("notice: gantryd: ") for line in lab.start_and_stop()]
    assert [line for line in log if line.split(":")[0] in ("one", "needs-one") and "has " not in line] == [
        f"needs-one: declared by {lab.dir}/usr/needs-one.plugin",
        f"one: declared by {lab.dir}/usr/one.plugin",
        "one: starting",
        "one: ok",
        "needs-one: need org.example.one.v1: one (rank 7) serves it",
        "needs-one: starting",
        "needs-one: ok",
        "needs-one: ending",
        "one: ending",
    ]
