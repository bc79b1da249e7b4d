# clipbridge
# SPDX-License-Identifier: Apache-2.0
"""One store under torture: starts everything, makes trouble while deliveries and clips are on their way, lets it come
to rest, and compares. The counts go into a JSON file, which report.py turns into a table."""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

from clips import Clips
from courier import Courier
from history import History, Violations
from nemesis import Nemesis
from programs import Bridge, Bridges, Sandbox, TortureError, say
from stores import Postgres, SQLite
from watcher import List, Stream

HERE = os.path.dirname(os.path.abspath(__file__))
SENDERS, CONNECTIONS = 2, 24
SETTLE_SECONDS_MAX = 420


def arguments():
    parser = argparse.ArgumentParser()
    for name in ("store", "folder", "results", "clipbridge", "seed"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("deliveries", "clips", "seconds"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("postgres", "psql"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("postgres_restart", nargs="*")
    return parser.parse_args()


class Torture:
    def __init__(self, options):
        self.options = options
        self.violations = Violations()
        self.store = {"sqlite": SQLite, "postgres": Postgres}[options.store](options)
        self.courier = Courier(options.folder)
        self.sandbox = Sandbox(options.clipbridge, options.folder, int(options.seed), self.courier.url)
        self.bridges = self.make_bridges()
        self.courier.bridges = self.bridges
        self.stream = Stream(self.bridges, self.violations)
        self.watchers = [self.stream, List(self.bridges, self.violations)]
        self.clips = Clips(options, self.sandbox, self.bridges, self.stream)
        self.nemesis = Nemesis(options, self.bridges, self.store)
        self.senders = []

    def make_bridges(self):
        settings = self.sandbox.settings | {
            "DATABASE_URL": self.store.url,
            "CLIPBRIDGE_SPOOL_DIR": f"{self.store.folder}/spool",
            "CLIPBRIDGE_PART_SIZE": "5MiB",
            "CLIPBRIDGE_POLL_MIN": "1s",
            "CLIPBRIDGE_POLL_MAX": "5s",
            "CLIPBRIDGE_LOG_LEVEL": "warning",
        }
        members = [
            Bridge(number, self.options.clipbridge, self.options.folder, settings)
            for number in range(1, self.store.bridges + 1)
        ]
        return Bridges(members, self.violations)

    def run(self):
        self.bridges.start()
        self.clips.register()
        for watcher in self.watchers:
            watcher.thread.start()
        self.clips.thread.start()
        begun = time.monotonic()
        self.start_senders()
        trouble = threading.Thread(target=self.make_trouble, daemon=True)
        trouble.start()
        self.wait_for_senders(begun)
        seconds = time.monotonic() - begun
        self.nemesis.is_over.set()
        trouble.join()
        self.clips.thread.join()
        say("  everything is sent; waiting until it has come to rest …")
        retried = self.clips.settle(self.store, self.violations, SETTLE_SECONDS_MAX)
        # What was decided last is shown within a moment.
        time.sleep(1)
        for watcher in self.watchers:
            watcher.is_over.set()
        self.bridges.stop()
        self.courier.stop()
        if self.options.keep:
            self.store.keep()
        say("  comparing …")
        return self.compare(seconds, retried)

    def start_senders(self):
        for number in range(SENDERS):
            count = self.options.deliveries // SENDERS + (number < self.options.deliveries % SENDERS)
            command = [sys.executable, f"{HERE}/sender.py", f"--folder={self.options.folder}", f"--number={number}"]
            command += [f"--count={count}", f"--connections={CONNECTIONS}", f"--seconds={self.options.seconds}"]
            command += [f"--seed={self.options.seed}", f"--clips={self.clips.path}"]
            command += [f"--ports={','.join(map(str, self.bridges.ports))}"]
            command += [f"--secret={self.sandbox.settings['CLOUDFLARE_WEBHOOK_SECRET']}"]
            self.senders.append(subprocess.Popen(command, stdin=subprocess.DEVNULL))

    def make_trouble(self):
        try:
            self.nemesis.run()
        except Exception as error:
            self.violations.append(f"the trouble ended early: {error!r}")

    def wait_for_senders(self, begun):
        told_at = begun
        while any(sender.poll() is None for sender in self.senders):
            time.sleep(0.5)
            self.clips.tell_senders()
            if time.monotonic() - told_at > 15:
                told_at = time.monotonic()
                strokes = sum(self.nemesis.counts.values())
                say(f"  {told_at - begun:.0f} s: {strokes} strokes, {self.checked:,} statuses checked")
        for sender in self.senders:
            if sender.returncode != 0:
                raise TortureError(f"a sender ended with {sender.returncode}")

    @property
    def checked(self):
        return sum(watcher.checked for watcher in self.watchers)

    def compare(self, seconds, retried):
        history = History(
            self.options, self.store, self.sandbox, self.clips, self.nemesis.strokes, self.violations)
        counts = dict(history.check())
        counts |= {
            "seconds of load": round(seconds),
            "statuses checked": self.checked,
            "event streams": self.stream.streams,
            "starts after a stroke": self.bridges.starts,
            "starts that found no store": self.bridges.excused_ends,
            "quarantined and retried": retried,
        }
        strokes = {name: self.nemesis.counts[name] for name in [*self.nemesis.weights, self.store.takes_away]}
        return {
            "store": self.store.name, "counts": counts, "strokes": strokes, "violations": self.violations.count,
            "first_violations": self.violations.first,
        }

    def stop(self):
        self.nemesis.is_over.set()
        self.clips.is_over.set()
        for watcher in self.watchers:
            watcher.is_over.set()
        for sender in self.senders:
            sender.kill()
        # SIGKILL ends a stopped process too.
        self.bridges.kill_all()
        self.sandbox.stop()


def end_with(code):
    # As an exception, so that what this program started is ended on the way out.
    return lambda *_: sys.exit(code)


def main():
    signal.signal(signal.SIGTERM, end_with(143))
    options = arguments()
    load = f"{options.deliveries:,} deliveries over {options.seconds} s or longer, {options.clips} clips"
    say(f"{options.store}: {load} …")
    shutil.rmtree(options.folder, ignore_errors=True)
    os.mkdir(options.folder)
    torture = Torture(options)
    try:
        result = torture.run()
    except TortureError as error:
        say(f"FAILED: {error}")
        return 69
    finally:
        torture.stop()
    with open(options.results, "w", encoding="utf-8") as file:
        json.dump(result, file, indent=1)
    return 1 if result["violations"] else 0


sys.exit(main())
