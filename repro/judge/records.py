"""Which records answer for an experiment: the report's, of today's recipe, of one profile, one record a run key.

Also which of them make up one value: a run, or of a fresh network a fold the runs of all folds of a seed.
"""

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from repro.judge import statistics
from repro.judge.timings import NONE, Timings
from repro.record import RunRecord
from repro.spec import ledger
from repro.spec.identity import folds_of, recipe_hash
from repro.spec.recipe import Recipe
from repro.spec.schema import Claim, Report

Ledgers = Mapping[str, Mapping[str, str]]
Groups = dict[int, list[RunRecord]]
#: reads a value, or an array of one length for every run of a recipe, off a record; None where it holds none
Read = Callable[[RunRecord], Any]


def records_of(report: Report, experiment: str, records: Iterable[RunRecord], profile: str = "full") -> list[RunRecord]:
    """Return the records that may answer for an experiment: its report, its recipe as it stands today, the profile.

    The recipe decides, not the names a record lists: experiments with one recipe share a run, and a record of
    a recipe that has since been changed answers for nothing. In profile `full` a record has to count.
    """
    sha = recipe_hash(report.experiments[experiment].recipe)
    return [r for r in records if r.report == report.id and r.recipe_hash == sha and enters(r, profile)]


def enters(record: RunRecord, profile: str) -> bool:
    """Whether a record belongs on the pages of a profile; on the full ones it has to count."""
    return record.profile == profile and (profile != "full" or record.counts)


def of_profile(records: Iterable[RunRecord], profile: str) -> list[RunRecord]:
    """Return the records that belong on a profile's pages, each once, sorted by what they are, not where they lay.

    Few need their bytes for that: only those that what names them does not tell apart.
    """
    named: dict[Any, list[RunRecord]] = defaultdict(list)
    for r in records:
        if enters(r, profile):
            named[r.report, tuple(r.experiments), r.seed, r.fold or 0, r.started].append(r)
    each = (named[name] for name in sorted(named))
    return [r for group in each for r in (group if len(group) == 1 else _by_bytes(group))]


def _by_bytes(records: Iterable[RunRecord]) -> list[RunRecord]:
    return [record for _, record in sorted({r.to_bytes(): r for r in records}.items())]


def choose(records: Iterable[RunRecord]) -> tuple[list[RunRecord], list[RunRecord]]:
    """Split records into the one that stands for each run key and its replicates.

    CUDA before CPU, then the earliest started; the bytes settle what is left, so that any order of the
    input gives the same answer. Both lists are sorted by seed and fold, replicates then by that same rank.
    """
    groups: dict[str, list[RunRecord]] = defaultdict(list)
    for record in records:
        groups[record.run_key].append(record)
    chosen, replicates = [], []
    for group in groups.values():
        first, *others = sorted(group, key=_rank) if len(group) > 1 else group
        chosen.append(first)
        replicates += others
    return sorted(chosen, key=_place), sorted(replicates, key=_place)


def _rank(record: RunRecord) -> tuple[bool, bool, str, str]:
    cuda = record.env_class.lower().startswith("cuda")
    return not record.counts, not cuda, record.started, hashlib.sha256(record.to_bytes()).hexdigest()


def _place(record: RunRecord) -> tuple[int, int, str]:
    return record.seed, -1 if record.fold is None else record.fold, record.run_key


def by_seed(recipe: Recipe, chosen: Iterable[RunRecord]) -> Groups:
    """Return by seed the runs that make up one value; a seed that lacks one of its folds is left out."""
    wanted, groups = set(folds_of(recipe)), _together(recipe, chosen)
    return {seed: group for seed, group in groups.items() if {r.fold for r in group} == wanted}


def incomplete(recipe: Recipe, chosen: Iterable[RunRecord]) -> str:
    """Say which seeds lack folds; nothing where all are there."""
    k, groups = len(folds_of(recipe)), _together(recipe, chosen)
    lacking = {seed: n for seed, group in sorted(groups.items()) if (n := len({r.fold for r in group})) < k}
    return ", ".join(f"seed {seed} has {n} of {k} folds" for seed, n in lacking.items())


def _together(recipe: Recipe, chosen: Iterable[RunRecord]) -> Groups:
    groups: Groups = {}
    for record in chosen:
        if record.fold in folds_of(recipe):
            groups.setdefault(record.seed, []).append(record)
    return groups


def means(groups: Groups, read: Read) -> dict[int, Any]:
    """Return by seed the mean over its runs of what `read` finds; a seed with a run that holds none is left out."""
    found: dict[int, Any] = {}
    for seed, group in groups.items():
        values = [read(record) for record in group]
        if all(v is not None for v in values) and len({np.shape(v) for v in values}) == 1:
            found[seed] = values[0] if len(values) == 1 else np.mean(values, axis=0)
    return found


