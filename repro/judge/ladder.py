"""The evidence ladder of a published number: its text, README, log, notebook and code, then every reading of ours.

Claims of one kind, metric, value and place are readings of one number, so they share a ladder.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from repro.judge.printed import prints_as
from repro.judge.rows import Row
from repro.spec.schema import Report
from repro.spec.sourcing import SOURCES, source_of

#: kinds whose number a run or arithmetic decides; claims of other kinds have a ladder of their own
_NUMBERS = ("point", "loss", "count", "data")


@dataclass(frozen=True)
class Step:
    """One rung: a source, where in it or what it says, its number, and whether that prints as the published one."""

    source: str
    says: str
    value: float | None = None
    decimals: int = 0
    agrees: bool | None = None


@dataclass(frozen=True)
class Ladder:
    """What a published number rests on: `steps` by source, then `rows`, our readings of it, the headline one first."""

    steps: tuple[Step, ...]
    rows: tuple[Row, ...]

    @property
    def row(self) -> Row:
        """The claim that stands for the number."""
        return self.rows[0]


def ladders(report: Report, rows: Iterable[Row]) -> list[Ladder]:
    """Return a ladder for each number that the report prints, and for each other claim, in the file's order."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(number_of(row), []).append(row)
    return [_ladder(report, sorted(group, key=lambda row: not row.headline)) for group in groups.values()]


def number_of(row: Row) -> tuple[object, ...]:
    """Return what tells a report's published numbers apart: readings of one have the same; any other claim its own."""
    if row.kind in _NUMBERS and row.published is not None:
        return row.kind, row.metric, row.published, row.decimals, row.where
    return (row.claim,)


def _ladder(report: Report, rows: Sequence[Row]) -> Ladder:
    names = {row.claim for row in rows}
    steps = [_printed(rows[0], place) for place in _places(rows[0].where)]
    for rung in report.evidence:
        if rung.claim in names:
            agrees = None if rung.value is None else same(rows[0], rung.value, rung.decimals or 0)
            steps.append(Step(rung.source, rung.says, rung.value, rung.decimals or 0, agrees))
    return Ladder(tuple(sorted(steps, key=lambda step: SOURCES.index(step.source))), tuple(rows))


def _places(where: str) -> list[str]:
    """Return the parts of a claim's place by source: what the report's text has together, and the others."""
    parts: dict[str, list[str]] = {}
    for part in where.split(";"):
        if part.strip() != "not in the report":
            parts.setdefault(source_of(part), []).append(part.strip())
    return ["; ".join(group) for group in parts.values()]


def _printed(row: Row, place: str) -> Step:
    return Step(source_of(place), place, row.published, row.decimals, None if row.published is None else True)


def same(row: Row, value: float, decimals: int) -> bool | None:
    """Return whether a number prints as the published one, at the digits that both have; None without a published one.

    A published number that was cut off, 91 for [91, 92), is met by all that it may stand for.
    """
    if row.published is None:
        return None
    rounding = row.rounding if decimals >= row.decimals else "nearest"
    return prints_as(row.published, min(decimals, row.decimals), rounding, value)
