"""From numbers to a verdict: points, losses, orders and trends. The rules are those of docs/verdicts.md."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import sqrt
from statistics import fmean
from typing import Any

import numpy as np

from repro.judge import statistics
from repro.judge.rows import ENOUGH_RUNS, NEGATIVE, POSITIVE, Verdict
from repro.judge.statistics import Interval, Spread

#: points within which a difference of two recipes is no effect
INDIFFERENT = 0.3
#: pairs of one seed that an order's exact tests need to be able to say anything
ENOUGH_PAIRS = 5
#: share of pairs of runs in which the better one has to be ahead
AHEAD = 0.75
#: the chance at which a trend counts
LEVEL = 0.05
#: half of a 90 % interval, in standard errors of a normal distribution
Z_90 = 1.6449
_POINT_WORDS = {"same": "reproduced", "above": "exceeded", "below": "fell short", "open": "inconclusive"}


def point(
    values: Sequence[float],
    published: float,
    half: float,
    prior: float,
    runs: float = 1,
    images: float = 0.0,
    limit: float | None = None,
    swing: float | None = None,
    own: float = 0.0,
) -> Verdict:
    """Judge an accuracy in percent: our runs' values beside a published number of half-width `half`.

    `prior` is the sd expected of these values; `runs` how many such values the published number is the mean of (of one
    network beside means over k: 1 / k); `images` the variance in points^2 where it rests on other images; `limit` a
    margin that replaces the rule's. `swing` is the sd in points of one epoch of few runs, which decides nothing, and
    `own` the variance in points^2 that each run's own images add to it.
    """
    spread = statistics.moderated(values, prior)
    assert spread is not None  # a prior is given
    limit = statistics.margin(published) if limit is None else limit
    n, d = len(values), fmean(values) - published

    def judged(spread: Spread) -> tuple[Interval, str]:
        found = statistics.interval(d, statistics.point_error(spread, n, runs, half, images), spread.nu)
        return found, _POINT_WORDS[statistics.equivalence(found, limit)]

    found, word = judged(spread)
    why = _point_why(word, found, limit)
    if word == "inconclusive" and (left := Z_90 * sqrt(images + half**2 / 3)) >= limit:
        why += f"; with any number of runs the published number's own images leave ±{left:.1f}"
    return Verdict(
        word, why, **_numbers(found, spread, n), margin=limit, p=found.below(),
        agreement=found.within(limit), attained=statistics.attained(values, spread, published, half),
        allowance=_allowance(word, found, spread.sd / sqrt(min(runs, 1)), limit), provisional=n < ENOUGH_RUNS,
        swing=swing, at_swing=_at_swing(word, spread, swing, judged, own),
    )  # fmt: skip


def _at_swing(
    word: str, spread: Spread, swing: float | None, judged: Callable[[Spread], tuple[Any, ...]], own: float = 0.0
) -> str:
    """Return the word if runs spread as much as one epoch of them swings; nothing where it says the same."""
    if swing is None or (wide := sqrt(swing**2 + own)) <= spread.sd:
        return ""
    other = str(judged(replace(spread, sd=wide))[1])
    # Of one that is supported, a wider spread may leave open whether by less.
    return "" if other.split(",")[0] == word.split(",")[0] else other


def _allowance(word: str, found: Interval, sd: float, limit: float) -> str:
    """Say whether a number that fell short would not have, had the published one been the best of five runs."""
    if word != "fell short":
        return ""
    shift = statistics.BEST_OF[5] * sd
    moved = statistics.interval(found.d + shift, found.se, found.nu)
    return "explainable by best-of-5" if statistics.equivalence(moved, limit) != "below" else ""


def _point_why(word: str, found: Interval, limit: float) -> str:
    if word == "reproduced":
        return f"the 90 % interval of the difference lies within ±{limit:g}"
    if word == "inconclusive":
        return f"the 90 % interval reaches beyond ±{limit:g} and the 95 % interval contains 0"
    side = "above" if found.d > 0 else "below"
    return f"the 95 % interval of the difference lies {side} 0, and the 90 % interval reaches beyond ±{limit:g}"


def loss(
    values: Sequence[float], published: float, half: float, runs: float = 1, limit: float | None = None
) -> Verdict:
    """Judge a loss, or another number without a prior: three runs, margin 10 % of the published number.

    A lower loss is a better one: `exceeded` is below the published number, `fell short` above it. `runs` as of a point.
    """
    n, limit = len(values), max(0.1 * abs(published), half) if limit is None else limit
    if n < ENOUGH_RUNS:
        d = fmean(values) - published
        why = f"a loss needs {ENOUGH_RUNS} runs: there is no prior for its spread"
        return Verdict("inconclusive", why, d=d, n=n, margin=limit, provisional=True)
    spread = statistics.moderated(values, None)
    assert spread is not None  # more than one value
    d = fmean(values) - published
    found = statistics.interval(d, statistics.point_error(spread, n, runs, half), spread.nu)
    word = {"same": "reproduced", "below": "exceeded", "above": "fell short"}.get(
        statistics.equivalence(found, limit), "inconclusive"
    )
    limit_shown = float(f"{limit:.3g}")
    return Verdict(
        word, _point_why(word, found, limit_shown), **_numbers(found, spread, n), margin=limit, p=1 - found.below(),
        agreement=found.within(limit),
    )  # fmt: skip


def order(
    higher: Sequence[float], lower: Sequence[float], prior: float | None, gap: float | None = None,
    indifferent: float | None = INDIFFERENT, swing: float | None = None,
) -> Verdict:  # fmt: skip
    """Judge that one experiment is above another; values of one seed beside each other, `prior` the sd of a run.

    `swing`: the sd in points of the difference of one epoch of each, which decides nothing.
    """
    gaps = [a - b for a, b in zip(higher, lower, strict=True)]
    n, d = len(gaps), fmean(gaps)
    spread = statistics.moderated(gaps, None if prior is None else sqrt(2) * prior)
    if spread is None or (prior is None and n < ENOUGH_RUNS):
        why = f"a difference of losses needs {ENOUGH_RUNS} seeds"
        return Verdict("inconclusive", why, d=d, n=n, provisional=True)
    ahead = statistics.superiority(higher, lower)

    def judged(spread: Spread) -> tuple[Interval, str, str]:
        found = statistics.interval(d, spread.sd / sqrt(n), spread.nu)
        return found, *_order_word(found, ahead, gap, indifferent)

    found, word, why = judged(spread)
    return Verdict(
        word, f"{why}; ahead in {100 * ahead:.0f} % of all pairs of runs", **_numbers(found, spread, n),
        margin=indifferent, p=found.below(), provisional=n < ENOUGH_PAIRS, swing=swing,
        at_swing=_at_swing(word, spread, swing, judged),
    )  # fmt: skip


def _order_word(found: Interval, ahead: float, gap: float | None, indifferent: float | None) -> tuple[str, str]:
    if found.low > 0 and ahead >= AHEAD:
        if gap is not None and found.high95 < gap / 2:
            return "supported, smaller", f"above 0, and below half of the published {gap:g}"
        return "supported", "the 90 % interval of the difference lies above 0"
    if found.high < 0:
        return "reversed", "the 90 % interval of the difference lies below 0"
    if indifferent is not None and -indifferent < found.low and found.high < indifferent:
        return "no effect", f"the 90 % interval lies within ±{indifferent:g} points"
    if found.low > 0:
        return "inconclusive", "the 90 % interval of the difference lies above 0, but the runs overlap"
    return "inconclusive", "the 90 % interval of the difference contains 0"


def trend(table: np.ndarray, prior: float | None, indifferent: float | None = INDIFFERENT) -> Verdict:
    """Judge that values rise from column to column; rows are seeds. Page's test, and no step that is reversed.

    A trend with one reversed step is `mixed`: the values rise on the whole, but not from each to the next. One of two
    columns is an order.
    """
    n = len(table)
    if table.shape[1] < 3:
        return order(table[:, 1].tolist(), table[:, 0].tolist(), prior, indifferent=indifferent)
    if n < 2:
        return Verdict("inconclusive", "a trend needs two seeds at least", n=n, provisional=True)
    from scipy.stats import page_trend_test  # a second that few claims need

    rising, falling = (float(page_trend_test(side).pvalue) for side in (table, table[:, ::-1]))
    steps = [order(table[:, i + 1].tolist(), table[:, i].tolist(), prior) for i in range(table.shape[1] - 1)]
    back = sum(step.word == "reversed" for step in steps)
    more: dict[str, Any] = {"n": n, "p": falling, "provisional": n < ENOUGH_PAIRS}
    if rising <= LEVEL:
        if back:
            return Verdict("mixed", f"Page's test p = {rising:.3g}, but {back} of {len(steps)} steps reversed", **more)
        return Verdict("supported", f"Page's test p = {rising:.3g}, no step reversed", **more)
    if falling <= LEVEL:
        return Verdict("reversed", f"Page's test against it p = {falling:.3g}", **more)
    return Verdict("inconclusive", f"Page's test p = {rising:.3g} for it, {falling:.3g} against it", **more)


def qualitative(words: dict[str, str], primary: str) -> Verdict:
    """Judge a sentence by the verdicts of what indicates it: name -> word, the primary one among them."""
    first, rest = words[primary], [word for name, word in words.items() if name != primary]
    against = [word for word in rest if word in NEGATIVE and word != "no effect"]
    good = sum(word in POSITIVE for word in rest)
    said = f"primary {first}; {good} of {len(rest)} others for it, {len(against)} against it"
    if first in POSITIVE and against:
        return Verdict("mixed", said)
    if first in POSITIVE and 2 * good >= len(rest):
        return Verdict("supported", said)
    if first in NEGATIVE:
        return Verdict("not supported", said)
    return Verdict(first if first in ("not run", "not judged") else "inconclusive", said)


def _numbers(found: Interval, spread: Spread, n: int) -> dict[str, Any]:
    return {
        "d": found.d, "low": found.low, "high": found.high, "low95": found.low95, "high95": found.high95, "n": n,
        "s": spread.own, "s_star": spread.sd, "nu": spread.nu, "se": found.se, "unstable": spread.unstable,
    }  # fmt: skip
