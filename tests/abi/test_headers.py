# SPDX-License-Identifier: LGPL-2.1-or-later
"""Each header stands alone, as C11 and as C++20, without a warning."""
import os
import shutil
import subprocess

import pytest

import sdk

# GLib's own macros use what -Wpedantic does not know; its headers are system headers here, so only ours are judged.
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wno-unused-parameter", "-Wno-missing-field-initializers", "-Werror"]
COMPILERS = [("gcc", "c", "c11"), ("g++", "c++", "c++20"), ("clang", "c", "c11"), ("clang++", "c++", "c++20")]


def glib_flags():
    flags = subprocess.run(["pkg-config", "--cflags", "gio-2.0", "gio-unix-2.0"], capture_output=True, text=True, check=True).stdout
    return flags.replace("-I", "-isystem ").split()


@pytest.mark.parametrize("header", [*sdk.headers(), "gantry/testing/fake-host.h"])
@pytest.mark.parametrize("compiler,language,standard", COMPILERS)
def test_alone(header, compiler, language, standard):
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no {compiler}")
    source = f"#include <{header}>\nint main (void) {{ return 0; }}\n"
    done = subprocess.run([compiler, f"-std={standard}", "-x", language, "-fsyntax-only", *WARNINGS, *glib_flags(), "-I", sdk.SDK, "-"],
                          input=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_check_can_fail(tmp_path):
    """A name that C++20 keeps for itself is found."""
    (tmp_path / "bad.h").write_text("struct bad { int requires; };\n")
    source = "#include <bad.h>\nint main (void) { return 0; }\n"
    done = [subprocess.run([compiler, f"-std={standard}", "-x", language, "-fsyntax-only", "-I", str(tmp_path), "-"], input=source,
                           capture_output=True, text=True, check=False).returncode for compiler, language, standard in COMPILERS[:2]]
    assert done[0] == 0 and done[1] != 0


def test_every_header_is_installed():
    with open(os.path.join(sdk.SDK, "meson.build"), encoding="utf-8") as file:
        text = file.read()
    assert not [header for header in sdk.headers() if f"'{header}'" not in text]
