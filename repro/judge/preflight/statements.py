"""Sentences and trends against the report's own tables and network: orders, symbols, shapes, the same number twice."""

import re
from collections.abc import Iterator
from itertools import combinations, pairwise

from repro.judge.preflight.finding import Finding, measured, shown, slug, tables_of
from repro.judge.printed import SLACK, half_unit, reference
from repro.spec import counting, solver
from repro.spec.network import ResNet
from repro.spec.schema import MeasuredClaim, Report, TrendClaim

_POOL = re.compile(r"\bpool\w*\b[^.;]*?(\d+)\s*(?:x|by)\s*(\d+)", re.IGNORECASE)
#: `B_i is 4`, `C_i is [64, 128]`, `N = 4 stages`
_SYMBOL = re.compile(r"\b(N|B|C|P|F|K)(?:_?i)?\s*(?:is|=)\s*(\[[\d, ]+\]|\d+|F\b)")
_CONV = 3  # kernel of every convolution in a block


def trends(report: Report) -> Iterator[Finding]:
    """Yield a finding for each trend of the text that the report's own numbers do not show."""
    for claim in report.claims:
        if not isinstance(claim, TrendClaim):
            continue
        # A trend is one of the end of training: numbers of an epoch or a fold are none of its.
        ends = [c for c in measured(report, claim.metric) if c.epoch is None and c.fold is None]
        found = [
            next((c for c in ends if (c.experiment, c.protocol) == (e, claim.protocol)), None)
            for e in claim.experiments
        ]
        points = [c for c in found if c is not None]
        if len(points) < len(found):
            continue
        sign = 1 if claim.direction == "rising" else -1
        against = [(a, b) for a, b in pairwise(points) if sign * (reference(b) - reference(a)) <= 0]
        if against:
            row = ", ".join(f"{shown(c)} (`{c.experiment}`)" for c in points)
            steps = " and ".join(f"from {shown(a)} to {shown(b)}" for a, b in against)
            text = (
                f"{claim.where} has `{claim.metric}` {claim.direction} along these rows; the report's own numbers are "
                f"{row}, which go {steps}."
            )
            numbers: dict[str, float | int | str] = {f"value_{c.experiment}": c.value for c in points}
            numbers["steps_against"] = len(against)
            title = "The report's own table does not show the trend of the text"
            ids = (claim.id, *(c.id for c in points))
            yield Finding(report.id, f"trend-{claim.id}", "trend_contradicted", title, text, numbers, ids)


def shapes(report: Report) -> Iterator[Finding]:
    """Yield a finding for each pooling window of the text that is larger than the maps it would pool."""
    model = _network(report)
    if model is None:
        return
    channels, side = _last_maps(model)
    for place, sentence in enumerate(report.sentences, 1):
        for match in _POOL.finditer(sentence.says):
            window = int(match[1])
            if window > side and "crop" not in match[0]:
                text = (
                    f"{sentence.where}: a pooling window of {window}x{match[2]} does not fit the last maps, which are "
                    f"{side}x{side} with {channels} channels; the window that covers them is {side}x{side}."
                )
                numbers: dict[str, float | int | str] = {"window": window, "side": side, "channels": channels}
                title = "A pooling window is larger than its maps"
                yield Finding(report.id, f"pool-{place}", "impossible_shape", title, text, numbers, sentence.claims)


def _network(report: Report) -> ResNet | None:
    """Return the network of the headline experiments, the first of them that is a residual one."""
    ranked = sorted(report.experiments.values(), key=lambda e: e.tier != "headline")
    return next((e.recipe.model for e in ranked if isinstance(e.recipe.model, ResNet)), None)


def _last_maps(model: ResNet) -> tuple[int, int]:
    shape = next(row.shape for row in reversed(counting.layers(model)) if len(row.shape) == 3)
    return shape[0], shape[1]


