# clipbridge
# SPDX-License-Identifier: Apache-2.0
"""Measures the bridge's own part of a clip's way, over a sandbox that takes no time of its own."""

import argparse
import json
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
import urllib.request

from markdown import lines, print_facts
from targets import FOREIGN_SETTINGS, RoundError, reserve_port, say

# Its videos are ready a fraction of a millisecond after they came.
SPEED = "100000"
# The shortest time between two inquiries would be most of what is measured.
POLL = "10ms"
CLIP_SECONDS_MAX = 20


def arguments():
    parser = argparse.ArgumentParser()
    for name in ("folder", "clipbridge", "facts"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--clips", type=int, required=True)
    return parser.parse_args()


def free_port():
    chosen, port = reserve_port()
    chosen.close()
    return port


class Scene:
    """A sandbox and a bridge over it, each a process."""

    def __init__(self, options):
        self.options = options
        self.store = f"{options.folder}/clipbridge.sqlite"
        self.processes = []
        self.settings = {}

    def __enter__(self):
        try:
            bridge = free_port()
            target = f"http://127.0.0.1:{bridge}"
            sandbox = ["sandbox", "--port", "0", "--data", f"{self.options.folder}/sandbox", "--speed", SPEED]
            started = self.start([*sandbox, "--notify", target], {}, subprocess.PIPE)
            for line in started.stdout:
                name, _, value = line.strip().partition("=")
                self.settings[name] = value
                # The last one that it prints.
                if name == "CLIPBRIDGE_DOWNLOAD_HOSTS":
                    break
            own = {"DATABASE_URL": f"sqlite:{self.store}", "CLIPBRIDGE_PORT": str(bridge)}
            own |= {"CLIPBRIDGE_POLL_MIN": POLL, "CLIPBRIDGE_SPOOL_DIR": f"{self.options.folder}/spool"}
            self.start(["serve"], self.settings | own, subprocess.DEVNULL)
            self.wait(f"{target}/readyz")
            return self
        except BaseException:
            self.__exit__()
            raise

    def start(self, command, settings, output):
        own = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN_SETTINGS)}
        with open(f"{self.options.folder}/{command[0]}.log", "wb") as log:
            process = subprocess.Popen(
                [self.options.clipbridge, *command],
                env=own | settings | {"CLIPBRIDGE_LOG_LEVEL": "warning"},
                cwd=self.options.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
                text=True,
            )
        self.processes.append(process)
        return process

    @staticmethod
    def wait(url):
        for _ in range(200):
            try:
                with urllib.request.urlopen(url, timeout=5):
                    return
            except OSError:
                time.sleep(0.05)
        raise RoundError(f"{url} does not answer")

    def upload(self, number):
        """Returns the new video's uid."""
        account = f"{self.settings['CLOUDFLARE_API_BASE']}/accounts/{self.settings['CLOUDFLARE_ACCOUNT_ID']}"
        request = urllib.request.Request(
            f"{account}/stream/copy",
            json.dumps({"url": "sample:10000", "meta": {"name": f"Clip {number}"}}).encode(),
            {"Authorization": f"Bearer {self.settings['CLOUDFLARE_API_TOKEN']}"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)["result"]["uid"]

    def history(self, uid):
        """When each signal was stored and decided, once the clip is complete."""
        end = time.monotonic() + CLIP_SECONDS_MAX
        while time.monotonic() < end:
            database = sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)
            entries = database.execute(
                "SELECT source, to_status, at, decided_at FROM clipbridge_signals "
                "WHERE uid = ? AND outcome = 'applied' ORDER BY seq",
                [uid],
            ).fetchall()
            database.close()
            if entries and entries[-1][1] == "complete":
                return entries
            time.sleep(0.02)
        raise RoundError(f"clip {uid} is not complete after {CLIP_SECONDS_MAX} s: {entries}")

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.terminate()
            process.wait()


def quantile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def row(label, values):
    return lines([label, *(f"{value:.0f}" for value in (statistics.median(values), quantile(values, 0.9), max(values)))])


def report(options, histories):
    print("## clipbridge: its own part of a clip's way\n")
    print_facts(options.facts)
    print(f"\n{len(histories)} clips of 10,000 bytes, one after the other; inquiries every {POLL} at least.\n")
    print(lines(["milliseconds", "median", "p90", "most"]))
    print(lines(["---", "---:", "---:", "---:"]))
    print(row("webhook stored to `complete`", [entries[-1][3] - entries[0][2] for entries in histories]))
    print(row("signal stored to status applied", [entries[0][3] - entries[0][2] for entries in histories]))
    steps = {}
    for entries in histories:
        for before, after in zip(entries, entries[1:]):
            steps.setdefault((before[1], after[1]), []).append(after[3] - before[3])
    for (before, after), values in steps.items():
        if len(values) * 2 > len(histories):
            print(row(f"`{before}` to `{after}`", values))


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = arguments()
    histories = []
    with Scene(options) as scene:
        for number in range(options.clips):
            entries = scene.history(scene.upload(number))
            # Where an inquiry was quicker than the webhook there is no way from the webhook.
            if entries[0][0] == "webhook":
                histories.append(entries)
    if not histories:
        raise RoundError("no clip began with a webhook")
    say(f"{len(histories)} of {options.clips} clips began with a webhook")
    report(options, histories)


main()
