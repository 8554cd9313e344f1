# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemons that are compared, each with its own root, state and socket in a scratch directory, and what can be measured of one."""
import os
import shutil
import socket
import subprocess
import time


def memory(pid):
    """RSS and PSS of a process, in bytes."""
    values = {}
    with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as file:
        for line in file:
            words = line.split()
            if words[0] in ("Rss:", "Pss:"):
                values[words[0]] = int(words[1]) * 1024
    return values["Rss:"], values["Pss:"]


def peak(pid):
    """The most RSS that a process has had, in bytes."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def forget_peak(pid):
    with open(f"/proc/{pid}/clear_refs", "w", encoding="utf-8") as file:
        file.write("5")


class Server:
    """A daemon in `directory`. `hello` is what a client says first, so that an answer shows that requests are served."""
    name = ""
    hello = b""

    def __init__(self, directory):
        self.directory = directory
        self.process = None
        self.socket = ""
        os.makedirs(directory, exist_ok=True)

    def command(self):
        raise NotImplementedError

    def start(self):
        """Starts it. Returns the seconds from exec to the first answer."""
        if os.path.exists(self.socket):
            os.unlink(self.socket)
        with open(f"{self.directory}/log", "ab") as log:
            begin = time.monotonic()
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log)
        while not self.answers():
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} did not start; see {self.directory}/log")
            time.sleep(0.0005)
        return time.monotonic() - begin

    def answers(self):
        with socket.socket(socket.AF_UNIX) as one:
            one.settimeout(60)
            try:
                one.connect(self.socket)
                one.sendall(self.hello)
                return one.recv(1) != b""
            except (FileNotFoundError, ConnectionRefusedError):
                return False

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *args):
        self.stop()


class Gantry(Server):
    name = "gantry"
    hello = b"\0AUTH EXTERNAL 30\r\n"

    def __init__(self, directory, build, *options):
        super().__init__(directory)
        self.build = os.path.abspath(build)
        self.options = options
        self.socket = f"{directory}/state/gantry.sock"
        self.client = [f"{self.build}/cli/gantry", "--address", f"unix:path={self.socket}"]

    def command(self):
        return [f"{self.build}/core/gantryd", "--plugins-dir", f"{self.build}/plugins.d", "--root", f"{self.directory}/root",
                "--state", f"{self.directory}/state", *self.options]

    def import_archive(self, archive):
        subprocess.run([*self.client, "image", "import", archive], check=True, stdout=subprocess.DEVNULL)

    def run_command(self, image, number):
        return [*self.client, "run", "--rm", image, "true"]

    def pull(self, reference):
        subprocess.run([*self.client, "image", "pull", reference], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Containerd(Server):
    """Debian's. Without its CRI plugin, which has no counterpart in the comparison."""
    name = "containerd"
    # RFC 9113, section 3.4: the preface and an empty SETTINGS frame.
    hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))

    def __init__(self, directory):
        super().__init__(directory)
        self.socket = f"{directory}/containerd.sock"
        self.client = ["ctr", "-a", self.socket]
        with open(f"{directory}/config.toml", "w", encoding="utf-8") as file:
            file.write(f'version = 2\nroot = "{directory}/root"\nstate = "{directory}/state"\n'
                       f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "{self.socket}"\n'
                       f'[ttrpc]\naddress = "{self.socket}.ttrpc"\n')

    def command(self):
        return ["containerd", "-c", f"{self.directory}/config.toml"]

    def import_archive(self, archive):
        subprocess.run([*self.client, "images", "import", archive], check=True, stdout=subprocess.DEVNULL)

    def run_command(self, image, number):
        return [*self.client, "run", "--rm", image, f"bench-{number}", "true"]

    def pull(self, reference):
        subprocess.run([*self.client, "images", "pull", "--plain-http", reference], check=True, stdout=subprocess.DEVNULL)


class Runc:
    """runc alone, on a bundle with the same root file system and the specification that it writes itself."""
    def __init__(self, directory, archive):
        self.bundle = f"{directory}/bundle"
        layout = f"{directory}/layout"
        os.makedirs(layout)
        subprocess.run(["tar", "-C", layout, "-xf", archive], check=True)
        tag = subprocess.run(["umoci", "ls", "--layout", layout], check=True, capture_output=True, text=True).stdout.split()[0]
        subprocess.run(["umoci", "unpack", "--image", f"{layout}:{tag}", self.bundle], check=True, capture_output=True)
        os.unlink(f"{self.bundle}/config.json")
        subprocess.run(["runc", "spec", "-b", self.bundle], check=True)
        subprocess.run(["sed", "-i", 's/"terminal": true/"terminal": false/; s/"sh"/"true"/', f"{self.bundle}/config.json"], check=True)
        self.root = f"{directory}/runc"

    def run_command(self, image, number):
        return ["runc", "--root", self.root, "run", "-b", self.bundle, f"bench-{number}"]


def programs_missing(*names):
    return [name for name in names if shutil.which(name) is None]
