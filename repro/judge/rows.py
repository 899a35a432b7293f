"""What the judge hands out: a claim beside what we have, in plain numbers and words."""

from dataclasses import dataclass, replace
from typing import Any

from repro.spec.schema import Claim, Report

#: fewer runs than this say little about spread: the row is marked provisional
ENOUGH_RUNS = 3


@dataclass(frozen=True)
class OrderSpread:
    """One run's value over random orders of the test images, in percent.

    For `last_batch` it is exact (hypergeometric): `counts` are the hits of `n` that print as the published
    value, `chance` their probability, `low` and `high` the hits between which 95 % of the orders fall.
    `official_pct` is the value in the data set's official order, None where that order is unknown.
    """

    mean_pct: float
    sd_pct: float
    official_pct: float | None
    n: int | None = None
    correct: int | None = None
    total: int | None = None
    counts: tuple[int, ...] = ()
    chance: float | None = None
    low: int | None = None
    high: int | None = None


@dataclass(frozen=True)
class RunValue:
    """What one run says to one claim; `declared`: whether that stood before the run (yes | rules N | no | unknown)."""

    run_key: str
    seed: int
    fold: int | None
    state: str
    value: float | None
    declared: str
    order: OrderSpread | None = None


@dataclass(frozen=True)
class Verdict:
    """What the rules say of a claim, with the numbers it rests on; None where a kind has no such number.

    `word` is one of `WORDS`, and `why` says in a sentence what decided. `d` is ours minus published, or the compared
    value itself (a difference, the logarithm of a ratio); `low` and `high` are its 90 % interval, `low95` and `high95`
    its 95 % one; `margin` the distance that still counts as the same. `s` is the runs' own standard deviation,
    `s_star` the moderated one with `nu` degrees of freedom, `se` the standard error of d. `agreement` is the
    probability that the true difference lies within the margin. `attained`: whether the recipe gets at least the
    published number. `allowance` names what a choice among several runs would explain. `p` is the one-sided
    probability behind a negative word, `q` the same after Benjamini and Hochberg over the report.
    `unstable`: the runs spread more than the prior allows. `provisional`: too few runs for the rule's error rates.
    `swing`: of a provisional one, how far an epoch's accuracy jumps about its neighbours (`repro.judge.swing`);
    `at_swing`: the word if runs spread as much, where that is another one.
    """

    word: str
    why: str = ""
    d: float | None = None
    low: float | None = None
    high: float | None = None
    low95: float | None = None
    high95: float | None = None
    margin: float | None = None
    n: int = 0
    s: float | None = None
    s_star: float | None = None
    nu: float | None = None
    se: float | None = None
    agreement: float | None = None
    attained: bool | None = None
    allowance: str = ""
    swing: float | None = None
    at_swing: str = ""
    p: float | None = None
    q: float | None = None
    unstable: bool = False
    provisional: bool = False
    environment: str = ""

    @property
    def negative(self) -> bool:
        """Whether it says that the claim does not hold."""
        return self.word in NEGATIVE


def left_open(verdict: Verdict, why: str) -> Verdict:
    """Return a verdict that a missing value leaves open: its numbers are of the other runs, and nothing follows."""
    verdict = replace(verdict, agreement=None, attained=None, allowance="", at_swing="", p=None)
    return replace(verdict, word="inconclusive", why=why)


#: every word a verdict can have, best first
WORDS = (
    "reproduced", "equal", "supported", "exceeded", "supported, smaller", "mixed", "inconclusive", "no effect",
    "fell short", "not reproduced", "not equal", "reversed", "not supported", "not run", "not testable", "not judged",
)  # fmt: skip
POSITIVE = ("reproduced", "equal", "supported", "supported, smaller", "exceeded")
NEGATIVE = ("fell short", "not reproduced", "not equal", "reversed", "not supported", "no effect")


@dataclass(frozen=True)
class Row:
    """A claim beside what we have: `state` in words, `reason` where there is no value, numbers where there are.

    `state`: measured | not run | not measured | equal | not equal | not testable | explanation | conjecture.
    `published` is the printed number, `reference` the number it stands for (the middle of [91, 92) for 91 cut off),
    which `difference` is taken from. `ours` is the mean over seeds, the closed-form count, or for the kinds that
    compare: order, the mean difference; trend, Kendall's tau along the published direction; convergence and band, a
    ratio (slower to faster, wider to narrower); trajectory, the mean distance of our curve's points from theirs;
    confusion, the images that lie in other cells. `sd` needs two seeds. `what` says in words what is compared, and
    `details` what lies behind `ours`, both in a report's own prose with `short names`. `verdict`: what the rules
    say; of a smoke or quick run there is none.
    """

    report: str
    claim: str
    kind: str
    headline: bool
    where: str
    state: str
    reason: str = ""
    experiment: str | None = None
    experiments: tuple[str, ...] = ()
    protocol: str | None = None
    epoch: int | None = None
    metric: str | None = None
    published: float | None = None
    reference: float | None = None
    decimals: int = 0
    rounding: str = "nearest"
    ours: float | None = None
    sd: float | None = None
    difference: float | None = None
    n: int = 0
    declared: str = ""
    runs: tuple[RunValue, ...] = ()
    note: str = ""
    what: str = ""
    details: tuple[str, ...] = ()
    verdict: Verdict | None = None

    @property
    def provisional(self) -> bool:
        """Whether too few runs stand behind it to speak of spread: as its verdict says, where it has one."""
        if self.verdict is not None:
            return self.verdict.provisional
        return self.state == "measured" and self.n < ENOUGH_RUNS


#: states without a number of ours -> the verdict's word
_UNJUDGED = {"not run": "not run", "not measured": "not judged"}


def row(report: Report, claim: Claim, state: str, reason: str = "", **more: Any) -> Row:
    """Return a claim's row with what every claim has; `more` are further fields of `Row`."""
    more.setdefault("note", claim.note or "")
    if state in _UNJUDGED:
        more.setdefault("verdict", Verdict(_UNJUDGED[state], reason))
    return Row(report.id, claim.id, claim.kind, claim.headline, claim.where, state, reason, **more)
