"""The wiring room: Run -> RunRecord; the only module that knows both the spec and torch."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch

from repro import augment, environment, evaluate
from repro.data import cifar10, sample
from repro.data.batches import Resident, Scale
from repro.data.cifar10 import Dataset
from repro.data.splits import Part, fold, fold_of_epoch, holdout, kfold
from repro.draws import generator
from repro.errors import UserError
from repro.models import MODELS
from repro.models.init import initialise
from repro.models.padding import Shapes, cut_state, fill, shapes, widened
from repro.record import Entry, RunRecord, write_atomically
from repro.spec import counting
from repro.spec.identity import Run, recipe_hash, resolved
from repro.spec.network import VGG, ResNet
from repro.spec.recipe import Recipe
from repro.spec.schema import Report
from repro.spec.training import Schedule
from repro.train import checkpoint, losses, schedule
from repro.train.energy import Meter, counter
from repro.train.engine import Fitted, Held, fit
from repro.train.optim import Make, maker
from repro.train.protocols import finals, step_curves
from repro.train.step import NUMERICS, Stepper

#: a smoke run: steps of experiments that are not headline, and test images of these and of headline ones
SMOKE_STEPS, SMOKE_SHORT, SMOKE_TEST = 1, 25, 100
FULL_TRAIN_IMAGES, FULL_TEST_IMAGES = 50_000, 10_000
#: fields of schedules that count epochs; a quick run has a tenth of them
LENGTHS = ("t_max", "t_0", "patience")


@dataclass(frozen=True)
class Options:
    """Where and how runs are made; nothing here enters a run's key."""

    home: Path
    device: torch.device
    precision: str  # bf16 | fp32
    deterministic: bool = False
    graph: bool = True  # steps as CUDA graphs, where there is CUDA
    command: str = ""
    ledger: str = ""

    @property
    def env_class(self) -> str:
        """The class within which equal keys should give equal results."""
        return environment.env_class(self.device, self.precision, self.deterministic, NUMERICS)


def dataset_of(profile: str, home: Path) -> Dataset:
    """Return the data a profile trains on: the embedded sample for smoke, else all of CIFAR-10."""
    return sample.load() if profile == "smoke" else cifar10.load(home)


def folder_of(run: Run, home: Path) -> Path:
    """Return the run's folder: journal, checkpoints, record."""
    return home / "runs" / run.key


def test_images(profile: str, tier: str) -> int:
    """Return how many test images a run is measured on."""
    return (SMOKE_TEST if tier == "headline" else SMOKE_SHORT) if profile == "smoke" else FULL_TEST_IMAGES


