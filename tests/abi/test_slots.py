# SPDX-License-Identifier: LGPL-2.1-or-later
"""The rules that every header of the SDK keeps: docs of slots, their last arguments, wrappers, names, size first."""
import re

import pytest

import sdk

# Slots that can neither fail nor be cancelled: counting references, answers from memory, and what ends something. They are all of
# the first version, so that every implementation has them.
INFALLIBLE = {
    "GantryHost": {"lookup", "lookup_all", "get_config", "get_id", "get_dir_fd", "get_dir_path", "get_base_path", "get_main_context",
                   "submit", "log", "report", "hold", "quit"},
    "GantryPluginDesc": {"init", "get", "fini"},
    "GantryIntrospectionVtable": {"get_server", "list_plugins", "get_trace", "get_config", "watch", "unwatch"},
    "GantryContentVtable": {"ref", "unref"},
    "GantryIngestVtable": {"ref", "unref"},
    "GantrySnapshotterVtable": {"ref", "unref", "get_capabilities"},
    "GantryDifferVtable": {"can_apply"},
    "GantryEventsVtable": {"unsubscribe", "get_cursor"},
    "GantryEventLogVtable": {"set_sink", "get_last"},
    "GantryFrontendVtable": {"stop", "get_addresses"},
    "GantryJobVtable": {"ref", "unref", "get_id", "get_properties", "get_cancellable", "update", "finish"},
    "GantryJobsVtable": {"list", "watch", "unwatch"},
    "GantryMetadataVtable": {"get_garbage_hint"},
    "GantryRepositoryVtable": {"ref", "unref"},
    "GantryRuntimeVtable": {"set_watch"},
    "GantryTasksVtable": {"unwait", "watch", "unwatch"},
}
# Names that mean something in C++20.
RESERVED = {"requires", "namespace", "new", "delete", "export", "class", "template", "typename", "operator", "private", "public",
            "protected", "friend", "virtual", "this", "throw", "try", "catch", "using", "concept", "co_await",
            "mutable", "explicit", "bool", "true", "false", "nullptr"}

STRUCTS = sdk.structs()
SLOTS = [pytest.param(struct, member, id=f"{struct.name}.{member.name}") for struct in sdk.vtables() for member in struct.members
         if member.is_slot]


def test_there_is_something_to_test():
    assert len(SLOTS) > 100 and len(STRUCTS) > 40


@pytest.mark.parametrize("struct,slot", SLOTS)
def test_slot_is_documented(struct, slot):
    for word in ("Errors:", "Since:"):
        assert word in slot.comment, f"{struct.header}: {struct.name}.{slot.name} has a comment without {word}"
    assert re.search(r"Since: \d+\.\d+", slot.comment)


@pytest.mark.parametrize("struct,slot", SLOTS)
def test_slot_ends_with_cancellable_and_error(struct, slot):
    last = slot.arguments()[-2:]
    ends = len(last) == 2 and last[0].startswith("GCancellable *") and last[1].startswith("GError **")
    allowed = slot.name in INFALLIBLE.get(struct.name, ())
    assert ends != allowed, f"{struct.header}: {struct.name}.{slot.name} must end (…, GCancellable *cancellable, GError **error)"
    if allowed:
        assert "Since: 1.0" in slot.comment


@pytest.mark.parametrize("struct,slot", [param for param in SLOTS if param.values[0].name != "GantryPluginDesc"])
def test_slot_has_a_wrapper_that_checks(struct, slot):
    calls = re.compile(rf"(?:->{slot.name} \(|_CALL \({slot.name}\b)")
    found = [one for one in sdk.wrappers() if one.header == struct.header and calls.search(one.body)]
    assert found, f"{struct.header}: {struct.name}.{slot.name} has no static inline wrapper"
    if slot.arguments()[-1].startswith("GError **"):
        assert any(re.search(r"GANTRY_REQUIRE|GANTRY_HAS|_CALL \(", one.body) for one in found)


@pytest.mark.parametrize("struct", [pytest.param(one, id=one.name) for one in STRUCTS])
def test_struct_begins_with_its_size(struct):
    """All but instances, which are one pointer to a vtable, for ever."""
    first = struct.members[0]
    if len(struct.members) == 1 and first.name == "vtable":
        assert re.fullmatch(r"const Gantry\w+Vtable \*vtable", first.text)
    else:
        assert first.text == "size_t size", f"{struct.header}: {struct.name} begins with {first.text}"


@pytest.mark.parametrize("header", sdk.headers())
def test_header_begins_with_prose_and_has_no_class(header):
    text = sdk.read(header)
    assert text.startswith("/* SPDX-License-Identifier: MIT\n *\n * ")
    assert re.search(r"^ \* -{4,}$", text, re.M), "a header begins with a title and prose"
    assert "G_DECLARE_" not in text
    code = re.sub(r"/\*.*?\*/|\"[^\"]*\"", " ", text, flags=re.S)
    names = set(re.findall(r"\b[a-z_]\w*(?=\s*[;,)=\[])", code)) | set(re.findall(r"\(\*\s*(\w+)\)", code))
    assert not names & RESERVED
