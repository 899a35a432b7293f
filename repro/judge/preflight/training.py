"""What the recipes of compared rows say: folds that leak, unequal training, more differences than the named factor."""

from collections.abc import Iterator

from repro.judge.preflight.finding import Finding, names, tables_of
from repro.judge.recipes import beside, differing
from repro.spec.recipe import Recipe
from repro.spec.schema import OrderClaim, Report, TrajectoryClaim, TrendClaim, experiments_of

#: trainings that differ by less than this share are taken as equally long
_ALIKE = 0.1


def carried_folds(report: Report) -> Iterator[Finding]:
    """Yield a finding for each network that goes on through all folds, and so validates on images it has trained on."""
    for experiment in report.experiments.values():
        folds, budget = experiment.recipe.data.folds, experiment.recipe.budget
        if folds is None or folds.network != "carried":
            continue
        each = budget.epochs // folds.k
        numbers: dict[str, float | int | str] = {"folds": folds.k, "epochs_each": each, "leaking_folds": folds.k - 1}
        text = (
            f"`{experiment.id}` carries one network through {folds.k} folds of {each} epochs: all validation images "
            f"of folds 2 to {folds.k} were training images before, so that validation says nothing of "
            "unseen images there. "
        )
        points = _validation_losses(report, experiment.id)
        jumps = [(e, points[e], points[e + 1]) for e in range(each, budget.epochs, each) if {e, e + 1} <= set(points)]
        if jumps:
            falls = ", ".join(f"{before:.4f} to {after:.4f}" for _, before, after in jumps)
            text += f"At the changes of fold the published validation loss goes from {falls}. "
            numbers["changes_with_a_fall"] = sum(after < before for _, before, after in jumps)
        if points:
            lowest = min(points, key=lambda epoch: points[epoch])
            numbers |= {"lowest_loss": points[lowest], "lowest_epoch": lowest, "lowest_fold": (lowest - 1) // each + 1}
            text += (
                f"Its lowest published value, {points[lowest]:.4f}, is of epoch {lowest}, number "
                f"{(lowest - 1) % each + 1} of fold {(lowest - 1) // each + 1}."
            )
        ids = tuple(c.id for c in report.claims if experiment.id in experiments_of(c) and c.headline)
        title = "Later folds validate on images trained on before"
        yield Finding(report.id, f"folds-{experiment.id}", "fold_leakage", title, text.strip(), numbers, ids)


def _validation_losses(report: Report, experiment: str) -> dict[int, float]:
    """Return the published validation losses of an experiment by epoch."""
    found: dict[int, float] = {}
    for claim in report.claims:
        if isinstance(claim, TrajectoryClaim) and claim.experiment == experiment and _validates(claim):
            found |= dict(zip(claim.epochs, claim.values, strict=True))
    return found


def _validates(claim: TrajectoryClaim) -> bool:
    return claim.curve.startswith("val") and claim.curve.endswith("/loss")


def passes(recipe: Recipe) -> int:
    """Return how many training images a run sees, repeats counted; views of one image count once."""
    return recipe.budget.epochs * recipe.data.split.train


def image_passes(report: Report) -> Iterator[Finding]:
    """Yield one finding of the published comparisons whose two runs see different numbers of training images."""
    pairs: dict[tuple[str, str], list[str]] = {}
    for claim in report.claims:
        if isinstance(claim, OrderClaim) and claim.gap is not None and _theirs(report, claim):
            a, b = (passes(report.experiments[name].recipe) for name in (claim.higher, claim.lower))
            if abs(a - b) > _ALIKE * max(a, b):
                pairs.setdefault((claim.higher, claim.lower), []).append(claim.id)
    if not pairs:
        return
    seen = {name: passes(report.experiments[name].recipe) for pair in pairs for name in pair}
    widest = max(pairs, key=lambda pair: abs(seen[pair[0]] - seen[pair[1]]))
    listed = "; ".join(f"`{a}` {_millions(seen[a])} against `{b}` {_millions(seen[b])}" for a, b in pairs)
    text = f"Compared rows see different numbers of training images, repeats counted: {listed}."
    numbers: dict[str, float | int | str] = {f"passes_{name}": count for name, count in seen.items()}
    numbers |= {"pairs": len(pairs), "widest": " ".join(widest)}
    ids = tuple(name for found in pairs.values() for name in found)
    yield Finding(
        report.id, "image-passes", "image_passes", "Compared rows are not trained equally long", text, numbers, ids
    )


def _theirs(report: Report, claim: OrderClaim) -> bool:
    """Say whether both rows are the report's, none an arm that is ours."""
    return all(report.experiments[name].reading != "isolated" for name in (claim.higher, claim.lower))


def _millions(count: int) -> str:
    return f"{count / 1e6:.1f} M"


def confounded(report: Report) -> Iterator[Finding]:
    """Yield a finding for each table whose rows differ in more than the factor that the text names."""
    tables: dict[str, list[tuple[OrderClaim | TrendClaim, tuple[str, ...]]]] = {}
    for claim in report.claims:
        if isinstance(claim, OrderClaim | TrendClaim) and claim.factor:
            recipes = [report.experiments[name].recipe for name in experiments_of(claim)]
            if keys := beside(differing(recipes), claim.factor):
                tables.setdefault(" and ".join(tables_of(claim) or (claim.where,)), []).append((claim, keys))
    for table, found in tables.items():
        factor = dict.fromkeys(key for claim, _ in found for key in claim.factor or ())
        every = {key for _, keys in found for key in keys}
        extra = sorted(key for key in every if not any(key.startswith(f"{other}.") for other in every))
        claims = tuple(claim.id for claim, _ in found)
        text = (
            f"The rows of {table} are named by {names(list(factor))}. Those compared by {names(list(claims))} differ "
            f"in {names(extra, 12)} as well, so that a difference between rows has several explanations."
        )
        numbers: dict[str, float | int | str] = {
            "factor": ", ".join(factor), "differ": ", ".join(extra), "claims": len(claims)
        }  # fmt: skip
        yield Finding(
            report.id, f"confounded-{len(extra)}-{claims[0]}", "confounded",
            f"{table}: rows differ in more than their names say", text, numbers, claims,
        )  # fmt: skip
