"""The loops that training is compared with: the usual CIFAR-10 script, and the same with the known remedies.

Both follow the protocol of widely used public scripts and are written anew here; no code is copied. They train the
very same thing as the suite: its network with the same initial weights, batches of the same size without a dropped
last one, its loss, and its optimizer's constants, in the form that PyTorch takes by default.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from repro import run as runner
from repro.bench.epochs import Arm
from repro.bench.loaders import Batch, loader
from repro.models.padding import cut_state
from repro.spec.recipe import Recipe
from repro.train import losses, schedule
from repro.train.optim import OPTIMIZERS, set_lr
from repro.train.step import Epoch, Stepper

PLAIN_WORKERS, MOST_WORKERS = 2, 16
#: PyTorch's layers, of which the suite has kinds of its own
PLAIN_LAYERS = (nn.BatchNorm2d, nn.Conv2d, nn.Linear)


@dataclass(frozen=True)
class Style:
    """How a peer trains.

    `plain`: float32, NCHW, loss and hits read by the host in every step, two loader workers that are begun anew in each
    epoch. `tuned`: bfloat16 autocast where the run has it, channels_last, nothing read before the epoch is over, a
    worker a core (16 at most) that stay, and on CUDA pinned memory and copies that do not wait.
    """

    name: str
    tuned: bool

    def precision(self, wanted: str, device: torch.device) -> str:
        """Name what convolutions compute in, where the run's precision is `wanted`."""
        if self.tuned or wanted == "fp32":
            return wanted
        # The process-wide switches of a bfloat16 run let float32 go through TensorFloat-32, as PyTorch's default does.
        return "tf32" if device.type == "cuda" else "fp32"

    def workers(self) -> int:
        """Return the loader's worker processes."""
        return min(os.cpu_count() or 1, MOST_WORKERS) if self.tuned else PLAIN_WORKERS


PLAIN, TUNED = Style("plain", False), Style("tuned", True)
STYLES = (PLAIN, TUNED)


class Peer:
    """A published loop's training of `ours`, an arm that is ready to train: same weights now, its own from then on."""

    def __init__(self, style: Style, ours: Arm):
        stepper = ours.stepper
        self.style, self.recipe, self.device = style, ours.recipe, stepper.device
        self.precision = style.precision(stepper.precision, self.device)
        self.model = copied(stepper, ours.recipe).to(self.device)
        if style.tuned:
            self.model = self.model.to(memory_format=torch.channels_last)
        self.loss = losses.build(last_bias=list(self.model.parameters())[-1], **self.recipe.loss.model_dump())
        self.schedule = schedule.build(lr=self.recipe.optim.lr, **self.recipe.schedule.model_dump())
        self.optimizer = optimizer_of(self.recipe, self.model)
        self.steps = stepper.steps
        #: sums over the images of an epoch: loss, hits; numbers of the host when an epoch is over
        self.total: list[float] = [0.0, 0.0]
        self._sums = torch.zeros(2, device=self.device)

    def autocast(self) -> AbstractContextManager[None]:
        """Return the precision's context."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def train(self, batches: Iterable[Batch], epoch: int) -> None:
        """Train on an epoch's batches, counted from 1, and bring its sums to the host."""
        self.model.train()
        if self.recipe.optim.recreate_each_epoch and epoch > 1:
            self.optimizer = optimizer_of(self.recipe, self.model)
        self.total = [0.0, 0.0]
        self._sums.zero_()
        for i, (images, labels) in enumerate(batches):
            set_lr(self.optimizer, self.schedule(epoch, i / self.steps, []))
            wait = not self.style.tuned
            self.step(images.to(self.device, non_blocking=not wait), labels.to(self.device, non_blocking=not wait))
        if self.style.tuned:
            self.total = self._sums.tolist()

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        """Train on a batch, float32 (B, 3, 32, 32), or (B, views, 3, 32, 32) as a loader stacks views."""
        if images.dim() == 5:  # view by view, in one pass
            images = images.transpose(0, 1).flatten(0, 1)
        if self.style.tuned:
            images = images.contiguous(memory_format=torch.channels_last)
        self.optimizer.zero_grad()
        with self.autocast():
            outputs = self.model(images)
        if self.recipe.model.logits_dropout:
            outputs = F.dropout(outputs, self.recipe.model.logits_dropout)
        loss = self.loss(outputs.float(), labels)
        loss.backward()
        self.optimizer.step()
        hits = (outputs.detach()[: len(labels)].argmax(1) == labels).sum()
        if self.style.tuned:
            self._sums += torch.stack([loss.detach() * len(labels), hits])
        else:
            self.total[0] += loss.item() * len(labels)
            self.total[1] += hits.item()

    def loads(self, x: np.ndarray, y: np.ndarray) -> DataLoader[Batch]:
        """Return the loader of this style over uint8 images (n, 32, 32, 3)."""
        pin = self.style.tuned and self.device.type == "cuda"
        return loader(x, y, self.recipe, self.style.workers(), pin, keep=self.style.tuned)


def copied(stepper: Stepper, recipe: Recipe) -> nn.Module:
    """Return the network of a recipe on the host with the stepper's weights, made of PyTorch's own layers."""
    model = runner.build_model(recipe.model)
    state = stepper.model.state_dict()
    model.load_state_dict(cut_state(state, stepper.own) if stepper.own else state)
    for layer in model.modules():  # a peer has none of the suite's own: it counts its batches, and casts each weight
        for plain in PLAIN_LAYERS:
            if isinstance(layer, plain):
                layer.__class__ = plain
    return model


def optimizer_of(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """Return the recipe's optimizer in PyTorch's default form: foreach on CUDA, a loop over the tensors on a CPU."""
    make: Callable[..., torch.optim.Optimizer] = OPTIMIZERS[recipe.optim.name][0]
    return make(model.parameters(), **recipe.optim.model_dump(exclude={"name", "recreate_each_epoch"}))


def ready_made(stepper: Stepper, draws: Epoch, style: Style, which: Iterable[int] | None = None) -> Iterator[Batch]:
    """Yield an epoch's batches as the suite augments them, on the device, views one after the other.

    All of them, or `which`, counted from 0. In the memory format of the style: a peer that is given them has nothing to
    do but to train.
    """
    form = torch.channels_last if style.tuned else torch.contiguous_format
    for i in range(stepper.steps) if which is None else which:
        part = slice(i * stepper.batch_size, (i + 1) * stepper.batch_size)
        index = draws.order[part]
        views = stepper.views(stepper.images, index, [d[part] for d in draws.drawn])
        yield torch.cat(views).contiguous(memory_format=form), stepper.images.labels[index]
