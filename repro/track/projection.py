"""What MLflow shows of a run, computed from its record alone: params, tags, note, metric points, artifact files.

Nothing here knows MLflow. Every time is derived from the journal or the record, never from the clock, so
that projecting twice writes the same rows, which MLflow's stores keep once.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any

from repro.errors import UserError
from repro.record import CLASSES, Entry, RunRecord
from repro.track.notes import line, published_sentence

STEP_POINTS = 2000  # MLflow's charts sample above 2,500 points a run
STEP_CURVE = "step/loss_mean"
TABLE = json.dumps([{"path": "per_class.json", "type": "table"}])  # gives "View as table" in MLflow's pages
_LONG = 7500  # MLflow refuses tags above 8,000 characters


@dataclass(frozen=True)
class Point:
    """One metric value: `step` is the epoch (for step/loss: windows of optimizer steps), `time` ms UTC."""

    key: str
    value: float
    time: int
    step: int


@dataclass(frozen=True)
class RunInfo:
    """What is known of a run before it trains. `notes`: optional texts report, experiment, published, where."""

    run_key: str
    recipe_hash: str
    recipe: dict[str, Any]
    report: str
    experiments: list[str]
    seed: int
    fold: int | None
    profile: str
    data: dict[str, Any]
    env: dict[str, Any]
    env_class: str
    command: str
    started: str
    ledger: str
    notes: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, record: RunRecord, notes: Mapping[str, Any] | None = None) -> "RunInfo":
        """Return the part of a record that was known before training."""
        names = [name for name in cls.__dataclass_fields__ if name != "notes"]
        return cls(**{name: getattr(record, name) for name in names}, notes=dict(notes or {}))

    @property
    def name(self) -> str:
        """`s0 <experiment>`: the distinguishing part first, since MLflow cuts names at about 18 characters."""
        fold = "" if self.fold is None else f"f{self.fold}"
        return f"s{self.seed}{fold} {self.experiments[0]}"


MACHINE = ("time/", "gpu/")  # metrics of the machine; the same run has others elsewhere
Files = dict[str, bytes]  # path -> bytes
#: draws a run's figures
Draw = Callable[["RunInfo", RunRecord], Files]


def digest(data: bytes) -> str:
    """Return 16 hex digits of the sha256 of bytes."""
    return sha256(data).hexdigest()[:16]


def milliseconds(iso: str) -> int:
    """Return an ISO 8601 time as ms since 1970; raises UserError for anything else."""
    try:
        return int(datetime.fromisoformat(iso).timestamp() * 1000)
    except ValueError:
        raise UserError(f"started: {iso!r} is not an ISO 8601 time") from None


def text(value: Any) -> str:
    """Return the canonical text of a param: shortest float repr, true/false, null; strings as they are."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def params(info: RunInfo) -> dict[str, str]:
    """Return the frozen spec as dotted keys; a list of named steps is its names, with their options below it."""
    found = {"seed": text(info.seed), "profile": info.profile}
    if info.fold is not None:
        found["fold"] = text(info.fold)
    return found | dict(_flat("", info.recipe))


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else str(key), inner)
    elif isinstance(value, Sequence) and value and all(isinstance(item, Mapping) and "name" in item for item in value):
        names = [str(item["name"]) for item in value]
        yield prefix, ",".join(names)
        for i, item in enumerate(value):
            label = names[i] if names.count(names[i]) == 1 else f"{names[i]}.{names[:i].count(names[i])}"
            yield from _flat(f"{prefix}.{label}", {key: inner for key, inner in item.items() if key != "name"})
    else:
        yield prefix, line(text(value), 5900)


def tags(info: RunInfo) -> dict[str, str]:
    """Return a run's tags."""
    found = {
        "repro.kind": "run", "repro.report": info.report, "repro.experiment": info.experiments[0],
        "repro.experiments": ",".join(info.experiments), "repro.run_key": info.run_key,
        "repro.recipe_hash": info.recipe_hash[:12], "repro.env_class": info.env_class, "repro.profile": info.profile,
        "repro.ledger": info.ledger, "repro.data_order": info.data.get("order"), "repro.device": info.env.get("device"),
        "repro.state": "running", "repro.published": info.notes.get("published"),
        "repro.protocol": info.notes.get("protocol"), "repro.place": place(info),
        "mlflow.source.name": info.command, "mlflow.source.type": "JOB",
        "mlflow.source.git.commit": info.env.get("commit"), "mlflow.note.content": note(info),
    }  # fmt: skip
    return {key: value if key.endswith("content") else line(value, _LONG) for key, value in found.items() if value}


def place(info: RunInfo) -> str:
    """Return what runs are sorted by: each below the parent run of its experiment, by seed."""
    return f"{info.experiments[0]} s{info.seed:06d}f{info.fold or 0:03d}"


def note(info: RunInfo) -> str:
    """Return a run's note; the first line is a sentence, because MLflow's lists print it raw."""
    first = f"Seed {info.seed} of {published_sentence(info.report, info.experiments[0], info.notes)}"
    title = [line(info.notes["experiment"])] if info.notes.get("experiment") else []
    return "\n\n".join([first, *title, f"Run {info.run_key}, {info.env_class}, {info.profile} profile."])


