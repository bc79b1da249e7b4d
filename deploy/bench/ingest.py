# clipbridge
# SPDX-License-Identifier: Apache-2.0
"""Measures how many webhooks a second are taken in: every target in every round, each with a new and empty store.

The results go into a JSON file, which ingest_report.py turns into a table.
"""

import argparse
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import deliveries
from processes import processor_seconds

HERE = os.path.dirname(os.path.abspath(__file__))
SECRET = "bench-webhook-secret"
COUNT = "SELECT count(*) FROM clipbridge_deliveries"
# So many are prepared for the first try; if they do not last, twice as many for the next one.
FIRST_COUNT = 60_000
TRIES = 8
# How many more are prepared than the fastest try so far needed.
MARGIN = 1.6
# nginx gets these again and again.
NGINX_COUNT = 20_000
START_SECONDS_MAX = 60
FOREIGN_SETTINGS = ("CLIPBRIDGE_", "CLOUDFLARE_", "R2_", "DATABASE_URL", "PG")


class RoundError(Exception):
    """Why a round does not count."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def arguments():
    parser = argparse.ArgumentParser()
    for name in ("targets", "folder", "results", "clipbridge"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("rounds", "seconds", "connections", "nginx-port", "nginx-pid"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("postgres", "psql"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--postgres-pid", type=int)
    return parser.parse_args()


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

    @property
    def pid(self):
        return self.process.pid

    @property
    def store_pid(self):
        return self.store.pid

    def start(self):
        url = self.store.make()
        self.reserved, closed_port = reserve_port()
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
        }

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


class Bench:
    def __init__(self, options):
        self.options = options
        self.threads = min(max(1, os.cpu_count() // 2), options.connections)
        self.counts = {"nginx": max(NGINX_COUNT, self.threads)}
        self.requests = f"{options.folder}/requests"

    def target(self, name):
        if name == "nginx":
            return Nginx(self.options)
        return Bridge(self.options, {"sqlite": SQLite, "postgres": Postgres}[name](self.options))

    def run(self, name, seconds):
        """As often as it takes to have prepared enough: what ran out measures nothing."""
        for _ in range(TRIES):
            count = self.counts.get(name, FIRST_COUNT)
            result = self.run_once(self.target(name), count, seconds)
            if not result["ran_out"]:
                if name != "nginx":
                    needed = int(MARGIN * result["per_second"] * self.options.seconds) + self.options.connections
                    self.counts[name] = max(needed, count)
                return result
            say(f"  {count:,} signed requests did not last; once more with twice as many")
            self.counts[name] = 2 * count
        raise RoundError("more signed requests are needed than can be made")

    def run_once(self, target, count, seconds):
        os.mkdir(f"{self.options.folder}/run")
        try:
            self.check_space(count)
            length = deliveries.write(self.requests, count, SECRET.encode())
            target.start()
            # What was written until here is not this run's to wait for.
            os.sync()
            before = processor_seconds(target.pid), processor_seconds(target.store_pid)
            result = self.load(target, length, count, seconds)
            after = processor_seconds(target.pid), processor_seconds(target.store_pid)
            result["server_cpu_seconds"] = round(after[0] - before[0], 2)
            result["store_cpu_seconds"] = round(after[1] - before[1], 2)
            target.stop()
            result["stored"] = target.stored()
            return result
        finally:
            target.remove()
            shutil.rmtree(f"{self.options.folder}/run")

    def check_space(self, count):
        """The requests, and a store that holds each with its indexes, its log and its journal."""
        free = shutil.disk_usage(self.options.folder).free
        needed = 6 * count * os.path.getsize(deliveries.SAMPLE)
        if free < needed:
            raise RoundError(f"{self.options.folder} has {free:,} bytes free, and this needs {needed:,}")

    def load(self, target, length, count, seconds):
        command = ["wrk", f"--threads={self.threads}", f"--connections={self.options.connections}"]
        command += [f"--duration={seconds}s", "--timeout=10s", f"--script={HERE}/ingest.lua"]
        command += [f"http://127.0.0.1:{target.port}/webhooks/cloudflare-stream", "--"]
        command += [self.requests, str(length), str(count), str(self.threads), "again" if target.again else "once"]
        result = json.loads(output_of(command).splitlines()[-1])
        result["per_second"] = round(result["accepted"] / result["seconds"], 1)
        return result

    def rounds(self):
        names = self.options.targets.split(",")
        for name in names:
            if name != "nginx":
                say(f"warming up: {name} …")
                yield self.measured(0, name, min(2, self.options.seconds))
        for number in range(1, self.options.rounds + 1):
            # Each round begins with another target, so that none always follows the same one.
            first = (number - 1) % len(names)
            for name in names[first:] + names[:first]:
                say(f"round {number} of {self.options.rounds}: {name} …")
                yield self.measured(number, name, self.options.seconds)

    def measured(self, number, name, seconds):
        result = {"round": number, "target": name}
        try:
            result |= self.run(name, seconds)
            result["error"] = self.problem(result)
        except RoundError as error:
            result["error"] = str(error)
        say(self.sentence(result))
        return result

    @staticmethod
    def problem(result):
        """Why a round does not count, or None."""
        if result["accepted"] == 0:
            return f"nothing was accepted; an answer was: {result['other'] or 'none'}"
        if result["stored"] is not None and result["stored"] < result["accepted"]:
            lost = result["accepted"] - result["stored"]
            return f"{lost:,} of {result['accepted']:,} acknowledged deliveries are not in the store"
        return None

    @staticmethod
    def sentence(result):
        if result["error"]:
            return f"  FAILED: {result['error']}"
        text = f"  {result['per_second']:,.0f}/s, p50 {result['p50_milliseconds']:.2f} ms"
        text += f", p99 {result['p99_milliseconds']:.2f} ms"
        if result["stored"] is not None:
            text += f"; {result['accepted']:,} acknowledged, {result['stored']:,} stored: none is missing"
        if result["others"]:
            text += f"; {result['others']:,} answers were others, such as: {result['other']}"
        if result["socket_errors"] or result["timeouts"]:
            text += f"; {result['socket_errors']:,} socket errors, {result['timeouts']:,} timeouts"
        return text


def end_with(code):
    # As an exception, so that what this program started is ended on the way out.
    return lambda *_: sys.exit(code)


def main():
    signal.signal(signal.SIGTERM, end_with(143))
    options = arguments()
    bench = Bench(options)
    names = ("seconds", "connections", "rounds")
    everything = {name: getattr(options, name) for name in names}
    everything |= {"wrk_threads": bench.threads, "clips": deliveries.CLIPS, "runs": []}
    everything["body_bytes"] = len(deliveries.sample_body())
    for result in bench.rounds():
        everything["runs"].append(result)
        with open(options.results, "w", encoding="utf-8") as file:
            json.dump(everything, file, indent=1)
    return any(run["error"] for run in everything["runs"])


sys.exit(main())
