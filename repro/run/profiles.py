"""What a profile makes of a recipe: `quick` a tenth of the epochs, `smoke` a few steps on an embedded sample."""

from pathlib import Path

from repro.data import cifar10, sample
from repro.data.cifar10 import Dataset
from repro.spec import cifar
from repro.spec.recipe import Recipe
from repro.spec.training import Schedule

#: a smoke run: steps of experiments that are not headline, and test images of these and of headline ones
SMOKE_STEPS, SMOKE_SHORT, SMOKE_TEST = 1, 25, 100
FULL_TRAIN_IMAGES, FULL_TEST_IMAGES = cifar.TRAIN_IMAGES, cifar.TEST_IMAGES
#: fields of schedules that count epochs
LENGTHS = ("t_max", "t_0", "patience")


def dataset_of(profile: str, home: Path) -> Dataset:
    """Return the data a profile trains on: the embedded sample for smoke, else all of CIFAR-10."""
    return sample.load() if profile == "smoke" else cifar10.load(home)


def test_images(profile: str, tier: str) -> int:
    """Return how many test images a run is measured on."""
    return (SMOKE_TEST if tier == "headline" else SMOKE_SHORT) if profile == "smoke" else FULL_TEST_IMAGES


def few_steps(profile: str, tier: str) -> bool:
    """Whether a run trains for `SMOKE_STEPS` steps only."""
    return profile == "smoke" and tier != "headline"


def measured_images(recipe: Recipe, profile: str, tier: str) -> int:
    """Return the images measured after an epoch: test, validation, and this again where it is augmented."""
    times = 2 if recipe.data.val_transform == "train" else 1
    return test_images(profile, tier) + times * recipe.data.split.val


def adapt(recipe: Recipe, profile: str, images: int) -> Recipe:
    """Shrink a recipe to a profile: `quick` a tenth of the epochs with the schedule rescaled, `smoke` one epoch."""
    if profile == "full":
        return recipe
    epochs = 1 if profile == "smoke" else max(1, recipe.budget.epochs // 10)
    plan = shortened(recipe.schedule, epochs, 1, 10) if profile == "quick" else recipe.schedule
    split = recipe.data.split
    # At least one image of what there is: a schedule may watch the validation loss, however few images validate.
    parts = {"train": split.train, "val": split.val}
    scaled = {key: max(1, n * images // FULL_TRAIN_IMAGES) if n else 0 for key, n in parts.items()}
    data = recipe.data.model_copy(update={"split": split.model_copy(update=scaled)})
    budget = recipe.budget.model_copy(update={"epochs": epochs})
    return recipe.model_copy(update={"data": data, "budget": budget, "schedule": plan})


def shortened(plan: Schedule, epochs: int, part: int, of: int) -> Schedule:
    """Return a schedule with `part` in `of` of its lengths, its warm-up rounded up but short of the `epochs`."""
    lengths = {key: max(1, getattr(plan, key) * part // of) for key in LENGTHS if hasattr(plan, key)}
    warmup = min(-(-plan.warmup_epochs * part // of), epochs - 1)
    return plan.model_copy(update=lengths | {"warmup_epochs": warmup})
