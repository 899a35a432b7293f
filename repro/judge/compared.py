"""Claims that compare experiments by one number each: order, trend; and sentences that other claims indicate."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from math import hypot
from statistics import fmean, stdev
from typing import Any

import numpy as np

from repro.judge import deciding, statistics
from repro.judge.recipes import beside, differing
from repro.judge.records import Groups, Pool, environment, left_out, means, number, together
from repro.judge.rows import Row, Verdict, left_open, row
from repro.judge.swing import swing
from repro.record import RunRecord
from repro.spec.claims import experiments_of
from repro.spec.identity import folds_of
from repro.spec.recipe import Recipe
from repro.spec.schema import OrderClaim, QualitativeClaim, TrendClaim


def order(pool: Pool, claim: OrderClaim) -> Row:
    """State by how much `higher` is above `lower`: mean and spread of the differences of runs of one seed."""
    given = _given(claim, f"`{claim.higher}` above `{claim.lower}`")
    given |= {"published": claim.gap, "reference": claim.gap, "decimals": claim.decimals}
    groups = {name: pool.groups(name) for name in (claim.higher, claim.lower)}
    if lacking := pool.lacking(groups):
        return row(pool.report, claim, "not run", lacking, **given)
    high, low = (means(found, _reader(claim)) for found in groups.values())
    seeds = sorted(high.keys() & low.keys())
    if not seeds:
        return row(pool.report, claim, "not measured", "no seed has this value in both experiments", **given)
    gaps = {seed: high[seed] - low[seed] for seed in seeds}
    sides = {name: [values[seed] for seed in seeds] for name, values in zip(groups, (high, low), strict=True)}
    given |= {"details": (_averages(sides, claim.metric),)}
    if claim.gap is not None:
        given["difference"] = fmean(gaps.values()) - claim.gap
    above, below = sides.values()
    rule = _rule(pool, claim, [*above, *below], claim.gap)
    verdict = deciding.order(above, below, *rule, _swing(pool, claim, groups, seeds))
    given["verdict"] = _confounded(pool, claim, verdict)
    return stated(pool, claim, groups, gaps, **given)


def _swing(pool: Pool, claim: OrderClaim, groups: Mapping[str, Groups], seeds: Sequence[int]) -> float | None:
    """Return how far the difference of two runs swings from epoch to epoch, in points; None of a loss or many runs."""
    if claim.metric != "acc_pct" or len(seeds) >= deciding.ENOUGH_PAIRS or pool.profile != "full":
        return None
    sides = [
        swing({seed: found[seed] for seed in seeds}, pool.report.experiments[name].recipe, claim.protocol)
        for name, found in groups.items()
    ]
    return None if None in sides else hypot(*(side for side in sides if side is not None))


def _confounded(pool: Pool, claim: OrderClaim | TrendClaim, verdict: Verdict) -> Verdict:
    """Return the verdict; `not testable` where the rows differ in more than the factor that the text names."""
    recipes = [pool.report.experiments[name].recipe for name in experiments_of(claim)]
    keys = beside(differing(recipes), claim.factor) if claim.factor else ()
    if not keys:
        return verdict
    others = ", ".join(f"`{key}`" for key in keys[:4]) + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")
    why = f"the rows differ in {others} as well; between these runs: {verdict.word}, {verdict.why}"
    return replace(verdict, word="not testable", why=why, at_swing="")


def _rule(
    pool: Pool, claim: OrderClaim | TrendClaim, values: list[float], gap: float | None = None
) -> tuple[float | None, float | None, float | None]:
    """Return what an order is judged by: the prior sd of a run, the published gap, the indifference; none of a loss."""
    if claim.metric != "acc_pct":
        return None, gap, None
    recipes = [pool.report.experiments[name].recipe for name in experiments_of(claim)]
    images = min(images_of(recipe, claim.protocol) for recipe in recipes)
    networks = min(len(folds_of(recipe)) for recipe in recipes)
    return pool.prior(statistics.jordan_sd(fmean(values), images), networks), gap, deciding.INDIFFERENT


def images_of(recipe: Recipe, protocol: str) -> int:
    """Return how many images an accuracy is over."""
    if protocol == "train_running":
        return recipe.data.split.train
    return recipe.data.split.val if protocol in ("val", "val_augmented") else statistics.N_TEST


def trend(pool: Pool, claim: TrendClaim) -> Row:
    """State Kendall's tau of the experiments' means along the published direction: 1 where every pair agrees.

    `n` is the smallest number of seeds behind one of the means.
    """
    names = ", ".join(f"`{name}`" for name in claim.experiments)
    given = _given(claim, f"{claim.direction} along {names}")
    groups = {name: pool.groups(name) for name in claim.experiments}
    if lacking := pool.lacking(groups):
        return row(pool.report, claim, "not run", lacking, **given)
    values = {name: means(found, _reader(claim)) for name, found in groups.items()}
    if without := [f"`{name}`" for name, found in values.items() if not found]:
        return row(pool.report, claim, "not measured", f"no such value in {', '.join(without)}", **given)
    tau = _tau([fmean(found.values()) for found in values.values()]) * (1 if claim.direction == "rising" else -1)
    given |= {"n": min(map(len, values.values()))}
    given |= {"details": (_averages({name: list(found.values()) for name, found in values.items()}, claim.metric),)}
    seeds = dict.fromkeys((seed for found in values.values() for seed in found), tau)
    verdict = _of_all(_trend(pool, claim, list(values.values())), _everywhere(groups), _everywhere(values))
    given["verdict"] = _confounded(pool, claim, verdict)
    return stated(pool, claim, groups, seeds, lambda _: tau, **given)


def _trend(pool: Pool, claim: TrendClaim, values: list[dict[int, Any]]) -> Verdict:
    """Judge the trend over the seeds that every experiment has."""
    seeds = sorted(set.intersection(*(set(found) for found in values)))
    if not seeds:
        return Verdict("inconclusive", "no seed has this value in every experiment", provisional=True)
    table = np.array([[float(found[seed]) for found in values] for seed in seeds])
    prior, _, indifferent = _rule(pool, claim, table.ravel().tolist())
    return deciding.trend(table if claim.direction == "rising" else table[:, ::-1], prior, indifferent)


def _tau(ours: list[float]) -> float:
    from scipy.stats import kendalltau  # a second that few claims need

    return number(float(kendalltau(range(len(ours)), ours).statistic)) or 0.0  # NaN where all are equal: no order


def qualitative(pool: Pool, claim: QualitativeClaim, judge: Callable[[Any], Row]) -> Row:
    """List the states of what indicates a sentence; its own state and n are the primary indicator's."""
    claims = {other.id: other for other in pool.report.claims}
    rows = {name: judge(claims[name]) for name in claim.indicators}
    first = rows[claim.primary]
    details = tuple(_indicated(found, name == claim.primary) for name, found in rows.items())
    words = {name: found.verdict.word if found.verdict else "not run" for name, found in rows.items()}
    verdict = deciding.qualitative(words, claim.primary)
    verdict = replace(verdict, provisional=first.verdict is not None and first.verdict.provisional)
    return row(
        pool.report, claim, first.state, first.reason, what=claim.text, n=first.n, declared=first.declared,
        details=details, verdict=verdict if pool.profile == "full" else None,
    )  # fmt: skip


