"""Made-up records of every experiment, as many seeds as wanted: test data, no network was trained for any of them.

Each says so itself: its device is `synthetic`, its class ends in `-synthetic`, and so does its command. Curves run
through the published numbers, moved a little (or a lot) recipe by recipe, so that many of the words a verdict can have
occur. To see how long the pages of ten thousand take, and how much memory:

    python -m tests.synthetic OUT --seeds 96  # 10,080 records, 1 to 2 minutes
    REPRO_HOME=OUT/home OMP_NUM_THREADS=1 taskset -c 0 /usr/bin/time -v repro report --reports OUT/reports > /dev/null
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from repro.record import FULL_TEST, FULL_TRAIN, RunRecord
from repro.spec import ledger
from repro.spec.answerable import metrics_of
from repro.spec.identity import folds_of, recipe_hash, resolved, run_key
from repro.spec.loading import load_all
from repro.spec.recipe import Recipe
from repro.spec.schema import ConfusionClaim, MeasuredClaim, Report, TrajectoryClaim

ENV = {
    "device": "synthetic", "driver": None, "torch": "0.0", "cuda": "0.0", "python": "3.11.0", "commit": "0" * 40,
    "dirty": False, "diff": None,
}  # fmt: skip
ENV_CLASS = "cuda-bf16-relaxed-n1-synthetic"
COMMAND = "synthetic test data, no network was trained"
#: points by which recipes in turn are moved from what was published: the same, a little, far
MOVED = (0.0, 0.0, -0.1, 0.9, 0.0, -1.6, 0.1, 0.0, -4.0)
#: every so many recipes the seeds lie far apart, and in every so many one seed in 25 diverges
UNSTABLE, DIVERGING = 7, 11
IMAGES, STEP_POINTS, EVERY_STEP = 10_000, 800, 8_000
#: protocols that are a pass of their own over the test images -> points they lie from the last epoch's accuracy
PASSES = {"augmented_test": -0.6, "train_mode_bn": -0.3, "gaussian_noise_0.05": -9.0, "gaussian_noise_0.1": -30.0}

Curves = dict[str, np.ndarray]  # name -> (runs, values)


@dataclass(frozen=True)
class _Arm:
    """Experiments of one recipe, with what was published of them: curve -> {epoch: value}."""

    report: Report
    names: tuple[str, ...]
    recipe: Recipe
    sha: str
    anchors: Mapping[str, Mapping[int, float]]
    matrix: np.ndarray | None


def records(reports: Mapping[str, Report], seeds: int, rng_seed: int = 0) -> Iterator[RunRecord]:
    """Yield a record a seed (and fold) of every recipe of some reports, the same for the same arguments."""
    name = ledger.ledger_id(ledger.claims(reports.values()))
    arms = (arm for report in reports.values() for arm in _arms(report))
    for place, arm in enumerate(arms):
        rng = np.random.default_rng([rng_seed, place])
        runs = [(seed, fold) for seed in range(seeds) for fold in folds_of(arm.recipe)]
        curves = _curves(arm, place, len(runs), rng)
        for i, (seed, fold) in enumerate(runs):
            diverged = place % DIVERGING == DIVERGING - 1 and seed % 25 == 4
            yield _record(arm, seed, fold, {key: each[i] for key, each in curves.items()}, diverged, name, rng)


def write(folder: Path, seeds: int, reports: Mapping[str, Report] | None = None, rng_seed: int = 0) -> tuple[int, int]:
    """Write the records as evidence of a folder of reports, with the ledger; return how many, and their bytes."""
    reports = load_all() if reports is None else reports
    ledger.write(reports.values(), folder / "ledger")
    count = size = 0
    for record in records(reports, seeds, rng_seed):
        place = folder / record.report / "evidence"
        place.mkdir(parents=True, exist_ok=True)
        size += (place / record.file_name).write_bytes(record.to_bytes())
        count += 1
    return count, size


def _arms(report: Report) -> Iterator[_Arm]:
    sharing: dict[str, list[str]] = {}
    for experiment in report.experiments.values():
        sharing.setdefault(recipe_hash(experiment.recipe), []).append(experiment.id)
    matrices = {c.experiment: np.array(c.matrix, float) for c in report.claims if isinstance(c, ConfusionClaim)}
    for sha, names in sharing.items():
        recipe = report.experiments[names[0]].recipe
        matrix = next((matrices[name] for name in names if name in matrices), None)
        yield _Arm(report, tuple(names), recipe, sha, _anchors(report, names, recipe), matrix)


def _anchors(report: Report, names: list[str], recipe: Recipe) -> dict[str, dict[int, float]]:
    """Return what was published of a recipe's curves; any accuracy on test images stands for the last epoch's."""
    found: dict[str, dict[int, float]] = {}
    for claim in report.claims:
        if isinstance(claim, TrajectoryClaim) and claim.experiment in names:
            found.setdefault(claim.curve, {}).update(zip(claim.epochs, claim.values, strict=True))
    for claim in report.claims:
        if not isinstance(claim, MeasuredClaim) or claim.experiment not in names:
            continue
        if claim.metric not in metrics_of("val") or claim.protocol in ("last_batch", "gaussian_noise_0.1"):
            continue
        head, _, epoch = claim.protocol.partition(":")
        curve = head if head in ("val", "val_augmented", "train_running") else "test"
        at = int(epoch) if epoch else claim.epoch or recipe.budget.epochs
        found.setdefault(f"{curve}/{claim.metric}", {}).setdefault(at, claim.value)
    return found


# --- curves: all runs of a recipe together ----------------------------------------------------------------------------


def _curves(arm: _Arm, place: int, runs: int, rng: np.random.Generator) -> Curves:
    """Return a recipe's curves as a record holds them, each (runs, values)."""
    recipe, epochs = arm.recipe, arm.recipe.budget.epochs
    t = np.arange(1, epochs + 1)
    rise = 1 - np.exp(-5.0 * t / epochs)
    end = arm.anchors.get("test/acc_pct", {}).get(epochs, 88.0 + 4 * rng.random())
    spread = np.sqrt(max(1 - end / 100, 1e-3) / 2 / IMAGES) * 100 * (5 if place % UNSTABLE == UNSTABLE - 1 else 1)
    own = MOVED[place % len(MOVED)] + rng.normal(0, spread, (runs, 1))
    accuracy = {"test": end, "train_running": min(end + 6, 99.5)}
    if recipe.data.split.val:
        accuracy["val"] = end - 0.2
        if recipe.augment and recipe.data.val_transform == "train":
            accuracy["val_augmented"] = end - 1.0
    found: Curves = {}
    for name, high in accuracy.items():
        acc = _through(10 + (high - 10) * rise, arm.anchors.get(f"{name}/acc_pct", {}))
        acc = acc + own * (0.3 if name == "train_running" else 1) + rng.normal(0, 0.15, (runs, epochs))
        loss = _through(2.3 - 2.3 * (0.3 + 0.007 * high) * rise, arm.anchors.get(f"{name}/loss", {}))
        loss = loss * (1 - own / 80) * np.exp(rng.normal(0, 0.01, (runs, epochs)))
        digits = 2 if name != "train_running" else 3
        found[f"{name}/acc_pct"] = np.clip(acc, 1, 99.98).round(digits)
        found[f"{name}/loss"] = np.maximum(loss, 1e-3)
    found |= {f"train/{metric}": found[f"train_running/{metric}"] for metric in ("acc_pct", "loss")}
    found["lr"] = np.tile(recipe.optim.lr * 0.5 * (1 + np.cos(np.pi * (t - 1) / epochs)), (runs, 1))
    found["time/epoch_s"] = 12 + rng.normal(0, 0.1, (runs, epochs))
    return {k: v.astype(np.float32) for k, v in found.items()} | _steps(recipe, found["train/loss"], rng)


