"""A training step: ours beside the plain and the tuned loop, in turn, each arm's network trained on and on.

The peers are given ready-made batches on the device. Ours draws, gathers and augments its own within the time, which
speaks against it: a real loop would have to load them.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from math import ceil
from typing import Any

import torch

from repro.bench import turns
from repro.bench.epochs import SEED, Arm
from repro.bench.networks import Named
from repro.bench.operations import count
from repro.bench.peers import STYLES, Peer, ready_made
from repro.bench.turns import Plan

#: seconds that a timing lasts, about, and steps at most, where the number of steps is not given
LEAST, MOST = 1.0, 50


def run(chosen: Sequence[Named], plan: Plan) -> dict[str, Any]:
    """Measure steps of experiments one after the other and return the figures as plain values.

    On one thread of a CPU by that thread's own time, in which neither arm waits and other processes do not count.
    """
    if plan.options.device.type == "cpu" and torch.get_num_threads() == 1:
        plan = replace(plan, watch=time.thread_time)
    return turns.result("step", chosen, plan, measure)


def measure(named: Named, plan: Plan) -> dict[str, Any]:
    """Time one experiment's step: `plan.steps` of them at a time, else as many as last about a second."""
    seen = plan.look(plan.options.device)
    ours = _ours(named, plan)
    draws = ours.stepper.prepare(SEED, 1)
    arms: dict[str, Callable[[int], object]] = {"ours": lambda number: ours.epoch(1, plan.watch)}
    peers = [Peer(style, ours) for style in STYLES]
    for peer in peers:
        arms[peer.style.name] = _given(peer, list(ready_made(ours.stepper, draws, peer.style)))
        arms[peer.style.name](1)  # memory, kernels, the optimizer's state
    # Another pass of each that is not timed, for the number of operations.
    operations = {name: count(partial(arm, 1)).total() for name, arm in arms.items()}
    batch = named[1].recipe.budget.batch_size
    per_step = {name: round(number / ours.stepper.steps, 1) for name, number in operations.items()}
    return turns.row(named, ours, peers, turns.in_turn(arms, plan), seen, plan, batch, per_step)


def _ours(named: Named, plan: Plan) -> Arm:
    """Return our arm, warmed up, with an epoch as long as a timing."""
    run = turns.run_of(named, plan)
    batch = run.recipe.budget.batch_size
    arm = plan.arm(run, batch * (plan.steps or 1))
    step_s = arm.warm_up(plan.watch) / arm.stepper.steps
    if plan.steps is None and (steps := min(ceil(LEAST / max(step_s, 1e-9)), MOST)) > 1:
        arm = plan.arm(run, batch * steps)
        arm.warm_up(plan.watch)
    return arm


def _given(peer: Peer, batches: list[Any]) -> Callable[[int], object]:
    return lambda number: peer.train(batches, 1)
