"""Files that a crash leaves whole."""

import errno
import os
from pathlib import Path

from repro.errors import UserError


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
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:  # of the place that was asked for, not of the name in between
        raise type(error)(error.errno, error.strerror, str(path)) from None
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
