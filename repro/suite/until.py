"""Training until verdicts are decided: after each run, the next one with the most expected changes a minute."""

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from repro.execute import local, workload
from repro.execute.closing import Closings
from repro.execute.outcome import Job, Outcome, finished_record
from repro.judge import worth
from repro.judge.records import Pool
from repro.judge.worth_looks import Standing, standings
from repro.judge.worth_minutes import Minutes
from repro.progress.pace import span
from repro.progress.training import Lines
from repro.record import RunRecord, hold
from repro.report import evidence
from repro.run import folder_of
from repro.spec import ledger
from repro.spec.identity import Run
from repro.suite.carrying import open_tracker, refuse_deleted
from repro.suite.forecasting import foresee
from repro.suite.planning import Plan, Say
from repro.suite.summarising import summarise
from repro.track.connection import ANSWER_S
from repro.track.projection import digest

if TYPE_CHECKING:
    from repro.track import Tracker

#: steps that a dry run lists
LISTED = 12


class Agenda:
    """The looks still to come of a plan's reports, by the records of this machine and the evidence, and what runs take.

    `runs`: those of the plan that may still be made. A run that was tried once, or whose record would not count, is
    none of them.
    """

    def __init__(self, plan: Plan):
        self.plan, self.chances = plan, worth.Chances()
        self.runs = {run.key: run for run in plan.runs if not plan.doomed(run)}
        self.records: dict[str, list[RunRecord]] = defaultdict(list)
        for record in evidence.read(plan.options.home, plan.reports_dir):
            self.records[record.report].append(record)
        self.ledgers = ledger.read(plan.reports_dir / "ledger")
        self.names = {(run.report, name) for run in plan.runs for name in run.experiments}
        reports = {name: plan.reports[name] for name, _ in sorted(self.names)}
        known = (record for each in self.records.values() for record in each)
        self.minutes = Minutes(reports, known, plan.options.env_class, self._left())
        self.looks = {name: self._looks(name) for name in reports}

    def _left(self) -> Mapping[str, float]:
        """Return the share that is left of each run that was begun here."""
        begun = (
            run for run in self.runs.values() if (folder_of(run, self.plan.options.home) / "journal.jsonl").exists()
        )
        loads = (workload.load_of(run, self.plan.options.home) for run in begun)
        return {load.run.key: load.epochs / load.recipe.budget.epochs for load in loads if load.state == "begun"}

    def _looks(self, report: str) -> list[worth.Look]:
        known = self.plan.reports[report], self.records[report], self.ledgers, self.chances
        return worth.next_looks(*known, lambda run: run.key in self.runs)

    def open(self) -> list[worth.Look]:
        """Return the looks whose runs may all be made."""
        every = (look for looks in self.looks.values() for look in looks)
        return [look for look in every if all(run.key in self.runs for run in look.runs)]

    def best(self) -> worth.Step | None:
        """Return the best step; None where no run that may be made would change a verdict."""
        return worth.best(self.open(), self.minutes)[0]

    def add(self, outcome: Outcome) -> None:
        """Judge anew with a run's record; the run is not tried again."""
        self.runs.pop(outcome.run.key, None)
        if outcome.record is not None and self.plan.withdrawn.find(outcome.record) is None:
            self.records[outcome.run.report].append(outcome.record)
            self.looks[outcome.run.report] = self._looks(outcome.run.report)

    def tally(self) -> str:
        """Say how many of the claims that these experiments decide are decided, and how many are not."""
        found: list[Standing] = []
        for name in self.looks:
            each = standings(Pool(self.plan.reports[name], self.records[name], self.ledgers, "full")).values()
            found += [at for at in each if all((name, arm) in self.names for arm in at.experiments)]
        decided, last = sum(at.decided for at in found), sum(not at.decided and not at.later for at in found)
        others = f"{last} open after their last look, {len(found) - decided - last} open"
        return f"{decided} of {len(found)} claims that these experiments decide are decided, {others}"

    def words(self, step: worth.Step) -> str:
        """Return why a step's next run is made, in a line."""
        took = span(60 * step.minutes)
        runs = f"{len(step.runs)} run{'s' * (len(step.runs) != 1)}, about {took} {self.minutes.where}"
        return f"Next: {step.runs[0].name} for {worth.claims_said(step)}; {runs}"


