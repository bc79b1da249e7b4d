# clipbridge
# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks start and measure: clipbridge with a store, and what it is compared with."""

import http.client
import os
import socket
import subprocess
import sys
import time

SECRET = "bench-webhook-secret"
COUNT = "SELECT count(*) FROM clipbridge_deliveries"
START_SECONDS_MAX = 60
FOREIGN_SETTINGS = ("CLIPBRIDGE_", "CLOUDFLARE_", "R2_", "DATABASE_URL", "PG")


class RoundError(Exception):
    """Why a round does not count."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def output_of(command, **settings):
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **settings
    )
    if done.returncode != 0:
        raise RoundError(f"{os.path.basename(command[0])} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout


def reserve_port():
    """A socket that is bound to a free port of loopback and does not listen: connections there are refused."""
    reserved = socket.socket()
    reserved.bind(("127.0.0.1", 0))
    return reserved, reserved.getsockname()[1]


class SQLite:
    def __init__(self, options):
        self.path = f"{options.folder}/run/clipbridge.sqlite"
        self.pid = None

    def make(self):
        return f"sqlite:{self.path}"

    def stored(self):
        return int(output_of(["sqlite3", "-batch", "-init", "/dev/null", self.path, COUNT]))

    def remove(self):
        """It goes with the folder of the run."""


class Postgres:
    """A database of its own for each run, in a cluster that runs all the time."""

    NAME = "clipbridge_bench"

    def __init__(self, options):
        self.psql = options.psql
        self.server = options.postgres
        self.url = f"{options.postgres.rpartition('/')[0]}/{self.NAME}"
        self.pid = options.postgres_pid

    def ask(self, url, sql):
        return output_of([self.psql, "--no-psqlrc", "--no-align", "--tuples-only", f"--command={sql}", url])

    def make(self):
        self.ask(self.server, f"CREATE DATABASE {self.NAME}")
        return self.url

    def stored(self):
        return int(self.ask(self.url, COUNT))

    def remove(self):
        self.ask(self.server, f"DROP DATABASE IF EXISTS {self.NAME} WITH (FORCE)")


class Bridge:
    """`clipbridge serve` with one store. Cloudflare and R2 are a port that refuses every connection."""

    again = False

    def __init__(self, options, store):
        self.options = options
        self.store = store
        self.process = None
        self.port = None
        self.reserved = None
        # What one measurement sets otherwise.
        self.own_settings = {}

    @property
    def pid(self):
        return self.process.pid

    @property
    def store_pid(self):
        return self.store.pid

    def start(self):
        url = self.store.make()
        if not self.reserved:
            self.reserved, _ = reserve_port()
        closed_port = self.reserved.getsockname()[1]
        # Another program may take a port between its choice and its use.
        for _ in range(3):
            self.launch(url, closed_port)
            if self.answers():
                return
            code = self.process.poll()
            self.stop()
        with open(f"{self.options.folder}/clipbridge.log", encoding="utf-8", errors="replace") as file:
            words = file.read().strip()[-1000:] or "it said nothing"
        reason = "does not answer" if code is None else f"ended with {code}"
        raise RoundError(f"clipbridge serve {reason}: {words}")

    def launch(self, url, closed_port):
        chosen, self.port = reserve_port()
        chosen.close()
        own = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN_SETTINGS)}
        with open(f"{self.options.folder}/clipbridge.log", "wb") as log:
            self.process = subprocess.Popen(
                [self.options.clipbridge, "serve"],
                env=own | self.settings(url, closed_port),
                cwd=f"{self.options.folder}/run",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def settings(self, url, closed_port):
        return {
            "CLOUDFLARE_ACCOUNT_ID": "bench",
            "CLOUDFLARE_API_TOKEN": "bench",
            "CLOUDFLARE_WEBHOOK_SECRET": SECRET,
            "CLOUDFLARE_API_BASE": f"http://127.0.0.1:{closed_port}/client/v4",
            "R2_ACCESS_KEY_ID": "bench",
            "R2_SECRET_ACCESS_KEY": "bench",
            "R2_BUCKET_NAME": "bench",
            "R2_ENDPOINT": f"http://127.0.0.1:{closed_port}",
            "DATABASE_URL": url,
            "CLIPBRIDGE_PORT": str(self.port),
            "CLIPBRIDGE_SPOOL_DIR": f"{self.options.folder}/run/spool",
            "CLIPBRIDGE_LOG_LEVEL": "error",
        } | self.own_settings

    def answers(self):
        end = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < end and self.process.poll() is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            try:
                connection.request("GET", "/readyz")
                if connection.getresponse().status == 200:
                    return True
            except (OSError, http.client.HTTPException):
                pass
            finally:
                connection.close()
            time.sleep(0.05)
        return False

    def stop(self):
        """By SIGKILL: what it acknowledged has to be in the store by then."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stored(self):
        return self.store.stored()

    def remove(self):
        self.stop()
        if self.reserved:
            self.reserved.close()
        self.store.remove()


class Peer:
    """A server that stores nothing; it is started anew for each run, and gets the same posts again and again."""

    again = True
    store_pid = None
    def __init__(self, options, command, settings=None):
        self.options = options
        self.command = command
        self.settings = settings or {}
        self.process = None
        self.port = None

    @property
    def pid(self):
        return self.process.pid

    def start(self):
        chosen, self.port = reserve_port()
        chosen.close()
        with open(f"{self.options.folder}/peer.log", "wb") as log:
            self.process = subprocess.Popen(
                [part.replace("PORT", str(self.port)) for part in self.command],
                env=os.environ | self.settings | {"PORT": str(self.port)},
                cwd=f"{self.options.folder}/run",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < end and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RoundError(f"{os.path.basename(self.command[0])} does not listen")

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stored(self):
        return None

    def remove(self):
        self.stop()


class Nginx:
    """Runs all the time, and stores nothing."""

    again = True
    store_pid = None

    def __init__(self, options):
        self.port = options.nginx_port
        self.pid = options.nginx_pid

    def start(self):
        """It does already."""

    def stop(self):
        """The script that started it will."""

    def stored(self):
        return None

    def remove(self):
        """Nothing is left of a run."""
