"""The bracket of every recipe with runs, on a page: what each protocol adds, what was published, a figure."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from repro import plots
from repro.judge.bracket import TEST_PROTOCOLS, Bracket, Printed
from repro.report.markdown import Md, code, join, md, percent, signed, table
from repro.spec.schema import Report


def budget_table(brackets: Sequence[Bracket]) -> Md | str:
    """The optimism budget: a line a recipe, the reference in percent, what each protocol adds to it in points.

    Nothing where there are no runs. ± is the standard deviation over seeds of what is added.
    """
    named = [name for name in TEST_PROTOCOLS if any(name in found.values for found in brackets)]
    head = ["Experiment", "Runs", "Reference", "Bracket", *(code(name) for name in named)]
    lines = [
        [
            _names(found),
            len(found.seeds),
            md("{} {}", code(found.reference), percent(found.mean(found.reference))),
            _bracket(found) + " %",
            *(_added(found, name) for name in named),
        ]
        for found in brackets
    ]
    return table(head, "lrrr" + "r" * len(named), lines) if lines else ""


def printed_table(brackets: Iterable[Bracket]) -> Md | str:
    """The published test accuracies beside the bracket of their recipe; nothing where there are none with runs."""
    lines = [
        [
            code(number.claim),
            _names(found),
            code(number.protocol),
            percent(number.value, number.decimals),
            _bracket(found) + " %",
            _place(number),
        ]
        for found in brackets
        for number in found.printed
    ]
    head = ["Claim", "Experiment", "Protocol", "Published", "Bracket", "Where it lies"]
    return table(head, "lllrrl", lines) if lines else ""


def bracket_figure(report: Report, brackets: Sequence[Bracket], cache: Path | None = None) -> dict[str, bytes]:
    """Draw a report's brackets, a bar a recipe with the protocols' marks and the published numbers; file -> bytes."""
    if not brackets:
        return {}
    lines = [bar(found) for found in brackets]
    return {"bracket.svg": plots.cached(cache, plots.bracket_figure, lines, f"{report.id}: ways of counting")}


def bar(found: Bracket) -> plots.BracketLine:
    """Return a recipe's bracket as a bar of the figure."""
    base = found.mean(found.reference)
    runs = f"{len(found.seeds)} run{'' if len(found.seeds) == 1 else 's'}"
    return plots.BracketLine(
        found.experiments[0],
        f"{base:.2f} %, {runs}",
        _bracket(found),
        {name: found.mean(name) - base for name in TEST_PROTOCOLS if name in found.values},
        tuple(sorted({round((number.low + number.high) / 2 - base, 9) for number in found.printed})),
    )


def _names(found: Bracket) -> Md:
    return join([code(name) for name in found.experiments])


def _bracket(found: Bracket) -> str:
    return f"{found.mean(found.lowest):.2f} to {found.mean(found.highest):.2f}"


def _added(found: Bracket, protocol: str) -> str:
    if protocol not in found.values or protocol == found.reference:
        return ""
    sd = found.added_sd(protocol)
    return signed(found.added(protocol), 2) + ("" if sd is None else f" ± {sd:.2f}")


def _place(number: Printed) -> str:
    if not number.outside:
        return "inside"
    side = "above" if number.outside > 0 else "below"
    alone = "; the bracket holds the mean over orders, one batch spreads far more"
    return f"{abs(number.outside):.2f} points {side}" + (alone if number.protocol == "last_batch" else "")
