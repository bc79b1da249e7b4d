# clipbridge
# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy on loopback that adds delay and takes no bandwidth away, for kernels without `tc netem`.

`delay_proxy.py serve PORT MILLISECONDS` forwards a free port, which it prints, to PORT; each direction is late by so
many milliseconds. A real handshake takes one round trip and this one takes none, so the first bytes of a connection
wait for one round trip more. There is no slow start and no window: what is in flight is bounded only by QUEUE_BYTES.

`delay_proxy.py ceiling MILLISECONDS CONNECTIONS` prints how many MiB/s it forwards at most, between a program that
sends zeros and one that throws them away.
"""

import asyncio
import collections
import multiprocessing
import socket
import sys
import threading
import time

QUEUE_BYTES = 64 << 20
READ_BYTES = 256 << 10
CEILING_BYTES = 1 << 30


class Leg(asyncio.Protocol):
    """One side of a connection: what it receives is sent by `other` after the delay."""

    def __init__(self, delay):
        self.delay = delay
        self.extra = 0
        self.queue = collections.deque()
        self.queued = 0
        self.timer = None
        self.other = self.transport = None
        self.is_writable = True
        self.is_ended = False

    def connection_made(self, transport):
        self.transport = transport
        transport.max_size = READ_BYTES
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data):
        self.enqueue(data)
        self.queued += len(data)
        if self.queued > QUEUE_BYTES:
            self.transport.pause_reading()

    def eof_received(self):
        self.enqueue(None)
        return True

    def connection_lost(self, error):
        if error and self.other:
            self.other.transport.abort()
        else:
            self.enqueue(None)

    def enqueue(self, data):
        self.queue.append((asyncio.get_running_loop().time() + self.delay + self.extra, data))
        self.extra = 0
        if not self.timer:
            self.forward()

    def pause_writing(self):
        self.is_writable = False

    def resume_writing(self):
        self.is_writable = True
        self.other.forward()

    def forward(self):
        """Sends what is due, and comes back when the next is."""
        if self.timer:
            self.timer.cancel()
            self.timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self.queue and self.other and self.other.is_writable:
            due, data = self.queue[0]
            if due > now:
                self.timer = loop.call_at(due, self.forward)
                return
            self.queue.popleft()
            if data is None:
                self.end()
                return
            self.queued -= len(data)
            if not self.other.transport.is_closing():
                self.other.transport.write(data)
            if self.queued <= QUEUE_BYTES // 2 and not self.transport.is_closing():
                self.transport.resume_reading()

    def end(self):
        self.is_ended = True
        if self.other.is_ended or self.transport.is_closing() or self.other.transport.is_closing():
            self.transport.close()
            self.other.transport.close()
        else:
            self.other.transport.write_eof()


class FrontLeg(Leg):
    """The client's side; it connects to the server."""

    def __init__(self, delay, port):
        super().__init__(delay)
        self.port = port
        self.extra = 2 * delay

    def connection_made(self, transport):
        super().connection_made(transport)
        self.connecting = asyncio.get_running_loop().create_task(self.connect())

    async def connect(self):
        back = Leg(self.delay)
        try:
            await asyncio.get_running_loop().create_connection(lambda: back, "127.0.0.1", self.port)
        except OSError:
            self.transport.abort()
            return
        back.other = self
        self.other = back
        self.forward()
        back.forward()


async def serve(port, milliseconds, announce):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: FrontLeg(milliseconds / 1000, port), "127.0.0.1", 0, backlog=512)
    announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def announce(port):
    print(port, flush=True)


def send_zeros(listener, count):
    zeros = memoryview(bytes(1 << 20))

    def send(connection):
        left = count
        while left:
            left -= connection.send(zeros[: min(left, len(zeros))])
        connection.close()

    while True:
        threading.Thread(target=send, args=(listener.accept()[0],), daemon=True).start()


def receive(port):
    buffer = bytearray(1 << 20)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        while connection.recv_into(buffer):
            pass


def ceiling(milliseconds, connections):
    share = CEILING_BYTES // connections
    with socket.create_server(("127.0.0.1", 0)) as listener:
        source = multiprocessing.Process(target=send_zeros, args=(listener, share), daemon=True)
        source.start()
        ends, begins = multiprocessing.Pipe(duplex=False)
        proxy = multiprocessing.Process(
            target=lambda: asyncio.run(serve(listener.getsockname()[1], milliseconds, begins.send)), daemon=True
        )
        proxy.start()
        port = ends.recv()
        begin = time.monotonic()
        receivers = [threading.Thread(target=receive, args=(port,)) for _ in range(connections)]
        for receiver in receivers:
            receiver.start()
        for receiver in receivers:
            receiver.join()
        seconds = time.monotonic() - begin
        proxy.terminate()
        source.terminate()
    return share * connections / seconds / (1 << 20)


def main():
    multiprocessing.set_start_method("fork")
    if sys.argv[1] == "ceiling":
        print(round(ceiling(float(sys.argv[2]), int(sys.argv[3]))))
    else:
        asyncio.run(serve(int(sys.argv[2]), float(sys.argv[3]), announce))


main()
