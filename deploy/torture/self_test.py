# clipbridge
# SPDX-License-Identifier: Apache-2.0
"""Shows that the comparison finds each thing that it is there to find: a small history that is right, and the same one
spoilt in every way."""

import copy
import hashlib
import json
import sys
import tempfile
import types

import clips as kinds
import told
from history import History, Violations
from stores import CLIPS, SIGNALS
from watcher import Watcher

TIME = "2026-01-01T00:00:%02d.000Z"
BEGIN = 1767225600.0


def digest(word):
    return hashlib.sha256(word).digest()


def entry(source, before, after, delivery=None, outcome="applied", reason=None, requested=None):
    return ["a", source, "status", requested or after, delivery, outcome, reason, before, after]


def line(second, method, path, status=200):
    return {"begin": TIME % second, "method": method, "path": path, "status": status}


ASK = "/client/v4/accounts/x/stream/a/downloads/default"
FETCH = "/media/a/downloads/default.mp4"
RIGHT = {
    "told": [
        (told.VALID, told.NOTHING, 0, digest(b"1")),
        (told.VALID, told.ACCEPTED, 1, digest(b"1")),
        (told.VALID, told.DUPLICATE, 1, digest(b"1")),
        (told.IGNORED, told.LEFT_OUT, 0, digest(b"2")),
        (told.MALFORMED, told.REFUSED, 0, digest(b"3")),
        (told.FORGED, told.UNSIGNED, 0, digest(b"4")),
        (told.VALID, told.ACCEPTED, 5, digest(b"5")),
        (told.VALID, told.UNAVAILABLE, 0, digest(b"6")),
    ],
    "deliveries": [
        [1, digest(b"1"), digest(b"1"), "a", "accepted"],
        [2, digest(b"2"), digest(b"2"), "a", "ignored"],
        [3, digest(b"3"), digest(b"3"), None, "malformed"],
        [5, digest(b"5"), digest(b"5"), "a", "accepted"],
    ],
    "signals": [
        entry("webhook", None, "queued", 1),
        entry("poll", "queued", "waitformp4"),
        entry("poll", "waitformp4", "mp4_processing"),
        entry("poll", "mp4_processing", "waitformp4"),
        entry("webhook", "waitformp4", "waitformp4", 5, "rejected", "backward", "queued"),
        entry("pipeline", "waitformp4", "r2_uploading"),
        entry("pipeline", "r2_uploading", "complete"),
    ],
    "clips": [["a", "complete", "complete", 100]],
    "log": [line(1, "POST", ASK), line(2, "GET", FETCH)],
    "object": b"bytes",
    "verify": "/bin/true",
    "strokes": [],
    "shown": [("queued", 30), ("waitformp4", 70), ("mp4_processing", 75), ("waitformp4", 75), ("complete", 100)],
}


def put(key, place, value):
    return lambda case: case[key].__setitem__(place, value)


def add(key, value):
    return lambda case: case[key].append(value)


def spoil(key, place, column, value):
    return lambda case: case[key][place].__setitem__(column, value)


SPOILT = {
    "a delivery is lost": lambda case: case["deliveries"].pop(0),
    "an ignored delivery is lost": lambda case: case["deliveries"].pop(1),
    "a malformed delivery is lost": lambda case: case["deliveries"].pop(2),
    "a body was changed": spoil("deliveries", 0, 2, digest(b"changed")),
    "a body is stored twice": add("deliveries", [9, digest(b"1"), digest(b"1"), "a", "accepted"]),
    "a delivery was never sent": add("deliveries", [9, digest(b"9"), digest(b"9"), "a", "ignored"]),
    "a delivery has another id": put("told", 2, (told.VALID, told.DUPLICATE, 2, digest(b"1"))),
    "a delivery was new twice": put("told", 2, (told.VALID, told.ACCEPTED, 1, digest(b"1"))),
    "a delivery was ignored": put("told", 2, (told.VALID, told.LEFT_OUT, 0, digest(b"1"))),
    "a delivery was answered otherwise": put("told", 0, (told.VALID, told.OTHER, 0, digest(b"1"))),
    "a forged delivery was accepted": put("told", 5, (told.FORGED, told.ACCEPTED, 9, digest(b"4"))),
    "a forged delivery is stored": add("deliveries", [9, digest(b"4"), digest(b"4"), "a", "ignored"]),
    "a delivery is stored as another kind": spoil("deliveries", 1, 4, "malformed"),
    "a signal is lost": spoil("signals", 4, 4, None),
    "a signal is there twice": add("signals", entry(
        "webhook", "complete", "complete", 5, "rejected", "terminal", "queued")),
    "a signal has no delivery": spoil("signals", 5, 4, 77),
    "a signal is undecided": spoil("signals", 4, 5, None),
    "a status went back": put("signals", 4, entry("webhook", "waitformp4", "queued", 5)),
    "a signal was rejected wrongly": put("signals", 5, entry(
        "pipeline", "waitformp4", "waitformp4", None, "rejected", "backward", "r2_uploading")),
    "a finished clip failed": add("signals", entry("pipeline", "complete", "error")),
    "a clip is elsewhere": spoil("clips", 0, 1, "error"),
    "a clip is foreign": add("clips", ["z", None, None, None]),
    "a clip is missing": lambda case: case["clips"].clear(),
    "the ledger does not fold": lambda case: case.update(verify="/bin/false"),
    "an object differs": lambda case: case.update(object=b"others"),
    "an object is missing": lambda case: case.update(object=None),
    "an MP4 was asked for twice": add("log", line(3, "POST", ASK)),
    "an MP4 was fetched twice": add("log", line(3, "GET", FETCH)),
    "a shown status went back": add("shown", ("queued", 100)),
    "shown progress fell": put("shown", 3, ("waitformp4", 70)),
}


def right_too(case):
    """What is no violation: trouble explains the second one."""
    case["log"].append(line(30, "POST", ASK))
    case["log"].append(line(30, "GET", FETCH))
    case["strokes"].append((BEGIN + 10, BEGIN + 12))


def violations(case):
    found = Violations()
    watcher = Watcher(None, found)
    for status, progress in case["shown"]:
        watcher.take({"uid": "a", "status": status, "progress": progress})
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/told.0", "wb") as file:
            file.writelines(told.record(*fields) for fields in case["told"])
        with open(f"{folder}/log", "w", encoding="utf-8") as file:
            file.writelines(json.dumps(fields) + "\n" for fields in case["log"])
        with open(f"{folder}/source", "wb") as file:
            file.write(RIGHT["object"])
        rows = {SIGNALS: case["signals"], CLIPS: case["clips"]}
        store = types.SimpleNamespace(url="", deliveries=lambda: case["deliveries"], rows=rows.get)
        sandbox = types.SimpleNamespace(
            settings={}, access_log=f"{folder}/log", object=lambda _: case["object"],
            source=lambda _: f"{folder}/source")
        clips = types.SimpleNamespace(
            kinds={"a": kinds.PLAIN}, of=lambda *wanted: ["a"] if kinds.PLAIN in wanted else [])
        options = types.SimpleNamespace(folder=folder, clipbridge=case["verify"])
        History(options, store, sandbox, clips, case["strokes"], found).check()
    return found


def main():
    failures = []
    for name, change in ({"nothing": lambda _: None, "explained": right_too} | SPOILT).items():
        case = copy.deepcopy(RIGHT)
        change(case)
        found = violations(case)
        if bool(found.count) != (name in SPOILT):
            failures.append(f"the comparison is wrong about \"{name}\": {found.first}")
    return "\n".join(failures) or 0


sys.exit(main())
