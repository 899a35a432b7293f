"""Our training step beside itself with one thing changed, in turn: what graphs, padding, fusing and company bring.

All arms train the same recipe on the same draws. A variant that cannot be on the device at hand is left out, and the
file says why.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch

from repro.bench import arms, turns
from repro.bench.counts import NOTHING
from repro.bench.epochs import Arm
from repro.bench.groups import steps_of
from repro.bench.measured import Facts
from repro.bench.networks import Named
from repro.bench.together import Team
from repro.bench.turns import Plan
from repro.errors import UserError
from repro.spec.explain import nearest


@dataclass(frozen=True)
class Variant:
    """One thing that is other than in a run: `changes` of the options, or so many runs at once."""

    name: str
    changes: Mapping[str, bool] = field(default_factory=dict)
    copies: int = 1

    def missing(self, ours: Arm) -> str | None:
        """Say why it cannot be measured where ours trains; None where it can."""
        if not ours.captured and (self.copies > 1 or "graph" in self.changes):
            return "ours is launched kernel by kernel here: " + _without_graph(ours)
        if "pad" in self.changes and ours.stepper.own is None:
            precision = ours.stepper.precision
            all_fit = "every width of the network is a multiple of 8"
            return all_fit if precision == "bf16" else f"in {precision} no channels are padded"
        return None


#: in the order in which they are shown
VARIANTS = (
    Variant("eager", {"graph": False}),
    Variant("unpadded", {"pad": False}),
    Variant("compiled", {"compile": True}),
    Variant("concurrent-2", copies=2),
    Variant("concurrent-4", copies=4),
)


def choose(names: Sequence[str]) -> list[Variant]:
    """Return the variants of these names, all without any; raises UserError for a name that is not known."""
    known = {variant.name: variant for variant in VARIANTS}
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"--only {unknown[0]}: no variant has this name; {nearest(unknown[0], known)}")
    return [variant for name, variant in known.items() if not names or name in names]


def run(chosen: Sequence[Named], plan: Plan, variants: Sequence[Variant] = VARIANTS) -> dict[str, Any]:
    """Measure experiments one after the other and return the figures as plain values.

    On one thread of a CPU by that thread's own time, as a step beside its peers.
    """
    timed = partial(measure, variants=variants)
    return turns.result("variants", chosen, turns.own_time(plan), timed, variants=[v.name for v in variants])


def measure(named: Named, plan: Plan, variants: Sequence[Variant] = VARIANTS) -> dict[str, Any]:
    """Time one experiment's step and its variants: `plan.steps` at a time, else as many as last about a second.

    All arms, ours too, are made ready in a process that has made such steps before.
    """
    seen = plan.look(plan.options.device)
    own = arms.run_of(named, plan)
    first = arms.ready(own, plan, steps_of(own.recipe))
    missing = {v.name: reason for v in variants if (reason := v.missing(first)) is not None}
    make = partial(plan.arm, own, first.stepper.seen, first.stepper.images)
    ours = make()
    ours.warm_up(plan.watch)
    passes: dict[str, Callable[[int], object]] = {"ours": lambda number: ours.train(1)}
    made: dict[str, Arm | Team] = {"ours": ours}
    with ExitStack() as teams:
        for variant in variants:
            if variant.name in missing:
                continue
            try:
                arm = _ready(variant, make, plan, teams)
            except (UserError, torch.OutOfMemoryError) as error:  # there is nothing to compile with
                missing[variant.name] = f"could not be made ready: {str(error).splitlines()[0]}"
            else:
                made[variant.name] = arm
                passes[variant.name] = partial(_pass, arm)
        seconds = turns.in_turn(passes, plan)
        facts = {name: _facts(arm, plan) for name, arm in made.items()}
    for name, reason in missing.items():
        plan.say(f"  {name}: not measured, {reason}")
    row = turns.row(named, ours, facts, seconds, seen, plan, own.recipe.budget.batch_size)
    return {**row, "missing": missing}


def _ready(variant: Variant, make: Callable[..., Arm], plan: Plan, teams: ExitStack) -> Arm | Team:
    if variant.copies > 1:
        return teams.enter_context(Team(make, variant.copies, plan.options.device, plan.watch))
    if "compile" in variant.changes:
        torch.compiler.reset()  # what other experiments have compiled
    arm = make(**variant.changes)
    arm.warm_up(plan.watch)
    return arm


def _pass(arm: Arm | Team, number: int) -> None:
    """Make a round's steps, the same ones in every round."""
    if isinstance(arm, Team):
        arm.train()
    else:
        arm.train(1)


def _facts(arm: Arm | Team, plan: Plan) -> Facts:
    """Count what an arm's steps cost; of several runs at once each costs what ours does."""
    facts = Facts(plan.options.precision, NOTHING, arm.prepare_s)
    if isinstance(arm, Team):
        return replace(facts, copies=len(arm.arms))
    return replace(facts, counts=arms.counted(arm, modes=arm.stepper.compiled is None))


def _without_graph(ours: Arm) -> str:
    if ours.device.type != "cuda":
        return "graphs of steps are CUDA's"
    return f"steps with {type(ours.optimizer).__name__} could not be captured"
