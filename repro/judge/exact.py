"""Claims that arithmetic decides, on the network or on the images of CIFAR-10; and those that no run decides."""

from repro.judge.printed import prints_as
from repro.judge.rows import Row, Verdict, row
from repro.spec import cifar, counting
from repro.spec.schema import CountClaim, DataClaim, Report, UntestableClaim


def count(report: Report, claim: CountClaim) -> Row:
    """Set a count beside the closed form; `details` names the layer where the count is of one."""
    ours = counting.quantity(report.experiments[claim.experiment].recipe.model, claim.quantity, claim.layer)
    return _exact(report, claim, ours, claim.layer, experiment=claim.experiment)


def data(report: Report, claim: DataClaim) -> Row:
    """Set a number about CIFAR-10 beside the one its images give; `details` names the channel."""
    return _exact(report, claim, cifar.fact(claim.quantity, claim.channel), claim.channel)


def _exact(
    report: Report, claim: CountClaim | DataClaim, ours: float, part: str | None, experiment: str | None = None
) -> Row:
    equal = prints_as(claim.value, claim.decimals, "nearest", ours)
    return row(
        report, claim, "equal" if equal else "not equal", experiment=experiment, metric=claim.quantity,
        published=claim.value, reference=claim.value, decimals=claim.decimals, ours=ours,
        difference=ours - claim.value, details=(part,) if part else (),
        verdict=Verdict("equal" if equal else "not equal", "arithmetic decides", d=ours - claim.value),
    )  # fmt: skip


def untestable(report: Report, claim: UntestableClaim) -> Row:
    """State why no run decides it, under its own word."""
    return row(
        report, claim, claim.kind.replace("_", " "), claim.why, published=claim.value, reference=claim.value,
        decimals=claim.decimals, note=claim.text,
        verdict=Verdict("not testable" if claim.kind == "not_testable" else "not judged", claim.why),
    )  # fmt: skip
