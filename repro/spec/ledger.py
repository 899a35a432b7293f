"""The ledger: a hash for each claim as it was declared, so that a claim changed after a run can be told apart.

A record stores the ledger's id, and `reports/ledger/<id>.json` maps each claim to its hash. Only what can move a
verdict is hashed: where a number stands, notes and headline marks are prose and may be mended later.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from repro import record
from repro.errors import UserError
from repro.spec.identity import canonical, folds_of
from repro.spec.schema import Claim, MeasuredClaim, Report

#: version of the judging rules; raised when a rule changes so that a verdict could
RULES = 2

_HASHED = (
    "id", "kind", "quantity", "value", "decimals", "rounding", "metric", "protocol", "epoch", "experiment", "n", "runs",
    "margin", "fold", "layer", "channel", "higher", "lower", "gap", "experiments", "direction", "faster", "slower",
    "curve", "shorter", "longer", "ratio", "narrower", "wider", "epochs", "values", "digitising", "matrix",
    "indicators", "primary", "factor", "digitising_first",
)  # fmt: skip


def rules_of(claim: Claim, report: Report) -> int:
    """Return the version of the rules that last changed how this claim is judged (docs/verdicts.md lists them)."""
    if claim.kind in ("order", "trend", "convergence", "band", "trajectory", "confusion"):
        return 2
    if not isinstance(claim, MeasuredClaim) or claim.experiment is None:
        return 1
    if claim.fold is None and len(folds_of(report.experiments[claim.experiment].recipe)) > 1:
        return 2
    return 2 if claim.metric == "acc_pct" and claim.protocol in ("val", "val_augmented", "batch_mean") else 1


def canonical_claim(claim: Claim, rules: int = 1) -> str:
    """Return the one JSON text of what decides a claim's verdict; values that are not given are left out."""
    values: dict[str, Any] = {key: getattr(claim, key, None) for key in _HASHED}
    return canonical({"rules": rules} | {key: value for key, value in values.items() if value is not None})


def digest(claim: Claim, rules: int) -> str:
    """Return the sha256 (64 hex digits) of a claim as one version of the rules judges it."""
    return hashlib.sha256(canonical_claim(claim, rules).encode()).hexdigest()


def claims(reports: Iterable[Report]) -> dict[str, str]:
    """Return {"report/claim": sha256 hex of the canonical claim} of some reports, in their order."""
    return {
        f"{report.id}/{claim.id}": digest(claim, rules_of(claim, report))
        for report in reports
        for claim in report.claims
    }


def ledger_id(mapping: Mapping[str, str]) -> str:
    """Return the 12 hex digits that name a ledger, independent of the order of its claims."""
    return hashlib.sha256(canonical(dict(mapping)).encode()).hexdigest()[:12]


def write(reports: Iterable[Report], folder: Path) -> str:
    """Write `<id>.json` into the folder unless it is already there; return the id."""
    mapping = claims(reports)
    name = ledger_id(mapping)
    path = folder / f"{name}.json"
    if not path.exists():
        record.write_atomically(path, (json.dumps(mapping, sort_keys=True, indent=2) + "\n").encode())
    return name


def read(folder: Path) -> dict[str, dict[str, str]]:
    """Return every ledger of a folder by id; raises UserError for a file whose content is not what its name says."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            mapping = json.loads(path.read_bytes())
            matches = ledger_id(mapping) == path.stem
        except (ValueError, TypeError, AttributeError):
            matches = False
        if not matches:
            raise UserError(f"{path}: its content is not the ledger its name says; restore it from version control")
        found[path.stem] = mapping
    return found
