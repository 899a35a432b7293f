"""Claims of one number that training runs measure: the mean over seeds beside the published number."""

from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Any

from repro.judge import deciding, statistics
from repro.judge.orders import ORDER_PROTOCOLS, order_spread
from repro.judge.printed import half_unit, reference
from repro.judge.records import Groups, Pool, environment, incomplete, means, number, together
from repro.judge.rows import ENOUGH_RUNS, Row, RunValue, Verdict, left_open, row
from repro.judge.swing import swing
from repro.record import RunRecord
from repro.spec.cifar import TRAIN_IMAGES
from repro.spec.identity import folds_of
from repro.spec.recipe import Recipe
from repro.spec.schema import MeasuredClaim


def measured(pool: Pool, claim: MeasuredClaim) -> Row:
    """Set a measured number beside the runs: n seeds, each one run or the mean of its folds."""
    given: dict[str, Any] = {
        "experiment": claim.experiment, "protocol": claim.protocol, "epoch": claim.epoch, "metric": claim.metric,
        "published": claim.value, "reference": reference(claim), "decimals": claim.decimals,
        "rounding": claim.rounding, "what": f"fold {claim.fold}" if claim.fold else "",
    }  # fmt: skip
    if claim.experiment is None:
        return row(pool.report, claim, "not run", claim.why_not_run or "", **given)
    groups, partial = _groups(pool, claim, claim.experiment)
    if not groups:
        return row(pool.report, claim, "not run", partial or pool.no_run(), **given)
    runs = _runs(pool, claim, groups)
    values = [float(v) for v in means(groups, lambda record: _value(claim, record)).values()]
    given |= {"runs": runs}
    why = ", ".join(part for part in (_missing(runs), partial) if part)
    if not values:
        return row(pool.report, claim, "not measured", why, **given)
    mean = fmean(values)
    return row(
        pool.report, claim, "measured", why, ours=mean, sd=stdev(values) if len(values) > 1 else None,
        difference=mean - reference(claim), n=len(values),
        declared=together(run.declared for run in runs if run.value is not None),
        verdict=_verdict(pool, claim, groups, values, runs), **given,
    )  # fmt: skip


def _verdict(
    pool: Pool, claim: MeasuredClaim, groups: Groups, values: list[float], runs: tuple[RunValue, ...]
) -> Verdict | None:
    """Judge full-protocol runs; a run that has no value, as one that diverged, leaves the verdict open."""
    if pool.profile != "full" or claim.experiment is None:
        return None
    half, published = half_unit(claim.decimals), reference(claim)
    recipe = pool.report.experiments[claim.experiment].recipe
    networks = len(folds_of(recipe)) if claim.fold is None else 1
    if claim.metric == "acc_pct":
        expected = _expected(recipe, claim)
        found = deciding.point(
            values, published, half, pool.prior(expected.sd, networks), claim.runs / networks, expected.theirs,
            claim.margin, swing(groups, recipe, claim.protocol, claim.epoch) if len(values) < ENOUGH_RUNS else None,
            expected.own / networks,
        )  # fmt: skip
    else:
        found = deciding.loss(values, published, half, claim.runs / networks, claim.margin)
    found = replace(found, environment=environment(r for group in groups.values() for r in group))
    if lost := sum(run.value is None for run in runs):
        why = f"{lost} of {len(runs)} runs have no such value; of the others: {found.word}, {found.why}"
        return left_open(found, why)
    return found


@dataclass(frozen=True)
class _Expected:
    """What is expected of one network's value: `sd` in points between networks, variances in points^2 beside it.

    `theirs` is what their number varies by and ours does not; `own` the part of `sd` that each run's own images bring.
    """

    sd: float
    theirs: float
    own: float = 0.0


def _expected(recipe: Recipe, claim: MeasuredClaim) -> _Expected:
    """Return what is expected between networks of a recipe, for the images that a claim speaks of.

    A subset of the same test images adds what a sample of them varies by; a mean over batches, in an order that is not
    known, by what it differs from the accuracy, which ours is. Validation images are others in every split, also in
    ours of each seed, so that the spread of runs holds them; what is left to add is that theirs were fewer. Running
    training accuracies are over the same 50,000 images but for the split.
    """
    percent, split = reference(claim), recipe.data.split
    if claim.protocol in ("val", "val_augmented"):
        sd = statistics.sample_sd(percent, split.val)
        own = max(sd**2 - statistics.jordan_sd(percent, split.val) ** 2, 0.0)
        return _Expected(sd, statistics.image_variance(percent, 1 / claim.n, -1 / split.val), own)
    if claim.protocol == "train_running":
        theirs = statistics.image_variance(percent, 1 / claim.n, -1 / TRAIN_IMAGES)
        return _Expected(statistics.jordan_sd(percent, split.train), theirs)
    theirs = statistics.image_variance(percent, 1 / claim.n, -1 / statistics.N_TEST)
    if claim.protocol == "batch_mean":
        theirs += statistics.batch_mean_sd(percent, recipe.budget.batch_size) ** 2
    return _Expected(statistics.jordan_sd(percent), theirs)


def _groups(pool: Pool, claim: MeasuredClaim, experiment: str) -> tuple[Groups, str]:
    """Return by seed the runs that make up one value, and which seeds lack some of theirs."""
    if claim.fold is not None:
        return pool.groups(experiment, claim.fold), ""
    return pool.groups(experiment), incomplete(pool.report.experiments[experiment].recipe, pool.chosen(experiment))


def _runs(pool: Pool, claim: MeasuredClaim, groups: Groups) -> tuple[RunValue, ...]:
    records = [record for group in groups.values() for record in group]
    said = pool.declared(claim, records)
    return tuple(_run_value(claim, record, word) for record, word in zip(records, said, strict=True))


def _run_value(claim: MeasuredClaim, record: RunRecord, declared: str) -> RunValue:
    value, order = _value(claim, record), None
    if value is not None and claim.protocol in ORDER_PROTOCOLS and claim.metric == "acc_pct":
        order = order_spread(record.finals.get(claim.protocol, {}), claim)
    return RunValue(record.run_key, record.seed, record.fold, record.state, value, declared, order)


def _value(claim: MeasuredClaim, record: RunRecord) -> float | None:
    return number(record.value(claim.protocol, claim.metric, claim.epoch))


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
