"""The record of what a run did, as JSON: sorted keys, one key a line, arrays packed (`repro.record.arrays`).

Written once, when the run ends. It is at once the evidence file, the bundle member and the MLflow artifact: the same
bytes everywhere.
"""

import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass, field, fields
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from repro.errors import UserError
from repro.record.arrays import Arrays, packed

SCHEMA = 1
FULL_TRAIN = "6a3b2c04d0a79ce272dcdacaf0bc440275db5a8cbe3717521a28fada2ea0d2ed"
FULL_TEST = "65a6ffe079453e514083f99356b35e02cbfd581b4951e3937fae188974b79f39"
MAX_BYTES = 64 * 1024
#: what a finished run's folder offers beside its record
EXTRAS = ("journal.jsonl", "probabilities.npz")
#: by an older schema's number, what makes its plain values those of the next one: pure functions. 1 is the first
UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass
class RunRecord:
    """Everything one run did. Accuracies in percent, times in seconds, epochs counted from 1.

    `curves` maps a metric (`test/acc_pct`, `train/loss`, `step/loss_mean`, ...) to one float32 value an epoch (step
    curves: the same number of windows in every epoch, at most 800 in all or one an epoch); `finals` maps a protocol
    to its metrics; `confusion` maps a protocol to a matrix of counts (rows: true class, columns: predicted);
    `predictions` holds the last epoch's predicted class and its probability * 255 for each test image in canonical
    order. Of a record that was read these arrays are unpacked one by one when they are asked for (`Arrays`).
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
    curves: MutableMapping[str, np.ndarray] = field(default_factory=dict)
    finals: dict[str, dict[str, float]] = field(default_factory=dict)
    confusion: dict[str, list[list[int]]] = field(default_factory=dict)
    predictions: MutableMapping[str, np.ndarray] = field(default_factory=dict)  # class, confidence: uint8
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

    @property
    def selection_metric(self) -> str:
        """The curve that selects a checkpoint: the validation loss as the recipe measures it."""
        return "val_augmented/loss" if "val_augmented/loss" in self.curves else "val/loss"

    def value(self, protocol: str, metric: str, epoch: int | None = None) -> float | None:
        """Return a protocol's metric; None where this run did not measure it, and for an accuracy where it is `lost`.

        `at_epoch:K` reads the test curve after K epochs; `epoch` reads a protocol's own curve at that epoch, and with
        `best_val_loss` the test curve where the validation loss was lowest until then.
        """
        if protocol.startswith("at_epoch:"):
            protocol, epoch = "test", int(protocol.removeprefix("at_epoch:"))
        elif protocol == "best_val_loss" and epoch is not None:
            held_out = self.curves.get(self.selection_metric, ())
            if epoch > len(held_out):
                return None
            protocol, epoch = "test", min(range(1, epoch + 1), key=lambda k: held_out[k - 1])
        if metric == "acc_pct" and self.lost(protocol, epoch):
            return None
        if epoch is None:
            return self.finals.get(protocol, {}).get(metric)
        curve = self.curves.get(f"{protocol}/{metric}")
        return None if curve is None or epoch > len(curve) else float(curve[epoch - 1])

    def lost(self, protocol: str, epoch: int | None = None) -> bool:
        """Whether the network gave no finite loss there. The largest of ten NaN is the first: a class, and no answer.

        The accuracies of a last batch and of a mean over batches are those of the network that the report would test.
        """
        if epoch is not None:
            curve = self.curves.get(f"{protocol}/loss", ())
            return epoch <= len(curve) and not isfinite(curve[epoch - 1])
        final = self.finals.get(protocol, {})
        if protocol in ("batch_mean", "last_batch"):
            final = self.finals.get("best_val_loss") or self.finals.get("last", {})
        loss = final.get("loss")
        return loss is not None and not isfinite(loss)

    def to_bytes(self) -> bytes:
        """Return the record's canonical bytes."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        plain["curves"] = packed(self.curves, np.float32)
        plain["predictions"] = packed(self.predictions, np.uint8)
        lines = [f"{json.dumps(key)}: {_compact(plain[key])}" for key in sorted(plain)]
        return ("{\n" + ",\n".join(lines) + "\n}\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "record") -> "RunRecord":
        """Read any schema up to ours; raises UserError naming the file and the key that is wrong."""
        try:
            plain = upgrade(json.loads(data), name)
            plain["curves"] = Arrays(plain["curves"], np.float32)
            plain["predictions"] = Arrays(plain["predictions"], np.uint8)
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
    """Bring an older schema's plain values to the current one, step by step (`UPGRADES`); the given ones stay."""
    schema = plain.get("schema") if isinstance(plain, dict) else None
    if type(schema) is not int:
        raise UserError(f"{name}: not a run record (no schema number); move it away")
    if schema > SCHEMA:
        raise UserError(f"{name}: record schema {schema} is newer than this version reads ({SCHEMA}); update")
    if schema < 1:
        raise UserError(f"{name}: record schema {schema} was never written (they begin with 1); move it away")
    for older in range(schema, SCHEMA):
        plain = UPGRADES[older](plain) | {"schema": older + 1}
    return plain


def _compact(value: Any) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=True, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} does not belong in a record")


def read_records(folder: Path, pattern: str) -> Iterator[tuple[Path, RunRecord]]:
    """Yield (path, record) of every matching file in a folder, in name order."""
    for path in sorted(folder.glob(pattern)):
        yield path, RunRecord.from_bytes(path.read_bytes(), str(path))
