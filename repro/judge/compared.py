"""Claims that compare experiments by one number each: order, trend, time; and sentences that other claims indicate."""

from collections.abc import Callable, Mapping
from statistics import fmean, stdev
from typing import Any

from scipy.stats import kendalltau

from repro.judge.records import Groups, Pool, left_out, means, number, together
from repro.judge.rows import Row, row
from repro.record import RunRecord
from repro.spec.claims import experiments_of
from repro.spec.schema import OrderClaim, QualitativeClaim, TimeClaim, TrendClaim


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
    return stated(pool, claim, groups, gaps, **given)


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
    return stated(pool, claim, groups, seeds, lambda _: tau, **given)


def _tau(ours: list[float]) -> float:
    return number(float(kendalltau(range(len(ours)), ours).statistic)) or 0.0  # NaN where all are equal: no order


def time(pool: Pool, claim: TimeClaim) -> Row:
    """State that records say nothing of it: machines differ, and runs share them."""
    return row(
        pool.report, claim, "not measured", "times are compared side by side on one device, never from records",
        experiments=experiments_of(claim), what=f"`{claim.shorter}` in less time than `{claim.longer}`",
        published=claim.ratio, reference=claim.ratio, decimals=claim.decimals,
    )  # fmt: skip


def qualitative(pool: Pool, claim: QualitativeClaim, judge: Callable[[Any], Row]) -> Row:
    """List the states of what indicates a sentence; its own state and n are the primary indicator's."""
    claims = {other.id: other for other in pool.report.claims}
    rows = {name: judge(claims[name]) for name in claim.indicators}
    first = rows[claim.primary]
    details = tuple(_indicated(found, name == claim.primary) for name, found in rows.items())
    return row(
        pool.report, claim, first.state, first.reason, what=claim.text, n=first.n, declared=first.declared,
        details=details,
    )  # fmt: skip


def _indicated(found: Row, primary: bool) -> str:
    words = f"`{found.claim}`{' (primary)' if primary else ''}: {found.state}"
    return words + (f" ({found.reason})" if found.reason and found.ours is None else "")


def stated(
    pool: Pool, claim: Any, groups: Mapping[str, Groups], values: Mapping[int, float], mean: Any = fmean, **more: Any
) -> Row:
    """Return the row of a value a seed: its mean, and its spread where the mean is the usual one.

    It says which seeds with runs are left out, and whether the claim was declared before every run there is.
    """
    each = [float(value) for value in values.values()]
    records = [r for found in groups.values() for group in found.values() for r in group]
    numbers = {"ours": mean(each), "n": len(each), "sd": stdev(each) if len(each) > 1 and mean is fmean else None}
    said = together(pool.declared(claim, records))
    return row(pool.report, claim, "measured", left_out(groups.values(), values), **numbers | {"declared": said} | more)


def _given(claim: OrderClaim | TrendClaim, what: str) -> dict[str, Any]:
    return {"experiments": experiments_of(claim), "what": what, "metric": claim.metric, "protocol": claim.protocol}


def _reader(claim: OrderClaim | TrendClaim) -> Callable[[RunRecord], float | None]:
    return lambda record: number(record.value(claim.protocol, claim.metric))


def _averages(sides: Mapping[str, list[float]], metric: str) -> str:
    unit, digits = (" %", 2) if metric.endswith("_pct") else ("", 3)
    parts = (f"`{name}` {fmean(values):.{digits}f}{unit} (n = {len(values)})" for name, values in sides.items())
    return "on average " + ", ".join(parts)
