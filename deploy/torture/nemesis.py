# clipbridge
# SPDX-License-Identifier: Apache-2.0
"""Makes the trouble, chosen by a seed. After each stroke all has to be well again before the next."""

import collections
import random
import signal
import threading
import time

# Longer than a lease, which is 15 s.
STOP_SECONDS = 18
KILL, KILL_ALL, TERM, STOP = "kill -9", "kill -9 of all", "SIGTERM", "SIGSTOP"


class Nemesis:
    def __init__(self, options, bridges, store):
        self.random = random.Random(f"{options.seed} {store.name} nemesis")
        self.bridges = bridges
        self.store = store
        self.counts = collections.Counter()
        # Begin and end of each stroke, by the clock on the wall.
        self.strokes = []
        self.is_over = threading.Event()
        self.weights = {KILL: 5, TERM: 3, STOP: 1}
        if store.can_be_taken:
            self.weights[store.takes_away] = 2
        if len(bridges.members) > 1:
            self.weights[KILL_ALL] = 1
        # The first ones are one of each.
        self.next = list(self.weights)
        self.random.shuffle(self.next)

    def run(self):
        while not self.is_over.wait(self.random.uniform(0.2, 3)):
            if not self.next:
                self.next = self.random.choices(list(self.weights), list(self.weights.values()))
            what = self.next.pop()
            begin = time.time()
            self.strike(what)
            self.bridges.wait_ready()
            self.strokes.append((begin, time.time()))
            self.counts[what] += 1

    def strike(self, what):
        victim = self.random.choice(self.bridges.members)
        if what == KILL:
            self.bridges.kill(victim)
            # Sometimes while it is starting, too.
            if self.random.random() < 0.3:
                time.sleep(self.random.uniform(0, 0.5))
                self.bridges.kill(victim)
        elif what == KILL_ALL:
            for bridge in self.bridges.members:
                self.bridges.kill(bridge)
        elif what == TERM:
            self.bridges.terminate(victim)
        elif what == STOP:
            victim.process.send_signal(signal.SIGSTOP)
            # Not cut short at the end: a half stop proves nothing.
            time.sleep(STOP_SECONDS)
            victim.process.send_signal(signal.SIGCONT)
        else:
            self.take_store_away(victim)

    def take_store_away(self, victim):
        self.bridges.is_excused = True
        try:
            self.store.take_away()
            time.sleep(self.random.uniform(*self.store.away_seconds))
            # Whoever comes up now finds it so.
            if self.random.random() < 0.5:
                self.bridges.kill(victim)
                time.sleep(self.random.uniform(1, 3))
        finally:
            self.store.give_back()
        self.bridges.wait_ready()
        self.bridges.is_excused = False
