"""What a next look may say: seeds not trained yet are drawn from what the rule expects of them, and judged by it.

The values of further seeds follow the predictive distribution that the verdict's own rule implies: the mean of our
runs, their moderated standard deviation s* with its degrees of freedom, and a true mean that is not known. The rule is
the judge's own, asked with a pool in which drawn runs stand beside ours. Draws are seeded by the claim and the look,
and rest on the seeds of its last look: what lies between two looks is not looked at.
"""

import hashlib
from collections.abc import Callable, Iterator
from math import sqrt
from typing import Any

import numpy as np

from repro.judge import compared, statistics
from repro.judge.deciding import ENOUGH_PAIRS
from repro.judge.measured import measured
from repro.judge.records import Pool, means, number
from repro.judge.rows import ENOUGH_RUNS, Row
from repro.judge.worth_looks import Standing, firm
from repro.judge.worth_supposed import Supposed, Values
from repro.record import RunRecord
from repro.spec.schema import Claim

#: how many next looks are drawn
DRAWS = 200
#: kinds of one number a seed, and the judge's function of each; the others are too intricate to draw
RULES: dict[str, Callable[[Pool, Any], Row]] = {
    "point": measured, "loss": measured, "order": compared.order, "trend": compared.trend,
}  # fmt: skip
#: seeds that the rule of an intricate kind needs to say anything
NEEDED = {
    "convergence": ENOUGH_PAIRS, "band": ENOUGH_RUNS, "trajectory": ENOUGH_RUNS, "confusion": ENOUGH_PAIRS,
}  # fmt: skip


class Chances:
    """The chances that next looks change words. What was drawn is kept: it rests on values and their spread only."""

    def __init__(self, draws: int = DRAWS):
        self.draws = draws
        self.known: dict[Any, float] = {}

    def of(self, pool: Pool, claim: Claim, found: Standing, look: int) -> float:
        """Return the probability that a look's word is another one than today's; a provisional word is none yet.

        1 before the first look, which gives a claim its first verdict. Kinds too intricate to draw: 1 where the look
        brings the seeds that their rule needs, else 0. 0 where a run has no such value: that leaves the claim open.
        """
        if not found.looked:
            return 1.0
        if claim.kind not in RULES:
            return float(len(found.looked) < NEEDED[claim.kind] <= look)
        values = values_of(pool, claim, found)
        if values is None:
            return 0.0
        today = Supposed(pool, values, getattr(claim, "fold", None))
        RULES[claim.kind](today, claim)  # which asks for the spread that it expects
        each = tuple(tuple(values[name].items()) for name in found.experiments)
        name = (pool.report.id, claim.id, look, found.decided, today.expected, each)
        if name not in self.known:
            now = found.word if found.decided else "inconclusive"
            rows = (RULES[claim.kind](supposed, claim) for supposed in self._looks(today, values, claim, look))
            words = [row.verdict.word if row.verdict and firm(row) else "inconclusive" for row in rows]
            self.known[name] = sum(word != now for word in words) / self.draws
        return self.known[name]

    def _looks(self, today: Supposed, values: Values, claim: Any, look: int) -> Iterator[Supposed]:
        """Yield pools in which every experiment has drawn seeds beside those that are there, a draw each."""
        first = next(iter(values.values()))
        name = f"{today.report.id}/{claim.id}/{look}".encode()
        rng = np.random.default_rng(int.from_bytes(hashlib.sha256(name).digest()[:8]))
        drawn = further(values, today.expected, (self.draws, look - len(first)), rng)
        for i in range(self.draws):
            new = {name: dict(enumerate(drawn[name][i].tolist(), max(first) + 1)) for name in values}
            yield Supposed(today.real, {name: {**each, **new[name]} for name, each in values.items()}, today.fold)


def values_of(pool: Pool, claim: Any, found: Standing) -> Values | None:
    """Return the value of each experiment and seed of the last look; None where a run has none."""
    epoch, values = getattr(claim, "epoch", None), {}

    def read(record: RunRecord) -> float | None:
        return number(record.value(claim.protocol, claim.metric, epoch))

    for name in found.experiments:
        groups = pool.groups(name, getattr(claim, "fold", None))
        each = means({seed: groups[seed] for seed in found.looked}, read)
        if len(each) < len(found.looked):
            return None
        values[name] = {seed: float(value) for seed, value in each.items()}
    return values


def further(
    values: Values, prior: float | None, shape: tuple[int, int], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Return by experiment the values of further seeds, in `shape` (draws, seeds).

    Of two experiments the differences of a seed are drawn, as their rule sees them, and the sums beside them: where
    both spread alike, the two do not depend on each other. Of more experiments each is drawn by itself.
    """
    arms = {name: np.array(list(each.values())) for name, each in values.items()}
    if len(arms) != 2:
        return {name: predictive(x, prior, shape, rng) for name, x in arms.items()}
    (one, a), (other, b) = arms.items()
    wide = None if prior is None else sqrt(2) * prior
    gaps, sums = (predictive(x, wide, shape, rng) for x in (a - b, a + b))
    return {one: (sums + gaps) / 2, other: (sums - gaps) / 2}


def predictive(values: np.ndarray, prior: float | None, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Draw the values of further runs, in `shape` (draws, runs), given those of two or more; of one with a prior."""
    spread = statistics.moderated(values.tolist(), prior)
    assert spread is not None  # the first look has three runs
    sd = spread.sd * np.sqrt(spread.nu / rng.chisquare(spread.nu, (shape[0], 1)))
    mean = values.mean() + sd / sqrt(len(values)) * rng.standard_normal((shape[0], 1))
    return np.asarray(mean + sd * rng.standard_normal(shape))
