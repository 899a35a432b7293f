"""A state folder's name for itself: who reads the same words there sees the same folder, whatever the host."""

from pathlib import Path
from uuid import uuid4

from filelock import FileLock

from repro.record.files import write_atomically

NAME = "shared-id"  # in the state folder


def share(home: Path) -> str:
    """Return the state folder's name for itself, which is written there if it has none."""
    home.mkdir(parents=True, exist_ok=True)
    path = home / NAME
    with FileLock(home / f"{NAME}.lock"):
        if not path.exists():
            write_atomically(path, f"{uuid4().hex}\n".encode())
    return path.read_text().strip()
