# clipbridge
# SPDX-License-Identifier: Apache-2.0
"""Floods `clipbridge serve` with one attack after the other, and then with all of them, while good deliveries come in.

Prints a table in Markdown. Ends with 1 when a good delivery was lost or late, an attack was answered otherwise than it
should be, or the process' memory grew beyond its bound.
"""

import argparse
import asyncio
import hashlib
import hmac
import json
import os
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request

import attacks

HERE = os.path.dirname(os.path.abspath(__file__))
SECRET = "flood-webhook-secret"
FOREIGN_SETTINGS = ("CLIPBRIDGE_", "CLOUDFLARE_", "R2_", "DATABASE_URL", "PG")
START_SECONDS_MAX = 60
# What may be answered, or how a connection may end. 503 is for large bodies that there is no room for, and else for
# deliveries that could not be stored, which none of these is worth.
EXPECTED = {
    "idle": {"closed", "not connected"},
    "slow-heads": {"408", "closed", "not connected"},
    "slow-bodies": {"408", "closed", "not connected"},
    "held-bodies": {"408", "503", "closed", "not connected"},
    "forged": {"401"},
    "giant-heads": {"400", "414", "431", "closed"},
    "too-large": {"413", "closed"},
    "compressed": {"400", "401"},
    "garbage": {"200", "400", "closed"},
}
ALL = "all"
# Next to the others a connection may be given up for a newer one, and a large body may find no room.
EXPECTED_AMONG_ALL = {"503", "closed", "not connected"}


def say(text):
    print(text, file=sys.stderr, flush=True)


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--clipbridge", required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--attacks", default=",".join([*attacks.ATTACKS, ALL]))
    for name, value in (("seconds", 20), ("rate", 20), ("latency-max", 5), ("scale", 1)):
        parser.add_argument(f"--{name}", type=float, default=value)
    parser.add_argument("--memory-max", type=float, default=512)
    return parser.parse_args()


