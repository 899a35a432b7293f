"""Markdown that foreign text cannot break: one escaping function, tables, and numbers as people read them.

Everything that reaches a page is escaped unless it is `Md`, which only this package makes. Joining `Md`
with other text gives plain text again, so forgetting to mark something escapes it twice, never not at all.
"""

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

DASH = "–"
_SPECIAL = re.compile(r"([\\`*\[\]|~$])")
_EDGE_UNDERSCORE = re.compile(r"(?<![^\W_])_|_(?![^\W_])")  # inside a word GFM leaves it alone
# What would begin a heading, a list or a rule if the text began a line.
_BLOCK_START = re.compile(r"#{1,6}(?= |$)|[-+](?= |$)|\d{1,9}(?=[.)]( |$))|=+$|-+$")
_PLAIN_CODE = re.compile(r"[\w .:/+=,@()#-]+")


class Md(str):
    """Text that is Markdown already."""

    __slots__ = ()


def escape(value: Any, limit: int = 2000) -> Md:
    """Return any text as one line of inert Markdown: shown as written, no markup, link, HTML or table break."""
    if isinstance(value, Md):
        return value
    text = one_line(value, limit)
    text = _SPECIAL.sub(r"\\\1", text)
    text = _EDGE_UNDERSCORE.sub(r"\\_", text)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # A code host turns bare addresses into links.
    text = text.replace("://", "&#58;//").replace("www.", "www&#46;").replace("@", "&#64;")
    start = _BLOCK_START.match(text)
    if start:
        text = f"{start[0]}\\{text[start.end() :]}" if start[0].isdigit() else f"\\{text}"
    return Md(text)


def one_line(value: Any, limit: int = 2000) -> str:
    """Return any text as one line of printable characters, cut at `limit`."""
    text = " ".join("".join(_tame(c) for c in str(value)[: limit + 1]).split())
    return text if len(text) <= limit else text[:limit] + "…"


def _tame(c: str) -> str:
    """Keep printable characters; control, format (bidi, zero-width), surrogate and private ones become a space."""
    return c if unicodedata.category(c)[0] not in "CZ" else " "


def code(value: Any) -> Md:
    """Return a short name as a code span; text that could leave the span is escaped instead."""
    text = str(value)
    return Md(f"`{text}`") if _PLAIN_CODE.fullmatch(text) and text == text.strip() else escape(value)


def prose(value: Any) -> Md:
    """Escape a report's own prose, keeping its `short names` as code spans."""
    parts = re.split(r"`([^`]+)`", str(value))
    return Md("".join(code(part) if i % 2 else _keep_edges(part) for i, part in enumerate(parts)))


def _keep_edges(part: str) -> str:
    # `escape` trims; between code spans the blanks at the edges are wanted.
    left, right = part[:1].isspace(), part[-1:].isspace() and bool(part.strip())
    return " " * left + escape(part) + " " * right


def join(parts: Iterable[Any], separator: str = ", ") -> Md:
    """Join parts, escaping those that are not Markdown already."""
    return Md(separator.join(escape(part) for part in parts))


def md(template: str, *values: Any) -> Md:
    """Fill a trusted template's `{}` with escaped values."""
    return Md(template.format(*(escape(value) for value in values)))


def table(head: Sequence[str], align: str, rows: Iterable[Sequence[Any]]) -> Md:
    """Return a GFM table; `align` has one of l, r, c a column; empty cells show a dash."""
    marks = {"l": ":---", "r": "---:", "c": ":---:"}
    lines = [head, [Md(marks[letter]) for letter in align]]
    lines += [[DASH if cell is None or cell == "" else cell for cell in row] for row in rows]
    return Md("\n".join("| " + " | ".join(escape(cell) for cell in line) + " |" for line in lines))


def percent(value: float | None, decimals: int = 2) -> str:
    """`90.14 %`, or a dash."""
    return DASH if value is None or not math.isfinite(value) else f"{value:.{decimals}f} %"


def number(value: float | None, decimals: int = 0) -> str:
    """A number with thousands separators, or a dash."""
    return DASH if value is None or not math.isfinite(value) else f"{value:,.{decimals}f}"


def signed(value: float | None, decimals: int = 0) -> str:
    """A difference with its sign, thousands separated; nothing that rounds to zero keeps a sign."""
    if value is None or not math.isfinite(value):
        return DASH
    text = f"{value:+,.{decimals}f}".replace("-", "−")
    return text[1:] if float(f"{value:.{decimals}f}") == 0 else text


def plural(n: int, word: str, many: str = "") -> str:
    """`1 run`, `3 runs`."""
    return f"{n:,} {word if n == 1 else many or word + 's'}"
