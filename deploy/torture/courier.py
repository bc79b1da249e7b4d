# clipbridge
# SPDX-License-Identifier: Apache-2.0
"""Stands between the sandbox and the bridges, and writes down what the sandbox was told about its webhooks."""

import hashlib
import http.server
import threading

import told
from programs import ask, free_port


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """The sandbox hung up, which it will do again."""


class Courier:
    def __init__(self, folder):
        self.bridges = None
        self.path = f"{folder}/told.courier"
        self.file = open(self.path, "ab", buffering=0)
        self.lock = threading.Lock()
        self.port = free_port()
        courier = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, answer = courier.carry(self.path, body, self.headers.get("Webhook-Signature", ""))
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                """What happened is in the file."""

        self.server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/webhooks/cloudflare-stream"

    def carry(self, path, body, signature):
        """To the first bridge that answers; the sandbox sends it again if none does."""
        headers = {"Webhook-Signature": signature, "Content-Type": "application/json"}
        digest = hashlib.sha256(body).digest()
        for port in self.bridges.ports if self.bridges else []:
            status, answer = ask(port, "POST", path, body, headers)
            outcome, delivery = told.reading(status, answer) if status else (told.NOTHING, 0)
            with self.lock:
                self.file.write(told.record(told.VALID, outcome, delivery, digest))
            if status:
                return status, answer
        return 502, b""

    def stop(self):
        self.server.shutdown()
        self.file.close()
