"""Claims about curves and matrices: a published curve, a confusion matrix, convergence, the band of step losses."""

from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from repro.judge import deciding_curves, statistics
from repro.judge.compared import stated
from repro.judge.printed import SLACK, half_unit, middle
from repro.judge.records import Pool, Read, means
from repro.judge.rows import ENOUGH_RUNS, Row, row
from repro.record import RunRecord
from repro.spec.claims import experiments_of
from repro.spec.schema import BandClaim, ConfusionClaim, TrajectoryClaim


def curve(record: RunRecord, name: str) -> np.ndarray | None:
    """Return a record's curve in double precision; None where it is missing or holds a value that is not finite."""
    values = points(record, name)
    return values if values.size and np.isfinite(values).all() else None


def points(record: RunRecord, name: str) -> np.ndarray:
    """Return a record's curve in double precision, NaN where an accuracy is that of a network that is lost."""
    values = np.array(record.curves.get(name, ()), float)
    if name.endswith("/acc_pct"):
        values[[record.lost(name.removesuffix("/acc_pct"), epoch) for epoch in range(1, len(values) + 1)]] = np.nan
    return values


def trajectory(pool: Pool, claim: TrajectoryClaim) -> Row:
    """State how far our curve lies from the published points: the mean distance of a seed's curve, over seeds.

    `details`: the share of the points, over seeds, that lie within the error of digitising and rounding.
    """
    what = f"{len(claim.epochs)} points, epochs {claim.epochs[0]} to {claim.epochs[-1]}"
    given: dict[str, Any] = {"experiment": claim.experiment, "metric": claim.curve, "what": what}
    groups = pool.groups(claim.experiment)
    if not groups:
        return row(pool.report, claim, "not run", pool.no_run(), **given)
    places = np.array(claim.epochs) - 1

    def read(record: RunRecord) -> np.ndarray | None:
        values = points(record, claim.curve)
        there = values[places] if len(values) > places[-1] else np.array([np.nan])
        return there if np.isfinite(there).all() else None

    found = means(groups, read)
    if not found:
        return row(pool.report, claim, "not measured", "no run has this curve at all of the points", **given)
    far = {seed: np.abs(ours - _stands_for(claim)) for seed, ours in found.items()}
    details = (_within(claim, np.array(list(far.values()))),)
    distance = {seed: float(each.mean()) for seed, each in far.items()}
    error = np.array(claim.errors) + half_unit(claim.decimals)
    curves = np.array(list(found.values()))
    given["verdict"] = deciding_curves.trajectory(curves, _stands_for(claim), error, _limit(claim))
    return stated(pool, claim, {claim.experiment: groups}, distance, details=details, **given)


def _limit(claim: TrajectoryClaim) -> float:
    """Return the margin of the curve's last point."""
    last = float(_stands_for(claim)[-1])
    return statistics.margin(last) if claim.curve.endswith("acc_pct") else max(0.1 * last, half_unit(claim.decimals))


def _stands_for(claim: TrajectoryClaim) -> np.ndarray:
    return np.array([middle(value, claim.decimals, claim.rounding) for value in claim.values])


def _within(claim: TrajectoryClaim, far: np.ndarray) -> str:
    half = half_unit(claim.decimals)
    share = f"{100 * (far <= np.array(claim.errors) + half + SLACK).mean():.0f} % of the points lie within"
    share += f" {_short(claim.digitising + half)} of the published ones"
    errors = [f"digitising {_short(claim.digitising)}", f"rounding {_short(half)}"]
    if claim.digitising_first:
        errors.insert(1, f"of the first points {', '.join(map(_short, claim.digitising_first))}")
    return f"{share} ({', '.join(errors)})"


def _short(value: float) -> str:
    return f"{value:.7f}".rstrip("0").rstrip(".")


def confusion(pool: Pool, claim: ConfusionClaim) -> Row:
    """State how many of the 10,000 images lie in other cells: half the summed differences, mean over seeds."""
    given: dict[str, Any] = {
        "experiment": claim.experiment, "protocol": claim.protocol, "metric": "confusion", "what": "10 x 10 cells",
    }  # fmt: skip
    groups = pool.groups(claim.experiment)
    if not groups:
        return row(pool.report, claim, "not run", pool.no_run(), **given)
    theirs, found = np.array(claim.matrix, float), matrices(pool, claim)
    if not found:
        return row(pool.report, claim, "not measured", "no run holds the matrix of all test images", **given)
    moved = {seed: float(np.abs(ours - theirs).sum() / 2) for seed, ours in found.items()}
    right = fmean(float(np.trace(ours)) for ours in found.values())
    given["verdict"] = deciding_curves.confusion(np.array(list(found.values())), theirs)
    details = (f"on the diagonal: published {np.trace(theirs):,.0f}, ours {right:,.0f}",)
    return stated(pool, claim, {claim.experiment: groups}, moved, details=details, **given)


