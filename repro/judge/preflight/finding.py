"""What a pre-flight finding holds, and what detectors share: published numbers by experiment, tables, rounding."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from repro.judge import printed
from repro.spec.schema import Claim, MeasuredClaim, Report

#: protocols whose number stands for all test images
_FULL_TEST = ("last", "best_val_loss", "best_test", "best_test_every10", "best_test_loss", "batch_mean")
#: a table's name in the place of a claim, such as `Table 1 (Results)`
_TABLE = re.compile(r"Table \d+(?: \([^)]*\))?")


@dataclass(frozen=True)
class Finding:
    """What a report's own numbers, recipes and sentences say before any training.

    `kind` names the detector's question, `title` and `text` are prose with `short names`, `numbers` what the text
    rests on (accuracies in percent, differences in points), `claims` the claims concerned. `rank` counts from 1, the
    finding that bears most on the report's numbers first; detectors leave it 0.
    """

    report: str
    id: str
    kind: str
    title: str
    text: str
    numbers: dict[str, float | int | str] = field(default_factory=dict)
    claims: tuple[str, ...] = ()
    rank: int = 0


def measured(report: Report, metric: str = "acc_pct") -> Iterator[MeasuredClaim]:
    """Yield the report's measured claims of one metric, in its order."""
    for claim in report.claims:
        if isinstance(claim, MeasuredClaim) and claim.metric == metric:
            yield claim


def whole(claim: MeasuredClaim) -> bool:
    """Say whether a claim's number stands for all test images after the whole of one training."""
    return claim.protocol in _FULL_TEST and claim.epoch is None


def tables_of(claim: Claim) -> tuple[str, ...]:
    """Return the tables that a claim's place names, each once."""
    return tuple(dict.fromkeys(_TABLE.findall(claim.where)))


def prints_as(claim: MeasuredClaim, value: float) -> bool:
    """Say whether a number would be printed as the claim's value."""
    return printed.prints_as(claim.value, claim.decimals, claim.rounding, value)


def shown(claim: MeasuredClaim) -> str:
    """Return the printed number with its decimals, a percentage with its sign."""
    return f"{claim.value:.{claim.decimals}f}" + (" %" if claim.metric.endswith("_pct") else "")


def names(ids: tuple[str, ...] | list[str], most: int = 4) -> str:
    """Return some ids as short names, `a`, `b` and 3 more."""
    some = [f"`{name}`" for name in ids[:most]]
    if len(ids) > most:
        return f"{', '.join(some)} and {len(ids) - most} more"
    return " and ".join([", ".join(some[:-1]), some[-1]]) if len(some) > 1 else "".join(some)


def slug(text: str) -> str:
    """Return text as an id of lower-case words."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
