"""Arrays of a record as text, base85(zlib(little-endian bytes)), and unpacked again when somebody asks for them.

A page needs a few of a run's twenty arrays, and ten thousand runs hold half a gigabyte of them: what was read stays
compressed. The base85 is that of `base64.b85encode`, which is plain Python; NumPy takes a hundredth of its time.
"""

import zlib
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np

#: a hostile file cannot unpack to more than a long run's curves need
MOST = 8 << 20
_LETTERS = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
_TEXT = _LETTERS.ljust(256, b"~")
_NONE = 255
_VALUES = bytes(_LETTERS.index(letter) if letter in _LETTERS else _NONE for letter in range(256))
_POWERS = 85.0 ** np.arange(4, -1, -1)  # as floats, which hold every word exactly and are quick to multiply


class Arrays(MutableMapping[str, np.ndarray]):
    """Arrays by name as they were read, each unpacked anew when it is asked for, and then read-only.

    Every text is checked at once: raises ValueError, TypeError or zlib.error for one that holds no whole array.
    """

    def __init__(self, texts: Mapping[str, Any], dtype: type[np.generic]):
        self._dtype = np.dtype(dtype)
        if wrong := [text for text in texts.values() if not isinstance(text, str)]:
            raise TypeError(f"an array is a text, not {type(wrong[0]).__name__}")
        compressed = dict(zip(map(str, texts), unb85(list(texts.values())), strict=True))
        if any(len(_raw(data)) % self._dtype.itemsize for data in compressed.values()):
            raise ValueError("an array is cut short")
        self._held: dict[str, bytes | np.ndarray] = {**compressed}

    def __getitem__(self, name: str) -> np.ndarray:
        held = self._held[name]
        if isinstance(held, np.ndarray):
            return held
        return np.frombuffer(_raw(held), self._dtype.newbyteorder("<")).astype(self._dtype, copy=False)

    def __setitem__(self, name: str, array: np.ndarray) -> None:
        self._held[name] = np.asarray(array, self._dtype)

    def __delitem__(self, name: str) -> None:
        del self._held[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, name: object) -> bool:  # the inherited one would unpack
        return name in self._held

    def texts(self) -> dict[str, str]:
        """Return every array as text; one that was read is the text it was, whichever zlib had packed it."""
        return {name: _pack(held) if isinstance(held, np.ndarray) else b85(held) for name, held in self._held.items()}


def packed(arrays: Mapping[str, Any], dtype: type[np.generic]) -> dict[str, str]:
    """Return arrays by name as text."""
    if isinstance(arrays, Arrays):
        return arrays.texts()
    return {name: _pack(np.asarray(array, dtype)) for name, array in arrays.items()}


def _pack(array: np.ndarray) -> str:
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return b85(zlib.compress(little.tobytes(), 9))


def _raw(data: bytes) -> bytes:
    stream = zlib.decompressobj()
    raw = stream.decompress(data, MOST)
    if stream.unconsumed_tail:
        raise ValueError("an array unpacks to more than 8 MiB")
    if not stream.eof:
        raise ValueError("an array is cut short")
    return raw


def b85(data: bytes) -> str:
    """Return bytes as `base64.b85encode` does: four bytes are five digits to the base of 85, highest first."""
    lacking = -len(data) % 4
    words = np.frombuffer(data + bytes(lacking), ">u4").astype(np.uint32)
    digits = np.empty((len(words), 5), np.uint8)
    for place in range(4, -1, -1):
        words, digits[:, place] = np.divmod(words, np.uint32(85))
    text = digits.tobytes().translate(_TEXT).decode("ascii")
    return text[: len(text) - lacking]


def unb85(texts: Sequence[str]) -> list[bytes]:
    """Return each text's bytes as `base64.b85decode` does; raises ValueError for a wrong letter or too high a word."""
    lacking = [-len(text) % 5 for text in texts]
    whole = "".join(text + "~" * n for text, n in zip(texts, lacking, strict=True))
    digits = np.frombuffer(whole.encode("ascii").translate(_VALUES), np.uint8)
    if digits.max(initial=0) == _NONE:
        raise ValueError("a letter that base85 does not have")
    words = digits.reshape(-1, 5).astype(np.float64) @ _POWERS
    if words.max(initial=0) >= 2**32:
        raise ValueError("base85 digits beyond four bytes")
    data, found, start = words.astype(np.uint32).astype(">u4").tobytes(), [], 0
    for text, n in zip(texts, lacking, strict=True):
        end = start + (len(text) + n) // 5 * 4
        found.append(data[start : end - n])
        start = end
    return found
