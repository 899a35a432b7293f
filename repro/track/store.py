"""Where MLflow's store is, and how its SQLite file comes into being without ever standing there half made.

MLflow migrates a new SQLite file in place and without a lock: several processes starting at once, or one kill
in the first second, leave a file that no later start repairs. So the file is made under another name, under a
lock, and renamed when it is whole.
"""

import os
import re
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock

from repro.errors import UserError, redacted

REACH_S = 10.0
PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
#: tables that every whole store has
TABLES = frozenset({"alembic_version", "experiments", "runs", "metrics"})


@dataclass(frozen=True)
class Store:
    """A tracking URI; `path` is its SQLite file, `artifacts` where artifacts go (None: the server decides)."""

    uri: str
    path: Path | None
    artifacts: Path | None
    lock: Path

    @property
    def shown(self) -> str:
        """The URI without user, password and token."""
        return redacted(self.uri)


def locate(home: Path) -> Store:
    """Return the store that MLFLOW_TRACKING_URI names, else `<home>/mlflow.db`; artifacts lie beside the file."""
    home = home.absolute()
    uri = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    if not uri and set("?%") & set(str(home)):
        raise UserError(
            f"REPRO_HOME={home}: MLflow's database is named by a URL, where ? and % mean other things; set REPRO_HOME "
            "to a path without them, or use --offline"
        )
    uri = uri or f"sqlite:///{home / 'mlflow.db'}"
    if uri.startswith(("http://", "https://")) and _host(uri):
        return Store(uri, None, None, home / "mlflow.lock")
    if uri.startswith("sqlite:///") and ":memory:" not in uri:
        path = Path(uri.removeprefix("sqlite:///").partition("?")[0]).absolute()
        if path.is_dir():
            raise UserError(f"MLFLOW_TRACKING_URI={uri}: is a folder; name a file, such as {uri}/mlflow.db")
        if "%" in str(path):
            raise UserError(f"MLFLOW_TRACKING_URI={uri}: % means something else in a URL; name a path without it")
        return Store(f"sqlite:///{path}", path, path.parent / "artifacts", path.with_name(path.name + ".lock"))
    if re.match(r"(postgresql|mysql|mssql)(\+\w+)?://", uri):
        return Store(uri, None, home / "artifacts", home / "mlflow.lock")
    raise UserError(
        f"MLFLOW_TRACKING_URI={redacted(uri)}: not a store this suite writes to; give http(s)://, sqlite:///<file> or "
        "a database URI, or unset it to use the state folder"
    )


def _host(uri: str) -> str | None:
    try:
        return urlsplit(uri).hostname
    except ValueError:
        return None


def ensure(store: Store, migrate: Callable[[Path], None]) -> None:
    """Make the SQLite file if there is none: under the lock, migrated under a temporary name, synced, renamed.

    Raises UserError for a file that is not a whole MLflow store, for a folder that cannot be written, and for a
    database server that does not answer.
    """
    try:
        store.lock.parent.mkdir(parents=True, exist_ok=True)
        if store.path is None:
            reach(store)
            return
        with FileLock(store.lock):
            if store.path.exists() and store.path.stat().st_size:
                _check(store.path)
            else:
                _make(store.path, migrate)
    except OSError as error:
        named = "MLFLOW_TRACKING_URI" if os.environ.get("MLFLOW_TRACKING_URI", "").strip() else "REPRO_HOME"
        reason = error.strerror or error
        raise UserError(
            f"{store.lock.parent}: cannot hold the MLflow store ({reason}); set {named} to another place"
        ) from error


def reach(store: Store) -> None:
    """Find out in seconds whether a database server answers: MLflow would try for minutes, and say nothing."""
    if store.uri.startswith(("http://", "https://")):
        return
    from sqlalchemy.engine import make_url

    url = make_url(store.uri)
    url.get_dialect().import_dbapi()  # its driver is missed first
    port = url.port or PORTS.get(url.get_backend_name())
    if not url.host or url.host.startswith("/") or port is None:
        return  # a socket of this machine
    try:
        socket.create_connection((url.host, port), timeout=REACH_S).close()
    except (OSError, ValueError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        raise UserError(
            f"MLflow at {store.shown}: no database answers there ({reason}); see that it is up, or use --offline"
        ) from None


def _make(path: Path, migrate: Callable[[Path], None]) -> None:
    # We hold the lock: whatever lies here under a temporary name was left by a process that died.
    for stale in path.parent.glob(f".{path.name}.*.tmp*"):
        stale.unlink()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    migrate(temporary)
    for name in (temporary, path.parent):
        if name == path.parent:
            os.replace(temporary, path)
        descriptor = os.open(name, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _check(path: Path) -> None:
    # MLflow itself retries for minutes on a damaged file and repairs nothing, so it is looked at first.
    try:
        # To write, if possible: a transaction that a kill cut short is rolled back, and could not be read else.
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=20)) as connection:
            names = {row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")}
    except sqlite3.Error as error:
        raise UserError(f"{path}: not a readable MLflow store ({error}); {_MEND}") from None
    unfinished = any(name.startswith("_alembic_tmp_") for name in names)
    if unfinished or TABLES - names:
        raise UserError(f"{path}: a half-made MLflow store, or none at all; {_MEND}")


_MEND = "move it away, and the next command makes a new one that finished runs are shown in again"
