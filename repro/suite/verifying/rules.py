"""What a rule is: a name, a sentence, and a function that yields the places where a record breaks it."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from repro.record import FULL_TEST, RunRecord
from repro.spec.cifar import TEST_IMAGES

#: (key path in the record, what is there and what was expected)
Places = Iterator[tuple[str, str]]


@dataclass(frozen=True)
class Broken:
    """One rule broken at one place; `key` is a dotted path in the file, empty for the file as a whole."""

    file: str
    key: str
    rule: str
    found: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.file, self.key, f"{self.found} [{self.rule}]") if part)


@dataclass(frozen=True)
class Subject:
    """A record under check: its bytes, where they lie, and what is known beside it.

    `place` is `evidence` (committed), `run` (a run's folder) or `file` (elsewhere). `ledgers` are the ids of the sound
    ledgers, None where none could be read.
    """

    record: RunRecord
    data: bytes
    path: Path
    place: str
    ledgers: frozenset[str] | None

    @cached_property
    def curves(self) -> dict[str, np.ndarray]:
        """The record's curves, unpacked once, float64."""
        return {name: np.asarray(self.record.curves[name], np.float64) for name in self.record.curves}

    @cached_property
    def predictions(self) -> dict[str, np.ndarray]:
        """The record's predictions, unpacked once."""
        return {name: np.asarray(self.record.predictions[name]) for name in self.record.predictions}

    @cached_property
    def images(self) -> int | None:
        """How many test images the run was measured on: all, or what its predictions say; None where they do not."""
        if self.record.data.get("test") == FULL_TEST:
            return TEST_IMAGES
        return len(self.predictions["class"]) if "class" in self.predictions else None

    def final(self, protocol: str, metric: str) -> float | None:
        """Return a number the run measured at its end, or None where it did not."""
        value = self.record.finals.get(protocol, {}).get(metric)
        return None if value is None else float(value)


@dataclass(frozen=True)
class Rule:
    """A rule that every record keeps; `says` is what holds where it is kept."""

    name: str
    says: str
    check: Callable[[Subject], Places]

    def broken(self, subject: Subject) -> list[tuple[str, str]]:
        """Return where the record breaks the rule; values the rule cannot even read break it as well."""
        try:
            with np.errstate(all="ignore"):
                return list(self.check(subject))
        except (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError) as error:
            return [("", f"holds what cannot be checked ({type(error).__name__}: {error})")]


def same(left: float, right: float) -> bool:
    """Whether two numbers are one value, of which one was kept as float32; NaN is NaN."""
    if math.isnan(left) or math.isnan(right):
        return math.isnan(left) and math.isnan(right)
    return left == right or math.isclose(left, right, rel_tol=1e-6, abs_tol=1e-9)
