"""What only a whole report shows: ids given twice, unknown names, claims that no run could ever answer."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from repro.errors import UserError
from repro.spec import counting
from repro.spec.claims import experiments_of
from repro.spec.comparisons import COMPARED
from repro.spec.explain import KeyPath, dotted, line_of, nearest
from repro.spec.recipe import Recipe
from repro.spec.schema import (
    VAL_PROTOCOLS,
    Claim,
    ConfusionClaim,
    ConvergenceClaim,
    CountClaim,
    MeasuredClaim,
    OrderClaim,
    QualitativeClaim,
    Report,
    Sentence,
    TrajectoryClaim,
    TrendClaim,
    UntestableClaim,
)

#: blocks that speak of the file's other keys
_PROSE = (("assumed",), ("sentences",), ("evidence",), ("checklist",))
_ALL = ("acc_pct", "loss", "nll", "ece_pct")
_LOSS = _ALL[:2]
_METRICS = {
    "best_test": _LOSS, "best_test_every10": _LOSS, "best_test_loss": _LOSS, "at_epoch": _LOSS, "val": _LOSS,
    "train_running": _LOSS, "batch_mean": ("acc_pct",), "last_batch": ("acc_pct",),
}  # fmt: skip


def metrics_of(protocol: str) -> tuple[str, ...]:
    """Return the metrics that a run's final numbers hold for a protocol."""
    return _METRICS.get(protocol.partition(":")[0], _ALL)


def check_report(report: Report, lines: Mapping[KeyPath, int], name: str) -> None:
    """Raise UserError with line, key path and mend for the first such fault of a file, `lines` its key paths' lines."""

    def refuse(path: KeyPath, message: str) -> UserError:
        return UserError(f"{name}:{line_of(path, lines)}: {dotted(path)}: {message}")

    for block, items in (("claims", report.claims), ("findings", report.findings)):
        seen: dict[str, int] = {}
        for index, item in enumerate(items):
            if item.id in seen:
                first = line_of((block, seen[item.id], "id"), lines)
                raise refuse((block, index, "id"), f"{item.id!r} is given twice (first at line {first}); rename one")
            seen[item.id] = index
    for index, claim in enumerate(report.claims):
        if found := _claim_fault(claim, report):
            raise refuse(("claims", index, found[0]), found[1])
    known = {dotted(path) for path in lines if path[:1] not in _PROSE}
    for key in report.assumed:
        if key not in known:
            raise refuse(("assumed", key), f"no key {key!r} in this file; {_nearest_key(key, known)}")
    claimed = {claim.id for claim in report.claims}
    for index, rung in enumerate(report.evidence):
        if rung.claim not in claimed:
            text = f"no claim {rung.claim!r} in this file; {nearest(rung.claim, claimed)}"
            raise refuse(("evidence", index, "claim"), text)
        if rung.value is not None and rung.decimals is not None and round(rung.value, rung.decimals) != rung.value:
            raise refuse(("evidence", index, "decimals"), _too_few(rung.decimals, "value", rung.value))
    for index, sentence in enumerate(report.sentences):
        if found := _sentence_fault(sentence, report, known):
            raise refuse(("sentences", index, found[0]), found[1])


def _sentence_fault(sentence: Sentence, report: Report, keys: set[str]) -> tuple[str, str] | None:
    """Return (key, message) of a sentence bound to something that is not in the file, else None."""
    known = {
        "claims": {claim.id for claim in report.claims},
        "findings": {finding.id for finding in report.findings},
        "settings": keys,
    }
    for block, names in known.items():
        for name in getattr(sentence, block):
            if name not in names:
                return block, f"no {block[:-1]} {name!r} in this file; {nearest(name, names)}"
    return None


def _claim_fault(claim: Claim, report: Report) -> tuple[str, str] | None:
    """Return (key, message) of a claim that is not as printed or that its experiments cannot answer, else None."""
    for key in ("value", "gap", "ratio"):
        value = getattr(claim, key, None)
        if value is not None and round(value, claim.decimals) != value:  # type: ignore[union-attr]
            return "decimals", _too_few(claim.decimals, key, value)  # type: ignore[union-attr]
    if isinstance(claim, TrajectoryClaim):
        for value in claim.values:
            if round(value, claim.decimals) != value:
                return "decimals", _too_few(claim.decimals, "values", value)
    if isinstance(claim, QualitativeClaim):
        return _indicator_fault(claim, report)
    if isinstance(claim, UntestableClaim):
        return None
    for key in COMPARED.get(claim.kind, ("experiment",)):
        given = getattr(claim, key, None)
        for name in [given] if isinstance(given, str) else given or ():
            if name not in report.experiments:
                return key, f"no experiment {name!r} in this report; {nearest(name, report.experiments)}"
            if found := fault(claim, name, report.experiments[name].recipe):
                return found
    return _factor_fault(claim, report)


def _factor_fault(claim: Claim, report: Report) -> tuple[str, str] | None:
    """Return what is wrong where a factor is no key path of any compared recipe, so that nothing could differ in it."""
    factors = getattr(claim, "factor", None) or ()
    names = experiments_of(claim) if factors else ()
    known = {key for name in names for key in _keys(report.experiments[name].recipe.model_dump())}
    for factor in factors:
        if factor not in known:
            return "factor", f"no key {factor!r} in the recipes of {' and '.join(names)}; {_nearest_key(factor, known)}"
    return None


