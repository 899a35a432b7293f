"""Steps: the runs that complete the next looks of some claims, and which of them is the best.

A step is worth the probabilities, summed over the claims whose next look its runs complete, that the look's word is
another one than today's. Steps of headline claims come before all others; then the one worth most a minute is best.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from repro.spec.identity import Run


@dataclass(frozen=True)
class Look:
    """The next look of a claim: seeds now and then, the runs that it lacks, and the chance that its word changes.

    `chance` is None where it has not been drawn yet; `draw` returns the look with it, a later look of the claim where
    this one has no chance, and None where none has.
    """

    report: str
    claim: str
    headline: bool
    n: int
    seeds: int
    runs: tuple[Run, ...]
    chance: float | None = None
    draw: Callable[[], "Look | None"] | None = field(default=None, compare=False, repr=False)

    @property
    def at_most(self) -> float:
        """The chance, 1 where it is not known yet."""
        return 1.0 if self.chance is None else self.chance

    @property
    def keys(self) -> frozenset[str]:
        """The keys of the runs that it lacks."""
        return frozenset(run.key for run in self.runs)


@dataclass(frozen=True)
class Step:
    """Runs that complete the next look of some claims, in the order of their seeds, and the minutes they take."""

    runs: tuple[Run, ...]
    looks: tuple[Look, ...]
    minutes: float

    @property
    def worth(self) -> float:
        """How many words are expected to change, at most where a chance is not known yet."""
        return sum(look.at_most for look in self.looks)

    @property
    def headline(self) -> bool:
        """Whether its runs are just those that a headline claim's next look lacks."""
        keys = {run.key for run in self.runs}
        return any(look.headline and look.keys == keys for look in self.looks)

    @property
    def rank(self) -> tuple[bool, float, tuple[str, ...]]:
        """What steps are sorted by: headline claims, then the changes expected a minute; names settle the rest."""
        return not self.headline, -self.worth / max(self.minutes, 1e-9), tuple(run.name for run in self.runs)


def drawn(look: Look) -> Look | None:
    """Return a look with its chance, a later one of its claim in its place, or None where its claim is left open."""
    return look.draw() if look.chance is None and look.draw else look


def best(looks: Sequence[Look], minutes: Callable[[Run], float]) -> tuple[Step | None, list[Look]]:
    """Return the best step, None where there is none, and the looks with what was drawn to find it.

    Chances are drawn as they are needed: a step of known chances that is ahead of what the others are worth at most is
    the best one.
    """
    looks = list(looks)
    while made := steps(looks, minutes):
        open_ = {(look.report, look.claim) for look in made[0].looks if look.chance is None}
        if not open_:
            return made[0], looks
        settled = [drawn(look) if (look.report, look.claim) in open_ else look for look in looks]
        looks = [look for look in settled if look is not None]
    return None, looks


def steps(looks: Sequence[Look], minutes: Callable[[Run], float]) -> list[Step]:
    """Return the steps that some looks make, the best one first; a run shared by several claims counts for them all.

    `minutes` is what a run takes; only ratios matter.
    """
    live = [look for look in looks if look.runs]
    wanted = {(look.report, look.keys): look.runs for look in live}
    made = []
    for (report, keys), runs in wanted.items():
        reached = tuple(look for look in live if look.report == report and look.keys <= keys)
        made.append(Step(runs, reached, sum(map(minutes, runs))))
    return sorted(made, key=lambda step: step.rank)


def foreseen(looks: Sequence[Look], minutes: Callable[[Run], float]) -> Iterator[Step]:
    """Yield the steps one after another as if each were made and decided nothing: the next look of each claim.

    Runs of a step are not those of a later one, and a look is in the first step that completes it.
    """
    left = list(looks)
    while True:
        first, left = best(left, minutes)
        if first is None:
            return
        yield first
        done = {run.key for run in first.runs}
        reached = {(look.report, look.claim) for look in first.looks}
        open_ = [found for look in left if (look.report, look.claim) not in reached and (found := drawn(look))]
        left = [replace(look, runs=tuple(run for run in look.runs if run.key not in done)) for look in open_]
