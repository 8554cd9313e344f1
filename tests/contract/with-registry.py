# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs a command with GANTRY_CONTRACT_REGISTRY naming an empty docker-registry on loopback, which ends with it."""
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

if shutil.which("docker-registry") is None:
    print("1..0 # SKIP needs docker-registry")
    sys.exit(0)
with tempfile.TemporaryDirectory(prefix="gantry-registry.") as work:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with open(f"{work}/config.yml", "w", encoding="utf-8") as config:
        config.write(f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {work}/store}}}}\n"
                     f"http: {{addr: '127.0.0.1:{port}'}}\n")
    with open(f"{work}/log", "wb") as log:
        registry = subprocess.Popen(["docker-registry", "serve", f"{work}/config.yml"], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if registry.poll() is not None or time.monotonic() > deadline:
                sys.exit("docker-registry did not start")
            time.sleep(0.02)
        status = subprocess.run(sys.argv[1:], env={**os.environ, "GANTRY_CONTRACT_REGISTRY": f"127.0.0.1:{port}"}, check=False).returncode
    finally:
        registry.terminate()
        registry.wait()
sys.exit(status)