def datasets(info: RunInfo) -> list[tuple[str, str, str]]:
    """Return (name, digest, context) of the data; the digest is the fingerprint's first 12 hex digits."""
    name = "cifar10-sample" if info.profile == "smoke" else "cifar10"
    return [(name, str(info.data[split])[:12], split) for split in ("train", "test")]


def end_of(record: RunRecord) -> int:
    """Return when a run ended, ms UTC: its start plus its seconds of training."""
    return milliseconds(record.started) + round(record.seconds * 1000)


def entries_of(record: RunRecord) -> list[Entry]:
    """Return a record's curves as journal entries, epochs spread evenly over its seconds.

    A step curve that does not divide into the epochs is left out: its windows cannot be told apart.
    """
    began, epochs = milliseconds(record.started), record.epochs_done
    entries = []
    for epoch in range(1, epochs + 1):
        metrics, steps = {}, {}
        for key, curve in record.curves.items():
            if key.startswith("step/"):
                width, rest = divmod(len(curve), epochs)
                if rest:
                    continue
                steps[key] = [float(x) for x in curve[(epoch - 1) * width : epoch * width]]
            elif epoch <= len(curve):
                metrics[key] = float(curve[epoch - 1])
        entries.append(Entry(epoch, metrics, steps, began + round(record.seconds * 1000 * epoch / epochs)))
    return entries


def points(entry: Entry, epochs: int) -> tuple[list[Point], int]:
    """Return an epoch's finite metric points, and how many values were not finite; `epochs` is the run's budget."""
    found = [Point(key, value, entry.time, entry.epoch) for key, value in entry.metrics.items()]
    windows = entry.steps.get(STEP_CURVE, [])
    every = max(1, math.ceil(len(windows) * max(epochs, entry.epoch) / STEP_POINTS))
    for i, value in enumerate(windows, (entry.epoch - 1) * len(windows)):
        if i % every == 0:
            found.append(Point("step/loss", value, entry.time, i + 1))
    finite = [point for point in found if math.isfinite(point.value)]
    missing = len(found) - len(finite)
    if missing:
        finite.append(Point("train/nonfinite", missing, entry.time, entry.epoch))
    return finite, missing


def finals(record: RunRecord) -> list[Point]:
    """Return `final/<protocol>/<metric>` of everything finite the record measured at the end."""
    return [
        Point(f"final/{protocol}/{metric}", float(value), end_of(record), record.epochs_done)
        for protocol, values in sorted(record.finals.items())
        for metric, value in sorted(values.items())
        if value is not None and math.isfinite(value)
    ]


def files(info: RunInfo, record: RunRecord, draw: Draw) -> Files:
    """Return a run's artifacts, path -> bytes; `draw` draws its figures."""
    found = {"record.json": record.to_bytes(), "spec.yaml": spec_yaml(info).encode()}
    for protocol, matrix in record.confusion.items():
        if not re.fullmatch(r"[a-z0-9_:]{1,60}", protocol):
            raise UserError(f"record {record.run_key}: confusion: {line(protocol, 60)!r} is not a protocol's name")
        found[f"confusion/{protocol}.json"] = as_json({"classes": CLASSES, "rows": "true class", "counts": matrix})
    if record.confusion:
        matrix = record.confusion.get("last") or next(iter(record.confusion.values()))
        found["per_class.json"] = as_json({"columns": ["class", "n", "correct", "acc_pct"], "data": per_class(matrix)})
    return found | draw(info, record)


def pictures(info: RunInfo, record: RunRecord) -> Files:
    """Return a run's figures, path -> PNG; they take about a second."""
    from repro.plots import confusion_png, curves_png

    found = {
        f"confusion/{protocol}.png": confusion_png(matrix, CLASSES, f"{info.name}, {protocol}")
        for protocol, matrix in record.confusion.items()
    }
    if series := {key: [curve] for key, curve in record.curves.items() if not key.startswith(("step/", *MACHINE))}:
        found["curves.png"] = curves_png(series, info.name)
    return found


def per_class(matrix: Sequence[Sequence[int]]) -> list[list[Any]]:
    """Return rows of class, images, correct, accuracy in percent."""
    rows = []
    for i, (name, counts) in enumerate(zip(CLASSES, matrix, strict=True)):
        n, right = sum(counts), counts[i]
        rows.append([name, n, right, round(100 * right / n, 3) if n else None])
    return rows


def as_json(value: Any) -> bytes:
    """Return indented JSON, as bytes."""
    return (json.dumps(value, indent=1) + "\n").encode()


def spec_yaml(info: RunInfo) -> str:
    """Return the resolved recipe as YAML, with what names the run above it as comments."""
    head = f"# {info.report}/{info.experiments[0]}, seed {info.seed}, {info.profile} profile\n# run {info.run_key}\n"
    return head + "".join(f"{row}\n" for row in _yaml(info.recipe, ""))


def _yaml(value: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            yield f"{indent}{key}:"
            yield from _yaml(inner, indent + "  ")
        else:
            yield f"{indent}{key}: {_flow(inner)}"


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    # JSON is YAML, but for floats without a dot: YAML 1.1 reads 1e-05 as a string.
    return repr(value).replace("e", ".0e") if re.fullmatch(r"-?\d+e.+", repr(value)) else json.dumps(value)
