"""Files that a crash leaves whole, and reading those of others with bounds."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from repro.errors import UserError
from repro.record import fence
from repro.record.failpoints import reach

#: most that is read of a record; a sound one has 64 KiB
RECORD_BYTES = 4 << 20


def read_bounded(path: Path, most: int, kind: str, mend: str) -> bytes:
    """Return a plain file's bytes; raises UserError for a pipe or a device, which would be waited for, and for more.

    What a file says of its size need not be so: `most` bytes and one are read. `kind` names what the file should be.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: is no plain file; {mend}")
    with open(path, "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise UserError(f"{path}: larger than {most >> 20} MiB, which no {kind} is; {mend}")
    return data


@contextmanager
def hold(folder: Path) -> Iterator[bool]:
    """Hold a folder (a run's, a server's) by its lock, and yield True; False where another process holds it."""
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def free_name(path: Path) -> Path:
    """Return a path, or where it is taken the first of `-2`, `-3`, ... of it that is not; a dead link takes it too."""
    candidate, number = path, 2
    while os.path.lexists(candidate):
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
        number += 1
    return candidate


def remove_halves(folder: Path) -> None:
    """Remove what processes that are gone have left half written in a folder."""
    for path in folder.glob(".*.tmp"):
        pid = path.name.split(".")[-2]
        if not (pid.isdecimal() and int(pid) != os.getpid() and _lives(int(pid))):
            path.unlink(missing_ok=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        pass
    return True


def halves(data: bytes) -> tuple[memoryview, memoryview]:
    """Return the first and the second half of some bytes, so that a test can stop a write in its middle."""
    view = memoryview(data)
    return view[: len(data) // 2], view[len(data) // 2 :]


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that after a crash the old or the new content stands: temporary, fsync, rename, fsync.

    Behind a link its target is written. Raises UserError for what is no plain file (a device, a folder), since the
    rename would put one in its place.
    """
    path = path.resolve() if path.is_symlink() else path
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: is there, and is not a plain file; name another place")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path.parent)) from None
    parts = ("", path.name, fence.mark(path.parent), str(os.getpid()), "tmp")  # other hosts have the same numbers
    temporary = path.with_name(f".{'.'.join(filter(None, parts))}")
    what = path.name.partition(".")[0].partition("-")[0]  # checkpoint, record, journal, ...
    try:
        with open(temporary, "wb") as file:
            for half in halves(data):
                file.write(half)
                file.flush()
                reach(f"{what}.write")  # in the middle, and before it is on the disk
            os.fsync(file.fileno())
        reach(f"{what}.rename")
        fence.check(path.parent)
        os.replace(temporary, path)
    except OSError as error:  # of the place that was asked for, not of the name in between
        raise type(error)(error.errno, error.strerror, str(path)) from None
    finally:
        temporary.unlink(missing_ok=True)
    reach(f"{what}.renamed")
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
