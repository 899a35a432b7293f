"""Rules of a record's curves: their lengths, their bounds, what they say of the run's state, and its times."""

import math

import numpy as np

from repro.record import Journal, RunRecord
from repro.suite.verifying.rules import Places, Rule, Subject

REQUIRED = ("train/loss", "train/acc_pct", "test/loss", "test/acc_pct")
STATES = ("finished", "diverged", "stopped")


def budget_of(record: RunRecord) -> int:
    """Return the epochs that a run of this profile has to train."""
    if record.profile == "full":
        return int(record.recipe["budget"]["epochs"])
    import json

    from repro.run.profiles import FULL_TRAIN_IMAGES, adapt  # takes torch, which full runs can do without
    from repro.spec.recipe import Recipe

    recipe = Recipe.model_validate_json(json.dumps(record.recipe))
    return adapt(recipe, record.profile, FULL_TRAIN_IMAGES).budget.epochs


def _epochs(subject: Subject) -> Places:
    record = subject.record
    budget = budget_of(record)
    if record.state not in STATES:
        yield "state", f"{record.state!r}; expected one of {', '.join(STATES)}"
    elif record.state == "stopped" and not 0 <= record.epochs_done < budget:
        yield "epochs_done", f"{record.epochs_done} of a stopped run; expected fewer than its budget's {budget}"
    elif record.state != "stopped" and record.epochs_done != budget:
        yield "epochs_done", f"{record.epochs_done}; expected the budget's {budget}"
    before = 0
    for number, start in enumerate(record.resumed):
        if not before <= start["epoch"] <= record.epochs_done:
            yield f"resumed.{number}.epoch", f"{start['epoch']}; expected {before} to {record.epochs_done}"
        before = max(before, start["epoch"])


def _curves(subject: Subject) -> Places:
    epochs = subject.record.epochs_done
    for name in REQUIRED:
        if name not in subject.curves:
            yield f"curves.{name}", "is missing"
    for name, curve in subject.curves.items():
        if name.startswith("step/"):
            if not len(curve) or len(curve) % max(epochs, 1):
                yield f"curves.{name}", f"{len(curve)} values; expected as many in each of {epochs} epochs"
        elif len(curve) != epochs:
            yield f"curves.{name}", f"{len(curve)} values; expected one for each of epochs 1 to {epochs}"


def _percent(subject: Subject) -> Places:
    for name, curve in subject.curves.items():
        if name.endswith("_pct"):
            wrong = np.flatnonzero((curve < 0) | (curve > 100))
            for place in wrong[:1]:
                yield f"curves.{name}", f"{curve[place]:g} after epoch {place + 1}; expected 0 to 100"
    for protocol, values in subject.record.finals.items():
        for metric, value in values.items():
            if metric.endswith("_pct") and value is not None and not math.isnan(value) and not 0 <= value <= 100:
                yield f"finals.{protocol}.{metric}", f"{value:g}; expected 0 to 100"


def _finite(subject: Subject) -> Places:
    losses = [subject.curves[name] for name in ("train/loss", "test/loss") if name in subject.curves]
    lost = any(not np.isfinite(curve).all() for curve in losses)
    if subject.record.state == "diverged" and not lost:
        yield "state", "diverged, and every loss of an epoch is finite"
    if subject.record.state != "finished":
        return
    for name, curve in subject.curves.items():
        if len(wrong := np.flatnonzero(~np.isfinite(curve))):
            yield f"curves.{name}", f"{curve[wrong[0]]:g} at place {wrong[0] + 1}, and the run is not marked diverged"
    for protocol, values in subject.record.finals.items():
        for metric, value in values.items():
            # A network may be sound and still give no finite number under noise or in training mode.
            if protocol in ("last", "best_val_loss") and value is not None and not math.isfinite(value):
                yield f"finals.{protocol}.{metric}", f"{value:g}, and the run is not marked diverged"


def _steps(subject: Subject) -> Places:
    low, mean, high = (subject.curves.get(f"step/loss_{name}") for name in ("min", "mean", "max"))
    if low is not None and mean is not None and high is not None:
        if not len(low) == len(mean) == len(high):
            yield "curves.step/loss_mean", f"{len(mean)} windows, {len(low)} of the lowest, {len(high)} of the highest"
        elif len(wrong := np.flatnonzero((low > mean) | (mean > high))):
            where = f"window {wrong[0] + 1}"
            yield "curves.step/loss_mean", f"{mean[wrong[0]]:g} in {where}, not between its lowest and its highest"
    rates = subject.curves.get("lr", np.empty(0))
    for place in np.flatnonzero(~(rates >= 0))[:1]:
        yield "curves.lr", f"{rates[place]:g} in epoch {place + 1}; expected no negative rate"


def _times(subject: Subject) -> Places:
    record = subject.record
    for name in ("seconds", "images_per_s", "energy_j"):
        value = getattr(record, name)
        if value is not None and not (math.isfinite(value) and value >= 0):
            yield name, f"{value:g}; expected a finite number that is not negative"
    if not record.seconds >= 0 or (taken := subject.curves.get("time/epoch_s")) is None:
        return
    for place in np.flatnonzero(~(taken >= 0))[:1]:
        yield "curves.time/epoch_s", f"{taken[place]:g} in epoch {place + 1}; expected no negative time"
        return
    if not math.isclose(record.seconds, total := float(taken.sum()), rel_tol=1e-5, abs_tol=2e-3):
        yield "seconds", f"{record.seconds:g}; the epochs took {total:g}"


def _journal(subject: Subject) -> Places:
    path = subject.path.with_name("journal.jsonl")
    if subject.path.name != "record.json" or not path.is_file():
        return
    entries = Journal(path).read()
    if len(entries) != subject.record.epochs_done:
        yield "epochs_done", f"{subject.record.epochs_done}; {path.name} beside it holds epochs 1 to {len(entries)}"
        return
    for name, curve in subject.record.curves.items():
        if not name.startswith("step/"):
            journaled = np.array([entry.metrics.get(name, math.nan) for entry in entries], np.float32)
            for place in np.flatnonzero(~((journaled == curve) | (np.isnan(journaled) & np.isnan(curve))))[:1]:
                held = f"{journaled[place]:g} in {path.name}"
                yield f"curves.{name}", f"{curve[place]:g} in epoch {place + 1}; {held}"


RULES = (
    Rule("epochs", "a run that ended trained its whole budget, and was resumed at epochs of it", _epochs),
    Rule("curves", "curves have a value for each epoch from 1 on, steps as many in each", _curves),
    Rule("percent", "percentages lie between 0 and 100", _percent),
    Rule("finite", "values are finite, or the run is marked diverged; a diverged one has a loss that is not", _finite),
    Rule("steps", "step losses lie between their lowest and highest, learning rates are not negative", _steps),
    Rule("times", "times and energy are not negative, and the epochs' add up to the run's", _times),
    Rule("journal", "a journal beside the record holds the same epochs and values", _journal),
)
