# SPDX-License-Identifier: LGPL-2.1-or-later
"""docs/writing-a-plugin.md shows real plugins of the tree, and names what there is."""
import glob
import os
import re
import subprocess

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
BUILD = os.environ["GANTRY_BUILD"]


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def squeeze(text):
    return " ".join(text.split())


DOC = read(f"{SOURCE}/docs/writing-a-plugin.md")


def test_every_example_stands_in_a_plugin_of_the_tree():
    sources = {path: squeeze(read(path)) for path in glob.glob(f"{SOURCE}/plugins/*/*.c")}
    examples = re.findall(r"```c\n(.*?)```", DOC, re.S)
    assert len(examples) >= 4
    for example in examples:
        assert any(squeeze(example) in text for text in sources.values()), example


def test_every_option_and_function_that_it_names_exists():
    daemon = subprocess.run([f"{BUILD}/core/gantryd", "--help"], capture_output=True, text=True, check=True).stdout
    for option in re.findall(r"^    GANTRY_DEBUG=plugins gantryd (.*)$", DOC, re.M)[0].split():
        assert not option.startswith("--") or option in daemon
    headers = "".join(read(path) for path in glob.glob(f"{SOURCE}/sdk/gantry/*.h"))
    for function in set(re.findall(r"`(gantry_host_\w+)", DOC)):
        assert f"{function} (" in headers
    variables = read(f"{SOURCE}/sdk/meson.build")
    for name in set(re.findall(r"--variable=(\w+)", DOC.replace("\n", ""))) | {"plugindir", "manifestdir"}:
        assert f"'{name}'" in variables
