"""A recipe, everything that decides a trained network but seed and data, as strict and frozen pydantic models.

Its fields are plain values in the field's standard terms, so that one file reads like a paper's training section.
Adding a field needs a default that means "as before": keys drop values equal to their defaults
(`repro.spec.identity`), so the new field changes no key. A default is never changed in place.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

#: text that a number field means as a number: YAML 1.1 reads 5e-4 (no dot) as text
NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, str) and re.fullmatch(NUMBER, value) else value


Slug = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=40)]
Text = Annotated[str, Field(min_length=1, max_length=2000)]
Float = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Positive = Annotated[float, BeforeValidator(_number), Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, BeforeValidator(_number), Field(ge=0, allow_inf_nan=False)]
Probability = Annotated[float, BeforeValidator(_number), Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1, le=10**6)]
RGB = Annotated[tuple[Float, Float, Float], Field(strict=False)]


class Model(BaseModel):
    """Base of every spec model: strict types, unknown keys refused, frozen."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def refuse(message: str, *keys: str) -> PydanticCustomError:
    """Return the error of keys that do not go together: dotted paths from the model, the likeliest at fault first."""
    return PydanticCustomError("together", "{text}", {"text": message, "keys": keys})


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
    degrees: Annotated[float, BeforeValidator(_number), Field(gt=0, le=180)]


Augment = Annotated[Crop | Flip | Rotate, Field(discriminator="name")]


class ResNet(Model):
    """Basic-block ResNet for 32x32 images: 3x3 stem, stages of `blocks[i]` blocks of `widths[i]` channels.

    The first stage has stride 1, later ones stride 2; shortcuts that change shape are 1x1 conv + BN.
    `init`: `default` (PyTorch's), `kaiming_fan_in` (normal, conv and linear weights),
    `kaiming_fan_out_linear_1e-3` (conv normal fan_out, linear N(0, 1e-3) with zero bias).
    `logits_dropout` drops the ten outputs of the linear layer in training.
    """

    name: Literal["resnet"]
    stem: Count
    widths: Annotated[tuple[Count, ...], Field(strict=False, min_length=1, max_length=8)]
    blocks: Annotated[tuple[Count, ...], Field(strict=False, min_length=1, max_length=8)]
    activation: Literal["relu", "leaky_relu", "elu"] = "relu"
    init: Literal["default", "kaiming_fan_in", "kaiming_fan_out_linear_1e-3"] = "default"
    logits_dropout: Annotated[float, BeforeValidator(_number), Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _same_length(self) -> "ResNet":
        if len(self.widths) != len(self.blocks):
            stages = f"widths has {len(self.widths)} stages but blocks has {len(self.blocks)}"
            raise refuse(f"{stages}; give one of each a stage", "blocks", "widths")
        if len(self.widths) > 6:
            raise refuse(f"a 32x32 image allows at most 6 stages, not {len(self.widths)}; drop the last", "widths")
        return self


class CrossEntropy(Model):
    """Cross entropy on the logits, mean over the batch."""

    name: Literal["cross_entropy"]


class SGD(Model):
    """Stochastic gradient descent; `recreate_each_epoch` throws the momentum buffer away after each epoch."""

    name: Literal["sgd"]
    lr: Positive
    momentum: Annotated[float, BeforeValidator(_number), Field(ge=0, lt=1)] = 0.0
    weight_decay: NonNegative = 0.0
    nesterov: bool = False
    recreate_each_epoch: bool = False

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> "SGD":
        if self.nesterov and self.momentum == 0:
            raise refuse("nesterov needs a momentum above 0; give momentum, or leave nesterov out", "nesterov")
        return self


class Adam(Model):
    """Adam with PyTorch's defaults."""

    name: Literal["adam"]
    lr: Positive
    betas: Annotated[tuple[Probability, Probability], Field(strict=False)] = (0.9, 0.999)
    eps: Positive = 1e-8
    weight_decay: NonNegative = 0.0
    recreate_each_epoch: bool = False


Optim = Annotated[SGD | Adam, Field(discriminator="name")]


class Constant(Model):
    """The optimizer's learning rate throughout."""

    name: Literal["constant"]


class Cosine(Model):
    """Half a cosine from lr to eta_min over t_max epochs, changed after each epoch or each step."""

    name: Literal["cosine"]
    t_max: Annotated[int, Field(ge=1, le=100_000)]
    eta_min: NonNegative = 0.0
    per: Literal["epoch", "step"] = "epoch"


class Plateau(Model):
    """Multiply lr by `factor` when `patience` epochs in a row bring no new minimum of `metric`; then count anew."""

    name: Literal["plateau"]
    metric: Literal["test/loss", "val/loss"]
    factor: Annotated[float, BeforeValidator(_number), Field(gt=0, lt=1)] = 0.5
    patience: Count = 10


Schedule = Annotated[Constant | Cosine | Plateau, Field(discriminator="name")]


class Budget(Model):
    """How long: epochs over the training split, and images per optimizer step (the last batch may be smaller)."""

    epochs: Annotated[int, Field(ge=1, le=10_000)]
    batch_size: Annotated[int, Field(ge=1, le=10_000)]


class Recipe(Model):
    """Everything that decides a trained network, but for seed and data."""

    data: Data
    augment: Annotated[tuple[Augment, ...], Field(strict=False, max_length=8)] = ()
    model: Annotated[ResNet, Field()]
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
