"""Runs, claims and curves as pandas frames; `repro.load` is their door and names the columns."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from repro.errors import UserError
from repro.judge import timings
from repro.judge.records import of_profile
from repro.record import RunRecord
from repro.report import data, evidence, tables, withdrawn
from repro.spec import ledger
from repro.spec.identity import PROFILES
from repro.spec.loading import load_all
from repro.spec.schema import Report

if TYPE_CHECKING:
    import pandas

Home = str | os.PathLike[str] | Literal[False] | None

_TEXT = {"withdrawn", *data.RUN_COLUMNS, *data.CLAIM_COLUMNS}  # what is not named below; further columns are metrics
_DTYPES = {
    **dict.fromkeys(("seed", "fold", "epochs", "epoch", "n", "decimals"), "Int64"),
    **dict.fromkeys(("shared", "used", "headline", "provisional"), "bool"),
    **dict.fromkeys(("seconds", "images_per_s", "energy_j"), "float64"),
    **dict.fromkeys(("published", "reference", "ours", "sd", "difference"), "float64"),
    **dict.fromkeys(["low", "high", "margin", "s_star", "agreement", "q", "swing"], "float64"),
    "dirty": "boolean",
}


class Results(NamedTuple):
    """Three pandas frames: a row a run, a row a claim, a row an epoch of a curve."""

    runs: "pandas.DataFrame"
    claims: "pandas.DataFrame"
    curves: "pandas.DataFrame"


def load(reports_dir: Path, home: Home = None, profile: str = "full") -> Results:
    """Read specs, evidence and this machine's records; raises UserError for a folder or profile that is not there."""
    if profile not in PROFILES:
        raise UserError(f"profile {profile!r}: no such profile; choose one of {', '.join(PROFILES)}")
    if not reports_dir.is_dir():
        raise UserError(f"{reports_dir}: no such folder of evidence; run from the repository or name its reports/")
    place = _home(home)
    reports = load_all()
    found = evidence.committed(reports_dir) if place is None else evidence.read(place, reports_dir)
    records, gone = of_profile(found, profile), withdrawn.listed(evidence.struck(place, reports_dir), profile)
    rows = tables.rows(reports, records, ledger.read(reports_dir / "ledger"), profile, timings.read(reports_dir))
    runs = data.run_rows(reports, records, profile, gone)
    return Results(
        runs=frame(runs, data.run_columns(runs)),
        claims=frame(data.claim_rows(rows), data.CLAIM_COLUMNS),
        curves=curves(reports, records, profile),
    )


def _home(home: Home) -> Path | None:
    """Return the state folder asked for, None for none."""
    if home is False:
        return None
    if home is not None and not Path(home).is_dir():
        raise UserError(f"{home}: no such state folder; give the one REPRO_HOME named, or home=False for none")
    return Path(home or os.environ.get("REPRO_HOME") or ".repro")


def frame(rows: data.Rows, columns: Sequence[str]) -> "pandas.DataFrame":
    """Return rows as a frame: text as `string`, whole numbers as `Int64`, `started` in UTC, metrics as floats."""
    import pandas

    dtypes = {name: _DTYPES.get(name, "string" if name in _TEXT else "float64") for name in columns}
    found = pandas.DataFrame({
        name: pandas.Series([row.get(name) for row in rows], dtype=dtype) for name, dtype in dtypes.items()
    })  # fmt: skip
    if "started" in found:
        started = pandas.to_datetime(found["started"], format="ISO8601", errors="coerce", utc=True)
        found["started"] = started.dt.as_unit("s")
    return found


def curves(reports: Mapping[str, Report], records: Iterable[RunRecord], profile: str = "full") -> "pandas.DataFrame":
    """Return every curve that has a value an epoch, in long form; the losses of single steps stay in the records."""
    heads: data.Rows = []
    values: list[np.ndarray] = []
    for record, head in data.heads(reports, records, profile):
        for name, curve in sorted(record.curves.items()):
            if not name.startswith("step/"):
                heads.append(head | {"metric": name})
                values.append(np.asarray(curve, np.float64))
    lengths = [len(curve) for curve in values]
    found = frame(heads, (*data.HEAD_COLUMNS, "metric")).iloc[np.repeat(np.arange(len(heads)), lengths)]
    found = found.reset_index(drop=True)
    found["epoch"] = np.concatenate([np.arange(1, n + 1) for n in (0, *lengths)]).astype("int64")
    found["value"] = np.concatenate([np.empty(0), *values])
    return found
