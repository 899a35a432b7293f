"""Records in and out of this machine."""

from pathlib import Path

from repro.errors import UserError
from repro.execute import local
from repro.record import read_records
from repro.suite.carrying import open_tracker, summarise
from repro.suite.planning import notes_for


def export_bundle(home: Path, folder: Path) -> int:
    """Write every finished run of this machine to a folder; return how many."""
    from repro import bundle

    members = []
    for path, record in read_records(home / "runs", "*/record.json"):
        members.append((record, local.extras(path.parent)))
    if not members:
        raise UserError(f"{home / 'runs'}: no finished run to export; `repro status` shows what is there")
    return bundle.export(members, folder)


def import_bundle(home: Path, folder: Path, offline: bool) -> tuple[int, int]:
    """Take a bundle's runs in, and project them to MLflow; return (new, known)."""
    from repro import bundle
    from repro.spec.loading import load_all

    records = [record for record, _ in bundle.load(folder)]  # refused here before anything is touched
    tracker, reports = open_tracker(home, offline), load_all()
    counts = bundle.import_into(folder, home, tracker, notes=lambda record: notes_for(reports, record))
    if tracker is not None:
        summarise(reports, home, records, tracker, print)
    return counts
