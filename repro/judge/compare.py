"""Two collections of records of the same experiments -> one word a measured number: the same bits, equivalent, differs.

A recipe is in both where both hold runs of it. Runs of one key are the same training on other machines: their final
numbers are first compared bit by bit, then, paired by seed, by the rule of the verdicts. Accuracies are in percent,
their differences in points.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from statistics import fmean

from scipy.special import chdtri

from repro.judge import statistics
from repro.judge.compared import images_of
from repro.judge.matching import Match, match
from repro.judge.records import enters, number
from repro.judge.rows import ENOUGH_RUNS
from repro.judge.statistics import Interval, Spread
from repro.record import RunRecord
from repro.spec.claims import experiments_of
from repro.spec.identity import folds_of, sharing
from repro.spec.schema import Experiment, Report

#: every word a comparison can have
WORDS = ("same bits", "equivalent", "differs", "inconclusive", "only in A", "only in B")
_DECIDED = {"same": "equivalent", "above": "differs", "below": "differs", "open": "inconclusive"}


@dataclass(frozen=True)
class Measure:
    """A number that runs of an experiment have, and how many images it is measured on."""

    protocol: str = "last"
    metric: str = "acc_pct"
    epoch: int | None = None
    images: int = statistics.N_TEST

    @property
    def name(self) -> str:
        """`last/acc_pct`, or `val/acc_pct@10` at an epoch."""
        return f"{self.protocol}/{self.metric}" + (f"@{self.epoch}" if self.epoch else "")


@dataclass(frozen=True)
class Compared:
    """One number of one experiment in A and in B; None where there is no such number.

    `a` and `b` are the means of the runs that are compared, `d` is b minus a with its 90 % interval, `n` how many
    pairs (or, where no seed is shared, the runs of the smaller side). `same` of the `shared` run keys have the same
    final numbers, `drifted` were made in one class of environment and have others.
    """

    report: str
    experiment: str
    measure: str
    word: str
    why: str = ""
    runs_a: int = 0
    runs_b: int = 0
    n: int = 0
    a: float | None = None
    b: float | None = None
    d: float | None = None
    low: float | None = None
    high: float | None = None
    margin: float | None = None
    shared: int = 0
    same: int = 0
    drifted: int = 0
    provisional: bool = False


def compare(
    reports: Mapping[str, Report], a: Iterable[RunRecord], b: Iterable[RunRecord], profile: str = "full",
    margin: float | None = None,
) -> list[Compared]:  # fmt: skip
    """Compare two collections, experiment by experiment in the order of the files, recipes of no file last.

    `margin` in points replaces the rule's own. Smoke runs are compared by their bits only.
    """
    ours, theirs = _by_recipe(a, profile), _by_recipe(b, profile)
    known = {
        (report.id, sha): (report, arms) for report in reports.values() for sha, arms in sharing(report).items()
    }  # fmt: skip
    places = {key: place for place, key in enumerate(known)}
    every = sorted(ours.keys() | theirs.keys(), key=lambda key: (key[0], places.get(key, len(places)), key[1]))
    found: list[Compared] = []
    for key in every:
        sides = ours.get(key, []), theirs.get(key, [])
        if key in known:
            report, arms = known[key]
            name, measures = ", ".join(arm.id for arm in arms), _measures(report, arms)
            runs = match(*sides, folds_of(arms[0].recipe))
        else:
            name, measures = f"{(sides[0] or sides[1])[0].experiments[0]} (another recipe)", [Measure()]
            runs = match(*sides)
        found += _one(key[0], name, measures, runs, profile != "smoke", margin)
    return found


def _by_recipe(records: Iterable[RunRecord], profile: str) -> dict[tuple[str, str], list[RunRecord]]:
    found: dict[tuple[str, str], list[RunRecord]] = defaultdict(list)
    for record in records:
        if enters(record, profile):
            found[record.report, record.recipe_hash].append(record)
    return found


def _measures(report: Report, arms: Sequence[Experiment]) -> list[Measure]:
    """Return what is compared: the accuracy after the last epoch, and what each headline claim is measured by."""
    names, recipe = {arm.id for arm in arms}, arms[0].recipe
    found = {Measure().name: Measure()}
    for claim in report.claims:
        if claim.headline and getattr(claim, "metric", "") == "acc_pct" and names & set(experiments_of(claim)):
            protocol, epoch = getattr(claim, "protocol", "last"), getattr(claim, "epoch", None)
            one = Measure(protocol, epoch=epoch, images=images_of(recipe, protocol))
            found.setdefault(one.name, one)
    return list(found.values())


def _one(
    report: str, name: str, measures: Sequence[Measure], runs: Match, judged: bool, margin: float | None
) -> list[Compared]:
    word = "inconclusive" if runs.a and runs.b else "only in A" if runs.a else "only in B"
    row = Compared(report, name, "", word, "", len(runs.a), len(runs.b))
    if word != "inconclusive":
        return [row]
    row = replace(row, shared=runs.shared, same=runs.same, drifted=runs.drifted)
    return [_measured(replace(row, measure=one.name), one, runs, judged, margin) for one in measures]


def _measured(row: Compared, one: Measure, runs: Match, judged: bool, margin: float | None) -> Compared:
    def read(record: RunRecord) -> float | None:
        return number(record.value(one.protocol, one.metric, one.epoch))

    a, b, paired = runs.values(read)
    row = replace(row, a=fmean(a) if a else None, b=fmean(b) if b else None, n=min(len(a), len(b)), why=runs.alone())
    if runs.shared and runs.same == runs.shared:
        return replace(row, word="same bits", d=0.0 if a and paired else None)
    if not judged:
        return replace(row, why="smoke runs are compared by their bits only")
    if not a or not b:
        return replace(row, why=f"no such value in {'either' if not a and not b else 'B' if a else 'A'}")
    limit = statistics.margin(fmean([*a, *b])) if margin is None else margin
    # Runs of other seeds validate on other images, those of a pair on the same ones.
    sampled = not paired and one.protocol in ("val", "val_augmented")
    expected = (statistics.sample_sd if sampled else statistics.jordan_sd)(fmean([*a, *b]), one.images)
    spread, found = difference(a, b, expected / sqrt(len(runs.folds)), paired)
    lost = [
        f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))} without a value in {side} only"
        for side, seeds in runs.lost(read).items()
        if seeds
    ]
    word = _DECIDED[statistics.equivalence(found, limit)]
    usual = "the runs spread more than is usual" if spread.unstable else ""
    return replace(
        row, word="inconclusive" if lost and word == "equivalent" else word,
        why="; ".join(text for text in (*lost, usual, row.why) if text), d=found.d, low=found.low,
        high=found.high, margin=limit, provisional=row.n < ENOUGH_RUNS,
    )  # fmt: skip


def difference(a: Sequence[float], b: Sequence[float], prior: float, paired: bool) -> tuple[Spread, Interval]:
    """Return b minus a with its interval, from a spread shrunk towards `prior`, the sd expected of one run.

    Of pairs the spread is that of their differences, which has sqrt(2) of the prior; else the one that both share.
    """
    d = fmean(b) - fmean(a)
    if paired:
        spread = statistics.moderated([y - x for x, y in zip(a, b, strict=True)], sqrt(2) * prior)
        assert spread is not None  # with a prior there always is one
        return spread, statistics.interval(d, spread.sd / sqrt(len(a)), spread.nu)
    spread = _common([*_residuals(a), *_residuals(b)], len(a) + len(b) - 2, prior)
    return spread, statistics.interval(d, spread.sd * sqrt(1 / len(a) + 1 / len(b)), spread.nu)


def _residuals(values: Sequence[float]) -> list[float]:
    return [value - fmean(values) for value in values]


def _common(residuals: Sequence[float], df: int, prior: float) -> Spread:
    """Shrink the sd within two groups, as `statistics.moderated` does that of one."""
    squares, weight = sum(r * r for r in residuals), statistics.PRIOR_WEIGHT
    if df and squares > prior**2 * float(chdtri(df, 1 - statistics.GUARD)):
        return Spread(sqrt(squares / df), df, sqrt(squares / df), unstable=True)
    own = sqrt(squares / df) if df else None
    return Spread(sqrt((weight * prior**2 + squares) / (weight + df)), weight + df, own)
