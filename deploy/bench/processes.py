# clipbridge
# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks ask Linux about other processes."""

import os


def processor_seconds(pid):
    """User and system seconds of a process and of its children that run."""
    total = 0
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            fields = file.read().rpartition(")")[2].split()
        total = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as file:
            return total + sum(processor_seconds(int(child)) for child in file.read().split())
    except OSError:
        return total


def processes_begun():
    """How many processes and threads the system has begun since its start."""
    with open("/proc/stat", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("processes "))
