"""Render every report's page and the overview: a pure function of specs, records and ledgers."""

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from repro.judge.bracket import brackets
from repro.judge.claims import Ledgers, Row
from repro.judge.label import label
from repro.judge.records import of_profile
from repro.judge.rows import WORDS
from repro.judge.timings import NONE, Timings
from repro.record import RunRecord, write_atomically
from repro.report import cells, data, figures, html, pages, performance, preflight, reliability, tables, withdrawn
from repro.report.badges import badges, report_badge
from repro.report.brackets import budget_table, printed_table
from repro.report.ladders import glance_checklist
from repro.report.machines import precision_note
from repro.report.markdown import Md, code, escape, plural, prose
from repro.report.totals import claims_table, minutes_said, runs_table, took_table, word_of
from repro.report.verdicts import verdicts_json
from repro.spec.schema import Report
from repro.spec.withdrawn import Struck

#: what the figures of a whole report show
_SHOWN = {
    "forest": "published numbers, ours, intervals and margins",
    "bracket": "accuracy under every way of counting, lowest to highest",
    "trios": "confusion matrices: ours, published, and their difference, grey within two standard deviations",
    "hours_drawn": "hours and images a second of the runs",
}


@contextmanager
def _set_aside() -> Iterator[None]:
    """Spare the garbage collector what is in memory already: it would walk all records again at every few figures."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@_set_aside()
def render(
    reports: dict[str, Report], records: Iterable[RunRecord], ledgers: Ledgers, out: Path, profile: str = "full",
    cache: Path | None = None, timings: Timings = NONE, struck: Iterable[Struck] = (), measured: Path | None = None,
) -> list[Path]:  # fmt: skip
    """Write the pages in Markdown and HTML, figures, badges, `verdicts.json` and tables; return the files written.

    Only the profile's records enter, for `full` only those that count, each once and in an order of their own.
    `struck`, the withdrawn records, are named on the pages and enter nothing else.
    Figures and badges left over from an earlier rendering are removed; `cache` is a folder of figures drawn before.
    `measured`: the folder whose benchmarks and trials have pages too, `out` itself where none is given.
    """
    measured = measured or out
    records, gone = of_profile(records, profile), withdrawn.listed(struck, profile)
    rows = tables.rows(reports, records, ledgers, profile, timings)
    written = []
    for name, report in sorted(reports.items()):
        own = [row for row in rows if row.report == name]
        text, pictures = _page(report, own, records, profile, cache, gone)
        written.append(_write(out / name / "report.md", text.encode()))
        written.append(_write(out / name / "report.html", html.page(text, report.title, pictures, "../index.html")))
        written += _figures(out / name / "figures", pictures)
        if profile == "full":
            written += _figures(out / name / "badges", badges(report, own))
            written.append(_write(out / name / "badge.svg", report_badge(report, own)))
    speed = performance.page(measured / "bench") if profile == "full" else None
    if speed is not None:
        written.append(_write(out / "performance.md", speed.encode()))
    tried = reliability.page(measured / "reliability.json") if profile == "full" else None
    if tried is not None:
        written.append(_write(out / "reliability.md", tried.encode()))
    overview = _overview(reports, rows, records, profile, speed is not None, tried is not None, gone)
    written.append(_write(out / "README.md", overview.encode()))
    written.append(_write(out / "index.html", html.index(overview, "Every claim at a glance")))
    if profile == "full":
        written.append(_write(out / "verdicts.json", verdicts_json(reports, rows, records, gone)))
    runs = data.run_rows(reports, records, profile, gone)
    written.append(_write(out / "runs.csv", data.csv_bytes(runs, data.run_columns(runs))))
    written.append(_write(out / "claims.csv", data.csv_bytes(data.claim_rows(rows), data.CLAIM_COLUMNS)))
    return written


def _page(
    report: Report, own: list[Row], records: list[RunRecord], profile: str, cache: Path | None, gone: list[Struck]
) -> tuple[str, dict[str, bytes]]:
    """Return a report's page and its figures by file name."""
    arms = figures.arms(report, records, profile)
    for arm in arms:
        figures.draw(report, arm, cache)
    bands = figures.landscapes(report, records, profile, cache)
    context = pages.context(report, own, arms, records, profile)
    context["withdrawn"] = withdrawn.section(report.id, gone)
    found = brackets(report, records, profile)
    kinds = {
        "forest": figures.forest(report, own, cache) if profile == "full" else {},
        "bracket": figures.bracket_figure(report, found, cache),
        "trios": figures.confusions(report, records, profile, cache),
        "hours_drawn": figures.cost(report, arms, cache),
    }
    context |= {"images": figures.images, "landscapes": figures.landscape_images(bands)}
    context |= {name: figures.pictures(drawn, _SHOWN[name]) for name, drawn in kinds.items()}
    printed = Md(printed_table(found))
    lines = max(printed.count("\n") - 1, 0)
    context |= {"budget": budget_table(found), "preflight": preflight.section(report)}
    context["printed"] = cells.folded(
        plural(lines, "published test accuracy", "published test accuracies"), printed, lines
    )
    pictures = {name: data for arm in arms for name, data in arm.figures.items()} | bands
    pictures |= {name: data for drawn in kinds.values() for name, data in drawn.items()}
    return _fill("report.md.j2", **context), pictures


def _overview(
    reports: dict[str, Report], rows: list[Row], records: list[RunRecord], profile: str, speed: bool, tried: bool,
    gone: list[Struck],
) -> str:  # fmt: skip
    headline, ours = [row for row in rows if row.headline], [r for r in records if r.report in reports]
    rest = [
        (report, [row for row in rows if row.report == name and not row.headline])
        for name, report in sorted(reports.items())
    ]
    words = [word_of(row) if profile == "full" else row.state for row in rows]
    order = (*WORDS, "measured", "not measured", "explanation", "conjecture")
    labels = [
        (Md(f"[{escape(report.title)}]({name}/report.md)"), label([row for row in rows if row.report == name]))
        for name, report in sorted(reports.items())
    ]
    return _fill(
        "README.md.j2",
        profile=profile,
        page=lambda name: Md(f"[the page]({name}/report.md)"),
        headline=cells.glance_table(headline, profile) if headline else "",
        rest=[(report, _glance(own, profile)) for report, own in rest if own],
        reports=sorted(reports.values(), key=lambda report: report.id),
        claims=plural(len(rows), "claim"),
        labels=cells.label_table(labels) if profile == "full" else "",
        states=", ".join(f"{words.count(word)} {word}" for word in order if word in words),
        runs=plural(len(ours), "run record"),
        provisional=cells.provisional_note(rows) if profile == "full" else "",
        coverage=claims_table(rows) if profile == "full" else "",
        progress=runs_table(reports, records) if profile == "full" else "",
        took=took_table(ours),
        precisions=precision_note(ours),
        minutes=minutes_said(ours),
        checklist=glance_checklist(reports),
        withdrawn=plural(len(gone), "record") if gone else "",
        speed=speed,
        tried=tried,
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
