# SPDX-License-Identifier: LGPL-2.1-or-later
"""gantry plugin check: it finds what is wrong with a module by running it."""
import json
import os
import subprocess

import pytest

from conftest import BUILD, GANTRY, GANTRYD, PATIENCE, no_reports


def check(lab, *targets, options=()):
    """Returns: the exit status and the lines, without the plugin's own directory."""
    done = subprocess.run([GANTRYD, *lab.options(), *options, "--check", *targets], capture_output=True, text=True, timeout=10 * PATIENCE,
                          check=False)
    no_reports(done.stderr)
    return done.returncode, done.stdout.splitlines()


@pytest.fixture
def leaky(lab):
    def run(flaw):
        path = lab.add("leaky", f"leaky-{flaw}", Provides="org.example.leaky.v1", Id="one")
        return check(lab, path)
    return run


def test_a_good_one(leaky, lab):
    status, lines = leaky(0)
    assert status == 0
    assert lines == [
        f"ok   leaky: module: {lab.module('leaky-0')} belongs to root and nobody else can write it",
        f"ok   leaky: descriptor: leaky 1, ABI 1 of 1, as {lab.dir}/usr/leaky.plugin says",
        "ok   leaky: symbols: gantry_plugin_get_desc alone, and no library of Gantry's",
        "ok   leaky: init and fini: as it is, and with 1 failures of the host injected",
        "skip leaky: contract: org.example.leaky.v1 has no suite",
    ]


@pytest.mark.parametrize("flaw,line", [
    (1, "FAIL leaky: init and fini: 1 descriptors of files in its directories are open after fini ()"),
    (2, "FAIL leaky: init and fini: when call 1 of the host's get_dir_fd fails: init () failed without an error; that is a bug of it"),
    (3, "FAIL leaky: init and fini: crashed with signal 6 when call 1 of the host's get_dir_fd failed"),
    (4, "FAIL leaky: symbols: besides gantry_plugin_get_desc it exports leaky_extra; build it with -fvisibility=hidden"),
    (5, "FAIL leaky: init and fini: get () returned NULL for org.example.leaky.v1, which it provides"),
    (6, "FAIL leaky: configuration: the key Untold tells no default; add it to config_defaults"),
    (7, 'FAIL leaky: configuration: "Tolds=2" of config_defaults is no default of one of its keys'),
])
def test_a_flaw_is_found(leaky, flaw, line):
    status, lines = leaky(flaw)
    assert status == 1
    assert line in lines


def test_an_undeclared_lookup_is_found(lab):
    path = lab.add("one", config={"Init": "undeclared"})
    status, lines = check(lab, path)
    assert status == 1
    assert "FAIL one: init and fini: org.example.secret.v1 is not among the declared needs of one" in lines


def test_what_it_needs_is_started_with_it(lab):
    lab.add("one")
    lab.add("unrelated", "one", config={"Init": "fail"}, OnFailure="fail")
    status, lines = check(lab, lab.add("needs-one", directory="elsewhere"))
    assert status == 0
    assert "ok   needs-one: init and fini: as it is, and with 1 failures of the host injected" in lines
    assert not any("unrelated" in line for line in lines)


def test_a_required_one_beside_it_that_is_broken_is_no_matter(lab):
    lab.add("required", Module="/nowhere.so", OnFailure="fail")
    status, lines = check(lab, lab.add("one", directory="elsewhere"))
    assert status == 0 and any(line.startswith("ok   one: init and fini: ") for line in lines), lines


def test_what_cannot_be_tried_is_said(lab):
    path = lab.add("needs-one")
    status, lines = check(lab, path)
    assert status == 0
    assert "skip needs-one: init: needs org.example.one.v1, which no plugin provides" in lines


def test_a_directory(lab):
    lab.add("one")
    lab.add("broken", Module="/nowhere.so")
    lab.write("usr/masked.plugin", "")
    status, lines = check(lab, f"{lab.dir}/usr")
    assert status == 1
    assert f"FAIL broken: module /nowhere.so of {lab.dir}/usr/broken.plugin: No such file or directory" in lines
    assert f"skip masked: masked by {lab.dir}/usr/masked.plugin" in lines
    assert any(line.startswith("ok   one: init and fini") for line in lines)


