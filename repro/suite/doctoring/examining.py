"""The examinations in their order, and what is done about what they find."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

from repro.errors import UserError
from repro.record import RunRecord, hold
from repro.suite.doctoring import database, files, tracked
from repro.suite.doctoring.findings import Finding
from repro.suite.doctoring.tracked import Seen
from repro.track import Tracker, store


def doctor(home: Path, reports_dir: Path, *, fix: bool = False, offline: bool = False) -> list[Finding]:
    """Examine a state folder and its MLflow store; with `fix` mend what can be mended. Returns what was found.

    Without `fix` nothing is written anywhere. `offline` leaves MLflow out. A state folder that is not there is sound.
    """
    if not home.is_dir():
        return []
    with ExitStack() as stack:
        found = list(files.halves(home, reports_dir))
        seen: Seen | None = None
        opened = cache(lambda: Tracker(home))
        if not offline:
            seen = _seen(home, opened, stack, found.append)
        if seen is not None:
            found += [*tracked.abandoned(seen, home, opened), *tracked.parents(seen, home, opened)]
        found += files.runs(home, seen.names if seen else {})
        if seen is not None:
            found += tracked.unsynced(seen, _records(home), lambda paths: _bring(paths, home, reports_dir, opened()))
        found += files.data(home)
        for finding in found if fix else ():
            finding.treat()
    return found


def _seen(home: Path, opened: Callable[[], Tracker], stack: ExitStack, say: Callable[[Finding], None]) -> Seen | None:
    """Return MLflow's runs; None where there is no store yet, or none that can be read, which is said."""
    place = store.locate(home)
    if place.path is None:
        try:
            return Seen.of(opened())
        except UserError as error:
            say(Finding("tracking server", place.shown, str(error)))
            return None
    if not place.path.exists() or not place.path.stat().st_size:
        return None
    copy = stack.enter_context(database.copied(place))
    if (damage := database.damage(place, copy)) is not None:
        say(damage)
        return None
    try:
        return Seen.of(Tracker(home, place=copy))
    except UserError as error:
        say(Finding("tracking database", str(place.path), str(error).replace(copy.uri, place.uri)))
        return None


def _records(home: Path) -> Iterator[tuple[Path, RunRecord]]:
    """Yield this machine's finished runs; one that cannot be read is named elsewhere."""
    for path in sorted(home.glob("runs/*/record.json")):
        try:
            yield path, RunRecord.from_bytes(path.read_bytes(), str(path))
        except (UserError, OSError):
            continue  # `files.runs` has named it


def _bring(paths: list[Path], home: Path, reports_dir: Path, tracker: Tracker) -> None:
    """Show finished runs in MLflow, and bring their experiments' parents up to date."""
    from repro.execute.outcome import extras
    from repro.spec.loading import load_all
    from repro.suite.planning import notes_for
    from repro.suite.summarising import summarise

    reports, failed = load_all(), list[str]()
    records = list[RunRecord]()
    for path in paths:
        with hold(path.parent) as alone:
            if not alone:
                failed.append(f"{path.parent}: a process trains or shows this run; try again when it has ended")
                continue
            records.append(RunRecord.from_bytes(path.read_bytes(), str(path)))
            notes = notes_for(reports, records[-1])
            tracker.project(records[-1], extras=extras(path.parent), notes=notes, held=True)
    summarise(reports, home, reports_dir, records, tracker, failed.append)
    if failed:
        raise UserError("; ".join(failed))
