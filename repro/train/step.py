"""One training step and batched prediction: precision, memory format, augmentation, loss, update.

Nothing in a step waits for the host: draws, order and learning rate are known before it, and losses go to a
buffer on the device that is read once an epoch.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch

from repro.augment.geometry import Pipeline
from repro.data.batches import Resident, Scale, epoch_order
from repro.draws import generator
from repro.models.half import Halves
from repro.models.padding import Shapes
from repro.train.fusing import fused
from repro.train.losses import Loss, cross_entropy

#: bumped when a change of the engine changes results beyond rounding; part of a record's env_class
NUMERICS = 1
EVAL_BATCH = 1000


@dataclass
class Epoch:
    """One epoch's draws, on the device: image order, augmentation, and (optionally) kept logits."""

    order: torch.Tensor  # (n,) indices into the resident split
    drawn: list[torch.Tensor]  # one (n, k) tensor an operation
    keep: torch.Tensor | None  # (n, 10) multipliers of the logits


class Stepper:
    """Everything a step needs, bound to a device and a precision."""

    def __init__(
        self,
        model: torch.nn.Module,
        images: Resident,
        index: np.ndarray,
        scale: Scale,
        augment: Pipeline,
        batch_size: int,
        precision: str,
        logits_dropout: float = 0.0,
        max_steps: int | None = None,
        loss: Loss | None = None,
        own: Shapes | None = None,
        compiled: bool = False,
    ):
        #: shapes of the network without padded channels, None where it has none
        self.own = own
        self.model, self.images, self.scale, self.augment = model, images, scale, augment
        self.batch_size, self.precision, self.logits_dropout = batch_size, precision, logits_dropout
        self.device, self.loss = images.device, loss or cross_entropy()
        #: the network's forward with its operations fused, None where it runs layer by layer
        self.compiled: Callable[[torch.Tensor], torch.Tensor] | None = fused(model) if compiled else None
        self.halves = Halves(model) if precision == "bf16" else None
        self.index = torch.from_numpy(index).to(self.device)
        self.steps = -(-len(index) // batch_size)
        if max_steps is not None:
            self.steps = min(self.steps, max_steps)
        self._ahead: tuple[tuple[int, int] | None, Epoch | None] = None, None
        self.seen = min(len(index), self.steps * batch_size)
        #: loss and number of correct images of each step of the epoch
        self.log = torch.zeros(2, self.steps, device=self.device)

    def train_on(self, index: np.ndarray) -> None:
        """Train on other images from the next epoch on, as many as before."""
        if len(index) != len(self.index):
            raise ValueError(f"{len(index)} images in place of {len(self.index)}")
        self.index = torch.from_numpy(index).to(self.device)

    def autocast(self) -> AbstractContextManager[None]:
        """Return the precision's context: bfloat16 autocast, or none for float32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def draw_ahead(self, seed: int, epoch: int) -> None:
        """Draw an epoch on the host before its turn, while the device is at work on what it was given."""
        self._ahead = (seed, epoch), self._draw(seed, epoch)

    def prepare(self, seed: int, epoch: int) -> Epoch:
        """Send an epoch to the device, drawn on the host now if it was not ahead."""
        which, drawn = self._ahead
        self._ahead = None, None
        if drawn is None or which != (seed, epoch):
            drawn = self._draw(seed, epoch)
        keep = None if drawn.keep is None else drawn.keep.to(self.device) / (1 - self.logits_dropout)
        return Epoch(self.index[drawn.order.to(self.device)], [d.to(self.device) for d in drawn.drawn], keep)

    def _draw(self, seed: int, epoch: int) -> Epoch:
        """Draw an epoch on the host: the order among the training images, and which logits are kept."""
        n, keep = len(self.index), None
        if self.logits_dropout:
            kept = generator(seed, "dropout", epoch).random((n, 10), dtype=np.float32) >= self.logits_dropout
            keep = torch.from_numpy(kept)
        drawn = self.augment.draw(generator(seed, "augment", epoch), n)
        return Epoch(torch.from_numpy(epoch_order(n, seed, epoch)), drawn, keep)

    def step(self, i: int, epoch: Epoch, optimizer: torch.optim.Optimizer) -> None:
        """Train on the epoch's i-th batch (the last one may be smaller)."""
        batch = slice(i * self.batch_size, (i + 1) * self.batch_size)
        keep = None if epoch.keep is None else epoch.keep[batch]
        self.log[:, i] = self._update(epoch.order[batch], [d[batch] for d in epoch.drawn], keep, optimizer)

    def step_at(self, at: torch.Tensor, size: int, epoch: Epoch, optimizer: torch.optim.Optimizer) -> None:
        """Train on the batch whose number is in `at`, a scalar on the device, and whose size is known: see `graph`."""
        rows = at * self.batch_size + torch.arange(size, device=self.device)
        drawn = [d.index_select(0, rows) for d in epoch.drawn]
        keep = None if epoch.keep is None else epoch.keep.index_select(0, rows)
        seen = self._update(epoch.order.index_select(0, rows), drawn, keep, optimizer)
        self.log.index_copy_(1, at.view(1), seen[:, None])

    def _update(
        self,
        index: torch.Tensor,
        drawn: list[torch.Tensor],
        keep: torch.Tensor | None,
        optimizer: torch.optim.Optimizer,
    ) -> torch.Tensor:
        """Train on a batch of images; return its loss and its number of correct images, on the device."""
        views, y = self.views(self.images, index, drawn), self.images.labels[index]
        # All views in one pass, so that batch norms see them together.
        logits = self.logits(torch.cat(views) if len(views) > 1 else views[0], full=len(y) == self.batch_size)
        if keep is not None:
            logits = logits * keep
        loss = self.loss(logits, y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return torch.stack([loss.detach(), (logits.detach()[: len(y)].argmax(1) == y).sum()])

    def logits(self, x: torch.Tensor, full: bool) -> torch.Tensor:
        """Return the float32 logits of a training batch; `full`: it has the batch size, which compiled kernels are of.

        A smaller last batch is computed layer by layer: compiling for it too would cost as much again.
        """
        with self.autocast():
            if self.compiled is not None and full:
                return self.compiled(x).float()
            with self.halves.cast() if self.halves is not None else nullcontext():
                return self.model(x).float()

    def views(self, images: Resident, index: torch.Tensor, drawn: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return the network's inputs for a batch: its scaled images, plain without draws, or their augmented views.

        Each is (B, 3, 32, 32) float32 in channels_last memory.
        """
        if not drawn:
            return [self.scale(images.images(index))]
        moved = images.images(index, self.augment.sources(drawn))
        views = self.augment.views(moved, drawn, self.scale)
        return [view.contiguous(memory_format=torch.channels_last) for view in views]

    @torch.no_grad()
    def predict(
        self, images: Resident, index: torch.Tensor, drawn: list[torch.Tensor] | None = None, batch: int = EVAL_BATCH
    ) -> torch.Tensor:
        """Return float32 logits (n, 10) of images, plain or augmented with given draws; the mode is the caller's."""
        out = []
        for start in range(0, len(index), batch):
            part = slice(start, start + batch)
            view = self.views(images, index[part], [d[part] for d in drawn or []])[-1]
            with self.autocast():
                out.append(self.model(view).float())
        return torch.cat(out)

    @torch.no_grad()
    def predict_noisy(
        self, images: Resident, index: torch.Tensor, sigmas: Sequence[float], seed: int
    ) -> list[torch.Tensor]:
        """Return logits of images with Gaussian noise on their pixels, cut off to [0, 1], for each deviation in turn.

        The noise is the seed's, one value a pixel and channel, which every deviation scales.
        """
        rng = generator(seed, "noise")
        out: list[list[torch.Tensor]] = [[] for _ in sigmas]
        for part in index.split(EVAL_BATCH):
            noise = torch.from_numpy(rng.standard_normal((len(part), 32, 32, 3), dtype=np.float32)).to(self.device)
            shift = noise.permute(0, 3, 1, 2)
            for found, sigma in zip(out, sigmas, strict=True):
                pixels = self.scale.pixels(images.images(part)).add_(shift, alpha=sigma).clamp_(0, 1)
                with self.autocast():
                    found.append(self.model(self.scale.normalise(pixels)).float())
        return [torch.cat(found) for found in out]

    @torch.no_grad()
    def predict_train_mode(self, images: Resident, index: torch.Tensor) -> torch.Tensor:
        """Return logits with batch norms on batch statistics, as scripts that forget eval mode get; statistics stay."""
        norms = [m for m in self.model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        counts = {name: value.clone() for name, value in self.model.state_dict().items() if "num_batches" in name}
        momenta = [m.momentum for m in norms]
        self.model.train()
        for norm in norms:
            norm.momentum = 0.0  # running = 1 * running + 0 * batch
        logits = self.predict(images, index, batch=self.batch_size)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        self.model.load_state_dict(counts, strict=False)
        self.model.eval()
        return logits
