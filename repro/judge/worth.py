"""Which runs are worth training next: those with the most expected changes of verdicts a minute.

A claim that is not decided has a next look (`worth_looks`), with a chance that its word changes (`worth_draws`); the
runs that looks lack make steps (`worth_steps`).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from repro.judge.records import Ledgers, Pool
from repro.judge.worth_draws import Chances
from repro.judge.worth_looks import Runs, Standing, standings
from repro.judge.worth_minutes import Minutes
from repro.judge.worth_steps import Look, Step, best, drawn, foreseen, steps
from repro.progress.pace import span
from repro.record import RunRecord
from repro.spec.identity import Run
from repro.spec.schema import Claim, Report

__all__ = ["Chances", "Look", "Step", "best", "drawn", "following", "foreseen", "next_looks", "steps"]

#: a claim that has had its first look is left open where no later one has this chance to change its word
LEAST = 0.01
#: claims of a step that are named
NAMED = 4


def next_looks(
    report: Report, records: Iterable[RunRecord], ledgers: Ledgers | None = None, chances: Chances | None = None,
    may: Callable[[Run], bool] = lambda _run: True,
) -> list[Look]:  # fmt: skip
    """Return the next look of every claim of a report that is not decided, in the file's order; nothing is drawn yet.

    `chances` keeps what was drawn between calls. Looks that lack a run that may not be made (`may`) are left out.
    """
    pool = Pool(report, list(records), ledgers or {}, "full")
    heads, runs, chances = headlines(report), Runs(report), chances or Chances()
    claims, found = {claim.id: claim for claim in report.claims}, standings(pool)
    each = [_first(pool, claims[i], at, i in heads, runs, chances, may) for i, at in found.items() if at.later]
    return [look for look in each if all(map(may, look.runs))]


def following(
    reports: Mapping[str, Report], records: Iterable[RunRecord], ledgers: Ledgers, minutes: Minutes
) -> Step | None:
    """Return the best step of some reports, None where no run would change a verdict."""
    own: dict[str, list[RunRecord]] = defaultdict(list)
    for record in records:
        own[record.report].append(record)
    return best([look for name, each in reports.items() for look in next_looks(each, own[name], ledgers)], minutes)[0]


def headlines(report: Report) -> set[str]:
    """Return the ids of headline claims, and of those that indicate a headline sentence."""
    claims = [claim for claim in report.claims if claim.headline]
    return {name for claim in claims for name in (claim.id, *getattr(claim, "indicators", ()))}


def _first(
    pool: Pool, claim: Claim, found: Standing, headline: bool, runs: Runs, chances: Chances, may: Callable[[Run], bool]
) -> Look:
    """Return a claim's next look, its chance yet to be drawn."""

    def at(seeds: int) -> Look:
        lacking = runs.lacking(pool, claim, found, seeds)
        return Look(pool.report.id, claim.id, headline, found.n, seeds, lacking)

    def draw() -> Look | None:
        for look in map(at, found.later):
            if not all(map(may, look.runs)):
                break
            if (chance := chances.of(pool, claim, found, look.seeds)) >= LEAST:
                return replace(look, chance=chance)
        return None

    return replace(at(found.later[0]), draw=draw)


def claims_said(step: Step) -> str:
    """Return a step's claims in words, headline ones and those most likely to change first.

    `test-acc 100 %, test-loss 40 % and 3 more (n 1 -> 3)`, where all have their looks at the same seeds.
    """
    looks = sorted(step.looks, key=lambda look: (not look.headline, -look.at_most))
    seeds = [f"n {look.n} -> {look.seeds}" for look in looks]
    one = len(set(seeds)) == 1
    each = [f"{look.claim} {'' if one else f'({n}) '}{look.at_most:.0%}" for look, n in zip(looks, seeds, strict=True)]
    more = f" and {len(looks) - NAMED} more" if len(looks) > NAMED else ""
    return (", ".join(each[:NAMED]) + more + (f" ({seeds[0]})" if one else "")).replace("%", " %")


def runs_said(step: Step) -> str:
    """Return a step's runs in words: `geng2022/augmix500 s1 s2`; of fresh networks a fold the seeds only."""
    names: dict[str, list[str]] = {}
    for run in step.runs:
        names.setdefault(f"{run.report}/{run.experiments[0]}", []).append(f"s{run.seed}")
    return ", ".join(" ".join([name, *dict.fromkeys(seeds)]) for name, seeds in names.items())


def step_said(step: Step, minutes: Minutes) -> str:
    """Return a step in a line: which runs, how many claims could change, how long it takes."""
    claims = f"{len(step.looks)} claim{'s' * (len(step.looks) != 1)} could change"
    return f"next: {runs_said(step)}: {claims}, about {span(60 * step.minutes)} {minutes.where}; {claims_said(step)}"


def plain(step: Step, minutes: Minutes) -> dict[str, Any]:
    """Return a step as plain values."""
    names = ("report", "claim", "headline", "n", "seeds", "chance")
    return {
        "runs": [run.name for run in step.runs], "run_keys": [run.key for run in step.runs],
        "claims": [{name: getattr(look, name) for name in names} for look in step.looks],
        "expected_changes": step.worth, "minutes": step.minutes, "minutes_are": minutes.where,
    }  # fmt: skip
