"""Atomic checkpoints, one an epoch, the last two kept; the file's name carries a hash of its bytes."""

import hashlib
import io
from pathlib import Path
from typing import Any

import torch

from repro.record import write_atomically

KEPT = 2
NAMES = "checkpoint-[0-9][0-9][0-9][0-9][0-9]-*.pt"


def save(folder: Path, epoch: int, state: dict[str, Any]) -> Path:
    """Write `checkpoint-<epoch>-<hash>.pt` durably, then remove generations older than the last two."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    data = buffer.getvalue()
    path = folder / f"checkpoint-{epoch:05d}-{_hash(data)}.pt"
    write_atomically(path, data)
    for old in sorted(folder.glob(NAMES))[:-KEPT]:
        old.unlink()
    return path


def newest(folder: Path) -> int:
    """Return the epoch of the newest checkpoint, 0 without one."""
    return max((int(path.stem.split("-")[1]) for path in folder.glob(NAMES)), default=0)


def newest_sound(folder: Path) -> int:
    """Return the epoch of the newest checkpoint that is not damaged, which a run goes on from; 0 without one."""
    for path in sorted(folder.glob(NAMES), reverse=True):
        if sound(path):
            return int(path.stem.split("-")[1])
    return 0


def sound(path: Path) -> bool:
    """Whether a checkpoint holds the bytes that its name says were written, and can be read."""
    return _read(path.read_bytes(), path.stem.split("-")[2]) is not None


def remove(folder: Path) -> None:
    """Remove the checkpoints of a run that is finished."""
    for path in folder.glob("checkpoint-*.pt"):
        path.unlink()


def load(folder: Path) -> tuple[int, dict[str, Any]] | None:
    """Return (epoch, state) of the newest checkpoint whose bytes are intact, or None.

    A damaged file is renamed to `damaged-...` and said so, and the generation before it is used.
    """
    for path in sorted(folder.glob(NAMES), reverse=True):
        _, epoch, digest = path.stem.split("-")
        if (state := _read(path.read_bytes(), digest)) is not None:
            return int(epoch), state
        print(f"warning: {path} is damaged; going back to the checkpoint before it", flush=True)
        path.rename(path.with_name(f"damaged-{path.name}"))
    return None


def _read(data: bytes, digest: str) -> dict[str, Any] | None:
    """Return a checkpoint's state, or None where the bytes are not those that were written, or not a checkpoint's."""
    if _hash(data) != digest:
        return None
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception:  # a pickle that is none of ours may raise anything
        return None


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