def train_until_decided(plan: Plan, *, offline: bool, budget_s: float | None, display: Lines) -> list[Outcome]:
    """Train, judge and choose the next run until all is decided or the budget is spent; the plan has every seed.

    What can be refused is refused before the first run. A run that failed is not tried again, the others go on.
    Before all of them, what was finished earlier and is not in MLflow is brought there.
    """
    deadline = None if budget_s is None else time.monotonic() + budget_s
    agenda = Agenda(plan)
    display.say(agenda.tally())
    step = agenda.best()
    if step is not None:
        foresee(replace(plan, runs=list(step.runs)), offline=offline, refuse=True, say=display.say)
    tracker = open_tracker(plan.options.home, offline)
    earlier = _unshown(plan, tracker)
    if step is None and not earlier:
        return []
    if tracker is not None:
        refuse_deleted(plan, tracker)
    dataset, outcomes = plan.provide(), list[Outcome]()
    ledger.write(plan.reports.values(), plan.reports_dir / "ledger")  # before the first run that is judged against it
    with display, Closings(display) as closings:
        display.plan({run.key: agenda.minutes(run) for look in agenda.open() for run in look.runs}, False, 1)
        for number, run in enumerate(earlier, 1):
            display.begin(run, number, len(earlier))
            # Without time: it is to be shown, not to be trained or waited for where somebody has begun it anew.
            job = Job(run, plan.notes.get(run.key, {}), left_s=0.0, withdrawn=plan.anew(run))
            outcome = local.attempt(job, dataset, plan.options, tracker, display, closings)
            outcomes += [outcome] if outcome.state != "stopped" else []
        while step is not None and not (outcomes and outcomes[-1].state == "stopped"):
            run = agenda.runs[step.runs[0].key]
            display.say(agenda.words(step))
            display.begin(run, len(outcomes) + 1, len(outcomes) + len(step.runs))
            left_s = None if deadline is None else deadline - time.monotonic()
            job = Job(run, plan.notes.get(run.key, {}), left_s=left_s, withdrawn=plan.anew(run))
            outcomes.append(local.attempt(job, dataset, plan.options, tracker, display, closings))
            agenda.add(outcomes[-1])
            step = agenda.best()
        closings.settle()
        if tracker is not None:
            synced = summarise(plan.reports, plan.options.home, plan.reports_dir, outcomes, tracker, display.say)
            for outcome in outcomes:
                outcome.synced &= synced
    display.say(agenda.tally())
    return outcomes


def _unshown(plan: Plan, tracker: "Tracker | None") -> list[Run]:
    """Return the plan's finished runs that MLflow does not show, all of them where it does not answer.

    What another process holds, that one shows.
    """
    if tracker is None:
        return []
    stand = list[tuple[Run, RunRecord]]()
    for run in plan.runs:
        if (record := finished_record(folder := folder_of(run, plan.options.home))) is None:
            continue
        with hold(folder) as alone:
            if alone and plan.withdrawn.find(record) is None:
                stand.append((run, record))
    shown = tracker.shown() if stand and tracker.answers(ANSWER_S) else set[str]()
    return [run for run, record in stand if digest(record.to_bytes()) not in shown]


def show_steps(plan: Plan, *, budget_s: float | None, say: Say) -> None:
    """Say which steps would come first and what all next looks take. Later choices rest on what the first runs give."""
    agenda = Agenda(plan)
    say(agenda.tally())
    steps = list(worth.foreseen(agenda.open(), agenda.minutes))
    for number, step in enumerate(islice(steps, LISTED), 1):
        took = span(60 * step.minutes)
        say(f"{number:>2}. {worth.runs_said(step)}: {worth.claims_said(step)}; {took}")
    runs, minutes = sum(len(step.runs) for step in steps), sum(step.minutes for step in steps)
    if not steps:
        say("No run would change a verdict.")
        return
    more = f" in {len(steps)} steps" if len(steps) > LISTED else ""
    say(f"The next look of every open claim: {runs} runs{more}, about {span(60 * minutes)} {agenda.minutes.where}")
    if budget_s is not None and budget_s < 60 * minutes:
        say(f"--budget stops after {span(budget_s)}")
    say("A forecast: what comes after a run rests on what it gives, and a claim that its look leaves open has another.")
