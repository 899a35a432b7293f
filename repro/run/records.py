"""From a finished training to its record."""

from collections.abc import Sequence
from math import isfinite
from typing import Any

import numpy as np

from repro import evaluate
from repro.data.cifar10 import Dataset
from repro.record import RunRecord
from repro.run.options import Options
from repro.run.starts import lasting
from repro.spec.identity import Run, recipe_hash, resolved
from repro.train.engine import Fitted, Held
from repro.train.protocols import finals, step_curves
from repro.train.step import Stepper

#: what of a start's environment is another machine or installation, within one class of environment
MACHINE = ("device", "driver", "torch", "cuda", "python")


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
    entries, attempts = fitted.entries, lasting(attempts)
    first = attempts[0]
    # What was claimed when it began, and the command that began it; the notes of older starts have neither.
    declared = {key: first[key] for key in ("ledger", "command") if key in first}
    # What only some epochs have is left out: a GPU's memory where the run went on without one.
    names = [name for name in entries[0].metrics if all(name in e.metrics for e in entries)]
    curves = {name: [e.metrics[name] for e in entries] for name in names}
    curves |= step_curves(entries)
    labels = held.test.labels[held.test_index]
    tested = fitted.logits.get("best_val_loss", fitted.logits["last"])
    seconds = sum(e.metrics["time/epoch_s"] for e in entries)
    finite = all(isfinite(e.metrics[k]) for e in entries for k in ("train/loss", "test/loss"))
    confidence, predicted = fitted.logits["last"].double().softmax(1).max(1)
    return RunRecord(
        **identity(run, dataset, options, first["env"], first["started"]) | declared,
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
        resumed=[_again(start, first) for start in attempts[1:]],
    )


def _again(start: dict[str, Any], first: dict[str, Any]) -> dict[str, Any]:
    """Return what a record says of a later start: where and when it began, and where its machine was another one."""
    said = {key: start[key] for key in ("epoch", "started", "commit", "dirty")}
    there, here = first["env"], start["env"]
    return said | {key: here.get(key) for key in MACHINE if here.get(key) != there.get(key)}
