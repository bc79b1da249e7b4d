# clipbridge
# SPDX-License-Identifier: Apache-2.0
"""Look at the clips all the time, over restarts and from bridge to bridge, and check what is shown: one by the stream
of events, one by the list."""

import http.client
import itertools
import json
import threading

import rules
from programs import ask

SILENCE_SECONDS_MAX = 20
LIST_SECONDS = 0.5


class Watcher:
    def __init__(self, bridges, violations):
        self.bridges = bridges
        self.violations = violations
        self.checked = 0
        self.shown = {}
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def watch(self):
        for port in itertools.cycle(self.bridges.ports):
            if self.is_over.is_set():
                return
            try:
                self.look(port)
            except (OSError, http.client.HTTPException):
                self.is_over.wait(0.1)
            except Exception as error:
                self.violations.append(f"what was shown could not be read: {error!r}")

    def take(self, clip):
        self.checked += 1
        uid, status, progress = clip["uid"], clip["status"], clip["progress"]
        before, shown = self.shown.get(uid, (status, progress))
        # An error is left only by an operator's retry, which the ledger is asked for.
        if before not in (status, "error") and not rules.may_follow(before, status):
            self.violations.append(f"clip {uid} was shown in {before} and then in {status}")
        if progress < shown:
            self.violations.append(f"clip {uid} was shown at {shown} % and then at {progress} %")
        self.shown[uid] = status, progress

    def status(self, uid):
        return self.shown.get(uid, (None, None))[0]


class Stream(Watcher):
    def __init__(self, bridges, violations):
        super().__init__(bridges, violations)
        self.last = 0
        self.streams = 0

    def look(self, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SILENCE_SECONDS_MAX)
        try:
            connection.request("GET", "/api/events", headers={"Last-Event-ID": str(self.last)})
            response = connection.getresponse()
            if response.status != 200:
                raise OSError(f"status {response.status}")
            self.streams += 1
            self.read(response)
        finally:
            connection.close()

    def read(self, response):
        number = None
        while (line := response.readline()).endswith(b"\n") and not self.is_over.is_set():
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name == "id":
                number = int(value)
            elif name == "data":
                if number <= self.last:
                    self.violations.append(f"event {number} came after event {self.last}")
                self.last = max(self.last, number)
                self.take(json.loads(value))


class List(Watcher):
    def look(self, port):
        status, body = ask(port, "GET", "/api/clips?limit=500")
        if status != 200:
            raise OSError(f"status {status}")
        for clip in json.loads(body)["clips"]:
            self.take(clip)
        self.is_over.wait(LIST_SECONDS)
