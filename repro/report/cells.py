"""Judged rows as the tables of a page."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from repro.judge.claims import ENOUGH_RUNS, Row
from repro.judge.deciding import ENOUGH_PAIRS
from repro.judge.label import Label
from repro.report.markdown import DASH, Md, code, join, md, plural, prose, table
from repro.report.values import (
    COMPARED,
    behind,
    claim_name,
    difference,
    interval,
    is_percent,
    margin,
    measures,
    ours,
    published,
    subject,
    verdict,
)

#: a table or list of more lines than this is folded away
LONG = 15

Column = tuple[str, str, Callable[[Row], Any]]


def folded(title: str, body: Md, lines: int) -> Md:
    """Return a table or list, folded behind its title where it is long; the title is ids and plain words only."""
    if lines <= LONG:
        return body
    # GFM reads Markdown inside the element only after a blank line.
    return Md(f"<details><summary>{title}</summary>\n\n{body}\n\n</details>")


def bullets(lines: Iterable[Any]) -> Md:
    """Return a list; each line is escaped unless it is Markdown already."""
    return Md("\n".join(md("- {}", line) for line in lines))


def glance_table(rows: Iterable[Row], profile: str, report: bool = True) -> Md:
    """The overview's table: report, claim, verdict, published, ours, difference, interval, n, what is compared.

    `report` keeps the first column; intervals are there where a row has one. Margins are on the report's own page.
    """
    rows = list(rows)
    columns: list[Column] = [
        ("Report", "l", lambda row: Md(f"[{row.report}]({row.report}/report.md)")),
        ("Claim", "l", claim_name),
        ("Verdict", "l", lambda row: prose(verdict(row, profile, short=True))),
        ("Published", "r", published),
        ("Ours", "r", ours),
        ("Difference", "r", difference),
        *_judged(rows)[:1],
        ("n", "r", lambda row: row.n or ""),
        ("What", "l", subject),
    ]
    return _table(columns if report else columns[1:], rows)


def headline_table(rows: Iterable[Row], profile: str) -> Md | str:
    """A report's headline claims, short; nothing where it has none."""
    cells = [
        [
            claim_name(row),
            prose(verdict(row, profile, short=True)),
            published(row),
            ours(row),
            difference(row),
            _whose(row),
            margin(row),
            row.n or "",
            subject(row),
        ]
        for row in rows
    ]
    head = ["Claim", "Verdict", "Published", "Ours", "Difference", "90 % interval", "Margin", "n", "What"]
    return table(head, "llrrrrrrl", cells) if cells else ""


def measured_table(rows: Sequence[Row], profile: str) -> Md:
    """The report page's table of what runs measure; the runs' own values and the ledger's word where there are runs."""
    columns: list[Column] = [
        ("Claim", "l", claim_name),
        _worded(profile),
        ("Where", "l", lambda row: prose(row.where)),
        ("Protocol", "l", measures),
        ("Published", "r", published),
        ("Ours", "r", ours),
        ("Difference", "r", difference),
        *_judged(rows),
        ("n", "r", lambda row: row.n or ""),
    ]
    if any(1 < len(row.runs) <= LONG for row in rows):
        columns.append(("Each run", "l", _each_run))
    return _table([*columns, *_ending(rows)], rows)


def compared_table(rows: Sequence[Row], profile: str) -> Md:
    """The report page's table of claims that compare experiments, and of sentences that others indicate."""
    columns: list[Column] = [
        ("Claim", "l", claim_name),
        _worded(profile),
        ("Where", "l", lambda row: prose(row.where)),
        ("What", "l", subject),
        ("Published", "r", published),
        ("Ours", "r", ours),
        ("Difference", "r", difference),
        *_judged(rows),
        ("n", "r", lambda row: row.n or ""),
    ]
    return _table([*columns, *_ending(rows)], rows)


def drawn_table(rows: Sequence[Row], profile: str) -> Md:
    """The report page's table of published curves and matrices: how far ours are from them."""
    columns: list[Column] = [
        ("Claim", "l", claim_name),
        _worded(profile),
        ("Where", "l", lambda row: prose(row.where)),
        ("Experiment", "l", lambda row: code(row.experiment)),
        ("What", "l", subject),
        ("Ours", "r", ours),
        ("n", "r", lambda row: row.n or ""),
    ]
    return _table([*columns, *_ending(rows)], rows)


