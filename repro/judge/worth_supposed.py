"""Runs that were drawn, not trained, and a pool of them: what the judge's own rules are asked with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from repro.judge.records import Groups, Pool
from repro.record import RunRecord

#: experiment -> seed -> value
Values = Mapping[str, Mapping[int, float]]


@dataclass(frozen=True)
class Drawn:
    """A run that was drawn: whatever number it is asked for, it has this one, and no curves."""

    seed: int
    fold: int | None
    number: float
    run_key: str = ""
    state: str = "finished"
    env_class: str = ""
    finals: Mapping[str, Any] = field(default_factory=dict)
    curves: Mapping[str, Any] = field(default_factory=dict)

    def value(self, *_asked: Any) -> float:
        """Return the number."""
        return self.number


class Supposed(Pool):
    """A pool in which experiments have other runs, one value a seed; what spread is expected stays the real pool's.

    `expected` is the last standard deviation that a rule has asked for, None where it has asked for none.
    """

    real: Pool
    fold: int | None
    runs: Mapping[str, dict[int, list[Any]]]
    expected: float | None

    def __init__(self, real: Pool, values: Values, fold: int | None = None):
        super().__init__(real.report, (), {}, real.profile)
        runs = {name: {seed: [Drawn(seed, fold, x)] for seed, x in each.items()} for name, each in values.items()}
        self.__dict__.update(real=real, fold=fold, runs=runs, expected=None)  # a pool is frozen

    def chosen(self, experiment: str) -> list[RunRecord]:
        """Return the supposed runs of an experiment."""
        return [record for group in self.runs[experiment].values() for record in group]

    def groups(self, experiment: str, fold: int | None = None) -> Groups:
        """Return the supposed runs by seed; they are of the fold that is asked for, if of one."""
        return self.runs[experiment]

    def prior(self, expected: float, networks: int = 1) -> float:
        """Return what the real pool expects, and keep it; to 0.01 points, so that few runs elsewhere move it."""
        self.__dict__["expected"] = found = max(round(self.real.prior(expected, networks), 2), 0.01)
        return found

    def declared(self, _claim: Any, records: Any) -> list[str]:
        """Say of no run whether the claim stood before it: no verdict rests on that."""
        return ["unknown" for _ in records]