def _indicated(found: Row, primary: bool) -> str:
    said = found.verdict.word if found.verdict else found.state
    words = f"`{found.claim}`{' (primary)' if primary else ''}: {said}"
    return words + (f" ({found.reason})" if found.reason and found.ours is None else "")


def stated(
    pool: Pool, claim: Any, groups: Mapping[str, Groups], values: Mapping[int, float], mean: Any = fmean, **more: Any
) -> Row:
    """Return the row of a value a seed: its mean, and its spread where the mean is the usual one.

    It says which seeds with runs are left out, and whether the claim was declared before every run there is. A seed
    whose runs are all there and that has no value, as where one diverged, leaves the verdict open.
    """
    each = [float(value) for value in values.values()]
    records = [r for found in groups.values() for group in found.values() for r in group]
    numbers = {"ours": mean(each), "n": len(each), "sd": stdev(each) if len(each) > 1 and mean is fmean else None}
    said = together(pool.declared(claim, records))
    verdict: Verdict | None = more.pop("verdict", None)
    if verdict is not None and pool.profile == "full":
        more["verdict"] = replace(_of_all(verdict, _everywhere(groups), values), environment=environment(records))
    return row(pool.report, claim, "measured", left_out(groups.values(), values), **numbers | {"declared": said} | more)


def _everywhere(found: Mapping[str, Collection[int]]) -> set[int]:
    """Return the seeds that every experiment has."""
    return set.intersection(*map(set, found.values()))


def _of_all(verdict: Verdict, there: Collection[int], values: Collection[int]) -> Verdict:
    """Return the verdict; `inconclusive` where it is one of those seeds only that came to a value."""
    lost = [seed for seed in there if seed not in values]
    if not lost or verdict.word in ("inconclusive", "not judged", "not testable"):
        return verdict
    why = f"{len(lost)} of {len(there)} seeds have no such value; of the others: {verdict.word}, {verdict.why}"
    return left_open(verdict, why)


def _given(claim: OrderClaim | TrendClaim, what: str) -> dict[str, Any]:
    return {"experiments": experiments_of(claim), "what": what, "metric": claim.metric, "protocol": claim.protocol}


def _reader(claim: OrderClaim | TrendClaim) -> Callable[[RunRecord], float | None]:
    return lambda record: number(record.value(claim.protocol, claim.metric))


def _averages(sides: Mapping[str, list[float]], metric: str) -> str:
    unit, digits = (" %", 2) if metric.endswith("_pct") else ("", 3)
    parts = (f"`{name}` {fmean(values):.{digits}f}{unit} (n = {len(values)})" for name, values in sides.items())
    return "on average " + ", ".join(parts)
