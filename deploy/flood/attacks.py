# clipbridge
# SPDX-License-Identifier: Apache-2.0
"""One attack on a bridge, in a process of its own: `attacks.py NAME PORT SECONDS SCALE SECRET`.

It prints how many connections or requests it sent and how they were answered, as one JSON object.
"""

import asyncio
import collections
import gzip
import hashlib
import hmac
import json
import os
import sys
import time

PATH = "/webhooks/cloudflare-stream"
# Of the right form, so that only its HMAC can refuse it.
FORGED = f"time={int(time.time())},sig1={'0' * 64}"
# How many bytes 64 KiB at a time a sender of too much puts in before it gives up.
EXCESS_BYTES = 8 << 20
CHUNK = b"x" * 65536


def head(*fields, method="POST", path=PATH):
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *fields, "", ""]).encode()


class Tally:
    def __init__(self):
        self.sent = 0
        self.answers = collections.Counter()

    def answer(self, line):
        self.answers[line] += 1


class Attack(asyncio.Protocol):
    """A connection that counts the status lines that it is answered with, and how it ended without one."""

    def __init__(self, tally):
        self.tally = tally
        self.loop = asyncio.get_running_loop()
        self.transport = None
        self.rest = b""
        self.count = 0
        self.drained = asyncio.Event()
        self.drained.set()
        self.closed = self.loop.create_future()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        *lines, self.rest = (self.rest + data).split(b"\r\n")
        for line in lines:
            # A body ends without a line's end, and the next answer follows on it.
            found = line.rfind(b"HTTP/1.1 ")
            if found >= 0:
                self.count += 1
                self.tally.answer(line[found + 9 : found + 12].decode("ascii", "replace"))

    def pause_writing(self):
        self.drained.clear()

    def resume_writing(self):
        self.drained.set()

    def connection_lost(self, _):
        self.drained.set()
        if not self.closed.done():
            if self.count == 0:
                self.tally.answer("closed")
            self.closed.set_result(None)

    def write(self, data):
        if not self.transport.is_closing():
            self.transport.write(data)

    def give_up(self):
        # What is still open at the end is no answer.
        if not self.closed.done():
            self.closed.set_result(None)
            self.transport.abort()


async def connect(port, tally):
    _, attack = await asyncio.get_running_loop().create_connection(lambda: Attack(tally), "127.0.0.1", port)
    return attack


