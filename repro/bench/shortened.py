"""What `bench accuracy` trains: a recipe in full or shortened, and the settings that a row of results stands for."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from repro import environment
from repro import run as runner
from repro.bench.networks import Named
from repro.bench.peers import PLAIN
from repro.bench.seeds import Row
from repro.data.cifar10 import Dataset
from repro.errors import UserError
from repro.run import Options
from repro.spec.identity import recipe_hash
from repro.spec.recipe import Recipe


@dataclass
class Plan:
    """How to measure: images that train, epochs, and test images at most, None for all of the recipe's."""

    dataset: Dataset
    options: Options
    images: int | None = None
    epochs: int | None = None
    test_images: int | None = None
    deadline: float | None = None
    say: Callable[[str], None] = print
    clock: Callable[[], float] = time.perf_counter


def reduced(named: Named, plan: Plan) -> Recipe:
    """Return the recipe with the plan's images and epochs, its schedule in the same shape over the shorter budget."""
    name, recipe, there = f"{named[0].id}/{named[1].id}", named[1].recipe, len(plan.dataset.x_train)
    if recipe.data.folds:
        raise UserError(f"{name}: trains in folds, which a plain loop has not; name an experiment with one split")
    split, own = recipe.data.split, recipe.budget.epochs
    most = min(split.train, there * split.train // (split.train + split.val))
    for option, wanted, limit in (
        ("--images", plan.images, most), ("--epochs", plan.epochs, own),
        ("--test-images", plan.test_images, len(plan.dataset.x_test)),
    ):  # fmt: skip
        if wanted is not None and wanted > limit:
            raise UserError(f"{option} {wanted:,}: {name} has {limit:,} here; give at most so many")
    train, epochs_ = plan.images or most, plan.epochs or own
    val = max(1, split.val * train // split.train) if split.val else 0
    data = recipe.data.model_copy(update={"split": split.model_copy(update={"train": train, "val": val})})
    budget = recipe.budget.model_copy(update={"epochs": epochs_})
    plan_of = runner.shortened(recipe.schedule, epochs_, epochs_, own)
    return recipe.model_copy(update={"data": data, "budget": budget, "schedule": plan_of})


def begun(named: Named, recipe: Recipe, plan: Plan) -> Row:
    """Return an experiment's row without seeds: what is trained, how, and where."""
    (report, experiment), options, own = named, plan.options, named[1].recipe
    tested = plan.test_images or len(plan.dataset.x_test)
    settings = {
        "recipe_hash": recipe_hash(recipe), "images": recipe.data.split.train, "epochs": recipe.budget.epochs,
        "test_images": tested, "source": plan.dataset.name, "data": f"{plan.dataset.train}:{plan.dataset.test}",
        "env_class": options.env_class, "workers": PLAIN.workers(),
        "precision": {"ours": options.precision, "plain": PLAIN.precision(options.precision, options.device)},
    }  # fmt: skip
    whole = {
        "images": own.data.split.train, "epochs": own.budget.epochs, "test_images": runner.FULL_TEST_IMAGES,
        "source": "cifar10",
    }  # fmt: skip
    return {
        "experiment": f"{report.id}/{experiment.id}", "settings": settings, "recipe": whole,
        "reduced": any(settings[key] != value for key, value in whole.items()),
        "machine": environment.describe(options.device), "date": now(), "seeds": [],
    }  # fmt: skip


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