def test_the_machine_is_left_alone(lab, monkeypatch):
    """Everything happens in scratch directories, which are gone afterwards."""
    lab.add("one")
    scratch = f"{lab.dir}/scratch"
    os.mkdir(scratch)
    changed = os.stat(scratch).st_mtime_ns
    monkeypatch.setenv("TMPDIR", scratch)
    status, lines = check(lab, f"{lab.dir}/usr")
    assert status == 0, lines
    assert os.listdir(scratch) == [] and os.stat(scratch).st_mtime_ns != changed
    assert not os.path.exists(f"{lab.dir}/root")


def test_unknown_keys_are_warned_of(lab):
    path = lab.add("one", config={"Colour": "blue"})
    status, lines = check(lab, path)
    assert status == 0 and f"warn {path}:6: one does not know the key Colour" in lines


def test_absent_manifest(lab):
    status, lines = check(lab, f"{lab.dir}/usr/none.plugin")
    assert status == 1 and any(f"reading manifest {lab.dir}/usr/none.plugin" in line for line in lines)


def cli(*args):
    return subprocess.run([GANTRY, *args], capture_output=True, text=True, timeout=10 * PATIENCE, check=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_contract_suite_of_a_real_plugin():
    done = cli("plugin", "check", "content-local")
    assert done.returncode == 0, done.stdout
    line = next(line for line in done.stdout.splitlines() if ": contract: " in line)
    assert line.startswith("ok   content-local: contract: org.gantry.content.v1: ") and int(line.split()[4]) > 10


def test_contract_failures_are_told(lab):
    """A module that says it is a content store, but has no slot, fails its suite."""
    source = lab.write("empty.c", """
#include <gantry/content.h>
static const GantryContentVtable vtable = { .size = sizeof (GantryContentVtable) };
static GantryContent content = { &vtable };
static gboolean init (const GantryHost *host, gpointer *ret_instance, GError **error) { *ret_instance = &content; return TRUE; }
static gpointer get (gpointer instance, const char *type) { return instance; }
static void fini (gpointer instance) { }
static const GantryProvide provide = { sizeof provide, GANTRY_CONTENT_TYPE };
static const GantryProvide *const provides[] = { &provide, NULL };
static const GantryPluginDesc desc = { .size = sizeof desc, .abi_major = GANTRY_ABI_MAJOR, .name = "empty", .version = "1",
  .license = "MIT", .description = "Nothing", .provides = provides, .init = init, .get = get, .fini = fini };
const GantryPluginDesc *gantry_plugin_get_desc (void) { return &desc; }
""")
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "gio-2.0", "gio-unix-2.0"], capture_output=True, text=True,
                           check=True).stdout.split()
    sdk = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../sdk")
    subprocess.run(["cc", "-shared", "-fPIC", "-fvisibility=hidden", "-o", f"{lab.dir}/empty.so", source, f"-I{sdk}", *flags], check=True)
    path = lab.add("empty", Module=f"{lab.dir}/empty.so", Provides="org.gantry.content.v1")
    status, lines = check(lab, path)
    assert status == 1 and any(line.startswith("FAIL empty: contract: org.gantry.content.v1: ") for line in lines), lines


def test_check_by_name_and_as_json():
    done = cli("--format", "json", "plugin", "check", "jobs-local")
    findings = json.loads(done.stdout)
    assert done.returncode == 0
    assert {(one["plugin"], one["result"]) for one in findings} <= {("jobs-local", "ok"), ("jobs-local", "skip")}
    assert {"module", "descriptor", "symbols", "init and fini", "contract"} == {one["aspect"] for one in findings}
    done = cli("plugin", "check", "nothing-like-it")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "gantry: there is no plugin nothing-like-it; see gantry plugin list")
    done = cli("plugin", "check", "./nothing.plugin")
    assert (done.returncode, done.stderr) == (1, "gantry: there is no ./nothing.plugin\n")


def test_every_plugin_of_the_tree_is_found_good():
    """What an operator types after an update."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    names = [name.removesuffix(".plugin") for name in sorted(os.listdir(f"{BUILD}/plugins.d"))]
    done = cli("plugin", "check")
    assert done.returncode == 0, done.stdout
    for name in names:
        assert f"ok   {name}: symbols: " in done.stdout
