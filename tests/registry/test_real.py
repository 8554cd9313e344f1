# SPDX-License-Identifier: LGPL-2.1-or-later
"""Against Debian's docker-registry: plain, by TLS with an authority of our own, with basic and with token authentication."""
import base64
import json
import os
import stat

import pytest

from conftest import PASSWORD, USER
from server import MANIFEST, digest_of

CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


def push_image(tool, name, data, tag="1", **settings):
    """Pushes an image of one layer with @data. Returns the layer's digest and the manifest's."""
    work = tool.directory
    (work / "layer").write_bytes(data)
    (work / "config").write_bytes(b"{}")
    layer, config = digest_of(data), digest_of(b"{}")
    tool.good("push-blob", name, work / "layer", layer, 0, **settings)
    tool.good("push-blob", name, work / "config", config, 0, **settings)
    (work / "manifest").write_text(json.dumps({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": {"mediaType": CONFIG, "digest": config, "size": 2},
        "layers": [{"mediaType": LAYER, "digest": layer, "size": len(data)}]}))
    media_type, digest, size = tool.good("push-manifest", name, work / "manifest", MANIFEST, tag, **settings).split()
    assert media_type == MANIFEST and int(size) == os.path.getsize(work / "manifest")
    return layer, digest


def test_push_and_pull(tool, plain_registry):
    name = f"{plain_registry.name}/a/app"
    data = os.urandom(3_000_000)
    layer, digest = push_image(tool, name, data)
    assert tool.good("resolve", f"{name}:1").split()[1] == digest
    assert tool.good("resolve", f"{name}@{digest}").split()[1] == digest
    assert tool.good("resolve", f"{name}:never@{digest}").split()[1] == digest
    assert json.loads(tool.good("manifest", f"{name}:1").split("\n", 1)[1])["layers"][0]["digest"] == layer
    assert tool.good("has", name, layer) == "3000000"
    assert tool("blob", name, layer, len(data), 0, 0).stdout == data
    assert tool("blob", name, layer, len(data), 1000, 0).stdout == data[1000:]
    assert tool("blob", name, layer, len(data), 1000, 1).stdout == data[1000:1001]
    tool.good("parts", name, layer, len(data), tool.directory / "out", 7)
    assert (tool.directory / "out").read_bytes() == data
    assert tool.bad("resolve", f"{name}:2").startswith(f"NotFound: {plain_registry.name}: {name}:2: manifest 2: ")
    assert tool.bad("has", name, digest_of(b"never")).startswith(f"NotFound: {plain_registry.name}: {name}:latest: blob sha256:")


def test_blobs_are_not_sent_twice(tool, plain_registry):
    name = f"{plain_registry.name}/a/once"
    (tool.directory / "blob").write_bytes(b"once" * 1000)
    digest = digest_of(b"once" * 1000)
    assert tool.good("push-blob", name, tool.directory / "blob", digest, 0) == "uploaded 4000"
    assert tool.good("push-blob", name, tool.directory / "blob", digest, 0) == "exists 0"
    other = f"{plain_registry.name}/b/other"
    assert tool.good("push-blob", other, tool.directory / "blob", digest, 0, "a/nothing", "a/once") == "mounted 0"
    assert tool.good("has", other, digest) == "4000"


@pytest.mark.parametrize("chunk", [0, 1, 999_999, 1_000_000])
def test_chunks(tool, plain_registry, chunk):
    data = os.urandom(1_000_000 if chunk > 1 else 40)
    (tool.directory / "blob").write_bytes(data)
    name = f"{plain_registry.name}/a/chunks"
    assert tool.good("push-blob", name, tool.directory / "blob", digest_of(data), chunk) == f"uploaded {len(data)}"
    assert tool("blob", name, digest_of(data), len(data), 0, 0).stdout == data


def test_wrong_digest_is_refused_by_the_registry(tool, plain_registry):
    (tool.directory / "blob").write_bytes(b"something")
    said = tool.bad("push-blob", f"{plain_registry.name}/a/b", tool.directory / "blob", digest_of(b"something else"), 0)
    assert said.startswith("DataLoss: ") and "DIGEST_INVALID" in said


def test_tags(tool, plain_registry):
    name = f"{plain_registry.name}/a/tags"
    for tag in ("c", "a", "b"):
        push_image(tool, name, b"x", tag)
    assert sorted(tool.good("tags", name, 100).split()) == ["a", "b", "c"]
    assert tool.bad("tags", f"{plain_registry.name}/a/none", 100).startswith("NotFound: ")


def test_referrers_by_tag(tool, plain_registry):
    """docker-registry 2.8 keeps no referrers: a tag stands in for them."""
    name = f"{plain_registry.name}/a/referred"
    _, subject = push_image(tool, name, b"subject")
    for kind in ("x/sbom", "x/signature", "x/sbom"):
        (tool.directory / "artifact").write_text(json.dumps({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind,
            "config": {"mediaType": CONFIG, "digest": digest_of(b"{}"), "size": 2}, "layers": [],
            "annotations": {"n": os.urandom(4).hex()},
            "subject": {"mediaType": MANIFEST, "digest": subject, "size": 1}}))
        for _ in range(2):
            tool.good("push-manifest", name, tool.directory / "artifact", MANIFEST, "-")
    assert sorted(line.split()[0] for line in tool.good("referrers", name, subject).splitlines()) == ["x/sbom", "x/sbom", "x/signature"]
    assert [line.split()[0] for line in tool.good("referrers", name, subject, "x/signature").splitlines()] == ["x/signature"]
    assert tool.good("referrers", name, digest_of(b"nobody")) == ""


