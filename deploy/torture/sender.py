# clipbridge
# SPDX-License-Identifier: Apache-2.0
"""Sends signed deliveries over keep-alive connections, each again until it is answered for good, and writes down what
it was told. One of several processes, because one would not keep a bridge busy."""

import argparse
import collections
import hashlib
import hmac
import json
import random
import selectors
import socket
import time

import told

ANSWER_SECONDS_MAX = 5
# Sooner than Cloudflare would.
AGAIN_SECONDS = 0.5
# Without it, who is refused would send nothing but what is refused again.
REFUSED_PAUSE_SECONDS = 0.1
# A repeat is of one of the last bodies, so that often both are on their way at once.
RECENT_BODIES = 64
REPEATED, MALFORMED, FORGED, IGNORED = 0.10, 0.01, 0.01, 0.03
EARLY = [b"pendingupload", b"downloading", b"queued", b"inprogress"]
ANY = EARLY + [b"ready", b"error"]
HEAD = b"""\
POST /webhooks/cloudflare-stream HTTP/1.1\r
Host: 127.0.0.1\r
Content-Type: application/json\r
Content-Length: %d\r
Webhook-Signature: time=%d,sig1=%s\r
\r
"""


class Bodies:
    """Makes them, of states in no order: for clips that move, only such as can not be taken for news of the video."""

    def __init__(self, options):
        self.number = 0
        self.prefix = f"{options.seed}-{options.number}"
        self.random = random.Random(self.prefix)
        self.clips_path = options.clips
        self.clips = {}
        self.read_at = 0.0
        self.recent = collections.deque(maxlen=RECENT_BODIES)

    def next(self):
        if self.recent and self.random.random() < REPEATED:
            return self.random.choice(self.recent)
        if time.monotonic() - self.read_at > 0.5:
            self.read_at = time.monotonic()
            with open(self.clips_path, encoding="utf-8") as file:
                self.clips = json.load(file)
        self.number += 1
        made = self.make(self.random.random())
        if made[0] != told.FORGED:
            self.recent.append(made)
        return made

    def make(self, share):
        mark = f"{self.prefix}-{self.number}".encode()
        if share < MALFORMED:
            text = self.random.choice([b'{"uid":"%s"', b'{"name":"%s"}', b'{"uid":"not/%s"}']) % mark
            return told.MALFORMED, text, hashlib.sha256(text).digest()
        group = self.random.choices(["moving", "endless", "finished", "registered", "unknown"], [2, 1, 3, 2, 2])[0]
        uid = self.random.choice(self.clips[group] or self.clips["registered"]).encode()
        kind = told.VALID
        state, rest = self.random.choice(EARLY if group in ("moving", "endless") else ANY), b""
        if MALFORMED + FORGED <= share < MALFORMED + FORGED + IGNORED:
            kind, state = told.IGNORED, self.random.choice([b"live-inprogress", b"state-of-tomorrow"])
        elif group != "moving" and self.random.random() < 0.3:
            state, percent = b"ready", self.random.randrange(100)
            rest = b',"downloads":{"default":{"status":"inprogress","percentComplete":%d}}' % percent
        elif share < MALFORMED + FORGED:
            kind = told.FORGED
        text = b'{"uid":"%s","status":{"state":"%s","pctComplete":"%d.000000"},"meta":{"name":"%s"}%s}' % (
            uid, state, self.random.randrange(100), mark, rest)
        return kind, text, hashlib.sha256(text).digest()


class Connection:
    def __init__(self):
        self.socket = None
        self.made = None
        self.received = b""
        self.until = 0.0

    def answer(self):
        """Status and body, or None while they are not whole."""
        head, end, body = self.received.partition(b"\r\n\r\n")
        head = head.lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if not end or len(body) < length:
            return None
        return int(head[9:12]), body[:length], b"connection: close" in head


class Sender:
    def __init__(self, options):
        self.options = options
        self.ports = [int(port) for port in options.ports.split(",")]
        self.secret = options.secret.encode()
        self.bodies = Bodies(options)
        self.random = random.Random(f"{options.seed}-{options.number}-ports")
        self.selector = selectors.DefaultSelector()
        self.idle = [Connection() for _ in range(options.connections)]
        self.busy = set()
        self.again = collections.deque()
        self.begun = time.monotonic()
        self.made = 0
        self.shut = {}
        self.paused_until = 0.0
        self.file = open(f"{options.folder}/told.{options.number}", "wb", buffering=1 << 16)

    def run(self):
        while self.made < self.options.count or self.again or self.busy:
            self.start_requests()
            for key, _ in self.selector.select(0.01):
                self.receive(key.data)
            self.give_up()
        self.file.close()

    def start_requests(self):
        while self.idle:
            if (port := self.port()) is None:
                return
            if self.again and self.again[0][0] <= time.monotonic():
                made = self.again.popleft()[1]
            elif self.made < min(self.options.count, self.allowed()):
                made = self.bodies.next()
                self.made += 1
            else:
                return
            self.send(self.idle.pop(), made, port)

    def allowed(self):
        """They are spread over the time of the trouble."""
        share = (time.monotonic() - self.begun) / self.options.seconds
        return self.options.count if share >= 1 else int(self.options.count * share) + 1

    def port(self):
        now = time.monotonic()
        ports = [port for port in self.ports if self.shut.get(port, 0) <= now]
        return self.random.choice(ports) if ports and self.paused_until <= now else None

    def send(self, connection, made, port):
        kind, body, _ = made
        now = int(time.time())
        signature = hmac.digest(self.secret, b"%d." % now + body, "sha256").hex().encode()
        if kind == told.FORGED:
            signature = signature[::-1]
        connection.made, connection.received = made, b""
        connection.until = time.monotonic() + ANSWER_SECONDS_MAX
        self.busy.add(connection)
        try:
            if connection.socket is None:
                connection.socket = socket.create_connection(("127.0.0.1", port), timeout=1)
                connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.socket.sendall(HEAD % (len(body), now, signature) + body)
        except OSError:
            if connection.socket is None:
                self.shut[port] = time.monotonic() + 0.2
            self.end(connection, told.NOTHING, 0, closes=True)

    def receive(self, connection):
        try:
            data = connection.socket.recv(65536)
        except OSError:
            data = b""
        connection.received += data
        if not data:
            if connection.made is None:
                self.close(connection)
            else:
                self.end(connection, told.NOTHING, 0, closes=True)
            return
        answer = connection.answer()
        if answer and connection.made:
            status, body, closes = answer
            self.end(connection, *told.reading(status, body), closes=closes)

    def give_up(self):
        now = time.monotonic()
        for connection in [connection for connection in self.busy if connection.until < now]:
            self.end(connection, told.NOTHING, 0, closes=True)

    def end(self, connection, answer, delivery, closes):
        kind, _, digest = connection.made
        self.file.write(told.record(kind, answer, delivery, digest))
        if answer == told.UNAVAILABLE:
            self.paused_until = time.monotonic() + REFUSED_PAUSE_SECONDS
        if answer not in told.FINAL:
            self.again.append((time.monotonic() + AGAIN_SECONDS, connection.made))
        connection.made = None
        self.busy.discard(connection)
        if closes:
            self.close(connection)
        self.idle.append(connection)

    def close(self, connection):
        if connection.socket is not None:
            try:
                self.selector.unregister(connection.socket)
            except KeyError:
                pass
            connection.socket.close()
            connection.socket = None


def main():
    parser = argparse.ArgumentParser()
    for name in ("folder", "ports", "secret", "clips", "seed"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("number", "count", "connections"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    Sender(options).run()


main()
