"""Keeping MLflow's parent runs up to date: the means of an experiment over its seeds, and the verdicts they give."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from repro.errors import UserError
from repro.execute.outcome import Outcome
from repro.judge import timings
from repro.judge.claims import choose, records_of
from repro.record import RunRecord, read_records
from repro.report import evidence
from repro.spec import ledger, withdrawn
from repro.spec.schema import Report
from repro.spec.withdrawn import Struck
from repro.suite.planning import Say, notes_for, notes_of
from repro.suite.verdicts import Verdicts
from repro.track.connection import ANSWER_S
from repro.track.projection import digest

if TYPE_CHECKING:
    from repro.track import Tracker

#: report, experiment, profile: what a parent run shows
Group = tuple[str, str, str]


def summarise(
    reports: dict[str, Report],
    home: Path,
    reports_dir: Path,
    touched: Iterable[Outcome | RunRecord],
    tracker: "Tracker",
    say: Say,
) -> bool:
    """Refresh the MLflow parents of the experiments just touched; return whether that went well.

    They rest on this machine's runs, on what MLflow shows of the evidence, and on the runs of these reports that other
    machines have brought to the same server; one record a run key.
    """
    if not tracker.answers(ANSWER_S):
        say(f"MLflow's summaries are not up to date: {tracker.store.shown} does not answer")
        return False
    records = [t.record if isinstance(t, Outcome) else t for t in touched]
    try:
        named = {_group(record) for record in records if record is not None}
        found, elsewhere = _gathered(home, reports_dir, tracker, {report for report, *_ in named})
        struck = [*evidence.struck(home, reports_dir), *elsewhere]
        refresh(reports, found, reports_dir, tracker, named, struck)
    except UserError as error:
        say(f"MLflow's summaries are not up to date: {error}")
        return False
    return True


def refresh(
    reports: dict[str, Report],
    records: Iterable[RunRecord],
    reports_dir: Path,
    tracker: "Tracker",
    touched: Collection[Group] | None = None,
    struck: Iterable[Struck] = (),
) -> None:
    """Bring the parents of some experiments up to date, of all with records where none are named.

    `struck`: the withdrawn records, which `records` do not have: their runs are marked, and enter no parent.

    A verdict rests on other experiments too (orders, the spread within a report, q-values), so that the parents
    which MLflow shows beside those named are looked at as well; one that shows the same already is left alone.
    """
    groups: dict[Group, list[RunRecord]] = defaultdict(list)
    for record in records:
        groups[_group(record)].append(record)
    gone = {record.to_bytes(): (record, entry) for record, entry in struck}
    emptied = {_group(record) for record, _ in gone.values()} - groups.keys()
    wanted = emptied | set(groups if touched is None else touched)
    if gone or touched is None:
        stand = {digest(record.to_bytes()): "" for group in groups.values() for record in group}
        tracker.withdraw(stand | {digest(data): entry.why for data, (_, entry) in gone.items()})
    judged = sorted({report for report, _, profile in wanted if profile == "full" and report in reports})
    for report in judged if touched is not None else ():
        wanted |= {(report, experiment, "full") for experiment in tracker.summarised(report, "full")}
    every = [record for group in groups.values() for record in group]
    verdicts = Verdicts(reports, every, ledger.read(reports_dir / "ledger"), timings.read(reports_dir))
    for report, experiment, profile in sorted(wanted & groups.keys()):  # a run in training has no record yet
        given = verdicts.of(report, experiment, profile)
        # Where there is a verdict, the means are over the runs it rests on.
        group = groups[report, experiment, profile]
        runs = verdicts.runs(report, experiment) if given else _current(reports, report, experiment, group, profile)
        notes = notes_of(reports[report], experiment) if given else notes_for(reports, runs[0])
        tracker.summarise(report, experiment, profile, runs, notes, given)
    for report, experiment, profile in sorted(emptied):
        known = report in reports and experiment in reports[report].experiments
        tracker.clear(report, experiment, profile, notes_of(reports[report], experiment) if known else {})
    for report in judged:
        tracker.label(report, verdicts.label(report))


def _current(
    reports: dict[str, Report], report: str, experiment: str, group: list[RunRecord], profile: str
) -> list[RunRecord]:
    """Return the runs of an experiment that make up its means: of today's recipe, where there is any of that."""
    known = report in reports and experiment in reports[report].experiments
    return choose((records_of(reports[report], experiment, group, profile) if known else []) or group)[0]


def _group(record: RunRecord) -> Group:
    return record.report, record.experiments[0], record.profile


def _gathered(
    home: Path, reports_dir: Path, tracker: "Tracker", named: Collection[str]
) -> tuple[list[RunRecord], list[Struck]]:
    """Return the records that stand, and those from other machines that are withdrawn."""
    read = list(read_records(home / "runs", "*/record*.json"))
    found = {record.to_bytes(): record for path, record in read if path.name == "record.json"}
    # What is kept beside a run, or came with a bundle, is as the evidence: there where MLflow shows it.
    beside = {record.to_bytes(): record for path, record in read if path.name != "record.json"}
    beside |= {record.to_bytes(): record for record in evidence.all_committed(reports_dir)}
    if new := beside.keys() - found.keys():
        held = tracker.shown()
        found |= {data: beside[data] for data in new if digest(data) in held}
    stand, _ = (marks := withdrawn.of(reports_dir)).split(found.values())
    if tracker.store.artifacts is not None:  # nobody else's
        return stand, []
    known = {digest(data) for data in (*found, *beside)}
    others = [evidence.check(RunRecord.from_bytes(data, name), name) for name, data in tracker.records(named, known)]
    more, struck = marks.split(others)
    return stand + more, struck
