# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every configuration key of the tree's plugins tells what it is when nobody sets it, and that is what the module takes then, and what
its manifest says."""
import ast
import glob
import json
import os
import re
import subprocess

import pytest

from conftest import BUILD, GANTRYD, PATIENCE

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
CALL = re.compile(r'\b(?:gantry_host_get_config_(?:string|uint64|boolean)|get_list|get_number) \(\s*[\w>.-]+,\s*"(\w+)",\s*([^,)]+)')
# What a module computes, or does not have: what it tells then is looked at in other ways.
COMPUTED = {"found", "default_unpacks (", "host->get_id (host"}
# In another manner of writing than the module's.
EXAMPLES = {"Proxy", "NoProxy", "Policy"}


@pytest.fixture(scope="module")
def plugins():
    done = subprocess.run([GANTRYD, "--plugins-dir", f"{BUILD}/plugins.d", "--module-dir", f"{BUILD}/plugins", "--inspect", "plugins"],
                          capture_output=True, text=True, timeout=PATIENCE, check=True)
    return {one["name"]: one for one in json.loads(done.stdout)}


def told(plugin):
    return {setting["key"]: setting.get("default") for setting in plugin["config"]}


def test_every_key_tells_its_default(plugins):
    assert len(plugins) > 15
    untold = [(name, key) for name, one in plugins.items() for key, value in told(one).items() if value is None]
    assert untold == []
    unset = [setting for one in plugins.values() for setting in one["config"] if setting["origin"] == "default"]
    assert len(unset) > 40 and all(setting["value"] == setting["default"] for setting in unset)


def macros():
    """Macros that are one string, in one line or several."""
    found = {}
    for path in glob.glob(f"{SOURCE}/plugins/*/*.[ch]") + glob.glob(f"{SOURCE}/lib/pluginwire/*.[ch]") + glob.glob(f"{SOURCE}/sdk/gantry/*.h"):
        with open(path, encoding="utf-8") as file:
            text = file.read().replace("\\\n", " ")
        for name, value in re.findall(r'^#define (\w+) +((?:"[^"\n]*"\s*?)+)$', text, re.M):
            found[name] = "".join(re.findall(r'"([^"]*)"', value))
    return found


def fallback(text, known):
    """What C would make of it, as the text that is told; None if the module computes it."""
    text = text.strip()
    words = {"NULL": "", "FALSE": "no", "TRUE": "yes"}
    if text in words:
        return words[text]
    if text in known:
        return known[text]
    if text.startswith('"'):
        return ast.literal_eval(text)
    return text if re.fullmatch(r"\d+", text) else None


def test_what_is_told_is_what_the_module_takes(plugins):
    known, seen, computed = macros(), 0, set()
    for name, one in plugins.items():
        sources = glob.glob(f"{SOURCE}/plugins/{name}/*.c") + (glob.glob(f"{SOURCE}/lib/pluginwire/*.c") if name.endswith("-proxy") else [])
        for path in sources:
            with open(path, encoding="utf-8") as file:
                calls = CALL.findall(file.read())
            for key, argument in calls:
                assert key in told(one), (path, key)
                value = fallback(argument, known)
                if value is None:
                    computed.add(argument)
                elif key != "Policy":
                    assert told(one)[key] == value, (path, key)
                    seen += 1
    assert seen > 30 and computed == COMPUTED


def test_what_is_computed(plugins):
    assert os.access(told(plugins["differ-archive"])["Worker"], os.X_OK)
    assert os.access(told(plugins["runtime-runc"])["Shim"], os.X_OK)
    assert told(plugins["content-proxy"])["Name"] == plugins["content-proxy"]["id"]
    assert told(plugins["differ-archive"])["MaxBytes"] == str(256 << 30)
    assert int(told(plugins["transfer-local"])["MaxUnpacks"]) == min(max(os.cpu_count(), 2), 8)


def test_manifests_say_the_same(plugins):
    for name, one in plugins.items():
        with open(f"{SOURCE}/plugins/{name}/{name}.plugin.in", encoding="utf-8") as file:
            config = file.read().partition("[Config]")[2]
        for key, value in re.findall(r"^#(\w+)=(.*)$", config, re.M):
            assert key in told(one), (name, key)
            if value and key not in EXAMPLES:
                assert told(one)[key] == value, (name, key)
