"""A recipe, everything that decides a trained network but seed and data, as strict and frozen pydantic models.

Its fields are plain values in the field's standard terms, so that one file reads like a paper's training section.
Adding a field needs a default that means "as before": keys drop values equal to their defaults
(`repro.spec.identity`), so the new field changes no key. A default is never changed in place.
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from repro.spec.fields import (
    NUMBER,
    RGB,
    Count,
    Float,
    Model,
    Positive,
    Probability,
    Slug,
    Text,
    number,
    refuse,
)
from repro.spec.network import VGG, Network, ResNet
from repro.spec.training import Optim, Plateau, Schedule

__all__ = [
    "NUMBER", "VGG", "Count", "Float", "Model", "Network", "Positive", "Recipe", "ResNet", "Slug",
    "Text", "refuse",
]  # fmt: skip


class Split(Model):
    """How many of the 50,000 training images train and how many validate (a random holdout)."""

    train: Annotated[int, Field(ge=1, le=50_000)]
    val: Annotated[int, Field(ge=0, le=49_999)] = 0

    @model_validator(mode="after")
    def _fits(self) -> "Split":
        if self.train + self.val > 50_000:
            both = f"{self.train:,} + {self.val:,}"
            raise refuse(f"train + val is {both}, more than the 50,000 training images; lower one", "train", "val")
        return self


class Normalize(Model):
    """Per-channel (R, G, B) mean and standard deviation of pixels in [0, 1]."""

    mean: RGB
    std: RGB


class Data(Model):
    """Split and pixel scaling; `val_transform: train` validates on augmented images, as some authors did."""

    split: Split
    normalize: Normalize | None = None
    val_transform: Literal["plain", "train"] = "plain"


class Crop(Model):
    """Zero-pad by `pad` pixels, then crop 32x32 at a random place."""

    name: Literal["crop"]
    pad: Annotated[int, Field(ge=1, le=16)]


class Flip(Model):
    """Flip left-right with probability p."""

    name: Literal["flip"]
    p: Probability = 0.5


class Rotate(Model):
    """Rotate by an angle uniform in [-degrees, degrees], nearest neighbour, black corners."""

    name: Literal["rotate"]
    degrees: Annotated[float, BeforeValidator(number), Field(gt=0, le=180)]


Augment = Annotated[Crop | Flip | Rotate, Field(discriminator="name")]


class CrossEntropy(Model):
    """Cross entropy on the logits, mean over the batch."""

    name: Literal["cross_entropy"]


class Budget(Model):
    """How long: epochs over the training split, and images per optimizer step (the last batch may be smaller)."""

    epochs: Annotated[int, Field(ge=1, le=10_000)]
    batch_size: Annotated[int, Field(ge=1, le=10_000)]


class Recipe(Model):
    """Everything that decides a trained network, but for seed and data."""

    data: Data
    augment: Annotated[tuple[Augment, ...], Field(strict=False, max_length=8)] = ()
    model: Network
    loss: CrossEntropy
    optim: Optim
    schedule: Schedule
    budget: Budget

    @model_validator(mode="after")
    def _consistent(self) -> "Recipe":
        val, augmented = "data.split.val", self.data.val_transform == "train"
        if self.data.split.val == 0:
            if isinstance(self.schedule, Plateau) and self.schedule.metric == "val/loss":
                text = f"is val/loss, but {val} is 0; hold out images, or watch test/loss"
                raise refuse(f"schedule.metric {text}", "schedule.metric", val)
            if augmented:
                text = f"is train, but {val} is 0; hold out images, or leave val_transform out"
                raise refuse(f"data.val_transform {text}", "data.val_transform", val)
        if augmented and not self.augment:
            text = "is train, but augment is empty; leave val_transform out"
            raise refuse(f"data.val_transform {text}", "data.val_transform", "augment")
        return self

    @model_validator(mode="after")
    def _warms_up(self) -> "Recipe":
        warmup, epochs = self.schedule.warmup_epochs, self.budget.epochs
        if warmup >= epochs:
            text = f"is {warmup}, which leaves none of the budget's {epochs} epochs; give at most {epochs - 1}"
            raise refuse(f"schedule.warmup_epochs {text}", "schedule.warmup_epochs", "budget.epochs")
        if not warmup and "warmup_start" in self.schedule.model_dump(exclude_defaults=True):
            text = "needs warmup_epochs above 0; give warmup_epochs, or leave warmup_start out"
            raise refuse(f"schedule.warmup_start {text}", "schedule.warmup_start")
        return self
