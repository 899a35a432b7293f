"""Withdrawn records on pages and in tables: named with their reason, and in no number."""

from collections.abc import Iterable, Sequence
from typing import Any

from repro.judge.records import number as finite
from repro.judge.records import of_profile
from repro.record import RunRecord
from repro.report.machines import seed_of
from repro.report.markdown import Md, code, prose, table
from repro.report.values import figure
from repro.spec.withdrawn import Struck


def listed(struck: Iterable[Struck], profile: str) -> list[Struck]:
    """Return the withdrawn records that would stand on a profile's pages, each once, in the order of pages."""
    entries = {id(one.record): one for one in struck}
    return [entries[id(record)] for record in of_profile((one.record for one in entries.values()), profile)]


def section(report: str, struck: Iterable[Struck]) -> Md | str:
    """Return the table of a report's withdrawn records; nothing where there are none."""
    rows = [
        [code(record.experiments[0]), seed_of(record), code(record.run_key), code(commit_of(record)), record.env_class,
         figure(finite(record.value("last", "acc_pct")), "acc_pct"), entry.date, prose(entry.why)]
        for record, entry in struck if record.report == report
    ]  # fmt: skip
    head = ["Experiment", "Run", "Run key", "Commit", "Class", "Last", "Withdrawn", "Why"]
    return table(head, "lllllrll", rows) if rows else ""


def commit_of(record: RunRecord) -> str:
    """Return the first figures of the commit that a run was begun on."""
    return str(record.env.get("commit") or "unknown")[:12]


def plain(report: str, struck: Sequence[Struck]) -> list[dict[str, Any]]:
    """Return a report's withdrawn records as plain values, for JSON."""
    return [
        {"run": record.run_key, "environment": record.env_class, "started": record.started, "date": entry.date,
         "why": entry.why}
        for record, entry in struck if record.report == report
    ]  # fmt: skip
