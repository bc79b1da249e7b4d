# clipbridge
# SPDX-License-Identifier: Apache-2.0
"""The two stores: where they are, how they are taken away for a while, and what is in them."""

import errno
import hashlib
import os
import shutil
import sqlite3
import subprocess

from programs import TortureError, say

# The stores' `rows` put in what they call the ledger.
SIGNALS = (
    "SELECT uid, source, kind, requested_status, delivery, outcome, reason, from_status, to_status "
    "FROM {ledger} ORDER BY uid, seq"
)
CLIPS = (
    "SELECT c.cloudflare_uid, c.status, b.status, b.progress "
    "FROM clips c LEFT JOIN clipbridge_clips b ON b.uid = c.cloudflare_uid"
)
# The spool and some room, and what a delivery takes with its signal, indexes and journal.
DISK_BYTES, DELIVERY_BYTES = 384 << 20, 2048


class SQLite:
    name = "sqlite"
    ledger = "clipbridge_ledger"
    undecided = (
        "SELECT (SELECT count(*) FROM clipbridge_pending) + (SELECT count(*) FROM clipbridge_deliveries "
        "WHERE signal IS NOT NULL AND id > (SELECT value FROM clipbridge_meta WHERE key = 'signals_taken'))"
    )
    bridges = 1
    takes_away = "full disk"
    # So long that the journal's own room is used up too.
    away_seconds = 5, 10

    def __init__(self, options):
        self.outside = f"{options.folder}/kept"
        self.folder = f"{options.folder}/disk"
        self.filler = f"{self.folder}/filler"
        os.mkdir(self.folder)
        self.can_be_taken = self.mount(DISK_BYTES + options.deliveries * DELIVERY_BYTES)
        self.path = f"{self.folder}/clipbridge.sqlite"
        self.url = f"sqlite:{self.path}"

    def mount(self, size):
        """torture.sh has started this in a mount namespace of its own where it can; it goes with the last process."""
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "clipbridge-torture", self.folder], stderr=subprocess.PIPE,
            text=True)
        if done.returncode != 0:
            say(f"SKIPPED: the full disk, because no tmpfs can be mounted here: {done.stderr.strip()}")
        return done.returncode == 0

    def take_away(self):
        """The disk is full to the last byte."""
        with open(self.filler, "wb", buffering=0) as file:
            for size in (1 << 24, 1 << 16, 4096):
                while self.grows(file.fileno(), size):
                    pass

    @staticmethod
    def grows(descriptor, size):
        try:
            os.posix_fallocate(descriptor, os.fstat(descriptor).st_size, size)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            return False
        return True

    def give_back(self):
        if os.path.exists(self.filler):
            os.remove(self.filler)

    def keep(self):
        """The tmpfs ends with this process."""
        shutil.copytree(self.folder, self.outside, ignore=shutil.ignore_patterns("spool"))

    def rows(self, sql):
        connection = sqlite3.connect(self.path, timeout=30)
        try:
            yield from connection.execute(sql.replace("{ledger}", self.ledger))
        finally:
            connection.close()

    def deliveries(self):
        for number, kept, body, uid, outcome in self.rows(
            "SELECT id, body_sha256, body, uid, outcome FROM clipbridge_deliveries"
        ):
            yield number, kept, hashlib.sha256(body).digest(), uid, outcome

    def one(self, sql):
        return next(iter(self.rows(sql)))[0]


class Postgres:
    name = "postgres"
    ledger = "clipbridge_signals"
    undecided = "SELECT count(*) FROM clipbridge_signals WHERE outcome IS NULL"
    bridges = 3
    takes_away = "database restart"
    can_be_taken = True
    away_seconds = 0, 3

    def __init__(self, options):
        self.folder = options.folder
        self.url = options.postgres
        self.psql = options.psql
        self.restart = options.postgres_restart

    def take_away(self):
        """Immediately: as if it had crashed, and it recovers from its log."""
        done = subprocess.run(
            self.restart, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if done.returncode != 0:
            raise TortureError("PostgreSQL did not start again")

    def give_back(self):
        """It is there again."""

    def keep(self):
        """It is the user's own, or in the folder that is kept."""

    def rows(self, sql):
        sql = sql.replace("{ledger}", self.ledger)
        command = [self.psql, "--no-psqlrc", "--quiet", f"--command=COPY ({sql}) TO STDOUT", self.url]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                yield [None if field == "\\N" else field for field in line.rstrip("\n").split("\t")]
        if process.returncode != 0:
            raise TortureError(f"psql ended with {process.returncode}")

    def deliveries(self):
        for number, kept, digest, uid, outcome in self.rows(
            "SELECT id, encode(body_sha256, 'hex'), encode(sha256(body), 'hex'), uid, outcome "
            "FROM clipbridge_deliveries"
        ):
            yield int(number), bytes.fromhex(kept), bytes.fromhex(digest), uid, outcome

    def one(self, sql):
        return next(iter(list(self.rows(sql))))[0]


def all_signals(store):
    for uid, source, kind, requested, delivery, *decision in store.rows(SIGNALS):
        yield uid, source, kind, requested, None if delivery is None else int(delivery), decision
