# clipbridge
# SPDX-License-Identifier: Apache-2.0
"""What a client was told about each delivery: one record of fixed length for each time that it was sent."""

import collections
import json
import struct

RECORD = struct.Struct("<BBq32s")
# What a delivery is made to be.
VALID, IGNORED, MALFORMED, FORGED = range(4)
KINDS = ("valid", "ignored", "malformed", "forged")
# What was answered.
NOTHING, ACCEPTED, DUPLICATE, LEFT_OUT, REFUSED, UNSIGNED, UNAVAILABLE, OTHER = range(8)
ANSWERS = ("no answer", "accepted", "duplicate", "ignored", "malformed", "signature refused", "unavailable", "other")
OUTCOMES = {"accepted": ACCEPTED, "duplicate": DUPLICATE, "ignored": LEFT_OUT}
# After these a client need not send it again.
FINAL = {ACCEPTED, DUPLICATE, LEFT_OUT, REFUSED, UNSIGNED, OTHER}

Told = collections.namedtuple("Told", "kind answer delivery digest")


def reading(status, body):
    """The answer and the delivery's id, or 0."""
    if status == 200:
        try:
            answer = json.loads(body)
            return OUTCOMES[answer["outcome"]], int(answer.get("delivery", 0))
        except (ValueError, KeyError, TypeError):
            return OTHER, 0
    return {400: REFUSED, 401: UNSIGNED, 503: UNAVAILABLE}.get(status, OTHER), 0


def record(kind, answer, delivery, digest):
    return RECORD.pack(kind, answer, delivery, digest)


def records(path):
    with open(path, "rb") as file:
        while chunk := file.read(RECORD.size * 65536):
            for fields in RECORD.iter_unpack(chunk[: len(chunk) // RECORD.size * RECORD.size]):
                yield Told(*fields)
