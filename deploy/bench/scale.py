# clipbridge
# SPDX-License-Identifier: Apache-2.0
"""Measures what a history costs: stores of several sizes, in which all clips are complete, in interleaved rounds.

The stores are made by SQL in the schema that `clipbridge store migrate` makes, each clip with a ledger of nine entries
and one delivery. Cloudflare and R2 are a port that refuses connections.
"""

import argparse
import concurrent.futures
import hashlib
import hmac
import http.client
import json
import os
import shutil
import signal
import sqlite3
import statistics
import sys
import time

import deliveries
from markdown import lines, print_facts, spread
from processes import processor_seconds
from targets import SECRET, Bridge, RoundError, output_of, say

STATUSES = (
    "uploading",
    "queued",
    "processing",
    "stream_ready",
    "waitformp4",
    "mp4_processing",
    "mp4downloading",
    "r2_uploading",
    "complete",
)
PAGES = 30
LATENCIES = 60
SIGNALS = 3_000
SENDERS = 8
IDLE_SECONDS = 10
RETENTION_SECONDS_MAX = 10
DAY = 86_400_000
DETAILS = (
    '{"cloudflare_status":"ready","duration":12.5,"hls_url":"https://customer-x.cloudflarestream.com/u/manifest/video.m3u8",'
    '"last_updated":"2026-01-01T00:00:00.000Z","mp4_percent_complete":100,"mp4_status":"ready","progress":100,'
    '"r2_etag":"0123456789abcdef0123456789abcdef","r2_key":"videos/u.mp4","r2_size":1048576,"r2_upload_complete":true,'
    '"status_message":"Complete"}'
)
WAITING = (
    "SELECT EXISTS (SELECT 1 FROM clipbridge_deliveries WHERE signal IS NOT NULL "
    "AND id > (SELECT value FROM clipbridge_meta WHERE key = 'signals_taken'))"
)


