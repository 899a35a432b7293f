"""What a report's page shows, gathered from spec and records; the templates only place it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from repro import plots
from repro.judge.claims import Row, choose, records_of
from repro.record import RunRecord
from repro.report import cells
from repro.report.markdown import Md, code, join, md, number, prose, signed, table
from repro.report.tables import PROTOCOL_WORDS, READING_WORDS, facts, shared_and_own
from repro.spec.identity import recipe_hash
from repro.spec.schema import MeasuredClaim, Report

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_DRAWN_LEVELS = ("best_val_loss", "best_test", "best_test_every10", "best_test_loss")


@dataclass
class Arm:
    """Experiments of one recipe with the runs that answer for them."""

    names: list[str]
    title: str
    tier: str
    chosen: list[RunRecord]
    replicates: list[RunRecord]
    figures: dict[str, bytes] = field(default_factory=dict)  # file name -> bytes

    @property
    def name(self) -> str:
        """The first experiment's id; it names the figures."""
        return self.names[0]


def arms(report: Report, records: list[RunRecord], profile: str) -> list[Arm]:
    """Return the report's distinct recipes in the file's order, each with its records."""
    found: dict[str, Arm] = {}
    for experiment in report.experiments.values():
        sha = recipe_hash(experiment.recipe)
        if sha in found:
            found[sha].names.append(experiment.id)
            continue
        chosen, replicates = choose(records_of(report, experiment.id, records, profile))
        found[sha] = Arm([experiment.id], experiment.title, experiment.tier, chosen, replicates)
    return list(found.values())


def draw(report: Report, arm: Arm) -> None:
    """Draw an arm's figures: its curves, and for headline arms the mean confusion matrix after the last epoch."""
    if not arm.chosen:
        return
    runs = f"mean of {len(arm.chosen)} runs" if len(arm.chosen) > 1 else "one run"
    names = sorted({name for record in arm.chosen for name in record.curves})
    curves = {name: [r.curves[name] for r in arm.chosen if name in r.curves] for name in names}
    band = f"{runs}, band: lowest to highest" if len(arm.chosen) > 1 else runs
    title = f"{report.id}, {arm.name} ({band})"
    arm.figures[f"{arm.name}-curves.svg"] = plots.curves_figure(curves, title, list(published_points(report, arm)))
    headline = {claim.experiment for claim in report.claims if claim.headline and isinstance(claim, MeasuredClaim)}
    matrices = [m for m in (matrix_of(r) for r in arm.chosen) if m is not None]
    if matrices and (arm.tier == "headline" or headline & set(arm.names)):
        title = f"{report.id}, {arm.name}: last epoch ({runs})"
        picture = plots.confusion_figure(np.mean(matrices, axis=0), CLASSES, title)
        arm.figures[f"{arm.name}-confusion.svg"] = picture


def matrix_of(record: RunRecord) -> np.ndarray | None:
    """Return the last epoch's confusion matrix if the record holds a sound one."""
    try:
        matrix = np.asarray(record.confusion.get("last"), float)
    except (TypeError, ValueError):
        return None
    return matrix if matrix.shape == (10, 10) and np.isfinite(matrix).all() and (matrix >= 0).all() else None


def published_points(report: Report, arm: Arm) -> Iterator[plots.Published]:
    """Yield the published numbers that belong on an arm's curves."""
    for claim in report.claims:
        if not isinstance(claim, MeasuredClaim) or claim.experiment not in arm.names:
            continue
        budget = report.experiments[claim.experiment].recipe.budget.epochs
        label = f"{claim.value:.{claim.decimals}f}"
        if claim.metric not in plots.GROUPS:
            continue
        if claim.protocol.startswith("at_epoch:") or claim.protocol == "last":
            epoch = int(claim.protocol.partition(":")[2] or budget)
            yield plots.Published(f"test/{claim.metric}", claim.value, label, epoch)
        elif claim.protocol in ("val", "val_augmented", "train_running"):
            yield plots.Published(f"{claim.protocol}/{claim.metric}", claim.value, label, claim.epoch or budget)
        elif claim.protocol in _DRAWN_LEVELS:
            yield plots.Published(f"test/{claim.metric}", claim.value, f"{label} ({claim.protocol})")