# TLS

def test_tls(tool, tls_registry, pki, tmp_path):
    name = f"{tls_registry.name}/a/b"
    said = tool.bad("resolve", name, plain_http="no")
    assert said.startswith("FailedPrecondition: ") and tls_registry.name in said and "certificate" in said
    tool.good("push-blob", name, "/etc/hostname", digest_of(open("/etc/hostname", "rb").read()), 0, plain_http="no", skip_verify="yes")
    # As docker has it, and as containerd has it.
    certs = tmp_path / "certs"
    (certs / tls_registry.name).mkdir(parents=True)
    (certs / tls_registry.name / "ca.crt").write_bytes((pki / "ca.crt").read_bytes())
    push_image(tool, name, os.urandom(100_000), HostsDirs=certs)
    hosts = tmp_path / "hosts" / tls_registry.name.replace(":", "_")
    hosts = hosts.with_name(hosts.name + "_")
    hosts.mkdir(parents=True)
    (hosts / "hosts.toml").write_text(f'server = "https://{tls_registry.name}"\nca = "{pki}/ca.crt"\n')
    assert tool.good("resolve", f"{name}:1", HostsDirs=tmp_path / "hosts").startswith(MANIFEST)
    assert "TLS 1.3, HTTP/2" in tool.good("explain", f"{name}:1", HostsDirs=tmp_path / "hosts")


# Basic

def test_basic(tool, basic_registry):
    name = f"{basic_registry.name}/a/b"
    assert "wants credentials (401) and there are none" in tool.bad("resolve", name)
    assert tool.bad("resolve", name, user=USER, password="no").startswith("Unauthenticated: ")
    push_image(tool, name, b"secret", user=USER, password=PASSWORD)
    assert tool.good("resolve", f"{name}:1", user=USER, password=PASSWORD).startswith(MANIFEST)


def write_auth(path, server, **entry):
    path.write_text(json.dumps({"auths": {server: entry}}))
    path.chmod(0o600)


def test_credentials_from_files(tool, basic_registry, tmp_path):
    name = f"{basic_registry.name}/a/c"
    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    for server in (basic_registry.name, f"http://{basic_registry.name}/v2/", f"{basic_registry.name}/a", f"{basic_registry.name}/a/c"):
        write_auth(tmp_path / "auth.json", server, auth=auth)
        push_image(tool, name, b"x", AuthFiles=tmp_path / "auth.json")
    write_auth(tmp_path / "auth.json", f"{basic_registry.name}/a/d", auth=auth)
    assert tool.bad("resolve", name, AuthFiles=tmp_path / "auth.json").startswith("Unauthenticated: ")
    # The more special key counts.
    (tmp_path / "auth.json").write_text(json.dumps({"auths": {basic_registry.name: {"auth": auth}, f"{basic_registry.name}/a": {
        "auth": base64.b64encode(b"x:y").decode()}}}))
    said = tool.bad("resolve", name, AuthFiles=tmp_path / "auth.json")
    assert f"does not take the credentials of x from {tmp_path}/auth.json" in said
    # systemd's
    write_auth(tmp_path / "gantry.registry-auth", basic_registry.name, auth=auth)
    tool.good("resolve", f"{name}:1", env={"CREDENTIALS_DIRECTORY": str(tmp_path)})
    # A file that others may write decides nothing.
    write_auth(tmp_path / "auth.json", basic_registry.name, auth=auth)
    (tmp_path / "auth.json").chmod(0o666)
    assert tool.bad("resolve", name, AuthFiles=tmp_path / "auth.json").startswith("PermissionDenied: ")


def test_caller_is_asked(tool, basic_registry, token_registry):
    """Once a host and open repository, with the challenge; nobody is asked where none is needed."""
    for registry in (basic_registry, token_registry):
        name = f"{registry.name}/a/asked"
        data = os.urandom(1000)
        push_image(tool, name, data, user=USER, password=PASSWORD)
        result = tool("parts", name, digest_of(data), len(data), tool.directory / "out", 5, ask=f"{USER}:{PASSWORD}")
        assert result.returncode == 0 and (tool.directory / "out").read_bytes() == data
        asked = [line for line in result.stderr.decode().splitlines() if line.startswith("asked for")]
        assert len(asked) == 1 and asked[0].startswith(f"asked for {registry.name}, {name}:latest: B"), asked
        assert tool.bad("resolve", f"{name}:1", ask="").startswith("Unauthenticated: ")
        assert "the caller does not say who it is" in tool.bad("resolve", f"{name}:1", ask="fail")
        # What the call itself says comes first.
        result = tool("resolve", f"{name}:1", ask="fail", user=USER, password=PASSWORD)
        assert result.returncode == 0 and b"asked" not in result.stderr


