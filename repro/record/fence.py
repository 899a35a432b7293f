"""A run's fence: which attempt at it may write in its folder, where attempts are made on several hosts.

Not every storage has locks that hold between hosts, and on a host that was taken for lost an attempt may go on after
another one was started elsewhere. So an attempt writes its token into the folder, and reads it again right before each
of its writes: where it finds another's, it ends. The next one lets a moment pass after it has put its token there, so
that a write begun before is over when it looks at what there is.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from uuid import uuid4

from repro.errors import UserError

NAME = "lock.attempt"  # stays where a run is begun anew, as its lock does
SETTLE_S = 5.0  # longer than it takes from the look at the token to the end of the write
_HELD: dict[Path, str] = {}


class Superseded(UserError):
    """Another attempt at the run has taken its place; this one may write no more."""


@dataclass(frozen=True)
class Token:
    """What is in the folder: whose the run is, and how far that has come.

    `ticket` is the same for all attempts that one request makes at a run, `attempt` is this one's. `state`: taken,
    begun (what was there before has been set aside, if that was asked for), or released.
    """

    ticket: str
    attempt: str
    state: str = "taken"


def read(folder: Path) -> Token | None:
    """Return the token in a run's folder; None where there is none that can be read."""
    try:
        return Token(**json.loads((folder / NAME).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def begun_by(folder: Path, ticket: str) -> bool:
    """Whether an earlier attempt with this ticket has begun the run."""
    found = read(folder)
    return found is not None and bool(ticket) and found.ticket == ticket and found.state != "taken"


def mark(folder: Path) -> str:
    """Return a word that no other attempt has, for names of temporary files; empty where nothing is fenced."""
    return _HELD.get(folder, "")


def check(folder: Path) -> None:
    """Raise Superseded where this process holds the folder for an attempt and another one has taken it since."""
    if attempt := _HELD.get(folder):
        found = read(folder)
        if found is None or found.attempt != attempt:
            raise Superseded(f"{folder}: another attempt has taken over this run; this one writes no more")


@contextmanager
def held(folder: Path, ticket: str) -> Iterator[None]:
    """Take a run for a new attempt, and hold it. Without a ticket nothing is fenced."""
    if not ticket:
        yield
        return
    before = read(folder)
    own = Token(ticket, uuid4().hex, "begun" if begun_by(folder, ticket) else "taken")
    _put(folder, own)
    _HELD[folder] = own.attempt
    if before is not None and before.state != "released":
        time.sleep(SETTLE_S)
    try:
        yield
    finally:
        found = read(folder)
        if found is not None and found.attempt == own.attempt:
            _put(folder, replace(found, state="released" if found.state == "begun" else "taken"))
        _HELD.pop(folder, None)


def begin(folder: Path) -> None:
    """Note that what was there before has been set aside, if that was asked for."""
    if folder in _HELD:
        check(folder)
        found = read(folder)
        assert found is not None
        _put(folder, replace(found, state="begun"))


def _put(folder: Path, token: Token) -> None:
    from repro.record.files import write_atomically

    write_atomically(folder / NAME, (json.dumps(asdict(token)) + "\n").encode())
