"""A training step: ours beside the plain and the tuned loop, in turn, each arm's network trained on and on.

The peers are given ready-made batches on the device. Ours draws, gathers and augments its own within the time, which
speaks against it: a real loop would have to load them.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch

from repro.bench import arms, turns
from repro.bench.counts import count
from repro.bench.epochs import SEED, WARM, Arm
from repro.bench.loaders import Batch
from repro.bench.measured import Facts
from repro.bench.networks import Named
from repro.bench.peers import STYLES, Peer, Style, ready_made
from repro.bench.turns import Plan

#: steps of a timing: the peers' batches lie ready on the device
MOST = 50


def run(chosen: Sequence[Named], plan: Plan) -> dict[str, Any]:
    """Measure steps of experiments one after the other and return the figures as plain values.

    On one thread of a CPU by that thread's own time, in which neither arm waits and other processes do not count.
    """
    return turns.result("step", chosen, turns.own_time(plan), measure, workers=turns.workers())


def measure(named: Named, plan: Plan) -> dict[str, Any]:
    """Time one experiment's step: `plan.steps` of them at a time, else as many as last about a second."""
    seen, device = plan.look(plan.options.device), plan.options.device
    ours = arms.ready(arms.run_of(named, plan), plan, MOST)
    given = {style.name: _given(style, ours, plan) for style in STYLES}
    passes: dict[str, Callable[[int], object]] = {"ours": lambda number: ours.train(1)}
    passes |= {name: peer.all for name, peer in given.items()}
    seconds = turns.in_turn(passes, plan)
    # Counted last: a profiler that has run could slow down what comes after it.
    facts = {"ours": Facts(plan.options.precision, arms.counted(ours), ours.prepare_s)}
    for name, (peer, batches, prepare_s) in given.items():
        one, every = partial(peer.train, batches[:1], 1), partial(peer.train, batches, 1)
        counts = count(device, len(batches), every, one, host=_step_counters(peer))
        facts[name] = Facts(peer.precision, counts, prepare_s)
    return turns.row(named, ours, facts, seconds, seen, plan, named[1].recipe.budget.batch_size)


class Given(NamedTuple):
    """A peer, its ready-made batches, and the seconds until it was ready for them."""

    peer: Peer
    batches: list[Batch]
    prepare_s: float

    def all(self, number: int) -> None:
        """Train on all of them, whatever the number of the round."""
        self.peer.train(self.batches, 1)


def _given(style: Style, ours: Arm, plan: Plan) -> Given:
    batches = list(ready_made(ours.stepper, ours.stepper.prepare(SEED, 1), style))
    plan.sync()
    began = plan.clock()
    peer = Peer(style, ours)
    peer.train(batches[:WARM], 1)  # memory, kernels, the optimizer's state
    plan.sync()
    return Given(peer, batches, plan.clock() - began)


def _step_counters(peer: Peer) -> list[torch.Tensor]:
    """Return the tensors in which PyTorch's optimizers count their steps: on the host, also where weights are not."""
    return [state["step"] for state in peer.optimizer.state.values() if isinstance(state.get("step"), torch.Tensor)]
