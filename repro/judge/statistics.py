"""The statistics behind a verdict, numbers only: spread, equivalence, paired differences, many claims at once.

Two trainings of one recipe, tested on the same images, differ by their run-to-run spread, not by the binomial error of
a test set. Few runs say little about that spread, so it is shrunk towards a prior (moderated variance, Smyth 2004).
Equivalence is two one-sided tests (Schuirmann 1987) in their interval form: the 90 % interval lies within the margin.
Accuracies are in percent, their differences and spreads in points.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import isfinite, log, sqrt
from statistics import fmean, median, stdev, variance

import numpy as np
from scipy.special import chdtri, stdtr, stdtrit

from repro.spec.cifar import TEST_IMAGES

N_TEST = TEST_IMAGES
#: degrees of freedom that the prior spread is worth
PRIOR_WEIGHT = 4.0
#: the chance that runs of the prior's spread trip the guard
GUARD = 0.99
#: experiments with two runs or more that a pooled spread needs
POOLED = 5
#: expected highest of k runs of one recipe, in standard deviations
BEST_OF = {3: 0.85, 5: 1.16, 10: 1.54}


def jordan_sd(percent: float, n: float = N_TEST) -> float:
    """Return the run-to-run sd in points of a converged network on n fixed images: sqrt(error / 2n).

    Errors of converged networks are close to independent over images (Jordan 2024, arXiv 2304.01910). An error of
    less than one image counts as one.
    """
    error = max(1 - percent / 100, 1 / n)
    return 100 * sqrt(error / (2 * n))


def sample_sd(percent: float, n: float) -> float:
    """Return the sd in points between runs that are each measured on n images of their own: sqrt(p (1 - p) / n).

    It holds what other images and another network change together. An error of less than one image counts as one.
    """
    p = min(max(percent / 100, 0.0), 1 - 1 / n)
    return 100 * sqrt(p * (1 - p) / n)


def batch_mean_sd(percent: float, batch: int) -> float:
    """Return the sd in points of a mean over batches, over random orders of the test images, `percent` of them right.

    The last batch, smaller than the others, weighs like them; its hits are hypergeometric.
    """
    total, last = N_TEST, N_TEST % batch
    if not last:
        return 0.0
    p, batches = min(max(percent / 100, 0.0), 1.0), total // batch + 1
    return 100 * sqrt(last * p * (1 - p) * (total - last) / (total - 1)) * (1 / last - 1 / batch) / batches


def margin(percent: float) -> float:
    """Return the points within which an accuracy counts as the same: 4.5 of `jordan_sd`, from 0.5 to 2.0."""
    return round(min(max(0.32 * sqrt(max(100 - percent, 0.0)), 0.5), 2.0), 1)


@dataclass(frozen=True)
class Spread:
    """A moderated standard deviation `sd` with `nu` degrees of freedom; `own` is the runs' own, None of one run."""

    sd: float
    nu: float
    own: float | None
    unstable: bool = False


def moderated(values: Sequence[float], prior: float | None) -> Spread | None:
    """Shrink the sd of some runs towards a prior sd; None without a prior where fewer than two runs are there.

    Where the runs spread more than the prior makes likely (1 in 100), the prior is dropped: unstable training.
    """
    n = len(values)
    own = stdev(values) if n > 1 else None
    if prior is None:
        return None if own is None else Spread(own, n - 1, own)
    if own is not None and own**2 > prior**2 * float(chdtri(n - 1, 1 - GUARD)) / (n - 1):
        return Spread(own, n - 1, own, unstable=True)
    nu = PRIOR_WEIGHT + n - 1
    return Spread(sqrt((PRIOR_WEIGHT * prior**2 + (n - 1) * (own or 0.0) ** 2) / nu), nu, own)


def pooled_sd(groups: Sequence[Sequence[float]], priors: Sequence[float]) -> float | None:
    """Return the median sd over a report's experiments, those that trip the guard left out; None of fewer than five.

    Each group holds the values of one experiment's runs that did not diverge, two or more; `priors` its theoretical sd.
    """
    found = [
        variance(values)
        for values, prior in zip(groups, priors, strict=True)
        if len(values) > 1 and not _trips(values, prior)
    ]
    return sqrt(median(found)) if len(found) >= POOLED else None


def _trips(values: Sequence[float], prior: float) -> bool:
    spread = moderated(values, prior)
    return spread is not None and spread.unstable