def arguments():
    parser = argparse.ArgumentParser()
    for name in ("folder", "clipbridge", "facts", "json"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--sizes", required=True)
    return parser.parse_args()


def fill(path, clips):
    """A month-old history in which every clip came through."""
    now = int(time.time() * 1000)
    base = now - 20 * DAY
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA synchronous = OFF")
    database.execute("PRAGMA cache_size = -400000")
    database.execute("BEGIN")
    uids = f"(WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {clips}) SELECT i, "
    # Spread over the index as Cloudflare's random uids are.
    uids += "printf('%032x', (i * 2654435761) % 4294967296) AS uid FROM n)"
    database.execute(
        "INSERT INTO clipbridge_clips (uid, status, progress, created_at, updated_at, change_seq) "
        f"SELECT uid, 'complete', 100, {base} + i, {base} + i + 60000, i FROM {uids}"
    )
    # Last, so that they are not noted as an application's.
    database.execute(f"INSERT INTO clips SELECT uid, 'complete', '{DETAILS}' FROM {uids}")
    body = deliveries.sample_body()
    database.execute(
        "INSERT INTO clipbridge_deliveries (received_at, signed_at, signature, body, body_sha256, uid, outcome) "
        f"SELECT {base} + i, {base} + i, 'time=1,sig1=0', CAST(? || i AS BLOB), randomblob(32), uid, 'accepted' FROM {uids}",
        [body],
    )
    database.execute("INSERT INTO clipbridge_bodies SELECT body_sha256, id FROM clipbridge_deliveries ORDER BY 1")
    for order, status in enumerate(STATUSES):
        before = f"'{STATUSES[order - 1]}'" if order else "NULL"
        database.execute(
            "INSERT INTO clipbridge_signals (uid, at, source, kind, requested_status, details, delivery, outcome, "
            "from_status, to_status, decided_at) "
            f"SELECT uid, {base} + i, 'pipeline', 'status', '{status}', '{{}}', NULL, 'applied', {before}, "
            f"'{status}', {base} + i FROM {uids}"
        )
    counters = "'change_seq', 'signals_taken', 'bodies_indexed'"
    database.execute(f"UPDATE clipbridge_meta SET value = ? WHERE key IN ({counters})", [clips])
    database.execute("COMMIT")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()


class Copy:
    """A store that is there, for one run."""

    pid = None

    def __init__(self, options, path):
        self.options = options
        self.path = f"{options.folder}/run/clipbridge.sqlite"
        shutil.copyfile(path, self.path)
        # What was written until here is not this run's to wait for.
        os.sync()

    def make(self):
        return f"sqlite:{self.path}"

    def remove(self):
        """It goes with the folder of the run."""


class Client:
    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def call(self, method, path, body=None, headers=None):
        self.connection.request(method, path, body, headers or {})
        answer = self.connection.getresponse()
        data = answer.read()
        if answer.status >= 300:
            raise RoundError(f"{method} {path} was answered with {answer.status}: {data[:200]}")
        return json.loads(data)

    def deliver(self, uid, state):
        body = json.dumps({"uid": uid, "status": {"state": state}}).encode()
        now = str(int(time.time()))
        code = hmac.digest(SECRET.encode(), f"{now}.".encode() + body, "sha256").hex()
        self.call("POST", "/webhooks/cloudflare-stream", body, {"Webhook-Signature": f"time={now},sig1={code}"})


def uid_of(number):
    return hashlib.sha256(b"new %d" % number).hexdigest()[:32]


def ask(path, sql):
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return database.execute(sql).fetchone()[0]
    finally:
        database.close()


def timed(action):
    start = time.monotonic()
    action()
    return (time.monotonic() - start) * 1000


def wait_for(client, uid):
    while True:
        try:
            return client.call("GET", f"/api/clips/{uid}")
        except RoundError:
            time.sleep(0.0005)


def signals_per_second(port, path):
    """As many webhooks as there are signals, each with a clip of its own, until the last one is decided."""

    def send(first):
        client = Client(port)
        for number in range(first, LATENCIES + SIGNALS, SENDERS):
            client.deliver(uid_of(number), "queued")

    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(SENDERS) as pool:
        for job in [pool.submit(send, LATENCIES + number) for number in range(SENDERS)]:
            job.result()
    while ask(path, WAITING):
        time.sleep(0.01)
    return SIGNALS / (time.monotonic() - start)


def measure(options, path):
    os.mkdir(f"{options.folder}/run")
    store = Copy(options, path)
    bridge = Bridge(options, store)
    try:
        result = {"start": timed(bridge.start)}
        client = Client(bridge.port)
        page = [timed(lambda: client.call("GET", "/api/clips?limit=100")) for _ in range(PAGES)]
        deep = client.call("GET", "/api/clips?limit=500")["next_cursor"]
        later = [timed(lambda: client.call("GET", f"/api/clips?limit=100&cursor={deep}")) for _ in range(PAGES)]
        result |= {"page": statistics.median(page), "later_page": statistics.median(later)}
        before = processor_seconds(bridge.pid)
        time.sleep(IDLE_SECONDS)
        result["idle"] = 100 * (processor_seconds(bridge.pid) - before) / IDLE_SECONDS
        waits = [
            timed(lambda uid=uid_of(number): (client.deliver(uid, "queued"), wait_for(client, uid)))
            for number in range(LATENCIES)
        ]
        result["latency"] = statistics.median(waits)
        result["rate"] = signals_per_second(bridge.port, store.path)
        bridge.stop()
        result["removed"] = removed_per_second(bridge, store.path)
        return result
    finally:
        bridge.remove()
        shutil.rmtree(f"{options.folder}/run")


def removed_per_second(bridge, path):
    """How quickly deliveries that are too old go, at the start of a bridge that is told to keep them for a day."""
    count = "SELECT count(*) FROM clipbridge_deliveries"
    before = ask(path, count)
    bridge.own_settings = {"CLIPBRIDGE_RETENTION": "1d"}
    start = time.monotonic()
    bridge.start()
    left = SIGNALS + LATENCIES
    while ask(path, count) > left and time.monotonic() - start < RETENTION_SECONDS_MAX:
        time.sleep(0.05)
    return (before - ask(path, count)) / (time.monotonic() - start)


NAMES = {
    "start": ("start, ms", 0),
    "page": ("page of /api/clips, ms", 1),
    "later_page": ("a later page, ms", 1),
    "idle": ("idle CPU, % of a core", 2),
    "latency": ("webhook to clip, ms", 1),
    "rate": ("signals/s, from webhook to decision", 0),
    "removed": ("old deliveries removed/s", 0),
}

NOTES = """\
Median (least–most) of the rounds. Clips: complete ones with nine ledger entries and a delivery each. A page has 100
clips; a later one begins behind the 500th. Idle: with nothing to do. Webhook to clip: one at a time, until the API shows
the clip. Signals: 3,000 webhooks of as many new clips over 8 connections by a client on the same cores, until the last
one is decided; the clips' inquiries fail meanwhile. Start: until /readyz answers.
"""


def report(options, sizes, runs, bytes_per_clip):
    print("## clipbridge: the cost of a history\n")
    print_facts(options.facts)
    print()
    print(lines(["", *(f"{size:,} clips" for size in sizes), "last ÷ first"]))
    print(lines(["---"] + ["---:"] * (len(sizes) + 1)))
    for name, (label, digits) in NAMES.items():
        values = [[run[name] for run in runs[size]] for size in sizes]
        first, last = statistics.median(values[0]), statistics.median(values[-1])
        print(lines([label, *(spread(each, digits) for each in values), f"{last / first:.2f}" if first else ""]))
    print(lines(["store, bytes per clip", *(f"{bytes_per_clip[size]:,.0f}" for size in sizes), ""]))
    print(f"\n{NOTES}", end="")


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = arguments()
    sizes = [int(size) for size in options.sizes.split(",")]
    paths, bytes_per_clip = {}, {}
    for size in sizes:
        say(f"making a store of {size:,} clips …")
        path = f"{options.folder}/{size}.sqlite"
        output_of([options.clipbridge, "store", "migrate", "--database-url", f"sqlite:{path}"])
        fill(path, size)
        paths[size], bytes_per_clip[size] = path, os.path.getsize(path) / size
    runs = {size: [] for size in sizes}
    for number in range(options.rounds):
        for size in sizes if number % 2 == 0 else reversed(sizes):
            say(f"round {number + 1} of {options.rounds}: {size:,} clips …")
            runs[size].append(measure(options, paths[size]))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(runs, file, indent=1)
    report(options, sizes, runs, bytes_per_clip)


main()
