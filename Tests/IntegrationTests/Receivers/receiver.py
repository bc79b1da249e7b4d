# clipbridge
# SPDX-License-Identifier: Apache-2.0
"""Takes outgoing webhooks, verifies them with the package `standardwebhooks`, and writes each down before it answers.

    receiver.py PORT FILE SECRET

The path says how it answers: /hang never, /moody with 500 to the first two tries of each message, /gone with 410, any
other with 204.
"""

import base64
import collections
import http.server
import json
import sys
import threading

from standardwebhooks import Webhook

PORT, FILE, SECRET = int(sys.argv[1]), sys.argv[2], sys.argv[3]
tries = collections.Counter()
lock = threading.Lock()


def fault(headers, body):
    """What is wrong with the signature, in words; None for nothing."""
    own = {name: headers.get(name, "") for name in ("webhook-id", "webhook-timestamp", "webhook-signature")}
    # Cloudflare's signature has the name that ours would have.
    own["webhook-signature"] = headers.get("clipbridge-signature", own["webhook-signature"])
    try:
        Webhook(SECRET).verify(body, own)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        identity = self.headers.get("webhook-id", "")
        with lock:
            tries[identity] += 1
            status = self.status(tries[identity])
            line = {
                "path": self.path,
                "id": identity,
                "fault": fault(self.headers, body),
                "signature": self.headers.get("webhook-signature"),
                "content_type": self.headers.get("content-type"),
                "body": base64.b64encode(body).decode(),
                "status": status,
            }
            with open(FILE, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        if self.path == "/hang":
            threading.Event().wait()
        self.send_response(status)
        if status != 204:
            self.send_header("content-length", "0")
        self.end_headers()

    def status(self, number):
        if self.path == "/moody" and number <= 2:
            return 500
        return 410 if self.path == "/gone" else 204

    def log_message(self, format, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


server = Server(("127.0.0.1", PORT), Receiver)
print(f"listening on {server.server_address[1]}", flush=True)
server.serve_forever()
