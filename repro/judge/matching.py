"""Runs of one recipe in two collections: which are the same training, and which values stand beside one another."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from repro.judge.records import Groups, Read, choose, means
from repro.record import RunRecord, differences, drift


@dataclass(frozen=True)
class Match:
    """The runs of one recipe in A and in B, one a run key; `same` of the `shared` keys have the same final numbers.

    `drifted`: shared keys with other final numbers though both were made in one class of environment. `folds`: how
    many runs, one a fold, make up a seed's value.
    """

    a: tuple[RunRecord, ...]
    b: tuple[RunRecord, ...]
    shared: int
    same: int
    drifted: int
    folds: tuple[int | None, ...]

    def values(self, read: Read) -> tuple[list[float], list[float], bool]:
        """Return A's and B's values: those of the seeds in both, pair by pair (True), or all where there are none."""
        a, b = (means(self._groups(side), read) for side in (self.a, self.b))
        seeds = sorted(a.keys() & b.keys())
        if seeds:
            return [float(a[s]) for s in seeds], [float(b[s]) for s in seeds], True
        return [float(v) for v in a.values()], [float(v) for v in b.values()], False

    def lost(self, read: Read) -> dict[str, list[int]]:
        """Return by side the seeds that both have run and that have a value on the other side only."""
        groups = [self._groups(side) for side in (self.a, self.b)]
        both = set(groups[0]) & set(groups[1])
        a, b = (both & means(each, read).keys() for each in groups)
        return {"A": sorted(b - a), "B": sorted(a - b)}

    def alone(self) -> str:
        """Name the seeds that are in one of the two only; nothing where there are none."""
        a, b = ({record.seed for record in side} for side in (self.a, self.b))
        return ", ".join(
            f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, sorted(seeds)))} only in {name}"
            for name, seeds in (("A", a - b), ("B", b - a))
            if seeds
        )

    def _groups(self, side: Iterable[RunRecord]) -> Groups:
        groups: dict[int, list[RunRecord]] = defaultdict(list)
        for record in side:
            groups[record.seed].append(record)
        return {seed: group for seed, group in groups.items() if {r.fold for r in group} == set(self.folds)}


def match(a: Sequence[RunRecord], b: Sequence[RunRecord], folds: tuple[int | None, ...] | None = None) -> Match:
    """Match the runs of one recipe; without `folds`, a seed needs every fold that any of the runs has.

    Of several records of a key the two that agree are taken, then two of one class of environment, then each side's
    own first: a part of a collection has the same bits as the whole.
    """
    ours, theirs = _by_key(a), _by_key(b)
    pairs = {key: _pair(ours[key], theirs[key]) for key in sorted(ours.keys() & theirs.keys())}
    same = {key for key, (one, other) in pairs.items() if same_finals(one, other)}
    drifted = sum(bool(drift(*pair)) for pair in pairs.values())
    return Match(
        tuple(pairs[key][0] if key in pairs else group[0] for key, group in ours.items()),
        tuple(pairs[key][1] if key in pairs else group[0] for key, group in theirs.items()),
        len(pairs), len(same), drifted, folds or tuple({record.fold for record in (*a, *b)}),
    )  # fmt: skip


def _by_key(records: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    """Return the records of each run key, the one that stands for it first."""
    groups: dict[str, list[RunRecord]] = defaultdict(list)
    chosen, replicates = choose(records)
    for record in (*chosen, *replicates):
        groups[record.run_key].append(record)
    return groups


def _pair(a: Sequence[RunRecord], b: Sequence[RunRecord]) -> tuple[RunRecord, RunRecord]:
    every = [(one, other) for one in a for other in b]
    return min(every, key=lambda pair: (not same_finals(*pair), pair[0].env_class != pair[1].env_class))


def same_finals(a: RunRecord, b: RunRecord) -> bool:
    """Whether two runs ended alike: no difference, and numbers that tell it; without any, the same record."""
    shared = any(final.keys() & b.finals.get(protocol, {}).keys() for protocol, final in a.finals.items())
    return not differences(a, b) if shared else a.to_bytes() == b.to_bytes()
