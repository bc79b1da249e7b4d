# clipbridge
# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks' reports have in common."""

import statistics


def spread(values, digits):
    middle, least, most = (f"{value:.{digits}f}" for value in (statistics.median(values), min(values), max(values)))
    return f"{middle} ({least}–{most})"


def ratio(own, others):
    """Of medians; empty where there is nothing to compare with."""
    if not own or not others:
        return ""
    return f"{statistics.median(own) / statistics.median(others):.2f}"


def lines(cells):
    return "| " + " | ".join(cells) + " |"


def print_facts(path):
    """What is known about the machine, one fact per line of the file."""
    with open(path, encoding="utf-8") as file:
        for line in file:
            print(f"* {line.rstrip()}")
