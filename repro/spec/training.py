"""Optimizers and schedules of a recipe, named and defaulted as in PyTorch."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from repro.spec.fields import Count, Decay, Model, NonNegative, Positive, number, refuse


class SGD(Model):
    """Stochastic gradient descent; `recreate_each_epoch` throws the momentum buffer away after each epoch."""

    name: Literal["sgd"]
    lr: Positive
    momentum: Decay = 0.0
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
    betas: Annotated[tuple[Decay, Decay], Field(strict=False)] = (0.9, 0.999)
    eps: Positive = 1e-8
    weight_decay: NonNegative = 0.0
    recreate_each_epoch: bool = False


class RAdam(Model):
    """Rectified Adam (Liu et al. 2020) with PyTorch's defaults; weight decay is added to the gradient."""

    name: Literal["radam"]
    lr: Positive
    betas: Annotated[tuple[Decay, Decay], Field(strict=False)] = (0.9, 0.999)
    eps: Positive = 1e-8
    weight_decay: NonNegative = 0.0
    recreate_each_epoch: bool = False


class Adagrad(Model):
    """Adagrad with PyTorch's defaults; `lr_decay` divides the rate by 1 + (step - 1) * lr_decay."""

    name: Literal["adagrad"]
    lr: Positive
    lr_decay: NonNegative = 0.0
    eps: Positive = 1e-10
    weight_decay: NonNegative = 0.0
    recreate_each_epoch: bool = False


class RMSprop(Model):
    """RMSprop with PyTorch's defaults; `centered` divides by the gradient's deviation instead of its magnitude."""

    name: Literal["rmsprop"]
    lr: Positive
    alpha: Decay = 0.99
    eps: Positive = 1e-8
    momentum: Decay = 0.0
    centered: bool = False
    weight_decay: NonNegative = 0.0
    recreate_each_epoch: bool = False


Optim = Annotated[SGD | Adam | RAdam | Adagrad | RMSprop, Field(discriminator="name")]

#: every schedule may begin with a line from `warmup_start` times lr to lr, and starts its own count after it
WarmupEpochs = Annotated[int, Field(ge=0, le=10_000)]
WarmupStart = Annotated[float, BeforeValidator(number), Field(gt=0, le=1)]


class Constant(Model):
    """The optimizer's learning rate throughout.

    As every schedule, it may begin with `warmup_epochs` epochs in which the rate rises step by step, in a straight
    line, from `warmup_start` times lr to lr; its own epochs count from there.
    """

    name: Literal["constant"]
    warmup_epochs: WarmupEpochs = 0
    warmup_start: WarmupStart = 0.1


class Cosine(Model):
    """Half a cosine from lr to eta_min over t_max epochs, changed after each epoch or each step."""

    name: Literal["cosine"]
    t_max: Annotated[int, Field(ge=1, le=100_000)]
    eta_min: NonNegative = 0.0
    per: Literal["epoch", "step"] = "epoch"
    warmup_epochs: WarmupEpochs = 0
    warmup_start: WarmupStart = 0.1


class CosineRestarts(Model):
    """Cosines from lr to eta_min with warm restarts: the first over t_0 epochs, each next `t_mult` times as long."""

    name: Literal["cosine_restarts"]
    t_0: Annotated[int, Field(ge=1, le=100_000)]
    t_mult: Annotated[int, Field(ge=1, le=100)] = 1
    eta_min: NonNegative = 0.0
    per: Literal["epoch", "step"] = "epoch"
    warmup_epochs: WarmupEpochs = 0
    warmup_start: WarmupStart = 0.1


class Plateau(Model):
    """Multiply lr by `factor` when `patience` epochs in a row bring no new minimum of `metric`; then count anew."""

    name: Literal["plateau"]
    metric: Literal["test/loss", "val/loss"]
    factor: Annotated[float, BeforeValidator(number), Field(gt=0, lt=1)] = 0.5
    patience: Count = 10
    warmup_epochs: WarmupEpochs = 0
    warmup_start: WarmupStart = 0.1


Schedule = Annotated[Constant | Cosine | CosineRestarts | Plateau, Field(discriminator="name")]
