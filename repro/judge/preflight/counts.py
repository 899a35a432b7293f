"""Printed parameter counts: the network that they are given for, and the networks that have them."""

from collections.abc import Iterator

from repro.judge.preflight.finding import Finding
from repro.spec import counting, solver
from repro.spec.network import ResNet
from repro.spec.schema import CountClaim, Report

#: a count ends in at least so many zeros where it was rounded to thousands or more
_ROUNDED = 3


def parameter_counts(report: Report) -> Iterator[Finding]:
    """Yield a finding a printed count: that its network has another one, or which networks have it."""
    seen: set[float] = set()
    for claim in report.claims:
        if isinstance(claim, CountClaim) and claim.quantity == "parameters" and claim.value not in seen:
            seen.add(claim.value)
            yield from _of_claim(report, claim)


def _of_claim(report: Report, claim: CountClaim) -> Iterator[Finding]:
    model = report.experiments[claim.experiment].recipe.model
    ours, printed = counting.parameters(model), int(claim.value)
    unit = _unit(printed)
    if unit > 1:
        if round(ours / unit) * unit != printed:
            yield _rounded(report, claim, ours, unit)
        return
    if not isinstance(model, ResNet) or solver.count(solver.of(model)) != ours:  # not of the family's shape
        if ours != printed:
            yield _plain(report, claim, ours)
        return
    yield _solved(report, claim, model)


def _unit(printed: int) -> int:
    zeros = len(str(printed)) - len(str(printed).rstrip("0"))
    return 10**zeros if zeros >= _ROUNDED else 1


def _rounded(report: Report, claim: CountClaim, ours: int, unit: int) -> Finding:
    prints = round(ours / unit) * unit
    text = (
        f"{claim.where}: {int(claim.value):,} is given for the network of `{claim.experiment}`, which has {ours:,} "
        f"parameters and would print as {prints:,} to the same digits."
    )
    numbers: dict[str, float | int | str] = {"printed": int(claim.value), "closed_form": ours, "prints_as": prints}
    title = "A rounded parameter count is not that of its network"
    return Finding(report.id, f"count-{claim.id}", "parameter_count", title, text, numbers, (claim.id,))


def _plain(report: Report, claim: CountClaim, ours: int) -> Finding:
    text = f"{int(claim.value):,} is printed for `{claim.experiment}`, whose network has {ours:,} parameters."
    numbers: dict[str, float | int | str] = {"printed": int(claim.value), "closed_form": ours}
    title = "The printed parameter count is not that of its network"
    return Finding(report.id, f"count-{claim.id}", "parameter_count", title, text, numbers, (claim.id,))


def _solved(report: Report, claim: CountClaim, model: ResNet) -> Finding:
    models = [e.recipe.model for e in report.experiments.values()]
    alike = [m for m in models if isinstance(m, ResNet) and len(m.widths) == len(model.widths)]
    among, own = solver.family(alike), solver.of(model)
    printed, ours = int(claim.value), solver.count(own)
    hits = solver.solve(printed, among, own)
    found = "; ".join(hit.words() for hit in hits) or "none"
    numbers: dict[str, float | int | str] = {
        "printed": printed, "closed_form": ours, "exact_hits": len(hits), "family": among.size, "found": found,
    }  # fmt: skip
    if ours == printed:
        kind, title = "parameter_family", "The printed parameter count settles what the text leaves open"
        text, others = _variants(own)
        numbers |= others
        whole = f"Of {among.words()}, {_how_many(len(hits))} exactly {printed:,} parameters: {found}. {text}"
    else:
        kind, whose = "parameter_count", "that of another network" if hits else "not that of its network"
        title = f"The printed parameter count is {whose}"
        whole = (
            f"{printed:,} is printed for `{claim.experiment}`, whose network ({own.words()}) has {ours:,} parameters. "
            f"Of {among.words()}, {_how_many(len(hits))} exactly the printed number" + (f": {found}." if hits else ".")
        )
    same = tuple(c.id for c in report.claims if isinstance(c, CountClaim) and c.value == claim.value)
    return Finding(report.id, f"count-{claim.id}", kind, title, whole, numbers, same)


def _how_many(hits: int) -> str:
    return "1 has" if hits == 1 else f"{hits or 'none'} {'have' if hits else 'has'}"


def _variants(own: solver.Candidate) -> tuple[str, dict[str, float | int | str]]:
    """Say what the count would be with other shortcuts, or a stem as wide as the first stage."""
    variants = {
        "with_3x3_shortcuts": ("3x3 shortcuts", {"shortcut": 3}),
        "without_shortcut_parameters": ("shortcuts without parameters", {"shortcut": 0, "shortcut_norm": False}),
    }
    if own.stem != own.widths[0]:
        variants["with_narrow_stem"] = (f"a stem of {own.widths[0]}", {"stem": own.widths[0]})
    numbers: dict[str, float | int | str] = {}
    for key, (_, changes) in variants.items():
        if not (key == "without_shortcut_parameters" and own.stem > own.widths[0]):
            numbers[key] = solver.count(solver.Candidate(**{**vars(own), **changes}))
    words = [f"{variants[key][0]} would give {value:,}" for key, value in numbers.items()]
    return f"With the rest as it is, {' and '.join(words)}.", numbers
