"""Made-up records, to measure what many runs cost: no network was trained for any of them.

They can never be taken for evidence. Their profile is `smoke` and their images are the embedded sample, either of which
keeps a record out of every verdict; and each says what it is: its device is `synthetic`, its class of environment ends
in `-synthetic`, and so does its command.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count, islice

import numpy as np

from repro.record import RunRecord
from repro.spec.identity import Run, recipe_hash, resolved, runs_of
from repro.spec.schema import Report

ENV = {
    "device": "synthetic", "driver": None, "torch": "0.0", "cuda": None, "python": "0.0", "commit": "0" * 40,
    "dirty": False, "diff": None,
}  # fmt: skip
ENV_CLASS = "cpu-fp32-relaxed-n1-synthetic"
COMMAND = "repro bench scale: made up, no network was trained: synthetic"
PROFILE, CLASSES = "smoke", 10
#: images of the full test set: a made-up record's predictions are as many, so that it is as large as a real one
TESTED = 10_000


def runs(reports: Mapping[str, Report], data: str, number: int) -> list[Run]:
    """Return so many runs of all experiments of some reports: seed 0 of each, then seed 1, and so on.

    `data`: the fingerprints of the embedded sample, "train:test".
    """
    found = (
        run
        for seed in count()
        for report in reports.values()
        for run in runs_of(report, report.experiments.values(), [seed], data, PROFILE)
    )
    return list(islice(found, number))


def records(made: Iterable[Run], epochs: int) -> Iterator[RunRecord]:
    """Yield a record a run, each of so many epochs."""
    for run in made:
        yield record(run, epochs, TESTED)


def record(run: Run, epochs: int, tested: int) -> RunRecord:
    """Return a made-up record of a run: curves of `epochs` values, predictions of `tested` images (at least 10).

    The same for the same run. It agrees with itself as a real one does: the matrix is that of the predictions.
    """
    if run.profile == "full":  # only then could a record count
        raise ValueError(f"{run.name}: made-up records are of the smoke profile")
    rng = np.random.default_rng(int(run.key, 16))
    train, _, test = run.data.partition(":")
    matrix, predicted = _predicted(tested, 0.86 + 0.08 * rng.random(), rng)
    accuracy = 100 * float(np.trace(matrix)) / tested
    curves = _curves(epochs, accuracy, bool(run.recipe.data.split.val), rng)
    return RunRecord(
        run_key=run.key, recipe_hash=recipe_hash(run.recipe), recipe=resolved(run.recipe), report=run.report,
        experiments=list(run.experiments), seed=run.seed, fold=run.fold, profile=run.profile,
        data={"train": train, "test": test, "order": "unknown"}, env=dict(ENV), env_class=ENV_CLASS, ledger="",
        command=COMMAND,
        started=(datetime(2000, 1, 1, tzinfo=UTC) + timedelta(minutes=run.seed)).isoformat(timespec="seconds"),
        seconds=float(epochs), images_per_s=1000.0, energy_j=None, state="finished", epochs_done=epochs, curves=curves,
        finals=_finals(curves, accuracy), confusion={"last": matrix.tolist()},
        predictions={"class": predicted, "confidence": rng.integers(128, 256, tested).astype(np.uint8)},
    )  # fmt: skip


def _predicted(tested: int, right: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a matrix of counts and the classes predicted for images of equally many of each class, in order."""
    labels = np.arange(tested) * CLASSES // tested
    wrong = rng.random(tested) > right
    predicted = np.where(wrong, (labels + rng.integers(1, CLASSES, tested)) % CLASSES, labels)
    matrix = np.bincount(CLASSES * labels + predicted, minlength=CLASSES**2).reshape(CLASSES, CLASSES)
    return matrix, predicted.astype(np.uint8)


def _curves(epochs: int, accuracy: float, validated: bool, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return curves that rise to an accuracy in percent and end there."""
    rise = 1 - np.exp(-5.0 * np.arange(1, epochs + 1) / epochs)
    names = ("train", "test", "val", "train_running") if validated else ("train", "test", "train_running")
    found: dict[str, np.ndarray] = {}
    for name in names:
        acc = 10 + (accuracy - 10) * rise + rng.normal(0, 0.3, epochs)
        if name == "test":
            acc[-1] = accuracy
        found[f"{name}/acc_pct"] = np.clip(acc, 0, 100)
        found[f"{name}/loss"] = 2.3 - 2 * rise + np.abs(rng.normal(0, 0.02, epochs))
    found |= {"lr": np.linspace(0.1, 0.0, epochs), "time/epoch_s": np.ones(epochs)}
    loss = found["train/loss"]
    found |= {"step/loss_mean": loss, "step/loss_min": loss - 0.1, "step/loss_max": loss + 0.1}
    return {name: values.astype(np.float32) for name, values in found.items()}


def _finals(curves: Mapping[str, np.ndarray], accuracy: float) -> dict[str, dict[str, float]]:
    """Return the measurements at the end that follow from the curves."""
    acc, loss = curves["test/acc_pct"], curves["test/loss"]
    at = {"best_test": int(acc.argmax()), "best_test_loss": int(loss.argmin())}
    if "val/loss" in curves:
        at["best_val_loss"] = int(curves["val/loss"].argmin())
    found = {"last": {"acc_pct": accuracy, "loss": float(loss[-1])}}
    for name, k in at.items():
        found[name] = {"acc_pct": float(acc[k]), "loss": float(loss[k]), "epoch": k + 1.0}
    for name in ("val", "train_running"):
        if f"{name}/loss" in curves:
            found[name] = {metric: float(curves[f"{name}/{metric}"][-1]) for metric in ("acc_pct", "loss")}
            found[name]["epoch"] = float(len(acc))
    return found
