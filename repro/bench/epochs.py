"""Seconds an epoch of experiments that claims of time compare, trained in turn on one device: A B C, A B C, ...

What is timed is the training part of an epoch as a run makes it (draws, batches, augmentation, steps), from a device
that has finished everything to one that has again. The tests after an epoch are not part of it.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import torch

from repro import environment
from repro import run as runner
from repro.bench import idle
from repro.bench.chosen import Wanted
from repro.data import cache, sample
from repro.data.batches import Resident
from repro.data.cifar10 import Dataset
from repro.judge.timings import Group, Round, Timed
from repro.run import Options
from repro.spec.identity import Run, recipe_hash, runs_of
from repro.spec.recipe import Recipe
from repro.train import engine, schedule
from repro.train.graph import Graphed, possible

Say = Callable[[str], None]
SEED = 0
#: steps of the full batch before anything is timed: memory, kernels and their choice
WARM = 3


@dataclass
class Plan:
    """How to measure: `images` an epoch at most (None: all), `deadline` on the clock (None: no end)."""

    dataset: Dataset
    options: Options
    epochs: int = 3
    images: int | None = None
    deadline: float | None = None
    say: Say = print
    clock: Callable[[], float] = time.perf_counter
    look: Callable[[torch.device], Round] = idle.look

    def late(self, seconds: float = 0.0) -> bool:
        """Whether something that takes so many seconds would end after the deadline."""
        return self.deadline is not None and self.clock() + seconds > self.deadline


@dataclass
class Done:
    """What was measured, and the groups of which rounds are missing because the time was over."""

    groups: list[Group] = field(default_factory=list)
    missing: list[Wanted] = field(default_factory=list)


class Arm:
    """One experiment, ready to train; the images on the device are `shared` with the others.

    `prepare_s`: seconds until it was ready, by the plan's clock: network, images, first steps, kernels, graphs.
    """

    def __init__(self, run: Run, plan: Plan, shared: Resident | None = None):
        began = plan.clock()
        self.run, self.device, self._clock = run, plan.options.device, plan.clock
        recipe = fewer(run.recipe, len(plan.dataset.x_train), plan.images)
        self.stepper, self.held = runner.assemble(recipe, run, plan.dataset, plan.options)
        if shared is not None:
            self.stepper.images = shared
        self.recipe, self.make = recipe, runner.optimizer_of(recipe)
        self.optimizer = self.make(self.stepper.model.parameters())
        self.schedule = schedule.build(lr=recipe.optim.lr, **recipe.schedule.model_dump())
        captured = plan.options.graph and possible(self.stepper, self.optimizer)
        self.graphed = Graphed(self.stepper, self.optimizer) if captured else None
        self.prepare_s = plan.clock() - began

    @property
    def captured(self) -> bool:
        """Whether its steps are replayed; asked once it is warm."""
        return self.graphed is not None and self.graphed.capture

    def sync(self) -> None:
        """Wait until the device has done everything."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def warm_up(self, clock: Callable[[], float]) -> float:
        """Make a few steps at both batch sizes of an epoch; return about how many seconds an epoch will take."""
        started = self._clock()
        draws, steps = self.stepper.prepare(SEED, 1), self.stepper.steps
        self.stepper.model.train()
        for i in sorted({*range(min(WARM, steps)), steps - 1}):
            self.stepper.step(i, draws, self.optimizer)
        if self.graphed is not None:
            self.graphed.ready(draws, [0.0] * steps)
        self.sync()
        self.prepare_s += self._clock() - started
        began = clock()
        if self.graphed is not None and self.captured:
            self.graphed.again()
        else:
            self.stepper.step(0, draws, self.optimizer)
        self.sync()
        expected = (clock() - began) * steps
        self.stepper.draw_ahead(SEED, 1)  # as a run has every epoch but its first: no timed one draws two
        return expected

    def epoch(self, number: int, clock: Callable[[], float], ahead: bool = False) -> float:
        """Train an epoch, counted from 1; return its seconds. `ahead`: the next one is drawn meanwhile, as in a run."""
        self.sync()
        began = clock()
        self.train(number)
        if ahead:
            self.stepper.draw_ahead(SEED, number + 1)
        self.sync()
        return clock() - began

    def train(self, number: int) -> None:
        """Issue an epoch, counted from 1, without waiting for the device."""
        if self.recipe.optim.recreate_each_epoch and number > 1:
            self.optimizer = engine.renewed(self.optimizer, self.make, self.stepper, self.graphed)
        graphed = self.graphed
        engine.train(self.stepper, self.optimizer, self.schedule, [], seed=SEED, epoch=number, graphed=graphed)