class Bridge:
    """`clipbridge serve` on SQLite. Cloudflare and R2 are a port that refuses every connection."""

    def __init__(self, options):
        self.folder = options.folder
        self.program = options.clipbridge
        self.store = f"{options.folder}/clipbridge.sqlite"
        self.reserved = socket.socket()
        self.reserved.bind(("127.0.0.1", 0))
        with socket.socket() as chosen:
            chosen.bind(("127.0.0.1", 0))
            self.port = chosen.getsockname()[1]
        self.process = None

    def start(self):
        closed = f"http://127.0.0.1:{self.reserved.getsockname()[1]}"
        own = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN_SETTINGS)}
        settings = {
            "CLOUDFLARE_ACCOUNT_ID": "0" * 32,
            "CLOUDFLARE_API_TOKEN": "flood-api-token",
            "CLOUDFLARE_API_BASE": closed,
            "CLOUDFLARE_WEBHOOK_SECRET": SECRET,
            "R2_ACCESS_KEY_ID": "flood-key",
            "R2_SECRET_ACCESS_KEY": "flood-secret",
            "R2_BUCKET_NAME": "flood-bucket",
            "R2_ENDPOINT": closed,
            "DATABASE_URL": f"sqlite:{self.store}",
            "CLIPBRIDGE_SPOOL_DIR": f"{self.folder}/spool",
            "CLIPBRIDGE_PORT": str(self.port),
        }
        with open(f"{self.folder}/clipbridge.log", "wb") as log:
            self.process = subprocess.Popen(
                [self.program, "serve"], env={**own, **settings}, cwd=self.folder,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )
        end = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < end and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=2):
                    return
            except OSError:
                time.sleep(0.05)
        with open(f"{self.folder}/clipbridge.log", encoding="utf-8", errors="replace") as file:
            sys.exit(f"clipbridge serve does not answer: {file.read().strip()[-1000:] or 'it said nothing'}")

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def forget_peak(self):
        try:
            with open(f"/proc/{self.process.pid}/clear_refs", "w", encoding="ascii") as file:
                file.write("5")
        except OSError:
            # The peak is then that of all of the time.
            pass

    def peak_mebibytes(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:")) / 1024

    def stored(self):
        """The uids of the deliveries that were accepted."""
        with sqlite3.connect(f"file:{self.store}?mode=ro", uri=True) as store:
            rows = store.execute("SELECT uid FROM clipbridge_deliveries WHERE outcome = 'accepted'")
            return {row[0] for row in rows}


class Sender:
    """Sends good deliveries at a steady rate, each on a connection of its own, which is the harder way in."""

    def __init__(self, options, port):
        self.rate = options.rate
        # Longer than what is allowed, so that a late answer is told from none.
        self.patience = options.latency_max * 4
        self.port = port
        self.number = 0
        self.acknowledged = set()

    async def send_for(self, seconds):
        """The seconds that each answer took; None for each delivery that was not answered with 200."""
        start = time.monotonic()
        tasks = []
        while (wait := len(tasks) / self.rate - (time.monotonic() - start)) < seconds - (time.monotonic() - start):
            await asyncio.sleep(max(0, wait))
            tasks.append(asyncio.create_task(self.send()))
        return await asyncio.gather(*tasks)

    async def send(self):
        self.number += 1
        uid = f"good{self.number:08}"
        body = json.dumps({"uid": uid, "status": {"state": "inprogress", "pctComplete": "10.0"}}).encode()
        now = str(int(time.time()))
        code = hmac.digest(SECRET.encode(), f"{now}.".encode() + body, hashlib.sha256).hex()
        fields = (f"Webhook-Signature: time={now},sig1={code}", f"Content-Length: {len(body)}", "Connection: close")
        start = time.monotonic()
        try:
            async with asyncio.timeout(self.patience):
                answer = await self.exchange(attacks.head(*fields) + body)
        except (OSError, TimeoutError) as error:
            say(f"{uid}: {type(error).__name__} {error}")
            return None
        if not answer.startswith(b"HTTP/1.1 200 "):
            say(f"{uid}: {answer[:200]!r}")
            return None
        self.acknowledged.add(uid)
        return time.monotonic() - start

    async def exchange(self, request):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(request)
            return await reader.read()
        finally:
            writer.close()


class Phase:
    def __init__(self, name):
        self.name = name
        self.took = []
        self.reports = {}
        self.peak = 0
        self.faults = []

    async def run(self, bridge, sender, options):
        names = list(attacks.ATTACKS) if self.name == ALL else [] if self.name == "none" else [self.name]
        bridge.forget_peak()
        processes = {name: await self.launch(name, bridge, options) for name in names}
        self.took = await sender.send_for(options.seconds)
        for name, process in processes.items():
            output, _ = await process.communicate()
            if process.returncode != 0:
                sys.exit(f"the attack \"{name}\" could not be made")
            self.reports[name] = json.loads(output)
        if bridge.process.poll() is not None:
            sys.exit(f"clipbridge ended with {bridge.process.returncode}")
        self.peak = bridge.peak_mebibytes()
        self.judge(options)

    @staticmethod
    async def launch(name, bridge, options):
        return await asyncio.create_subprocess_exec(
            sys.executable, f"{HERE}/attacks.py", name, str(bridge.port), str(options.seconds), str(options.scale),
            SECRET, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        )

    @property
    def times(self):
        return sorted(seconds for seconds in self.took if seconds is not None)

    @property
    def lost(self):
        return len(self.took) - len(self.times)

    def share(self, part):
        return self.times[min(len(self.times) - 1, int(len(self.times) * part))] if self.times else float("nan")

    def judge(self, options):
        if self.lost:
            self.faults.append(f"{self.lost} good deliveries were not taken")
        if self.times and self.times[-1] > options.latency_max:
            self.faults.append(f"a good delivery took {self.times[-1]:.1f} s")
        if self.peak > options.memory_max:
            self.faults.append(f"the process had {self.peak:.0f} MiB")
        for name, report in self.reports.items():
            expected = EXPECTED[name] | (EXPECTED_AMONG_ALL if self.name == ALL else set())
            wrong = {answer: count for answer, count in report["answers"].items() if answer not in expected}
            if wrong:
                self.faults.append(f"\"{name}\" was answered {wrong}")
            if report["sent"] == 0:
                self.faults.append(f"\"{name}\" could send nothing")

    @property
    def row(self):
        reports = self.reports.values()
        answers = {}
        for report in reports:
            for answer, count in report["answers"].items():
                answers[answer] = answers.get(answer, 0) + count
        words = ", ".join(f"{count:,} {answer}" for answer, count in sorted(answers.items())) or "–"
        cells = [
            self.name, f"{sum(report['sent'] for report in reports):,}", words, f"{len(self.took)}", f"{self.lost}",
            f"{self.share(0.5) * 1000:.0f}", f"{self.share(0.99) * 1000:.0f}", f"{self.share(1) * 1000:.0f}",
            f"{self.peak:.0f}",
        ]
        return f"| {' | '.join(cells)} |"


def raise_limit(wanted):
    """As many open files as are needed, for this process and all that it starts, where the hard limit lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(limit, soft), hard))
        if limit < wanted:
            say(f"A process may open {limit:,} files, not {wanted:,}: there are fewer connections than there should be.")


async def flood(options, bridge):
    sender = Sender(options, bridge.port)
    phases = []
    for name in ["none", *options.attacks.split(",")]:
        say(f"Attack: {name}")
        phase = Phase(name)
        await phase.run(bridge, sender, options)
        phases.append(phase)
        say(phase.row)
    missing = sender.acknowledged - bridge.stored()
    if missing:
        phases[-1].faults.append(f"{len(missing)} deliveries that were acknowledged are not in the store")
    print("| attack | sent | answers | good deliveries | lost | p50 ms | p99 ms | longest ms | peak MiB |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for phase in phases:
        print(phase.row)
    faults = [f"{phase.name}: {fault}" for phase in phases for fault in phase.faults]
    for fault in faults:
        print(f"\nFAILED: {fault}")
    return 1 if faults else 0


def main():
    options = arguments()
    raise_limit(12_000)
    bridge = Bridge(options)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        bridge.start()
        return asyncio.run(flood(options, bridge))
    finally:
        bridge.stop()


if __name__ == "__main__":
    sys.exit(main())
