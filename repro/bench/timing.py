"""Two ways of doing one thing, timed in turn: what disturbs one disturbs the other, and their ratio stays."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from statistics import median

#: one pass of an arm; passes count from 1, so that each can have draws of its own
Arm = Callable[[int], object]
#: seconds that a timing lasts at least: a short pass is made several times
LEAST = 0.1


@dataclass(frozen=True)
class Timed:
    """Seconds a pass of two arms; the i-th of both were measured one right after the other."""

    ours: list[float]
    theirs: list[float]

    @property
    def ratio(self) -> float:
        """How many times as fast ours is: the median over the pairs."""
        return median(self.ratios)

    @property
    def spread(self) -> tuple[float, float]:
        """The lowest and the highest ratio of a pair."""
        return min(self.ratios), max(self.ratios)

    @property
    def ratios(self) -> list[float]:
        """Theirs over ours, pair by pair."""
        return [theirs / ours for ours, theirs in zip(self.ours, self.theirs, strict=True)]


def interleaved(
    ours: Arm, theirs: Arm, repeats: int, least: float = LEAST, clock: Callable[[], float] = time.thread_time
) -> Timed:
    """Time two arms in turn, `repeats` times each, after a pass of each that is not counted.

    The clock is this thread's CPU time: what other processes take of the core does not count, and neither arm waits.
    """
    watches = [_Watch(arm, least, clock) for arm in (ours, theirs)]
    pairs = [[watch.time() for watch in watches] for _ in range(repeats)]
    return Timed([pair[0] for pair in pairs], [pair[1] for pair in pairs])


class _Watch:
    """One arm: how many passes a timing takes, and how many it has made."""

    def __init__(self, arm: Arm, least: float, clock: Callable[[], float]):
        self.arm, self.clock, self.made, self.passes = arm, clock, 0, 1
        self.time()  # tables and memory of a first pass
        self.passes = max(1, ceil(least / max(self.time(), 1e-9)))

    def time(self) -> float:
        start = self.clock()
        for _ in range(self.passes):
            self.made += 1
            self.arm(self.made)
        return (self.clock() - start) / self.passes
