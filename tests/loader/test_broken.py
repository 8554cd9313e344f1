# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every way in which a module or its manifest can be broken, and what gantryd says of it, word for word."""
import os
import shutil
import subprocess

import pytest


def failed(lab, name="broken", **kwargs):
    state, reason = lab.state(name, **kwargs)
    assert state == "failed"
    return reason


def test_no_symbol(lab):
    lab.add("broken", "no-symbol")
    assert failed(lab) == f"{lab.module('no-symbol')} is no Gantry module: it has no symbol gantry_plugin_get_desc"


def test_wrong_abi(lab):
    lab.add("broken", "wrong-abi")
    assert failed(lab) == f"{lab.module('wrong-abi')} was built for ABI 99, this gantryd has ABI 1; rebuild it"


def test_small_descriptor(lab):
    lab.add("broken", "small-desc")
    assert failed(lab) == (f"{lab.module('small-desc')}: its descriptor has 8 bytes, fewer than the 88 that ABI 1 begins with; "
                           "rebuild it")


def test_no_descriptor(lab):
    lab.add("broken", "null-desc")
    assert failed(lab) == f"{lab.module('null-desc')}: gantry_plugin_get_desc () returned NULL"


def test_descriptor_without_name(lab):
    lab.add("broken", "nameless")
    assert failed(lab) == f"{lab.module('nameless')}: its descriptor has no name"


def test_absent_file(lab):
    lab.add("broken", Module="/nowhere/broken.so")
    assert failed(lab) == f"module /nowhere/broken.so of {lab.dir}/usr/broken.plugin: No such file or directory"


def test_relative_module(lab):
    lab.add("broken", Module="../broken")
    assert failed(lab) == f"{lab.dir}/usr/broken.plugin: Module=../broken is neither a name nor an absolute path"


def test_text_file(lab):
    path = lab.write("broken.so", "this is no program at all, but long enough for a header of one, whatever it says\n", 0o755)
    lab.add("broken", Module=path)
    assert failed(lab) == f"module {path} is no ELF file"


@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.99])
def test_truncated_elf(lab, part):
    path = f"{lab.dir}/cut.so"
    shutil.copy(lab.module("one"), path)
    size = int(os.path.getsize(path) * part)
    os.truncate(path, size)
    lab.add("broken", Module=path)
    assert failed(lab) == f"module {path} is cut off: its headers speak of more than its {size} bytes; install it again"


def test_empty_module(lab):
    path = lab.write("empty.so", "", 0o755)
    lab.add("broken", Module=path)
    assert failed(lab) == f"module {path} is no ELF file"


def test_program_instead_of_module(lab):
    path = f"{lab.dir}/archive.so"
    subprocess.run(["cc", "-c", "-x", "c", "/dev/null", "-o", path], check=True)
    os.chmod(path, 0o755)
    lab.add("broken", Module=path)
    assert failed(lab) == f"module {path} is no shared object for this machine; build it with -shared"


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv")
def test_unreadable(lab):
    """Even root can't read without the capability, as under a service manager that takes it away."""
    without = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
    path = f"{lab.dir}/secret.so"
    shutil.copy(lab.module("one"), path)
    os.chmod(path, 0)
    lab.add("broken", Module=path)
    os.chmod(lab.add("unreadable", "one"), 0)
    assert failed(lab, prefix=without) == f"Failed to open file “{path}”: open() failed: Permission denied"
    assert failed(lab, "unreadable", prefix=without) == f"Failed to open file “{lab.dir}/usr/unreadable.plugin”: Permission denied"


def test_dangling_manifest(lab):
    os.symlink("/nowhere/x.plugin", f"{lab.dir}/usr/broken.plugin")
    assert failed(lab) == f"reading manifest {lab.dir}/usr/broken.plugin: No such file or directory"


def test_manifest_that_is_a_directory(lab):
    os.mkdir(f"{lab.dir}/usr/broken.plugin")
    assert failed(lab) == f"manifest {lab.dir}/usr/broken.plugin is no regular file of at most 262144 bytes; replace it"


def test_manifest_that_is_no_key_file(lab):
    lab.write("usr/broken.plugin", "[Plugin]\nModule\n")
    assert failed(lab) == (f"{lab.dir}/usr/broken.plugin: Key file contains line “Module” which is not a key-value pair, group, or "
                           "comment")


