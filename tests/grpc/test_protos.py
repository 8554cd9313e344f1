# SPDX-License-Identifier: LGPL-2.1-or-later
"""What goes over the wire stays as it is: data/protos/descriptor.txt, where a change must be made by hand, and on purpose."""
import os
import pathlib

import pytest

pytest.importorskip('google.protobuf')
import describe  # noqa: E402

BUILD = pathlib.Path(os.environ['GANTRY_BUILD'])
SOURCE = pathlib.Path(__file__).parent.parent.parent


def test_nothing_on_the_wire_has_changed():
    described = describe.describe((BUILD / 'data/protos/protos.descriptors').read_bytes())
    checked_in = (SOURCE / 'data/protos/descriptor.txt').read_text()
    assert sorted(described.splitlines()) == sorted(checked_in.splitlines())


def test_a_file_stands_where_its_package_says():
    for proto in (SOURCE / 'data/protos').rglob('*.proto'):
        package = [line for line in proto.read_text().splitlines() if line.startswith('package ')]
        assert package == [f"package {str(proto.parent.relative_to(SOURCE / 'data/protos')).replace('/', '.')};"], proto