class Attacker:
    def __init__(self, port, seconds, scale, secret):
        self.port = port
        self.end = time.monotonic() + seconds
        self.seconds = seconds
        self.scale = scale
        self.secret = secret.encode()
        self.tally = Tally()

    def is_over(self):
        return time.monotonic() >= self.end

    def number(self, count):
        return max(1, round(count * self.scale))

    async def crowd(self, count, behave):
        """Keeps that many connections for all of the time; one that ends is followed by another."""
        gate = asyncio.Semaphore(200)

        async def keep():
            while not self.is_over():
                try:
                    async with gate:
                        attack = await asyncio.wait_for(connect(self.port, self.tally), 30)
                except (OSError, TimeoutError):
                    self.tally.answer("not connected")
                    await asyncio.sleep(0.5)
                    continue
                try:
                    await behave(attack)
                finally:
                    attack.give_up()

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(keep()) for _ in range(self.number(count))]
            await asyncio.sleep(max(0, self.end - time.monotonic()))
            for task in tasks:
                task.cancel()

    # Attacks

    async def idle(self):
        async def behave(attack):
            self.tally.sent += 1
            await attack.closed

        await self.crowd(10_000, behave)

    async def slow_heads(self):
        async def behave(attack):
            self.tally.sent += 1
            attack.write(head()[:-2])
            await self.drip(attack, b"X-More: 1\r\n")

        await self.crowd(2_000, behave)

    async def slow_bodies(self):
        async def behave(attack):
            self.tally.sent += 1
            attack.write(head(f"Webhook-Signature: {FORGED}", "Content-Length: 1000"))
            await self.drip(attack, b" ")

        await self.crowd(2_000, behave)

    async def held_bodies(self):
        """All of a large body but its last byte."""
        size = 250_000
        request = head(f"Webhook-Signature: {FORGED}", f"Content-Length: {size}") + b" " * (size - 1)

        async def behave(attack):
            self.tally.sent += 1
            attack.write(request)
            await attack.closed

        await self.crowd(2_000, behave)

    async def drip(self, attack, drop):
        while not attack.closed.done():
            attack.write(drop)
            await asyncio.wait([attack.closed], timeout=1)

    async def forged(self):
        """At its rate whatever the answers take: each connection is told apart by how far behind it is."""
        body = b'{"uid":"forged","status":{"state":"ready"}}'
        request = head(f"Webhook-Signature: {FORGED}", f"Content-Length: {len(body)}") + body
        rate = self.number(100_000) / 60
        attacks = [await connect(self.port, self.tally) for _ in range(64)]
        start = time.monotonic()
        while not self.is_over():
            due = int((time.monotonic() - start) * rate) - self.tally.sent
            for _ in range(due):
                index = self.tally.sent % len(attacks)
                if attacks[index].closed.done():
                    attacks[index] = await connect(self.port, self.tally)
                attacks[index].write(request)
                self.tally.sent += 1
            await asyncio.sleep(0.01)
        for _ in range(100):
            if sum(self.tally.answers.values()) >= self.tally.sent:
                break
            await asyncio.sleep(0.05)
        for attack in attacks:
            attack.give_up()

    async def giant_heads(self):
        kinds = [
            head("X-Giant: " + "x" * (1 << 20)),
            head(*(f"X-{number}: {'x' * 1000}" for number in range(1000))),
            head(*(f"X-{number}: 1" for number in range(20_000))),
            head(path="/" + "x" * (1 << 20)),
        ]
        await self.crowd(32, lambda attack: self.once(attack, kinds[self.tally.sent % len(kinds)]))

    async def too_large(self):
        kinds = [
            (head(f"Webhook-Signature: {FORGED}", f"Content-Length: {1 << 30}"), CHUNK),
            (
                head(f"Webhook-Signature: {FORGED}", "Transfer-Encoding: chunked"),
                b"%x\r\n%s\r\n" % (len(CHUNK), CHUNK),
            ),
        ]

        async def behave(attack):
            first, more = kinds[self.tally.sent % len(kinds)]
            self.tally.sent += 1
            attack.write(first)
            for _ in range(EXCESS_BYTES // len(CHUNK)):
                await attack.drained.wait()
                if attack.closed.done():
                    return
                attack.write(more)
            await asyncio.wait([attack.closed], timeout=15)

        await self.crowd(32, behave)

    async def compressed(self):
        """256 MiB in less than 256 KiB, forged and, what is worse, signed."""
        bomb = gzip.compress(bytes(16 << 20), compresslevel=9) * 16
        now = str(int(time.time()))
        code = hmac.digest(self.secret, f"{now}.".encode() + bomb, hashlib.sha256).hex()
        kinds = [
            head(f"Webhook-Signature: {signature}", "Content-Encoding: gzip", f"Content-Length: {len(bomb)}") + bomb
            for signature in (FORGED, f"time={now},sig1={code}")
        ]

        async def behave(attack):
            await self.once(attack, kinds[self.tally.sent % len(kinds)])
            await asyncio.sleep(0.2)

        await self.crowd(8, behave)

    async def garbage(self):
        """Bytes that are no HTTP, and requests in one piece without end whose answers are not read."""
        noise = os.urandom(65536)
        pipelined = head(method="GET", path="/healthz") * 2_000

        async def behave(attack):
            self.tally.sent += 1
            if self.tally.sent % 2:
                attack.write(noise)
                await asyncio.wait([attack.closed], timeout=15)
                return
            attack.transport.pause_reading()
            for _ in range(50):
                try:
                    await asyncio.wait_for(attack.drained.wait(), 5)
                except TimeoutError:
                    return
                attack.write(pipelined)

        await self.crowd(32, behave)

    async def once(self, attack, request):
        self.tally.sent += 1
        attack.write(request)
        deadline = time.monotonic() + 15
        while not attack.closed.done() and attack.count == 0 and time.monotonic() < deadline:
            await asyncio.wait([attack.closed], timeout=0.02)


ATTACKS = {
    "idle": Attacker.idle,
    "slow-heads": Attacker.slow_heads,
    "slow-bodies": Attacker.slow_bodies,
    "held-bodies": Attacker.held_bodies,
    "forged": Attacker.forged,
    "giant-heads": Attacker.giant_heads,
    "too-large": Attacker.too_large,
    "compressed": Attacker.compressed,
    "garbage": Attacker.garbage,
}


def main():
    name, port, seconds, scale, secret = sys.argv[1:]
    attacker = Attacker(int(port), float(seconds), float(scale), secret)
    asyncio.run(ATTACKS[name](attacker))
    print(json.dumps({"sent": attacker.tally.sent, "answers": attacker.tally.answers}))


if __name__ == "__main__":
    main()
