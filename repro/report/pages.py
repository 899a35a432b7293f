"""What a report's page shows, gathered from spec and records; the templates only place it."""

from collections.abc import Iterable, Iterator
from typing import Any

from repro.judge import label
from repro.judge.claims import Row
from repro.judge.ladder import ladders
from repro.judge.records import number as finite
from repro.record import RunRecord
from repro.report import cells, machines, protocols
from repro.report.cells import bullets, folded
from repro.report.figures import Arm
from repro.report.ladders import checklist_table, headline_ladders, other_ladders
from repro.report.markdown import Md, code, join, md, number, plural, prose, table
from repro.report.runs import run_tables
from repro.report.sentences import sentence_table, untestable
from repro.report.tables import READING_WORDS, facts, shared_and_own
from repro.report.values import COMPARED, DRAWN, EXACT, UNTESTABLE, published
from repro.spec.schema import Report


def context(report: Report, rows: list[Row], arms: list[Arm], records: list[RunRecord], profile: str) -> dict[str, Any]:
    """Return everything a report's template places."""
    runs = [(arm, record) for arm in arms for record in arm.chosen]
    known = {id(r) for arm in arms for r in (*arm.chosen, *arm.replicates)}
    measured = [row for row in rows if row.kind in ("point", "loss") and row.experiment]
    return {
        "report": report,
        "profile": profile,
        "label": label.label(rows) if profile == "full" else None,
        "headline": cells.headline_table([row for row in rows if row.headline], profile),
        **described(report, arms),
        **sourced(report, rows, profile),
        **judged(rows, measured, profile),
        "provisional": cells.provisional_note(rows) if profile == "full" else "",
        "protocols": protocols.protocol_words(rows, [record for _, record in runs]),
        "run_tables": run_tables(arms, measured),
        "not_run": not_run(rows),
        "untestable": untestable(rows),
        "sentences": sentence_table(report.sentences),
        "arms": arms,
        "environments": machines.environments_table([record for _, record in runs]),
        "precisions": machines.precision_note([record for _, record in runs]),
        "cost": machines.cost_table(runs),
        "hours": number(sum(finite(record.seconds) or 0.0 for _, record in runs) / 3600, 2),
        "drifted": machines.drifted(arms),
        "replicates": machines.replicates_table(arms),
        "strangers": [code(r.run_key) for r in records if r.report == report.id and id(r) not in known],
        "n_runs": len(runs),
    }


def described(report: Report, arms: list[Arm]) -> dict[str, Any]:
    """Return what the report's file says of its experiments."""
    recipes = {e.id: facts(e.recipe) for e in report.experiments.values()}
    shared, own = shared_and_own(recipes)
    words = f"{plural(len(recipes), 'experiment')}: what differs" if own else ""
    deviations = [[d.theirs, d.ours, d.why, d.effect] for d in report.deviations]
    deviations += machines.precision_deviation([record for arm in arms for record in arm.chosen])
    return {
        "experiments": folded(plural(len(recipes), "experiment"), experiments_table(report, arms), len(recipes)),
        "shared": table(["Fact", "Value"], "ll", shared.items()),
        "own": folded(words, table(["Experiment", *own], "l" * (1 + len(own)), _own_rows(recipes, own)), len(recipes))
        if own
        else "",
        "assumed": table(["Where", "Why this value"], "ll", ([code(k), prose(v)] for k, v in report.assumed.items())),
        "deviations": table(
            ["Theirs", "Ours", "Why", "Expected effect"], "llll",
            [[prose(t) for t in line] for line in deviations],
        ) if deviations else "",
    }  # fmt: skip


def sourced(report: Report, rows: list[Row], profile: str) -> dict[str, Any]:
    """Return the reporting checklist, and what each published number rests on."""
    found = ladders(report, rows)
    return {
        "checklist": checklist_table(report),
        "ladders": headline_ladders(report, found, profile),
        "other_ladders": other_ladders(found, profile),
    }


def judged(rows: list[Row], measured: list[Row], profile: str) -> dict[str, Any]:
    """Return the tables of claims by kind, the long ones folded, and what is to be said beside them."""
    compared, drawn, exact = ([row for row in rows if row.kind in kinds] for kinds in (COMPARED, DRAWN, EXACT))
    groups = ((name, [row for row in measured if row.experiment == name]) for name in _in_turn(measured))
    orders = [sentence for row in measured for sentence in protocols.order_sentences(row)]
    behind = [cells.details(kind) for kind in (compared, drawn)]
    lines = cells.verdict_lines(rows) if profile == "full" else []
    return {
        "by_experiment": [(e, folded(_title(own), cells.measured_table(own, profile), len(own))) for e, own in groups],
        "compared": folded(_title(compared), cells.compared_table(compared, profile), len(compared)),
        "compared_details": folded("What lies behind them", bullets(behind[0]), len(behind[0])),
        "drawn": folded(_title(drawn), cells.drawn_table(drawn, profile), len(drawn)),
        "drawn_details": folded("What lies behind them", bullets(behind[1]), len(behind[1])),
        "verdicts": folded(plural(len(lines), "verdict"), bullets(lines), len(lines)),
        "counts": folded(_title(exact), cells.count_table(exact), len(exact)),
        "orders": folded(plural(len(orders), "value"), bullets(orders), len(orders)),
        "notes": folded(plural(len(notes(rows)), "note"), bullets(notes(rows)), len(notes(rows))),
        "has": {"compared": bool(compared), "drawn": bool(drawn), "counts": bool(exact)},
    }


def _title(rows: list[Row]) -> str:
    done = sum(row.ours is not None for row in rows)
    return f"{plural(len(rows), 'claim')}, {done or 'none'} with a number of ours"


def _own_rows(recipes: dict[str, dict[str, str]], own: list[str]) -> Iterator[list[Any]]:
    for name, recipe in recipes.items():
        yield [code(name), *(recipe[key] for key in own)]


def _in_turn(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(row.experiment for row in rows if row.experiment))


def notes(rows: Iterable[Row]) -> list[Md]:
    """What the report's file adds to a claim."""
    return [md("{}: {}", code(row.claim), prose(row.note)) for row in rows if row.note and row.kind not in UNTESTABLE]


def not_run(rows: Iterable[Row]) -> list[Md]:
    """One line a reason: why no number stands beside these claims."""
    reasons: dict[str, list[Md]] = {}
    for row in rows:
        if row.state in ("not run", "not measured"):
            name = code(row.claim)
            printed = name if row.published is None else md("{} ({})", name, published(row))
            reasons.setdefault(row.reason, []).append(printed)
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
