"""What the whole suite would take on this device, from measured steps, tests and epoch ends: nothing is estimated.

Runs are grouped by what a step of theirs is; one run of each group is measured, the group that is expected to take
longest first, and multiplied out. A group that was not reached stays not measured, and the sums say so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch

from repro import environment
from repro.bench import arms, measured, turns
from repro.bench import groups as grouping
from repro.bench.epochs import SEED
from repro.bench.groups import Group, Minutes, Paces
from repro.bench.paces import Timed, measure
from repro.bench.turns import Plan
from repro.spec import counting
from repro.spec.identity import Run, runs_of
from repro.spec.schema import Experiment, Report

OVER = "the time was over"


def runs(chosen: Sequence[tuple[Report, Sequence[Experiment]]], plan: Plan) -> list[Run]:
    """Return the runs of experiments with one seed, those of all folds, with the plan's batch size."""
    prints = f"{plan.dataset.train}:{plan.dataset.test}"
    found = [run for report, named in chosen for run in runs_of(report, named, [SEED], prints, "full")]
    return [arms.with_batch(run, plan) for run in found]


def run(wanted: Sequence[Run], whole: Sequence[Run], plan: Plan) -> dict[str, Any]:
    """Measure the groups of the wanted runs and return the figures as plain values.

    Sums are held against targets where they have all runs of the `whole` suite, measured on an H200 in bfloat16.
    """
    environment.prepare(plan.options.device, plan.options.precision, plan.options.deterministic)
    groups = grouping.grouped(wanted)
    found: dict[int, Timed] = {}
    reasons: dict[int, str] = {}
    taken: dict[int, float] = {}
    for place, group in enumerate(groups):
        began = plan.clock()
        if place and plan.deadline is not None and began + _expected(group, groups, taken) > plan.deadline:
            reasons[place] = OVER
            continue
        try:
            found[place] = measure(group, plan)
            plan.say(f"{_name(group)}: {_said(group, found[place])}")
        except torch.OutOfMemoryError as error:
            reasons[place] = str(error).splitlines()[0]
            plan.say(f"{_name(group)}: not measured, {reasons[place]}")
        taken[place] = plan.clock() - began
        plan.keep(_result(groups, found, reasons, whole, plan))
    if over := [_name(groups[place]) for place, reason in reasons.items() if reason == OVER]:
        plan.say(f"time is over, not measured: {', '.join(over)}")
    return _result(groups, found, reasons, whole, plan)


def _expected(group: Group, groups: Sequence[Group], taken: Mapping[int, float]) -> float:
    """Return about how long a group's measurement takes: as others, less where a step has fewer operations."""
    return max(seconds * min(1.0, _work(group) / _work(groups[place])) for place, seconds in taken.items())


def _work(group: Group) -> int:
    return measured.flop_an_image(group.recipe) * group.recipe.budget.batch_size


def _result(
    groups: Sequence[Group], found: dict[int, Timed], reasons: dict[int, str], whole: Sequence[Run], plan: Plan
) -> dict[str, Any]:
    paces = {place: timed.paces(groups[place].recipe.budget.batch_size) for place, timed in found.items()}
    return {
        **turns.head("suite", plan), "seeds": 1, "operations": grouping.operations(r for g in groups for r in g.runs),
        "groups": [
            _group(group, found.get(place), paces.get(place), reasons.get(place), plan)
            for place, group in enumerate(groups)
        ],
        "lines": [_line(line, whole, plan) for line in grouping.lines(groups, paces)],
    }  # fmt: skip


def _group(group: Group, timed: Timed | None, paces: Paces | None, reason: str | None, plan: Plan) -> dict[str, Any]:
    recipe = group.recipe
    experiments = dict.fromkeys(f"{run.report}/{run.experiments[0]}" for run in group.runs)
    plain = {
        "of": _name(group), "experiments": list(experiments), "runs": len(group.runs), "network": recipe.model.name,
        "widths": list(recipe.model.widths), "parameters": counting.parameters(recipe.model),
        "batch_size": recipe.budget.batch_size, "augment": [step.name for step in recipe.augment],
        "loss": recipe.loss.name, "optimizer": recipe.optim.name, "epochs": group.epochs, "steps": group.steps,
        "operations": grouping.operations(group.runs), "measured": None, "minutes": None, "reason": reason,
    }  # fmt: skip
    if timed is None or paces is None:
        return plain
    speed = recipe.budget.batch_size / paces.step_s
    rates = measured.rates(speed, recipe, turns.device_name(plan), plan.options.precision)
    each = [timed.step_of(seconds, recipe.budget.batch_size) for seconds in timed.seconds]
    steps = {"step_s": paces.step_s, "lowest_s": min(each), "highest_s": max(each), "images_per_s": speed}
    return plain | {"measured": asdict(timed) | steps | rates, "minutes": _spent(group.minutes(paces))}


def _spent(minutes: Minutes) -> dict[str, float]:
    return asdict(minutes) | {"all": minutes.all}


def _line(line: grouping.Line, whole: Sequence[Run], plan: Plan) -> dict[str, Any]:
    # A target is of the suite as it is run: recipes' own batches, CIFAR-10, bfloat16 on that GPU.
    usual = plan.batch is None and plan.dataset.name == "cifar10" and plan.options.precision == "bf16"
    held = grouping.target(line, whole) if usual and "H200" in turns.device_name(plan) else None
    wanted, hoped = held or (None, None)
    return {
        "name": line.name, "runs": len(line.runs), "measured_runs": len(line.measured), "share": line.share,
        "minutes": line.minutes if line.measured else None, "complete": line.complete,
        "target": wanted, "met": None if wanted is None else line.minutes <= wanted,
        "moonshot": hoped, "moonshot_met": None if hoped is None else line.minutes <= hoped,
    }  # fmt: skip


def _name(group: Group) -> str:
    return f"{group.runs[0].report}/{group.runs[0].experiments[0]}"


def _said(group: Group, timed: Timed) -> str:
    minutes = group.minutes(timed.paces(group.recipe.budget.batch_size)).all
    step_s = timed.paces(group.recipe.budget.batch_size).step_s
    return f"{1000 * step_s:,.1f} ms a step, {minutes:,.1f} min for {len(group.runs)} run{'s' * (len(group.runs) > 1)}"
