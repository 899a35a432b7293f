"""What MLflow shows of an experiment over its seeds: mean curves, `summary/*`, mean confusion matrix, verdicts."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from repro.record import CLASSES, RunRecord
from repro.track.judged import Judged
from repro.track.notes import judged_note, line, published_sentence
from repro.track.projection import Point, RunInfo, as_json, end_of, milliseconds, params

VERSION = 3  # of what is computed here: a parent run that shows another one's is made again


@dataclass(frozen=True)
class Summary:
    """An experiment over its seeds: metric points (means, `summary/*`), what its runs share, and the artifacts."""

    start: int
    end: int
    points: list[Point]
    params: dict[str, str]
    tags: dict[str, str]
    files: dict[str, bytes]


def over_seeds(
    experiment: str, records: Sequence[RunRecord], notes: Mapping[str, Any], judged: Judged | None = None
) -> Summary:
    """Average an experiment's runs. `notes` may name the `protocol` (last) and `metric` (acc_pct) to summarise.

    Where the experiment is judged, `summary/*` are the judge's numbers, as the pages print them.
    """
    from repro.plots import confusion_png, curves_png

    protocol, metric = notes.get("protocol") or "last", notes.get("metric") or "acc_pct"
    start, end = min(milliseconds(r.started) for r in records), max(end_of(r) for r in records)
    series = {key: [r.curves[key] for r in records] for key in _shared_curves(records)}
    each = [r.value(protocol, metric) for r in records]
    values = _by_seed(records, each)
    judged_numbers = judged.summary(metric) if judged else {}
    numbers = judged_numbers or _numbers(values, metric, notes)
    rows = [*_mean_curves(series, start, end)]
    rows += [Point(f"summary/{name}", value, end, 0) for name, value in sorted(numbers.items())]
    rows += [Point(key, value, end, min(r.epochs_done for r in records)) for key, value in mean_finals(records)]
    runs = [{"run_key": r.run_key, "seed": r.seed, "fold": r.fold, "value": v}
            for r, v in zip(records, each, strict=True)]  # fmt: skip
    said = {"claim": judged.claim, "verdict": judged.word} if judged else {}
    head = {"experiment": experiment, "protocol": protocol, "metric": metric, **said, **numbers, "runs": runs}
    found = {"summary.json": as_json(head), "curves.png": curves_png(series, f"{experiment}, {len(records)} runs")}
    if all("last" in r.confusion and not r.lost("last") for r in records):
        mean = np.mean([r.confusion["last"] for r in records], axis=0)
        found["confusion/mean.json"] = as_json({"classes": CLASSES, "rows": "true class", "counts": mean.tolist()})
        found["confusion/mean.png"] = confusion_png(mean, CLASSES, f"{experiment}, mean of {len(records)} runs")
    devices = {line(r.env.get("device") or "") for r in records}
    tags = {"repro.device": devices.pop()} if len(devices) == 1 and any(devices) else {}
    if judged:
        note = judged_note(records[0].report, experiment, notes, judged.said, judged.more)
        tags |= judged.tags() | {"mlflow.note.content": note}
        found |= {**judged.files, **judged.draw()}
    return Summary(start, end, rows, shared_params(records), tags, found)


def _shared_curves(records: Sequence[RunRecord]) -> list[str]:
    keys = set.intersection(*(set(r.curves) for r in records))
    return sorted(key for key in keys if not key.startswith("step/") and all(len(r.curves[key]) for r in records))


def _mean_curves(series: Mapping[str, Sequence[Any]], start: int, end: int) -> Iterator[Point]:
    for key, curves in series.items():
        length = min(map(len, curves))
        mean = np.mean([np.asarray(c[:length], np.float64) for c in curves], axis=0)
        times = [start + round((end - start) * epoch / length) for epoch in range(1, length + 1)]
        for epoch, (value, time) in enumerate(zip(mean, times, strict=True), 1):
            if np.isfinite(value):
                yield Point(key, float(value), time, epoch)


def _by_seed(records: Sequence[RunRecord], values: Sequence[float | None]) -> list[float | None]:
    """Return a value a seed: the mean over its folds, None where one of them has none."""
    seeds: dict[int, list[float | None]] = {}
    for record, value in zip(records, values, strict=True):
        seeds.setdefault(record.seed, []).append(value)
    return [None if None in each else float(np.mean([v for v in each if v is not None])) for each in seeds.values()]


def _numbers(values: Sequence[float | None], metric: str, notes: Mapping[str, Any]) -> dict[str, float]:
    """Return `summary/*` of an experiment without verdicts: mean and spread of its seeds, beside what was published."""
    good = [v for v in values if v is not None and math.isfinite(v)]
    stem = "acc" if metric == "acc_pct" else metric
    numbers: dict[str, float] = {"n_seeds": len(good)}
    if good:
        numbers[f"{stem}_mean"] = round(float(np.mean(good)), 3)
    if len(good) > 1:
        numbers[f"{stem}_std"] = round(float(np.std(good, ddof=1)), 3)
    if (published := _number(notes.get("published"))) is not None:
        numbers["published"] = published
        if good:
            numbers["delta_pp" if stem == "acc" else "delta"] = round(float(np.mean(good)) - published, 3)
    return numbers


def shared_params(records: Sequence[RunRecord]) -> dict[str, str]:
    """Return the params that all runs of an experiment share, so that experiments compare as runs do."""
    each = [params(RunInfo.of(record)).items() for record in records]
    return {k: v for k, v in each[0] if k not in ("seed", "fold") and all((k, v) in other for other in each)}


def mean_finals(records: Sequence[RunRecord]) -> Iterator[tuple[str, float]]:
    """Yield `final/<protocol>/<metric>` and its mean, for what every run measured; the keys are the runs' own."""
    for protocol in sorted(set.intersection(*(set(r.finals) for r in records))):
        for metric in sorted(set.intersection(*(set(r.finals[protocol]) for r in records))):
            lost = metric == "acc_pct" and any(r.lost(protocol) for r in records)
            values = [None if lost else r.finals[protocol][metric] for r in records]
            sound = [value for value in values if value is not None and math.isfinite(value)]
            if len(sound) == len(values):
                decimals = 3 if metric.endswith("_pct") else 4
                yield f"final/{protocol}/{metric}", round(float(np.mean(sound)), decimals)


def parent_tags(report: str, experiment: str, notes: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of an experiment's parent run."""
    found = {
        "repro.kind": "experiment", "repro.report": report, "repro.experiment": experiment,
        "repro.published": line(notes.get("published") or ""), "repro.protocol": line(notes.get("protocol") or ""),
        "repro.place": experiment,
        "mlflow.source.name": "repro", "mlflow.source.type": "JOB",
        "mlflow.note.content": published_sentence(report, experiment, notes),
    }  # fmt: skip
    return {key: value for key, value in found.items() if value}


def _number(published: Any) -> float | None:
    match = re.search(r"-?\d+(?:\.\d+)?", str(published or "").replace(",", ""))
    return float(match[0]) if match else None
