# clipbridge
# SPDX-License-Identifier: Apache-2.0
"""Writes signed webhook deliveries into a file, ready to be sent: distinct bodies, and all of one length."""

import hashlib
import hmac
import os
import time

CLIPS = 2000
SAMPLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../fixtures/stream/inprogress.json")
SAMPLE_UID = b"3f2a9c71e5b84d06a1c7d2e98b40f516"
SAMPLE_PERCENT = b"47.500000"
# From 10.000000 on in millionths, so that each has its own and all are equally long.
LEAST_PERCENT = 10_000_000
COUNT_MAX = 99_999_999 - LEAST_PERCENT

HEAD = b"""\
POST /webhooks/cloudflare-stream HTTP/1.1\r
Host: 127.0.0.1\r
Content-Type: application/json\r
Content-Length: %d\r
Webhook-Signature: time=%s,sig1=%s\r
X-Signature: sha256=%s\r
\r
"""


def sample_body():
    with open(SAMPLE, "rb") as file:
        return file.read().rstrip()


def clip_uids():
    return [hashlib.sha256(b"clip %d" % number).hexdigest()[:32].encode() for number in range(CLIPS)]


def write(path, count, secret):
    """Writes that many requests, signed now, and returns the bytes of one."""
    sample = sample_body()
    halves = [sample.replace(SAMPLE_UID, uid).split(SAMPLE_PERCENT) for uid in clip_uids()]
    now = b"%d" % time.time()
    length = 0
    with open(path, "wb", buffering=1 << 20) as file:
        for number in range(min(count, COUNT_MAX)):
            before, after = halves[number % CLIPS]
            percent = b"%d" % (LEAST_PERCENT + number)
            body = before + percent[:-6] + b"." + percent[-6:] + after
            signature = hmac.digest(secret, now + b"." + body, "sha256").hex().encode()
            # For a peer that knows no signature but that of the body alone.
            plain = hmac.digest(secret, body, "sha256").hex().encode()
            length = file.write(HEAD % (len(body), now, signature, plain) + body)
    return length
