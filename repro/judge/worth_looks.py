"""The looks that are declared beforehand: a claim's verdict is looked at with 3, 5 and 8 seeds, and where it stands.

A claim is decided by a look that gives a word which says something and is not provisional. It is trained for no
longer, and neither is a claim after its last look, or one that no run changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from repro.judge.claims import judge, judge_all
from repro.judge.recipes import beside, differing
from repro.judge.records import Pool
from repro.judge.rows import Row
from repro.record import FULL_TEST, FULL_TRAIN
from repro.spec.identity import Run, recipe_hash, run_key, runs_of
from repro.spec.schema import Claim, Report, experiments_of

#: seeds with which a verdict is looked at
LOOKS = (3, 5, 8)
#: words that leave a claim open
OPEN = ("not run", "inconclusive", "not judged")
#: kinds that runs decide; a sentence is decided by what indicates it, a time by rounds side by side
KINDS = ("point", "loss", "order", "trend", "convergence", "band", "trajectory", "confusion")
DATA = f"{FULL_TRAIN}:{FULL_TEST}"


@dataclass(frozen=True)
class Standing:
    """A claim that runs decide: its experiments, the seeds they share, and whether its last look decided it.

    `looked`: the seeds of that look, the first 3, 5 or 8; none before the first.
    """

    experiments: tuple[str, ...]
    seeds: tuple[int, ...]
    looked: tuple[int, ...]
    word: str
    decided: bool

    @property
    def n(self) -> int:
        """How many seeds there are."""
        return len(self.seeds)

    @property
    def later(self) -> tuple[int, ...]:
        """The looks that are still to come; none of a claim that is decided."""
        return () if self.decided else tuple(look for look in LOOKS if look > self.n)


def asked(pool: Pool, claim: Claim) -> tuple[str, ...]:
    """Return the experiments whose runs decide a claim; none where no run does.

    None does where the rows differ in more than the factor that the text names: that is not testable as printed.
    """
    names = tuple(dict.fromkeys(experiments_of(claim))) if claim.kind in KINDS else ()
    factor = getattr(claim, "factor", None)
    if factor and beside(differing([pool.report.experiments[name].recipe for name in names]), factor):
        return ()
    return names


def standing(pool: Pool, claim: Claim, row: Row) -> Standing | None:
    """Return where a claim stands, by its row of all runs; None where no run decides it."""
    names = asked(pool, claim)
    if not names:
        return None
    seeds = shared(pool, claim, names)
    at = max((look for look in LOOKS if look <= len(seeds)), default=0)
    if LOOKS[0] < len(seeds) < LOOKS[-1] and at != len(seeds):
        row = _at(pool, claim, names, seeds[:at])  # a step that is under way is no look
    word = row.verdict.word if row.verdict else "not run"
    return Standing(names, seeds, seeds[:at], word, at > 0 and firm(row))


def firm(row: Row) -> bool:
    """Whether a row's verdict decides its claim: it is neither open nor provisional."""
    return row.verdict is not None and row.verdict.word not in OPEN and not row.verdict.provisional


def shared(pool: Pool, claim: Claim, names: Sequence[str]) -> tuple[int, ...]:
    """Return the seeds that every one of a claim's experiments has, in order; of one fold where it asks for that."""
    fold = getattr(claim, "fold", None)
    return tuple(sorted(set.intersection(*(set(pool.groups(name, fold)) for name in names))))


def _at(pool: Pool, claim: Claim, names: Sequence[str], seeds: Sequence[int]) -> Row:
    """Judge a claim by its first seeds; other experiments keep all of theirs, since spreads are pooled over them."""
    own = {recipe_hash(pool.report.experiments[name].recipe) for name in names}
    kept = [record for record in pool.records if record.recipe_hash not in own or record.seed in seeds]
    return judge(pool.report, claim, kept, pool.ledgers, pool.profile, pool.timings)


def standings(pool: Pool) -> dict[str, Standing]:
    """Return where each claim of a report stands that runs decide, in the file's order."""
    rows = judge_all(pool.report, pool.records, pool.ledgers, pool.profile, pool.timings)
    each = ((claim.id, standing(pool, claim, row)) for claim, row in zip(pool.report.claims, rows, strict=True))
    return {name: found for name, found in each if found}


class Runs:
    """The runs that a report may ask for, full-protocol ones, by experiment and seed."""

    def __init__(self, report: Report):
        first = runs_of(report, report.experiments.values(), (0,), DATA, "full")
        self.first = {name: [run for run in first if name in run.experiments] for name in report.experiments}
        self.hashes = {name: recipe_hash(each[0].recipe) for name, each in self.first.items()}

    def of(self, name: str, seed: int, fold: int | None = None) -> list[Run]:
        """Return an experiment's runs of a seed: a run, a run a fold, or that of one fold."""
        sha, runs = self.hashes[name], [run for run in self.first[name] if fold in (None, run.fold)]
        keys = [run_key(run.report, sha, seed, run.fold, DATA, "full") for run in runs]
        return [replace(run, seed=seed, key=key) for run, key in zip(runs, keys, strict=True)]

    def lacking(self, pool: Pool, claim: Claim, found: Standing, look: int) -> tuple[Run, ...]:
        """Return the runs that a look lacks, seed by seed: of the lowest seeds that the experiments do not share yet.

        Runs that are there already are not made again.
        """
        free = (seed for seed in range(look) if seed not in found.seeds)
        seeds, fold = [next(free) for _ in range(look - found.n)], getattr(claim, "fold", None)
        held = {record.run_key for name in found.experiments for record in pool.chosen(name)}
        runs = (run for seed in seeds for name in found.experiments for run in self.of(name, seed, fold))
        return tuple({run.key: run for run in runs if run.key not in held}.values())
