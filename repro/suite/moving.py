"""Records in and out of this machine."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from repro.errors import UserError
from repro.execute import local
from repro.record import Difference, RunRecord, drift, hold, read_records
from repro.report import evidence
from repro.spec import withdrawn
from repro.spec.schema import Report
from repro.suite.carrying import open_tracker
from repro.suite.planning import Say, notes_for
from repro.suite.summarising import refresh, summarise
from repro.track.projection import digest

if TYPE_CHECKING:
    from repro.track import Tracker

GAPS = 4  # numbers that a run that drifted is told with
#: a record with its files, and its folder where it is what this machine's run there came to
Member = tuple[RunRecord, dict[str, Path], Path | None]


def export_bundle(home: Path, folder: Path) -> int:
    """Write every finished run of this machine to a folder; return how many."""
    from repro import bundle

    members = []
    for path, record in read_records(home / "runs", "*/record*.json"):  # those kept beside a later one as well
        members.append((record, local.extras(path.parent) if path.name == "record.json" else {}))
    if not members:
        raise UserError(f"{home / 'runs'}: no finished run to export; `repro status` shows what is there")
    return bundle.export(members, folder)


def import_bundle(
    home: Path, folder: Path, reports_dir: Path, offline: bool = False, say: Say = print
) -> tuple[int, int]:
    """Take a bundle's runs in, and project them to MLflow; return (new, known). Runs that drifted are said."""
    from repro import bundle
    from repro.spec.loading import load_all

    members = list(bundle.load(folder))  # refused here before anything is touched
    tracker, reports = open_tracker(home, offline), load_all()
    stands, committed = withdrawn.of(reports_dir), evidence.committed(reports_dir)

    def on_new(record: RunRecord, known: list[RunRecord]) -> None:
        beside = [other for other in (*known, *committed) if stands.find(other) is None]
        if entry := stands.find(record):
            say(f"{_name(record)} is withdrawn: {entry.why}")
        # The first that it differs from stands for all: the others repeat that one, or drifted before.
        elif gaps := next((gaps for other in beside if (gaps := drift(other, record))), []):
            say(_drifted(record, gaps))

    counts = bundle.import_into(folder, home, on_new)
    if tracker is not None:
        _project(reports, [(*member, None) for member in members], tracker, say)
        summarise(reports, home, reports_dir, [record for record, _ in members], tracker, say)
    return counts


def _name(record: RunRecord) -> str:
    fold = "" if record.fold is None else f" f{record.fold}"
    return f"{record.report}/{record.experiments[0]} s{record.seed}{fold} ({record.run_key})"


def _drifted(record: RunRecord, gaps: list[Difference]) -> str:
    """Return the line that says that a run drifted: which numbers, what they were before and what they are now."""
    said = ", ".join(f"{gap.name} {gap.one}, now {gap.other}" for gap in gaps[:GAPS])
    more = f", and {len(gaps) - GAPS} more" if len(gaps) > GAPS else ""
    head = f"{_name(record)} drifted: the same key and class of environment ({record.env_class}) ended otherwise"
    return f"{head}: {said}{more}; both are kept"


def show_evidence(home: Path, reports_dir: Path, say: Say = print) -> tuple[int, int]:
    """Show this machine's finished runs and the committed evidence in MLflow; return (new there, all).

    Passed over is what MLflow shows already, and what its own process is about to show. The parents' means and
    verdicts are over all of it, one record a run key.
    """
    from repro.spec.loading import load_all

    members = dict[bytes, Member]()
    for path, record in read_records(home / "runs", "*/record.json"):
        members[record.to_bytes()] = record, local.extras(path.parent), path.parent
    for record in evidence.all_committed(reports_dir):
        members.setdefault(record.to_bytes(), (record, {}, None))
    tracker, reports = open_tracker(home, offline=False), load_all()
    assert tracker is not None
    shown = tracker.shown()
    new = _project(reports, [member for data, member in members.items() if digest(data) not in shown], tracker, say)
    stand = withdrawn.of(reports_dir).split(record for record, *_ in members.values())[0]
    refresh(reports, stand, reports_dir, tracker, struck=evidence.struck(home, reports_dir))
    return new, len(members)


def _project(reports: dict[str, Report], members: list[Member], tracker: "Tracker", say: Say) -> int:
    """Show records with their files, and return how many; without words where the specs do not know an experiment."""
    done = 0
    for number, (record, files, folder) in enumerate(members, 1):
        with nullcontext(False) if folder is None else hold(folder) as alone:
            if folder is None or (alone and _holds(folder, record)):
                tracker.project(record, extras=files, notes=notes_for(reports, record), held=alone)
                done += 1
        if number % 20 == 0:
            say(f"{number} of {len(members)} runs taken into MLflow")
    return done


def _holds(folder: Path, record: RunRecord) -> bool:
    """Whether a record is still what a run's folder holds: before it was held, it may have been begun anew."""
    path = folder / "record.json"
    return path.is_file() and path.read_bytes() == record.to_bytes()
