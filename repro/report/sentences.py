"""What the report says, line by line, with what answers it; and what no run decides, with the reason."""

from collections.abc import Iterable, Sequence

from repro.judge.claims import Row
from repro.report.cells import bullets, folded
from repro.report.markdown import Md, code, join, md, plural, prose, table
from repro.report.values import published
from repro.spec.schema import Sentence

_REASONS = ("explanation", "conjecture", "not_testable", "background")
_GROUPS = {
    "not_testable": ("Left open by the text", "statement"),
    "explanation": ("Explanations: a cause that was named, not varied", "explanation"),
    "conjecture": ("Conjectures: what was said that could be, not done", "conjecture"),
}


def sentence_table(sentences: Sequence[Sentence]) -> Md | str:
    """The report's sentences, cells and figures, each with what answers it; nothing where the file lists none."""
    lines = [[prose(s.where), prose(s.says), answer(s)] for s in sentences]
    title = f"{plural(len(lines), 'sentence')}, table cells and figures"
    return folded(title, table(["Where", "It says", "Answered by"], "lll", lines), len(lines)) if lines else ""


def answer(sentence: Sentence) -> Md:
    """Claims, settings and findings by name, then the reason why nothing else answers."""
    parts = []
    for word, names in (
        ("claim", sentence.claims), ("setting", sentence.settings), ("finding", sentence.findings)
    ):  # fmt: skip
        if names:
            parts.append(md("{} {}", word if len(names) == 1 else f"{word}s", join(map(code, names))))
    for reason in _REASONS:
        if text := getattr(sentence, reason):
            parts.append(md("{}: {}", reason.replace("_", " "), prose(text)))
    return join(parts, "; ")


def untestable(rows: Iterable[Row]) -> list[tuple[str, Md]]:
    """Return a heading and a list for each kind of claim that no run decides."""
    rows = list(rows)
    found = []
    for kind, (heading, word) in _GROUPS.items():
        lines = [_why(row) for row in rows if row.kind == kind]
        if lines:
            found.append((heading, folded(plural(len(lines), word), bullets(lines), len(lines))))
    return found


def _why(row: Row) -> Md:
    place = prose(row.where) if row.published is None else join([prose(row.where), published(row)], "; ")
    return md("{} ({}): {} *Why not:* {}", code(row.claim), place, prose(row.note), prose(row.reason))
