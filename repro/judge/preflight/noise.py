"""Printed gaps beside the spread of single runs, and numbers that stand in several tables."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import pi, sqrt

import numpy as np
from scipy.special import ndtr

from repro.judge.preflight.finding import Finding, measured, names, shown, tables_of
from repro.judge.printed import half_unit
from repro.judge.statistics import jordan_sd, least_difference
from repro.spec.schema import MeasuredClaim, OrderClaim, Report


def order_probability(values: Sequence[float], sd: float) -> float:
    """Return the probability that the true means stand in the order of single runs' values.

    The means given the values are normal about them with `sd`, before anything else is known of them.
    """
    ranked = sorted(values)
    grid = np.linspace(ranked[0] - 8 * sd, ranked[-1] + 8 * sd, 8001)
    step = grid[1] - grid[0]
    below = ndtr((grid - ranked[0]) / sd)  # chance that the lowest is below each point
    for value in ranked[1:]:
        flow = np.exp(-(((grid - value) / sd) ** 2) / 2) / (sd * sqrt(2 * pi)) * below
        below = np.concatenate([[0.0], np.cumsum((flow[1:] + flow[:-1]) / 2) * step])
    return float(below[-1])


def noise_floor(report: Report) -> Iterator[Finding]:
    """Yield a finding for each group of rows whose printed gaps are below what two single runs differ by chance."""
    pairs: dict[tuple[float, float], list[str]] = {}
    for claim in report.claims:
        if isinstance(claim, OrderClaim) and claim.gap is not None and claim.metric == "acc_pct":
            found = _pair(report, claim)
            if found and claim.gap < least_difference(sum(found) / 2):
                pairs.setdefault(found, []).append(claim.id)
    for group in _groups(list(pairs)):
        ids = tuple(name for pair, found in pairs.items() if pair[0] in group for name in found)
        yield _floor(report, sorted(group), ids)


def _pair(report: Report, claim: OrderClaim) -> tuple[float, float] | None:
    """Return the printed values, higher and lower, whose difference is the claim's gap."""
    values = [
        [c.value for c in measured(report) if c.experiment == name and c.protocol == claim.protocol]
        for name in (claim.higher, claim.lower)
    ]
    half, gap = half_unit(claim.decimals), claim.gap or 0
    fits = [(high, low) for high in values[0] for low in values[1] if abs(high - low - gap) < half]
    return fits[0] if fits else None


def _groups(pairs: list[tuple[float, float]]) -> list[set[float]]:
    """Join pairs that share a value."""
    groups: list[set[float]] = []
    for pair in pairs:
        met = [group for group in groups if group & set(pair)]
        groups = [group for group in groups if group not in met] + [set(pair).union(*met)]
    return groups


def _floor(report: Report, values: list[float], ids: tuple[str, ...]) -> Finding:
    mean = sum(values) / len(values)
    sd, least = jordan_sd(mean), least_difference(mean)
    chance = order_probability(values, sd)
    low, high = values[0], values[-1]
    numbers: dict[str, float | int | str] = {
        "least_difference": least, "run_sd": sd, "widest_gap": high - low, "order_probability": chance,
        "values": ", ".join(f"{value:.2f}" for value in values),
    }  # fmt: skip
    pairs = []
    for one, other in pairwise(values):
        p = float(ndtr((other - one) / (sqrt(2) * sd)))
        numbers[f"p_{other:.2f}_over_{one:.2f}"] = p
        pairs.append(f"{other:.2f} over {one:.2f} {p:.2f}")
    if len(values) > 2:
        p = float(ndtr((high - low) / (sqrt(2) * sd)))
        numbers[f"p_{high:.2f}_over_{low:.2f}"] = p
        pairs.append(f"{high:.2f} over {low:.2f} {p:.2f}")
    text = (
        f"{', '.join(f'{value:.2f}' for value in values)} % ({names(ids)}) differ by at most {high - low:.2f} points; "
        f"two single runs of one recipe differ by up to {least:.2f} points in 19 of 20 cases, if they have converged "
        f"({sd:.2f} is then the spread of one run; before, it is wider). The probability that the true order is the "
        f"printed one is then {chance:.2f}" + (f"; pair by pair: {', '.join(pairs)}." if len(values) > 2 else ".")
    )
    return Finding(
        report.id, f"noise-floor-{low:.2f}".replace(".", "-"), "noise_floor",
        "Printed gaps are below the spread of single runs", text, numbers, ids,
    )  # fmt: skip


def reused(report: Report) -> Iterator[Finding]:
    """Yield a finding for each number of two decimals or more that stands in several tables."""
    claims = [c for metric in ("acc_pct", "loss") for c in measured(report, metric) if c.decimals >= 2 and tables_of(c)]
    for metric, value in dict.fromkeys((c.metric, c.value) for c in claims):
        of_it = [c for c in claims if (c.metric, c.value) == (metric, value)]
        tables = dict.fromkeys(table for c in of_it for table in tables_of(c))
        if len(tables) > 1:
            yield _reused(report, of_it, list(tables))


def _reused(report: Report, claims: list[MeasuredClaim], tables: list[str]) -> Finding:
    first = {table: next(c for c in claims if table in tables_of(c)) for table in tables}
    networks = list(dict.fromkeys(c.experiment for c in first.values() if c.experiment))
    what = ("The loss " if claims[0].kind == "loss" else "") + shown(claims[0])
    text = f"{what} stands in {', '.join(tables)}. "
    if len(networks) == 1:
        text += (
            f"That is consistent with one run, `{networks[0]}`, as a row of each: comparisons across these tables are "
            "not independent of each other."
        )
    else:
        text += f"It is given for {names(networks)}, which are trained differently."
    numbers: dict[str, float | int | str] = {
        "value": claims[0].value, "times": len(tables), "networks": len(networks), "tables": ", ".join(tables),
    }  # fmt: skip
    return Finding(
        report.id, f"reused-{claims[0].id}", "reused_value", "One number in several tables", text, numbers,
        tuple(c.id for c in claims),
    )  # fmt: skip
