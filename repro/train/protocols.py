"""What a finished training is measured by: every protocol's finals, and the curves a record keeps."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from repro import evaluate
from repro.record import Entry
from repro.train.engine import Fitted, Held, held_out_draws, rounded, selection_metric
from repro.train.step import Stepper

#: deviations of the Gaussian noise under which test images are measured, pixels in [0, 1]
NOISES = (0.05, 0.1)
#: step losses hardly compress; a record stays small with this many windows of each of min, mean and max
STEP_POINTS = 800


def step_curves(entries: Sequence[Entry]) -> dict[str, list[float]]:
    """Merge the journal's step windows until a record has at most STEP_POINTS of them, or one an epoch.

    A short run's journal holds every step's loss, and `step/loss` are these. All are rounded (`rounded`).
    """
    reduce: dict[str, Callable[..., float]] = {"min": np.min, "mean": np.mean, "max": np.max}
    windows = max(1, min(len(entries[0].steps["step/loss_mean"]), STEP_POINTS // len(entries)))
    whole = all("step/loss" in e.steps for e in entries)
    curves = {"step/loss": [value for e in entries for value in e.steps["step/loss"]]} if whole else {}
    curves |= {
        f"step/loss_{name}": [
            float(merge(part)) for e in entries for part in np.array_split(e.steps[f"step/loss_{name}"], windows)
        ]
        for name, merge in reduce.items()
    }
    return {name: rounded(values) for name, values in curves.items()}


def finals(
    fitted: Fitted, stepper: Stepper, held: Held, tested: torch.Tensor, *, seed: int, official: np.ndarray | None
) -> dict[str, dict[str, float]]:
    """Measure every protocol the run can answer; returns {protocol: {metric: value}}.

    `tested` are the test logits of the network the report would test; `official[i]` is the position of the official
    files' i-th test image, None where it is not known.
    """
    labels, history = held.test.labels[held.test_index], [e.metrics for e in fitted.entries]
    result = {name: evaluate.summary(logits, labels) for name, logits in fitted.logits.items()}

    def at(epoch: int, prefix: str = "test") -> dict[str, float]:
        metrics = history[epoch - 1]
        return {"acc_pct": metrics[f"{prefix}/acc_pct"], "loss": metrics[f"{prefix}/loss"], "epoch": epoch}

    epochs = range(1, len(history) + 1)
    result["best_test"] = at(max(epochs, key=lambda k: history[k - 1]["test/acc_pct"]))
    result["best_test_loss"] = at(min(epochs, key=lambda k: history[k - 1]["test/loss"]))
    if tens := [k for k in epochs if k % 10 == 0]:
        result["best_test_every10"] = at(max(tens, key=lambda k: history[k - 1]["test/acc_pct"]))
    result["train_running"] = at(len(history), "train_running")
    if len(held.val_index):
        result["val"] = at(len(history), "val")
    if metric := selection_metric(held):
        result["best_val_loss"]["epoch"] = min(epochs, key=lambda k: history[k - 1][metric])
    if stepper.augment:
        n_val = len(held.val_index)
        drawn = held_out_draws(stepper, n_val + len(labels), seed, 0)
        if n_val:
            if held.val_augmented:
                result["val_augmented"] = at(len(history), "val_augmented")
            else:
                logits = stepper.predict(stepper.images, held.val_index, [d[:n_val] for d in drawn])
                result["val_augmented"] = evaluate.summary(logits, stepper.images.labels[held.val_index])
        logits = stepper.predict(held.test, held.test_index, [d[n_val:] for d in drawn])
        result["augmented_test"] = evaluate.summary(logits, labels)
    for sigma, noisy in zip(NOISES, stepper.predict_noisy(held.test, held.test_index, NOISES, seed), strict=True):
        result[f"gaussian_noise_{sigma}"] = evaluate.summary(noisy, labels)
    result["train_mode_bn"] = evaluate.summary(stepper.predict_train_mode(held.test, held.test_index), labels)
    right = (tested.argmax(1) == labels).cpu().numpy()
    batch = stepper.batch_size
    result["batch_mean"] = evaluate.batch_mean(int(right.sum()), len(right), batch)
    result["last_batch"] = evaluate.last_batch(int(right.sum()), len(right), batch)
    if official is not None and len(right) == len(official):
        ordered = right[official]
        parts = [ordered[i : i + batch] for i in range(0, len(ordered), batch)]
        result["batch_mean"]["official_pct"] = 100 * float(np.mean([p.mean() for p in parts]))
        result["last_batch"]["official_pct"] = 100 * float(parts[-1].mean())
    return {protocol: {k: float(v) for k, v in values.items()} for protocol, values in result.items()}