@dataclass(frozen=True)
class Interval:
    """An estimate with its standard error and its 90 % and 95 % intervals on Student's t with nu degrees of freedom."""

    d: float
    se: float
    nu: float
    low: float
    high: float
    low95: float
    high95: float

    def below(self) -> float:
        """Return the one-sided probability of so low an estimate where the true value is 0."""
        return self._cdf(self.d)

    def within(self, limit: float) -> float:
        """Return the probability that the true value lies within +-limit, under a flat prior."""
        return self._cdf(limit - self.d) - self._cdf(-limit - self.d)

    def _cdf(self, x: float) -> float:
        if self.se == 0:
            return float(x > 0) + 0.5 * (x == 0)
        return float(stdtr(self.nu, x / self.se))


def interval(d: float, se: float, nu: float) -> Interval:
    """Return an estimate with its intervals."""
    wide, wider = (float(stdtrit(nu, level)) * se for level in (0.95, 0.975))
    return Interval(d, se, nu, d - wide, d + wide, d - wider, d + wider)


def point_error(spread: Spread, n: int, runs: float, half: float, images: float = 0.0) -> float:
    """Return the standard error of our mean of n values minus a published mean of `runs` such values.

    `runs` is a fraction where each of our values is a mean over networks. `half` is the half-width of the printed
    number's rounding (uniform, so r^2 / 3); `images` the variance in points^2 where the two rest on other images.
    """
    return sqrt(spread.sd**2 * (1 / n + 1 / runs) + half**2 / 3 + images)


def image_variance(percent: float, *terms: float) -> float:
    """Return p (1 - p) times the summed terms, such as 1/n - 1/N for a subset of the same images, in points^2."""
    p = min(max(percent / 100, 0.0), 1.0)
    return 1e4 * p * (1 - p) * max(sum(terms), 0.0)


def equivalence(found: Interval, limit: float) -> str:
    """Return `same` (the 90 % interval lies within +-limit), `above`, `below` (the 95 % one excludes 0) or `open`."""
    if -limit < found.low and found.high < limit:
        return "same"
    if found.low95 > 0 or found.high95 < 0:
        return "above" if found.d > 0 else "below"
    return "open"


def attained(values: Sequence[float], spread: Spread, published: float, half: float) -> bool:
    """Whether the recipe gets at least the published number: the mean's lower 95 % bound is not below it."""
    bound = fmean(values) - float(stdtrit(spread.nu, 0.95)) * spread.sd / sqrt(len(values))
    return bound >= published - half


def superiority(above: Sequence[float], below: Sequence[float]) -> float:
    """Return P(A > B) over all pairs of runs, ties half: Mann and Whitney's U over the number of pairs."""
    gaps = np.subtract.outer(np.asarray(above, float), np.asarray(below, float))
    return float(((gaps > 0) + 0.5 * (gaps == 0)).mean())


def sign_flip(values: Sequence[float]) -> float:
    """Return the one-sided probability of so high a mean when every sign could have been the other.

    Exact up to 16 values, beyond that over 65,536 draws that are always the same.
    """
    n = len(values)
    means = _flips(n) @ np.asarray(values, float) / n
    return float((means >= fmean(values) - 1e-12).mean())


@lru_cache(maxsize=4)
def _flips(n: int) -> np.ndarray:
    """Return signs of n values, a row a draw; kept, since a report asks for the same ones hundreds of times."""
    if n <= 16:
        return np.array(list(product((1, -1), repeat=n)), np.int8)
    flips = np.random.default_rng(0).choice((1, -1), (2**16, n)).astype(np.int8)
    flips[0] = 1
    return flips


def least_difference(percent: float) -> float:
    """Return the points by which two single runs of one recipe differ by chance in 1 of 20 cases."""
    return 1.96 * sqrt(2) * jordan_sd(percent)


def benjamini_hochberg(ps: Sequence[float]) -> list[float]:
    """Return Benjamini and Hochberg's q-values, in the order given."""
    order, found, lowest = np.argsort(ps, kind="stable")[::-1], [0.0] * len(ps), 1.0
    for back, place in enumerate(order):
        lowest = min(lowest, ps[place] * len(ps) / (len(ps) - back))
        found[place] = lowest
    return found


def log_ratios(ratios: Sequence[float]) -> Interval | None:
    """Return the mean logarithm of ratios with its intervals; None of fewer than two, or of one that is not above 0."""
    if len(ratios) < 2 or not all(isfinite(r) and r > 0 for r in ratios):
        return None
    logs = [log(r) for r in ratios]
    return interval(fmean(logs), stdev(logs) / sqrt(len(logs)), len(logs) - 1)
