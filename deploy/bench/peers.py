# clipbridge
# SPDX-License-Identifier: Apache-2.0
"""The servers that clipbridge's ingest is compared with. Each verifies or only answers, and stores nothing."""

import json
import os

from targets import SECRET, Peer

HERE = os.path.dirname(os.path.abspath(__file__))


class Hook(Peer):
    """adnanh/webhook, whose rule is that the post's second signature, an HMAC of the body alone, fits."""

    ANSWER = '{"outcome":"accepted"}'

    def __init__(self, options, program, answers_behind=False):
        """It answers before it starts the program, or, with what the program prints, behind it."""
        hooks = f"{options.folder}/hooks.json"
        command = ["webhook", "-hooks", hooks, "-urlprefix", "webhooks", "-ip", "127.0.0.1", "-port", "PORT"]
        super().__init__(options, command)
        rule = {
            "type": "payload-hmac-sha256",
            "secret": SECRET,
            "parameter": {"source": "header", "name": "X-Signature"},
        }
        hook = {
            "id": "cloudflare-stream",
            # Without one it answers all the same, and says so in its log.
            "execute-command": program,
            "response-message": self.ANSWER,
            "include-command-output-in-response": answers_behind,
            "pass-arguments-to-command": [{"source": "string", "name": self.ANSWER}],
            "trigger-rule": {"match": rule},
        }
        with open(hooks, "w", encoding="utf-8") as file:
            json.dump([hook], file)


def peer(name, options):
    if name == "echo":
        return Peer(options, [options.echo])
    if name == "node":
        return Peer(options, ["node", f"{HERE}/verify.js"], {"SECRET": SECRET})
    if name == "hook":
        return Hook(options, "")
    if name == "hook-program":
        return Hook(options, "/bin/true")
    return Hook(options, "/bin/echo", answers_behind=True)
