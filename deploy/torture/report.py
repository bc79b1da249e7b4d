# clipbridge
# SPDX-License-Identifier: Apache-2.0
"""Prints what the torture counted, a column for each store: report.py RESULTS..."""

import json
import sys

FIRST = ("deliveries sent", "deliveries acknowledged", "deliveries found")
ANSWERS = ("accepted", "duplicate", "ignored", "malformed", "signature refused", "unavailable", "no answer", "other")
REST = (
    "distinct bodies", "signals", "statuses checked", "event streams", "clips", "objects compared", "MP4 requests",
    "MP4 requests again", "MP4 downloads", "MP4 downloads again", "starts after a stroke", "starts that found no store",
    "quarantined and retried", "seconds of load",
)


def main():
    results = []
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as file:
            results.append(json.load(file))
    strokes = sorted({name for result in results for name in result["strokes"]})
    rows = [(name, [result["counts"].get(name, 0) for result in results]) for name in FIRST]
    rows += [(f"  answered: {name}", [result["counts"].get(name, 0) for result in results]) for name in ANSWERS]
    rows.append(("kills and other strokes", [sum(result["strokes"].values()) for result in results]))
    rows += [(f"  {name}", [result["strokes"].get(name, 0) for result in results]) for name in strokes]
    rows += [(name, [result["counts"].get(name, 0) for result in results]) for name in REST]
    rows.append(("violations", [result["violations"] for result in results]))
    print_row("", [result["store"] for result in results] + ["in all"])
    for name, values in rows:
        print_row(name, [f"{value:,}" for value in values + [sum(values)]])
    for result in results:
        for name in [name for name, count in result["strokes"].items() if count == 0]:
            print(f"NOT TRIED ({result['store']}): {name}")
        for text in result["first_violations"]:
            print(f"VIOLATION ({result['store']}): {text}")


def print_row(name, cells):
    print(f"{name:<30}" + "".join(f"{cell:>14}" for cell in cells))


main()