@pytest.mark.parametrize("key", ["Module", "Provides", "Id"])
def test_incomplete_manifest(lab, key):
    lab.add("broken", "one", **{key: None})
    assert failed(lab) == f"{lab.dir}/usr/broken.plugin has no {key}= in [Plugin]"


@pytest.mark.parametrize("key,value,line,expected", [
    ("Id", "a/b", 4, "a word of letters, digits, dashes and underscores"),
    ("Provides", "../etc", 3, "a type such as org.gantry.content.v1"),
    ("Provides", "org.example.one", 3, "a type such as org.gantry.content.v1"),
    ("Needs", "org.example.one.v1:a/b", 5, "a type, perhaps with :ID, and ? (optional) or * (many) behind it"),
    ("Rank", "first", 5, "a number from -100000 to 100000"),
    ("OnFailure", "panic", 5, "fail, warn or ignore"),
    ("Isolate", "vm", 5, "no or process"),
])
def test_bad_value(lab, key, value, line, expected):
    lab.add("broken", "one", **{key: value})
    assert failed(lab) == f"{lab.dir}/usr/broken.plugin:{line}: {key}={value} is not {expected}"


def test_isolate_without_a_proxy(lab):
    lab.add("broken", "one", Isolate="process")
    assert failed(lab) == (f"{lab.dir}/usr/broken.plugin: Isolate=process is there for snapshotters, content stores and differs, "
                           "and for one interface alone")


def test_manifest_claims_too_much(lab):
    lab.add("broken", "one", Provides="org.example.one.v1;org.example.more.v1")
    assert failed(lab) == (f"{lab.dir}/usr/broken.plugin says that {lab.module('one')} provides org.example.more.v1, but its "
                           "descriptor does not")


def test_manifest_claims_too_little(lab):
    lab.add("broken", "one", Provides="org.example.more.v1")
    assert failed(lab) == (f"{lab.dir}/usr/broken.plugin does not say that {lab.module('one')} provides org.example.one.v1; add it to "
                           "Provides=")


def test_manifest_hides_a_need(lab):
    lab.add("one")
    lab.add("broken", "needs-one", Needs="")
    assert failed(lab) == (f"{lab.dir}/usr/broken.plugin does not say that {lab.module('needs-one')} needs org.example.one.v1 (one); "
                           "add it to Needs=")


def test_manifest_invents_a_need(lab):
    lab.add("broken", "one", Needs="org.example.two.v1")
    assert failed(lab) == (f"{lab.dir}/usr/broken.plugin says that {lab.module('one')} needs org.example.two.v1, but its descriptor "
                           "does not")


def test_manifest_says_another_kind_of_need(lab):
    lab.add("one")
    lab.add("broken", "needs-one", Needs="org.example.one.v1?")
    assert failed(lab) == (f"{lab.dir}/usr/broken.plugin does not say that {lab.module('needs-one')} needs org.example.one.v1 (one); "
                           "add it to Needs=")


def test_duplicate_id(lab):
    lab.add("first", "one", Id="same")
    lab.add("second", "one", Id="same")
    assert lab.state("first") == ("pending", "")
    assert failed(lab, "second") == "org.example.one.v1 with the id same is already provided by first; give it another Id="


def test_duplicate_directory(lab):
    """Another type with the same noun and id would have the same directory."""
    lab.add("first", "fallback-b", Id="same", Provides="org.example.b.v1")
    lab.add("second", "one", Id="same")
    assert lab.state("second") == ("pending", "")


def test_self_dependency(lab):
    lab.add("broken", "self")
    assert failed(lab) == ("its needs go round in a circle: broken needs org.example.one.v1, offered by broken; name another provider "
                           "in one's Needs= (TYPE:ID), or mask one")


def test_self_dependency_on_another_id(lab):
    """The same type of somebody else is no circle: that is how a layer on top of another one is made."""
    lab.add("one", Id="base")
    lab.add("top", "self", Needs="org.example.one.v1:base", Rank="1000")
    assert lab.state("top") == ("pending", "")
    assert lab.once("top") == "top: ok"


def test_circle_of_three(lab):
    for name in ("ring-a", "ring-b", "ring-c"):
        lab.add(name)
    circle = ("its needs go round in a circle: ring-a needs org.example.b.v1, offered by ring-b, which needs org.example.c.v1, offered "
              "by ring-c, which needs org.example.a.v1, offered by ring-a; name another provider in one's Needs= (TYPE:ID), or mask "
              "one")
    for name in ("ring-a", "ring-b", "ring-c"):
        assert failed(lab, name) == circle


