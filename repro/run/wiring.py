"""A run from its spec to its record: the network, the images and the recipe bound together, trained, and written."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
import torch

from repro import augment, environment
from repro.data.batches import Resident, Scale
from repro.data.cifar10 import Dataset
from repro.data.splits import Part, fold, fold_of_epoch, holdout, kfold
from repro.models.padding import cut_state
from repro.record import Entry, RunRecord, write_atomically
from repro.run import reuse, starts
from repro.run.networks import build_padded
from repro.run.options import Options, folder_of
from repro.run.profiles import SMOKE_STEPS, adapt, few_steps, test_images
from repro.run.records import to_record
from repro.spec.identity import Run
from repro.spec.recipe import Recipe
from repro.train import checkpoint, losses, schedule
from repro.train.energy import Meter, counter, unknown
from repro.train.engine import Held, fit
from repro.train.graph import Graphed
from repro.train.optim import Make, maker
from repro.train.step import Stepper


def execute(
    run: Run,
    dataset: Dataset,
    options: Options,
    on_epoch: Callable[[Entry], bool] = lambda entry: True,
    on_step: Callable[[int, int], None] = lambda done, of: None,
) -> RunRecord | None:
    """Train a run to the end of its budget and return its record, already written to its folder.

    Resumes from the folder's checkpoint. Returns None when `on_epoch` stopped it before the end.
    """
    folder = folder_of(run, options.home)
    folder.mkdir(parents=True, exist_ok=True)
    environment.prepare(options.device, options.precision, options.deterministic, options.shared)
    attempts = starts.note(folder, run, options)
    recipe = adapt(run.recipe, run.profile, len(dataset.x_train))
    stepper, held, captured = _ready(recipe, run, dataset, options)
    # Of runs side by side each would be given the energy of all.
    meter = Meter(folder / "energy.json", unknown if options.shared else counter(options.device))

    def counted(entry: Entry) -> bool:
        meter.epoch(entry.epoch)
        return on_epoch(entry)

    fitted = fit(
        stepper,
        held,
        optimizer_of(recipe),
        schedule.build(lr=recipe.optim.lr, **recipe.schedule.model_dump()),
        seed=run.seed,
        epochs=recipe.budget.epochs,
        folder=folder,
        recreate_each_epoch=recipe.optim.recreate_each_epoch,
        graph=options.graph,
        captured=captured,
        part_of=part_of(recipe, run.seed, run.fold, len(dataset.x_train)) if recipe.data.folds else None,
        on_epoch=counted,
        on_step=on_step,
    )
    if len(fitted.entries) < recipe.budget.epochs:
        return None
    record = to_record(run, dataset, options, attempts, fitted, stepper, held, meter.joules(len(fitted.entries)))
    probabilities = fitted.logits["last"].double().softmax(1).to(torch.float16).cpu().numpy()
    weights = stepper.model.state_dict()
    weights = cut_state(weights, stepper.own) if stepper.own else weights
    _write(folder / "probabilities.npz", lambda file: np.savez_compressed(file, probabilities=probabilities))
    weights = {name: value.cpu() for name, value in weights.items()}  # they can be read where no GPU is
    _write(folder / "model.pt", lambda file: torch.save(weights, file))
    write_atomically(folder / "record.json", record.to_bytes())  # last, because it says that the run is finished
    checkpoint.remove(folder)
    if fitted.graphed is not None and not fitted.graphed.failed:
        kind = reuse.kind_of(recipe, run, len(stepper.index), options)
        reuse.keep(reuse.Kept(kind, stepper, held, fitted.graphed))
    return record


def _ready(recipe: Recipe, run: Run, dataset: Dataset, options: Options) -> tuple[Stepper, Held, Graphed | None]:
    """Return what a run needs: what the last one left, if that was of the same kind, else made anew."""
    part = part_of(recipe, run.seed, run.fold, len(dataset.x_train))(1)
    kept = reuse.take(reuse.kind_of(recipe, run, len(part.train), options))
    if kept is None or checkpoint.newest(folder_of(run, options.home)):
        kept = None  # and its memory is free before anything is made
        return *assemble(recipe, run, dataset, options), None
    reuse.renew(kept, recipe, run, part, options)
    return kept.stepper, kept.held, kept.graphed


def _write(path: Path, save: Callable[[IO[bytes]], None]) -> None:
    """Write a file whole, whatever `save` puts into it."""
    buffer = io.BytesIO()
    save(buffer)
    write_atomically(path, buffer.getvalue())


def assemble(recipe: Recipe, run: Run, dataset: Dataset, options: Options) -> tuple[Stepper, Held]:
    """Build the network, put the images on the device, and bind everything a step needs."""
    device = options.device
    model, own = build_padded(recipe.model, run.seed, options.precision, options.pad)
    model = model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    part = part_of(recipe, run.seed, run.fold, len(dataset.x_train))(1)
    norm = recipe.data.normalize
    stepper = Stepper(
        model,
        Resident(dataset.x_train, dataset.y_train, device),
        part.train,
        Scale(norm.mean, norm.std, device) if norm else Scale(None, None, device),
        augment.build([step.model_dump() for step in recipe.augment]),
        recipe.budget.batch_size,
        options.precision,
        logits_dropout=recipe.model.logits_dropout,
        max_steps=SMOKE_STEPS if few_steps(run.profile, run.tier) else None,
        loss=losses.build(last_bias=list(model.parameters())[-1], **recipe.loss.model_dump()),
        own=own,
        compiled=options.compile,
    )
    tested = min(test_images(run.profile, run.tier), len(dataset.x_test))
    held = Held(
        Resident(dataset.x_test, dataset.y_test, device),
        torch.arange(tested, device=device),
        torch.from_numpy(part.val).to(device),
        recipe.data.val_transform == "train",
    )
    return stepper, held


def part_of(recipe: Recipe, seed: int, fold_number: int | None, images: int) -> Callable[[int], Part]:
    """Return the function that says which of the training images train and validate in an epoch of a run."""
    split, folds, epochs = recipe.data.split, recipe.data.folds, recipe.budget.epochs
    if folds is None:
        whole = Part(*holdout(images, split.train, split.val, seed))
        return lambda epoch: whole
    parts = kfold(images, folds.k, seed)
    if fold_number is not None:
        own = fold(parts, fold_number, carried=False)
        return lambda epoch: own
    each = [fold(parts, number, carried=True) for number in range(1, folds.k + 1)]
    return lambda epoch: each[fold_of_epoch(epoch, epochs, folds.k) - 1]


def optimizer_of(recipe: Recipe) -> Make:
    """Return what makes the recipe's optimizer for some parameters."""
    arguments = recipe.optim.model_dump(exclude={"name", "lr", "recreate_each_epoch"})
    return maker(recipe.optim.name, lr=recipe.optim.lr, **arguments)
