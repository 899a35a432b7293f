"""One claim and the records of its experiments -> one row: published, ours, difference, n, spread and state.

A row states numbers and, of full-protocol runs, the verdict of the rules. Each kind of claim has a function that makes
its row.
"""

from collections.abc import Callable, Iterable
from typing import Any

from repro.judge import compared, curves, exact, label, timing
from repro.judge.convergence import convergence
from repro.judge.measured import measured
from repro.judge.orders import ORDER_PROTOCOLS, order_spread
from repro.judge.records import Ledgers, Pool, by_seed, choose, enters, records_of
from repro.judge.rows import ENOUGH_RUNS, OrderSpread, Row, RunValue
from repro.judge.timings import NONE, Timings
from repro.record import RunRecord
from repro.spec.schema import Claim, Report

__all__ = [
    "ENOUGH_RUNS", "ORDER_PROTOCOLS", "Ledgers", "OrderSpread", "Row", "RunValue", "by_seed", "choose", "enters",
    "judge", "judge_all", "order_spread", "records_of",
]  # fmt: skip

_EXACT: dict[str, Callable[[Report, Any], Row]] = {
    "count": exact.count, "data": exact.data, "not_testable": exact.untestable, "explanation": exact.untestable,
    "conjecture": exact.untestable,
}  # fmt: skip
_RUN: dict[str, Callable[[Pool, Any], Row]] = {
    "point": measured, "loss": measured, "order": compared.order, "trend": compared.trend, "time": timing.time,
    "convergence": convergence, "band": curves.band, "trajectory": curves.trajectory, "confusion": curves.confusion,
}  # fmt: skip


def judge(
    report: Report, claim: Claim, records: Iterable[RunRecord], ledgers: Ledgers | None = None, profile: str = "full",
    timings: Timings = NONE,
) -> Row:  # fmt: skip
    """Set one claim beside the records; `ledgers` maps a ledger's id to its {report/claim: hash}.

    `timings` are measurements side by side, which alone answer claims of time.
    """
    return _judge(Pool(report, list(records), ledgers or {}, profile, timings), claim, {})


def judge_all(
    report: Report, records: Iterable[RunRecord], ledgers: Ledgers | None = None, profile: str = "full",
    timings: Timings = NONE,
) -> list[Row]:  # fmt: skip
    """Set every claim of a report beside the records, in the file's order; negative verdicts have their q-values."""
    pool = Pool(report, list(records), ledgers or {}, profile, timings)
    known: dict[str, Row] = {}
    return label.with_q_values([_judge(pool, claim, known) for claim in report.claims])


def _judge(pool: Pool, claim: Any, known: dict[str, Row]) -> Row:
    """Judge a claim once: a sentence asks for those that indicate it, which have rows of their own."""
    if claim.id not in known:
        if claim.kind in _EXACT:
            known[claim.id] = _EXACT[claim.kind](pool.report, claim)
        elif claim.kind == "qualitative":
            known[claim.id] = compared.qualitative(pool, claim, lambda other: _judge(pool, other, known))
        else:
            known[claim.id] = _RUN[claim.kind](pool, claim)
    return known[claim.id]
