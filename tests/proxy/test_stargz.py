# SPDX-License-Identifier: LGPL-2.1-or-later
"""stargz-snapshotter, of Debian's golang-github-containerd-stargz-snapshotter-dev, plugged in by a manifest."""
import os
import shutil
import subprocess

import pytest

from test_proxy import BUILD, HERE, LONG, Gantry, assert_passes, contract, fixture_image, fixture_work, wait_for  # noqa: F401

LIBRARIES = "/usr/share/gocode"
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not os.path.isdir(f"{LIBRARIES}/src/github.com/containerd/stargz-snapshotter"),
                       reason="needs golang-github-containerd-stargz-snapshotter-dev"),
    pytest.mark.skipif(shutil.which("go") is None, reason="needs Go"),
]


@pytest.fixture(name="program", scope="module")
def fixture_program():
    """Built in the build directory, where it stays for the next run; the first time takes minutes."""
    program = f"{BUILD}/tests/proxy/stargz-serve"
    environment = {**os.environ, "GO111MODULE": "off", "GOPATH": f"{HERE}/stargz:{LIBRARIES}", "GOTOOLCHAIN": "local",
                   "GOCACHE": f"{BUILD}/tests/proxy/go-cache"}
    subprocess.run(["go", "build", "-o", program, "stargz-serve"], check=True, env=environment, cwd=HERE)
    return program


@pytest.fixture(Name="stargz")
def fixture_stargz(work, program):
    """Its address."""
    address = f"{work}/stargz.sock"
    process = subprocess.Popen([program, address, f"{work}/stargz"])
    wait_for(lambda: os.path.exists(address) or process.poll() is not None, "stargz-serve does not listen")
    assert process.poll() is None
    yield address
    process.kill()
    process.wait(LONG)


# As of containerd's own (test_containerds_snapshotter): it has other codes for a parent that is active and for a filter that is none;
# nor does this one limit labels, which is for the store of the daemon that it serves.
@pytest.mark.parametrize("case", ["life", "files", "view", "mounts", "exists", "remove", "usage", "deep", "threads"])
def test_the_contract(stargz, case):
    assert_passes(contract("snapshotter-proxy", "snapshotter", stargz, f"/snapshotter/proxy/{case}", Name="stargz"), case)


@pytest.mark.skipif(shutil.which("ctr") is None, reason="needs ctr")
def test_a_container_on_it(work, stargz, image):
    manifest = (f"[Plugin]\nModule={BUILD}/plugins/snapshotter-proxy.so\nProvides=org.gantry.snapshotter.v1\nId=stargz\nRank=1\n"
                f"OnFailure=warn\n[Config]\nAddress={stargz}\nTimeout={LONG}\nName=stargz\n")
    gantry = Gantry(work, manifest)
    try:
        imported = gantry.ctr("images", "import", "--snapshotter", "stargz", image)
        assert imported.returncode == 0, imported
        name = gantry.ctr("images", "ls", "-q").stdout.split()[0]
        done = gantry.ctr("run", "--rm", "--snapshotter", "stargz", name, f"one-{os.getpid()}", "sh", "-c", "echo hello > /x && cat /x")
        assert done.stdout == "hello\n", done
        assert os.listdir(f"{work}/stargz/snapshotter/snapshots")
        assert gantry.ctr("snapshots", "--snapshotter", "stargz", "ls").stdout.splitlines()[1:]
    finally:
        gantry.stop()
