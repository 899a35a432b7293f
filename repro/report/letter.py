"""A note to a report's authors in plain text: what was read, assumed and found, what our runs gave, and what we ask."""

from collections.abc import Iterable, Iterator, Sequence
from textwrap import fill

from repro.judge.claims import Row
from repro.report.badges import word
from repro.report.ladders import item_words
from repro.report.markdown import one_line, plural
from repro.report.values import EXACT, ours, published
from repro.spec.claims import UntestableClaim
from repro.spec.schema import Report

WIDTH = 79
#: items of the checklist that every note asks for
_ASKED = ("seeds", "runs", "data_split", "weights", "versions")


def letter(report: Report, rows: Sequence[Row]) -> str:
    """Return the note; `rows` are the report's judged claims. Questions are numbered through, assumed values first."""
    own = [row for row in rows if row.report == report.id]
    sections = [_opening(report, own), *_assumed(report), *_findings(report), *_deviations(report)]
    sections += [*_questions(report), _results(own), _asked(report)]
    return "\n\n".join(sections) + "\n"


def _opening(report: Report, rows: Sequence[Row]) -> str:
    source = report.source
    place = f" ({source.course})" if source.course else ""
    code = f" and the public code {source.code}" if source.code else "; it names no public code of its own"
    lines = [
        f"To: {_names(source.authors)}",
        f'About: "{report.title}", {source.year}{place}',
    ]
    text = (
        f"we train the experiments of your report again and set every published number beside ours. We read its "
        f"text{code}. {plural(len(report.sentences), 'sentence')}, table cells and figures of it became "
        f"{plural(len(rows), 'claim')}, of which {_known(sum(row.headline for row in rows))} known by. "
        "Below is what we assumed, where our sources differ, what we do otherwise, what we could not settle, and what "
        "our runs gave so far. Please correct whatever is wrong."
    )
    return "\n".join(_wrap(line) for line in lines) + f"\n\nDear {_names(source.authors)},\n\n{_wrap(text)}"


def _known(count: int) -> str:
    return "1 is the one it is" if count == 1 else f"{count} are the ones it is"


def _names(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _assumed(report: Report) -> Iterator[str]:
    if report.assumed:
        lead = "Each is a question too: is this what you used, and if not, what was it?"
        lines = (_item(f"{i}.", f"{_place(key)}: {why}") for i, (key, why) in enumerate(report.assumed.items(), 1))
        yield _section("Values we assumed, and why", lead, lines)


def _place(key: str) -> str:
    """Return where a value stands, without the file's own words for it: `optim.lr`, `model.widths of width32`."""
    parts = key.split(".")
    if parts[0] == "experiments" and len(parts) > 2:
        return f"{'.'.join(parts[2:])} of {parts[1]}"
    return ".".join(parts[1:]) if parts[0] == "recipe" and len(parts) > 1 else key


def _findings(report: Report) -> Iterator[str]:
    if report.findings:
        lines = (_item("-", f"{finding.text} (See: {finding.evidence})") for finding in report.findings)
        yield _section("Where text, code, figures and tables differ, as we read them", "", lines)


def _deviations(report: Report) -> Iterator[str]:
    if report.deviations:
        lines = (
            _item("-", f"Yours: {d.theirs} Ours: {d.ours} Why: {d.why} Expected effect: {d.effect}")
            for d in report.deviations
        )
        yield _section("What we do otherwise on purpose", "", lines)


def _questions(report: Report) -> Iterator[str]:
    """Yield the statements that no run decides, one question a reason, numbered on from the assumed values."""
    reasons: dict[str, list[str]] = {}
    for claim in report.claims:
        if isinstance(claim, UntestableClaim) and claim.kind == "not_testable":
            reasons.setdefault(claim.why, []).append(f"{claim.text.rstrip('.')} ({claim.where})")
    if reasons:
        first = len(report.assumed) + 1
        lines = (
            _item(f"{i}.", f"{'; '.join(said)}. What we lack: {why}")
            for i, (why, said) in enumerate(reasons.items(), first)
        )
        yield _section("What the text leaves open", "Could you tell us more of these?", lines)


def _results(rows: Sequence[Row]) -> str:
    headline = [row for row in rows if row.headline]
    measured = [row for row in rows if row.ours is not None and row.kind not in EXACT]
    said = f"{len(measured)} of {plural(len(rows), 'claim')} have a number from full-protocol runs so far."
    lead = (
        f"{said if measured else 'No full-protocol run is judged yet.'} The numbers that the report is known by "
        "(± is the standard deviation between our runs, n how many there are):"
    )
    lines = [_item("-", _result(row)) for row in headline] or ["  None is marked as such."]
    close = "A difference says nothing about its cause. Two trainings of one recipe differ by chance."
    return _section("What our runs gave so far", lead, lines) + f"\n\n{_wrap(close)}"


def _result(row: Row) -> str:
    what = f"{row.claim} ({row.where}): published {published(row)}, "
    if row.ours is None:
        return f"{what}ours not there yet ({row.reason or row.state})"
    counted = "counted exactly" if row.kind in EXACT else f"n = {row.n}"
    early = ", provisional" if row.verdict is not None and row.verdict.provisional else ""
    if row.verdict is not None and row.verdict.at_swing:
        early += f", {row.verdict.at_swing} if runs spread as much as accuracy does from epoch to epoch"
    return f"{what}ours {ours(row)}, {counted}: {word(row)}{early}"


def _asked(report: Report) -> str:
    texts = [
        "the seeds, or word that none were set, and how many runs stand behind each number;",
        "the split into training and validation images, best as lists of indices;",
        "the weights that the numbers were read from;",
        "the log of the training, and the versions of the libraries it ran with.",
    ]
    known = report.checklist.looked_up()
    unsaid = [item_words(item) for item in known if known[item].state == "nowhere" and item not in _ASKED]
    if unsaid:
        texts.insert(3, f"{_names(unsaid)}, found in neither text nor code;")
    lines = (_item("-", text) for text in texts)
    return _section("What would help us most", "", lines) + "\n\nThank you for making the work public."


def _section(title: str, lead: str, lines: Iterable[str]) -> str:
    head = f"{title}\n{'-' * len(title)}"
    return "\n".join([head, *([_wrap(lead)] if lead else []), *lines])


def _item(mark: str, text: str) -> str:
    return _fill(text, f"{mark} ")


def _wrap(text: str) -> str:
    return _fill(text, "")


def _fill(text: str, first: str) -> str:
    plain = one_line(text).replace("`", "")
    # Numbers such as 1e-4 and names such as bias-norm stay whole.
    return fill(
        plain, WIDTH, initial_indent=first, subsequent_indent=" " * len(first), break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
