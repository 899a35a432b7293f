"""Values that depend on the order in which the test images are met: their distribution over random orders."""

from collections.abc import Mapping
from math import sqrt

import numpy as np
from scipy.special import gammaln

from repro.judge.printed import prints_as
from repro.judge.records import number
from repro.judge.rows import OrderSpread
from repro.spec.schema import MeasuredClaim

#: protocols whose value depends on the order in which the test images are met
ORDER_PROTOCOLS = ("last_batch", "batch_mean")


def order_spread(final: Mapping[str, float], claim: MeasuredClaim) -> OrderSpread | None:
    """Return a run's spread over random test orders from its `last_batch` or `batch_mean` entry, if it holds one.

    With `n`, `correct` and `total` the distribution is the hypergeometric one: a last batch of n images is a
    draw without replacement from the total, of which `correct` are right.
    """
    official = final["official_pct"] if number(final.get("official_pct")) is not None else None
    if any(number(final.get(key)) is None for key in ("n", "correct", "total")):
        mean, sd = number(final.get("acc_pct")), number(final.get("sd_pct"))
        return None if mean is None or sd is None else OrderSpread(mean, sd, official)
    n, correct, total = (int(final[key]) for key in ("n", "correct", "total"))
    if not (0 < n <= total <= 10**6 and 0 <= correct <= total):
        return None
    hits, chances = _hypergeometric(total, correct, n)
    below = chances.cumsum()
    printed = (claim.value, claim.decimals, claim.rounding)
    counts = tuple(k for k in range(n + 1) if prints_as(*printed, 100 * k / n))
    return OrderSpread(
        mean_pct=100 * correct / total,
        sd_pct=100 * _sd(total, correct, n) / n,
        official_pct=official,
        n=n,
        correct=correct,
        total=total,
        counts=counts,
        chance=float(chances[np.isin(hits, counts)].sum()),
        low=int(hits[np.searchsorted(below, 0.025)]),
        high=int(hits[np.searchsorted(below, 0.975)]),
    )


def _hypergeometric(total: int, correct: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the hits that a batch of n can hold and the chance of each (scipy.stats takes a second to import)."""
    hits = np.arange(max(0, n - (total - correct)), min(n, correct) + 1)
    ways = _log_ways(correct, hits) + _log_ways(total - correct, n - hits) - _log_ways(total, n)
    return hits, np.exp(ways)


def _log_ways(n: int, k: np.ndarray | int) -> np.ndarray:
    """Return the logarithm of n over k."""
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)


def _sd(total: int, correct: int, n: int) -> float:
    # In closed form: SciPy takes the kurtosis along, which divides by zero where the batch is all there is.
    p = correct / total
    return sqrt(n * p * (1 - p) * (total - n) / (total - 1)) if total > 1 else 0.0