def _keys(block: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for key, value in block.items():
        yield f"{path}{key}"
        if isinstance(value, dict):
            yield from _keys(value, f"{path}{key}.")


def _too_few(decimals: int, key: str, value: float) -> str:
    given = len(f"{Decimal(repr(value)):f}".partition(".")[2])
    return f"is {decimals}, but {key} {value!r} has {given}; give as many as are printed"


def _indicator_fault(claim: QualitativeClaim, report: Report) -> tuple[str, str] | None:
    kinds = {other.id: other.kind for other in report.claims}
    for name in claim.indicators:
        if name not in kinds:
            return "indicators", f"no claim {name!r} in this file; {nearest(name, kinds)}"
        if kinds[name] in ("qualitative", "explanation", "conjecture", "not_testable"):
            return "indicators", f"{name!r} is of kind {kinds[name]}, which indicates nothing; name a claim that runs"
    return None


def _nearest_key(key: str, known: set[str]) -> str:
    hint = nearest(key, known)
    return hint if hint.startswith("did") else "give the path of a key such as recipe.optim.momentum"


def fault(claim: Claim, experiment: str, recipe: Recipe) -> tuple[str, str] | None:
    """Return (key of the claim, what is wrong and the mend) where a run of the recipe cannot answer, else None."""
    if isinstance(claim, MeasuredClaim):
        return (
            _epoch_fault(claim, experiment, recipe)
            or _fold_fault(claim, experiment, recipe)
            or _protocol_fault(claim.protocol, claim.epoch, experiment, recipe)
            or _metric_fault(claim.metric, claim.protocol, claim.epoch, recipe)
        )
    if isinstance(claim, OrderClaim | TrendClaim):
        return (
            _protocol_fault(claim.protocol, None, experiment, recipe)
            or _late(claim.protocol, experiment, recipe)
            or _metric_fault(claim.metric, claim.protocol, None, recipe)
        )
    if isinstance(claim, TrajectoryClaim | ConvergenceClaim):
        return _curve_fault(claim, experiment, recipe)
    if isinstance(claim, CountClaim) and claim.layer and (wrong := counting.row_fault(recipe.model, claim.layer)):
        return "layer", wrong
    if isinstance(claim, ConfusionClaim) and claim.protocol == "best_val_loss":
        return _protocol_fault(claim.protocol, None, experiment, recipe)
    return None


def _fold_fault(claim: MeasuredClaim, experiment: str, recipe: Recipe) -> tuple[str, str] | None:
    folds = recipe.data.folds
    if claim.fold is None:
        return None
    if folds is None or folds.network == "carried":
        return "fold", f"{experiment} has no fold of its own (data.folds with network: fresh); leave fold out"
    if claim.fold > folds.k:
        return "fold", f"{experiment} has {folds.k} folds, not {claim.fold}; give 1 to {folds.k}"
    return None


def _curve_fault(claim: TrajectoryClaim | ConvergenceClaim, experiment: str, recipe: Recipe) -> tuple[str, str] | None:
    curve = claim.curve.partition("/")[0]
    if isinstance(claim, TrajectoryClaim) and claim.epochs[-1] > (epochs := recipe.budget.epochs):
        text = f"epoch {claim.epochs[-1]} is past the budget of {epochs} epochs of {experiment}"
        return "epochs", f"{text}; give epochs from 1 to {epochs}"
    found = _protocol_fault(curve, 1, experiment, recipe) if curve in VAL_PROTOCOLS else None
    return ("curve", found[1]) if found else None


def _late(protocol: str, experiment: str, recipe: Recipe) -> tuple[str, str] | None:
    epochs = recipe.budget.epochs
    epoch = protocol.partition(":")[2]
    if epoch and int(epoch) > epochs:
        text = f"epoch {epoch} is past the budget of {epochs} epochs of {experiment}; give one from 1 to {epochs}"
        return "protocol", text
    if protocol == "best_test_every10" and epochs < 10:
        return "protocol", f"best_test_every10 needs 10 epochs, and {experiment} has {epochs}; take best_test or last"
    return None


def _epoch_fault(claim: MeasuredClaim, experiment: str, recipe: Recipe) -> tuple[str, str] | None:
    epochs = recipe.budget.epochs
    if claim.epoch is not None and claim.epoch > epochs:
        text = f"epoch {claim.epoch} is past the budget of {epochs} epochs of {experiment}; give one from 1 to {epochs}"
        return "epoch", text
    return _late(claim.protocol, experiment, recipe)


def _protocol_fault(protocol: str, epoch: int | None, experiment: str, recipe: Recipe) -> tuple[str, str] | None:
    if protocol in VAL_PROTOCOLS and recipe.data.split.val == 0:
        text = f"{protocol} needs a validation split, and {experiment} has none; set data.split.val above 0"
        return "protocol", f"{text}, or take a protocol on test images such as last"
    if protocol in ("val_augmented", "augmented_test") and not recipe.augment:
        return "protocol", f"{protocol} needs augment, and {experiment} has none; take val or last"
    if protocol == "val_augmented" and epoch is not None and recipe.data.val_transform != "train":
        text = f"val_augmented has a curve only with data.val_transform: train, which {experiment} lacks"
        return "epoch", f"{text}; set it there, or leave epoch out"
    return None


def _metric_fault(metric: str, protocol: str, epoch: int | None, recipe: Recipe) -> tuple[str, str] | None:
    # Where every epoch validates on augmented images, the run takes that curve's last value.
    curve = protocol == "val_augmented" and recipe.data.val_transform == "train"
    known = _LOSS if curve or epoch is not None else metrics_of(protocol)
    if metric in known:
        return None
    place = " at an epoch" if epoch is not None else ""
    return "metric", f"{metric} is not measured by {protocol}{place}; known: {', '.join(known)}"