def left_out(groups: Iterable[Groups], used: Iterable[int]) -> str:
    """Name the seeds with runs that enter no number; nothing where all do."""
    seeds = sorted({seed for found in groups for seed in found} - set(used))
    names = f"seed{'' if len(seeds) == 1 else 's'} {', '.join(map(str, seeds))}"
    return f"{names} left out: a run or its value is missing" if seeds else ""


def number(value: Any) -> float | None:
    """Return a record's value as a finite float, else None: records are not to be trusted with types."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        found = float(value)
    except OverflowError:  # an integer beyond every float
        return None
    return found if math.isfinite(found) else None


@dataclass(frozen=True)
class Pool:
    """What one report's claims are judged by: the records, the profile that counts, and the ledgers they name.

    `timings`: what was measured side by side; records say nothing of time.
    """

    report: Report
    records: Sequence[RunRecord]
    ledgers: Ledgers
    profile: str
    timings: Timings = NONE

    @cached_property
    def _recipes(self) -> dict[str, str]:
        return {name: recipe_hash(experiment.recipe) for name, experiment in self.report.experiments.items()}

    @cached_property
    def _by_recipe(self) -> dict[str, list[RunRecord]]:
        """The runs that count of each recipe, one a run key; found once, since a report asks hundreds of times."""
        found: dict[str, list[RunRecord]] = defaultdict(list)
        for record in self.records:
            if record.report == self.report.id and enters(record, self.profile):
                found[record.recipe_hash].append(record)
        return {sha: choose(records)[0] for sha, records in found.items()}

    @cached_property
    def _sound(self) -> dict[str, bool]:
        # A ledger must hash to its own name.
        return {name: ledger.ledger_id(dict(entries)) == name for name, entries in self.ledgers.items()}

    def chosen(self, experiment: str) -> list[RunRecord]:
        """Return the runs of an experiment, one a run key."""
        return self._by_recipe.get(self._recipes[experiment], [])

    def groups(self, experiment: str, fold: int | None = None) -> Groups:
        """Return by seed the runs that make up one value of an experiment, or of one of its folds."""
        if fold is not None:
            return {record.seed: [record] for record in self.chosen(experiment) if record.fold == fold}
        return by_seed(self.report.experiments[experiment].recipe, self.chosen(experiment))

    @cached_property
    def pooled(self) -> float | None:
        """The sd in points that this report's experiments have between seeds, last epoch; None of fewer than five."""
        groups = []
        for sha in dict.fromkeys(self._recipes.values()):
            name = next(name for name, other in self._recipes.items() if other == sha)
            sound = {seed: g for seed, g in self.groups(name).items() if all(r.state == "finished" for r in g)}
            groups.append(list(means(sound, lambda record: number(record.value("last", "acc_pct"))).values()))
        groups = [[float(v) for v in values] for values in groups if len(values) > 1]
        return statistics.pooled_sd(groups, [statistics.jordan_sd(sum(v) / len(v)) for v in groups])

    def prior(self, expected: float, networks: int = 1) -> float:
        """Return the sd in points of means over so many networks, one expected to spread by `expected`.

        The report's own spread, once known, replaces what is expected where it is larger.
        """
        return max(expected, self.pooled or 0.0) / math.sqrt(networks)

    def no_run(self) -> str:
        """Say that there is no run of the profile."""
        return "no full-protocol run yet" if self.profile == "full" else f"no {self.profile} run yet"

    def lacking(self, groups: Mapping[str, Groups]) -> str:
        """Name the experiments that have no run; nothing where each has one."""
        names = [f"`{name}`" for name, found in groups.items() if not found]
        return f"{self.no_run()} of {', '.join(names)}" if names else ""

    def declared(self, claim: Claim, records: Iterable[RunRecord]) -> list[str]:
        """Say of each record whether the claim as it stands today was in the ledger the run named.

        `rules 1` where the claim was, to be judged by that earlier version of its rule.
        """
        name, now = f"{self.report.id}/{claim.id}", ledger.rules_of(claim, self.report)
        words = {ledger.digest(claim, version): f"rules {version}" for version in range(1, now)}
        words[ledger.digest(claim, now)] = "yes"
        return [self._declared(name, words, record) for record in records]

    def _declared(self, name: str, words: Mapping[str, str], record: RunRecord) -> str:
        if not self._sound.get(record.ledger, False):
            return "unknown"
        return words.get(self.ledgers[record.ledger].get(name, ""), "no")


def together(each: Iterable[str]) -> str:
    """Return what several runs say of whether a claim was declared before them, in one word; nothing of no run."""
    said = set(each)
    if len(said) < 2:
        return said.pop() if said else ""
    if "unknown" in said:
        return "unknown"
    # All of them held it, some to be judged by an earlier version of its rule: the oldest is said.
    return "in part" if "no" in said else min(said - {"yes"}, key=lambda word: int(word.removeprefix("rules ")))


def environment(records: Iterable[RunRecord]) -> str:
    """Name the machine classes that some records come from, each once."""
    return ", ".join(sorted({record.env_class for record in records}))
