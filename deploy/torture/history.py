# clipbridge
# SPDX-License-Identifier: Apache-2.0
"""Compares what clients were told with the ledger, the clips and the bucket, after everything has come to rest."""

import collections
import datetime
import glob
import json
import subprocess

import clips as kinds
import rules
import told
from programs import plain_environment
from stores import CLIPS, all_signals

EXPECTED = {
    told.VALID: (told.ACCEPTED, told.DUPLICATE),
    told.IGNORED: (told.LEFT_OUT, told.DUPLICATE),
    told.MALFORMED: (told.REFUSED,),
    told.FORGED: (told.UNSIGNED,),
}
OUTCOMES = {told.VALID: "accepted", told.IGNORED: "ignored", told.MALFORMED: "malformed"}


class Violations:
    """Counts all and keeps the first ones, for there may be as many as deliveries."""

    KEPT = 40

    def __init__(self):
        self.count = 0
        self.first = []

    def append(self, text):
        self.count += 1
        if len(self.first) < self.KEPT:
            self.first.append(text)


class History:
    def __init__(self, options, store, sandbox, clips, strokes, violations):
        self.options = options
        self.store = store
        self.sandbox = sandbox
        self.clips = clips
        self.strokes = strokes
        self.violations = violations
        self.counts = collections.Counter()
        # By digest: id and outcome of each stored delivery.
        self.found = {}
        self.final = {}

    def check(self):
        self.check_deliveries()
        self.check_answers()
        self.check_signals()
        self.check_clips()
        self.check_store()
        self.check_objects()
        self.check_requests()
        return self.counts

    # What was told

    def check_deliveries(self):
        for delivery, kept, digest, _, outcome in self.store.deliveries():
            if kept != digest:
                self.violations.append(f"the body of delivery {delivery} is not what its digest says")
            if digest in self.found:
                self.violations.append(f"delivery {delivery} has the body of delivery {self.found[digest][0]}")
            self.found[digest] = delivery, outcome
        self.counts["deliveries found"] = len(self.found)

    def check_answers(self):
        sent, first = set(), set()
        for path in sorted(glob.glob(f"{self.options.folder}/told.*")):
            for record in told.records(path):
                self.counts["deliveries sent"] += 1
                self.counts[told.ANSWERS[record.answer]] += 1
                sent.add((record.kind, record.digest))
                if record.answer in told.FINAL:
                    self.check_answer(record, first)
        for kind, digest in sent:
            self.check_stored(kind, digest)
        known = {digest for _, digest in sent}
        for digest, (delivery, _) in self.found.items():
            if digest not in known:
                self.violations.append(f"delivery {delivery} was never sent")
        self.counts["distinct bodies"] = len(known)
        self.counts["deliveries acknowledged"] = sum(self.counts[told.ANSWERS[answer]] for answer in (
            told.ACCEPTED, told.DUPLICATE, told.LEFT_OUT))

    def check_answer(self, record, first):
        if record.answer not in EXPECTED[record.kind]:
            kind, answer = told.KINDS[record.kind], told.ANSWERS[record.answer]
            self.violations.append(f"a {kind} delivery was answered \"{answer}\"")
        if record.kind == told.FORGED:
            return
        delivery, _ = self.found.get(record.digest, (None, None))
        if delivery is None:
            answer = told.ANSWERS[record.answer]
            self.violations.append(f"LOST: a delivery that was answered \"{answer}\" is not stored")
        elif record.answer in (told.ACCEPTED, told.DUPLICATE) and record.delivery != delivery:
            self.violations.append(f"a delivery is stored as {delivery} and was called {record.delivery}")
        if record.answer in (told.ACCEPTED, told.LEFT_OUT):
            if record.digest in first:
                self.violations.append(f"TWICE: delivery {delivery} was taken for new twice")
            first.add(record.digest)

    def check_stored(self, kind, digest):
        delivery, outcome = self.found.get(digest, (None, None))
        if kind == told.FORGED:
            if delivery is not None:
                self.violations.append(f"delivery {delivery} is stored and had a wrong signature")
        elif delivery is not None and outcome != OUTCOMES[kind]:
            self.violations.append(f"delivery {delivery} is stored as {outcome} and is {told.KINDS[kind]}")

    # The ledger

    def check_signals(self):
        accepted = {delivery for delivery, outcome in self.found.values() if outcome == "accepted"}
        signalled = set()
        self.final = {}
        for uid, source, kind, requested, delivery, decision in all_signals(self.store):
            self.counts["signals"] += 1
            if delivery is not None:
                if delivery in signalled:
                    self.violations.append(f"TWICE: delivery {delivery} has two signals")
                elif delivery not in accepted:
                    self.violations.append(f"a signal is of delivery {delivery}, which is not stored as accepted")
                signalled.add(delivery)
            self.fold(uid, source, kind, requested, decision)
        for delivery in accepted - signalled:
            self.violations.append(f"LOST: delivery {delivery} has no signal")

    def fold(self, uid, source, kind, requested, decision):
        status, failed_from = self.final.get(uid, (None, None))
        expected = rules.decision(status, failed_from, source, kind, requested)
        if tuple(decision) != expected:
            what = f"{source} asked for {requested}, and {decision} is not {expected}"
            self.violations.append(f"clip {uid} in {status}: {what}")
        outcome, _, _, after = decision
        if outcome == "applied":
            self.final[uid] = after, (status or "uploading") if after == "error" else None

    def check_clips(self):
        rows = list(self.store.rows(CLIPS))
        self.counts["clips"] = len(rows)
        for uid, status, own, _ in rows:
            folded = self.final.get(uid, (None, None))[0]
            if not status == own == folded:
                where = f"in {status}, by the bridge's own table in {own}, folded in {folded}"
                self.violations.append(f"clip {uid} is {where}")
            if uid not in self.clips.kinds:
                self.violations.append(f"there is a foreign clip {uid}")
        missing = set(self.clips.kinds) - {row[0] for row in rows} - set(self.clips.of(kinds.UNKNOWN))
        for uid in missing:
            self.violations.append(f"clip {uid} is missing")

    def check_store(self):
        done = subprocess.run(
            [self.options.clipbridge, "store", "verify", f"--database-url={self.store.url}"],
            env=plain_environment() | self.sandbox.settings, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            self.violations.append(f"store verify ended with {done.returncode}: {done.stdout.strip()[-500:]}")

    # The bucket and what was asked of Cloudflare

    def check_objects(self):
        for uid in self.clips.of(kinds.PLAIN, kinds.MP4_ONCE):
            stored = self.sandbox.object(uid)
            with open(self.sandbox.source(uid), "rb") as file:
                if stored == file.read():
                    self.counts["objects compared"] += 1
                else:
                    words = "is missing" if stored is None else "differs from its source"
                    self.violations.append(f"the object of clip {uid} {words}")

    def check_requests(self):
        """How often an MP4 was asked for and fetched from its start, and what explains more than once."""
        asked, fetched, faults = (collections.defaultdict(list) for _ in range(3))
        with open(self.sandbox.access_log, encoding="utf-8") as file:
            for line in file:
                self.sort(json.loads(line), asked, fetched, faults)
        for uid, kind in self.clips.kinds.items():
            least = kinds.MP4_REQUESTS.get(kind, 0)
            # A retry after a quarantine changes nothing here: what was asked for is still there.
            self.check_times("MP4 requests", uid, asked[uid], least, faults[uid])
            if kind in (kinds.PLAIN, kinds.MP4_ONCE):
                self.check_times("MP4 downloads", uid, fetched[uid], 1, faults[uid])

    def sort(self, line, asked, fetched, faults):
        parts = line["path"].split("/")
        time = moment(line["begin"])
        # None where the connection was gone before the answer.
        status = line.get("status")
        media, api = parts[1] == "media" and len(parts) > 3, "stream" in parts and len(parts) > 6
        uid = parts[2] if media else parts[6] if api else parts[-1].removesuffix(".mp4")
        if status is None or status >= 500:
            faults[uid].append(time)
        elif api and line["method"] == "POST" and parts[7:8] == ["downloads"] and status == 200:
            asked[uid].append(time)
        elif media and line["method"] == "GET" and status == 200:
            fetched[uid].append(time)

    def check_times(self, what, uid, times, least, faults):
        self.counts[what] += len(times)
        extra = max(0, len(times) - least)
        self.counts[f"{what} again"] += extra
        if not extra:
            return
        first, last = times[0], times[-1]
        explained = sum(begin <= last and end >= first for begin, end in self.strokes)
        explained += sum(first <= time <= last for time in faults)
        if extra > explained:
            self.violations.append(f"clip {uid}: {len(times)} {what}, and trouble explains {explained + least}")


def moment(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
