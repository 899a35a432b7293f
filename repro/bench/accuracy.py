"""Does the suite's loop reach the accuracy of the plain one? Both train an experiment, seed by seed.

Of a seed both begin with the same weights and train on the same images for the same epochs. From then on each goes its
own way: ours draws order and augmentation on its own streams, the plain loop leaves them to its DataLoader.
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from repro import environment
from repro import run as runner
from repro.bench import epochs, seeds
from repro.bench.epochs import Arm
from repro.bench.networks import Named
from repro.bench.peers import PLAIN, Peer
from repro.bench.seeds import Row
from repro.bench.shortened import Plan, begun, now, reduced
from repro.data.batches import Resident
from repro.evaluate import score
from repro.models.norm import count_batches
from repro.spec.identity import Run, runs_of
from repro.spec.training import Plateau
from repro.train import engine

#: metrics of the epochs that are over, as schedules look at them
History = list[dict[str, float]]


def measure(
    named: Named,
    numbers: Sequence[int],
    plan: Plan,
    rows: Iterable[Row] = (),
    keep: Callable[[Row], None] = lambda row: None,
) -> Row:
    """Train both arms of an experiment for each of the seeds that `rows` lack; return the experiment's row.

    `keep` is handed the row after every seed. Raises UserError for an experiment or settings that do not fit.
    """
    recipe = reduced(named, plan)
    row = begun(named, recipe, plan)
    held = [seed for other in rows if seeds.same(other, row) for seed in other["seeds"]]
    there = {seed["seed"] for seed in held}
    if known := [n for n in numbers if n in there]:
        plan.say(f"there already, with the same settings and machine: seed {', '.join(map(str, known))}")
    environment.prepare(plan.options.device, plan.options.precision, plan.options.deterministic)
    longest = max((seed["seconds"] for seed in held), default=0.0)
    new: list[dict[str, Any]] = []
    prints = f"{plan.dataset.train}:{plan.dataset.test}"
    for run in runs_of(named[0], [named[1]], [n for n in numbers if n not in there], prints, "full"):
        if new and plan.deadline is not None and plan.clock() + longest > plan.deadline:
            plan.say(f"time is over: seed {run.seed} and what follows is missing")
            break
        new.append(trained(replace(run, recipe=recipe), plan))
        longest = max(longest, new[-1]["seconds"])
        keep(seeds.extended(row, [*held, *new]))
    return seeds.extended(row, [*held, *new])


def trained(run: Run, plan: Plan) -> dict[str, Any]:
    """Train both arms with a run's seed; return their accuracies on the test images, in percent."""
    began = plan.clock()
    ours = Arm(run, epochs.Plan(plan.dataset, plan.options, say=plan.say))
    plain = Peer(PLAIN, ours)  # before anything is trained: both begin alike
    exam = Exam(ours, run, plan)
    index = ours.stepper.index.cpu().numpy()
    train_ours(ours, run, exam)
    train_plain(plain, plan.dataset.x_train[index], plan.dataset.y_train[index], run, exam)
    found = {"ours": exam.accuracy(ours.stepper.model), "plain": exam.accuracy(plain.model)}
    seconds = plan.clock() - began
    plan.say(f"seed {run.seed}: ours {found['ours']:.2f} %, plain {found['plain']:.2f} % ({seconds:.0f} s)")
    commit = environment.commit()
    return {"seed": run.seed, **found, "seconds": round(seconds, 1), "date": now(),
            "commit": commit["commit"], "dirty": commit["dirty"]}  # fmt: skip


def train_ours(ours: Arm, run: Run, exam: "Exam") -> None:
    """Train with the suite's loop and everything it has on this device, epoch by epoch as a run does."""
    history: History = []
    for epoch in range(1, run.recipe.budget.epochs + 1):
        if run.recipe.optim.recreate_each_epoch and epoch > 1:
            ours.optimizer = engine.renewed(ours.optimizer, ours.make, ours.stepper, ours.graphed)
        engine.train(
            ours.stepper, ours.optimizer, ours.schedule, history, seed=run.seed, epoch=epoch, graphed=ours.graphed
        )
        count_batches(ours.stepper.model, ours.stepper.steps)
        history.append(exam.watched(ours.stepper.model))


def train_plain(plain: Peer, x: np.ndarray, y: np.ndarray, run: Run, exam: "Exam") -> None:
    """Train with the plain loop on uint8 images (n, 32, 32, 3); all that it draws, PyTorch draws from the seed."""
    history: History = []
    rate = plain.schedule
    plain.schedule = lambda epoch, done, past: rate(epoch, done, history)
    with torch.random.fork_rng([plain.device] if plain.device.type == "cuda" else []):
        torch.manual_seed(run.seed)
        loader = plain.loads(x, y)
        for epoch in range(1, run.recipe.budget.epochs + 1):
            plain.train(loader, epoch)
            history.append(exam.watched(plain.model))


class Exam:
    """The test that both arms take: evaluation mode, batches of 1,000, the run's precision."""

    def __init__(self, ours: Arm, run: Run, plan: Plan):
        data, device = plan.dataset, plan.options.device
        self.stepper = copy.copy(ours.stepper)
        self.test = Resident(data.x_test[: plan.test_images], data.y_test[: plan.test_images], device)
        self.all = torch.arange(len(self.test), device=device)
        schedule = run.recipe.schedule
        self.metric = schedule.metric if isinstance(schedule, Plateau) else None
        part = runner.part_of(run.recipe, run.seed, run.fold, len(data.x_train))(1)
        self.val = torch.from_numpy(part.val).to(device)

    def accuracy(self, model: torch.nn.Module) -> float:
        """Return the percentage of test images that a network gets right."""
        return self._score(model, self.test, self.all)[1]

    def watched(self, model: torch.nn.Module) -> dict[str, float]:
        """Return the loss that the recipe's schedule watches, if it watches one."""
        if self.metric is None:
            return {}
        test = self.metric == "test/loss"
        images, index = (self.test, self.all) if test else (self.stepper.images, self.val)
        return {self.metric: self._score(model, images, index)[0]}

    def _score(self, model: torch.nn.Module, images: Resident, index: torch.Tensor) -> list[float]:
        self.stepper.model = model.eval()
        loss, accuracy = score(self.stepper.predict(images, index), images.labels[index]).tolist()
        return [loss, round(accuracy, 6)]
