"""What runs have yet to do on this machine, as arithmetic: epochs, images, seconds, bytes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import log
from pathlib import Path
from statistics import median

from repro.execute.outcome import withdrawn_record, withdrawn_start
from repro.record import MAX_BYTES, Journal
from repro.run import FULL_TEST_IMAGES, FULL_TRAIN_IMAGES, SMOKE_STEPS, adapt, few_steps, folder_of, measured_images
from repro.spec import cost, counting
from repro.spec.identity import Run, canonical
from repro.spec.recipe import Recipe
from repro.spec.training import RMSprop
from repro.spec.withdrawn import NONE, Withdrawn
from repro.train.engine import EVERY_STEP, STEP_WINDOW

SAMPLE = 1_500  # training images of the embedded sample
LOGITS = 4 * 10 * FULL_TEST_IMAGES  # bytes of one set of test logits
#: a run's pictures and tables in MLflow, and its rows in MLflow's database, an epoch
PICTURES, ROWS = 400_000, 4_000
CHECKPOINTS = 3  # two generations, and the one being written


@dataclass(frozen=True)
class Speed:
    """Seconds to train on one image and to measure one, by a network of so many multiply-accumulates an image."""

    train_s: float
    eval_s: float
    macs: int

    def scaled(self, macs: int) -> "Speed":
        """Return what a network of `macs` would take if time went with its multiply-accumulates."""
        factor = macs / self.macs
        return Speed(self.train_s * factor, self.eval_s * factor, macs)


@dataclass(frozen=True)
class Load:
    """A run, its recipe as its profile trains it, its state here (new, begun, done) and the epochs it has left.

    `journal_s` is the median of the epochs that its journal holds, in seconds.
    """

    run: Run
    recipe: Recipe
    state: str
    epochs: int
    journal_s: float | None = None

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image's forward pass."""
        return counting.macs(self.recipe.model)

    @property
    def trained_images(self) -> int:
        """Images trained on in each epoch."""
        split = self.recipe.data.split.train
        few = few_steps(self.run.profile, self.run.tier)
        return min(split, SMOKE_STEPS * self.recipe.budget.batch_size) if few else split

    @property
    def measured_images(self) -> int:
        """Images measured after each epoch."""
        return measured_images(self.recipe, self.run.profile, self.run.tier)

    @property
    def work(self) -> float:
        """Multiply-accumulates that are left; a training image counts three forward passes."""
        views = cost.views(self.recipe)
        return self.epochs * self.macs * (3.0 * views * self.trained_images + self.measured_images)


def load_of(run: Run, home: Path, force: bool = False, withdrawn: Withdrawn = NONE) -> Load:
    """Look at a run's folder; `force` would begin it anew whatever is there. A withdrawn record is not done."""
    images = SAMPLE if run.profile == "smoke" else FULL_TRAIN_IMAGES
    folder, recipe = folder_of(run, home), adapt(run.recipe, run.profile, images)
    if force or withdrawn_record(folder, withdrawn):
        return Load(run, recipe, "new", recipe.budget.epochs)
    if (folder / "record.json").exists():
        return Load(run, recipe, "done", 0)
    entries = Journal(folder / "journal.jsonl").read()
    if not entries or withdrawn_start(folder, run, withdrawn):
        return Load(run, recipe, "new", recipe.budget.epochs)
    taken = median(entry.metrics.get("time/epoch_s", 0.0) for entry in entries)
    return Load(run, recipe, "begun", max(0, recipe.budget.epochs - len(entries)), taken)


def shape(recipe: Recipe) -> str:
    """Name what decides a step's time: network, batch size, augmentation, loss (and the optimizer's kind)."""
    parts = [recipe.model, recipe.loss, *recipe.augment]
    plain = [part.model_dump(mode="json") for part in parts]
    return canonical([*plain, recipe.optim.name, recipe.budget.batch_size])


def speed_of(recipe: Recipe, speeds: Mapping[str, Speed]) -> Speed | None:
    """Return a recipe's measured speed, else that of the network nearest in size, scaled; None without any."""
    if found := speeds.get(shape(recipe)):
        return found
    macs = counting.macs(recipe.model)
    near = min(speeds.values(), key=lambda s: abs(log(s.macs / macs)), default=None)
    return near.scaled(macs) if near else None


def seconds(load: Load, speeds: Mapping[str, Speed]) -> float | None:
    """Return the seconds that a run has left: by its own epochs where it has some, else by measured speeds."""
    if load.journal_s is not None:
        return load.epochs * load.journal_s
    if (speed := speed_of(load.recipe, speeds)) is None:
        return None
    epoch_s = load.trained_images * speed.train_s + load.measured_images * speed.eval_s
    return load.epochs * epoch_s


def makespan(lengths: Iterable[float], workers: int) -> float:
    """Return how long `workers` take for runs of these lengths, each taking the longest that is left."""
    loads = [0.0] * workers
    for length in sorted(lengths, reverse=True):
        loads[loads.index(min(loads))] += length
    return max(loads)


def working_bytes(load: Load) -> int:
    """Return what a run in training takes at most: checkpoints of weights, optimizer state and two sets of logits."""
    optim = load.recipe.optim
    slots = {"adam": 2, "radam": 2}.get(optim.name, 1)
    if isinstance(optim, RMSprop):
        slots += optim.centered + (optim.momentum > 0)
    return CHECKPOINTS * (4 * counting.parameters(load.recipe.model) * (1 + slots) + 2 * LOGITS)


def kept_bytes(load: Load, in_mlflow: bool) -> int:
    """Return what a finished run leaves: weights, record, journal, class probabilities; MLflow holds the last three."""
    recipe = load.recipe
    steps = -(-load.trained_images // recipe.budget.batch_size)
    every = 26 * steps if recipe.budget.epochs * steps <= EVERY_STEP else 0
    journal = recipe.budget.epochs * (1_000 + 3 * 26 * -(-steps // STEP_WINDOW) + every)
    papers = MAX_BYTES + journal + 2 * 10 * FULL_TEST_IMAGES
    mlflow = papers + PICTURES + ROWS * recipe.budget.epochs if in_mlflow else 0
    return 4 * counting.parameters(recipe.model) + papers + mlflow


def disk_bytes(loads: Iterable[Load], workers: int, in_mlflow: bool) -> int:
    """Return the bytes that these runs will need at most, with `workers` of them in training at once."""
    open_runs = [load for load in loads if load.state != "done"]
    working = sorted((working_bytes(load) for load in open_runs), reverse=True)[:workers]
    return sum(kept_bytes(load, in_mlflow) for load in open_runs) + sum(working)
