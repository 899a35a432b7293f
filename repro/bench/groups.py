"""The suite's runs by what a step of theirs is, and what they come to once a step of each group has been measured."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from repro.run import measured_images
from repro.spec import cost
from repro.spec.identity import Run, canonical
from repro.spec.recipe import Recipe

#: minutes on an H200 that the headline and core experiments may take with one seed, and those hoped for, by line
WITHOUT_LARGEST, ALL = "without geng2022", "all"
TARGETS: Mapping[str, tuple[float, float]] = {WITHOUT_LARGEST: (14.0, 9.0), ALL: (45.0, 30.0)}
LARGEST = "geng2022"


@dataclass(frozen=True)
class Paces:
    """Seconds of a step, of a test image, of an epoch's end (numbers read, checkpoint) and until a run is ready."""

    step_s: float
    test_image_s: float
    epoch_end_s: float
    prepare_s: float


@dataclass(frozen=True)
class Minutes:
    """What runs take, by what they spend it on."""

    training: float = 0.0
    tests: float = 0.0
    epoch_ends: float = 0.0
    preparing: float = 0.0

    @property
    def all(self) -> float:
        """The sum."""
        return self.training + self.tests + self.epoch_ends + self.preparing


@dataclass(frozen=True)
class Group:
    """Runs whose steps are alike; the first is measured for all."""

    runs: tuple[Run, ...]

    @property
    def recipe(self) -> Recipe:
        """The recipe whose step is measured."""
        return self.runs[0].recipe

    @property
    def epochs(self) -> int:
        """Epochs of all runs together."""
        return sum(run.recipe.budget.epochs for run in self.runs)

    @property
    def steps(self) -> int:
        """Steps of all runs together."""
        return sum(run.recipe.budget.epochs * steps_of(run.recipe) for run in self.runs)

    def minutes(self, paces: Paces) -> Minutes:
        """Multiply out: every step as long as a full batch's, also the last of an epoch."""
        images = sum(run.recipe.budget.epochs * measured_images(run.recipe, run.profile, run.tier) for run in self.runs)
        return Minutes(
            self.steps * paces.step_s / 60, images * paces.test_image_s / 60, self.epochs * paces.epoch_end_s / 60,
            len(self.runs) * paces.prepare_s / 60,
        )  # fmt: skip


def steps_of(recipe: Recipe) -> int:
    """Return the steps of an epoch; the last one may have fewer images."""
    return ceil(recipe.data.split.train / recipe.budget.batch_size)


def operations(runs: Iterable[Run]) -> float:
    """Return the operations of training so many runs, in closed form."""
    return sum(cost.of(run.recipe).flop / cost.of(run.recipe).networks for run in runs)


def kind(recipe: Recipe) -> str:
    """Name what a step is: network, batch, augmentation, loss, optimizer.

    Of the optimizer's and the loss's numbers it counts whether they are 0, which leaves a part of the step out; a
    learning rate decides nothing.
    """
    own = [recipe.model, *recipe.augment]
    parts = [part.model_dump(mode="json") for part in own]
    switched = [_switches(recipe.optim.model_dump(exclude={"lr", "recreate_each_epoch"})), _switches(recipe.loss)]
    return canonical([*parts, *switched, recipe.budget.batch_size])


def _switches(part: Any) -> dict[str, Any]:
    values = part if isinstance(part, dict) else part.model_dump()
    return {key: value if isinstance(value, str) else bool(value) for key, value in values.items()}


def grouped(runs: Iterable[Run]) -> list[Group]:
    """Group runs by their step, the group that is expected to take longest first."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(kind(run.recipe), []).append(run)
    groups = [Group(tuple(each)) for each in found.values()]
    return sorted(groups, key=_expected, reverse=True)


def _expected(group: Group) -> float:
    priced = (cost.of(run.recipe) for run in group.runs)
    return sum(each.minutes / each.networks for each in priced)


@dataclass(frozen=True)
class Line:
    """A sum: its runs, those measured, their share of the operations, and the measured runs' minutes."""

    name: str
    runs: tuple[Run, ...]
    measured: tuple[Run, ...]
    minutes: float

    @property
    def complete(self) -> bool:
        """Whether all of its runs are measured."""
        return len(self.measured) == len(self.runs)

    @property
    def share(self) -> float:
        """The measured runs' share of the operations."""
        return operations(self.measured) / operations(self.runs)


def lines(groups: Sequence[Group], paces: Mapping[int, Paces]) -> list[Line]:
    """Sum a report and in all; `paces` are those of the groups measured, by their place."""
    of_run = {
        run.key: Group((run,)).minutes(paces[place]).all
        for place, group in enumerate(groups) if place in paces for run in group.runs
    }  # fmt: skip
    runs = [run for group in groups for run in group.runs]
    reports = sorted({run.report for run in runs})
    wanted = {name: [name] for name in reports}
    if LARGEST in reports and len(reports) > 2:
        wanted[WITHOUT_LARGEST] = [name for name in reports if name != LARGEST]
    if len(reports) > 1:
        wanted[ALL] = reports
    return [_line(name, [run for run in runs if run.report in of], of_run) for name, of in wanted.items()]


def _line(name: str, runs: Sequence[Run], of_run: Mapping[str, float]) -> Line:
    measured = tuple(run for run in runs if run.key in of_run)
    return Line(name, tuple(runs), measured, sum(of_run[run.key] for run in measured))


def target(line: Line, whole: Sequence[Run]) -> tuple[float, float] | None:
    """Return a line's target and hope in minutes where it has one, is complete, and lacks none of the `whole` suite."""
    if line.name not in TARGETS or not line.complete:
        return None
    needed = {run.key for run in whole if line.name == ALL or run.report != LARGEST}
    return TARGETS[line.name] if {run.key for run in line.measured} == needed else None
