"""Trained networks into MLflow: one an experiment, rebuilt from its recipe and the weights in its run's folder."""

import json
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from repro.data import sample
from repro.errors import UserError
from repro.execute.outcome import Outcome
from repro.record import RunRecord
from repro.run import build_model
from repro.spec.recipe import Recipe
from repro.suite.carrying import open_tracker
from repro.suite.planning import Say

if TYPE_CHECKING:
    from repro.track import Tracker

EXAMPLES = 2  # images of the input example; with one, torch.export would fix the batch size


class Pixels(torch.nn.Module):
    """Images in [0, 1] as the recipe's network wants them: (x - mean) / std, or as they are."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: tuple[float, ...] | None, std: tuple[float, ...] | None):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean or (0.0,) * 3).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std or (1.0,) * 3).view(1, 3, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, 32, 32) -> the same shape."""
        return (x - self.mean) / self.std


def log_trained(outcomes: Iterable[Outcome], home: Path, say: Say) -> int:
    """Log the networks of a request's runs (see `log_models`); a store that cannot be opened is said, not raised."""
    try:
        tracker = open_tracker(home, offline=False)
    except UserError as error:
        say(f"models are not in MLflow: {error}")
        return 0
    assert tracker is not None
    return log_models([o.record for o in outcomes if o.record is not None], home, tracker, say)


def log_models(records: Iterable[RunRecord], home: Path, tracker: "Tracker", say: Say) -> int:
    """Log the network of each experiment's first seed; return how many are new. A failure is said, not raised."""
    first: dict[tuple[str, str, str], RunRecord] = {}
    for record in sorted(records, key=lambda r: (r.seed, r.fold or 0)):
        first.setdefault((record.report, record.experiments[0], record.profile), record)
    new = 0
    for (report, experiment, _), record in first.items():
        try:
            new += log_one(record, home, tracker)
        except Exception as error:  # the runs are done and shown; a model beside them is an extra
            say(f"{report}/{experiment}: its model is not in MLflow ({error})")
    say(f"models: {new} new in MLflow, of {len(first)}")
    return new


def log_one(record: RunRecord, home: Path, tracker: "Tracker") -> bool:
    """Log the network of a run that this machine trained; return whether it is new there."""
    from repro.track.models import log_model

    run_id = tracker.find(record)
    if run_id is None:
        raise UserError(f"run {record.run_key}: not in MLflow yet; run the same command again")
    network, weights = trained(record, home)
    _, new = log_model(tracker, run_id, record, network, example(), weights)
    return new


def trained(record: RunRecord, home: Path) -> tuple[torch.nn.Module, str]:
    """Return a run's network in evaluation mode (images in [0, 1] -> logits), and its weights' sha256 (16 digits)."""
    folder = home / "runs" / record.run_key
    path, held = folder / "model.pt", folder / "record.json"
    if not path.exists() or not held.exists() or held.read_bytes() != record.to_bytes():
        raise UserError(f"{path}: the weights of this record are not here; they stay on the machine that trained it")
    recipe = Recipe.model_validate_json(json.dumps(record.recipe))
    network = build_model(recipe.model)
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    norm = recipe.data.normalize
    pixels = Pixels(norm.mean, norm.std) if norm else Pixels(None, None)
    return torch.nn.Sequential(pixels, network).eval(), sha256(path.read_bytes()).hexdigest()[:16]


def example() -> np.ndarray:
    """Return real test images as the logged networks take them: float32 (2, 3, 32, 32) in [0, 1]."""
    images = sample.load().x_test[:EXAMPLES]
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32) / np.float32(255)
