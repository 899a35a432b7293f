"""Two collections of records from folders, and their comparison as a table, as Markdown and as JSON."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from repro import bundle
from repro.errors import UserError
from repro.judge.compare import WORDS, Compared
from repro.judge.records import enters
from repro.record import RunRecord, read_records
from repro.report import evidence
from repro.report.markdown import DASH, Md, code, join, md, percent, plural, signed, table
from repro.spec.withdrawn import Struck

SCHEMA = 1
COLUMNS = ("experiment", "measured", "runs A", "runs B", "A", "B", "B - A", "90 % interval", "margin", "result", "why")
NUMBERS = (2, 3, 4, 5, 6, 7, 8)
_PATTERNS = ("runs/*/record*.json", "*/evidence/*.json", "evidence/*.json")


def read(folder: Path, profile: str = "full") -> list[RunRecord]:
    """Return the records of a profile in a state folder, a bundle, or a folder of reports or of one of them.

    Raises UserError for a folder that is none of these, and for one that holds no finished run of the profile.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name a state folder, a bundle or a folder of reports")
    if (folder / "bundle.json").exists():
        records = [evidence.check(record, f"{folder}: {record.run_key}") for record, _ in bundle.load(folder)]
    else:
        found = (one for pattern in _PATTERNS for one in read_records(folder, pattern))
        records = [evidence.check(record, str(path)) for path, record in found]
    if not records:
        expected = "runs/ (a state folder), bundle.json (a bundle) or */evidence/ (reports)"
        raise UserError(f"{folder}: holds no run records; expected a folder with {expected}")
    if not any(enters(record, profile) for record in records):
        others = sorted({record.profile for record in records} - {profile})
        mend = f"name --profile {others[0]}" if others else "name another folder"
        raise UserError(f"{folder}: none of its {plural(len(records), 'record')} is a finished {profile} run; {mend}")
    return records


def gone(side: str, struck: Sequence[Struck]) -> list[str]:
    """Return the lines that name a collection's withdrawn runs, which are in no row: a line a reason."""
    names: dict[str, list[str]] = {}
    for record, entry in struck:
        names.setdefault(entry.why, []).append(f"{record.report}/{record.experiments[0]} s{record.seed}")
    return [f"left out of {side}, withdrawn: {', '.join(runs)}: {why}" for why, runs in names.items()]


def lines(rows: Iterable[Compared]) -> list[tuple[str, ...]]:
    """Return the table's cells, one line a measured number."""
    return [_line(row) for row in rows]


def _line(row: Compared) -> tuple[str, ...]:
    interval = DASH if row.low is None else f"{signed(row.low, 2)} to {signed(row.high, 2)}"
    margin = DASH if row.margin is None else f"{row.margin:g}"
    word = row.word + (", provisional" if row.provisional and row.word in ("equivalent", "differs") else "")
    return (
        f"{row.report}/{row.experiment}", row.measure or DASH, str(row.runs_a), str(row.runs_b), percent(row.a),
        percent(row.b), signed(row.d, 2), interval, margin, word, "; ".join(_why(row)),
    )  # fmt: skip


def _why(row: Compared) -> list[str]:
    said = [row.why] if row.why else []
    if row.shared and row.same < row.shared:
        said.append(f"{row.same} of {plural(row.shared, 'shared run')} the same bits")
    if row.drifted:
        said.append(f"{row.drifted} drifted: one key, one class of environment, other numbers")
    return said


def summary(rows: Sequence[Compared]) -> str:
    """Return the sentence below the table: how often each word occurs."""
    counts = Counter(row.word for row in rows)
    return ", ".join(f"{counts[word]} {word}" for word in WORDS if counts[word])


def as_markdown(rows: Sequence[Compared], profile: str, sides: tuple[Path, Path], left_out: Sequence[str] = ()) -> Md:
    """Return the comparison for a job's summary: what it comes to, the table of what differs, the rest folded.

    Foreign text (names in records, folders, reasons of withdrawn runs) is escaped.
    """
    odd, rest = [row for row in rows if row.word == "differs"], [row for row in rows if row.word != "differs"]
    both = sum(not row.word.startswith("only in") for row in rows)
    head = "**Nothing differs.**" if both else "**Nothing was compared.**"
    if odd:
        head = f"**{len(odd)} of {plural(both, 'number')} that both have {'differs' if len(odd) == 1 else 'differ'}.**"
    said = md("{} A is {}, B is {}, {} runs: {}.", Md(head), *map(code, sides), profile, summary(rows))
    parts = [said, _table(odd)] if odd else [said]
    if rest:
        other = f"{plural(len(rest), 'other number') if odd else plural(len(rest), 'number')}, with interval and margin"
        parts.append(Md(f"<details><summary>{other}</summary>\n\n{_table(rest)}\n\n</details>"))
    if left_out:
        parts.append(join((md("- {}", line) for line in left_out), "\n"))
    return Md("\n\n".join(parts) + "\n\n")  # what is added behind it is no row of its table


def _table(rows: Iterable[Compared]) -> Md:
    align = "".join("r" if place in NUMBERS else "l" for place in range(len(COLUMNS)))
    return table(COLUMNS, align, [(code(name), code(measure), *cells) for name, measure, *cells in lines(rows)])


def differs(rows: Iterable[Compared]) -> bool:
    """Whether any number differs; what is in one collection only does not count as a difference."""
    return any(row.word == "differs" for row in rows)


def as_json(rows: Sequence[Compared], profile: str, left_out: Sequence[str] = ()) -> str:
    """Return the comparison as JSON: the rows with every number, whether any differs, and what was left out."""
    plain = [asdict(row) for row in rows]
    made = {"schema": SCHEMA, "profile": profile, "differs": differs(rows), "rows": plain}
    return json.dumps(made | ({"left_out": list(left_out)} if left_out else {}), indent=1)
