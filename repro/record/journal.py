"""The journal of a run while it trains: append-only JSON lines, one an epoch, floats as hex.

Each line is fsynced before the epoch's checkpoint is published; it is the truth while a run trains.
"""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from repro.record import fence
from repro.record.failpoints import reach
from repro.record.files import halves, write_atomically


@dataclass(frozen=True)
class Entry:
    """One epoch of a journal: `metrics` by name, `steps` (losses of the epoch's steps, windowed), `time` in ms UTC."""

    epoch: int
    metrics: dict[str, float]
    steps: dict[str, list[float]]
    time: int


class Journal:
    """Append-only JSON lines of one run's epochs; survives a kill at any byte."""

    def __init__(self, path: Path):
        self.path = path

    def append(self, epoch: int, metrics: Mapping[str, float], steps: Mapping[str, list[float]] | None = None) -> Entry:
        """Append one epoch durably and return it."""
        entry = Entry(epoch, dict(metrics), {k: list(v) for k, v in (steps or {}).items()}, int(time.time() * 1000))
        plain = asdict(entry)
        plain["metrics"] = {k: float(v).hex() for k, v in entry.metrics.items()}
        plain["steps"] = {k: [float(x).hex() for x in v] for k, v in entry.steps.items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._append((json.dumps(plain, sort_keys=True) + "\n").encode())
        return entry

    def _append(self, line: bytes) -> None:
        fence.check(self.path.parent)
        try:
            with open(self.path, "ab") as file:
                for half in halves(line):
                    file.write(half)
                    file.flush()
                    reach("journal.append")  # in the middle, and before it is on the disk
                os.fsync(file.fileno())
        except OSError as error:  # a half-written line is none, and is cut off by the next start
            raise type(error)(error.errno, error.strerror, str(self.path)) from None
        reach("journal.appended")

    def read(self) -> list[Entry]:
        """Return the complete epochs 1, 2, ...; a half-written last line is not an epoch."""
        entries: list[Entry] = []
        if not self.path.exists():
            return entries
        for line in self.path.read_bytes().split(b"\n"):
            try:
                plain = json.loads(line)
                metrics = {k: float.fromhex(v) for k, v in plain["metrics"].items()}
                steps = {k: [float.fromhex(x) for x in v] for k, v in plain["steps"].items()}
                entry = Entry(plain["epoch"], metrics, steps, _milliseconds(plain["time"]))
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
                break
            if type(entry.epoch) is not int or entry.epoch != len(entries) + 1:
                break
            entries.append(entry)
        return entries

    def truncate(self, epochs: int) -> None:
        """Keep the first epochs only, so that a resumed run appends where its checkpoint stands."""
        kept = self.read()[:epochs]
        lines = self.path.read_bytes().split(b"\n")[: len(kept)] if self.path.exists() else []
        write_atomically(self.path, b"".join(line + b"\n" for line in lines))


def _milliseconds(value: object) -> int:
    """Return a time of a journal, which may come from elsewhere; raises ValueError for none since 1970."""
    if not isinstance(value, int) or not 0 <= value < 1 << 43:
        raise ValueError("not a time in ms")
    return value
