"""An experiment's verdicts as files: JSON, a table, and pictures of published beside ours and of its bracket."""

import json
from collections.abc import Sequence
from typing import Any

from repro import plots
from repro.judge.bracket import Bracket
from repro.judge.rows import Row
from repro.report.brackets import bar
from repro.report.cells import bullets, headline_table, verdict_lines
from repro.report.forests import LINES, panels
from repro.report.markdown import code, join, md, plural
from repro.report.values import is_percent
from repro.spec import ledger


def as_json(report: str, experiment: str, main: str, claims: Sequence[dict[str, Any]], found: Bracket | None) -> bytes:
    """Return an experiment's `claims` as the pages' verdicts.json has them, the main one's name, and the bracket."""
    made = {
        "report": report, "experiment": experiment, "main": main, "rules": ledger.RULES, "claims": claims,
        "bracket": None if found is None else _plain(found),
    }  # fmt: skip
    return (json.dumps(made, indent=1, allow_nan=False) + "\n").encode()


def _plain(found: Bracket) -> dict[str, Any]:
    """Return a bracket's accuracies in percent; 6 digits, so that machines that differ in the last bit agree."""
    return {
        "reference": found.reference, "seeds": list(found.seeds),
        "acc_pct": {name: [float(f"{value:.6g}") for value in values] for name, values in found.values.items()},
        "published": {number.claim: [number.protocol, number.value] for number in found.printed},
    }  # fmt: skip


def as_markdown(experiment: str, rows: Sequence[Row], tally: str) -> bytes:
    """Return a table of an experiment's claims with their verdicts, and what each rests on."""
    names = sorted({name for row in rows for name in (row.experiment, *row.experiments) if name})
    parts = [
        md("# {}: verdicts", experiment),
        md("{}: {}.", plural(len(rows), "claim"), tally),
        headline_table(rows, "full"),
        md("Experiments in them: {}.", join(map(code, names))),
        "## What they rest on",
        bullets(verdict_lines(rows)) or "No run was judged.",
    ]
    return ("\n\n".join(parts) + "\n").encode()


def pictures(title: str, rows: Sequence[Row], found: Bracket | None) -> dict[str, bytes]:
    """Draw `forest.png` where a claim has a number of ours in percent, and `bracket.png`; file name -> bytes."""
    drawn = [row for row in rows if is_percent(row.metric) and row.ours is not None]
    shown = panels([row for row in drawn if row.kind in ("point", "order")][:LINES])
    made = {"forest.png": plots.forest_figure(shown, f"{title}, verdicts", "png")} if shown else {}
    if found is not None:
        made["bracket.png"] = plots.bracket_figure([bar(found)], f"{title}, ways of counting", kind="png")
    return made
