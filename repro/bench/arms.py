"""Our arm of an experiment made ready for the benchmarks: its run, an epoch as long as a timing, its counts."""

from dataclasses import replace
from math import ceil

from repro.bench.counts import Counts, count
from repro.bench.epochs import SEED, Arm
from repro.bench.networks import Named
from repro.bench.turns import Plan
from repro.spec.identity import Run, runs_of
from repro.train import engine

#: seconds that a timing lasts, about, where the number of steps is not given
LEAST = 1.0


def run_of(named: Named, plan: Plan) -> Run:
    """Return the run of an experiment, of several folds the first, with the plan's batch size."""
    report, experiment = named
    prints = f"{plan.dataset.train}:{plan.dataset.test}"
    return with_batch(runs_of(report, [experiment], [SEED], prints, "full")[0], plan)


def with_batch(run: Run, plan: Plan) -> Run:
    """Return a run with the plan's batch size in place of its own, where the plan has one."""
    if plan.batch is None:
        return run
    budget = run.recipe.budget.model_copy(update={"batch_size": plan.batch})
    return replace(run, recipe=run.recipe.model_copy(update={"budget": budget}))


def ready(run: Run, plan: Plan, most: int) -> Arm:
    """Return ours, warmed up, with an epoch as long as a timing."""
    return lengthened(*begun(run, plan), plan, most)


def begun(run: Run, plan: Plan) -> tuple[Arm, float]:
    """Return ours with an epoch of `plan.steps` steps, else of one, warmed up, and about how long a step takes."""
    arm = plan.arm(run, run.recipe.budget.batch_size * (plan.steps or 1))
    return arm, arm.warm_up(plan.watch) / arm.stepper.steps


def lengthened(arm: Arm, step_s: float, plan: Plan, most: int) -> Arm:
    """Return ours with an epoch of as many steps as last about a second, `most` at most, where the plan has none."""
    steps = min(ceil(LEAST / max(step_s, 1e-9)), most)
    if plan.steps is not None or steps == 1:
        return arm
    longer = plan.arm(arm.run, arm.run.recipe.budget.batch_size * steps)
    longer.warm_up(plan.watch)
    return longer


def counted(arm: Arm, modes: bool = True) -> Counts:
    """Count what one of our epochs and its read-out cost the host, and the kernels of a step that is not captured."""
    stepper, draws = arm.stepper, arm.stepper.prepare(SEED, 1)
    return count(
        arm.device, stepper.steps, lambda: arm.train(1), lambda: stepper.step(0, draws, arm.optimizer),
        lambda: engine.read_out(stepper, {}), modes=modes,
    )  # fmt: skip
