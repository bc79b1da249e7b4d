# clipbridge
# SPDX-License-Identifier: Apache-2.0
"""Turns the results of ingest.py into Markdown: medians of the rounds with least and most, and ratios of medians.

Arguments: the file of results, the file of facts about the machine (one `name: value` per line).
"""

import json
import statistics
import sys

from markdown import lines, print_facts, ratio, spread

LABELS = {
    "sqlite": "clipbridge, SQLite",
    "sqlite-half": "the same at half of that rate, on a quarter of the connections",
    "postgres": "clipbridge, PostgreSQL",
    "postgres-half": "the same at half of that rate, on a quarter of the connections",
    "echo": "bare Hummingbird, echoes",
    "node": "Node, verifies, stores nothing",
    "hook": "adnanh/webhook, verifies, starts nothing",
    "hook-program": "adnanh/webhook, verifies, answers, starts /bin/true",
    "hook-waits": "adnanh/webhook, verifies, runs /bin/echo, answers",
    "nginx": "nginx, stores nothing (the load generator's ceiling)",
}

NOTES = """\
Median (least–most) of the rounds; ratios are of medians. Acknowledged: answers with status 200 and `accepted`, over all
rounds; stored: deliveries that the store holds after the server was killed by SIGKILL. More may be stored than were
acknowledged: those whose answer was on its way when the time was over. Every body is sent once, but to nginx. wrk runs
on the same cores, and sends the next post on a connection when the one before was answered, so that with more
connections an answer takes longer. Programs are counted as the processes that the system has begun in the rounds. CPU:
of the server in a round, + PostgreSQL's. Cloudflare and R2 are a port that refuses connections, so the clips' inquiries
fail while webhooks come in.
"""


class Figures:
    """What one target did in the rounds."""

    def __init__(self, runs):
        self.count = len(runs)
        self.failures = sum(1 for run in runs if run["error"])
        good = [run for run in runs if not run["error"]]
        self.rate = [run["per_second"] for run in good]
        self.middle = [run["p50_milliseconds"] for run in good]
        self.slow = [run["p99_milliseconds"] for run in good]
        self.cpu = [run["server_cpu_seconds"] for run in good]
        self.store_cpu = [run["store_cpu_seconds"] for run in good]
        self.begun = [run["processes_begun"] for run in good]
        self.others = sum(run["others"] + run["socket_errors"] + run["timeouts"] for run in good)
        # Also of rounds that failed: that is where they differ.
        self.acknowledged = sum(run.get("accepted", 0) for run in runs)
        self.stored = [run["stored"] for run in runs if run.get("stored") is not None]


def label(target, figures):
    text = LABELS[target]
    if target == "hook-program" and figures.begun:
        text += f": {sum(figures.begun):,} of them until the time was over"
    if figures.failures:
        text += f" ({figures.failures} of {figures.count} rounds failed)"
    if figures.others:
        text += f" ({figures.others:,} posts were not accepted)"
    return text


def row(target, figures, sqlite):
    stored = f"{sum(figures.stored):,}" if figures.stored else "–"
    counts = [f"{figures.acknowledged:,}", stored]
    if not figures.rate:
        return [label(target, figures), "failed", "", "", *counts, "", ""]
    cpu = f"{statistics.median(figures.cpu):.2f}"
    if any(figures.store_cpu):
        cpu += f" + {statistics.median(figures.store_cpu):.2f}"
    return [
        label(target, figures),
        spread(figures.rate, 0),
        spread(figures.middle, 2),
        spread(figures.slow, 2),
        *counts,
        ratio(figures.rate, sqlite.rate),
        cpu,
    ]


def verdict(runs):
    """What the comparison of acknowledged and stored deliveries came to."""
    kept = [run for run in runs if run.get("stored") is not None]
    failed = sum(1 for run in runs if run["error"])
    lost = sum(max(0, run["accepted"] - run["stored"]) for run in kept)
    if lost:
        return f"FAILED: {lost:,} acknowledged deliveries are not in their stores."
    if failed:
        return f"FAILED: {failed} of {len(runs)} runs, see standard error."
    total = sum(run["accepted"] for run in kept)
    return f"Every one of {total:,} acknowledged deliveries, the warm-up's too, was in its store."


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        results = json.load(file)
    runs = [run for run in results["runs"] if run["round"] > 0]
    order = list(dict.fromkeys(run["target"] for run in runs))
    figures = {target: Figures([run for run in runs if run["target"] == target]) for target in order}
    print("## clipbridge: ingest benchmark\n")
    print_facts(sys.argv[2])
    print(f"\nRounds: {results['rounds']} of {results['seconds']} s; connections: {results['connections']}; ", end="")
    print(f"wrk's threads: {results['wrk_threads']}; bodies: {results['body_bytes']:,} bytes each, ", end="")
    print(f"about {results['clips']:,} clips.\n")
    heads = ["", "requests/s", "p50 ms", "p99 ms", "acknowledged", "stored", "rate ÷ SQLite", "CPU s"]
    print(lines(heads))
    print(lines(["---"] + ["---:"] * (len(heads) - 1)))
    for target in order:
        print(lines(row(target, figures[target], figures["sqlite"])))
    print(f"\n{verdict(results['runs'])}\n")
    print(NOTES, end="")


main()
