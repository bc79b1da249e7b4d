# clipbridge
# SPDX-License-Identifier: Apache-2.0
"""The processes under torture: the sandbox, and bridges that are started again whenever they end."""

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time

# The benchmarks start the same program.
sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../bench"))
from targets import FOREIGN_SETTINGS, START_SECONDS_MAX, say

# What `serve` promises to be done in after SIGTERM.
TERM_SECONDS_MAX = 25


class TortureError(Exception):
    """Why nothing can be said about the program."""


def plain_environment():
    return {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN_SETTINGS)}


def free_port():
    """Below those that the system gives to connections, so that it stays free while its process is started again."""
    for _ in range(100):
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise TortureError("no free port was found")


def ask(port, method, path, body=None, headers=None, seconds=5):
    """Status and body; None and nothing where nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return None, b""
    finally:
        connection.close()


class Sandbox:
    """With faults that are not the bridge's own."""

    FAULTS = (
        "route=api,status=500,rate=0.03",
        "route=mp4,kind=reset,after=1MiB,rate=0.1",
        "route=s3,status=503,rate=0.05",
        "route=webhook,kind=duplicate,rate=0.3",
        "route=webhook,kind=drop,rate=0.1",
    )

    def __init__(self, program, folder, seed, notify):
        self.folder = f"{folder}/sandbox"
        self.access_log = f"{folder}/access.log"
        command = [program, "sandbox", "--port=0", f"--data={self.folder}", "--speed=4", f"--seed={seed}"]
        command += [f"--notify={notify}", f"--access-log={self.access_log}"]
        command += [f"--fault={fault}" for fault in self.FAULTS]
        with open(f"{folder}/sandbox.log", "wb") as log:
            self.process = subprocess.Popen(
                command, env=plain_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                text=True)
        self.settings = {}
        while "CLIPBRIDGE_DOWNLOAD_HOSTS" not in self.settings:
            line = self.process.stdout.readline()
            if not line:
                raise TortureError(f"clipbridge sandbox ended: see {folder}/sandbox.log")
            name, _, value = line.rstrip().partition("=")
            self.settings[name] = value
        self.port = int(self.settings["CLIPBRIDGE_DOWNLOAD_HOSTS"].rpartition(":")[2])

    def upload(self, size, meta):
        """The new video's uid; None when a fault struck."""
        path = f"/client/v4/accounts/{self.settings['CLOUDFLARE_ACCOUNT_ID']}/stream/copy"
        headers = {"Authorization": f"Bearer {self.settings['CLOUDFLARE_API_TOKEN']}"}
        status, body = ask(self.port, "POST", path, json.dumps({"url": f"sample:{size}", "meta": meta}), headers)
        return json.loads(body)["result"]["uid"] if status == 200 else None

    def source(self, uid):
        return f"{self.folder}/sources/{uid}.mp4"

    def object(self, uid):
        status, body = ask(self.port, "GET", f"/public/videos/{uid}.mp4", seconds=30)
        return body if status == 200 else None

    def stop(self):
        self.process.kill()
        self.process.wait()


class Bridge:
    def __init__(self, number, program, folder, settings):
        self.number = number
        self.program = program
        self.log_path = f"{folder}/bridge.{number}.log"
        self.folder = folder
        self.port = free_port()
        self.settings = settings | {"CLIPBRIDGE_PORT": str(self.port)}
        # Why it is about to end; nil when it should not.
        self.doomed = None
        self.process = None

    def start(self):
        self.doomed = None
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [self.program, "serve"], env=plain_environment() | self.settings, cwd=self.folder,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def is_ready(self):
        return ask(self.port, "GET", "/readyz")[0] == 200


class Bridges:
    """Keeps them running, as systemd would, and notes whoever ended without a reason."""

    def __init__(self, members, violations):
        self.members = members
        self.violations = violations
        # While the store is taken away, a bridge may end at its start.
        self.is_excused = False
        self.starts = 0
        self.excused_ends = 0
        self.lock = threading.Lock()
        self.is_over = threading.Event()
        self.keeper = threading.Thread(target=self.keep, daemon=True)

    def start(self):
        for bridge in self.members:
            bridge.start()
            self.wait_ready(bridge)
        self.keeper.start()

    @property
    def ports(self):
        return [bridge.port for bridge in self.members]

    def wait_ready(self, *bridges):
        end = time.monotonic() + START_SECONDS_MAX
        for bridge in bridges or self.members:
            while not bridge.is_ready():
                if time.monotonic() > end:
                    self.violations.append(f"bridge {bridge.number} was not ready within {START_SECONDS_MAX} s")
                    return
                time.sleep(0.05)

    def keep(self):
        while not self.is_over.wait(0.05):
            with self.lock:
                for bridge in self.members:
                    code = bridge.process.poll()
                    if code is None or self.is_over.is_set():
                        continue
                    self.note_end(bridge, code)
                    bridge.start()
                    self.starts += 1

    def note_end(self, bridge, code):
        if bridge.doomed:
            return
        if self.is_excused:
            self.excused_ends += 1
            # As a supervisor would pause.
            time.sleep(0.3)
            return
        self.violations.append(f"bridge {bridge.number} ended by itself with {code}")

    def kill(self, bridge):
        with self.lock:
            bridge.doomed = "kill"
            bridge.process.kill()
            bridge.process.wait()

    def terminate(self, bridge):
        """By SIGTERM, and it has to end well and in time. The keeper may see its end before us."""
        with self.lock:
            bridge.doomed = "term"
            process = bridge.process
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(TERM_SECONDS_MAX)
            if code != 0:
                self.violations.append(f"bridge {bridge.number} ended with {code} after SIGTERM")
        except subprocess.TimeoutExpired:
            self.violations.append(f"bridge {bridge.number} went on for {TERM_SECONDS_MAX} s after SIGTERM")
            process.kill()

    def stop(self):
        """All of them, for good, by SIGTERM."""
        self.is_over.set()
        self.keeper.join()
        for bridge in self.members:
            self.terminate(bridge)

    def kill_all(self):
        self.is_over.set()
        for bridge in self.members:
            if bridge.process and bridge.process.poll() is None:
                bridge.process.kill()
                bridge.process.wait()
