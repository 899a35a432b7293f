"""Forest plots of a report: published numbers and ours as differences in points, with interval, margin and verdict."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from repro import plots
from repro.judge.claims import Row
from repro.judge.rows import NEGATIVE, POSITIVE
from repro.report.markdown import signed
from repro.report.values import is_percent
from repro.spec.schema import Report

#: more lines than this do not fit on a screen: a further figure begins
LINES = 24
#: points beyond which a value is named at the edge instead of stretching the axis
FURTHEST, FURTHEST_GAP = 6.0, 20.0


def forest(report: Report, rows: Sequence[Row], cache: Path | None = None) -> dict[str, bytes]:
    """Draw a report's headline claims, and the others with a number of ours; file name -> bytes.

    `forest.svg` has the headline claims, those not run too; `forest-all.svg`, `forest-all-2.svg`, ... have every
    accuracy and every order with a number, where there are more of these. Only values in percent share the axis.
    """
    drawn = [row for row in rows if row.kind in ("point", "order") and is_percent(row.metric)]
    headline = [row for row in drawn if row.headline]
    every = [row for row in drawn if row.ours is not None]
    every.sort(key=lambda row: row.kind == "order")  # accuracies first, each kind in the file's order
    figures = {}
    if headline:
        figures["forest.svg"] = _figure(report, headline, "headline claims", cache)
    if {id(row) for row in every} - {id(row) for row in headline}:
        parts = [every[i : i + LINES] for i in range(0, len(every), LINES)]
        for number, part in enumerate(parts, 1):
            name = "forest-all.svg" if number == 1 else f"forest-all-{number}.svg"
            words = "all claims with runs" + (f", {number} of {len(parts)}" if len(parts) > 1 else "")
            figures[name] = _figure(report, part, words, cache)
    return figures


def _figure(report: Report, rows: Iterable[Row], words: str, cache: Path | None) -> bytes:
    return plots.cached(cache, plots.forest_figure, panels(rows), f"{report.id}: {words}")


def panels(rows: Iterable[Row]) -> list[plots.ForestPanel]:
    """Return rows as the panels of a forest plot: accuracies first, then differences of two experiments."""
    rows = list(rows)
    points, orders = ([_line(row) for row in rows if row.kind == kind] for kind in ("point", "order"))
    return [
        plots.ForestPanel(label, tuple(lines), furthest)
        for label, lines, furthest in (
            ("ours − published, points", points, FURTHEST),
            ("difference of two experiments, points", orders, FURTHEST_GAP),
        )
        if lines
    ]


def _line(row: Row) -> plots.ForestLine:
    """Turn a row into a line: an accuracy as its difference from the published one, an order as the gap itself."""
    verdict = row.verdict
    word = verdict.word if verdict else "no verdict" if row.ours is not None else row.state
    unit = 10.0**-row.decimals
    zero = 0.0 if row.kind == "order" else row.reference
    judged = verdict if verdict and row.ours is not None else None
    return plots.ForestLine(
        row.claim,
        word + (", provisional" if judged and judged.provisional and len(word) < 16 else ""),
        _tone(row),
        _published(row, unit),
        _ours(row),
        mean=None if row.ours is None or zero is None else row.ours - zero,
        runs=tuple(run.value - zero for run in row.runs if run.value is not None and zero is not None),
        low=judged.low if judged else None,
        high=judged.high if judged else None,
        margin=judged.margin if judged else None,
        mark=0.0 if row.kind == "point" else row.reference,
        half=unit / 2 if row.published is not None else 0.0,
        empty=row.state,
        hollow=bool(judged and judged.at_swing),
    )


def _tone(row: Row) -> str:
    if row.verdict is None or row.ours is None:
        return "none"
    return "for" if row.verdict.word in POSITIVE else "against" if row.verdict.word in NEGATIVE else "open"


def _published(row: Row, unit: float) -> str:
    if row.published is None:
        return ""
    if row.kind == "order":
        return signed(row.published, row.decimals)
    text = f"{row.published:.{row.decimals}f}"
    # A number cut off at its last digit stands for all that begin with it.
    return f"[{text}, {row.published + unit:.{row.decimals}f})" if row.rounding == "floor" else text


def _ours(row: Row) -> str:
    if row.ours is None:
        return ""
    mean = signed(row.ours, 2) if row.kind == "order" else f"{row.ours:.2f}"
    return mean + ("" if row.sd is None else f" ± {row.sd:.2f}") + f" ({row.n})"
