"""Percentages and the images behind them: accuracies of few images, and shares that no number of images gives."""

from collections.abc import Iterator
from math import ceil, floor

from scipy.special import betaincinv

from repro.judge.preflight.finding import Finding, measured, prints_as, shown
from repro.judge.printed import reference
from repro.spec.cifar import TEST_IMAGES
from repro.spec.identity import folds_of
from repro.spec.schema import MeasuredClaim, Report

#: at most so many images make a percentage coarse
FEW = 200


def clopper_pearson(hits: int, n: int) -> tuple[float, float]:
    """Return the exact 95 % confidence interval of a share, in percent (Clopper and Pearson 1934)."""
    tail = 0.025
    low = float(betaincinv(hits, n - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(hits + 1, n - hits, 1 - tail)) if hits < n else 1.0
    return 100 * low, 100 * high


def hits_of(claim: MeasuredClaim, n: int) -> int | None:
    """Return the images of n that print as the claim's percentage, None where no whole number does."""
    exact = reference(claim) * n / 100
    # The nearest first. Where a unit holds one number of images, the middle of what was cut off lies between two.
    near = sorted((floor(exact), ceil(exact)), key=lambda hits: abs(hits - exact))
    return next((hits for hits in near if prints_as(claim, 100 * hits / n)), None)


def _one_network(report: Report, claim: MeasuredClaim) -> bool:
    """Whether a number is one network's: a mean over several is a share of more images than each is measured on."""
    folds = 1 if claim.fold or claim.experiment is None else len(folds_of(report.experiments[claim.experiment].recipe))
    return claim.runs == folds == 1


def few_images(report: Report) -> Iterator[Finding]:
    """Yield a finding for each printed percentage that rests on a few images by the recipe that was run."""
    seen: set[float] = set()
    for claim in measured(report):
        if claim.n > FEW or claim.value in seen or not _one_network(report, claim):
            continue
        if (hits := hits_of(claim, claim.n)) is None:
            continue
        seen.add(claim.value)
        low, high = clopper_pearson(hits, claim.n)
        others = [(k, n) for n in _denominators(report, claim) if (k := hits_of(claim, n)) is not None]
        numbers: dict[str, float | int | str] = {
            "published": claim.value, "hits": hits, "n": claim.n, "low95": low, "high95": high,
            "others": ", ".join(f"{k}/{n}" for k, n in others),
        }  # fmt: skip
        text = (
            f"{shown(claim)} is {hits} of {claim.n} images"
            + (", those of the last test batch; its" if claim.protocol == "last_batch" else "; its")
            + f" exact 95 % interval reaches from {low:.1f} to {high:.1f} %."
            + (f" The same number would be {_shares(others)} images." if others else "")
        )
        ids = tuple(c.id for c in measured(report) if c.value == claim.value)
        yield Finding(
            report.id, f"few-images-{claim.id}", "few_images", "An accuracy of few images", text, numbers, ids
        )


def _denominators(report: Report, claim: MeasuredClaim) -> list[int]:
    """Return other numbers of images that the report's splits and batches give, the smallest first."""
    found: set[int] = {TEST_IMAGES}
    for experiment in report.experiments.values():
        split, batch = experiment.recipe.data.split, experiment.recipe.budget.batch_size
        for size in (TEST_IMAGES, split.val):
            found |= {size, size % batch, min(batch, size)}
    return sorted(found - {0, claim.n})


def _shares(others: list[tuple[int, int]]) -> str:
    return " or ".join(f"{k:,} of {n:,}" for k, n in others)


def impossible_shares(report: Report) -> Iterator[Finding]:
    """Yield a finding for each percentage that no whole number of its images prints as."""
    seen: set[tuple[float, int]] = set()
    for claim in measured(report):
        if claim.protocol == "batch_mean" or hits_of(claim, claim.n) is not None or (claim.value, claim.n) in seen:
            continue
        if not _one_network(report, claim):
            continue
        seen.add((claim.value, claim.n))
        below = int(claim.value * claim.n / 100)
        fits = [(k, n) for n in _denominators(report, claim) if (k := hits_of(claim, n)) is not None]
        near = " and ".join(f"{k:,} are {100 * k / claim.n:.{claim.decimals}f} %" for k in (below, below + 1))
        whose = f", as `{claim.experiment}` has them" if claim.experiment else ""
        text = f"{claim.where}: {shown(claim)} is no whole number of {claim.n:,} images{whose}; {near}." + (
            f" It is {_shares(fits)}." if fits else ""
        )
        numbers: dict[str, float | int | str] = {
            "published": claim.value, "n": claim.n, "fits": ", ".join(f"{k}/{n}" for k, n in fits),
        }  # fmt: skip
        yield Finding(
            report.id, f"share-{claim.id}", "impossible_share", "A percentage that its images cannot give", text,
            numbers, (claim.id,),
        )  # fmt: skip
