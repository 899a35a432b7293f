"""The losses of the first 20 steps of each kind of training: what no change of the engine may move in silence.

Every case is a report's experiment, trained by `repro.run.execute` as always, but thinner, on a few images of the
embedded sample, in 5 epochs of 4 steps with the schedule shortened to that. Its network computes in float64: at a rate
of 0.1 twenty steps amplify the rounding of float32 to several percent, behind which a change of the numbers could hide.

    python -m tests.golden_losses   # writes tests/golden/losses.json, once NUMERICS has been bumped
"""

import json
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import torch

from repro import environment
from repro.data import sample
from repro.data.cifar10 import Dataset
from repro.errors import UserError
from repro.record import Entry
from repro.run import Options, execute, wiring
from repro.spec.identity import Run, recipe_hash
from repro.spec.loading import load
from repro.spec.recipe import Recipe
from repro.spec.schema import Report
from repro.train import checkpoint
from repro.train.step import NUMERICS

ROOT = Path(__file__).resolve().parents[1]
FILE = Path(__file__).with_name("golden") / "losses.json"
WHERE, AGAIN = "repro/train/step.py", "python -m tests.golden_losses"
EPOCHS, STEPS, BATCH, HELD = 5, 4, 8, 8
#: so much of a loss may be rounding; how it was measured stands in docs/design.md
TOLERANCE = 1e-6

Losses = Mapping[str, list[float]]  # `train`: a loss a step; `test`: the test loss after each epoch


@dataclass(frozen=True)
class Case:
    """An experiment, by how much its widths are divided, and its blocks a stage; and how many epochs it trains.

    8 channels have to remain: on a CPU, PyTorch's float32 gradients of a 1x1 convolution with stride 2 and fewer inputs
    corrupt memory in channels_last.
    """

    report: str
    experiment: str
    thinner: int = 8
    shallower: int = 1
    epochs: int = EPOCHS


#: one of each kind of network, initial weights, augmentation, loss, optimizer and schedule
CASES = {
    f"{case.report}/{case.experiment}": case
    for case in (
        Case("chen2024", "resnet68", 2, epochs=1),  # 68 layers amplify even the rounding of float64, from step 8 on
        Case("chen2024", "resnet110-warmup", 2, 9),  # SGD, cosine by epoch, crop and flip, kaiming_fan_in
        Case("chiu2023", "folds-released", 4),  # Adam, carried folds, rotation, normalised
        Case("chiu2023", "written80-softmax", 4),  # softmax, exact rotation, validated on augmented images
        Case("geng2022", "autoaugment-64", 5),
        Case("geng2022", "radam500", 5),
        Case("geng2022", "augmix500", 5),  # three views, Jensen-Shannon, Nesterov, cosine by step
        Case("geng2022", "iso-sgd-restarts", 4),
        Case("shamooun2022", "released"),  # dropout of logits, neither augmented nor normalised, cosine, Adam
        Case("zhang2023", "final"),  # leaky ReLU, plateau, optimizer made anew each epoch
        Case("zhang2023", "elu35"),
        Case("zhang2023", "bias-norm-1e-3"),
        Case("zhang2023", "adagrad-lr1e-2"),
        Case("zhang2023", "rmsprop-lr1e-3"),
        Case("zhang2023", "stem7-35"),
        Case("zhang2023", "maxpool-35"),
        Case("zhang2023", "vgg-a", 4),
        Case("zhang2023", "vgg-a-bn", 4),
    )
}


@cache
def recipe_of(name: str) -> Recipe:
    """Return a case's recipe: the experiment's, its network thinner, its epochs few and short."""
    case = CASES[name]
    recipe = _report(case.report).experiments[case.experiment].recipe
    plain, images = recipe.model_dump(mode="json"), STEPS * BATCH - 3  # the last batch of an epoch is smaller
    if not recipe.data.folds:
        plain["data"]["split"] = {"train": images, "val": HELD if recipe.data.split.val else 0}
    plain["model"] = {key: _divided(key, value, case) for key, value in plain["model"].items()}
    lengths = {"t_max": EPOCHS, "t_0": 2, "patience": 1, "warmup_epochs": min(recipe.schedule.warmup_epochs, 1)}
    plain["schedule"] |= {key: value for key, value in lengths.items() if key in plain["schedule"]}
    if not lengths["warmup_epochs"]:
        del plain["schedule"]["warmup_start"]
    plain["budget"] = {"epochs": 2 * EPOCHS, "batch_size": BATCH}  # twice, since it is stopped before its end
    return Recipe.model_validate(plain)


@cache
def _report(name: str) -> Report:
    return load(ROOT / "experiments" / f"{name}.yaml")


