"""One claim and the records of its experiment -> one row: published, ours, difference, n, spread and state.

A row states numbers, not a verdict. Which records enter is decided here alone: the report's, of the recipe
the report's file holds today, of one profile, one record a run key.
"""

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy.stats import hypergeom

from repro.record import RunRecord
from repro.spec import counting, ledger
from repro.spec.identity import recipe_hash
from repro.spec.schema import Claim, CountClaim, MeasuredClaim, Report, UntestableClaim

#: fewer runs than this say little about spread: the row is marked provisional
ENOUGH_RUNS = 3
#: protocols whose value depends on the order in which the test images are met
ORDER_PROTOCOLS = ("last_batch", "batch_mean")

Ledgers = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class OrderSpread:
    """One run's value over random orders of the test images, in percent.

    For `last_batch` it is exact (hypergeometric): `counts` are the hits of `n` that print as the published
    value, `chance` their probability, `low` and `high` the hits between which 95 % of the orders fall.
    `official_pct` is the value in the data set's official order, None where that order is unknown.
    """

    mean_pct: float
    sd_pct: float
    official_pct: float | None
    n: int | None = None
    correct: int | None = None
    total: int | None = None
    counts: tuple[int, ...] = ()
    chance: float | None = None
    low: int | None = None
    high: int | None = None


@dataclass(frozen=True)
class RunValue:
    """What one run says to one claim; `declared`: whether the claim stood before the run (yes | no | unknown)."""

    run_key: str
    seed: int
    fold: int | None
    state: str
    value: float | None
    declared: str
    order: OrderSpread | None = None


@dataclass(frozen=True)
class Row:
    """A claim beside what we have: `state` in words, `reason` where there is no value, numbers where there are.

    `state`: measured | not run | not measured | equal | not equal | not testable. `published` is the printed
    number, `reference` the number it stands for (the middle of [91, 92) for 91 cut off), which `difference`
    is taken from. `ours` is the mean over runs or the closed-form count; `sd` needs two runs.
    """

    report: str
    claim: str
    kind: str
    headline: bool
    where: str
    state: str
    reason: str = ""
    experiment: str | None = None
    protocol: str | None = None
    epoch: int | None = None
    metric: str | None = None
    published: float | None = None
    reference: float | None = None
    decimals: int = 0
    rounding: str = "nearest"
    ours: float | None = None
    sd: float | None = None
    difference: float | None = None
    n: int = 0
    declared: str = ""
    runs: tuple[RunValue, ...] = ()
    note: str = ""

    @property
    def provisional(self) -> bool:
        """Whether too few runs stand behind it to speak of spread."""
        return self.state == "measured" and self.n < ENOUGH_RUNS


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


def judge(
    report: Report, claim: Claim, records: Iterable[RunRecord], ledgers: Ledgers | None = None, profile: str = "full"
) -> Row:
    """Set one claim beside the records; `ledgers` maps a ledger's id to its {report/claim: hash}."""
    if isinstance(claim, CountClaim):
        return _count(report, claim)
    if isinstance(claim, MeasuredClaim):
        return _measured(report, claim, records, ledgers or {}, profile)
    return _untestable(report, claim)


def _untestable(report: Report, claim: UntestableClaim) -> Row:
    return Row(
        report.id, claim.id, claim.kind, claim.headline, claim.where, "not testable", claim.why,
        published=claim.value, reference=claim.value, decimals=claim.decimals, note=claim.text,
    )  # fmt: skip


def _count(report: Report, claim: CountClaim) -> Row:
    model = report.experiments[claim.experiment].recipe.model
    if claim.quantity == "parameters":
        ours = float(counting.parameters(model))
    else:
        ours = float(counting.sizes_mb(model)[claim.quantity])
    equal = abs(ours - claim.value) <= 0.5 * 10.0**-claim.decimals + 1e-9
    return Row(
        report.id, claim.id, claim.kind, claim.headline, claim.where, "equal" if equal else "not equal",
        experiment=claim.experiment, metric=claim.quantity, published=claim.value, reference=claim.value,
        decimals=claim.decimals, ours=ours, difference=ours - claim.value, note=claim.note or "",
    )  # fmt: skip


