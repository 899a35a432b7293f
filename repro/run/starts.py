"""A run's starts, noted beside its journal, and beginning it anew, over its earlier work or beside it."""

import json
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from repro import environment
from repro.errors import UserError
from repro.record import free_name, write_atomically
from repro.run.options import Options, folder_of
from repro.spec.identity import Run
from repro.train import checkpoint


def note(folder: Path, run: Run, options: Options) -> list[dict[str, Any]]:
    """Note this start beside the run's journal; return all of them, the first one first."""
    path, env = folder / "attempts.json", environment.describe(options.device)
    found = _starts(path)
    if found and found[0]["env_class"] != options.env_class:
        raise UserError(
            f"{run.name}: was begun as {found[0]['env_class']} and cannot go on as {options.env_class}; "
            "use the same --device, --precision, --deterministic and --compile, or --force to begin anew"
        )
    epoch = checkpoint.newest_sound(folder)
    found.append({
        "epoch": epoch, "started": datetime.now(UTC).isoformat(timespec="seconds"), "env": env,
        "env_class": options.env_class, "commit": env["commit"], "dirty": env["dirty"],
        "ledger": options.ledger, "command": options.command,
    })  # fmt: skip
    write_atomically(path, json.dumps(found, indent=1).encode())
    return found


def noted(folder: Path) -> list[dict[str, Any]]:
    """Return the starts that are noted in a run's folder, the first one first."""
    return _starts(folder / "attempts.json")


def lasting(found: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """Return the starts of which something is left.

    Not those before the last one that began with nothing, nor one from an epoch that a later start fell behind, as
    where checkpoints were damaged.
    """
    begun = max((place for place, start in enumerate(found) if not start["epoch"]), default=0)
    kept = found[begun:]
    return [
        start for place, start in enumerate(kept) if all(later["epoch"] >= start["epoch"] for later in kept[place:])
    ]


def _starts(path: Path) -> list[dict[str, Any]]:
    keys = {"epoch", "started", "env", "env_class", "commit", "dirty"}
    try:
        found = json.loads(path.read_text()) if path.exists() else []
        sound = isinstance(found, list) and all(keys <= set(start) for start in found)
    except (ValueError, TypeError):
        sound = False
    if not sound:
        raise UserError(f"{path}: not the list of a run's starts; --force begins the run anew")
    return found


def set_aside(folder: Path) -> Path:
    """Rename a finished run's record to `record-<sha8>.json`, and what lies beside it alike; return the record's place.

    Nothing is overwritten, and nothing removed but checkpoints, which a finished run does not need and which the next
    training would go on from. The record comes last: where it still stands, the same call goes on. Needs the lock.
    """
    record = folder / "record.json"
    prefix = f"record-{sha256(record.read_bytes()).hexdigest()[:8]}"
    checkpoint.remove(folder)
    for path in sorted(folder.iterdir()):
        if path.is_file() and path != record and not path.name.startswith(("record-", "lock", ".", "damaged-")):
            # Only records are called `record*.json`.
            path.rename(free_name(folder / f"{prefix}-{path.stem if path.suffix == '.json' else path.name}"))
    place = folder / f"{prefix}.json"
    if place.exists() and place.read_bytes() == record.read_bytes():
        record.unlink()  # the same bytes are kept there already
    else:
        record.rename(place := free_name(place))
    return place


def begin_anew(run: Run, home: Path) -> None:
    """Set a run's earlier work aside: a finished record is kept as `record-<n>.json`, everything else is removed."""
    folder = folder_of(run, home)
    record = folder / "record.json"
    if record.exists():
        number = 1 + len(list(folder.glob("record-*.json")))
        record.rename(free_name(folder / f"record-{number}.json"))  # one of them may have been moved away
    for path in sorted(folder.iterdir(), key=_telling):
        if not path.name.startswith(("record-", "lock")):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _telling(path: Path) -> int:
    # What is gone on from goes first, and last what says whose work it was: a kill in between must not hide that.
    return {"attempts.json": 2}.get(path.name, 0 if path.name.startswith("checkpoint") else 1)
