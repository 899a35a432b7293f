"""How much the way of counting matters: one training's accuracy under every protocol of the test set.

The bracket reaches from the lowest to the highest protocol, means over seeds. The reference is chosen without
the test images: the epoch of the lowest validation loss where images are held out, else the last epoch. The optimism
budget is what each protocol adds to it, in points; what tests the last epoch's weights in another way, to those weights
tested as usual. Accuracies are in percent.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TypeGuard

from repro.judge.printed import SLACK, ends
from repro.judge.records import Pool, Read, means, number
from repro.record import RunRecord
from repro.spec.identity import sharing
from repro.spec.schema import Claim, MeasuredClaim, Report

#: every way of counting test images that a run is measured by; `last_batch` and `batch_mean` as means over orders
TEST_PROTOCOLS = (
    "last", "best_val_loss", "best_test", "best_test_every10", "best_test_loss", "batch_mean", "last_batch",
    "train_mode_bn", "augmented_test",
)  # fmt: skip
#: those that test the last epoch's weights in another way
_OF_LAST = ("train_mode_bn", "augmented_test")


@dataclass(frozen=True)
class Printed:
    """A published test accuracy: `low` to `high` is what rounds to it; `outside` the points from there to the bracket.

    `outside` is 0 within the bracket, positive above and negative below it.
    """

    claim: str
    protocol: str
    value: float
    decimals: int
    low: float
    high: float
    outside: float


@dataclass(frozen=True)
class Bracket:
    """The protocols of one recipe's runs: `values[protocol][i]` is the accuracy of seed `seeds[i]`.

    `experiments`: those that share the recipe. `reference`: the protocol that the others are set against.
    """

    experiments: tuple[str, ...]
    reference: str
    seeds: tuple[int, ...]
    values: Mapping[str, tuple[float, ...]]
    printed: tuple[Printed, ...] = ()

    def mean(self, protocol: str) -> float:
        """Return a protocol's accuracy, mean over seeds."""
        return fmean(self.values[protocol])

    def added(self, protocol: str) -> float:
        """Return the points that counting this way adds, mean over seeds: to the reference, or to `last`."""
        return fmean(self._gaps(protocol))

    def added_sd(self, protocol: str) -> float | None:
        """Return the standard deviation over seeds of what a protocol adds; None of one seed."""
        return stdev(self._gaps(protocol)) if len(self.seeds) > 1 else None

    @property
    def lowest(self) -> str:
        """The protocol with the lowest mean; of several the first in the order of `TEST_PROTOCOLS`."""
        return min(self.values, key=self.mean)

    @property
    def highest(self) -> str:
        """The protocol with the highest mean; of several the first in the order of `TEST_PROTOCOLS`."""
        return max(self.values, key=self.mean)

    def _gaps(self, protocol: str) -> list[float]:
        beside = "last" if protocol in _OF_LAST and "last" in self.values else self.reference
        return [v - r for v, r in zip(self.values[protocol], self.values[beside], strict=True)]


def brackets(report: Report, records: Iterable[RunRecord], profile: str = "full") -> list[Bracket]:
    """Return the bracket of every recipe that has runs, in the file's order."""
    pool = Pool(report, list(records), {}, profile)
    found = (_bracket(pool, tuple(each.id for each in group)) for group in sharing(report).values())
    return [bracket for bracket in found if bracket is not None]


def _bracket(pool: Pool, names: tuple[str, ...]) -> Bracket | None:
    groups = pool.groups(names[0])
    held_out = pool.report.experiments[names[0]].recipe.data.split.val > 0
    reference = "best_val_loss" if held_out else "last"
    by_protocol = {name: means(groups, _reader(name)) for name in TEST_PROTOCOLS}
    seeds = tuple(sorted(by_protocol[reference]))
    if not seeds:
        return None
    # A protocol that some seed lacks would compare other runs.
    whole = {name: each for name, each in by_protocol.items() if set(seeds) <= each.keys()}
    values = {name: tuple(float(each[seed]) for seed in seeds) for name, each in whole.items()}
    bare = Bracket(names, reference, seeds, values)
    low, high = bare.mean(bare.lowest), bare.mean(bare.highest)
    printed = tuple(_printed(claim, low, high) for claim in pool.report.claims if _is_test(claim, names))
    return Bracket(names, reference, seeds, values, printed)


def _reader(protocol: str) -> Read:
    return lambda record: number(record.value(protocol, "acc_pct"))


def _is_test(claim: Claim, names: tuple[str, ...]) -> TypeGuard[MeasuredClaim]:
    """Whether a claim is a test accuracy of one of these experiments, at the end of its training."""
    return (
        isinstance(claim, MeasuredClaim)
        and claim.experiment in names
        and claim.metric == "acc_pct"
        and claim.fold is None
        and claim.epoch is None
        and claim.protocol in TEST_PROTOCOLS
    )


def _printed(claim: MeasuredClaim, low: float, high: float) -> Printed:
    least, most = ends(claim.value, claim.decimals, claim.rounding)
    outside = max(least - high, 0.0) + min(most - low, 0.0)
    # Sums of decimals miss by their last bit.
    outside = 0.0 if abs(outside) < SLACK else outside
    return Printed(claim.id, claim.protocol, claim.value, claim.decimals, least, most, outside)
