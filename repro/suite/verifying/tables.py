"""The committed tables and pages, made again from the evidence and compared with the files that are there."""

import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from repro.judge import timings
from repro.judge.records import of_profile
from repro.report import data, evidence, render, withdrawn
from repro.report import tables as rows_of
from repro.report.verdicts import verdicts_json
from repro.spec import ledger
from repro.spec.loading import load_all

MEND = "`repro report` writes it anew"
Differing = Iterator[tuple[Path, str]]


def tables(reports_dir: Path) -> Differing:
    """Yield which of `verdicts.json`, `claims.csv` and `runs.csv` are not what the evidence gives."""
    reports, records = load_all(), of_profile(evidence.committed(reports_dir), "full")
    rows = rows_of.rows(reports, records, ledger.read(reports_dir / "ledger"), "full", timings.read(reports_dir))
    gone = withdrawn.listed(evidence.struck(None, reports_dir), "full")
    runs = data.run_rows(reports, records, "full", gone)
    made = {
        "verdicts.json": verdicts_json(reports, rows, records, gone),
        "claims.csv": data.csv_bytes(data.claim_rows(rows), data.CLAIM_COLUMNS),
        "runs.csv": data.csv_bytes(runs, data.run_columns(runs)),
    }
    yield from _compared(reports_dir, {Path(name): made[name] for name in made})


def pages(reports_dir: Path) -> Differing:
    """Yield which files of `repro report` differ, are missing or are left over. Draws every figure: takes a while.

    A figure's bytes are its drawing library's, so figures are compared by name, and pages without them.
    """
    reports, records, ledgers = load_all(), evidence.committed(reports_dir), ledger.read(reports_dir / "ledger")
    with tempfile.TemporaryDirectory(prefix="repro-") as folder:
        out = Path(folder)
        struck, timed = evidence.struck(None, reports_dir), timings.read(reports_dir)
        written = render.render(reports, records, ledgers, out, timings=timed, struck=struck, measured=reports_dir)
        made = {path.relative_to(out): path.read_bytes() for path in written}
    yield from _compared(reports_dir, made)
    for name in reports:
        for kind in ("figures", "badges"):
            for path in sorted((reports_dir / name / kind).glob("*")):
                if path.suffix in (".svg", ".png") and path.relative_to(reports_dir) not in made:
                    yield path, f"is left over from earlier pages; {MEND}"


def _compared(reports_dir: Path, made: Mapping[Path, bytes]) -> Differing:
    for name, expected in made.items():
        path = reports_dir / name
        if not path.is_file():
            yield path, f"is missing; {MEND}"
        elif name.parent.name != "figures" and _undrawn(path.read_bytes()) != _undrawn(expected):
            yield path, f"is not what evidence and specs give; {MEND}"


def _undrawn(page: bytes) -> bytes:
    """Return a page without the figures in it; a badge, which is one figure and ours, as it is."""
    if page.lstrip().startswith(b"<svg"):
        return page
    return re.sub(rb"(<svg\b[^>]*>).*?</svg>", rb"\1</svg>", page, flags=re.DOTALL)
