"""Render every report's page and the overview: a pure function of specs, records and ledgers."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from repro.judge.claims import Ledgers, Row
from repro.record import RunRecord, write_atomically
from repro.report import cells, data, figures, pages, tables
from repro.report.markdown import Md, code, escape, plural, prose
from repro.spec.schema import Report


def render(
    reports: dict[str, Report], records: Iterable[RunRecord], ledgers: Ledgers, out: Path, profile: str = "full"
) -> list[Path]:
    """Write `<report>/report.md`, its figures, `README.md`, `runs.csv` and `claims.csv`; return the files written.

    Only the profile's records enter, for `full` only those that count, each once and in an order of their own.
    Figures left over from an earlier rendering are removed.
    """
    records = tables.of_profile({r.to_bytes(): r for r in records}.values(), profile)
    rows = tables.rows(reports, records, ledgers, profile)
    written = []
    for name, report in sorted(reports.items()):
        own = [row for row in rows if row.report == name]
        text, pictures = _page(report, own, records, profile)
        written.append(_write(out / name / "report.md", text.encode()))
        written += _figures(out / name / "figures", pictures)
    written.append(_write(out / "README.md", _overview(reports, rows, records, profile).encode()))
    runs = data.run_rows(reports, records, profile)
    written.append(_write(out / "runs.csv", data.csv_bytes(runs, data.run_columns(runs))))
    written.append(_write(out / "claims.csv", data.csv_bytes(data.claim_rows(rows), data.CLAIM_COLUMNS)))
    return written


def _page(report: Report, own: list[Row], records: list[RunRecord], profile: str) -> tuple[str, dict[str, bytes]]:
    """Return a report's page and its figures by file name."""
    arms = figures.arms(report, records, profile)
    for arm in arms:
        figures.draw(report, arm)
    bands = figures.landscapes(report, records, profile)
    context = pages.context(report, own, arms, records, profile)
    context |= {"images": figures.images, "landscapes": figures.landscape_images(bands)}
    pictures = {name: data for arm in arms for name, data in arm.figures.items()} | bands
    return _fill("report.md.j2", **context), pictures


def _overview(reports: dict[str, Report], rows: list[Row], records: list[RunRecord], profile: str) -> str:
    headline = [row for row in rows if row.headline]
    rest = [
        (report, [row for row in rows if row.report == name and not row.headline])
        for name, report in sorted(reports.items())
    ]
    states: dict[str, int] = {}
    for row in rows:
        states[row.state] = states.get(row.state, 0) + 1
    order = (
        "measured", "equal", "not equal", "not run", "not measured", "not testable", "explanation", "conjecture",
    )  # fmt: skip
    return _fill(
        "README.md.j2",
        profile=profile,
        page=lambda name: Md(f"[the page]({name}/report.md)"),
        headline=cells.glance_table(headline, profile) if headline else "",
        rest=[(report, _glance(own, profile)) for report, own in rest if own],
        reports=sorted(reports.values(), key=lambda report: report.id),
        claims=plural(len(rows), "claim"),
        states=", ".join(f"{states[state]} {state}" for state in order if state in states),
        runs=plural(sum(record.report in reports for record in records), "run record"),
        provisional=cells.provisional_note(rows) if profile == "full" else "",
        strangers=sorted({record.report for record in records} - set(reports)),
    )


def _glance(rows: list[Row], profile: str) -> Md:
    return cells.folded(plural(len(rows), "claim"), cells.glance_table(rows, profile, report=False), len(rows))


def _fill(template: str, **values: Any) -> str:
    # Every expression's value passes `escape`, so that a template cannot forget it; `Md` passes unchanged.
    environment = Environment(
        loader=PackageLoader("repro.report"),
        undefined=StrictUndefined,
        finalize=escape,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template(template).render(**values, code=code, prose=prose)
    lines = [line.rstrip() for line in text.split("\n")]
    kept = [line for i, line in enumerate(lines) if line or (i and lines[i - 1])]  # no double blank lines
    return "\n".join(kept).strip("\n") + "\n"


def _figures(folder: Path, pictures: dict[str, bytes]) -> list[Path]:
    """Write a page's figures and remove those that it has no more."""
    for path in sorted(folder.glob("*")):
        if path.suffix in (".svg", ".png") and path.name not in pictures and path.is_file():
            path.unlink()
    return [_write(folder / name, data) for name, data in sorted(pictures.items())]


def _write(path: Path, data: bytes) -> Path:
    if not path.is_file() or path.read_bytes() != data:
        write_atomically(path, data)
    return path
