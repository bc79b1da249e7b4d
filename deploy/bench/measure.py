# clipbridge
# SPDX-License-Identifier: Apache-2.0
"""Runs pipelines of programs at once and measures them: wall time, CPU time and peak memory.

Reads one JSON object from standard input and writes one to standard output. This is a program of its own, and imports
little, because Linux counts the memory of whoever starts a program in that program's `ru_maxrss`.

Input: `pipelines`, a list of {`commands`: [[argument, ...], ...], `environment`, `folder`}, and `seconds_max`. The
standard output of the last command of pipeline n goes to output.txt of its folder, everyone's errors to errors.txt.

CPU time is wait4's, so it holds what each program's own children used, if the program waited for them. Memory is
sampled from /proc for all the processes together; the kernel's own high-water mark of a single process is exact.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time

SAMPLE_SECONDS = 0.02


def children(pid):
    found = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += [int(child) for child in file.read().split()]
    except OSError:
        pass
    return found


def family(pids):
    found = list(pids)
    for pid in found:
        found += children(pid)
    return found


def memory(pid):
    """Resident bytes, their high-water mark, and how many are nobody else's; zeros for a process that has ended."""
    values = {b"VmRSS": 0, b"VmHWM": 0, b"RssAnon": 0}
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            for line in file:
                name, _, value = line.partition(b":")
                if name in values:
                    values[name] = int(value.split()[0]) * 1024
    except OSError:
        pass
    return values[b"VmRSS"], values[b"VmHWM"], values[b"RssAnon"]


class Sampler(threading.Thread):
    def __init__(self, pids):
        super().__init__(daemon=True)
        self.pids = pids
        self.ended = threading.Event()
        self.together = self.single = self.anonymous = self.samples = 0

    def run(self):
        while not self.ended.wait(SAMPLE_SECONDS):
            self.sample()

    def sample(self):
        each = [memory(pid) for pid in family(self.pids)]
        self.together = max(self.together, sum(resident for resident, _, _ in each))
        self.single = max([self.single] + [mark for _, mark, _ in each])
        self.anonymous = max(self.anonymous, sum(anonymous for _, _, anonymous in each))
        self.samples += 1


def start(pipeline):
    """The processes of one pipeline; the output of each but the last is the next one's input."""
    folder = pipeline["folder"]
    processes, before = [], subprocess.DEVNULL
    with open(f"{folder}/output.txt", "wb") as output, open(f"{folder}/errors.txt", "wb") as errors:
        for command in pipeline["commands"]:
            is_last = len(processes) + 1 == len(pipeline["commands"])
            process = subprocess.Popen(
                command,
                stdin=before,
                stdout=output if is_last else subprocess.PIPE,
                stderr=errors,
                cwd=folder,
                env=pipeline["environment"],
            )
            if before != subprocess.DEVNULL:
                before.close()
            before = process.stdout
            processes.append(process)
    return processes


def kill(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def wait(processes):
    """Waits for all of them; user and system seconds, the largest ru_maxrss, and the exit codes by process."""
    user = system = maxrss = 0
    running = {process.pid: process for process in processes}
    while running:
        pid, status, usage = os.wait4(-1, 0)
        user += usage.ru_utime
        system += usage.ru_stime
        maxrss = max(maxrss, usage.ru_maxrss * 1024)
        process = running.pop(pid, None)
        if process:
            process.returncode = os.waitstatus_to_exitcode(status)
    return user, system, maxrss


def main():
    task = json.load(sys.stdin)
    begin = time.monotonic()
    pipelines = [start(pipeline) for pipeline in task["pipelines"]]
    processes = [process for pipeline in pipelines for process in pipeline]
    pids = [process.pid for process in processes]

    def stop(*_):
        kill(family(pids))
        os._exit(1)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    limit = threading.Timer(task["seconds_max"], lambda: kill(family(pids)))
    limit.daemon = True
    limit.start()
    sampler = Sampler(pids)
    sampler.sample()
    sampler.start()
    user, system, maxrss = wait(processes)
    wall = time.monotonic() - begin
    limit.cancel()
    sampler.ended.set()
    sampler.join()
    own = resource.getrusage(resource.RUSAGE_SELF)
    json.dump(
        {
            "wall_seconds": wall,
            "user_seconds": user,
            "system_seconds": system,
            "peak_bytes": max(sampler.together, sampler.single),
            "peak_anonymous_bytes": sampler.anonymous,
            "maxrss_bytes": maxrss,
            "samples": sampler.samples,
            "sampler_seconds": own.ru_utime + own.ru_stime,
            "exit_codes": [[process.returncode for process in pipeline] for pipeline in pipelines],
        },
        sys.stdout,
    )


main()
