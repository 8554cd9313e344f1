# SPDX-License-Identifier: LGPL-2.1-or-later
"""Registries through the daemon and the command line: login, explain, search-tags, names."""
import crypt
import os
import shutil
import socket
import stat
import subprocess
import time

import pytest

USER, PASSWORD = "maria", "open sesame"


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """docker-registry on loopback that wants a password."""
    if shutil.which("docker-registry") is None:
        pytest.skip("needs docker-registry")
    work = tmp_path_factory.mktemp("registry")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        name = f"127.0.0.1:{probe.getsockname()[1]}"
    (work / "htpasswd").write_text(f"{USER}:{crypt.crypt(PASSWORD, crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=2 ** 5))}\n")
    (work / "config.yml").write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {work}/store}}}}\nhttp: {{addr: '{name}'}}\n"
        f"auth: {{htpasswd: {{realm: test, path: {work}/htpasswd}}}}\n")
    with open(work / "log", "wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", work / "config.yml"], stdout=log, stderr=log)
    deadline = time.monotonic() + 60
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", int(name.split(":")[1]))) == 0:
                break
        assert process.poll() is None and time.monotonic() < deadline, (work / "log").read_text()
        time.sleep(0.02)
    yield name
    process.terminate()
    process.wait()


def test_login(busybox, registry):
    refused = busybox.run("push", "busybox", f"{registry}/team/busybox:1", check=False)
    assert refused.returncode == 1 and f"gantry login {registry}".encode() in refused.stderr
    wrong = busybox.run("login", "-u", USER, "--password-stdin", registry, input=b"no\n", check=False)
    assert wrong.returncode == 1 and b"does not take the credentials of maria" in wrong.stderr
    assert busybox.run("logout", registry, check=False).returncode == 1
    said = busybox.out("login", "-u", USER, "--password-stdin", registry, input=PASSWORD.encode() + b"\n")
    assert said.startswith(f"Logged in to {registry} as {USER}")
    stored = said.split(" is in ")[1]
    assert stored.startswith(f"{busybox.dir}/r/") and stat.S_IMODE(os.stat(stored).st_mode) == 0o600
    # What is stored is used, also after a restart.
    busybox.stop()
    busybox.start()
    busybox.run("push", "-q", "busybox", f"{registry}/team/busybox:1")
    busybox.run("push", "-q", "busybox", f"{registry}/team/busybox:2")
    assert sorted(busybox.out("search-tags", f"{registry}/team/busybox").split()) == ["1", "2"]
    assert busybox.json("search-tags", "--limit", "1", f"{registry}/team/busybox") in (["1"], ["2"])
    explained = busybox.out("registry", "explain", f"{registry}/team/busybox:1")
    assert f"1. http://{registry}/v2" in explained and f"{USER} from gantry login" in explained and "200 OK" in explained
    assert "sha256:" in explained
    busybox.run("image", "logout", registry)
    assert busybox.run("search-tags", f"{registry}/team/busybox", check=False).returncode == 1
    only = busybox.out("search-tags", "--creds", f"{USER}:{PASSWORD}", f"{registry}/team/busybox")
    assert sorted(only.split()) == ["1", "2"]
    assert PASSWORD not in busybox.read_log()


def test_no_store(daemon, registry):
    said = daemon.out("image", "login", "--no-store", "-u", USER, "--password-stdin", registry, input=PASSWORD.encode() + b"\n")
    assert said == f"{registry} takes the credentials of {USER}"
    assert daemon.run("logout", registry, check=False).returncode == 1


def test_explain_without_network(daemon):
    host = daemon.json("registry", "explain", "127.0.0.1:1/a/b")[0]
    assert host["reference"] == "127.0.0.1:1/a/b:latest" and host["status"] == 0 and "refused" in host["answer"]
    assert host["capabilities"] == ["pull", "resolve", "push", "referrers"] and host["credentials"] == ""
    said = daemon.run("registry", "explain", "Not/A:reference:", check=False)
    assert said.returncode == 1 and b"is no image reference" in said.stderr


def test_unknown_options(daemon):
    for method, arguments, word in (
            ("ExplainRegistry", ["127.0.0.1:1/a", "1", "nonsense", "i", "1"], "nonsense"),
            ("Login", ["127.0.0.1:1", "1", "store", "i", "1"], "store"),
            ("Login", ["127.0.0.1:1", "0"], "needs credentials"),
            ("SearchTags", ["127.0.0.1:1/a", "1", "limit", "u", "0"], "1 to 10000")):
        result = subprocess.run(["busctl", f"--address=unix:path={daemon.socket}", "--", "call", "org.gantry1", "/org/gantry1",
                                 "org.gantry1.Manager", method, "sa{sv}", *arguments], capture_output=True, check=False)
        assert result.returncode != 0 and word.encode() in result.stderr, (method, result.stderr)
