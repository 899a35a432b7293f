"""An epoch's training with its data: ours beside the plain and the tuned loop with their DataLoaders, in turn."""

from collections.abc import Callable, Sequence
from typing import Any

from repro.bench import arms, turns
from repro.bench.epochs import SEED, WARM
from repro.bench.measured import Facts
from repro.bench.networks import Named
from repro.bench.peers import STYLES, Peer, ready_made
from repro.bench.turns import Plan


def run(chosen: Sequence[Named], plan: Plan) -> dict[str, Any]:
    """Measure epochs of experiments one after the other and return the figures as plain values."""
    return turns.result("epoch", chosen, plan, measure, workers=turns.workers())


def measure(named: Named, plan: Plan) -> dict[str, Any]:
    """Time one experiment's epochs of training; tests and checkpoints are left out of all arms."""
    seen = plan.look(plan.options.device)
    ours = plan.arm(arms.run_of(named, plan), plan.images)
    peers = [Peer(style, ours) for style in STYLES]  # before anything is trained: all three begin alike
    expected = ours.warm_up(plan.watch)
    plan.say(f"  {ours.stepper.seen:,} images; an epoch of ours takes about {expected:.3g} s")
    index = ours.stepper.index.cpu().numpy()
    x, y = plan.dataset.x_train[index], plan.dataset.y_train[index]
    passes: dict[str, Callable[[int], object]] = {"ours": lambda number: ours.epoch(number, plan.watch, ahead=True)}
    draws, last = ours.stepper.prepare(SEED, 1), ours.stepper.steps - 1
    warm = sorted({*range(min(WARM, last)), last})  # both batch sizes of an epoch, as ours
    for peer in peers:
        peer.train(ready_made(ours.stepper, draws, peer.style, warm), 1)
        passes[peer.style.name] = _loaded(peer, x, y)
    ours.stepper.draw_ahead(SEED, 1)  # the first one's went into the peers' batches
    whole = named[1].recipe.data.split.train
    facts = {"ours": Facts(plan.options.precision, prepare_s=ours.prepare_s)}
    facts |= {peer.style.name: Facts(peer.precision) for peer in peers}
    return turns.row(named, ours, facts, turns.in_turn(passes, plan), seen, plan, whole)


def _loaded(peer: Peer, x: Any, y: Any) -> Callable[[int], object]:
    loader = peer.loads(x, y)
    if peer.style.tuned:
        next(iter(loader))  # its workers stay, and have started before the first epoch that is timed
    return lambda number: peer.train(loader, number)
