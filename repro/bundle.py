"""Bundles: a plain folder that carries records, with their journals and probabilities, between machines.

`bundle.json` lists the members with their sha256; everything is checked before anything is written. A record
that meets another one of its key goes beside it: nothing is ever overwritten.
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from repro.errors import UserError
from repro.record import EXTRAS, RECORD_BYTES, RunRecord, check_sound, read_bounded, write_atomically

SCHEMA = 1
LIST_BYTES, EXTRA_BYTES = 16 << 20, 256 << 20  # most that is read of a file
MOST = 10**6  # epochs, seeds
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,150}")
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def export(records: Iterable[tuple[RunRecord, dict[str, Path]]], folder: Path) -> int:
    """Write records with their extras (name -> file) as a bundle; returns how many. The list is written last.

    Raises UserError for a folder that holds something else, and for an extra that bundles do not carry.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / "bundle.json").exists():
        raise UserError(f"{folder}: holds other files; name a new folder for the bundle")
    _own(folder / "bundle.json")
    taken: dict[str, str] = {}
    members = []
    for record, extras in records:
        _sound(record, str(folder))
        if unknown := sorted(set(extras) - set(EXTRAS)):
            raise UserError(f"{folder}: a bundle carries {' and '.join(EXTRAS)} beside a record, not {unknown[0]}")
        member: dict[str, Any] = _put(folder, record.file_name, record.to_bytes(), taken)
        key = record.run_key[:8]
        member["extras"] = {
            name: _put(folder, f"{key}-{name}", extras[name].read_bytes(), taken) for name in sorted(extras)
        }
        if member not in members:
            members.append(member)
    write_atomically(
        _own(folder / "bundle.json"), (json.dumps({"schema": SCHEMA, "members": members}, indent=1) + "\n").encode()
    )
    return len(members)


def _put(folder: Path, name: str, data: bytes, taken: dict[str, str]) -> dict[str, Any]:
    digest = sha256(data).hexdigest()
    if taken.setdefault(name, digest) != digest:
        # Two records of one key and environment that differ (drift) both travel.
        name = f"{digest[:8]}-{name}"
        taken[name] = digest
    write_atomically(_own(folder / name), data)
    return {"file": name, "sha256": digest}


def load(folder: Path) -> Iterator[tuple[RunRecord, dict[str, Path]]]:
    """Yield every record of a bundle with its extras, name -> file, after checking all members.

    Raises UserError for a folder that is no bundle, a member that is missing or changed, and an unsafe name.
    """
    try:
        listed = json.loads(_member(folder / "bundle.json", LIST_BYTES))
    except FileNotFoundError:
        raise UserError(f"{folder}: not a bundle (no bundle.json); `repro bundle export` makes one") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"{folder / 'bundle.json'}: not a bundle's list ({type(error).__name__}: {error}); copy the bundle again"
        ) from None
    if not isinstance(listed, dict) or not isinstance(listed.get("members"), list):
        raise UserError(f"{folder / 'bundle.json'}: not a bundle's list (no members); copy the bundle again")
    if listed.get("schema") != SCHEMA:
        raise UserError(f"{folder / 'bundle.json'}: schema {listed.get('schema')!r}; this version reads {SCHEMA}")
    checked, seen = [], set()
    for member in listed["members"]:
        path, data = _get(folder, member, RECORD_BYTES)
        if path.name in seen:
            raise UserError(f"{folder / 'bundle.json'}: {path.name} is listed twice; copy the bundle again")
        seen.add(path.name)
        record = RunRecord.from_bytes(data, str(path))
        _sound(record, str(path))
        extras = member.get("extras", {})
        if not isinstance(extras, dict) or set(extras) - set(EXTRAS):
            raise UserError(f"{path}: a bundle carries {' and '.join(EXTRAS)} beside a record, and nothing else")
        checked.append((record, {name: _get(folder, extra, EXTRA_BYTES)[0] for name, extra in extras.items()}))
    yield from checked


def _member(path: Path, most: int) -> bytes:
    """Return the bytes of a bundle's file; raises UserError for a link, and as `read_bounded`."""
    if path.is_symlink():
        raise UserError(f"{path}: is a link; a bundle holds its files themselves, copy it again")
    return read_bounded(path, most, "bundle's file", "copy the bundle again")


def _own(path: Path) -> Path:
    """Return a place that is about to be written; raises UserError for a link, which would lead elsewhere."""
    if path.is_symlink():
        raise UserError(f"{path}: is a link to another place; remove it, records are written into their own folder")
    return path


def _get(folder: Path, member: Any, most: int) -> tuple[Path, bytes]:
    name = member.get("file") if isinstance(member, dict) else None
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UserError(
            f"{folder / 'bundle.json'}: {str(name)[:80]!r} is not a member's name; expected a plain file name"
        )
    path = folder / name
    if not os.path.lexists(path):
        raise UserError(f"{path}: listed in bundle.json but missing; copy the bundle again")
    data = _member(path, most)
    if sha256(data).hexdigest() != member.get("sha256"):
        raise UserError(f"{path}: differs from its sha256 in bundle.json; copy the bundle again")
    return path, data


def _sound(record: RunRecord, name: str) -> None:
    """Refuse what must not become a path or an MLflow name."""
    slugs = [record.report, *(record.experiments if isinstance(record.experiments, list) else [])]
    if (
        not re.fullmatch(r"[0-9a-f]{16}", str(record.run_key))
        or len(slugs) < 2
        or not all(isinstance(slug, str) and _SLUG.fullmatch(slug) for slug in slugs)
        or record.profile not in ("full", "quick", "smoke")
        or not all(type(n) is int and 0 <= n <= MOST for n in (record.seed, record.epochs_done, record.fold or 0))
    ):
        raise UserError(
            f"{name}: not a sound run record (run_key, report, experiments, profile, seed, fold or epochs_done)"
        )
    check_sound(record, name)


def import_into(
    folder: Path,
    home: Path,
    on_new: Callable[[RunRecord, list[RunRecord]], object] = lambda record, known: None,
) -> tuple[int, int]:
    """Take a bundle's records into the state folder; returns (new, known).

    A record lands at `<home>/runs/<run_key>/record.json`, or beside another record or an unfinished run of its
    key as `record-<sha8>.json`. Importing twice is importing once. `on_new` is told of each new
    record, and of those of its key that were here before.
    """
    members, new = list(load(folder)), 0
    for record, extras in members:  # before the first is written
        for name in ("", "record.json", *extras):
            _own(home / "runs" / record.run_key / name)
    for record, extras in members:
        place = home / "runs" / record.run_key
        known = list(_records(place))
        if _land(record, extras, place):
            new += 1
            on_new(record, known)
    return new, len(members) - new


def _records(place: Path) -> Iterator[RunRecord]:
    for path in sorted(place.glob("record*.json")):
        yield RunRecord.from_bytes(read_bounded(path, RECORD_BYTES, "record", "move it away"), str(path))


def _land(record: RunRecord, extras: dict[str, Path], place: Path) -> bool:
    """Write a record and its extras into a run's folder; returns False where it was there already."""
    data = record.to_bytes()
    if any(path.read_bytes() == data for path in place.glob("record*.json")):
        return False
    prefix = ""
    if any((place / name).exists() for name in ("record.json", "journal.jsonl", "attempts.json")):
        prefix = f"record-{sha256(data).hexdigest()[:8]}-"
    for name, source in extras.items():
        write_atomically(_own(place / f"{prefix}{name}"), source.read_bytes())
    # Last, because a record says that its run is finished.
    write_atomically(_own(place / (f"{prefix[:-1]}.json" if prefix else "record.json")), data)
    return True
