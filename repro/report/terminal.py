"""Claims as plain lines for a terminal."""

from collections.abc import Iterable, Mapping

from repro.judge.claims import Ledgers
from repro.record import RunRecord
from repro.report import tables, values
from repro.spec.schema import Report


def headline_lines(reports: Mapping[str, Report], records: Iterable[RunRecord], ledgers: Ledgers) -> list[str]:
    """Return a line a headline claim that a run has measured: published, ours, difference, n, verdict."""
    lines = []
    for row in tables.rows(reports, records, ledgers):
        if row.headline and row.kind not in values.EXACT and row.n:
            where = f"{row.report}/{row.claim}"
            lines.append(
                f"  {where:<36} published {values.published(row)}, ours {values.ours(row)} ({values.difference(row)}, "
                f"n = {row.n}): {values.verdict(row, short=True)}"
            )
    return lines
