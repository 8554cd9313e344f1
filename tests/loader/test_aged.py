# SPDX-License-Identifier: LGPL-2.1-or-later
"""Modules of another time: with shorter structs than ours, and with longer ones (tests/abi holds the rest of the promise)."""
import pytest


@pytest.mark.parametrize("age", ["old", "new"])
def test_it_starts_and_ends(lab, age):
    lab.add("one")
    lab.add("aged", f"aged-{age}", Provides="org.example.aged.v1", Needs="org.example.one.v1", config={"Whatever": "1"})
    log = lab.start_and_stop()
    assert "notice: gantryd: aged: ok" in log and "notice: gantryd: aged: ending" in log
    # Neither says which keys it knows, so none is unknown.
    assert "does not know the key" not in "\n".join(log)
