"""What only a whole report shows: ids given twice, unknown names, claims that no run could ever answer."""

from collections.abc import Mapping

from repro.errors import UserError
from repro.spec.explain import KeyPath, dotted, line_of, nearest
from repro.spec.recipe import Recipe
from repro.spec.schema import VAL_PROTOCOLS, Claim, MeasuredClaim, Report, UntestableClaim

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
    known = {dotted(path) for path in lines if path[:1] != ("assumed",)}
    for key in report.assumed:
        if key not in known:
            raise refuse(("assumed", key), f"no key {key!r} in this file; {_nearest_key(key, known)}")


def _claim_fault(claim: Claim, report: Report) -> tuple[str, str] | None:
    """Return (key, message) of a claim that is not as printed or that its experiment cannot answer, else None."""
    if claim.value is not None and round(claim.value, claim.decimals) != claim.value:
        given = len(repr(claim.value).partition(".")[2])
        return "decimals", f"is {claim.decimals}, but value {claim.value!r} has {given}; give as many as are printed"
    if isinstance(claim, UntestableClaim) or claim.experiment is None:
        return None
    if claim.experiment not in report.experiments:
        hint = nearest(claim.experiment, report.experiments)
        return "experiment", f"no experiment {claim.experiment!r} in this report; {hint}"
    recipe = report.experiments[claim.experiment].recipe
    return fault(claim, claim.experiment, recipe) if isinstance(claim, MeasuredClaim) else None


def _nearest_key(key: str, known: set[str]) -> str:
    hint = nearest(key, known)
    return hint if hint.startswith("did") else "give the path of a key such as recipe.optim.momentum"


def fault(claim: MeasuredClaim, experiment: str, recipe: Recipe) -> tuple[str, str] | None:
    """Return (key of the claim, what is wrong and the mend) where a run of the recipe cannot answer, else None."""
    return (
        _epoch_fault(claim, experiment, recipe)
        or _protocol_fault(claim, experiment, recipe)
        or _metric_fault(claim, recipe)
    )


def _epoch_fault(claim: MeasuredClaim, experiment: str, recipe: Recipe) -> tuple[str, str] | None:
    epochs, at_epoch = recipe.budget.epochs, claim.protocol.startswith("at_epoch:")
    epoch = int(claim.protocol.partition(":")[2]) if at_epoch else claim.epoch
    if epoch is not None and epoch > epochs:
        text = f"epoch {epoch} is past the budget of {epochs} epochs of {experiment}; give one from 1 to {epochs}"
        return ("protocol" if at_epoch else "epoch"), text
    if claim.protocol == "best_test_every10" and epochs < 10:
        return "protocol", f"best_test_every10 needs 10 epochs, and {experiment} has {epochs}; take best_test or last"
    return None


def _protocol_fault(claim: MeasuredClaim, experiment: str, recipe: Recipe) -> tuple[str, str] | None:
    if claim.protocol in VAL_PROTOCOLS and recipe.data.split.val == 0:
        text = f"{claim.protocol} needs a validation split, and {experiment} has none; set data.split.val above 0"
        return "protocol", f"{text}, or take a protocol on test images such as last"
    if claim.protocol in ("val_augmented", "augmented_test") and not recipe.augment:
        return "protocol", f"{claim.protocol} needs augment, and {experiment} has none; take val or last"
    if claim.protocol == "val_augmented" and claim.epoch is not None and recipe.data.val_transform != "train":
        text = f"val_augmented has a curve only with data.val_transform: train, which {experiment} lacks"
        return "epoch", f"{text}; set it there, or leave epoch out"
    return None


def _metric_fault(claim: MeasuredClaim, recipe: Recipe) -> tuple[str, str] | None:
    # Where every epoch validates on augmented images, the run takes that curve's last value.
    curve = claim.protocol == "val_augmented" and recipe.data.val_transform == "train"
    known = _LOSS if curve or claim.epoch is not None else metrics_of(claim.protocol)
    if claim.metric in known:
        return None
    place = " at an epoch" if claim.epoch is not None else ""
    return "metric", f"{claim.metric} is not measured by {claim.protocol}{place}; known: {', '.join(known)}"
