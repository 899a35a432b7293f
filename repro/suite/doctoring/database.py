"""MLflow's SQLite file, looked at through a copy, so that looking changes nothing; one that is lost is set aside."""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from filelock import FileLock

from repro.report.markdown import plural
from repro.suite.doctoring.findings import Finding, set_aside
from repro.track.store import TABLES, Store

#: what SQLite keeps beside a file
BESIDE = ("-journal", "-wal", "-shm")
MEND = "the next command makes a new one that finished runs are shown in again"


@contextmanager
def copied(store: Store) -> Iterator[Store]:
    """Yield a copy of a SQLite store, in a folder of its own that is removed afterwards."""
    assert store.path is not None
    with tempfile.TemporaryDirectory(prefix="repro-") as folder:
        path = Path(folder, store.path.name)
        try:
            with closing(_opened(store.path)) as source, closing(sqlite3.connect(path)) as target:
                source.backup(target)
        except sqlite3.Error:
            # A transaction was cut short, and only a writer could roll it back; or the file is damaged: as it lies.
            for end in ("", *BESIDE):
                if (part := store.path.with_name(store.path.name + end)).is_file():
                    shutil.copy(part, path.with_name(path.name + end))
        yield Store(f"sqlite:///{path}", path, path.parent / "artifacts", path.with_name("copy.lock"))


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=20)


def damage(store: Store, copy: Store) -> Finding | None:
    """Return what is wrong with a SQLite store, judged by its copy; None where it is whole.

    One that nothing can be read from is renamed, and never removed.
    """
    assert store.path is not None
    assert copy.path is not None
    runs: int | None = None
    try:
        with closing(sqlite3.connect(copy.path)) as db:
            names = {row[0] for row in db.execute("select name from sqlite_master where type = 'table'")}
            if "runs" in names:
                (runs,) = db.execute("select count(*) from runs").fetchone()
            said = [row[0] for row in db.execute("pragma integrity_check(3)")]
            wrong = "" if said == ["ok"] else f"damaged ({'; '.join(' '.join(line.split()) for line in said)[:200]})"
    except sqlite3.Error as error:
        names, wrong = set(TABLES), f"not a readable database ({error})"
    if unfinished := [name for name in sorted(names) if name.startswith("_alembic_tmp_")]:
        wrong = wrong or f"half made (table {unfinished[0]} is left over)"
    if missing := sorted(TABLES - names):
        wrong = wrong or f"half made, or not MLflow's (no table {', '.join(missing)})"
    if not wrong:
        return None
    where = str(store.path)
    if runs:
        hint = f"{plural(runs, 'run')} can be read from it yet: move it away yourself, and {MEND}"
        return Finding("tracking database", where, wrong, hint=hint)
    return Finding("tracking database", where, wrong, "renamed to `damaged-...`", partial(_aside, store), MEND)


def _aside(store: Store) -> None:
    assert store.path is not None
    with FileLock(store.lock):
        for end in ("", *BESIDE):
            if (path := store.path.with_name(store.path.name + end)).exists():
                set_aside(path)
