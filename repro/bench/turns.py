"""What the benchmarks of training share: the plan, arms of one experiment timed in turn, and what is written."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import torch

from repro import environment
from repro.bench import epochs, idle, measured
from repro.bench.epochs import Arm
from repro.bench.measured import Facts
from repro.bench.networks import Named
from repro.bench.peers import STYLES
from repro.data.batches import Resident
from repro.data.cifar10 import Dataset
from repro.judge.timings import Round
from repro.run import Options
from repro.spec import counting
from repro.spec.identity import Run

SCHEMA = 1


@dataclass
class Plan:
    """How to measure; `batch` in place of the recipe's and `images` an epoch, None for the recipe's own.

    `watch` times the arms. `deadline`: on the clock; experiments share the time until then, and each that is begun is
    timed at least once. `keep` is handed the figures after each experiment, as far as they have come.
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
    keep: Callable[[dict[str, Any]], None] = lambda found: None

    def arm(self, run: Run, images: int | None, shared: Resident | None = None, **changes: Any) -> Arm:
        """Return ours, ready to train on at most so many images an epoch, with `changes` of the options."""
        options = replace(self.options, **changes)
        return Arm(run, epochs.Plan(self.dataset, options, images=images, say=self.say, clock=self.clock), shared)

    def sync(self) -> None:
        """Wait until the device has done everything."""
        if self.options.device.type == "cuda":
            torch.cuda.synchronize(self.options.device)


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
    named: Named, ours: Arm, facts: Mapping[str, Facts], seconds: Mapping[str, list[float]], seen: Round, plan: Plan,
    least: int,
) -> dict[str, Any]:  # fmt: skip
    """Return one experiment's figures as plain values; with `least` images a timing peers are held against targets."""
    (report, experiment), recipe, stepper = named, ours.recipe, ours.stepper
    device, own = device_name(plan), experiment.recipe
    native = environment.pick_precision("auto", plan.options.device) == "bf16"
    # A target is of the recipe's own batches; with fewer images in a step other things weigh.
    whole = recipe.budget.batch_size == own.budget.batch_size and stepper.seen >= least
    peers = {style.name for style in STYLES} if whole else set()
    wanted = {
        name: measured.target(recipe.model, device, facts["ours"].precision, name, native) if name in peers else None
        for name in facts
    }
    each = {name: [s / facts[name].copies for s in taken] for name, taken in seconds.items()}
    return {
        "experiment": f"{report.id}/{experiment.id}", "network": recipe.model.name,
        "widths": list(recipe.model.widths), "parameters": counting.parameters(recipe.model),
        "flop_an_image": measured.flop_an_image(recipe), "batch_size": recipe.budget.batch_size,
        "recipe_batch_size": own.budget.batch_size, "images": stepper.seen, "recipe_images": own.data.split.train,
        "steps": stepper.steps, "repeats": len(seconds["ours"]),
        "before": {"idle": seen.idle, "busy_pct": seen.busy_pct, "others": seen.others},
        "arms": {name: measured.arm(seconds[name], stepper.seen, recipe, device, facts[name]) for name in facts},
        "ratios": {
            name: measured.against(each["ours"], each[name], wanted[name]) for name in facts if name != "ours"
        },
    }  # fmt: skip


def device_name(plan: Plan) -> str:
    """Return the device's name, as records have it."""
    return str(environment.describe(plan.options.device)["device"])


def _share(plan: Plan, left: Sequence[Named], benchmark: str) -> Plan:
    """Return the plan of the first of those left: half of the time is shared by their operations, half equally.

    Being made ready takes a small network about as long as a large one.
    """
    if plan.deadline is None:
        return plan
    recipes = [experiment.recipe for _, experiment in left]
    sizes = [r.data.split.train if benchmark == "epoch" else r.budget.batch_size for r in recipes]
    work = [measured.flop_an_image(recipe) * size for recipe, size in zip(recipes, sizes, strict=True)]
    now = plan.clock()
    part = (work[0] / sum(work) + 1 / len(left)) / 2
    return replace(plan, deadline=now + max(plan.deadline - now, 0.0) * part)


def result(
    benchmark: str, chosen: Sequence[Named], plan: Plan, measure: Callable[[Named, Plan], dict[str, Any]], **more: Any
) -> dict[str, Any]:
    """Measure experiments one after the other; return machine, settings, `more` and rows as plain values.

    Where the time is over the experiments that are missing are said.
    """
    options = plan.options
    environment.prepare(options.device, options.precision, options.deterministic)
    rows: list[dict[str, Any]] = []

    def found() -> dict[str, Any]:
        return {**head(benchmark, plan), **more, "rows": rows}

    for place, named in enumerate(chosen):
        name = f"{named[0].id}/{named[1].id}"
        if rows and plan.deadline is not None and plan.clock() > plan.deadline:
            plan.say(f"time is over: {name} is missing")
            continue
        plan.say(f"{name} ...")
        rows.append(measure(named, _share(plan, chosen[place:], benchmark)))
        said = ", ".join(f"{name} {found['ratio']:.2f}" for name, found in rows[-1]["ratios"].items())
        plan.say(f"  ratio to {said}" if said else "  nothing to compare with")
        plan.keep(found())
    return found()


def workers() -> dict[str, int]:
    """Return with how many processes each published loop loads its images."""
    return {style.name: style.workers() for style in STYLES}


def head(benchmark: str, plan: Plan) -> dict[str, Any]:
    """Return what every benchmark's file begins with: when, where, in what, on which images, by which clock."""
    return {
        "benchmark": benchmark, "schema": SCHEMA, "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": environment.describe(plan.options.device), "precision": plan.options.precision,
        "source": plan.dataset.name, "clock": "wall" if plan.watch is time.perf_counter else "thread",
    }  # fmt: skip


def own_time(plan: Plan) -> Plan:
    """Return the plan with the clock that disturbs least: on one thread of a CPU that thread's own time."""
    if plan.options.device.type == "cpu" and torch.get_num_threads() == 1:
        return replace(plan, watch=time.thread_time)
    return plan
