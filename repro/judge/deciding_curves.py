"""From curves and matrices to a verdict: convergence, bands, trajectories, confusion matrices."""

from collections.abc import Sequence
from dataclasses import replace
from math import sqrt

import numpy as np
from scipy.special import stdtrit

from repro.judge import statistics
from repro.judge.deciding import ENOUGH_PAIRS, LEVEL
from repro.judge.rows import ENOUGH_RUNS, Verdict

#: share of the thresholds at which the faster one has to be the faster
AGREEING = 0.8
#: share of a published curve's points that have to lie inside
INSIDE = 0.9


def ratio(ratios: Sequence[float], needed: int) -> Verdict:
    """Judge that a ratio is above 1, from one value a seed: the 90 % interval of its logarithm."""
    found = statistics.log_ratios(ratios)
    if found is None or len(ratios) < needed:
        return Verdict(
            "inconclusive", f"{needed} seeds are needed, {len(ratios)} here", n=len(ratios), provisional=True
        )
    low, high = np.exp([found.low, found.high])
    said = f"90 % interval of the ratio {low:.2f} to {high:.2f}"
    name = "supported" if found.low > 0 else "reversed" if found.high < 0 else "inconclusive"
    return Verdict(
        name, said, d=found.d, low=found.low, high=found.high, low95=found.low95, high95=found.high95, n=len(ratios),
        se=found.se, nu=found.nu, p=found.below(),
    )  # fmt: skip


def convergence(ratios: Sequence[float], parts: Sequence[Sequence[tuple[str, float, float]]]) -> Verdict:
    """Judge that one experiment is faster: `ratios` slower to faster a seed, `parts` (threshold, faster, slower) each.

    The interval of the ratio excludes 1, at four in five thresholds the sign agrees, and at none it is reversed.
    """
    found = ratio(ratios, ENOUGH_PAIRS)
    if found.word != "supported":
        return found
    logs: dict[str, list[float]] = {}
    for seed in parts:
        for name, fast, slow in seed:
            logs.setdefault(name, []).append(float(np.log(slow / fast)))
    agree = np.mean([np.mean(each) > 0 for each in logs.values()])
    back = [name for name, each in logs.items() if statistics.sign_flip([-x for x in each]) <= LEVEL]
    said = f"{found.why}; the sign agrees at {100 * agree:.0f} % of {len(logs)} thresholds"
    if back:
        return replace(found, word="mixed", why=f"{said}, reversed at {', '.join(back)}")
    return replace(found, word="supported" if agree >= AGREEING else "mixed", why=said)


def trajectory(curves: np.ndarray, published: np.ndarray, error: float | np.ndarray, limit: float) -> Verdict:
    """Judge a published curve beside ours, one row a seed, a column a point.

    *Reproduced*: nine in ten points lie within the 95 % prediction interval of one more run, widened by `error`
    (digitising and rounding; one, or one a point), and the mean distance of our mean from them is at most `limit`
    and the mean error together.
    *Not reproduced*: fewer than nine in ten do, rounded down, since of few points one is easily outside. Else
    *inconclusive*: a course that jumps from epoch to epoch is far from the mean of others of its kind.
    """
    n = len(curves)
    if n < ENOUGH_RUNS:
        return Verdict("inconclusive", f"a curve needs {ENOUGH_RUNS} runs to know its spread", n=n, provisional=True)
    mean, spread = curves.mean(axis=0), curves.std(axis=0, ddof=1)
    reach = float(stdtrit(n - 1, 0.975)) * spread * sqrt(1 + 1 / n) + error
    inside = int((np.abs(published - mean) <= reach + 1e-9).sum())
    gap, limit = float(np.abs(mean - published).mean()), limit + float(np.mean(error))
    why = f"{100 * inside / len(published):.0f} % of the points inside, mean distance {gap:.3g} of at most {limit:.3g}"
    if inside < int(INSIDE * len(published)):
        return Verdict("not reproduced", why, d=gap, margin=limit, n=n)
    good = inside >= INSIDE * len(published) and gap <= limit + 1e-9
    return Verdict("reproduced" if good else "inconclusive", why, d=gap, margin=limit, n=n)


def confusion(matrices: np.ndarray, published: np.ndarray) -> Verdict:
    """Judge a published matrix of counts beside ours (seeds, 10, 10): as far from them as one of them from the others?

    The distance is the sum over cells of squared differences over their variance (between seeds, and of a count out
    of 1,000). Its 95 % prediction bound comes from leaving out one seed at a time.
    """
    n = len(matrices)
    if n < ENOUGH_PAIRS:
        return Verdict("not judged", f"a matrix needs {ENOUGH_PAIRS} runs, {n} here", n=n)
    apart = [_distance(np.delete(matrices, i, axis=0), matrices[i]) for i in range(n)]
    if not all(apart):
        return Verdict("not judged", "the runs' matrices are the same, and tell nothing of how two runs differ", n=n)
    left = np.log(apart)
    bound = float(np.exp(left.mean() + stdtrit(n - 1, 0.95) * left.std(ddof=1) * sqrt(1 + 1 / n)))
    found = _distance(matrices, published)
    why = f"distance {found:.0f}, and of one more run at most {bound:.0f} in 95 % of cases"
    return Verdict("reproduced" if found <= bound else "not reproduced", why, d=found, margin=bound, n=n)


def _distance(matrices: np.ndarray, one: np.ndarray) -> float:
    mean, between = matrices.mean(axis=0), matrices.var(axis=0, ddof=1)
    variance = between + mean * (1 - np.minimum(mean, 1000) / 1000)
    known = variance > 0
    # A cell that is 0 in every run says nothing of how unlikely a count is; it counts as one of variance 1.
    return float((np.square(one - mean) / np.where(known, variance, 1.0)).sum())