def context(report: Report, rows: list[Row], arms: list[Arm], records: list[RunRecord], profile: str) -> dict[str, Any]:
    """Return everything a report's template places."""
    runs = [(arm, record) for arm in arms for record in arm.chosen]
    measured = [row for row in rows if row.kind in ("point", "loss") and row.experiment]
    recipes = {e.id: facts(e.recipe) for e in report.experiments.values()}
    shared, own = shared_and_own(recipes)
    known = {id(r) for arm in arms for r in (*arm.chosen, *arm.replicates)}
    return {
        "report": report,
        "profile": profile,
        "headline": cells.headline_table([row for row in rows if row.headline], profile),
        "experiments": experiments_table(report, arms),
        "shared": table(["Fact", "Value"], "ll", shared.items()),
        "own": table(["Experiment", *own], "l" * (1 + len(own)), _own_rows(recipes, own)) if own else "",
        "assumed": table(["Where", "Why this value"], "ll", ([code(k), prose(v)] for k, v in report.assumed.items())),
        "deviations": table(
            ["Theirs", "Ours", "Why", "Expected effect"], "llll",
            ([prose(t) for t in (d.theirs, d.ours, d.why, d.effect)] for d in report.deviations),
        ),
        "counts": [row for row in rows if row.kind == "count"],
        "by_experiment": [(e, [row for row in measured if row.experiment == e]) for e in _in_turn(measured)],
        "cells": cells,
        "provisional": cells.provisional_note(measured) if profile == "full" else "",
        "orders": [s for row in measured for s in cells.order_sentences(row)],
        "protocols": protocol_words(rows, [record for _, record in runs]),
        "notes": notes(rows),
        "run_tables": [_run_table(arm, record, measured) for arm, record in runs],
        "not_run": not_run(rows),
        "untestable": [row for row in rows if row.state == "not testable"],
        "arms": arms,
        "environments": environments_table([record for _, record in runs]),
        "cost": cost_table(runs),
        "hours": number(sum(cells.finite(record.seconds) or 0.0 for _, record in runs) / 3600, 2),
        "replicates": replicates_table(arms),
        "strangers": [code(r.run_key) for r in records if r.report == report.id and id(r) not in known],
        "n_runs": len(runs),
    }  # fmt: skip


def _own_rows(recipes: dict[str, dict[str, str]], own: list[str]) -> Iterator[list[Any]]:
    for name, recipe in recipes.items():
        yield [code(name), *(recipe[key] for key in own)]


def _in_turn(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(row.experiment for row in rows if row.experiment))


def notes(rows: Iterable[Row]) -> list[Md]:
    """What the report's file adds to a claim."""
    return [md("{}: {}", code(row.claim), prose(row.note)) for row in rows if row.note and row.kind != "not_testable"]


def not_run(rows: Iterable[Row]) -> list[Md]:
    """One line a reason: why no number stands beside these claims."""
    reasons: dict[str, list[Md]] = {}
    for row in rows:
        if row.state in ("not run", "not measured"):
            reasons.setdefault(row.reason, []).append(md("{} ({})", code(row.claim), cells.published(row)))
    return [
        md("{}: {}", prose(reason[:1].upper() + reason[1:].rstrip(".")), join(claims))
        for reason, claims in reasons.items()
    ]


def experiments_table(report: Report, arms: list[Arm]) -> Md:
    """The experiments with their reading, tier and how many runs answer for them."""
    runs = {name: len(arm.chosen) for arm in arms for name in arm.names}
    return table(
        ["Experiment", "What it is", "Reading", "Tier", "Runs"],
        "llllr",
        (
            [code(e.id), prose(e.title), READING_WORDS[e.reading], e.tier, runs[e.id]]
            for e in report.experiments.values()
        ),
    )


def protocol_words(rows: Iterable[Row], records: Iterable[RunRecord]) -> Md:
    """The protocols that occur on the page, explained."""
    names = {row.protocol.partition(":")[0] for row in rows if row.protocol} | {n for r in records for n in r.finals}
    known = [name for name in PROTOCOL_WORDS if name in names]
    return table(["Protocol", "What it measures"], "ll", ([code(name), PROTOCOL_WORDS[name]] for name in known))


