"""fit(): train, evaluate, journal, checkpoint, epoch by epoch; killed anywhere, it resumes bit for bit.

All randomness is a function of (seed, stream, epoch) and the schedule a function of the journal, so a checkpoint
holds weights, buffers, optimizer state and the logits of the last and the best epoch, nothing else.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from repro.data.batches import Resident
from repro.data.splits import Part
from repro.draws import generator
from repro.errors import UserError
from repro.evaluate import score
from repro.models.norm import count_batches
from repro.record import Entry, Journal, fence
from repro.train import checkpoint, memory
from repro.train import state as training
from repro.train.ends import Ends
from repro.train.graph import Graphed, possible
from repro.train.optim import Make, set_lr
from repro.train.schedule import Schedule
from repro.train.step import Stepper

STEP_WINDOW = 20
#: a run of at most so many steps keeps the loss of every one of them
EVERY_STEP = 8000


@dataclass
class Held:
    """The images measured after each epoch: the test split, and validation images of the training split."""

    test: Resident
    test_index: torch.Tensor
    val_index: torch.Tensor  # into the training images; empty without a validation split
    val_augmented: bool  # the recipe validates on augmented images
    trained_before: int | None = None  # validation images that have trained, in cross-validation


@dataclass
class Fitted:
    """What fit() leaves: the journal's entries, test logits by selection (`last`, `best_val_loss`), captured steps."""

    entries: list[Entry]
    logits: dict[str, torch.Tensor]
    graphed: Graphed | None


def fit(
    stepper: Stepper,
    held: Held,
    make_optimizer: Make,
    schedule: Schedule,
    *,
    seed: int,
    epochs: int,
    folder: Path,
    recreate_each_epoch: bool = False,
    graph: bool = True,
    captured: Graphed | None = None,
    part_of: Callable[[int], Part] | None = None,
    on_epoch: Callable[[Entry], bool] = lambda entry: True,
    on_step: Callable[[int, int], None] = lambda done, of: None,
) -> Fitted:
    """Train `stepper.model` for `epochs` epochs, or for those that `folder`'s checkpoint has not done yet.

    `graph`: capture the steps as CUDA graphs where that is possible. `captured`: they are, by an earlier training of
    the stepper that has been renewed; there is no checkpoint then. `part_of` says which images train and validate in
    an epoch, where that is not the same in all of them. `on_epoch` sees each epoch's entry once it is durable, and ends
    the training early by returning False. `on_step` is told how many of the epoch's steps have been issued: two numbers
    the host knows, so that nothing waits.
    """
    model, journal = stepper.model, Journal(folder / "journal.jsonl")
    optimizer = make_optimizer(model.parameters()) if captured is None else captured.optimizer
    entries, logits = _resumed(stepper, optimizer, folder, journal)
    done = len(entries)
    graphed = captured or (Graphed(stepper, optimizer) if graph and possible(stepper, optimizer) else None)
    memory.begin(stepper.device)
    every_step = epochs * stepper.steps <= EVERY_STEP
    ends = Ends(folder, on_epoch, late=graphed is not None)
    began = perf_counter()
    if part_of:
        enter(part_of(max(done, 1)), stepper, held)
    try:
        for epoch in range(done + 1, epochs + 1):
            if part_of:
                enter(part_of(epoch), stepper, held)
            if recreate_each_epoch and epoch > 1:
                optimizer = renewed(optimizer, make_optimizer, stepper, graphed)
            history = [entry.metrics for entry in entries]
            train(stepper, optimizer, schedule, history, seed=seed, epoch=epoch, on_step=on_step, graphed=graphed)
            if not ends.finish():  # of the epoch before
                break
            count_batches(model, stepper.steps)
            model.eval()
            logits["last"], measured = measure(stepper, held, seed, epoch)
            if epoch < epochs:  # the device has work before it, and a tenth of an epoch of AugMix is drawing
                stepper.draw_ahead(seed, epoch + 1)
            metrics, steps = read_out(stepper, measured, every_step)  # the one host sync of the epoch
            if held.trained_before is not None:
                metrics["val/trained_before"] = float(held.trained_before)
            metrics["lr"] = schedule(epoch, 0.0, history)
            ended = perf_counter()  # and the next begins: keeping this one is in the time of a run
            metrics["time/epoch_s"], began = rounded([ended - began])[0], ended
            metrics |= _memory(stepper, graphed)
            if improves(metrics, history, selection_metric(held)):
                logits["best_val_loss"] = logits["last"]
            entries.append(journal.append(epoch, metrics, steps))
            state = training.keep(model, optimizer, stepper.own) | {"logits": dict(logits)}
            if not ends.put(entries[-1], state):
                break
    except BaseException:
        try:
            ends.finish()  # the epoch before is whole, whatever ended this one
        except fence.Superseded:
            raise
        except Exception:  # what ended this one is what has to be told, an interrupt above all
            pass
        raise
    ends.finish()
    model.eval()  # also where nothing was left to train
    return Fitted(entries, logits, graphed)


def _resumed(
    stepper: Stepper, optimizer: torch.optim.Optimizer, folder: Path, journal: Journal
) -> tuple[list[Entry], dict[str, torch.Tensor]]:
    """Restore what the newest checkpoint holds; return the epochs it has done and its logits, nothing without one."""
    done, logits = 0, {}
    if saved := checkpoint.load(folder):
        done, state = saved
        with training.fitting(folder):
            training.restore(stepper.model, optimizer, state, stepper.own)
            logits = {name: value.to(stepper.device) for name, value in state["logits"].items()}
    journal.truncate(done)
    entries = journal.read()
    if len(entries) != done:
        raise UserError(f"{journal.path}: holds {len(entries)} epochs but the checkpoint {done}; --force begins anew")
    return entries, logits


