"""Whether a record from elsewhere holds what pages, pictures and MLflow can be given: names, numbers, sizes.

A record is a file that anybody may have written. `repro verify` tells whether its parts agree; this is about values
that no record has: they would end a program, fill a disk, or become a file's name.
"""

import math
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from repro.errors import UserError
from repro.record.run import CLASSES, RunRecord

MOST_EPOCHS, MOST_NUMBER, MOST_SECONDS = 10_000, 1e15, 1e9
MOST_LEVELS, MOST_VALUES, MOST_TEXT, MOST_NAMES = 12, 20_000, 100_000, 200
#: control characters and halves of characters, which no file of text holds
_NO_TEXT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_NAME = re.compile(r"[A-Za-z0-9_.:/-]{1,80}")
_PROTOCOL = re.compile(r"[a-z0-9_:]{1,60}")
_OPEN = ("recipe", "experiments", "data", "env", "finals", "confusion", "resumed", "command", "started", "ledger")


def check_plain(record: RunRecord, name: str) -> None:
    """Raise UserError for a record whose open parts are nested or long beyond use, or hold what is no text."""
    waiting: list[tuple[Any, int, str]] = [(getattr(record, key), 1, key) for key in _OPEN]
    seen = 0
    while waiting:
        value, level, key = waiting.pop()
        seen += 1
        if level > MOST_LEVELS or seen > MOST_VALUES:
            raise UserError(f"{name}: {key}: nested or long beyond what a record holds; drop the file")
        if isinstance(value, str) and (len(value) > MOST_TEXT or _NO_TEXT.search(value)):
            raise UserError(f"{name}: {key}: holds a text that is too long or not printable; drop the file")
        if isinstance(value, dict):
            waiting += [(part, level + 1, key) for pair in value.items() for part in pair]
        elif isinstance(value, list):
            waiting += [(part, level + 1, key) for part in value]


def check_sound(record: RunRecord, name: str) -> None:
    """Raise UserError, naming the key, for a record that MLflow and the pictures there could not be given."""
    check_plain(record, name)
    for rules in (_kinds, _wrong):
        for key, what in rules(record):
            raise UserError(f"{name}: {key}: {what}; drop the file")


def _kinds(record: RunRecord) -> Iterator[tuple[str, str]]:
    """Yield what is of another kind than the rules after this rest on."""
    for key in ("recipe", "data", "env", "finals", "confusion"):
        if not isinstance(getattr(record, key), dict):
            yield key, "is not a mapping"
    if not isinstance(record.recipe.get("budget"), dict):
        yield "recipe.budget", "is not a mapping"


def _wrong(record: RunRecord) -> Iterator[tuple[str, str]]:
    """Yield key and what is wrong of it."""
    yield from _scalars(record)
    if not all(isinstance(record.data.get(split), str) for split in ("train", "test")):
        yield "data", "names no train and test fingerprints"
    if not _number(record.recipe["budget"].get("epochs"), MOST_EPOCHS, 1):
        yield "recipe.budget.epochs", "is no number of epochs"
    for key in _keys(record.recipe):
        if not _NAME.fullmatch(key):
            yield "recipe", f"{key[:60]!r} is not a key's name"
    for part in ("finals", "confusion", "curves", "predictions"):
        names = list(getattr(record, part))
        plain = part == "confusion" or all(_NAME.fullmatch(name) and ".." not in name for name in names)
        if len(names) > MOST_NAMES or not plain:
            yield part, "has names that no protocol or curve has"
    for protocol, values in record.finals.items():
        if not isinstance(values, dict) or len(values) > MOST_NAMES or not all(map(_NAME.fullmatch, values)):
            yield f"finals.{protocol}", "is not a mapping of plainly named numbers"
        elif not all(value is None or _number(value, MOST_NUMBER, lost=True) for value in values.values()):
            yield f"finals.{protocol}", "holds something that is not a number"
    for protocol, matrix in record.confusion.items():
        if not _PROTOCOL.fullmatch(protocol):
            yield "confusion", f"{protocol!r} is not a protocol's name"
        if not _matrix(matrix):
            yield f"confusion.{protocol}", f"is not {len(CLASSES)} rows of {len(CLASSES)} counts"


def _scalars(record: RunRecord) -> Iterator[tuple[str, str]]:
    for key, most in (("seconds", MOST_SECONDS), ("images_per_s", MOST_NUMBER)):
        if not _number(getattr(record, key), most):
            yield key, "is not a number that can be"
    if record.energy_j is not None and not _number(record.energy_j, MOST_NUMBER):
        yield "energy_j", "is not a number that can be"
    if type(record.epochs_done) is not int or not 0 <= record.epochs_done <= MOST_EPOCHS:
        yield "epochs_done", f"is not a number from 0 to {MOST_EPOCHS:,}"
    if record.state not in ("finished", "diverged", "stopped"):
        yield "state", "is none of finished, diverged, stopped"
    for key in ("recipe_hash", "env_class", "ledger", "command"):
        if not isinstance(getattr(record, key), str):
            yield key, "is not a text"
    try:
        if not 1990 <= datetime.fromisoformat(record.started).year <= 2200:
            yield "started", "is not a time that can be"
    except (ValueError, TypeError):
        yield "started", "is not an ISO 8601 time"


def _number(value: Any, most: float, least: float = 0.0, lost: bool = False) -> bool:
    """Whether a value is a number within bounds; `lost`: NaN, infinity and any sign as well, as diverged runs have."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    if lost:
        return isinstance(value, float) or abs(value) <= most
    return least <= value <= most and (isinstance(value, int) or math.isfinite(value))


def _matrix(matrix: Any) -> bool:
    size = len(CLASSES)
    return (
        isinstance(matrix, list)
        and len(matrix) == size
        and all(isinstance(row, list) and len(row) == size for row in matrix)
        and all(type(count) is int and 0 <= count <= 10**9 for row in matrix for count in row)
    )


def _keys(value: Any) -> Iterator[str]:
    """Yield every key of nested mappings and lists, which are known to be shallow."""
    if isinstance(value, dict):
        yield from value
        for part in value.values():
            yield from _keys(part)
    elif isinstance(value, list):
        for part in value:
            yield from _keys(part)
