"""A look at the data: images of each class, and what an experiment's augmentation makes of them in training."""

from pathlib import Path

import numpy as np
import torch

from repro import augment, plots
from repro.data import cifar10, sample
from repro.data.batches import Resident, Scale, epoch_order
from repro.data.cifar10 import Dataset
from repro.draws import generator
from repro.errors import UserError
from repro.record import CLASSES, write_atomically
from repro.run import adapt, part_of
from repro.spec.identity import folds_of
from repro.spec.recipe import Augment, Flip, Recipe, Rotate
from repro.spec.schema import Experiment, Report
from repro.spec.selection import select

EACH, EPOCHS = 10, 6
#: an augmentation's name -> words
WORDS = {
    "crop": "padded by {pad} black pixels and cropped at random",
    "flip": "mirrored with probability {p:g}",
    "flip vertical": "turned upside down with probability {p:g}",
    "rotate": "rotated by up to {degrees:g}° either way",
    "rotate exact": "rotated by {degrees:g}° either way",
    "autoaugment": "changed by one of AutoAugment's 25 pairs of operations",
    "augmix": "mixed with {width} chains of operations (AugMix)",
}


def choose(reports: dict[str, Report], target: str | None) -> tuple[Report, Experiment]:
    """Return the first experiment named, one that augments before others; raises UserError for an unknown name."""
    chosen = select(reports, (target,) if target else (), everything=not target, tiers=())
    named = [(report, experiment) for report, arms in chosen for experiment in arms]
    return next((pair for pair in named if pair[1].recipe.augment), named[0])


def write(report: Report, experiment: Experiment, seed: int, home: Path, out: Path) -> str:
    """Write the picture; return a sentence that says where it is and what it shows."""
    if out.suffix.lower() != ".png":
        raise UserError(f"{out}: is no name for a picture; give one that ends in .png")
    full = cifar10.cache_path(home).exists()
    dataset = cifar10.load(home) if full else sample.load()
    write_atomically(out, picture(dataset, f"{report.id}/{experiment.id}", experiment.recipe, seed))
    note = "" if full else " (images of the embedded sample; CIFAR-10 itself is not here yet)"
    return f"{out}: {report.id}/{experiment.id}, seed {seed}{note}"


def picture(dataset: Dataset, name: str, recipe: Recipe, seed: int) -> bytes:
    """Return a PNG: images of each class, and the first of each as a run with this seed sees it epoch by epoch."""
    visited = _visited(dataset, recipe, seed, 1)
    labels = dataset.y_train[visited]
    each = min(EACH, *np.bincount(labels, minlength=len(CLASSES)).tolist())
    if not each:
        raise UserError(f"{name}: trains on {len(visited)} images here, without one of some class; choose another")
    rows = np.stack([visited[np.flatnonzero(labels == label)[:each]] for label in range(len(CLASSES))])
    title = "CIFAR-10" if dataset.name == "cifar10" else "The embedded sample of CIFAR-10"
    said = f"The first {each} of each class that epoch 1 of seed {seed} trains on."
    blocks = [plots.Block(title, said, dataset.x_train[rows])]
    if recipe.augment:
        epochs = min(EPOCHS, recipe.budget.epochs)
        seen = [dataset.x_train[rows[:, 0]], *augmented(dataset, recipe, seed, rows[:, 0], epochs)]
        columns = ["original", *(f"epoch {epoch}" for epoch in range(1, epochs + 1))]
        blocks.append(
            plots.Block(
                f"{name}: augmentation",
                f"Drawn anew in every epoch: {in_words(recipe)}.",
                np.stack(seen, axis=1),
                columns,
            )
        )
    else:
        blocks[0] = plots.Block(title, f"{said} {name} takes them as they are.", blocks[0].images)
    return plots.gallery_png(blocks, CLASSES)


def augmented(dataset: Dataset, recipe: Recipe, seed: int, images: np.ndarray, epochs: int) -> list[np.ndarray]:
    """Return training images (n, 32, 32, 3) as each epoch of a run sees them, before their pixels are scaled.

    Of several views the last one, rounded to whole values where it is a mix.
    """
    unscaled = Scale(None, None, torch.device("cpu"))
    pipeline = augment.build([step.model_dump() for step in recipe.augment])
    resident = Resident(dataset.x_train[images], dataset.y_train[images], torch.device("cpu"))
    index, seen = torch.arange(len(images)), []
    for epoch in range(1, epochs + 1):
        visited = _visited(dataset, recipe, seed, epoch)
        # An epoch draws by place in its order: find when it comes to these images.
        places = [int(np.flatnonzero(visited == image)[0]) for image in images]
        drawn = [d[places] for d in pipeline.draw(generator(seed, "augment", epoch), len(visited))]
        view = pipeline.views(resident.images(index, pipeline.sources(drawn)), drawn, unscaled)[-1]
        seen.append((view * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy())
    return seen


def in_words(recipe: Recipe) -> str:
    """Say what the augmentation does, in its order."""
    return ", then ".join(WORDS[_word(step)].format_map(step.model_dump()) for step in recipe.augment)


def _word(step: Augment) -> str:
    if isinstance(step, Flip) and step.direction == "vertical":
        return "flip vertical"
    return "rotate exact" if isinstance(step, Rotate) and step.exact else step.name


def _visited(dataset: Dataset, recipe: Recipe, seed: int, epoch: int) -> np.ndarray:
    """Return the training images in the order in which an epoch comes to them."""
    images = len(dataset.x_train)
    data = adapt(recipe, "full" if dataset.name == "cifar10" else "smoke", images).data
    shaped = recipe.model_copy(update={"data": data})
    train = part_of(shaped, seed, folds_of(recipe)[0], images)(epoch).train
    return train[epoch_order(len(train), seed, epoch)]
