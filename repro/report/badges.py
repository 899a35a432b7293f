"""Badges: small flat pictures of a claim and its verdict, to set beside a text. SVG from closed forms."""

from collections.abc import Iterable, Sequence
from html import escape

from repro.judge.claims import Row
from repro.judge.label import label
from repro.judge.rows import NEGATIVE, POSITIVE
from repro.report.markdown import one_line
from repro.spec.schema import Report

GOOD, BAD, OPEN, NONE = "#1b7837", "#b2182b", "#8a6100", "#555555"
#: width of a character in pixels at 11 px sans-serif, by group; 6.6 of all others
WIDTHS = {"ijl.,:;|!'()[]{}": 3.6, "frtI- /": 4.4, "mwMW@%": 9.6, "ABCDEFGHKNOPQRSUVXYZ": 7.8}
PAD, HEIGHT, LONGEST = 6, 20, 60

_SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{all}" height="{height}" role="img" aria-label="{text}">
<title>{text}</title>
<rect width="{left}" height="{height}" fill="#333333"/>
<rect x="{left}" width="{right}" height="{height}" fill="{color}"/>
<g fill="#ffffff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">
<text x="{x1}" y="14" textLength="{t1}">{a}</text>
<text x="{x2}" y="14" textLength="{t2}">{b}</text>
</g>
</svg>
"""


def badge(left: str, word: str, provisional: bool = False) -> bytes:
    """Return a badge: what is judged on the left, the word on the right, in a colour of the word's own.

    One that is provisional says so, and has the colour of what is open.
    """
    a, b = one_line(left, LONGEST) or "claim", one_line(word, LONGEST) or "not judged"
    fill = OPEN if provisional else color(b)
    b += ", provisional" if provisional else ""
    t1, t2 = text_width(a), text_width(b)
    x, y = t1 + 2 * PAD, t2 + 2 * PAD
    return _SVG.format(
        all=x + y, height=HEIGHT, left=x, right=y, color=fill, text=escape(f"{a}: {b}"), x1=x / 2, x2=x + y / 2,
        t1=t1, t2=t2, a=escape(a), b=escape(b),
    ).encode()  # fmt: skip


def text_width(text: str) -> int:
    """Return the width of a line in pixels, estimated; the picture stretches its text to it."""
    return round(sum(next((w for group, w in WIDTHS.items() if c in group), 6.6) for c in text))


def color(word: str) -> str:
    """Return a verdict's colour, dark enough for white text: holds, does not hold, open, or no run yet."""
    if word in POSITIVE:
        return GOOD
    if word in NEGATIVE:
        return BAD
    return OPEN if word in ("mixed", "inconclusive", "open") else NONE


def badges(report: Report, rows: Iterable[Row]) -> dict[str, bytes]:
    """Return a badge of each claim of a report, `<claim>.svg`; `rows` are its judged claims."""
    return {f"{row.claim}.svg": badge(f"{report.id} {row.claim}", word(row), _provisional(row)) for row in rows}


def report_badge(report: Report, rows: Sequence[Row]) -> bytes:
    """Return the badge of a whole report, with its label."""
    found = label(rows)
    return badge(report.id, found.word, found.provisional)


def _provisional(row: Row) -> bool:
    return row.verdict is not None and row.verdict.provisional


def word(row: Row) -> str:
    """Return a row's verdict in a word; its state where there is no verdict."""
    return row.verdict.word if row.verdict else row.state
