# SPDX-License-Identifier: LGPL-2.1-or-later
"""Manifests that refer to images: listed, pulled with their subject and pushed with it, at a registry that keeps no list of them
(docker-registry: a tag stands in for it) and at one that does, page by page."""
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from conftest import HERE, sha256
from test_images import multi_platform

sys.path.append(os.path.join(HERE, "..", "registry"))
import server  # noqa: E402

INDEX, MANIFEST = server.INDEX, server.MANIFEST
EMPTY = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": sha256(b"{}"), "size": 2}


def referrer(subject, size, kind, text, subject_type=MANIFEST):
    """An artifact manifest, and its blob."""
    blob = text.encode()
    return json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind, "config": EMPTY,
                       "layers": [{"mediaType": "text/plain", "digest": sha256(blob), "size": len(blob)}],
                       "subject": {"mediaType": subject_type, "digest": subject, "size": size},
                       "annotations": {"org.opencontainers.image.created": "2026-01-02T03:04:05Z", "about": text}}).encode(), blob


def request(method, url, data=None, kind="application/octet-stream"):
    return urllib.request.urlopen(urllib.request.Request(url, data, {"Content-Type": kind, "Accept": f"{INDEX}, {MANIFEST}"}, method=method), timeout=60)


def put_blob(host, repository, data):
    with request("POST", f"http://{host}/v2/{repository}/blobs/uploads/", b"") as reply:
        where = reply.headers["Location"]
    request("PUT", f"{where}{'&' if '?' in where else '?'}digest={sha256(data)}", data).close()


def attach(host, repository, subject, size, kind, text):
    """As a client of the registry does that knows the fallback tag. Returns: the digest."""
    manifest, blob = referrer(subject, size, kind, text)
    for data in (b"{}", blob):
        put_blob(host, repository, data)
    request("PUT", f"http://{host}/v2/{repository}/manifests/{sha256(manifest)}", manifest, MANIFEST).close()
    tag = f"http://{host}/v2/{repository}/manifests/{subject.replace(':', '-')}"
    try:
        with request("GET", tag) as reply:
            index = json.load(reply)
    except urllib.error.HTTPError:
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}
    index["manifests"].append({"mediaType": MANIFEST, "digest": sha256(manifest), "size": len(manifest), "artifactType": kind,
                               "annotations": json.loads(manifest)["annotations"]})
    request("PUT", tag, json.dumps(index).encode(), INDEX).close()
    return sha256(manifest)


def manifests(registry, repository, name):
    with request("GET", f"http://{registry}/v2/{repository}/manifests/{name}") as reply:
        return reply.read()


def listed(daemon, *args):
    return {one["digest"]: one["artifact-type"] for one in daemon.json("image", "referrers", *args)}