def _divided(key: str, value: Any, case: Case) -> Any:
    """Return a field of the network's spec, widths and depths divided."""
    divisor = {"stem": case.thinner, "widths": case.thinner, "hidden": case.thinner, "blocks": case.shallower}.get(key)
    if divisor is None:
        return value
    return [n // divisor for n in value] if isinstance(value, list) else value // divisor


def images_for(recipe: Recipe) -> Dataset:
    """Return as many images of the sample as a case trains, validates and is tested on."""
    data, split = sample.load(), recipe.data.split
    n = 7 * recipe.data.folds.k if recipe.data.folds else split.train + split.val
    return replace(
        data, x_train=data.x_train[:n], y_train=data.y_train[:n], x_test=data.x_test[:HELD], y_test=data.y_test[:HELD]
    )


@contextmanager
def in_float64() -> Iterator[None]:
    """Let networks, losses and optimizers compute in float64; images, augmentation and draws stay as they are."""
    build, narrow = wiring.build_padded, torch.Tensor.float

    def wide(*arguments: Any) -> tuple[torch.nn.Module, Any]:
        model, own = build(*arguments)
        model.double().register_forward_pre_hook(lambda _, inputs: (inputs[0].double(),))
        return model, own

    def kept(tensor: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
        if tensor.dtype == torch.float64 and tensor.requires_grad:  # outputs on their way into the loss
            return tensor
        return narrow(tensor, *arguments, **named)

    with mock.patch.object(wiring, "build_padded", wide), mock.patch.object(torch.Tensor, "float", kept):
        yield


def losses(
    recipe: Recipe, seed: int = 0, dataset: Dataset | None = None, epochs: int = EPOCHS, wide: bool = True
) -> Losses:
    """Train a case on one thread of the CPU for some epochs; return the loss of every step and test.

    `wide`: in float64, else in float32. Only checkpoints are not written: nothing resumes here.
    """
    run = Run("golden", ("golden",), recipe, seed, None, "full", "golden", "headline", "golden")
    entries: list[Entry] = []

    def stop(entry: Entry) -> bool:
        entries.append(entry)
        return len(entries) < epochs

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with TemporaryDirectory() as home, mock.patch.object(checkpoint, "save"):
            with in_float64() if wide else nullcontext():
                options = Options(Path(home), torch.device("cpu"), "fp32")
                execute(run, dataset or images_for(recipe), options, on_epoch=stop)
    finally:
        torch.set_num_threads(threads)
    train = [loss for entry in entries for loss in entry.steps["step/loss"]]
    return {"train": train, "test": [entry.metrics["test/loss"] for entry in entries]}


def moved(now: Losses, before: Losses) -> float:
    """Return the largest relative difference of two series of losses; infinite where their lengths differ."""
    if any(len(now[key]) != len(before[key]) for key in ("train", "test")):
        return float("inf")
    pairs = [pair for key in ("train", "test") for pair in zip(now[key], before[key], strict=True)]
    apart = [abs(a - b) / abs(b) for a, b in pairs]
    return max(apart) if all(x == x for x in apart) else float("inf")


def golden(file: Path = FILE) -> dict[str, Any]:
    """Return what is committed: numerics version, what it was made with, and the cases' recipes and losses."""
    empty = {"numerics": 0, "made_with": {}, "cases": {}}
    return json.loads(file.read_text()) if file.exists() else empty


def renew(file: Path, numerics: int = NUMERICS) -> list[str]:
    """Write the losses of new cases, of changed recipes and of a new numerics version; return the cases' names.

    Raises UserError where a loss moved though neither its recipe nor the version did, and writes nothing.
    """
    before, cases, new = golden(file), {}, []
    if numerics < before["numerics"]:
        text = f"are of numerics version {before['numerics']}, {WHERE} has the older {numerics}; count up from there"
        raise UserError(f"{file.name}: the losses {text}")
    for name in CASES:
        recipe, old = recipe_of(name), before["cases"].get(name)
        now = {"recipe": recipe_hash(recipe), **_short(losses(recipe, epochs=CASES[name].epochs))}
        same = old is not None and before["numerics"] == numerics and old["recipe"] == now["recipe"]
        if same and (apart := moved(now, old)) > TOLERANCE:
            text = f"moved by {apart:.1e} under numerics version {numerics}; if on purpose, bump NUMERICS in {WHERE}"
            raise UserError(f"{file.name}: the losses of {name} {text} first")
        cases[name] = old if same else now
        new += [] if same else [name]
    if new or cases.keys() != before["cases"].keys():
        about = environment.describe(torch.device("cpu"))
        made = {"torch": about["torch"], "python": platform.python_version(), "cpu": about["device"].partition(" (")[0]}
        lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(case)}" for name, case in cases.items())
        head = f'{{\n "numerics": {numerics},\n "made_with": {json.dumps(made)},\n "cases": {{\n'
        file.write_text(f"{head}{lines}\n }}\n}}\n")
    return new


def _short(series: Losses) -> dict[str, list[float]]:
    return {key: [float(f"{x:.8g}") for x in values] for key, values in series.items()}


def main(file: Path = FILE) -> int:
    """Write the file, or say why not."""
    try:
        new = renew(file)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{file.name}: written for {', '.join(new)}" if new else f"{file.name}: the losses are as they were")
    return 0


if __name__ == "__main__":
    sys.exit(main())
