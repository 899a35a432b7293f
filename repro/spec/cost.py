"""What experiments take: operations counted in closed form, and from them an estimate of minutes on one H200.

The operations are those of training; the tests after each epoch (about 6 % more) and the augmentation are left out.
The minutes are no measurement: a step is taken to last as long as its operations at a rate that grows with the
network's width, or as the launches of its kernels, whichever is longer.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import get_args

from repro.spec import counting
from repro.spec.identity import folds_of, recipe_hash
from repro.spec.network import VGG, ResNet
from repro.spec.recipe import JensenShannon, Recipe
from repro.spec.schema import Experiment, Report, Tier

TIERS: tuple[Tier, ...] = get_args(Tier)
#: launches of a training step for each convolution (its norm, activation, gradients and casts with it), and of each
LAUNCHES, LAUNCH_S = 14.7, 6e-6
#: sustained operations a second in bfloat16: so many a channel of the widest stage, within these bounds
PER_CHANNEL, SLOWEST, FASTEST = 0.375e12, 100e12, 280e12


@dataclass(frozen=True)
class Cost:
    """Of one seed: networks trained (folds), epochs of each, operations of all of them, minutes estimated."""

    networks: int
    epochs: int
    flop: float
    minutes: float

    @property
    def pflop(self) -> float:
        """Operations in 10^15."""
        return self.flop / 1e15


@dataclass(frozen=True)
class Priced:
    """An experiment and its cost; `same_as` names an earlier one of its report with the same recipe and runs."""

    report: str
    experiment: Experiment
    cost: Cost
    same_as: str | None


@dataclass(frozen=True)
class Total:
    """A sum over experiments; those that share their runs count once."""

    experiments: int
    pflop: float
    minutes: float


def of(recipe: Recipe) -> Cost:
    """Return what a recipe takes with one seed."""
    networks, epochs, images = len(folds_of(recipe)), recipe.budget.epochs, recipe.data.split.train
    an_epoch = images * views(recipe) * counting.training_flop(recipe.model)
    steps = ceil(images / recipe.budget.batch_size)
    step_s = max(an_epoch / steps / rate(recipe.model), launches(recipe.model) * LAUNCH_S)
    return Cost(networks, epochs, networks * epochs * an_epoch, networks * epochs * steps * step_s / 60)


def views(recipe: Recipe) -> int:
    """Return how many versions of an image a step trains on."""
    return 3 if isinstance(recipe.loss, JensenShannon) else 1


def rate(model: ResNet | VGG) -> float:
    """Return the operations a second that training is assumed to sustain."""
    return min(max(PER_CHANNEL * max(model.widths), SLOWEST), FASTEST)


def launches(model: ResNet | VGG) -> float:
    """Return the kernels that a training step is assumed to launch."""
    return LAUNCHES * sum(row.name.startswith("Conv2d") for row in counting.layers(model))


def priced(reports: Mapping[str, Report]) -> list[Priced]:
    """Price every experiment, in the order of the files; one that shares its runs names whose they are.

    Of several with one recipe it is that of the most important tier that has the runs, else the first.
    """
    rows = []
    for report in reports.values():
        owners: dict[str, Experiment] = {}
        for experiment in sorted(report.experiments.values(), key=lambda e: TIERS.index(e.tier)):
            owners.setdefault(recipe_hash(experiment.recipe), experiment)
        for experiment in report.experiments.values():
            owner = owners[recipe_hash(experiment.recipe)]
            same_as = None if owner.id == experiment.id else owner.id
            rows.append(Priced(report.id, experiment, of(experiment.recipe), same_as))
    return rows


def total(rows: Iterable[Priced]) -> Total:
    """Add up; rows that share another's runs are left out."""
    own = [row.cost for row in rows if row.same_as is None]
    return Total(len(own), sum(cost.pflop for cost in own), sum(cost.minutes for cost in own))


def totals(rows: Iterable[Priced]) -> dict[str, Total]:
    """Return the totals of each tier, of headline and core together ("a seed"), and of everything."""
    rows = list(rows)
    groups: dict[str, tuple[Tier, ...]] = {tier: (tier,) for tier in TIERS}
    groups |= {"headline + core": ("headline", "core"), "all": TIERS}
    return {name: total(row for row in rows if row.experiment.tier in tiers) for name, tiers in groups.items()}
