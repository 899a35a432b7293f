"""From the times of synthetic runs to what the executor costs: overhead a run, efficiency, targets."""

from collections.abc import Sequence
from typing import Any

from repro.bench.scale_workers import Timed, Watch

TARGET_MS, TARGET_EFFICIENCY, TARGET_AT = 50.0, 0.9, 2
#: fewer or shorter runs are shown and held against no target: what a worker does once weighs too much in them
JUDGED_RUNS, JUDGED_WAIT_S = 200, 0.1


def row(times: Sequence[Timed], workers: int, wait_s: float, began: float, watch: Watch, done: float) -> dict[str, Any]:
    """Return the figures of some workers: began, first, last and done are monotonic seconds of this process.

    All are ready when the last of them begins its first run; from then to the last outcome it is `span_s`.
    """
    firsts: dict[int, float] = {}
    for one in times:
        firsts[one.pid] = min(one.began, firsts.get(one.pid, one.began))
    ready, number = max(firsts.values()), len(times)
    after = [one for one in times if one.ended > ready]
    span, inside = watch.last - ready, sum(one.ended - max(one.began, ready) for one in after)
    return {
        "workers": workers, "runs": number, "wait_s": wait_s, "wall_s": done - began, "first_s": watch.first - began,
        "ready_s": ready - began, "span_s": span, "leaving_s": done - watch.last, "runs_per_s": len(after) / span,
        "inside_s": inside, "inside_ms": 1000 * (sum(one.ended - one.began for one in times) / number - wait_s),
        "overhead_ms": overhead_ms(workers, span, inside, len(after)),
        "parent_ms": 1000 * (watch.cpu_last - watch.cpu_first) / number,
    }  # fmt: skip


def overhead_ms(workers: int, span_s: float, inside_s: float, runs: int) -> float:
    """Return the milliseconds a run that workers spent outside trainings, of `span_s` seconds of each of them."""
    return 1000 * (workers * span_s - inside_s) / runs


def efficiency(one_s: float, workers: int, seconds: float) -> float:
    """Return the share of the best possible: one worker's seconds over all seconds of `workers` for the same runs."""
    return one_s / (workers * seconds)


def judged(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with efficiencies and targets; None where no row is of one worker, or nothing is judged.

    `efficiency` is from when all workers are ready, and the target is for it; `efficiency_whole` has start and end.
    """
    alone = next((row for row in rows if row["workers"] == 1), None)
    found = []
    for row in rows:
        shares = {
            name: efficiency(alone[key], row["workers"], row[key]) if alone else None
            for name, key in (("efficiency", "span_s"), ("efficiency_whole", "wall_s"))
        }
        held = row["runs"] >= JUDGED_RUNS and row["wait_s"] >= JUDGED_WAIT_S
        goal = TARGET_EFFICIENCY if held and alone and row["workers"] == TARGET_AT else None
        found.append(row | shares | {
            "target_ms": TARGET_MS if held else None, "met": row["overhead_ms"] <= TARGET_MS if held else None,
            "efficiency_target": goal,
            "efficiency_met": None if goal is None or shares["efficiency"] is None else shares["efficiency"] >= goal,
        })  # fmt: skip
    return found
