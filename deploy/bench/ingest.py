# clipbridge
# SPDX-License-Identifier: Apache-2.0
"""Measures how many webhooks a second are taken in: every target in every round, each with a new and empty store.

The results go into a JSON file, which ingest_report.py turns into a table.
"""

import argparse
import json
import os
import shutil
import signal
import sys

import deliveries
import peers
from processes import processes_begun, processor_seconds
from targets import SECRET, Bridge, Nginx, Postgres, RoundError, SQLite, output_of, say

HERE = os.path.dirname(os.path.abspath(__file__))
# So many are prepared for the first try; if they do not last, twice as many for the next one.
FIRST_COUNT = 60_000
TRIES = 8
# How many more are prepared than the fastest try so far needed.
MARGIN = 1.6
# Who stores nothing gets these again and again.
AGAIN_COUNT = 20_000
# At half of the rate that was just reached, on a quarter of the connections: fewer posts wait for their answers then.
HALF, HALF_SHARE = "-half", 4


def arguments():
    parser = argparse.ArgumentParser()
    for name in ("targets", "folder", "results", "clipbridge"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("rounds", "seconds", "connections", "nginx-port", "nginx-pid"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("postgres", "psql"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--postgres-pid", type=int)
    parser.add_argument("--echo", default="")
    return parser.parse_args()


class Bench:
    def __init__(self, options):
        self.options = options
        self.threads = min(max(1, os.cpu_count() // 2), max(options.connections // HALF_SHARE, 1))
        self.counts = {}
        # How many milliseconds a connection waits between an answer and the next post.
        self.pauses = {}
        # How many milliseconds an answer took at half of the rate.
        self.half_answers = {}
        self.requests = f"{options.folder}/requests"

    def target(self, name):
        name = name.removesuffix(HALF)
        stores = {"sqlite": SQLite, "postgres": Postgres}
        if name in stores:
            return Bridge(self.options, stores[name](self.options))
        return Nginx(self.options) if name == "nginx" else peers.peer(name, self.options)

    def run(self, name, seconds):
        """As often as it takes to have prepared enough: what ran out measures nothing."""
        for _ in range(TRIES):
            target = self.target(name)
            count = max(AGAIN_COUNT, self.threads) if target.again else self.counts.get(name, FIRST_COUNT)
            result = self.run_once(target, count, seconds, name)
            if not result["ran_out"]:
                if not target.again:
                    needed = int(MARGIN * result["per_second"] * self.options.seconds) + self.options.connections
                    self.counts[name] = max(needed, count)
                return result
            say(f"  {count:,} signed requests did not last; once more with twice as many")
            self.counts[name] = 2 * count
        raise RoundError("more signed requests are needed than can be made")

    def run_once(self, target, count, seconds, name):
        os.mkdir(f"{self.options.folder}/run")
        try:
            self.check_space(count)
            length = deliveries.write(self.requests, count, SECRET.encode())
            target.start()
            # What was written until here is not this run's to wait for.
            os.sync()
            before = processor_seconds(target.pid), processor_seconds(target.store_pid)
            begun = processes_begun()
            result = self.load(target, length, count, seconds, name)
            result["processes_begun"] = processes_begun() - begun
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

    def connections(self, name):
        return max(self.options.connections // HALF_SHARE if name.endswith(HALF) else self.options.connections, 1)

    def load(self, target, length, count, seconds, name):
        pause = self.pauses.get(name, 0)
        command = ["wrk", f"--threads={self.threads}", f"--connections={self.connections(name)}"]
        command += [f"--duration={seconds}s", "--timeout=10s", f"--script={HERE}/ingest.lua"]
        command += [f"http://127.0.0.1:{target.port}/webhooks/cloudflare-stream", "--"]
        command += [self.requests, str(length), str(count), str(self.threads), "again" if target.again else "once", str(pause)]
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
                result = self.measured(number, name, self.options.seconds)
                yield result
                if name in ("sqlite", "postgres") and not result["error"]:
                    # The answer takes a part of the time that each connection has for a post: as much as in the round
                    # before, and at first less than under full load.
                    interval = 2 * 1_000 * self.connections(name + HALF) / result["per_second"]
                    answer = self.half_answers.get(name, 0.25 * result["p50_milliseconds"])
                    self.pauses[name + HALF] = max(round(interval - answer), 1)
                    say(f"round {number} of {self.options.rounds}: {name} at half of that …")
                    half = self.measured(number, name + HALF, self.options.seconds)
                    if not half["error"]:
                        self.half_answers[name] = half["p50_milliseconds"]
                    yield half

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
