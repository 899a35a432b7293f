"""Pre-flight: what a report's own numbers, recipes and sentences say before any training.

Detectors read the spec alone, claims, recipes and sentences, and know no report; each answers one question.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from repro.judge.preflight import counts, images, noise, published, statements, training, whole
from repro.judge.preflight.finding import Finding
from repro.spec.schema import Report

__all__ = ["DETECTORS", "Finding", "findings"]

#: in the order in which their findings bear on a report's headline numbers
DETECTORS: tuple[Callable[[Report], Iterable[Finding]], ...] = (
    images.few_images,
    whole.matrices,
    training.carried_folds,
    published.maxima,
    counts.parameter_counts,
    training.confounded,
    training.image_passes,
    noise.noise_floor,
    statements.trends,
    whole.batch_means,
    images.impossible_shares,
    published.overfitting,
    published.steady,
    noise.reused,
    published.batch_counts,
    statements.symbols,
    statements.shapes,
    statements.told_twice,
)
#: kinds that settle an open choice and contradict nothing; they come last
_LAST = ("parameter_family", "text_and_table")


def findings(report: Report) -> list[Finding]:
    """Return a report's findings, ranked from 1: the one that bears most on its numbers first."""
    found = [finding for detect in DETECTORS for finding in detect(report)]
    found.sort(key=lambda finding: finding.kind in _LAST)  # stable: the detectors' order stays within both parts
    return [replace(finding, rank=rank) for rank, finding in enumerate(found, 1)]