def matrices(pool: Pool, claim: ConfusionClaim) -> dict[int, np.ndarray]:
    """Return the matrix of each seed that holds one of as many images as the published one has."""
    images = sum(map(sum, claim.matrix))

    def read(record: RunRecord) -> np.ndarray | None:
        ours = matrix(record, claim.protocol)
        return ours if ours is not None and ours.sum() == images else None

    return means(pool.groups(claim.experiment), read)


def matrix(record: RunRecord, protocol: str = "last") -> np.ndarray | None:
    """Return a record's confusion matrix of a protocol if it holds a sound one: 10 x 10 counts, of finite logits."""
    if record.lost(protocol):
        return None
    try:
        found = np.asarray(record.confusion.get(protocol), float)
    except (TypeError, ValueError):
        return None
    return found if found.shape == (10, 10) and np.isfinite(found).all() and (found >= 0).all() else None


@dataclass(frozen=True)
class Bands:
    """Step losses of two groups of experiments, by seed: (seeds, steps) lowest and highest of each group.

    `curve`: `step/loss`, a value a training step, or `step/loss_mean`, the means of windows of steps.
    """

    curve: str
    seeds: tuple[int, ...]
    narrower: tuple[np.ndarray, np.ndarray]
    wider: tuple[np.ndarray, np.ndarray]

    def widths(self, group: str) -> np.ndarray:
        """Return a seed's mean width of a group's band over all steps."""
        low, high = getattr(self, group)
        return (high - low).mean(axis=1)


def bands(pool: Pool, claim: BandClaim) -> Bands | str:
    """Return the bands of a claim, or why there are none: seeds in which every experiment has its step losses."""
    names = dict.fromkeys(experiments_of(claim))
    runs = {name: pool.groups(name) for name in names}
    for metric in ("step/loss", "step/loss_mean"):
        found = {name: means(groups, _reader(metric)) for name, groups in runs.items()}
        seeds = sorted(set.intersection(*(set(values) for values in found.values())))
        if seeds and len({len(found[name][seed]) for name in names for seed in seeds}) == 1:
            sides = []
            for group in (claim.narrower, claim.wider):
                losses = np.array([[found[name][seed] for seed in seeds] for name in group])
                sides.append((losses.min(axis=0), losses.max(axis=0)))
            return Bands(metric, tuple(seeds), sides[0], sides[1])
    return "no seed has finite step losses, of one length, in every experiment"


def band(pool: Pool, claim: BandClaim) -> Row:
    """State the mean width of the wider group's band over that of the narrower one's, mean over seeds."""
    sides = (", ".join(f"`{name}`" for name in group) for group in (claim.narrower, claim.wider))
    given: dict[str, Any] = {"experiments": experiments_of(claim)}
    given |= {"what": "band of {} narrower than of {}".format(*sides)}
    groups = {name: pool.groups(name) for name in experiments_of(claim)}
    if lacking := pool.lacking(groups):
        return row(pool.report, claim, "not run", lacking, **given)
    found = bands(pool, claim)
    if isinstance(found, str):
        return row(pool.report, claim, "not measured", found, metric="step/loss", **given)
    narrow, wide = found.widths("narrower"), found.widths("wider")
    if not narrow.all():
        return row(pool.report, claim, "not measured", "a band has no width at all", metric=found.curve, **given)
    ratios = dict(zip(found.seeds, (wide / narrow).tolist(), strict=True))
    steps = "single steps" if found.curve == "step/loss" else "means of windows of steps"
    given["verdict"] = deciding_curves.ratio(list(ratios.values()), ENOUGH_RUNS)
    details = (f"mean width {narrow.mean():.3f} against {wide.mean():.3f}, from losses of {steps}",)
    return stated(pool, claim, groups, ratios, metric=found.curve, details=details, **given)


def _reader(name: str) -> Read:
    return lambda record: curve(record, name)
