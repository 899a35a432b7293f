"""Claims that one experiment reaches good values of a curve in fewer epochs than another."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import geometric_mean
from typing import Any

import numpy as np

from repro.judge import deciding_curves
from repro.judge.compared import stated
from repro.judge.curves import curve
from repro.judge.records import Pool, means
from repro.judge.rows import Row, row
from repro.spec.schema import ConvergenceClaim

#: accuracies in percent whose first epoch is asked, up to REACHED below the worse of the two ends
THRESHOLDS, REACHED = range(60, 100, 5), 2.0
#: losses are compared by their area under the first fifth of the epochs, at least so many
FIRST_EPOCHS = 5


@dataclass(frozen=True)
class Pair:
    """What one seed says: the ratio slower to faster, and what it is the mean of, (name, faster, slower) each."""

    ratio: float
    parts: tuple[tuple[str, float, float], ...]


def convergence(pool: Pool, claim: ConvergenceClaim) -> Row:
    """State how many times as many epochs the slower one takes: a geometric mean over thresholds and seeds."""
    given: dict[str, Any] = {"experiments": (claim.faster, claim.slower), "metric": claim.curve,
                             "what": f"`{claim.faster}` sooner than `{claim.slower}`"}  # fmt: skip
    groups = {name: pool.groups(name) for name in (claim.faster, claim.slower)}
    if lacking := pool.lacking(groups):
        return row(pool.report, claim, "not run", lacking, **given)
    fast, slow = (means(found, lambda record: curve(record, claim.curve)) for found in groups.values())
    seeds = sorted(fast.keys() & slow.keys())
    if not seeds:
        return row(pool.report, claim, "not measured", "no seed has this curve in both experiments", **given)
    compare = by_thresholds if claim.curve.endswith("acc_pct") else by_area
    pairs = {seed: pair for seed in seeds if (pair := compare(fast[seed], slow[seed]))}
    if not pairs:
        why = f"in no seed do both pass {THRESHOLDS[0]} % by {REACHED:g} points"
        return row(pool.report, claim, "not measured", why, **given)
    details = tuple(_words(seed, pair) for seed, pair in pairs.items())
    ratios = {seed: pair.ratio for seed, pair in pairs.items()}
    given["verdict"] = deciding_curves.convergence(list(ratios.values()), [pair.parts for pair in pairs.values()])
    return stated(pool, claim, groups, ratios, geometric_mean, details=details, **given)


def by_thresholds(fast: np.ndarray, slow: np.ndarray) -> Pair | None:
    """Compare two accuracy curves by the epochs they take to 60, 65, ... %; None where no threshold is passed."""
    fast, slow = smooth(fast), smooth(slow)
    ends = min(fast[-1], slow[-1]) - REACHED
    parts = tuple((f"{t} %", float(_first(fast, t)), float(_first(slow, t))) for t in THRESHOLDS if t <= ends)
    return Pair(geometric_mean(s / f for _, f, s in parts), parts) if parts else None


def by_area(fast: np.ndarray, slow: np.ndarray) -> Pair | None:
    """Compare two loss curves by their mean over the first epochs; None where one is 0."""
    first = max(FIRST_EPOCHS, min(len(fast), len(slow)) // 5)
    ours = float(fast[:first].mean()), float(slow[:first].mean())
    return Pair(ours[1] / ours[0], ((f"mean of the first {first} epochs", *ours),)) if min(ours) > 0 else None


def reach(values: np.ndarray, threshold: float) -> int:
    """Return the first epoch, from 1, in which the smoothed curve has the threshold; the last where it never has."""
    return _first(smooth(values), threshold)


def _first(smoothed: np.ndarray, threshold: float) -> int:
    reached = np.flatnonzero(smoothed >= threshold)
    return int(reached[0]) + 1 if len(reached) else len(smoothed)


def smooth(values: np.ndarray | Sequence[float]) -> np.ndarray:
    """Return the median of each value and its two neighbours; the ends, which have one, stay as they are."""
    values = np.asarray(values, float)
    inner = np.median([values[:-2], values[1:-1], values[2:]], axis=0) if len(values) > 2 else values[1:-1]
    return np.concatenate([values[:1], inner, values[1:][-1:]])


def _words(seed: int, pair: Pair) -> str:
    parts = ", ".join(f"{name} {fast:.3g} against {slow:.3g}" for name, fast, slow in pair.parts)
    return f"seed {seed}: {pair.ratio:.2f} times ({parts})"