def _through(base: np.ndarray, anchors: Mapping[int, float]) -> np.ndarray:
    """Return a curve bent so that it runs through the given values at their epochs."""
    known = {epoch: value for epoch, value in sorted(anchors.items()) if epoch <= len(base)}
    if not known:
        return base
    gaps = [value - base[epoch - 1] for epoch, value in known.items()]
    return base + np.interp(np.arange(1, len(base) + 1), list(known), gaps)


def _steps(recipe: Recipe, loss: np.ndarray, rng: np.random.Generator) -> Curves:
    """Return step losses around an epoch's loss: windows, and of short runs every step, rounded as a run does."""
    runs, epochs = loss.shape
    steps = -(-recipe.data.split.train // recipe.budget.batch_size)
    windows = max(1, min(-(-steps // 20), STEP_POINTS // epochs))
    wide = 0.1 + 0.1 * (recipe.optim.lr > 1e-3)
    mean = np.repeat(loss, windows, axis=1) * np.exp(rng.normal(0, 0.05, (runs, epochs * windows)))
    found = {"step/loss_min": mean * (1 - wide), "step/loss_mean": mean, "step/loss_max": mean * (1 + wide)}
    if epochs * steps <= EVERY_STEP:
        found["step/loss"] = np.repeat(loss, steps, axis=1) * np.exp(rng.normal(0, wide, (runs, epochs * steps)))
    return {name: _rounded(values) for name, values in found.items()}


def _rounded(values: np.ndarray) -> np.ndarray:
    exact = values.astype(np.float32)
    return ((exact.view(np.uint32) + np.uint32(0x800)) & np.uint32(0xFFFFF000)).view(np.float32)


# --- one record -------------------------------------------------------------------------------------------------------


def _record(
    arm: _Arm, seed: int, fold: int | None, curves: Curves, diverged: bool, ledger_name: str, rng: np.random.Generator
) -> RunRecord:
    epochs, key = arm.recipe.budget.epochs, f"{FULL_TRAIN}:{FULL_TEST}"
    if diverged:
        curves = {name: np.where(np.arange(v.size) < v.size // 2, v, np.float32("nan")) for name, v in curves.items()}
    finals, confusion, predicted = _measured(arm, curves, rng)
    return RunRecord(
        run_key=run_key(arm.report.id, arm.sha, seed, fold, key, "full"),
        recipe_hash=arm.sha, recipe=resolved(arm.recipe), report=arm.report.id, experiments=list(arm.names), seed=seed,
        fold=fold, profile="full", data={"train": FULL_TRAIN, "test": FULL_TEST, "order": "unknown"}, env=dict(ENV),
        env_class=ENV_CLASS, ledger=ledger_name, command=COMMAND,
        started=(datetime(2000, 1, 1, tzinfo=UTC) + timedelta(hours=seed)).isoformat(timespec="seconds"),
        seconds=round(float(12 * epochs + 5 * rng.random()), 3), images_per_s=round(4000 + 50 * rng.random(), 1),
        energy_j=round(6e3 * epochs, 1), state="diverged" if diverged else "finished", epochs_done=epochs,
        curves=curves, finals=finals, confusion=confusion,
        predictions={"class": predicted, "confidence": _confidence(rng)},
    )  # fmt: skip


def _measured(
    arm: _Arm, curves: Curves, rng: np.random.Generator
) -> tuple[dict[str, dict[str, float]], dict[str, list[list[int]]], np.ndarray]:
    """Return the finals of every protocol the recipe has, the confusion matrices, and the last epoch's classes."""
    recipe, epochs = arm.recipe, arm.recipe.budget.epochs
    acc, loss = curves["test/acc_pct"], curves["test/loss"]
    with np.errstate(invalid="ignore"):
        test = {"best_test": int(np.nanargmax(acc)), "best_test_loss": int(np.nanargmin(loss)), "last": epochs - 1}
        if tens := list(range(9, epochs, 10)):
            test["best_test_every10"] = max(tens, key=lambda k: acc[k] if np.isfinite(acc[k]) else -1)
    if recipe.data.split.val:
        chosen = "val_augmented/loss" if "val_augmented/loss" in curves else "val/loss"
        test["best_val_loss"] = int(np.nanargmin(curves[chosen]))
    finals = {name: {"acc_pct": float(acc[k]), "loss": float(loss[k]), "epoch": k + 1.0} for name, k in test.items()}
    del finals["last"]["epoch"]
    for name in ("val", "val_augmented", "train_running"):
        if f"{name}/loss" in curves:
            finals[name] = {m: float(curves[f"{name}/{m}"][-1]) for m in ("acc_pct", "loss")} | {"epoch": float(epochs)}
    for name, gap in PASSES.items():
        if name != "augmented_test" or recipe.augment:
            moved = max(finals["last"]["acc_pct"] + gap + rng.normal(0, 0.1), 10.0)
            finals[name] = {"acc_pct": round(moved, 2), "loss": finals["last"]["loss"] - 0.02 * gap}
    for name in ("last", "best_val_loss", *PASSES):
        if name in finals:
            finals[name] |= {"nll": finals[name]["loss"], "ece_pct": 3 + rng.random()}
    matrices = {
        name: _predict(arm.matrix, finals[name]["acc_pct"], rng) for name in ("best_val_loss", "last") if name in finals
    }
    counted = {name: np.bincount(10 * _labels() + each, minlength=100) for name, each in matrices.items()}
    tested = finals["best_val_loss" if "best_val_loss" in finals else "last"]["acc_pct"]
    finals |= _batches(tested, recipe.budget.batch_size)
    confusion = {name: flat.reshape(10, 10).tolist() for name, flat in counted.items()}
    return finals, confusion, matrices["last"].astype(np.uint8)


def _batches(accuracy: float, batch: int) -> dict[str, dict[str, float]]:
    right = float(round(accuracy * IMAGES / 100)) if np.isfinite(accuracy) else 1000.0
    n, p = float(IMAGES % batch or batch), right / IMAGES
    last = {"n": n, "correct": right, "total": float(IMAGES), "sd_pct": float(100 * np.sqrt(p * (1 - p) / n))}
    return {"batch_mean": {"acc_pct": 100 * p, "sd_pct": 0.1}, "last_batch": {"acc_pct": 100 * p, **last}}


def _labels() -> np.ndarray:
    return np.repeat(np.arange(10), IMAGES // 10)


def _predict(matrix: np.ndarray | None, accuracy: float, rng: np.random.Generator) -> np.ndarray:
    """Return predicted classes: so many right, the mistakes spread as in a published matrix, or evenly."""
    labels = _labels()
    off = (np.ones((10, 10)) if matrix is None else matrix + 0.1) * (1 - np.eye(10))
    n = round((100 - accuracy) * IMAGES / 100) if np.isfinite(accuracy) else 9 * IMAGES // 10
    share = rng.multinomial(n, off.sum(axis=1) / off.sum())
    predicted = labels.copy()
    for true, count in enumerate(np.minimum(share, IMAGES // 10)):
        where = true * 1000 + rng.permutation(1000)[:count]
        predicted[where] = rng.choice(10, count, p=off[true] / off[true].sum())
    return predicted


def _confidence(rng: np.random.Generator) -> np.ndarray:
    return np.maximum(255 - rng.exponential(20, IMAGES), 26).astype(np.uint8)


def main(arguments: Iterable[str] | None = None) -> None:
    """Write OUT/reports, and beside it an empty state folder."""
    parser: Any = argparse.ArgumentParser(description="Write made-up records: test data.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args(list(sys.argv[1:] if arguments is None else arguments))
    (given.out / "home").mkdir(parents=True, exist_ok=True)
    count, size = write(given.out / "reports", given.seeds)
    print(f"{count:,} records, {size / 2**20:,.0f} MiB")


if __name__ == "__main__":
    main()