def fewer(recipe: Recipe, there: int, images: int | None) -> Recipe:
    """Return the recipe, with at most `images` of the images that are `there` to train on, and then no others."""
    split, most = recipe.data.split, min(there, there if images is None else images)
    if split.train <= most and split.train + split.val <= there:
        return recipe
    less = split.model_copy(update={"train": min(split.train, most), "val": 0})
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"split": less, "folds": None})})


def pictures(home: Path) -> Dataset:
    """Return CIFAR-10 where it is here, else the embedded sample."""
    return cache.load(home) if cache.cache_path(home).exists() else sample.load()


def measure_all(chosen: Sequence[Wanted], plan: Plan, keep: Callable[[Group], None] = lambda group: None) -> Done:
    """Measure groups one after the other; `keep` is handed each as soon as it is through."""
    environment.prepare(plan.options.device, plan.options.precision, plan.options.deterministic)
    done = Done()
    for wanted in chosen:
        group = None if plan.late() else measure(wanted, plan)
        if group is not None:
            done.groups.append(group)
            keep(group)
        if group is None or len(group.rounds) < plan.epochs:
            done.missing.append(wanted)
    return done


def measure(wanted: Wanted, plan: Plan) -> Group | None:
    """Time a group's experiments in turn, round by round; None where the time was over before a first round."""
    plan.say(f"{wanted.name}: warming up")
    arms: list[Arm] = []
    expected = 0.0
    for run in _runs(wanted, plan.dataset):
        if plan.late(expected):
            return None
        arms.append(Arm(run, plan, arms[0].stepper.images if arms else None))
        expected += arms[-1].warm_up(plan.clock)
    rounds: list[Round] = []
    seconds: list[list[float]] = []
    for number in range(1, plan.epochs + 1):
        if plan.late(expected):
            break
        rounds.append(plan.look(plan.options.device))
        seconds.append([arm.epoch(number, plan.clock, ahead=True) for arm in arms])
        expected = sum(seconds[-1])
        times = ", ".join(f"{name} {s:.3g} s" for name, s in zip(wanted.experiments, seconds[-1], strict=True))
        plan.say(f"  round {number} of {plan.epochs}: {times}; {said(rounds[-1])}")
    return _group(wanted, plan, arms, seconds, rounds) if rounds else None


def said(seen: Round) -> str:
    """Say what else used the device before a round."""
    numbers = [] if seen.busy_pct is None else [f"{seen.busy_pct:g} % busy"]
    if seen.others:
        numbers.append(f"{seen.others} other process{'es' * (seen.others > 1)}")
    word = {True: "idle", False: "NOT IDLE", None: "not known whether idle"}[seen.idle]
    return word + (f" ({', '.join(numbers)} before it)" if numbers else "")


def _runs(wanted: Wanted, dataset: Dataset) -> list[Run]:
    """Return the run of each experiment, in their order; of several folds the first."""
    arms = [wanted.report.experiments[name] for name in wanted.experiments]
    prints = f"{dataset.train}:{dataset.test}"
    return [runs_of(wanted.report, [arm], [SEED], prints, "full")[0] for arm in arms]


def _group(
    wanted: Wanted, plan: Plan, arms: Sequence[Arm], seconds: Sequence[Sequence[float]], rounds: Sequence[Round]
) -> Group:
    timed = [
        Timed(
            experiment=name, recipe_hash=recipe_hash(arm.run.recipe), images=arm.stepper.seen,
            of=arm.run.recipe.data.split.train, seconds=tuple(float(f"{each[i]:.6g}") for each in seconds),
        )
        for i, (name, arm) in enumerate(zip(wanted.experiments, arms, strict=True))
    ]  # fmt: skip
    return Group(
        report=wanted.report.id, date=datetime.now(UTC).isoformat(timespec="seconds"),
        env_class=plan.options.env_class, data=plan.dataset.name, machine=environment.describe(plan.options.device),
        experiments=tuple(timed), rounds=tuple(rounds),
    )  # fmt: skip
