"""Accuracies of all test images against what is printed: means over batches, and traces of confusion matrices."""

from collections.abc import Iterator

from repro.judge.preflight.finding import Finding, measured, prints_as, shown, whole
from repro.judge.printed import half_unit
from repro.judge.statistics import batch_mean_sd
from repro.spec.cifar import TEST_IMAGES
from repro.spec.schema import ConfusionClaim, MeasuredClaim, Report


def batch_means(report: Report) -> Iterator[Finding]:
    """Yield a finding for each experiment whose published accuracy is a mean over batches of unequal size."""
    claims = [c for c in measured(report) if c.protocol == "batch_mean" and c.experiment]
    ran = (c.experiment for c in claims if c.experiment and report.experiments[c.experiment].reading != "isolated")
    for experiment in dict.fromkeys(ran):
        batch = report.experiments[experiment].recipe.budget.batch_size
        of_it = [c for c in claims if c.experiment == experiment]
        sd = batch_mean_sd(of_it[0].value, batch)
        if not sd:
            continue
        text = (
            f"{' and '.join(shown(c) for c in of_it)} of `{experiment}` may be a mean over {TEST_IMAGES // batch + 1} "
            f"batches, in which the last {TEST_IMAGES % batch} images weigh like {batch}. Over random orders of the "
            f"images such a mean has a standard deviation of {sd:.2f} points about the accuracy of all {TEST_IMAGES:,}."
        )
        numbers: dict[str, float | int | str] = {"sd": sd, "batch": batch, "last_batch": TEST_IMAGES % batch}
        yield Finding(
            report.id, f"batch-mean-{experiment}", "batch_mean", "A mean over batches is not the accuracy", text,
            numbers, tuple(c.id for c in of_it),
        )  # fmt: skip


def matrices(report: Report) -> Iterator[Finding]:
    """Yield a finding for each published confusion matrix whose trace is not every accuracy printed for its network."""
    claims = [c for c in report.claims if isinstance(c, ConfusionClaim)]
    restated = [c.id for c in measured(report) if any(_restates(c, matrix) for matrix in claims)]
    for matrix in dict.fromkeys(c.matrix for c in claims):
        yield from _matrix(report, [c for c in claims if c.matrix == matrix], restated)


def trace_of(matrix: ConfusionClaim) -> int:
    """Return the right images of a confusion matrix."""
    return sum(row[i] for i, row in enumerate(matrix.matrix))


def _restates(claim: MeasuredClaim, matrix: ConfusionClaim) -> bool:
    """Say whether a claim is no number of its own but the trace of a matrix."""
    same = abs(claim.value - 100 * trace_of(matrix) / TEST_IMAGES) < 1e-9
    return same and claim.decimals >= 2 and claim.where.startswith(matrix.where)


def _matrix(report: Report, of_it: list[ConfusionClaim], restated: list[str]) -> Iterator[Finding]:
    trace = trace_of(of_it[0])
    percent, networks = 100 * trace / TEST_IMAGES, {c.experiment for c in of_it}
    printed: dict[float, MeasuredClaim] = {}
    for claim in measured(report):
        if claim.experiment not in networks or not whole(claim) or claim.id in restated:
            continue
        if claim.value not in printed or claim.protocol == "batch_mean":
            printed[claim.value] = claim
    fits = [c for c in printed.values() if prints_as(c, percent)]
    off = [c for c in printed.values() if not prints_as(c, percent)]
    if not off:
        return
    text = f"The matrix ({of_it[0].where}) has {trace:,} right images of {TEST_IMAGES:,}, {percent:.2f} %. "
    if fits:
        text += f"That prints as {' and '.join(f'{shown(c)} (`{c.experiment}`)' for c in fits)}. "
    numbers: dict[str, float | int | str] = {"trace": trace, "percent": percent}
    for claim in sorted(off, key=lambda c: abs(c.value - percent)):
        text += f"{shown(claim)} (`{claim.experiment}`) is {_apart(report, claim, percent)}. "
        numbers[f"off_{claim.value:.{claim.decimals}f}"] = claim.value - percent
    same = [c for c in measured(report) if c.experiment in networks and whole(c) and c.value in printed]
    ids = tuple(c.id for c in [*of_it, *same])
    yield Finding(
        report.id, f"trace-{of_it[0].id}", "matrix_trace", "A confusion matrix and the accuracies beside it",
        text.strip(), numbers, ids,
    )  # fmt: skip


def _apart(report: Report, claim: MeasuredClaim, percent: float) -> str:
    apart = abs(claim.value - percent)
    batch = report.experiments[claim.experiment or ""].recipe.budget.batch_size
    sd = batch_mean_sd(percent, batch)
    if claim.protocol == "batch_mean" and sd and apart <= 1.96 * sd + half_unit(claim.decimals):
        return f"{apart:.2f} points off, within the spread of a mean over batches ({sd:.2f})"
    return f"{apart:.2f} points off, more than rounding" + (f" or a mean over batches ({sd:.2f})" if sd else "")