def adapt(recipe: Recipe, profile: str, images: int) -> Recipe:
    """Shrink a recipe to a profile: `quick` a tenth of the epochs with the schedule rescaled, `smoke` one epoch."""
    if profile == "full":
        return recipe
    epochs = 1 if profile == "smoke" else max(1, recipe.budget.epochs // 10)
    plan = shortened(recipe.schedule, epochs) if profile == "quick" else recipe.schedule
    split = recipe.data.split
    # At least one image of what there is: a schedule may watch the validation loss, however few images validate.
    parts = {"train": split.train, "val": split.val}
    scaled = {key: max(1, n * images // FULL_TRAIN_IMAGES) if n else 0 for key, n in parts.items()}
    data = recipe.data.model_copy(update={"split": split.model_copy(update=scaled)})
    budget = recipe.budget.model_copy(update={"epochs": epochs})
    return recipe.model_copy(update={"data": data, "budget": budget, "schedule": plan})


def shortened(plan: Schedule, epochs: int) -> Schedule:
    """Return a schedule with a tenth of its lengths, its warm-up rounded up but short of `epochs`, the quick budget."""
    lengths = {key: max(1, getattr(plan, key) // 10) for key in LENGTHS if hasattr(plan, key)}
    warmup = min(-(-plan.warmup_epochs // 10), epochs - 1)
    return plan.model_copy(update=lengths | {"warmup_epochs": warmup})


def build_model(model: ResNet | VGG) -> torch.nn.Module:
    """Construct a network from its spec, with PyTorch's own initial weights (see `initialise`)."""
    return MODELS[model.name](**_arguments(model))


def _arguments(model: ResNet | VGG) -> dict[str, Any]:
    return model.model_dump(exclude={"name", "init", "logits_dropout"})


def build_padded(model: ResNet | VGG, seed: int, precision: str) -> tuple[torch.nn.Module, Shapes | None]:
    """Construct a network with the seed's initial weights; return it with its own shapes where it had to be padded.

    Channels are padded in bfloat16 only: matrix units want multiples of 8, float32 on a CPU gains nothing by it.
    """
    plain = build_model(model)
    initialise(plain, model.init, generator(seed, "init"))
    arguments = _arguments(model)
    if precision != "bf16" or widened(arguments) == arguments:
        return plain, None
    return fill(MODELS[model.name](**widened(arguments)), plain), shapes(plain)


def check_models(reports: Mapping[str, Report]) -> Iterator[str]:
    """Compare each network's closed-form parameter count with the network itself; yield a line a recipe.

    Raises UserError where they differ. Networks are built on the meta device: shapes without memory.
    """
    for report in reports.values():
        seen: dict[ResNet | VGG, str] = {}
        for experiment in report.experiments.values():
            spec = experiment.recipe.model
            if spec in seen:
                continue
            with torch.device("meta"):
                built = sum(p.numel() for p in build_model(spec).parameters())
            if built != (closed := counting.parameters(spec)):
                where = f"{report.id}.yaml: experiments.{experiment.id}"
                raise UserError(f"{where}: the network has {built:,} parameters, the closed form gives {closed:,}")
            seen[spec] = experiment.id
            yield f"{report.id}/{experiment.id}: {built:,} parameters, closed form and network agree"


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
    environment.prepare(options.device, options.precision, options.deterministic)
    attempts = _attempts(folder, run, options)
    recipe = adapt(run.recipe, run.profile, len(dataset.x_train))
    stepper, held = assemble(recipe, run, dataset, options)
    meter = Meter(folder / "energy.json", counter(options.device))

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
        part_of=part_of(recipe, run.seed, run.fold, len(dataset.x_train)) if recipe.data.folds else None,
        on_epoch=counted,
        on_step=on_step,
    )
    if len(fitted.entries) < recipe.budget.epochs:
        return None
    record = to_record(run, dataset, options, attempts, fitted, stepper, held, meter.joules(len(fitted.entries)))
    probabilities = fitted.logits["last"].double().softmax(1).to(torch.float16).cpu().numpy()
    with open(folder / "probabilities.npz", "wb") as file:
        np.savez_compressed(file, probabilities=probabilities)
    weights = stepper.model.state_dict()
    torch.save(cut_state(weights, stepper.own) if stepper.own else weights, folder / "model.pt")
    write_atomically(folder / "record.json", record.to_bytes())
    for path in folder.glob("checkpoint-*.pt"):
        path.unlink()
    return record


def assemble(recipe: Recipe, run: Run, dataset: Dataset, options: Options) -> tuple[Stepper, Held]:
    """Build the network, put the images on the device, and bind everything a step needs."""
    device, smoke = options.device, run.profile == "smoke"
    short = smoke and run.tier != "headline"
    model, own = build_padded(recipe.model, run.seed, options.precision)
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
        max_steps=SMOKE_STEPS if short else None,
        loss=losses.build(last_bias=list(model.parameters())[-1], **recipe.loss.model_dump()),
        own=own,
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


def identity(run: Run, dataset: Dataset, options: Options, env: dict[str, Any], started: str) -> dict[str, Any]:
    """Return what a record and MLflow's view of a run say of it before it has done anything."""
    return {
        "run_key": run.key,
        "recipe_hash": recipe_hash(run.recipe),
        "recipe": resolved(run.recipe),
        "report": run.report,
        "experiments": list(run.experiments),
        "seed": run.seed,
        "fold": run.fold,
        "profile": run.profile,
        "data": {"train": dataset.train, "test": dataset.test, "order": dataset.order},
        "env": env,
        "env_class": options.env_class,
        "ledger": options.ledger,
        "command": options.command,
        "started": started,
    }


def to_record(
    run: Run,
    dataset: Dataset,
    options: Options,
    attempts: Sequence[dict[str, Any]],
    fitted: Fitted,
    stepper: Stepper,
    held: Held,
    joules: float | None,
) -> RunRecord:
    """Gather everything a finished run did."""
    entries, first = fitted.entries, attempts[0]
    curves = {name: [e.metrics[name] for e in entries] for name in entries[0].metrics}
    curves |= step_curves(entries)
    labels = held.test.labels[held.test_index]
    tested = fitted.logits.get("best_val_loss", fitted.logits["last"])
    seconds = sum(e.metrics["time/epoch_s"] for e in entries)
    finite = all(isfinite(e.metrics[k]) for e in entries for k in ("train/loss", "test/loss"))
    confidence, predicted = fitted.logits["last"].double().softmax(1).max(1)
    return RunRecord(
        **identity(run, dataset, options, first["env"], first["started"]),
        seconds=round(seconds, 3),
        images_per_s=round(len(entries) * stepper.seen / seconds, 1),
        energy_j=None if joules is None else round(joules, 1),
        state="finished" if finite else "diverged",
        epochs_done=len(entries),
        curves={name: np.array(values, np.float32) for name, values in curves.items()},
        finals=finals(fitted, stepper, held, tested, seed=run.seed, official=dataset.official_test),
        confusion={name: evaluate.confusion(logits, labels) for name, logits in fitted.logits.items()},
        predictions={
            "class": predicted.cpu().numpy().astype(np.uint8),
            "confidence": (confidence.nan_to_num(0) * 255).round().cpu().numpy().astype(np.uint8),
        },
        resumed=[{key: a[key] for key in ("epoch", "started", "commit", "dirty")} for a in attempts[1:]],
    )


def _attempts(folder: Path, run: Run, options: Options) -> list[dict[str, Any]]:
    """Note this start beside the run's journal; return all of them, the first one first."""
    path, env = folder / "attempts.json", environment.describe(options.device)
    found = _starts(path)
    if found and found[0]["env_class"] != options.env_class:
        raise UserError(
            f"{run.name}: was begun as {found[0]['env_class']} and cannot go on as {options.env_class}; "
            "use the same --device and --precision, or --force to begin anew"
        )
    epoch = checkpoint.newest(folder)
    found.append({
        "epoch": epoch, "started": datetime.now(UTC).isoformat(timespec="seconds"), "env": env,
        "env_class": options.env_class, "commit": env["commit"], "dirty": env["dirty"],
    })  # fmt: skip
    write_atomically(path, json.dumps(found, indent=1).encode())
    return found


def _starts(path: Path) -> list[dict[str, Any]]:
    keys = {"epoch", "started", "env", "env_class", "commit", "dirty"}
    try:
        found = json.loads(path.read_text()) if path.exists() else []
        sound = isinstance(found, list) and all(keys <= set(start) for start in found)
    except (ValueError, TypeError):
        sound = False
    if not sound:
        raise UserError(f"{path}: not the list of a run's starts; --force begins the run anew")
    return found


def begin_anew(run: Run, home: Path) -> None:
    """Set a run's earlier work aside: a finished record is kept as `record-<n>.json`, everything else is removed."""
    folder = folder_of(run, home)
    record = folder / "record.json"
    if record.exists():
        number = 1 + len(list(folder.glob("record-*.json")))
        record.rename(folder / f"record-{number}.json")
    for path in folder.glob("*"):
        if not path.name.startswith(("record-", "lock")):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