def symbols(report: Report) -> Iterator[Finding]:
    """Yield one finding of the printed symbols (N, B_i, C_i, P_i, K) that are not those of the network that was run."""
    model = _network(report)
    if model is None:
        return
    numbers: dict[str, float | int | str] = {}
    lines: list[str] = []
    ids: list[str] = []
    for sentence in report.sentences:
        for match in _SYMBOL.finditer(sentence.says):
            if said := _symbol(model, match[1], match[2], sentence.where):
                lines.append(f"{sentence.where}: {match[0]}, where {said}")
                numbers[slug(match[0])] = match[2]
                ids += sentence.claims
    if lines:
        title = "Printed sizes are not those of the network"
        text = "; ".join(lines) + "."
        yield Finding(report.id, "symbols", "symbols", title, text, numbers, tuple(dict.fromkeys(ids)))


def _symbol(model: ResNet, symbol: str, value: str, where: str) -> str | None:
    """Say what the network has where a printed symbol is something else."""
    given = [int(n) for n in re.findall(r"\d+", value)]
    if symbol == "N" and given != [len(model.widths)]:
        return f"the network has {len(model.widths)} stages"
    if symbol == "B" and set(given) != set(model.blocks):
        return f"its stages have {', '.join(map(str, model.blocks))} blocks"
    if symbol == "C" and given != list(model.widths):
        return f"its stages have {', '.join(map(str, model.widths))} channels"
    if symbol == "P" and "kernel" in where.lower() and given != [_CONV]:
        side = _last_maps(model)[1]
        pooled = f"; {side} is the side of the last maps, which the average pool covers" if given == [side] else ""
        return f"the convolutions have {_CONV}x{_CONV} kernels{pooled}"
    if symbol == "K" and value == "F":
        own = solver.of(model)
        if solver.count(own) == counting.parameters(model):
            wide = solver.count(solver.of(model, shortcut=_CONV))
            return f"{_CONV}x{_CONV} shortcuts would give {wide:,} parameters and 1x1 ones give {solver.count(own):,}"
    return None


def told_twice(report: Report) -> Iterator[Finding]:
    """Yield one finding of the numbers that the running text and a table give differently for one quantity."""
    lines, ids = [], []
    numbers: dict[str, float | int | str] = {}
    pairs: dict[tuple[float, float], tuple[MeasuredClaim, MeasuredClaim]] = {}
    for a, b in combinations([*measured(report), *measured(report, "loss")], 2):
        if _key(a) == _key(b) and a.value != b.value and bool(tables_of(a)) != bool(tables_of(b)):
            prose, table = (b, a) if tables_of(a) else (a, b)
            if _in_report(prose.where):
                pairs.setdefault((prose.value, table.value), (prose, table))
    for number, (prose, table) in enumerate(pairs.values(), 1):
        reach = half_unit(prose.decimals) + half_unit(table.decimals) + SLACK
        fits = abs(reference(prose) - reference(table)) <= reach
        lines.append(
            f"{shown(prose)} ({prose.where}) and {shown(table)} ({table.where}), "
            + ("which agree to the digits of the coarser" if fits else "which do not agree by rounding")
        )
        numbers |= {f"text_{number}": prose.value, f"table_{number}": table.value, f"agree_{number}": int(fits)}
        ids += [prose.id, table.id]
    if lines:
        title = "Text and table give different digits for one quantity"
        agree = all(numbers[f"agree_{number}"] for number in range(1, len(lines) + 1))
        kind = "text_and_table" if agree else "text_against_table"
        yield Finding(report.id, "told-twice", kind, title, "; ".join(lines) + ".", numbers, tuple(ids))


def _key(claim: MeasuredClaim) -> tuple[object, ...]:
    return claim.kind, claim.experiment, claim.metric, claim.protocol, claim.epoch, claim.fold


def _in_report(where: str) -> bool:
    """Say whether a place is running text: no figure, log or file of the code repository."""
    return not re.search(r"not in the report|log\b|Notebook|README|Figure", where)