def count_table(rows: Sequence[Row]) -> Md:
    """The report page's table of what arithmetic decides, on the network or on the images."""
    columns: list[Column] = [
        ("Claim", "l", claim_name),
        ("State", "l", lambda row: row.state),
        ("Where", "l", lambda row: prose(row.where)),
        ("Experiment", "l", lambda row: code(row.experiment) if row.experiment else ""),
        ("Counts", "l", measures),
        ("Published", "r", published),
        ("Ours", "r", ours),
        ("Difference", "r", difference),
    ]
    return _table(columns, rows)


def _worded(profile: str) -> Column:
    # Beside the claim's name: wide tables scroll, and this is what a reader came for.
    return "Verdict", "l", lambda row: prose(verdict(row, profile))


def _ending(rows: Sequence[Row]) -> list[Column]:
    run = any(row.runs or row.declared for row in rows)
    return [("Declared before", "c", lambda row: row.declared)] if run else []


def _judged(rows: Sequence[Row]) -> list[Column]:
    """The columns of a verdict's numbers, where a row has any."""
    alike = all(row.kind in COMPARED for row in rows)
    first: Column = ("90 % interval of ours", "r", interval) if alike else ("90 % interval", "r", _whose)
    columns: list[Column] = [first, ("Margin", "r", margin)]
    return columns if any(row.verdict and row.verdict.low is not None for row in rows) else []


def _whose(row: Row) -> str:
    """The 90 % interval, with a word where it is that of ours and not of the difference from a published number."""
    found = interval(row)
    return f"{found} (ours)" if found and row.kind in COMPARED else found


def verdict_lines(rows: Iterable[Row]) -> list[Md]:
    """What each verdict of runs rests on: a line a claim."""
    return [md("{}: {}", code(row.claim), prose(text)) for row in rows if (text := behind(row))]


def label_table(labels: Iterable[tuple[Md, Label]]) -> Md:
    """A line a report: the link to its page, its label, and what decided."""
    lines = [
        [link, found.word + (", provisional" if found.provisional else ""), prose(found.why)] for link, found in labels
    ]
    return table(["Report", "Label", "Headline claims that decide"], "lll", lines)


def _table(columns: Sequence[Column], rows: Iterable[Row]) -> Md:
    head, align = [name for name, _, _ in columns], "".join(letter for _, letter, _ in columns)
    return table(head, align, [[cell(row) for _, _, cell in columns] for row in rows])


def _each_run(row: Row) -> str:
    # Of many runs mean and deviation say more; the table of runs has every one.
    return ", ".join(_bare(run.value, row.metric) for run in row.runs) if len(row.runs) <= LONG else ""


def _bare(value: float | None, metric: str | None) -> str:
    if value is None:
        return DASH
    return f"{value:.2f}" if is_percent(metric) else f"{value:.3f}"


def details(rows: Iterable[Row]) -> list[Md]:
    """What lies behind the numbers of comparisons, curves and matrices: a line a claim."""
    return [md("{}: {}", code(row.claim), join(map(prose, row.details), "; ")) for row in rows if row.details]


def provisional_note(rows: Sequence[Row]) -> str:
    """Explain the word, and what is said of swings, where they occur."""
    few = sum(row.provisional for row in rows)
    needed = f"fewer than {ENOUGH_RUNS} runs, of an order, trend or convergence fewer than {ENOUGH_PAIRS} pairs of runs"
    parts = [f"Provisional: {needed} ({plural(few, 'claim')})."] if few else []
    found = [row.verdict for row in rows if row.verdict is not None and row.verdict.swing is not None]
    if others := sum(bool(verdict.at_swing) for verdict in found):
        parts.append(
            "At its swing: the verdict if accuracy varied between runs as much as it swings from epoch to epoch in one "
            f"run; it would differ for {others} of the {plural(len(found), 'claim')} where this is known (accuracy "
            "after a given epoch)."
        )
    return " ".join(parts)
