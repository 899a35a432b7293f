"""Files that a killed process left: half-written ones, checkpoints without a use or damaged, a damaged data cache."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from repro.data import cache
from repro.errors import UserError
from repro.execute.outcome import finished_record
from repro.record import Journal, hold
from repro.report.markdown import plural
from repro.suite.doctoring.findings import Finding, below, held, remove, set_aside, size
from repro.track import owner

#: `.record.json.4242.tmp`: what is being written by process 4242, and what SQLite puts beside such a file
HALF = re.compile(r"\..+\.(\d+)\.tmp(-journal|-wal|-shm)?")
#: seconds without a byte after which nobody writes a file any more, whoever may have its process's number by now
QUIET_S, LONG_S = 60, 86_400
Names = Mapping[str, str]  # run key -> report/experiment and seed


def halves(home: Path, reports_dir: Path) -> Iterator[Finding]:
    """Yield the half-written files whose process is gone; MLflow's artifacts are not written that way."""
    for folder in dict.fromkeys((home.absolute(), reports_dir.absolute())):
        for path in below(folder, skipped=("artifacts",)):
            if (match := HALF.fullmatch(path.name)) and _deserted(path, int(match[1])):
                found = f"half written by process {match[1]}, which is gone"
                yield Finding("temporary file", str(path), found, "removed", partial(remove, [path]))


def _deserted(path: Path, pid: int) -> bool:
    try:
        quiet = time.time() - path.stat().st_mtime
    except FileNotFoundError:  # whole by now, and renamed
        return False
    return quiet > (QUIET_S if owner.began(pid) is None else LONG_S)


def runs(home: Path, names: Names) -> Iterator[Finding]:
    """Yield what is to be said of each run's folder; one in training is left alone."""
    for folder in sorted(path for path in (home / "runs").glob("*") if path.is_dir()):
        name = f"{names[folder.name]} ({folder.name})" if folder.name in names else folder.name
        if held(folder / "lock"):
            yield Finding("run", name, "in training", hint="left alone", wrong=False)
        elif (folder / "record.json").exists():
            yield from _finished(folder, name)
        else:
            yield from _unfinished(folder, name)


def _finished(folder: Path, name: str) -> Iterator[Finding]:
    try:
        finished_record(folder)
    except UserError as error:
        where, _, text = str(error).partition(": ")
        yield Finding("record", where, text)
        return  # its checkpoints may be all there is
    if left := sorted([*folder.glob("checkpoint-*.pt"), *folder.glob("damaged-*checkpoint-*.pt")]):
        found = f"{plural(len(left), 'checkpoint')} of {size(left)} beside a finished record"
        yield Finding("checkpoints", name, found, "removed", _unheld(folder, partial(remove, left)))


def _unfinished(folder: Path, name: str) -> Iterator[Finding]:
    from repro.train import checkpoint  # takes torch

    every = sorted(folder.glob(checkpoint.NAMES))
    sound = [path for path in every if checkpoint.sound(path)]
    epoch = max((int(path.stem.split("-")[1]) for path in sound), default=0)
    for path in every:
        if path not in sound and sound:
            found = f"its bytes are not those that were written; the one of epoch {epoch} is sound"
            mend = _unheld(folder, partial(set_aside, path))
            yield Finding("checkpoint", str(path), found, "renamed to `damaged-...`", mend)
        elif path not in sound:
            hint = "the next `repro run` begins the run at its first epoch"
            yield Finding("checkpoint", str(path), "its bytes are not those that were written", hint=hint)
    entries = len(Journal(folder / "journal.jsonl").read())
    if epoch > entries:
        found = f"its journal holds {plural(entries, 'epoch')} and its checkpoint {epoch}"
        yield Finding("run", name, found, hint="`repro run --force` begins it anew")
    elif epoch:
        found = f"unfinished, {plural(epoch, 'epoch')} done"
        yield Finding("run", name, found, hint="the same `repro run` goes on there", wrong=False)


def _unheld(folder: Path, action: Callable[[], object]) -> Callable[[], None]:
    """Return an action that is done only while nobody trains in a run's folder."""

    def done() -> None:
        with hold(folder) as alone:
            if not alone:
                raise UserError("a process has begun to train there; try again when it has ended")
            action()

    return done


def data(home: Path) -> Iterator[Finding]:
    """Yield the data cache's files whose content is not CIFAR-10's."""
    images, order = cache.cache_path(home), cache.order_path(home)
    hint = "`repro data fetch` or `repro data import PATH` brings it again"
    wrong: dict[Path, str] = {}
    for path, look in ((order, cache.known_order), (images, cache.load)):
        try:
            if path.is_file():
                look(home)
        except UserError as error:
            where, _, text = str(error).partition(": ")
            wrong.setdefault(order if where == str(order) else images, text.partition(";")[0])
        except OSError as error:
            yield Finding("data", str(path), f"cannot be read ({error.strerror or error})", hint="make it readable")
    for path, text in wrong.items():
        yield Finding("data", str(path), text, "renamed to `damaged-...`", _aside(path), hint)


def _aside(path: Path) -> Callable[[], None]:
    def done() -> None:
        set_aside(path)

    return done