def test_by_tag(daemon, registry, image):
    reference = registry.push(f"{image}/oci.tar", "signed:1")
    raw = registry.raw("signed:1")
    subject = sha256(raw)
    assert listed(daemon, reference) == {}
    first = attach(registry.host, "signed", subject, len(raw), "x/sbom", "a bill")
    second = attach(registry.host, "signed", subject, len(raw), "x/signature", "a name")
    third = attach(registry.host, "signed", second, 1, "x/signature", "a name below it")
    assert listed(daemon, reference) == {first: "x/sbom", second: "x/signature"}
    assert listed(daemon, "--type", "x/sbom", f"{registry.host}/signed@{subject}") == {first: "x/sbom"}
    said = daemon.out("image", "referrers", reference).splitlines()
    assert said[0].split() == ["DIGEST", "ARTIFACT", "TYPE", "SIZE", "CREATED"]
    assert said[1].split()[:2] == [first, "x/sbom"] and "2026-01-02T03:04:05Z" in said[1]
    assert daemon.json("image", "referrers", reference)[0]["annotations"]["about"] == "a bill"

    # Without the option nothing of it comes; with it everything, and it stays as long as the image.
    daemon.run("pull", "-q", reference)
    assert daemon.json("image", "inspect", reference)["referrers"] == []
    daemon.run("pull", "-q", "--referrers", reference)
    daemon.run("gc", "run")
    here = daemon.json("image", "inspect", reference)["referrers"]
    assert {one[0]: one[1] for one in here} == {first: "x/sbom", second: "x/signature"}
    assert daemon.out("content", "get", sha256(b"a name below it")) == "a name below it"
    assert third in [one[0] for one in daemon.json("image", "usage", reference)[0]["blobs"]]
    registry.forget()
    daemon.run("pull", "-q", "--referrers", reference)
    assert registry.blob_gets() == {}

    # Pushed elsewhere: by default alone, with the option whole, and the tag comes last.
    daemon.run("push", "-q", reference, f"{registry.host}/alone:1")
    assert listed(daemon, f"{registry.host}/alone:1") == {}
    registry.forget()
    daemon.run("push", "-q", "--referrers", reference, f"{registry.host}/copy:1")
    puts = [path for method, path, status, _ in registry.requests() if method == "PUT" and "/manifests/" in path and status == 201]
    assert puts[-1].endswith("/copy/manifests/1") and puts.count(puts[-1]) == 1
    assert listed(daemon, f"{registry.host}/copy:1") == {first: "x/sbom", second: "x/signature"}
    assert listed(daemon, f"{registry.host}/copy@{second}") == {third: "x/signature"}
    for digest in (first, second, third):
        assert manifests(registry.host, "copy", digest) == manifests(registry.host, "signed", digest)
    # Once more changes nothing.
    index = manifests(registry.host, "copy", subject.replace(":", "-"))
    daemon.run("push", "-q", "--referrers", reference, f"{registry.host}/copy:1")
    assert manifests(registry.host, "copy", subject.replace(":", "-")) == index

    # An artifact that refers to something, by itself.
    daemon.run("pull", "-q", f"{registry.host}/signed@{first}")
    daemon.run("push", "-q", f"{registry.host}/signed@{first}", f"{registry.host}/third:bill")
    assert sha256(manifests(registry.host, "third", "bill")) == first
    assert listed(daemon, f"{registry.host}/third@{first}") == {}
    tag = json.loads(manifests(registry.host, "third", subject.replace(":", "-")))
    assert [one["digest"] for one in tag["manifests"]] == [first]
    daemon.run("image", "rm", f"{registry.host}/signed@{first}", reference)
    daemon.run("gc", "run")
    assert os.listdir(f"{daemon.dir}/r/content-local/blobs/sha256") == [] and daemon.out("check") == ""


def test_of_an_index(daemon, registry, tmp_path):
    """Those of the index and of the platform that is pulled, one artifact type of them if so asked."""
    multi_platform(tmp_path / "multi.tar", ["amd64", "arm64"])
    reference = registry.push(tmp_path / "multi.tar", "multi:1")
    raw = registry.raw("multi:1")
    children = {one["platform"]["architecture"]: one["digest"] for one in json.loads(raw)["manifests"]}
    whole = attach(registry.host, "multi", sha256(raw), len(raw), "x/a", "of all")
    arm = attach(registry.host, "multi", children["arm64"], 1, "x/a", "of arm64")
    attach(registry.host, "multi", children["arm64"], 1, "x/b", "another of arm64")
    attach(registry.host, "multi", children["amd64"], 1, "x/a", "of amd64")
    daemon.run("pull", "-q", "--no-unpack", "--platform", "linux/arm64", "--referrer-type", "x/a", reference)
    here = daemon.json("image", "inspect", "--platform", "linux/arm64", reference)["referrers"]
    assert {one[0] for one in here} == {whole, arm}
    only = daemon.out("push", "-q", "--referrers", "--platform", "linux/arm64", reference, f"{registry.host}/arm:1")
    assert only == children["arm64"] and set(listed(daemon, f"{registry.host}/arm:1")) == {arm}


