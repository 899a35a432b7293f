"""The evidence ladders and the reporting checklist of a page: what each number rests on, and what was reported."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from repro.judge.ladder import Ladder, Step
from repro.judge.rows import Row
from repro.report.cells import folded
from repro.report.markdown import DASH, Md, code, join, md, plural, prose, table
from repro.report.tables import READING_WORDS
from repro.report.values import EXACT, UNTESTABLE, is_percent, measures, ours, published, subject, verdict
from repro.spec.schema import Report, Stated
from repro.spec.sourcing import ITEMS

SOURCE_WORDS = {"text": "Text", "readme": "README", "log": "Log", "notebook": "Notebook", "code": "Code"}
ITEM_WORDS = {
    "data_split": "split", "selection_rule": "which weights are tested", "test_protocol": "how the test is done",
    "optimizer_constants": "optimizer's constants", "seeds": "seeds", "runs": "how many runs",
    "versions": "versions of libraries", "weights": "trained weights", "initialization": "initial weights",
}  # fmt: skip


def headline_ladders(report: Report, ladders: Iterable[Ladder], profile: str) -> list[tuple[Md, Md]]:
    """Return (title, table) of each headline number's ladder: a line a source, then a line a reading of ours."""
    head = ["Rung", "Says", "Number", "As printed"]
    return [
        (
            md("{}: {}", join(code(row.claim) for row in ladder.rows if row.headline), measures(ladder.row)),
            table(head, "llrl", [*map(_step(ladder), ladder.steps), *_readings(report, ladder, profile)]),
        )
        for ladder in ladders
        if ladder.row.headline
    ]


def _step(ladder: Ladder) -> Any:
    def line(step: Step) -> list[Any]:
        agrees = {True: "yes", False: "no", None: ""}[step.agrees]
        return [SOURCE_WORDS[step.source], prose(step.says), _value(step, ladder.row), agrees]

    return line


def _value(step: Step, row: Row) -> str:
    if step.value is None:
        return DASH
    if (step.value, step.decimals) == (row.published, row.decimals):
        return published(row)
    return f"{step.value:,.{step.decimals}f}" + (" %" if is_percent(row.metric) else "")


def _readings(report: Report, ladder: Ladder, profile: str) -> Iterable[list[Any]]:
    """Yield a line a claim of the number: our reading, the experiment with its protocol, ours and the verdict."""
    for row in ladder.rows:
        names = [row.experiment] if row.experiment else list(row.experiments)
        readings = {report.experiments[name].reading for name in names if name in report.experiments}
        if row.kind in EXACT:
            reading = "ours, by arithmetic"
        elif len(readings) == 1:
            reading = f"ours, {READING_WORDS[readings.pop()]}"
        else:
            reading = "ours"
        what = join([code(row.experiment), measures(row)]) if row.experiment else subject(row)
        yield [reading, md("{}: {}", code(row.claim), what), ours(row), prose(verdict(row, profile, short=True))]


def other_ladders(ladders: Sequence[Ladder], profile: str) -> Md | str:
    """Return the other numbers and claims, a line each: what every source says, and how ours stand; folded."""
    rest = [ladder for ladder in ladders if not ladder.row.headline and ladder.row.kind not in UNTESTABLE]
    if not rest:
        return ""
    used = [source for source in SOURCE_WORDS if any(step.source == source for lad in rest for step in lad.steps)]
    lines = [[_names(ladder), *(_at(ladder, source) for source in used), _ours(ladder, profile)] for ladder in rest]
    head = ["Claims", *(SOURCE_WORDS[source] for source in used), "Ours"]
    title = plural(len(rest), "other number or comparison", "other numbers and comparisons")
    return folded(title, table(head, "l" * len(head), lines), len(lines))


def _names(ladder: Ladder) -> Md:
    return join(code(row.claim) for row in ladder.rows)


def _at(ladder: Ladder, source: str) -> Md:
    found = [step for step in ladder.steps if step.source == source]
    return join((_short(step, ladder.row) for step in found), "; ")


def _short(step: Step, row: Row) -> Md:
    if step.value is None:
        return prose(step.says.rstrip("."))
    differs = ", differs" if step.agrees is False else ""
    return md("{}{}: {}", _value(step, row), differs, prose(step.says.rstrip(".")))


def _ours(ladder: Ladder, profile: str) -> Md:
    """The verdicts of our readings, each with how many readings have it."""
    words: dict[str, int] = {}
    for row in ladder.rows:
        word = row.verdict.word if row.verdict is not None and profile == "full" else row.state
        words[word] = words.get(word, 0) + 1
    if len(ladder.rows) == 1:
        return md("{}", next(iter(words)))
    return join(f"{n} {word}" for word, n in words.items())


def checklist_table(report: Report) -> Md | str:
    """Return the reporting checklist: a line an item; nothing where the file has none."""
    known = report.checklist.looked_up()
    if not known:
        return ""
    lines = [[item_words(item), *_cells(known.get(item))] for item in ITEMS]
    return table(["A run needs", "Reported", "What is known"], "lll", lines)


def _cells(stated: Stated | None) -> list[Any]:
    if stated is None:
        return ["not looked up", ""]
    said = prose(stated.says)
    return [state_words(stated), md("{} Otherwise: {}", said, prose(stated.differs)) if stated.differs else said]


def item_words(item: str) -> str:
    """An item of the checklist as people say it."""
    return ITEM_WORDS.get(item, item.replace("_", " "))


def state_words(stated: Stated | None) -> str:
    """`stated`, `stated, differs`, `code only`, `nowhere`; a dash where nobody looked."""
    if stated is None:
        return DASH
    return "stated, differs" if stated.differs else stated.state.replace("_", " ")


def glance_checklist(reports: Mapping[str, Report]) -> Md | str:
    """Return the checklists of all reports beside each other: a line an item; nothing where none has one."""
    filled = {name: known for name, report in sorted(reports.items()) if (known := report.checklist.looked_up())}
    if not filled:
        return ""
    lines = [[item_words(item), *(state_words(known.get(item)) for known in filled.values())] for item in ITEMS]
    grid = table(["A run needs", *filled], "l" * (1 + len(filled)), lines)
    return folded(f"{plural(len(lines), 'thing')} a run needs, and where it is said", grid, len(lines))
