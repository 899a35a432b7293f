"""What a training leaves to the next one of the same kind: its network's memory and the steps captured on it.

Seeds and folds of an experiment differ in weights, images and draws, never in what a step is. So the next one puts its
own into the memory that the captured steps read, and captures nothing. A thread keeps one training, its last.
"""

import threading
from collections.abc import Hashable
from dataclasses import dataclass

import torch

from repro.data.splits import Part
from repro.run.networks import build_padded
from repro.run.options import Options
from repro.spec.identity import Run, recipe_hash
from repro.spec.recipe import Recipe
from repro.train.engine import Held
from repro.train.graph import Graphed
from repro.train.step import Stepper

_LAST = threading.local()


@dataclass
class Kept:
    """A training that is over."""

    kind: Hashable
    stepper: Stepper
    held: Held
    graphed: Graphed


def kind_of(recipe: Recipe, run: Run, images: int, options: Options) -> Hashable:
    """Return what two trainings must have in common: recipe, data and number of images, device and how it is used."""
    how = (options.device, options.precision, options.deterministic, options.pad, options.compile)
    return recipe_hash(recipe), run.profile, run.tier, run.data, images, how


def keep(kept: Kept) -> None:
    """Keep a training for this thread's next one."""
    _LAST.kept = kept


def take(kind: Hashable) -> Kept | None:
    """Return this thread's last training if it is of the kind; forget it in any case, so that its memory is free."""
    kept: Kept | None = getattr(_LAST, "kept", None)
    _LAST.kept = None
    return kept if kept is not None and kept.kind == kind else None


def renew(kept: Kept, recipe: Recipe, run: Run, part: Part, options: Options) -> None:
    """Put a run's beginning into a training's memory: its initial weights, its images, an optimizer without a past."""
    fresh, _ = build_padded(recipe.model, run.seed, options.precision, options.pad)
    kept.stepper.model.load_state_dict(fresh.state_dict())
    kept.stepper.train_on(part.train)
    kept.held.val_index = torch.from_numpy(part.val).to(kept.stepper.device)
    kept.held.trained_before = None
    kept.graphed.forget()
