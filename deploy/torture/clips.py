# clipbridge
# SPDX-License-Identifier: Apache-2.0
"""The clips: real ones on their way from the sandbox to the bucket, and others that only deliveries speak of."""

import hashlib
import json
import os
import random
import threading
import time

from programs import ask

# Where each kind has to arrive. The errors are the sandbox's, on our order.
PLAIN, MP4_ONCE, MP4_NEVER, MP4_FAILS, FAILS = "plain", "mp4 again", "mp4 never", "mp4 fails", "fails"
UNKNOWN, REGISTERED = "unknown", "registered"
ENDS = {
    PLAIN: {"complete"},
    MP4_ONCE: {"complete"},
    MP4_NEVER: {"waitformp4", "mp4_processing"},
    MP4_FAILS: {"error"},
    FAILS: {"error"},
    # The account has no such video.
    UNKNOWN: {"error"},
    REGISTERED: {"complete"},
}
META = {
    PLAIN: {},
    MP4_ONCE: {"sandbox_mp4": "error_once"},
    MP4_NEVER: {"sandbox_mp4": "never"},
    MP4_FAILS: {"sandbox_mp4": "error"},
    FAILS: {"sandbox_error": "ERR_MALFORMED_VIDEO"},
}
MP4_REQUESTS = {PLAIN: 1, MP4_ONCE: 2, MP4_NEVER: 1, MP4_FAILS: 2, FAILS: 0}
OTHERS = 40
# With the smallest parts that S3 knows, half of them go in several.
SIZES = ("200kB", "3MB", "9MB", "22MB")


def made_up(seed, word):
    return [hashlib.sha256(f"{seed} {word} {number}".encode()).hexdigest()[:32] for number in range(OTHERS)]


class Clips:
    def __init__(self, options, sandbox, bridges, watcher):
        self.options = options
        self.sandbox = sandbox
        self.bridges = bridges
        self.random = random.Random(f"{options.seed} clips")
        self.kinds = {uid: UNKNOWN for uid in made_up(options.seed, "unknown")}
        self.kinds |= {uid: REGISTERED for uid in made_up(options.seed, "registered")}
        self.watcher = watcher
        self.path = f"{options.folder}/clips.json"
        self.thread = threading.Thread(target=self.upload_all, daemon=True)
        self.is_over = threading.Event()

    def register(self):
        """Complete from the start, so that everything that is said about them comes too late."""
        for uid in self.of(REGISTERED):
            self.post("/api/clips", {"uid": uid, "status": "complete"})
        self.tell_senders()

    def of(self, *kinds):
        return [uid for uid, kind in list(self.kinds.items()) if kind in kinds]

    def post(self, path, body):
        for _ in range(100):
            for port in self.bridges.ports:
                if (ask(port, "POST", path, json.dumps(body))[0] or 0) in (200, 201, 202, 409):
                    return True
            if self.is_over.wait(0.1):
                break
        return False

    def upload_all(self):
        """Over the first three quarters of the trouble, every second one registered and the others not."""
        pause = 0.75 * self.options.seconds / self.options.clips
        # Each kind comes early, so that a short run has it too.
        kinds = [PLAIN, MP4_NEVER, MP4_ONCE, FAILS, MP4_FAILS] + [PLAIN] * 5
        for number in range(self.options.clips):
            kind = kinds[number % len(kinds)]
            uid = None
            while uid is None and not self.is_over.is_set():
                uid = self.sandbox.upload(self.random.choice(SIZES), META[kind])
            if uid is None:
                return
            self.kinds[uid] = kind
            if number % 2 == 0:
                self.post("/api/clips", {"uid": uid})
            if self.is_over.wait(pause):
                return

    def tell_senders(self):
        """Which clips may be told what is read by the senders from a file."""
        real = self.of(PLAIN, MP4_ONCE, MP4_NEVER, MP4_FAILS, FAILS)
        waiting = [uid for uid in self.of(MP4_NEVER) if self.watcher.status(uid) in ENDS[MP4_NEVER]]
        finished = [uid for uid in real if self.watcher.status(uid) in ("complete", "error")]
        groups = {
            "moving": [uid for uid in real if uid not in set(waiting) | set(finished)],
            "endless": waiting,
            "finished": finished,
            "registered": self.of(REGISTERED),
            "unknown": self.of(UNKNOWN),
        }
        with open(f"{self.path}.new", "w", encoding="utf-8") as file:
            json.dump(groups, file)
        os.replace(f"{self.path}.new", self.path)

    def settle(self, store, violations, seconds):
        """Waits until nothing is undecided and every clip is where it has to arrive."""
        end = time.monotonic() + seconds
        retried = set()
        while time.monotonic() < end:
            pending = int(store.one(store.undecided))
            stored = {row[0]: row[1] for row in store.rows("SELECT cloudflare_uid, status FROM clips")}
            away = {uid: stored.get(uid) for uid, kind in self.kinds.items() if stored.get(uid) not in ENDS[kind]}
            # A clip that no delivery came to speak of is not there.
            away = {uid: status for uid, status in away.items() if status or self.kinds[uid] != UNKNOWN}
            if not away and not pending:
                return len(retried)
            for uid, status in away.items():
                # Nobody registered it, and its webhooks were lost, as they may be.
                if status is None:
                    self.post("/api/clips", {"uid": uid})
                elif status == "error" and self.is_quarantined(uid):
                    self.post(f"/api/clips/{uid}/retry", {})
                    retried.add(uid)
            time.sleep(0.5)
        for uid, status in away.items():
            violations.append(f"clip {uid} ({self.kinds[uid]}) is in {status} after {seconds} s")
        if pending:
            violations.append(f"{pending} signals are undecided after {seconds} s")
        return len(retried)

    def is_quarantined(self, uid):
        """Killed over it again and again, which is what happened: an operator's retry is the way out."""
        status, body = ask(self.bridges.ports[0], "GET", f"/api/clips/{uid}")
        return status == 200 and json.loads(body)["processing_details"].get("error_code") == "quarantined"
