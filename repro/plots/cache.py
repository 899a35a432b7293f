"""Figures drawn before, in a folder: the same function of the same arguments gives the same bytes, so they are kept.

An entry's name is the SHA-256 of all that goes into the picture: the function, its arguments, matplotlib's version and
the source of this package. An entry holds a digest of itself; one that does not match is drawn again. No file of the
cache is ever needed: it may be deleted at any time, and one that cannot be written changes nothing.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from repro.errors import UserError
from repro.record import write_atomically

#: the oldest entries go beyond this many, or beyond this many bytes together
MOST, MOST_BYTES = 2_000, 200_000_000
_NAME = re.compile(r"[0-9a-f]{64}")


def cached(cache: Path | None, draw: Callable[..., bytes], *given: Any, **named: Any) -> bytes:
    """Return `draw(*given, **named)`, from the folder where it was drawn before; None keeps nothing.

    Raises TypeError for an argument that cannot be told apart by its content (an open file, an array of objects).
    """
    if cache is None:
        return draw(*given, **named)
    name = key(draw, given, named)
    found = _read(cache / name)
    if found is None:
        found = draw(*given, **named)
        with suppress(OSError, UserError):  # a full or read-only disk costs time, not the picture
            write_atomically(cache / name, _digest(name, found) + found)
            _drop_oldest(cache)
    return found


def key(draw: Callable[..., bytes], given: Sequence[Any], named: Mapping[str, Any]) -> str:
    """Return the name of a picture's entry: 64 hexadecimal digits."""
    what = [
        draw.__module__,
        draw.__qualname__,
        version("matplotlib"),
        _source(),
        list(given),
        dict(sorted(named.items())),
    ]
    return hashlib.sha256(b"".join(_encoded(what))).hexdigest()


def _encoded(value: Any) -> Iterator[bytes]:
    """Yield a value's content so that no two different ones give the same bytes: each part with its type and length.

    Mappings keep their order, which may be the order of drawing.
    """
    if is_dataclass(value) and not isinstance(value, type):
        yield _part("data", type(value).__qualname__.encode())
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise TypeError("an array of objects has no content that a figure's cache could tell apart")
        yield _part("array", f"{value.dtype.str} {value.shape}".encode())
        yield _part("bytes", np.ascontiguousarray(value).tobytes())
    elif isinstance(value, np.generic):
        yield from _encoded(value.item())
    elif isinstance(value, float):
        yield _part("float", value.hex().encode())
    elif value is None or isinstance(value, bool | int | str):
        yield _part(type(value).__name__, str(value).encode("utf-8", "surrogatepass"))
    elif isinstance(value, bytes):
        yield _part("bytes", value)
    elif isinstance(value, Mapping):
        yield _part("mapping", str(len(value)).encode())
        for name, item in value.items():
            yield from _encoded(name)
            yield from _encoded(item)
    elif isinstance(value, Sequence):
        yield _part("sequence", str(len(value)).encode())
        for item in value:
            yield from _encoded(item)
    else:
        raise TypeError(f"{type(value).__name__} has no content that a figure's cache could tell apart")


def _part(kind: str, content: bytes) -> bytes:
    return f"{kind}:{len(content)}:".encode() + content


@lru_cache(maxsize=1)
def _source() -> str:
    """Return a hash of this package's source: changed drawing code draws anew."""
    parts = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))]
    return hashlib.sha256(b"".join(_part("file", part) for part in parts)).hexdigest()


def _digest(name: str, data: bytes) -> bytes:
    # With the name in it, an entry under another's name is no entry.
    return hashlib.sha256(name.encode() + data).digest()


def _read(path: Path) -> bytes | None:
    try:
        stored = path.read_bytes()
    except OSError:
        return None
    digest, data = stored[:32], stored[32:]
    if digest != _digest(path.name, data):
        return None
    with suppress(OSError):
        os.utime(path)  # used now: the last to go
    return data


def _drop_oldest(folder: Path) -> None:
    """Remove the entries longest unused while there are too many; another process may be removing them as well."""
    entries = []
    for path in folder.iterdir():
        with suppress(OSError):
            if _NAME.fullmatch(path.name):
                stat = path.stat()
                entries.append((stat.st_mtime_ns, path.name, stat.st_size))
    count, size = len(entries), sum(size for *_, size in entries)
    for _, name, own in sorted(entries):
        if count <= MOST and size <= MOST_BYTES:
            return
        with suppress(OSError):
            (folder / name).unlink(missing_ok=True)
        count, size = count - 1, size - own
