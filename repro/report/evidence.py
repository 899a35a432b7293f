"""Records on disk: read those of this machine and those committed, and commit what counts and is missing.

What `withdrawn.yaml` withdraws is left out of what is read here, so that it enters nothing made of records; `struck`
and `all_committed` have it.
"""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from repro.errors import UserError
from repro.record import RECORD_BYTES, RunRecord, check_plain, free_name, read_bounded, write_atomically
from repro.spec import withdrawn
from repro.spec.withdrawn import Struck

_REPORT = re.compile(r"[a-z][a-z0-9]{1,29}")
_FILE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\.json")
_CLASS = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_KEY = re.compile(r"[0-9a-f]{16}")
_TYPES: dict[str, type | tuple[type, ...]] = {
    "run_key": str, "recipe_hash": str, "recipe": dict, "report": str, "experiments": list, "seed": int, "profile": str,
    "fold": (int, type(None)), "data": dict, "env": dict, "env_class": str, "ledger": str, "started": str,
    "seconds": (int, float), "images_per_s": (int, float), "state": str, "epochs_done": int, "finals": dict,
    "confusion": dict, "resumed": list,
}  # fmt: skip


def read(home: Path, reports_dir: Path) -> list[RunRecord]:
    """Return the records of `<home>/runs/*/record*.json` and `<reports_dir>/*/evidence/*.json`, equal bytes once.

    Without those that `<reports_dir>/withdrawn.yaml` withdraws.
    """
    return withdrawn.of(reports_dir).split(_every(home, reports_dir))[0]


def committed(reports_dir: Path) -> list[RunRecord]:
    """Return the records of `<reports_dir>/*/evidence/*.json`, without those withdrawn."""
    return withdrawn.of(reports_dir).split(all_committed(reports_dir))[0]


def all_committed(reports_dir: Path) -> list[RunRecord]:
    """Return the records of `<reports_dir>/*/evidence/*.json`, withdrawn or not."""
    return [record for _, record in _read(_committed(reports_dir))]


def struck(home: Path | None, reports_dir: Path) -> list[Struck]:
    """Return the withdrawn records, those of this machine among them where its state folder is named."""
    found = withdrawn.of(reports_dir)
    if not found.withdrawn:  # as a rule: nothing is read again
        return []
    return found.split(all_committed(reports_dir) if home is None else _every(home, reports_dir))[1]


def _every(home: Path, reports_dir: Path) -> list[RunRecord]:
    return [record for _, record in _read(_local(home) + _committed(reports_dir))]


def collect(home: Path, reports_dir: Path) -> list[Path]:
    """Copy this machine's records that count into `<reports_dir>/<report>/evidence/`; return the new files.

    The bytes stay the same and nothing is overwritten: a name taken by other bytes gets `-2`, `-3`, ... Withdrawn
    records are copied as well: they are listed, and enter nothing.
    """
    local = list(_read(_local(home)))
    known = {_digest(_bytes(path)) for path in _committed(reports_dir)} if local else set()
    new = []
    for source, record in local:
        data = _bytes(source)
        if _digest(data) in known or not record.counts:
            continue
        path = free_name(reports_dir / record.report / "evidence" / record.file_name)
        write_atomically(path, data)
        new.append(path)
    return new


def _local(home: Path) -> list[Path]:
    return sorted((home / "runs").glob("*/record*.json"))


def _committed(reports_dir: Path) -> list[Path]:
    return sorted(reports_dir.glob("*/evidence/*.json"))


def _read(paths: list[Path]) -> Iterator[tuple[Path, RunRecord]]:
    """Yield the records of files, of equal files the first one's."""
    known: set[bytes] = set()
    for path in paths:
        data = _bytes(path)
        if (digest := _digest(data)) not in known:
            known.add(digest)
            yield path, check(RunRecord.from_bytes(data, str(path)), str(path))


def _bytes(path: Path) -> bytes:
    return read_bounded(path, RECORD_BYTES, "record", "move it away")


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def check(record: RunRecord, name: str) -> RunRecord:
    """Return the record if pages can be made of it; raises UserError naming file and key.

    Records come from other machines: their names become paths, and their values text.
    """
    for key, kind in _TYPES.items():
        if not isinstance(getattr(record, key), kind):
            raise UserError(
                f"{name}: {key} is of the wrong type ({type(getattr(record, key)).__name__}); drop the file"
            )
    if not _REPORT.fullmatch(record.report):
        raise UserError(f"{name}: report {record.report[:40]!r} is no report's id; drop the file")
    if not _CLASS.fullmatch(record.env_class) or not _KEY.fullmatch(record.run_key):
        raise UserError(f"{name}: env_class or run_key holds characters that neither ever does; drop the file")
    if not record.experiments or not all(isinstance(e, str) for e in record.experiments):
        raise UserError(f"{name}: experiments names none; drop the file")
    if not _FILE.fullmatch(record.file_name) or len(record.file_name) > 120:
        raise UserError(f"{name}: experiment or run key {record.file_name[:60]!r} cannot name a file; drop the file")
    for protocol, final in record.finals.items():
        if not isinstance(final, dict) or not all(v is None or isinstance(v, int | float) for v in final.values()):
            raise UserError(f"{name}: finals.{protocol} holds something that is not a number; drop the file")
    if not isinstance(record.recipe.get("budget"), dict) or "epochs" not in record.recipe["budget"]:
        raise UserError(f"{name}: recipe.budget.epochs is missing; drop the file")
    check_plain(record, name)
    return record
