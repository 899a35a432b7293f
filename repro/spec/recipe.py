"""A recipe, everything that decides a trained network but seed and data, as strict and frozen pydantic models.

Its fields are plain values in the field's standard terms, so that one file reads like a paper's training section.
Adding a field needs a default that means "as before": keys drop values equal to their defaults
(`repro.spec.identity`), so the new field changes no key. A default is never changed in place.
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from repro.spec.cifar import TRAIN_IMAGES
from repro.spec.fields import (
    NUMBER,
    RGB,
    Count,
    Float,
    Model,
    NonNegative,
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

    train: Annotated[int, Field(ge=1, le=TRAIN_IMAGES)]
    val: Annotated[int, Field(ge=0, le=49_999)] = 0

    @model_validator(mode="after")
    def _fits(self) -> "Split":
        if self.train + self.val > TRAIN_IMAGES:
            both = f"{self.train:,} + {self.val:,}"
            raise refuse(f"train + val is {both}, more than the 50,000 training images; lower one", "train", "val")
        return self


class Normalize(Model):
    """Per-channel (R, G, B) mean and standard deviation of pixels in [0, 1]."""

    mean: RGB
    std: Annotated[tuple[Positive, Positive, Positive], Field(strict=False)]

    @model_validator(mode="after")
    def _of_unit_pixels(self) -> "Normalize":
        for key, values in (("mean", self.mean), ("std", self.std)):
            if wrong := next((v for v in values if not 0 <= v <= 1), None):
                text = f"{wrong:g} is none of pixels in [0, 1]; of pixels from 0 to 255 give it divided by 255"
                raise refuse(text, key)
        return self


class Folds(Model):
    """Cross-validation: the training images in k equal random parts, each of which validates once.

    `carried`: one network and one optimizer state go on from fold to fold, budget.epochs / k epochs in each.
    `fresh`: a run a fold, each with a network of its own and all of the budget's epochs.
    """

    k: Annotated[int, Field(ge=2, le=50)]
    network: Literal["carried", "fresh"]


class Data(Model):
    """Split and pixel scaling; `val_transform: train` validates on augmented images, as some authors did.

    With `folds` the split's sizes are those of one fold: all of the training images but a k-th, and a k-th.
    """

    split: Split
    normalize: Normalize | None = None
    val_transform: Literal["plain", "train"] = "plain"
    folds: Folds | None = None

    @model_validator(mode="after")
    def _folds_fit(self) -> "Data":
        if self.folds is None:
            return self
        if TRAIN_IMAGES % (k := self.folds.k):
            raise refuse(f"folds.k is {k}, which does not divide the 50,000 training images; give 2, 4, 5, 8, 10, ...",
                         "folds.k")  # fmt: skip
        part = TRAIN_IMAGES // k
        if (self.split.train, self.split.val) != (TRAIN_IMAGES - part, part):
            text = f"split must be that of one of {k} folds; give train: {TRAIN_IMAGES - part}, val: {part}"
            raise refuse(text, "split.train", "split.val", "folds.k")
        return self


class Crop(Model):
    """Zero-pad by `pad` pixels, then crop 32x32 at a random place."""

    name: Literal["crop"]
    pad: Annotated[int, Field(ge=1, le=16)]


class Flip(Model):
    """Flip with probability p: left-right, or upside down with `direction: vertical`."""

    name: Literal["flip"]
    p: Probability = 0.5
    direction: Literal["horizontal", "vertical"] = "horizontal"


class Rotate(Model):
    """Rotate by an angle uniform in [-degrees, degrees], nearest neighbour, black corners.

    `exact`: by `degrees` to one side or the other, each with probability 1/2.
    """

    name: Literal["rotate"]
    degrees: Annotated[float, BeforeValidator(number), Field(gt=0, le=180)]
    exact: bool = False


class AutoAugment(Model):
    """AutoAugment's policy for CIFAR-10 (Cubuk et al. 2019), as torchvision applies it; the last of the operations."""

    name: Literal["autoaugment"]


class AugMix(Model):
    """AugMix (Hendrycks et al. 2020): chains of operations, mixed with the image; the last of the operations.

    `views: 1` trains on the mix in place of the image; `views: 3` on the image and two mixes of it, for the loss
    jensen_shannon. `depth`: operations a chain, without it 1 to 3 at random; `all_ops` adds the four operations that
    resemble corruptions of CIFAR-10-C.
    """

    name: Literal["augmix"]
    severity: Annotated[float, BeforeValidator(number), Field(ge=0.1, le=10)] = 3.0
    width: Annotated[int, Field(ge=1, le=10)] = 3
    depth: Annotated[int, Field(ge=1, le=10)] | None = None
    all_ops: bool = False
    views: Literal[1, 3] = 1


Augment = Annotated[Crop | Flip | Rotate | AutoAugment | AugMix, Field(discriminator="name")]


class CrossEntropy(Model):
    """Cross entropy on the network's outputs, mean over the batch.

    `last_bias_norm` adds so many times the Euclidean norm of the last layer's biases, a term one script has where it
    means weight decay.
    """

    name: Literal["cross_entropy"]
    last_bias_norm: NonNegative = 0.0


class JensenShannon(Model):
    """Cross entropy on the plain image and `factor` times the Jensen-Shannon divergence of the three views' classes."""

    name: Literal["jensen_shannon"]
    factor: Positive = 12.0


Loss = Annotated[CrossEntropy | JensenShannon, Field(discriminator="name")]


class Budget(Model):
    """How long: epochs over the training split, and images per optimizer step (the last batch may be smaller)."""

    epochs: Annotated[int, Field(ge=1, le=10_000)]
    batch_size: Annotated[int, Field(ge=1, le=10_000)]


class Recipe(Model):
    """Everything that decides a trained network, but for seed and data."""

    data: Data
    augment: Annotated[tuple[Augment, ...], Field(strict=False, max_length=8)] = ()
    model: Network
    loss: Loss
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

    @model_validator(mode="after")
    def _views_fit(self) -> "Recipe":
        for place, step in enumerate(self.augment[:-1]):
            if isinstance(step, AutoAugment | AugMix):
                raise refuse(f"{step.name} must be the last operation; move it to the end", f"augment.{place}")
        last = self.augment[-1] if self.augment else None
        views = last.views if isinstance(last, AugMix) else 1
        if isinstance(self.loss, JensenShannon):
            if views != 3:
                text = "jensen_shannon compares three views; end augment with {name: augmix, views: 3}"
                raise refuse(f"loss {text}, or take cross_entropy", "loss.name", "augment")
            if self.model.logits_dropout:
                raise refuse("model.logits_dropout has no place beside loss jensen_shannon; leave it out",
                             "model.logits_dropout")  # fmt: skip
        elif views == 3:
            text = "augmix with views: 3 needs the loss jensen_shannon; give that, or views: 1"
            raise refuse(text, f"augment.{len(self.augment) - 1}.views", "loss.name")
        return self

    @model_validator(mode="after")
    def _folds_share_the_budget(self) -> "Recipe":
        folds, epochs = self.data.folds, self.budget.epochs
        if folds and folds.network == "carried" and epochs % folds.k:
            text = f"is {epochs}, which {folds.k} folds cannot share; give a multiple of {folds.k}"
            raise refuse(f"budget.epochs {text}", "budget.epochs", "data.folds.k")
        return self
