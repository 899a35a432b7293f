"""What is said of a whole report: q-values of its negative verdicts, and one label from its headline claims.

Verdicts of single claims use their own intervals. Among hundreds of claims some negative ones are false, so each
*fell short* and *reversed* also has a q-value (Benjamini and Hochberg 1995) over all claims of the report that have a
probability. A label needs every headline accuracy, loss and order (intersection-union), so it takes no
correction; counts, curves and sentences enter none.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from repro.judge.rows import Row
from repro.judge.statistics import benjamini_hochberg

#: a negative verdict stands below this q-value
FALSE_SHARE = 0.10
#: the words that say a value lies too low
AGAINST = ("fell short", "reversed")


@dataclass(frozen=True)
class Label:
    """One word for a report, `reproduced` | `not reproduced` | `open`, and the claims that decided."""

    word: str
    why: str
    provisional: bool = False


def with_q_values(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with a q-value in every *fell short* and *reversed*, whose probability is that of so low a value.

    Of *no effect* that probability is about one half: what speaks for it is how narrow its interval is.
    """
    ps = {i: r.verdict.p for i, r in enumerate(rows) if r.verdict is not None and r.verdict.p is not None}
    qs = dict(zip(ps, benjamini_hochberg(list(ps.values())), strict=True))
    found = list(rows)
    for i, q in qs.items():
        verdict = rows[i].verdict
        if verdict is not None and verdict.word in AGAINST:
            found[i] = replace(rows[i], verdict=replace(verdict, q=q))
    return found


def label(rows: Sequence[Row]) -> Label:
    """Return a report's label from its headline points, losses and orders; the rows are of one report.

    Reproduced: every point and loss reproduced, or exceeded and attained, and no order reversed. Not reproduced: one
    of them fell short or an order is reversed. Else open.
    """
    headline = [r for r in rows if r.headline and r.verdict is not None and r.kind in ("point", "loss", "order")]
    if not headline:
        return Label("open", "no headline claim that a run decides")
    against = [r for r in headline if _word(r) in AGAINST]
    provisional = any(r.verdict is not None and r.verdict.provisional for r in headline)
    if against:
        return Label("not reproduced", _names(against), provisional)
    waiting = [r for r in headline if not _holds(r)]
    if waiting:
        return Label("open", _names(waiting), provisional)
    return Label("reproduced", f"all {len(headline)} headline claims" if len(headline) > 1 else _names(headline),
                 provisional)  # fmt: skip


def _holds(row: Row) -> bool:
    verdict = row.verdict
    assert verdict is not None  # only rows with one are asked
    if row.kind == "order":
        return verdict.word in ("supported", "supported, smaller", "no effect", "inconclusive") and row.n > 0
    return verdict.word == "reproduced" or (verdict.word == "exceeded" and verdict.attained is not False)


def _word(row: Row) -> str:
    return row.verdict.word if row.verdict else ""


def _names(rows: Sequence[Row]) -> str:
    return ", ".join(f"`{row.claim}` {_word(row)}" for row in rows)