def _run_table(arm: Arm, record: RunRecord, rows: list[Row]) -> tuple[Md, Md]:
    extra = [r.protocol for r in rows if r.experiment in arm.names and (r.protocol or "").startswith("at_epoch:")]
    last = cells.figure(cells.finite(record.value("last", "acc_pct")), "acc_pct")
    # The title stands in HTML, where Markdown's backslashes would show: ids and numbers only.
    title = Md(f"{', '.join(arm.names)}, {_seed(record)}: {last} after the last epoch")
    return title, cells.protocol_table(record, [name for name in extra if name])


def _seed(record: RunRecord) -> str:
    return f"seed {int(record.seed)}" + ("" if record.fold is None else f", fold {int(record.fold)}")


def environments_table(records: list[RunRecord]) -> Md:
    """The distinct machines and versions, lettered."""
    keys = ("device", "driver", "torch", "cuda", "python", "commit", "dirty")
    rows = [
        [letter, *(_version(key, dict(env).get(key, "")) for key in keys), env_class]
        for (env_class, env), letter in _letters(records).items()
    ]
    return table(
        ["Machine", "Device", "Driver", "torch", "CUDA", "Python", "Commit", "Changed files", "Class"], "l" * 9, rows
    )


def _version(key: str, value: str) -> str:
    short = value[:12] if key == "commit" else value[:80]
    return {"True": "yes", "False": "no", "None": ""}.get(value, short)


def _environment(record: RunRecord) -> tuple[str, tuple[tuple[str, str], ...]]:
    return record.env_class, tuple(sorted((str(key), str(value)) for key, value in record.env.items() if key != "diff"))


def _letters(records: list[RunRecord]) -> dict[tuple[str, tuple[tuple[str, str], ...]], str]:
    distinct = sorted({_environment(record) for record in records})
    return {env: f"E{i}" for i, env in enumerate(distinct, 1)}


def cost_table(runs: list[tuple[Arm, RunRecord]]) -> Md:
    """What each run cost, and the file that holds its record."""
    letters = _letters([record for _, record in runs])
    rows = []
    for arm, r in runs:
        energy = cells.finite(r.energy_j)
        rows.append([
            code(arm.name), _seed(r), r.state, letters[_environment(r)],
            number((cells.finite(r.seconds) or 0) / 3600, 2), number(cells.finite(r.images_per_s)),
            number(energy / 3.6e6, 2) if energy is not None else "", len(r.resumed) or "",
            code(r.run_key), code(r.file_name),
        ])  # fmt: skip
    head = ["Experiment", "Run", "State", "Machine", "Hours", "Images/s", "kWh", "Resumed", "Run key", "Record"]
    return table(head, "lllcrrrrll", rows)


def replicates_table(arms: list[Arm]) -> Md | str:
    """Further records of a run key: they do not enter a mean, but show whether a repetition agrees."""
    rows = []
    for arm in arms:
        counted = {record.run_key: record for record in arm.chosen}
        for r in arm.replicates:
            first = counted[r.run_key]
            mine, theirs = (cells.finite(x.value("last", "acc_pct")) for x in (r, first))
            gap = None if mine is None or theirs is None else mine - theirs
            same_place = r.env_class == first.env_class
            drift = ("no" if _measured(r) == _measured(first) else "**yes**") if same_place else "other class"
            rows.append([code(arm.name), _seed(r), code(r.run_key), r.env.get("device"), r.env_class, r.started,
                         cells.figure(mine, "acc_pct"), signed(gap, 2), Md(drift)])  # fmt: skip
    head = ["Experiment", "Run", "Run key", "Device", "Class", "Started", "Last", "To the counted one", "Drift"]
    return table(head, "llllllrrc", rows) if rows else ""


def _measured(record: RunRecord) -> dict[str, dict[str, str]]:
    # The official order is known or not; that is no property of the training. NaN equals NaN here.
    return {
        protocol: {metric: str(value) for metric, value in final.items() if metric != "official_pct"}
        for protocol, final in record.finals.items()
    }


def images(arm: Arm) -> Md:
    """The arm's figures as Markdown images; the ids in their names come from the report's file."""
    words = {"curves": "training and test curves", "confusion": "confusion matrix after the last epoch"}
    pictures = []
    for name in sorted(arm.figures, reverse=True):
        kind = name.removeprefix(f"{arm.name}-").partition(".")[0]
        pictures.append(Md(f"![{arm.name}: {words[kind]}](figures/{name})"))
    return join(pictures, "\n\n")