def _memory(stepper: Stepper, graphed: Graphed | None) -> dict[str, float]:
    """Return the device's memory at its peak, in 10^9 bytes, capturing included; nothing where it is not measured."""
    held_gb = memory.peak_gb(stepper.device)
    if held_gb is None:
        return {}
    return {"gpu/mem_gb": max(held_gb, (graphed.memory_gb if graphed is not None else None) or 0.0)}


def train(
    stepper: Stepper,
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    history: Sequence[dict[str, float]],
    *,
    seed: int,
    epoch: int,
    on_step: Callable[[int, int], None] = lambda done, of: None,
    graphed: Graphed | None = None,
) -> None:
    """Issue an epoch's training: its draws, then a step a batch, captured or not; nothing waits for the device."""
    draws = stepper.prepare(seed, epoch)
    stepper.model.train()
    if graphed is not None:
        rates = [schedule(epoch, i / stepper.steps, history) for i in range(stepper.steps)]
        graphed.run(draws, rates, on_step)
        return
    for i in range(stepper.steps):
        set_lr(optimizer, schedule(epoch, i / stepper.steps, history))
        stepper.step(i, draws, optimizer)
        on_step(i + 1, stepper.steps)


def renewed(
    optimizer: torch.optim.Optimizer, make: Make, stepper: Stepper, graphed: Graphed | None
) -> torch.optim.Optimizer:
    """Return an optimizer without a past: a new one, or where graphs hold on to its state, the same one emptied."""
    if graphed is None:
        return make(stepper.model.parameters())
    graphed.forget()
    return optimizer


def enter(part: Part, stepper: Stepper, held: Held) -> None:
    """Train and validate on a part of the training images."""
    stepper.train_on(part.train)
    held.val_index = torch.from_numpy(part.val).to(stepper.device)
    held.trained_before = part.trained_before


def measure(stepper: Stepper, held: Held, seed: int, epoch: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return the test logits, and (loss, accuracy) on the device of test, val and val_augmented images."""
    logits = stepper.predict(held.test, held.test_index)
    measured = {"test": score(logits, held.test.labels[held.test_index])}
    if len(held.val_index):
        labels = stepper.images.labels[held.val_index]
        measured["val"] = score(stepper.predict(stepper.images, held.val_index), labels)
        if held.val_augmented:
            drawn = held_out_draws(stepper, len(held.val_index), seed, epoch)
            measured["val_augmented"] = score(stepper.predict(stepper.images, held.val_index, drawn), labels)
    return logits, measured


def held_out_draws(stepper: Stepper, n: int, seed: int, epoch: int) -> list[torch.Tensor]:
    """Draw augmentations of n held-out images from the epoch's stream, after the training images' draws."""
    rng = generator(seed, "augment", epoch)
    stepper.augment.draw(rng, len(stepper.index))
    return [d.to(stepper.device) for d in stepper.augment.draw(rng, n)]


def read_out(
    stepper: Stepper, measured: dict[str, torch.Tensor], every_step: bool = False
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Bring an epoch's numbers to the host in one transfer; return its metrics and its steps' losses.

    Those are windowed, and with `every_step` also there one by one.
    `train/*` is the mean over images, `train_running/*` the mean over batches, both in training mode while the
    weights change.
    """
    flat = torch.cat([stepper.log.flatten().double(), *measured.values()]).cpu().numpy()
    loss, correct = flat[: 2 * stepper.steps].reshape(2, stepper.steps)
    sizes = np.full(stepper.steps, stepper.batch_size)
    sizes[-1] = stepper.seen - stepper.batch_size * (stepper.steps - 1)
    metrics = {
        "train/loss": float((loss * sizes).sum() / stepper.seen),
        "train/acc_pct": float(100 * correct.sum() / stepper.seen),
        "train_running/loss": float(loss.mean()),
        "train_running/acc_pct": float(100 * (correct / sizes).mean()),
    }
    for name, (value_loss, value_acc) in zip(measured, flat[2 * stepper.steps :].reshape(-1, 2), strict=True):
        metrics[f"{name}/loss"], metrics[f"{name}/acc_pct"] = float(value_loss), float(value_acc)
    windows = [loss[i : i + STEP_WINDOW] for i in range(0, stepper.steps, STEP_WINDOW)]
    steps = {
        f"step/loss_{name}": [float(reduce(w)) for w in windows]
        for name, reduce in (("min", np.min), ("mean", np.mean), ("max", np.max))
    }
    if every_step:
        steps["step/loss"] = loss.tolist()
    return metrics, steps


def rounded(values: Sequence[float]) -> list[float]:
    """Round to 12 significant bits, three digits and a half: as float32 these compress to nearly half."""
    exact = np.asarray(values, np.float32)
    kept = ((exact.view(np.uint32) + np.uint32(0x800)) & np.uint32(0xFFFFF000)).view(np.float32)
    return [float(x) for x in np.where(np.isfinite(exact), kept, exact)]


def selection_metric(held: Held) -> str | None:
    """Return the loss that selects a checkpoint: the validation loss as the recipe measures it."""
    if not len(held.val_index):
        return None
    return "val_augmented/loss" if held.val_augmented else "val/loss"


def improves(metrics: dict[str, float], history: list[dict[str, float]], metric: str | None) -> bool:
    """Whether this epoch has the lowest `metric` so far: the first of equals, as `min` has it for the final numbers."""
    return metric is not None and min([*history, metrics], key=lambda m: m[metric]) is metrics