def write_helper(directory, name, script):
    path = directory / f"docker-credential-{name}"
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_helpers(tool, basic_registry, tmp_path):
    name = f"{basic_registry.name}/a/h"
    push_image(tool, name, b"x", user=USER, password=PASSWORD)
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"credHelpers": {basic_registry.name: "test"}}))
    config.chmod(0o600)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    secret = json.dumps({"ServerURL": basic_registry.name, "Username": USER, "Secret": PASSWORD})

    def resolve(call, **settings):
        return call("resolve", f"{name}:1", AuthFiles=config, env=env, **settings)

    assert "credential helper test" in resolve(tool.bad)
    write_helper(tmp_path, "test", f"read server || true\n[ \"$1 $server\" = 'get {basic_registry.name}' ] && echo '{secret}'\n")
    assert resolve(tool.good).startswith(MANIFEST)
    config.write_text(json.dumps({"credsStore": "test"}))
    assert resolve(tool.good).startswith(MANIFEST)
    write_helper(tmp_path, "test", "echo 'credentials not found in native keychain'; exit 1\n")
    assert resolve(tool.bad).startswith("Unauthenticated: ")
    write_helper(tmp_path, "test", "exit 3\n")
    assert "it failed for" in resolve(tool.bad)
    write_helper(tmp_path, "test", "exec sleep 1000\n")
    assert "it took too long" in resolve(tool.bad, HelperMs=300)
    write_helper(tmp_path, "test", "exec cat /dev/zero\n")
    assert "more than 65536 bytes" in resolve(tool.bad)
    config.write_text(json.dumps({"credsStore": "../../bin/x"}))
    assert "no name of a credential helper" in resolve(tool.bad)


# Tokens

def test_tokens(tool, token_registry):
    name = f"{token_registry.name}/pub/app"
    assert tool.bad("push-blob", name, "/etc/hostname", digest_of(open("/etc/hostname", "rb").read()), 0).startswith(
        ("Unauthenticated: ", "PermissionDenied: "))
    assert tool.bad("resolve", name, user=USER, password="no").startswith("Unauthenticated: ")
    push_image(tool, name, b"public", user=USER, password=PASSWORD)
    assert tool.good("resolve", f"{name}:1").startswith(MANIFEST)
    before = len(token_registry.tokens.requests)
    assert tool.good("resolve", f"{name}:1", identity="the-identity-token").startswith(MANIFEST)
    method, form, _ = token_registry.tokens.requests[before]
    assert method == "POST" and form["grant_type"] == ["refresh_token"] and form["service"] == ["the service"]
    assert form["scope"] == ["repository:pub/app:pull"]
    assert tool.bad("resolve", f"{name}:1", identity="another").startswith("Unauthenticated: ")
    # A mount needs the right to read from the other repository.
    (tool.directory / "layer").write_bytes(b"public")
    other = f"{token_registry.name}/b/other"
    assert tool.good("push-blob", other, tool.directory / "layer", digest_of(b"public"), 0, "pub/app", user=USER,
                     password=PASSWORD) == "mounted 0"
    # One token serves many requests.
    before = len(token_registry.tokens.requests)
    tool.good("parts", name, digest_of(b"public"), 6, tool.directory / "out", 3)
    assert len(token_registry.tokens.requests) == before + 1


def test_login(tool, token_registry, basic_registry):
    for registry in (token_registry, basic_registry):
        name = f"{registry.name}/login/app"
        assert tool.bad("login", registry.name, user=USER, password="no").startswith("Unauthenticated: ")
        details = tool.good("login", registry.name, "store", user=USER, password=PASSWORD)
        assert "'stored': <true>" in details
        assert ("'identity-token'" in details) == (registry is token_registry)
        stored = tool.directory / "root" / "registry-test" / "auth.json"
        assert stat.S_IMODE(stored.stat().st_mode) == 0o600
        push_image(tool, name, b"x")
        assert tool.good("resolve", f"{name}:1").startswith(MANIFEST)
        assert "maria from gantry login" in tool.good("explain", f"{name}:1")
    tool.good("logout", basic_registry.name)
    assert tool.bad("resolve", f"{basic_registry.name}/login/app:1").startswith("Unauthenticated: ")
    assert tool.good("resolve", f"{token_registry.name}/login/app:1").startswith(MANIFEST)
    assert tool.bad("logout", basic_registry.name).startswith("NotFound: ")


def test_no_secret_is_shown(tool, basic_registry, token_registry):
    encoded = base64.b64encode(f"{USER}:WRONGSECRET".encode()).decode()
    for registry in (basic_registry, token_registry):
        for command in (("resolve", f"{registry.name}/a/b"), ("explain", f"{registry.name}/a/b"), ("login", registry.name)):
            result = tool(*command, user=USER, password="WRONGSECRET", env={"G_MESSAGES_DEBUG": "all"})
            for text in (result.stdout, result.stderr):
                assert b"WRONGSECRET" not in text and encoded.encode() not in text