def test_circle_that_a_higher_rank_breaks(lab):
    for name in ("ring-a", "ring-b", "ring-c"):
        lab.add(name)
    lab.add("fallback-b", Rank="1000")
    for name in ("ring-a", "ring-b", "ring-c"):
        assert lab.state(name) == ("pending", "")
    assert lab.once("ring-b") == "ring-b: ok"


def test_circle_that_shows_only_when_one_fails(lab):
    """What would have broken the circle fails: nobody waits for ever, and the message is the circle's."""
    for name in ("ring-a", "ring-b", "ring-c"):
        lab.add(name)
    lab.add("fallback-b", Rank="1000", config={"Init": "fail"})
    assert lab.once("ring-c").startswith("ring-c: failed: its needs go round in a circle: ring-a needs org.example.b.v1, offered by ")


def test_missing_need(lab):
    lab.add("needs-one")
    assert lab.state("needs-one") == ("skipped", "needs org.example.one.v1, which no plugin provides")


def test_missing_id(lab):
    lab.add("one")
    lab.add("needs-one", Needs="org.example.one.v1:other")
    assert lab.state("needs-one") == ("skipped", "needs org.example.one.v1:other, which no plugin provides under that id (there is one)")


def test_whole_path_to_a_masked_need(lab):
    lab.add("one")
    lab.add("needs-one")
    lab.add("needs-two")
    mask = lab.write("etc/one.plugin", "")
    assert lab.state("one") == ("skipped", f"masked by {mask}")
    assert lab.state("needs-one") == ("skipped", f"needs org.example.one.v1, offered by one, which is masked by {mask}")
    assert lab.state("needs-two") == (
        "skipped", f"needs org.example.two.v1, offered by needs-one, which needs org.example.one.v1, offered by one, which is masked by "
                   f"{mask}")


def test_whole_path_to_a_failed_need(lab):
    lab.add("one", config={"Init": "fail"})
    lab.add("needs-one")
    lab.add("needs-two")
    assert lab.once("one") == "one: failed: the fixture fails as it was told"
    assert lab.once("needs-two") == (
        "needs-two: skipped: needs org.example.two.v1, offered by needs-one, which needs org.example.one.v1, offered by one, which "
        "failed: the fixture fails as it was told")


def test_every_candidate_is_named(lab):
    lab.add("one", config={"Init": "fail"}, Rank="2")
    lab.add("other", "one", config={"Init": "skip"}, Rank="1")
    lab.add("needs-one")
    assert lab.once("needs-one") == (
        "needs-one: skipped: needs org.example.one.v1, offered by one, which failed: the fixture fails as it was told; and by other, "
        "which was skipped: this machine has no fixtures")


def test_too_small_a_vtable(lab):
    lab.add("small")
    lab.add("wants-more")
    assert lab.once("wants-more") == ("wants-more: skipped: needs org.example.one.v1 of at least 24 bytes, but that of small has 16; "
                                      "install a newer small")


def test_too_small_a_vtable_is_passed_over(lab):
    lab.add("small", Rank="1000")
    lab.add("one")
    lab.add("wants-more")
    assert lab.once("wants-more") == "wants-more: ok"


@pytest.mark.parametrize("init,outcome", [
    ("fail", "failed: the fixture fails as it was told"),
    ("skip", "skipped: this machine has no fixtures"),
    ("silent", "failed: init () failed without an error; that is a bug of it"),
    ("undeclared", "failed: org.example.secret.v1 is not among the declared needs of one"),
])
def test_init(lab, init, outcome):
    lab.add("one", config={"Init": init})
    assert lab.once("one") == f"one: {outcome}"


def test_undeclared_lookup_is_a_bug(lab):
    lab.add("one", config={"Init": "undeclared"})
    running = lab.start()
    running.wait_for("error: gantryd: plugin one looked up org.example.secret.v1, which it does not declare as a need")
    running.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_module_of_another_user(lab):
    path = f"{lab.dir}/theirs.so"
    shutil.copy(lab.module("one"), path)
    os.chown(path, 65534, 65534)
    lab.add("broken", Module=path)
    message = f"module {path} is not loaded: it must be a file that belongs to root and that nobody else can write"
    assert failed(lab) == message
    os.chown(path, 0, 0)
    assert lab.state("broken") == ("pending", "")
    os.chmod(path, 0o775)
    assert failed(lab) == message
    os.chmod(path, 0o757)
    assert failed(lab) == message
