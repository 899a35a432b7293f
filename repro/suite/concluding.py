"""What became of a request: a table of its runs, counts, the exit code, and where to look next."""

from collections.abc import Mapping, Sequence
from typing import Any

from repro.execute.outcome import Outcome
from repro.progress import table
from repro.progress.pace import span
from repro.suite.planning import Plan, Say
from repro.track import store

HEADER = ("run", "profile", "state", "test", "published", "time")


def conclude(outcomes: Sequence[Outcome], notes: Mapping[str, Mapping[str, Any]], say: Say) -> int:
    """Show what became of each run; return the exit code: 1 when one failed or is not in MLflow yet."""
    say("")
    if outcomes:
        table.show(HEADER, [_row(o, notes.get(o.run.key, {})) for o in outcomes], numbers=(3, 4, 5), echo=say)
    for outcome in outcomes:
        if outcome.reason:
            say(f"{outcome.run.name}: {outcome.state}: {outcome.reason}")
    count = {state: sum(o.state == state for o in outcomes) for state in ("trained", "skipped", "stopped", "failed")}
    said = ", ".join(f"{n} {state}" for state, n in count.items() if n) or "nothing to do"
    diverged = sum(map(_diverged, outcomes))
    say(f"{said}; {diverged} of these diverged" if diverged else said)
    if unsynced := sum(not o.synced for o in outcomes):
        say(f"{unsynced} not in MLflow yet: run the same command again once the tracking server answers")
    return 1 if count["failed"] or unsynced else 0


def _row(outcome: Outcome, notes: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the table's cells; a published accuracy is one of a stated protocol, which ours beside it may not be."""
    record, published = outcome.record, ""
    if notes.get("metric") == "acc_pct":
        protocol = notes["protocol"]
        published = str(notes["published"]) + (f" ({protocol})" if protocol != "last" else "")
    accuracy = record.value("last", "acc_pct") if record else None
    test = "" if accuracy is None else f"{accuracy:.2f} %"
    took = span(record.seconds) if record else ""
    state = outcome.state + (", diverged" if _diverged(outcome) else "")
    return (outcome.run.name, outcome.run.profile, state, test, published, took)


def _diverged(outcome: Outcome) -> bool:
    return outcome.record is not None and outcome.record.state == "diverged"


def where_next(plan: Plan, pages: bool, offline: bool, say: Say) -> None:
    """Say where the results can be looked at."""
    if not pages:
        say(f"Pages: `repro report{'' if plan.profile == 'full' else f' --profile {plan.profile}'}`")
    if not offline:
        place = store.locate(plan.options.home)
        say("MLflow: `repro ui` (or `make mlflow-ui`)" if place.artifacts is not None else f"MLflow: {place.shown}")
    say("What is done, what is missing: `repro status`")