def test_in_archives(daemon, registry, image, tmp_path):
    """Written when that is asked for, read when they are there, and they live as long as what they refer to."""
    reference = registry.push(f"{image}/oci.tar", "signed:1")
    raw = registry.raw("signed:1")
    first = attach(registry.host, "signed", sha256(raw), len(raw), "x/sbom", "a bill")
    second = attach(registry.host, "signed", first, 1, "x/signature", "a name below it")
    daemon.run("pull", "-q", "--no-unpack", "--referrers", reference)
    daemon.run("image", "export", "-o", f"{tmp_path}/alone.tar", reference)
    daemon.run("image", "export", "--referrers", "-o", f"{tmp_path}/whole.tar", reference)
    tags = subprocess.run(["skopeo", "inspect", "--raw", f"oci-archive:{tmp_path}/whole.tar:1"], check=True, capture_output=True)
    assert sha256(tags.stdout) == sha256(raw)
    for name, there in (("alone", {}), ("whole", {first: "x/sbom"})):
        assert daemon.out("-n", name, "image", "import", "--no-unpack", f"{tmp_path}/{name}.tar") == reference
        daemon.run("gc", "run")
        assert {one[0]: one[1] for one in daemon.json("-n", name, "image", "inspect", reference)["referrers"]} == there
        digests = [one["digest"] for one in daemon.json("-n", name, "content", "ls")]
        assert (second in digests) == (sha256(b"a name below it") in digests) == bool(there)
    daemon.run("-n", "whole", "push", "-q", "--referrers", reference, f"{registry.host}/back:1")
    assert listed(daemon, f"{registry.host}/back:1") == {first: "x/sbom"}
    for name in ("alone", "whole"):
        daemon.run("-n", name, "image", "rm", reference)
    daemon.run("gc", "run")
    assert daemon.json("-n", "whole", "content", "ls") == []


@pytest.fixture
def modern():
    """A registry that keeps referrers itself and lists two a page, without a filter."""
    one = server.Registry()
    subjects = {}  # digest -> [descriptor]

    @one.on("PUT", r"/v2/(.+)/manifests/(.+)")
    def put(handler, match):
        document = json.loads(handler.body)
        digest = one.add_manifest(match[1], match[2], handler.body, handler.headers["Content-Type"])
        headers = {"Docker_Content_Digest": digest}
        if "subject" in document:
            headers["OCI_Subject"] = document["subject"]["digest"]
            known = subjects.setdefault(document["subject"]["digest"], [])
            if digest not in [item["digest"] for item in known]:
                known.append({"mediaType": MANIFEST, "digest": digest, "size": len(handler.body),
                              "artifactType": document["artifactType"], "annotations": document["annotations"]})
        handler.answer(201, **headers)

    @one.on("POST", r"/v2/.+/blobs/uploads/")
    def post(handler, match):
        handler.answer(202, Location=f"/v2/upload/{len(one.requests)}")

    @one.on("PUT", r"/v2/upload/\d+\?digest=(.*)")
    def upload(handler, match):
        one.add_blob(handler.body)
        handler.answer(201)

    @one.on("GET", r"/v2/(.+)/referrers/(sha256:[0-9a-f]+)(?:\?.*?(?:page=(\d+))?)?$")
    def list_them(handler, match):
        known, start = subjects.get(match[2], []), int(match[3] or 0)
        more = f"</v2/{match[1]}/referrers/{match[2]}?page={start + 2}>; rel=\"next\"" if start + 2 < len(known) else None
        handler.answer(200, {"schemaVersion": 2, "mediaType": INDEX, "manifests": known[start:start + 2]}, Content_Type=INDEX, Link=more)

    one.subjects = subjects
    yield one
    one.close()


