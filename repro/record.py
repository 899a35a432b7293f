"""The journal of a run while it trains, and the record of what it did, as JSON.

The journal is append-only JSON lines, one an epoch, floats as hex, fsynced before the epoch's checkpoint is
published; it is the truth while a run trains. The record is written once at the end: sorted keys, one key
a line, arrays as base85(zlib(bytes)). It is at once the evidence file, the bundle member and the MLflow
artifact: the same bytes everywhere.
"""

import base64
import errno
import hashlib
import json
import os
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from repro.errors import UserError

SCHEMA = 1
FULL_TRAIN = "6a3b2c04d0a79ce272dcdacaf0bc440275db5a8cbe3717521a28fada2ea0d2ed"
FULL_TEST = "65a6ffe079453e514083f99356b35e02cbfd581b4951e3937fae188974b79f39"
MAX_BYTES = 64 * 1024
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass
class RunRecord:
    """Everything one run did. Accuracies in percent, times in seconds, epochs counted from 1.

    `curves` maps a metric (`test/acc_pct`, `train/loss`, `step/loss_mean`, ...) to one float32 value an epoch (step
    curves: the same number of windows in every epoch, at most 800 in all or one an epoch); `finals` maps a protocol
    to its metrics; `confusion` maps a protocol to a matrix of counts (rows: true class, columns: predicted);
    `predictions` holds the last epoch's predicted class and its probability * 255 for each test image in canonical
    order.
    """

    run_key: str
    recipe_hash: str
    recipe: dict[str, Any]
    report: str
    experiments: list[str]
    seed: int
    fold: int | None
    profile: str
    data: dict[str, Any]  # train and test fingerprints, order: official | unknown
    env: dict[str, Any]
    env_class: str
    ledger: str
    command: str
    started: str  # ISO 8601, UTC
    seconds: float
    images_per_s: float
    energy_j: float | None
    state: str  # finished | diverged | stopped
    epochs_done: int
    curves: dict[str, np.ndarray] = field(default_factory=dict)
    finals: dict[str, dict[str, float]] = field(default_factory=dict)
    confusion: dict[str, list[list[int]]] = field(default_factory=dict)
    predictions: dict[str, np.ndarray] = field(default_factory=dict)  # class, confidence: uint8
    resumed: list[dict[str, Any]] = field(default_factory=list)
    schema: int = SCHEMA

    @property
    def counts(self) -> bool:
        """Whether a verdict may rest on it: full data, full protocol, trained to the end of its budget."""
        return (
            self.profile == "full"
            and self.data.get("train") == FULL_TRAIN
            and self.data.get("test") == FULL_TEST
            and self.state in ("finished", "diverged")
            and self.epochs_done == self.recipe["budget"]["epochs"]
        )

    @property
    def file_name(self) -> str:
        """`<experiment>-s<seed>[-f<fold>]-<env8>-<key8>.json`."""
        fold = "" if self.fold is None else f"-f{self.fold}"
        env = hashlib.sha256(self.env_class.encode()).hexdigest()[:8]
        return f"{self.experiments[0]}-s{self.seed}{fold}-{env}-{self.run_key[:8]}.json"

    def value(self, protocol: str, metric: str, epoch: int | None = None) -> float | None:
        """Return a protocol's metric, or None where this run did not measure it.

        `at_epoch:K` reads the test curve after K epochs; `epoch` reads a protocol's own curve at that epoch.
        """
        if protocol.startswith("at_epoch:"):
            protocol, epoch = "test", int(protocol.removeprefix("at_epoch:"))
        if epoch is None:
            return self.finals.get(protocol, {}).get(metric)
        curve = self.curves.get(f"{protocol}/{metric}")
        return None if curve is None or epoch > len(curve) else float(curve[epoch - 1])

    def to_bytes(self) -> bytes:
        """Return the record's canonical bytes."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        plain["curves"] = {k: _pack(np.asarray(v, np.float32)) for k, v in self.curves.items()}
        plain["predictions"] = {k: _pack(np.asarray(v, np.uint8)) for k, v in self.predictions.items()}
        lines = [f"{json.dumps(key)}: {_compact(plain[key])}" for key in sorted(plain)]
        return ("{\n" + ",\n".join(lines) + "\n}\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "record") -> "RunRecord":
        """Read any schema up to ours; raises UserError naming the file and the key that is wrong."""
        try:
            plain = upgrade(json.loads(data), name)
            plain["curves"] = {str(k): _unpack(v, np.float32) for k, v in plain["curves"].items()}
            plain["predictions"] = {str(k): _unpack(v, np.uint8) for k, v in plain["predictions"].items()}
        except UserError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, zlib.error, RecursionError) as error:
            raise UserError(f"{name}: not a run record ({type(error).__name__}: {error}); move it away") from None
        known = {f.name for f in fields(cls)}
        if wrong := set(plain) ^ known:
            raise UserError(
                f"{name}: not a schema-{SCHEMA} record; missing or unknown: {', '.join(sorted(wrong))}; move it away"
            )
        return cls(**plain)


def upgrade(plain: Any, name: str) -> dict[str, Any]:
    """Bring an older schema's plain values to the current one, through pure functions, one a version."""
    if not isinstance(plain, dict) or not isinstance(plain.get("schema"), int):
        raise UserError(f"{name}: not a run record (no schema number); move it away")
    if plain["schema"] > SCHEMA:
        raise UserError(f"{name}: record schema {plain['schema']} is newer than this version reads ({SCHEMA}); update")
    return plain


def _compact(value: Any) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=True, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} does not belong in a record")


def _pack(array: np.ndarray) -> str:
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return base64.b85encode(zlib.compress(little.tobytes(), 9)).decode()


def _unpack(text: str, dtype: Any) -> np.ndarray:
    # Bounded: a hostile file cannot unpack to more than a long run's curves need.
    stream = zlib.decompressobj()
    raw = stream.decompress(base64.b85decode(text), 8 << 20)
    if stream.unconsumed_tail:
        raise ValueError("an array unpacks to more than 8 MiB")
    if not stream.eof:
        raise ValueError("an array is cut short")
    return np.frombuffer(raw, np.dtype(dtype).newbyteorder("<")).astype(dtype)


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


def read_records(folder: Path, pattern: str) -> Iterator[tuple[Path, RunRecord]]:
    """Yield (path, record) of every matching file in a folder, in name order."""
    for path in sorted(folder.glob(pattern)):
        yield path, RunRecord.from_bytes(path.read_bytes(), str(path))


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
        with open(self.path, "ab") as file:
            file.write((json.dumps(plain, sort_keys=True) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())
        return entry

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
                entry = Entry(plain["epoch"], metrics, steps, plain["time"])
            except (ValueError, KeyError, TypeError, AttributeError):
                break
            if entry.epoch != len(entries) + 1:
                break
            entries.append(entry)
        return entries

    def truncate(self, epochs: int) -> None:
        """Keep the first epochs only, so that a resumed run appends where its checkpoint stands."""
        kept = self.read()[:epochs]
        lines = self.path.read_bytes().split(b"\n")[: len(kept)] if self.path.exists() else []
        write_atomically(self.path, b"".join(line + b"\n" for line in lines))
