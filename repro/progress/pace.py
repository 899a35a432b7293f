"""Time left, from the work that is done: a span is what remains times what a unit of work has taken so far."""

import time
from collections.abc import Callable, Mapping

Clock = Callable[[], float]


def span(seconds: float) -> str:
    """Return a length of time in the two units a person would use: `40 s`, `12 min`, `5 h 20 min`, `3 days 4 h`."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(minutes / 60)
    return f"{hours // 24} days {hours % 24} h"


class Pace:
    """The share of some work that is done, and the seconds that the rest will take; set-up before it does not count."""

    def __init__(self, clock: Clock = time.monotonic):
        self.clock, self.share = clock, 0.0
        self.first: tuple[float, float] | None = None  # when work was first seen, and the share that was done then

    def reach(self, share: float) -> None:
        """Note that this share of the work, 0 to 1, is done."""
        self.first = self.first or (self.clock(), share)
        self.share = share

    def left(self) -> float | None:
        """Return the seconds left, None before two shares tell how fast it goes."""
        if self.first is None or self.share <= self.first[1]:
            return None
        began, before = self.first
        return (1 - self.share) * (self.clock() - began) / (self.share - before)


class SuitePace:
    """The same over several runs, each with its own amount of work; `seconds` says that the amounts are seconds."""

    def __init__(
        self, work: Mapping[str, float], seconds: bool = False, workers: int = 1, clock: Clock = time.monotonic
    ):
        self.work, self.seconds, self.workers, self.clock = dict(work), seconds, workers, clock
        self.shares, self.closed = dict.fromkeys(self.work, 0.0), set[str]()
        self.first: tuple[float, float] | None = None  # when work was first seen, and how much was done then

    def reach(self, key: str, share: float) -> None:
        """Note that this share of a run is done."""
        if key in self.shares:
            self.shares[key] = share
            self.first = self.first or (self.clock(), self._trained())

    def close(self, key: str) -> None:
        """Expect nothing more of a run, be it done or not."""
        self.closed.add(key)

    @property
    def done(self) -> float:
        """The share of all work that is done or given up."""
        total = sum(self.work.values())
        return 1 - self._remaining() / total if total else 1.0

    def left(self) -> float | None:
        """Return the seconds left: by the work done so far, before that as forecast; None where neither tells."""
        began, before = self.first or (0.0, 0.0)
        if (trained := self._trained()) > before:
            return self._remaining() * (self.clock() - began) / (trained - before)
        return self._remaining() / self.workers if self.seconds else None

    def _trained(self) -> float:
        return sum(self.work[key] * share for key, share in self.shares.items())

    def _remaining(self) -> float:
        return sum(self.work[key] * (1 - self.shares[key]) for key in self.work.keys() - self.closed)