def test_by_api(daemon, registry, modern, image):
    reference = registry.push(f"{image}/oci.tar", "signed:1")
    raw = registry.raw("signed:1")
    subject = sha256(raw)
    made = {attach(registry.host, "signed", subject, len(raw), f"x/{i % 2}", f"the {i}th"): f"x/{i % 2}" for i in range(5)}
    daemon.run("pull", "-q", "--referrers", reference)
    there = f"{modern.name}/team/app:1"
    daemon.run("push", "-q", "--referrers", reference, there)
    assert {one["digest"] for one in modern.subjects[subject]} == set(made)
    assert not [name for _, name in modern.manifests if name.startswith("sha256-")], "no tag where the registry keeps them"
    assert listed(daemon, there) == made and len(modern.seen("GET", "/referrers/")) >= 3
    assert listed(daemon, "--type", "x/0", there) == {digest: kind for digest, kind in made.items() if kind == "x/0"}
    daemon.run("-n", "other", "pull", "-q", "--referrers", there)
    assert {one[0] for one in daemon.json("-n", "other", "image", "inspect", there)["referrers"]} == set(made)
    daemon.run("-n", "other", "image", "rm", there)


def test_over_dbus(daemon, registry, image):
    reference = registry.push(f"{image}/oci.tar", "signed:1")
    raw = registry.raw("signed:1")
    digest = attach(registry.host, "signed", sha256(raw), len(raw), "x/sbom", "a bill")

    def call(*args):
        return subprocess.run(["busctl", f"--address=unix:path={daemon.socket}", "--json=short", "--", "call", "org.gantry1", "/org/gantry1",
                               "org.gantry1.Manager", "ListReferrers", "sa{sv}", *args], capture_output=True, check=False)

    reply = json.loads(call(reference, "1", "type", "s", "x/sbom").stdout)["data"][0]
    assert [one["digest"]["data"] for one in reply] == [digest] and reply[0]["annotations"]["data"]["about"] == "a bill"
    assert json.loads(call(reference, "1", "type", "s", "x/other").stdout)["data"] == [[]]
    assert b"nonsense" in call(reference, "1", "nonsense", "b", "true").stderr
    missing = call(f"{registry.host}/signed:2", "0")
    assert missing.returncode != 0 and b"signed:2" in missing.stderr


def test_bad_referrers(daemon, registry, modern, image):
    """What is listed must be there, and is checked as it comes; without it the image does not appear."""
    digest = modern.add_image()
    gone, blob = referrer(digest, 1, "x/a", "gone")
    modern.subjects[digest] = [{"mediaType": MANIFEST, "digest": sha256(gone), "size": len(gone), "artifactType": "x/a"}]
    reference = f"{modern.name}/a/image:1"
    result = daemon.run("pull", "--no-unpack", "--referrers", reference, check=False)
    assert result.returncode == 1 and sha256(gone).encode() in result.stderr and digest.encode() in result.stderr
    modern.add_manifest("a/image", "x", gone)
    modern.blobs[sha256(b"{}")] = b"{}"
    modern.blobs[sha256(blob)] = b"else"
    result = daemon.run("pull", "--no-unpack", "--referrers", reference, check=False)
    assert result.returncode == 1 and sha256(blob).encode() in result.stderr
    assert daemon.json("image", "ls") == []
    # Of a kind that is no manifest here: left out, and said.
    modern.subjects[digest] = [{"mediaType": "application/x.future", "digest": sha256(gone), "size": len(gone), "artifactType": "x/a"}]
    daemon.run("pull", "-q", "--no-unpack", "--referrers", reference)
    assert re.search(r"application/x\.future", daemon.read_log())


def test_circle(daemon, modern):
    """Manifests that refer to each other can't be made; one that is listed for itself ends all the same."""
    digest = modern.add_image()
    data = modern.manifests["a/image", "1"]
    modern.subjects[digest] = [{"mediaType": MANIFEST, "digest": digest, "size": len(data)}]
    daemon.run("pull", "-q", "--no-unpack", "--referrers", f"{modern.name}/a/image:1")
    assert daemon.run("image", "usage", f"{modern.name}/a/image:1").returncode == 0
    daemon.run("image", "rm", f"{modern.name}/a/image:1")
    daemon.run("gc", "run")
    assert os.listdir(f"{daemon.dir}/r/content-local/blobs/sha256") == []


