"""Report -> Runs: the canonical form of a recipe and the keys that name a run.

A key says what was trained and on what, never where: device, precision, engine version and executor
stay out of it, so that records made on different machines answer for the same run and can be compared.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from repro.spec.recipe import Recipe
from repro.spec.schema import Experiment, Report

KEY_VERSION = 1
PROFILES = ("full", "quick", "smoke")


def canonical(value: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, shortest float repr, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def resolved(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe as plain JSON values without those equal to their defaults."""
    return recipe.model_dump(mode="json", exclude_defaults=True)


def recipe_hash(recipe: Recipe) -> str:
    """sha256 (64 hex digits) of the canonical recipe; adding an option with a default leaves it unchanged."""
    return hashlib.sha256(canonical(resolved(recipe)).encode()).hexdigest()


def run_key(report: str, recipe_sha: str, seed: int, fold: int | None, data: str, profile: str) -> str:
    """Return the 16 hex digits that name a run; `data` is the fingerprint pair "train:test"."""
    parts = [report, recipe_sha, seed, fold, data, profile, KEY_VERSION]
    return hashlib.sha256(canonical(parts).encode()).hexdigest()[:16]


def folds_of(recipe: Recipe) -> tuple[int | None, ...]:
    """Return the folds that are runs of their own, counted from 1; (None,) where a recipe is one run."""
    folds = recipe.data.folds
    return tuple(range(1, folds.k + 1)) if folds and folds.network == "fresh" else (None,)


@dataclass(frozen=True)
class Run:
    """One training to do: a recipe with a seed (and a fold) on fingerprinted data."""

    report: str
    experiments: tuple[str, ...]  # every experiment of the report that shares this recipe
    recipe: Recipe
    seed: int
    fold: int | None
    profile: str
    data: str
    tier: str
    key: str

    @property
    def name(self) -> str:
        """`report/experiment s<seed>`, for people."""
        return f"{self.report}/{self.experiments[0]} s{self.seed}" + (f" f{self.fold}" if self.fold is not None else "")


def sharing(report: Report) -> dict[str, list[Experiment]]:
    """Return a report's experiments by their recipe's hash, in the file's order: those together share their runs."""
    found: dict[str, list[Experiment]] = {}
    for experiment in report.experiments.values():
        found.setdefault(recipe_hash(experiment.recipe), []).append(experiment)
    return found


def runs_of(
    report: Report, experiments: Iterable[Experiment], seeds: Iterable[int], data: str, profile: str
) -> list[Run]:
    """Return the runs of some experiments, seed by seed; experiments with one recipe share their run.

    An experiment with a fresh network a fold has a run a fold, counted from 1.
    """
    known = {sha: tuple(each.id for each in group) for sha, group in sharing(report).items()}
    hashed = [(experiment, recipe_hash(experiment.recipe)) for experiment in experiments]
    runs: dict[str, Run] = {}
    for seed in seeds:
        for experiment, sha in hashed:
            for fold in folds_of(experiment.recipe):
                key = run_key(report.id, sha, seed, fold, data, profile)
                named = known.get(sha, ())
                run = Run(report.id, named, experiment.recipe, seed, fold, profile, data, experiment.tier, key)
                runs.setdefault(key, run)
    return list(runs.values())
