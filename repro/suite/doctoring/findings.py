"""What is found, what would mend it, and what became of it; and the little that several examinations share."""

import fcntl
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repro.errors import UserError


@dataclass
class Finding:
    """One thing that was found: `what` it is, `where` it lies, what was `found`.

    `mend` does what `done` says in the past participle ("removed"); without one `hint` says what the reader can do.
    `wrong` is False for what is only told. `state` is noted, found, mended or left.
    """

    what: str
    where: str
    found: str
    done: str = ""
    mend: Callable[[], None] | None = None
    hint: str = ""
    wrong: bool = True
    state: str = "found"

    def __post_init__(self) -> None:
        self.state = "noted" if not self.wrong else "found" if self.mend else "left"

    @property
    def open(self) -> bool:
        """Whether something is wrong here still."""
        return self.state in ("found", "left")

    def treat(self) -> None:
        """Mend it, if that is possible; where it fails, the hint says why."""
        if self.mend is None:
            return
        try:
            self.mend()
            self.state = "mended"
        except (UserError, OSError) as error:
            self.state, self.hint = "left", f"could not be {self.done} ({error})"

    def __str__(self) -> str:
        end = {"found": f"would be {self.done}", "mended": self.done}.get(self.state, "")
        return f"{self.what}: {self.where}: " + "; ".join(filter(None, (self.found, end, self.hint)))

    def plain(self) -> dict[str, Any]:
        """Return it as plain values, for JSON."""
        return {name: getattr(self, name) for name in ("what", "where", "found", "done", "hint", "state")}


def held(lock: Path) -> bool:
    """Whether a process holds a lock file, or nobody can tell; asked without writing, and let go at once."""
    try:
        descriptor = os.open(lock, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def set_aside(path: Path) -> Path:
    """Rename a file to `damaged-<name>`, or with a number where that is taken; return the new path."""
    number, target = 1, path.with_name(f"damaged-{path.name}")
    while os.path.lexists(target):
        number += 1
        target = path.with_name(f"damaged-{number}-{path.name}")
    path.rename(target)
    return target


def remove(paths: list[Path]) -> None:
    """Remove files; one that is gone already is no failure."""
    for path in paths:
        path.unlink(missing_ok=True)


def below(folder: Path, skipped: tuple[str, ...] = ()) -> Iterator[Path]:
    """Yield the files below a folder in order of their names, without folders of some names."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in skipped)
        yield from (Path(place, name) for name in sorted(names))


def size(paths: list[Path]) -> str:
    """Return how much disk files take, in words."""
    return f"{sum(path.stat().st_size for path in paths) / 1e6:,.1f} MB"
