"""Every verdict as one JSON file: what was claimed, what our runs gave, what the rules say, and which runs.

The same specs and records give the same bytes: keys are sorted, a claim has a line, and nothing is dated.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from math import isfinite
from typing import Any

from repro.judge.claims import Row
from repro.judge.label import label
from repro.judge.ladder import Step, ladders
from repro.judge.records import Pool
from repro.judge.rows import Verdict
from repro.record import RunRecord
from repro.report import withdrawn
from repro.report.values import EXACT
from repro.spec import ledger
from repro.spec.claims import experiments_of
from repro.spec.schema import Claim, Report
from repro.spec.withdrawn import Struck

SCHEMA = 1
#: significant digits of what runs gave; printed numbers, and what arithmetic gives, stay as they are
DIGITS = 6


def verdicts_json(
    reports: Mapping[str, Report], rows: Sequence[Row], records: Iterable[RunRecord], struck: Sequence[Struck] = ()
) -> bytes:
    """Return the verdicts of some reports as JSON; `rows` are all of theirs, `records` those that the rows rest on.

    A report with withdrawn records (`struck`) names them under `withdrawn`.
    """
    records = list(records)
    blocks = [_report(report, [row for row in rows if row.report == name], records, withdrawn.plain(name, struck))
              for name, report in sorted(reports.items())]  # fmt: skip
    text = ",\n".join(blocks)
    return f'{{\n"reports": {{\n{text}\n}},\n"rules": {ledger.RULES},\n"schema": {SCHEMA}\n}}\n'.encode()


def _report(report: Report, rows: Sequence[Row], records: Sequence[RunRecord], gone: Sequence[dict[str, Any]]) -> str:
    claims = {claim.id: claim for claim in report.claims}
    pool = Pool(report, records, {}, "full")
    steps = {row.claim: ladder.steps for ladder in ladders(report, rows) for row in ladder.rows}
    lines = [_json(_claim(row, _runs(pool, claims.get(row.claim))) | _evidence(steps[row.claim])) for row in rows]
    said = ",\n".join(lines)
    more = f', "withdrawn": {_json(gone)}' if gone else ""
    return f'{_json(report.id)}: {{"claims": [\n{said}\n], "label": {_json(asdict(label(rows)))}{more}}}'


def _runs(pool: Pool, claim: Claim | None) -> list[RunRecord]:
    """Return the full-protocol runs of a claim's experiments, each once; those of a fold where it asks one."""
    names = experiments_of(claim) if claim is not None and claim.kind not in ("count", "time") else ()
    fold = getattr(claim, "fold", None)
    found = {r.run_key: r for name in names for r in pool.chosen(name) if fold is None or r.fold == fold}
    return list(found.values())


def _claim(row: Row, runs: Sequence[RunRecord]) -> dict[str, Any]:
    verdict = row.verdict or Verdict("not judged")
    return {
        "id": row.claim, "kind": row.kind, "headline": row.headline, "published": row.published,
        "ours": row.ours if row.kind in EXACT else _round(row.ours), "n": row.n, "state": row.state,
        "runs": [record.run_key for record in runs],
        "environments": sorted({record.env_class for record in runs}),
        "verdict": {field.name: _round(getattr(verdict, field.name)) for field in fields(Verdict)},
    }  # fmt: skip


def _evidence(steps: Iterable[Step]) -> dict[str, Any]:
    """Return what each source says of the claim's number; `agrees`: whether it prints as the published one."""
    return {"evidence": [{"source": s.source, "value": s.value, "agrees": s.agrees, "says": s.says} for s in steps]}


def _round(value: Any) -> Any:
    """Return a number at `DIGITS` significant digits, None for one that is not finite; all else as it is."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if isfinite(value) else None
    return value


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False)
