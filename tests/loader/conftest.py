# SPDX-License-Identifier: LGPL-2.1-or-later
"""Directories with manifests of fixtures, and a gantryd that reads them."""
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading

import pytest

BUILD = os.environ["GANTRY_BUILD"]
FIXTURES = os.environ["GANTRY_FIXTURES"]
GANTRYD = f"{BUILD}/core/gantryd"
GANTRY = f"{BUILD}/cli/gantry"
PATIENCE = 60
REPORTS = ("AddressSanitizer", "ThreadSanitizer", "runtime error:", "LeakSanitizer")

TYPES = {
    "one": "org.example.one.v1", "small": "org.example.one.v1", "self": "org.example.one.v1", "needs-one": "org.example.two.v1",
    "needs-two": "org.example.three.v1", "optional": "org.example.optional.v1", "many": "org.example.many.v1",
    "ring-a": "org.example.a.v1", "ring-b": "org.example.b.v1", "ring-c": "org.example.c.v1", "fallback-b": "org.example.b.v1",
    "wants-more": "org.example.more.v1", "frontend": "org.gantry.frontend.v1",
}
NEEDS = {
    "needs-one": "org.example.one.v1", "needs-two": "org.example.two.v1", "self": "org.example.one.v1",
    "optional": "org.example.one.v1?;org.gantry.introspection.v1", "many": "org.example.one.v1*",
    "ring-a": "org.example.b.v1", "ring-b": "org.example.c.v1", "ring-c": "org.example.a.v1", "wants-more": "org.example.one.v1",
}


def no_reports(text):
    assert not any(report in text for report in REPORTS), text


class Running:
    """A gantryd, whose log is read as it comes."""

    def __init__(self, argv, env):
        self.process = subprocess.Popen(argv, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=env, text=True)
        self.lines = []
        self.changed = threading.Condition()
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stderr:
            with self.changed:
                self.lines.append(line.rstrip("\n"))
                self.changed.notify_all()
        with self.changed:
            self.lines.append("")
            self.changed.notify_all()

    def wait_for(self, text):
        """Until a line has @text."""
        with self.changed:
            found = self.changed.wait_for(lambda: any(text in line for line in self.lines) or self.lines[-1:] == [""], PATIENCE)
            assert found and any(text in line for line in self.lines), (text, self.lines)

    def end(self, status=0):
        """Waits for its end. Returns: what it logged."""
        assert self.process.wait(PATIENCE) == status, self.lines
        self.reader.join()
        no_reports("\n".join(self.lines))
        return self.lines[:-1]

    def stop(self, status=0):
        self.process.send_signal(signal.SIGTERM)
        return self.end(status)


class Lab:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="gantry-loader.")
        self.running = []
        for name in ("usr", "etc", "run"):
            os.mkdir(f"{self.dir}/{name}")

    def write(self, path, text, mode=0o644):
        path = f"{self.dir}/{path}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, mode)
        return path

    def module(self, shape):
        return f"{FIXTURES}/{shape}.so"

    def add(self, name, shape=None, directory="usr", config=None, **keys):
        """Declares the fixture @shape as the plugin @name."""
        shape = shape or name
        values = {"Module": self.module(shape), "Provides": TYPES.get(shape, "org.example.one.v1"), "Id": name}
        if shape in NEEDS:
            values["Needs"] = NEEDS[shape]
        values.update(keys)
        text = "[Plugin]\n" + "".join(f"{key}={value}\n" for key, value in values.items() if value is not None)
        if config:
            text += "[Config]\n" + "".join(f"{key}={value}\n" for key, value in config.items())
        return self.write(f"{directory}/{name}.plugin", text)

    def options(self):
        dirs = [argument for name in ("usr", "etc", "run") for argument in ("--plugins-dir", f"{self.dir}/{name}")]
        return dirs + ["--root", f"{self.dir}/root", "--state", f"{self.dir}/state", "--config", self.config()]

    def config(self):
        path = f"{self.dir}/gantryd.conf"
        if not os.path.exists(path):
            self.write("gantryd.conf", "")
        return path

    def inspect(self, what="plugins", options=(), prefix=()):
        """What gantryd says of the files alone. Returns: the answer, by name for plugins, and the warnings."""
        done = subprocess.run([*prefix, GANTRYD, *self.options(), *options, "--inspect", what], capture_output=True, text=True,
                              timeout=PATIENCE, check=False)
        assert done.returncode == 0, (done.stdout, done.stderr)
        no_reports(done.stderr)
        answer = json.loads(done.stdout)
        return {one["name"]: one for one in answer} if what == "plugins" else answer, done.stderr

    def state(self, name, **kwargs):
        """State and reason of one plugin, from the files alone."""
        one = self.inspect(**kwargs)[0][name]
        return one["state"], one["reason"]

    def start(self, *options, env=None):
        one = Running([GANTRYD, *self.options(), "--log-format", "text", *options],
                      {**os.environ, "GANTRY_DEBUG": "plugins", **(env or {})})
        self.running.append(one)
        return one

    def start_and_stop(self, *options):
        """Returns: what a daemon logged from its start to its end."""
        running = self.start(*options)
        running.wait_for("everything that can start has started")
        return running.stop()

    def once(self, name, *options):
        """Starts and stops a daemon. Returns: the line that says what became of @name."""
        log = self.start_and_stop(*options)
        return [line for line in log if line.startswith(f"notice: gantryd: {name}: ")
                and line.split(": ")[3].split(":")[0] in ("ok", "skipped", "failed")][-1].removeprefix("notice: gantryd: ")

    def close(self):
        for one in self.running:
            if one.process.poll() is None:
                one.process.kill()
                one.process.wait()
                one.reader.join()
        shutil.rmtree(self.dir)


@pytest.fixture
def lab():
    one = Lab()
    yield one
    one.close()
