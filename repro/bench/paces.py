"""The paces of a group of runs on this device: steps, a pass over test images, an epoch's end, the preparation."""

from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch

from repro.bench import arms, measured, turns
from repro.bench.epochs import Arm
from repro.bench.groups import Group, Paces, steps_of
from repro.bench.turns import Plan
from repro.record import Journal
from repro.train import checkpoint, ends, engine
from repro.train import state as training
from repro.train.step import EVAL_BATCH

#: a pass over the test images that would take longer is timed on a part of them
TEST_S = 5.0


@dataclass(frozen=True)
class Timed:
    """What was measured of a group: seconds of `images` images in `steps` steps, by round, and the other paces."""

    images: int
    steps: int
    seconds: list[float]
    test_images: int
    test_s: float
    epoch_end_s: float
    prepare_s: float
    before: dict[str, Any]

    def paces(self, batch_size: int) -> Paces:
        """Return what a step and the rest take; of the timings the median counts."""
        per_image = self.test_s / self.test_images
        return Paces(self.step_of(median(self.seconds), batch_size), per_image, self.epoch_end_s, self.prepare_s)

    def step_of(self, seconds: float, batch_size: int) -> float:
        """Return a full batch's share of a timing."""
        return seconds * batch_size / self.images


def measure(group: Group, plan: Plan) -> Timed:
    """Time steps, a pass over test images, an epoch's end and the preparation of a group's first run."""
    seen = plan.look(plan.options.device)
    first, step_s = arms.begun(group.runs[0], plan)
    arm = arms.lengthened(first, step_s, plan, steps_of(group.recipe))
    seconds = turns.in_turn({"ours": lambda number: arm.train(1)}, plan)["ours"]
    test_images, test_s = _test(arm, plan)
    end_s = _epoch_end(arm, plan, training_s=median(seconds) / arm.stepper.steps * steps_of(group.recipe))
    return Timed(
        images=arm.stepper.seen, steps=arm.stepper.steps, seconds=[measured.digits(s) for s in seconds],
        test_images=test_images, test_s=measured.digits(test_s), epoch_end_s=measured.digits(end_s),
        prepare_s=measured.digits(first.prepare_s),
        before={"idle": seen.idle, "busy_pct": seen.busy_pct, "others": seen.others},
    )  # fmt: skip


def _test(arm: Arm, plan: Plan) -> tuple[int, float]:
    """Return so many test images and the seconds of a pass over them: all, on a slow device as many as a batch has."""
    stepper, held = arm.stepper, arm.held
    stepper.model.eval()

    def timed(index: torch.Tensor) -> float:
        plan.sync()
        began = plan.clock()
        stepper.predict(held.test, index)
        plan.sync()
        return plan.clock() - began

    part = held.test_index[:EVAL_BATCH]
    timed(part[:1] if plan.options.device.type == "cpu" else part)  # memory and kernels
    part_s = timed(part)
    if part_s * len(held.test_index) / len(part) > TEST_S:
        return len(part), part_s
    return len(held.test_index), timed(held.test_index)


def _epoch_end(arm: Arm, plan: Plan, training_s: float) -> float:
    """Return the seconds of an epoch's end: its numbers read, journal and checkpoint written beside the runs.

    With captured steps the state is copied, and written while the device trains the next epoch, which takes
    `training_s`: of writing only what is longer counts.
    """
    stepper, home = arm.stepper, plan.options.home
    logits = torch.zeros(len(arm.held.test_index), 10, device=arm.device)
    with TemporaryDirectory(dir=home if home.is_dir() else None) as name:
        folder = Path(name)
        for epoch in (1, 2):
            plan.sync()
            began = plan.clock()
            metrics, steps = engine.read_out(stepper, {})
            Journal(folder / "journal.jsonl").append(epoch, metrics, steps)
            state = training.keep(stepper.model, arm.optimizer, stepper.own) | {"logits": {"last": logits}}
            if arm.captured:
                state = ends.copied(state)
            ready_s = plan.clock() - began
            checkpoint.save(folder, epoch, state)
            written_s = plan.clock() - began - ready_s
    return ready_s + (max(written_s - training_s, 0.0) if arm.captured else written_s)