def _measured(
    report: Report, claim: MeasuredClaim, records: Iterable[RunRecord], ledgers: Ledgers, profile: str
) -> Row:
    def row(state: str, reason: str = "", **numbers: object) -> Row:
        return Row(
            report.id, claim.id, claim.kind, claim.headline, claim.where, state, reason,
            experiment=claim.experiment, protocol=claim.protocol, epoch=claim.epoch, metric=claim.metric,
            published=claim.value, reference=_reference(claim), decimals=claim.decimals, rounding=claim.rounding,
            note=claim.note or "", **numbers,  # type: ignore[arg-type]
        )  # fmt: skip

    if claim.experiment is None:
        return row("not run", claim.why_not_run or "")
    chosen, _ = choose(records_of(report, claim.experiment, records, profile))
    if not chosen:
        return row("not run", "no full-protocol run yet" if profile == "full" else f"no {profile} run yet")
    digest = ledger.claims([report]).get(f"{report.id}/{claim.id}")
    runs = tuple(
        _run_value(claim, record, _declared(report.id, claim.id, digest, record, ledgers)) for record in chosen
    )
    values = [run.value for run in runs if run.value is not None]
    why = _missing(runs)
    if not values:
        return row("not measured", why, runs=runs)
    mean = fmean(values)
    return row(
        "measured",
        why,
        ours=mean,
        sd=stdev(values) if len(values) > 1 else None,
        difference=mean - _reference(claim),
        n=len(values),
        declared=_together([run.declared for run in runs if run.value is not None]),
        runs=runs,
    )


def _missing(runs: tuple[RunValue, ...]) -> str:
    """Say how many runs diverged and how many hold no such value; nothing when all is well."""
    parts = []
    for n, what in (
        (sum(run.state == "diverged" for run in runs), "diverged"),
        (sum(run.value is None for run in runs), "recorded no such value"),
    ):
        if n:
            parts.append(f"{n} of {len(runs)} runs {what}" if len(runs) > 1 else f"the run {what}")
    return ", ".join(parts)


def _reference(claim: MeasuredClaim) -> float:
    # A number cut off at its last digit stands for the middle of [value, value + 1 unit).
    return claim.value + (0.5 * 10.0**-claim.decimals if claim.rounding == "floor" else 0.0)


def _run_value(claim: MeasuredClaim, record: RunRecord, declared: str) -> RunValue:
    value = record.value(claim.protocol, claim.metric, claim.epoch)
    value = float(value) if value is not None and _finite(value) else None
    order = None
    if value is not None and claim.protocol in ORDER_PROTOCOLS and claim.metric == "acc_pct":
        order = order_spread(record.finals.get(claim.protocol, {}), claim)
    return RunValue(record.run_key, record.seed, record.fold, record.state, value, declared, order)


def order_spread(final: Mapping[str, float], claim: MeasuredClaim | None = None) -> OrderSpread | None:
    """Return a run's spread over random test orders from its `last_batch` or `batch_mean` entry, if it holds one.

    With `n`, `correct` and `total` the distribution is the hypergeometric one: a last batch of n images is a
    draw without replacement from the total, of which `correct` are right.
    """
    official = final["official_pct"] if _finite(final.get("official_pct")) else None
    if not all(_finite(final.get(key)) for key in ("n", "correct", "total")):
        if not (_finite(final.get("acc_pct")) and _finite(final.get("sd_pct"))):
            return None
        return OrderSpread(float(final["acc_pct"]), float(final["sd_pct"]), official)
    n, correct, total = (int(final[key]) for key in ("n", "correct", "total"))
    if not (0 < n <= total <= 10**6 and 0 <= correct <= total):
        return None
    hits = hypergeom(total, correct, n)
    counts = tuple(k for k in range(n + 1) if _prints_as(claim, 100 * k / n)) if claim else ()
    return OrderSpread(
        mean_pct=100 * correct / total,
        sd_pct=100 * float(hits.std()) / n,
        official_pct=official,
        n=n,
        correct=correct,
        total=total,
        counts=counts,
        chance=float(sum(hits.pmf(k) for k in counts)) if claim else None,
        low=int(hits.ppf(0.025)),
        high=int(hits.ppf(0.975)),
    )


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _prints_as(claim: MeasuredClaim, percent: float) -> bool:
    unit = 10.0**-claim.decimals
    if claim.rounding == "floor":
        return claim.value - 1e-9 <= percent < claim.value + unit - 1e-9
    return abs(percent - claim.value) <= unit / 2 + 1e-9


def _declared(report: str, claim: str, digest: str | None, record: RunRecord, ledgers: Ledgers) -> str:
    """Whether the claim as it stands today was in the ledger the run named; a ledger must hash to its own name."""
    entries = ledgers.get(record.ledger)
    if entries is None or digest is None or ledger.ledger_id(dict(entries)) != record.ledger:
        return "unknown"
    return "yes" if entries.get(f"{report}/{claim}") == digest else "no"


def _together(each: list[str]) -> str:
    return each[0] if len(set(each)) == 1 else "unknown" if "unknown" in each else "in part"
