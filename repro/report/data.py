"""Runs and claims as plain rows and as CSV: what the pages show, to compute with. No pandas, so that pages render fast.

A run that answers for several experiments has a row an experiment.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from repro.judge.claims import Row
from repro.judge.records import Pool
from repro.judge.records import number as finite
from repro.record import RunRecord
from repro.report.markdown import one_line
from repro.report.protocols import protocol_place
from repro.spec.answerable import metrics_of
from repro.spec.identity import sharing
from repro.spec.schema import PROTOCOLS, Report
from repro.spec.withdrawn import Struck

Rows = list[dict[str, Any]]

HEAD_COLUMNS = ("report", "experiment", "shared", "seed", "fold", "used", "run_key")
RUN_COLUMNS = (
    *HEAD_COLUMNS, "profile", "state", "epochs", "started", "seconds", "images_per_s", "energy_j", "device", "torch",
    "commit", "dirty", "env_class", "ledger",
)  # fmt: skip
CLAIM_COLUMNS = (
    "report", "claim", "kind", "headline", "experiment", "protocol", "epoch", "metric", "published", "decimals",
    "rounding", "reference", "ours", "sd", "difference", "n", "provisional", "declared", "state", "reason", "where",
    "note", "verdict", "low", "high", "margin", "s_star", "agreement", "q", "swing", "at_swing", "why",
)  # fmt: skip
#: columns that are fields of a row's verdict
_JUDGED = {"verdict": "word"} | {
    key: key for key in ("low", "high", "margin", "s_star", "agreement", "q", "swing", "at_swing", "why")
}
_METRICS = metrics_of("last")
_FINALS = {f"{protocol}/{metric}" for protocol in PROTOCOLS for metric in metrics_of(protocol)}


def heads(
    reports: Mapping[str, Report], records: Iterable[RunRecord], profile: str
) -> Iterator[tuple[RunRecord, dict[str, Any]]]:
    """Yield each record, once an experiment that it answers for, with what names it there.

    `shared`: the experiment is not the first of them. `used`: the record enters the means of the profile's pages.
    """
    records = list(records)
    known, used = _sharing(reports), _used(reports, records, profile)
    for record in records:
        names = known.get((record.report, record.recipe_hash), [str(name) for name in record.experiments])
        for place, name in enumerate(names):
            values = (record.report, name, place > 0, record.seed, record.fold, id(record) in used, record.run_key)
            yield record, dict(zip(HEAD_COLUMNS, values, strict=True))


def _sharing(reports: Mapping[str, Report]) -> dict[tuple[str, str], list[str]]:
    groups = [(report.id, sha, group) for report in reports.values() for sha, group in sharing(report).items()]
    return {(name, sha): [experiment.id for experiment in group] for name, sha, group in groups}


def _used(reports: Mapping[str, Report], records: Sequence[RunRecord], profile: str) -> set[int]:
    pools = [Pool(report, records, {}, profile) for report in reports.values()]
    return {id(r) for pool in pools for name in pool.report.experiments for r in pool.chosen(name)}


def run_rows(
    reports: Mapping[str, Report], records: Iterable[RunRecord], profile: str = "full", struck: Iterable[Struck] = ()
) -> Rows:
    """Return the rows of runs in the records' order; a metric that is not finite is left out.

    Withdrawn records come last, unused, with a column `withdrawn` that no table without them has: why.
    """
    rows = [head | _run(record) | _finals(record) for record, head in heads(reports, records, profile)]
    for gone, entry in struck:
        for record, head in heads(reports, [gone], profile):
            rows.append(head | {"used": False, "withdrawn": entry.why} | _run(record) | _finals(record))
    return rows


def _run(record: RunRecord) -> dict[str, Any]:
    env = {key: record.env.get(key) for key in ("device", "torch", "commit")}
    dirty = record.env.get("dirty")
    return {
        "profile": record.profile, "state": record.state, "epochs": record.epochs_done, "started": record.started,
        "seconds": finite(record.seconds), "images_per_s": finite(record.images_per_s),
        "energy_j": finite(record.energy_j), "env_class": record.env_class, "ledger": record.ledger or None,
        "dirty": dirty if isinstance(dirty, bool) else None,
        **{key: None if value is None else str(value) for key, value in env.items()},
    }  # fmt: skip


def _finals(record: RunRecord) -> dict[str, float]:
    every = ((p, m, finite(value)) for p, final in record.finals.items() for m, value in final.items())
    lost = {protocol for protocol in record.finals if record.lost(protocol)}
    return {f"{p}/{m}": v for p, m, v in every if v is not None and not (m == "acc_pct" and p in lost)}


def run_columns(rows: Rows) -> tuple[str, ...]:
    """Return the columns of runs: the fixed ones, then `protocol/metric` in the schema's order, measured or not."""

    def place(name: str) -> tuple[Any, ...]:
        protocol, _, metric = name.rpartition("/")
        return protocol_place(protocol), _METRICS.index(metric) if metric in _METRICS else len(_METRICS), metric

    fixed = (*RUN_COLUMNS, *(("withdrawn",) if any("withdrawn" in row for row in rows) else ()))
    return (*fixed, *sorted({*_FINALS}.union(*rows) - set(fixed), key=place))


def claim_rows(rows: Sequence[Row]) -> Rows:
    """Return judged rows as plain values, None where there is nothing; `experiment` may be several, with blanks."""
    own = [key for key in CLAIM_COLUMNS if key not in _JUDGED]
    plain = [{key: None if (value := getattr(row, key)) == "" else value for key in own} for row in rows]
    for values, row in zip(plain, rows, strict=True):
        found = {key: getattr(row.verdict, name, None) for key, name in _JUDGED.items()}
        values |= {key: None if value == "" else value for key, value in found.items()}
        if row.experiments:
            values["experiment"] = " ".join(row.experiments)
    return plain


def csv_bytes(rows: Rows, columns: Sequence[str]) -> bytes:
    """Return rows as CSV in UTF-8: empty where missing, true and false, floats in the shortest form that is exact."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([_cell(name) for name in columns])
    writer.writerows([_cell(row.get(name)) for name in columns] for row in rows)
    return text.getvalue().encode()


_line = lru_cache(maxsize=4096)(one_line)  # most texts stand in every run's row


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    text = _line(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text  # a spreadsheet would compute it
