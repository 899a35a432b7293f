"""What the benchmarks of a training step and of an epoch share: three arms of one experiment, timed in turn."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import torch

from repro import environment
from repro.bench import epochs, idle, measured
from repro.bench.epochs import SEED, Arm
from repro.bench.networks import Named
from repro.bench.peers import STYLES, Peer
from repro.data.cifar10 import Dataset
from repro.judge.timings import Round
from repro.run import Options
from repro.spec import counting
from repro.spec.identity import Run, runs_of

SCHEMA = 1


@dataclass
class Plan:
    """How to measure; `batch` in place of the recipe's and `images` an epoch, None for the recipe's own.

    `watch` times the arms. `deadline`: on the clock; experiments share the time until then, and each that is begun is
    timed at least once.
    """

    dataset: Dataset
    options: Options
    repeats: int = 5
    steps: int | None = None
    batch: int | None = None
    images: int | None = None
    deadline: float | None = None
    say: Callable[[str], None] = print
    clock: Callable[[], float] = time.perf_counter
    watch: Callable[[], float] = time.perf_counter
    look: Callable[[torch.device], Round] = idle.look

    def arm(self, run: Run, images: int | None) -> Arm:
        """Return ours, ready to train on at most so many images an epoch."""
        return Arm(run, epochs.Plan(self.dataset, self.options, images=images, say=self.say, clock=self.clock))

    def sync(self) -> None:
        """Wait until the device has done everything."""
        if self.options.device.type == "cuda":
            torch.cuda.synchronize(self.options.device)


def run_of(named: Named, plan: Plan) -> Run:
    """Return the run of an experiment, of several folds the first, with the plan's batch size."""
    report, experiment = named
    prints = f"{plan.dataset.train}:{plan.dataset.test}"
    run = runs_of(report, [experiment], [SEED], prints, "full")[0]
    if plan.batch is None:
        return run
    budget = run.recipe.budget.model_copy(update={"batch_size": plan.batch})
    return replace(run, recipe=run.recipe.model_copy(update={"budget": budget}))


def in_turn(arms: Mapping[str, Callable[[int], object]], plan: Plan) -> dict[str, list[float]]:
    """Time arms in turn (ours, plain, tuned, ours, ...), each handed the number of the round from 1; return seconds.

    Rounds that would end after the plan's deadline are left out, but for the first.
    """
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    longest = 0.0
    for number in range(1, plan.repeats + 1):
        began_round = plan.clock()
        if number > 1 and plan.deadline is not None and began_round + longest > plan.deadline:
            break
        for name, arm in arms.items():
            plan.sync()
            began = plan.watch()
            arm(number)
            plan.sync()
            seconds[name].append(plan.watch() - began)
        longest = max(longest, plan.clock() - began_round)
    return seconds


def row(
    named: Named, ours: Arm, peers: Iterable[Peer], seconds: Mapping[str, list[float]], seen: Round, plan: Plan,
    least: int, operations: Mapping[str, float] = MappingProxyType({}),
) -> dict[str, Any]:  # fmt: skip
    """Return one experiment's figures as plain values; with `least` images a timing it is held against a target."""
    (report, experiment), recipe, stepper = named, ours.recipe, ours.stepper
    device, own = device_name(plan), experiment.recipe
    native = environment.pick_precision("auto", plan.options.device) == "bf16"
    precisions = {"ours": plan.options.precision} | {peer.style.name: peer.precision for peer in peers}
    # A target is of the recipe's own batches; with fewer images in a step other things weigh.
    whole = recipe.budget.batch_size == own.budget.batch_size and stepper.seen >= least
    wanted = {
        name: measured.target(recipe.model, device, precisions["ours"], name, native) if whole else None
        for name in precisions
    }
    return {
        "experiment": f"{report.id}/{experiment.id}", "network": recipe.model.name,
        "widths": list(recipe.model.widths), "parameters": counting.parameters(recipe.model),
        "flop_an_image": measured.flop_an_image(recipe), "batch_size": recipe.budget.batch_size,
        "recipe_batch_size": own.budget.batch_size, "images": stepper.seen, "recipe_images": own.data.split.train,
        "steps": stepper.steps, "repeats": len(seconds["ours"]),
        "before": {"idle": seen.idle, "busy_pct": seen.busy_pct, "others": seen.others},
        "arms": {
            name: measured.arm(seconds[name], stepper.seen, recipe, device, precision, operations.get(name))
            for name, precision in precisions.items()
        },
        "ratios": {
            style.name: measured.against(seconds["ours"], seconds[style.name], wanted[style.name]) for style in STYLES
        },
    }  # fmt: skip


def device_name(plan: Plan) -> str:
    """Return the device's name, as records have it."""
    return str(environment.describe(plan.options.device)["device"])


def _share(plan: Plan, left: Sequence[Named], benchmark: str) -> Plan:
    """Return the plan of the first of those left: of the time, the part that its operations are of all of theirs."""
    if plan.deadline is None:
        return plan
    recipes = [experiment.recipe for _, experiment in left]
    sizes = [r.budget.batch_size if benchmark == "step" else r.data.split.train for r in recipes]
    work = [measured.flop_an_image(recipe) * size for recipe, size in zip(recipes, sizes, strict=True)]
    now = plan.clock()
    return replace(plan, deadline=now + max(plan.deadline - now, 0.0) * work[0] / sum(work))


def result(
    benchmark: str, chosen: Sequence[Named], plan: Plan, measure: Callable[[Named, Plan], dict[str, Any]]
) -> dict[str, Any]:
    """Measure experiments one after the other; return machine, settings and rows as plain values."""
    options = plan.options
    environment.prepare(options.device, options.precision, options.deterministic)
    rows: list[dict[str, Any]] = []
    for place, named in enumerate(chosen):
        name = f"{named[0].id}/{named[1].id}"
        if rows and plan.deadline is not None and plan.clock() > plan.deadline:
            plan.say(f"time is over: {name} is missing")
            continue
        plan.say(f"{name} ...")
        rows.append(measure(named, _share(plan, chosen[place:], benchmark)))
        said = ", ".join(f"{name} {found['ratio']:.2f}" for name, found in rows[-1]["ratios"].items())
        plan.say(f"  ratio to {said}")
    return {
        "benchmark": benchmark, "schema": SCHEMA, "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": environment.describe(options.device), "precision": options.precision,
        "source": plan.dataset.name, "clock": "wall" if plan.watch is time.perf_counter else "thread",
        "workers": {style.name: style.workers() for style in STYLES}, "rows": rows,
    }  # fmt: skip
