# clipbridge
# SPDX-License-Identifier: Apache-2.0
"""Turns the results of transfer.py into Markdown: medians with least and most, and ratios of medians.

Arguments: the file of results, the file of facts about the machine (one `name: value` per line).
"""

import json
import statistics
import sys

import tools
from markdown import lines, print_facts, ratio, spread

LEGS = ("download", "upload")

NOTES = """\
Median (least–most) of the rounds; ratios are of medians. CPU: user and system time of all the tool's processes. Peak:
resident memory of all its processes together, sampled every 20 ms, so pages that processes share count once for each.
The servers run on the same cores; their CPU is what nginx, SeaweedFS and delaying proxies used.
"""


class Figures:
    """What one tool needed in the rounds of one table."""

    def __init__(self, runs):
        self.failures = sum(1 for run in runs if run["error"])
        good = [run for run in runs if not run["error"]]
        self.wall = [run["wall_seconds"] for run in good]
        self.cpu = [run["user_seconds"] + run["system_seconds"] for run in good]
        self.memory = [run["peak_bytes"] / (1 << 20) for run in good]
        self.servers = [sum(run["servers_seconds"].values()) for run in good]


def row(tool, figures, rclone, leg, amount):
    if not figures.wall:
        return [tools.label(tool), "failed", *[""] * 8]
    cells = [
        tools.label(tool) + (f" ({figures.failures} runs failed)" if figures.failures else ""),
        spread(figures.wall, 2),
        f"{amount / statistics.median(figures.wall):.0f}",
        spread(figures.cpu, 2),
        spread(figures.memory, 1),
        f"{statistics.median(figures.servers):.2f}",
        ratio(figures.wall, rclone.wall if rclone else []),
        ratio(figures.cpu, rclone.cpu if rclone else []),
        ratio(figures.memory, rclone.memory if rclone else []),
        ratio(figures.wall, leg),
    ]
    return cells


def print_table(table, runs):
    order = list(dict.fromkeys(run["tool"] for run in sorted(runs, key=lambda run: run["round"])))
    figures = {tool: Figures([run for run in runs if run["tool"] == tool]) for tool in order}
    legs = [figures[leg].wall for leg in LEGS if leg in figures and figures[leg].wall]
    leg = max(legs, key=statistics.median) if len(legs) == len(LEGS) else []
    amount = table["clips"] * table["size"] / (1 << 20)
    rounds = max(run["round"] for run in runs)
    print(f"\n### {table['table']}. {table['title']}\n")
    print(f"{table['clips']} × {size_text(table['size'])}, {rounds} round{'s' if rounds > 1 else ''}; ", end="")
    print(f"least round trip to the MP4's host: {table['round_trip_milliseconds']} ms (curl's start included).\n")
    heads = ["", "wall s", "MiB/s", "CPU s", "peak MiB", "servers' CPU s"]
    heads += ["wall ÷ rclone", "CPU ÷ rclone", "memory ÷ rclone", "wall ÷ slower curl leg"]
    print(lines(heads))
    print(lines(["---"] + ["---:"] * (len(heads) - 1)))
    for tool in order:
        print(lines(row(tool, figures[tool], figures.get("rclone"), leg, amount)))


def size_text(size):
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size:,} bytes"


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        results = json.load(file)
    print("## clipbridge: transfer benchmark\n")
    print_facts(sys.argv[2])
    for table in results["tables"]:
        runs = [run for run in results["runs"] if run["table"] == table["table"]]
        if runs:
            print_table(table, runs)
    print(f"\n{NOTES}", end="")


main()
