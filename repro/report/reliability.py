"""The page of the suite's reliability: what became of the trials that break it, promise by promise."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repro.errors import UserError
from repro.report.markdown import Md, escape, join, md, number, plural, table

SCHEMA = 1
_HEAD = """# Reliability

What the suite promises where processes are killed, disks are full, servers go away and files are damaged, and how
often that held when it was tried. `docs/reliability.md` says how it is tried. This page is generated from
`reliability.json`, which `make test-faults SAVE=1` writes; edits here are overwritten."""
_WANTED = "expected what `make test-faults SAVE=1` writes; delete the file and make it again"
_VERSIONS = {"torch": "torch", "mlflow": "MLflow", "sqlite": "SQLite", "python": "Python"}


def gather(lines: list[Mapping[str, Any]], machine: Mapping[str, Any], date: str) -> dict[str, Any]:
    """Return the figures of a log of trials, promises in the order in which they were first tried.

    Each line has promise, trial, held, seconds, effort and detail, a mapping of whatever is worth telling.
    """
    promises: dict[str, dict[str, Any]] = {}
    for line in lines:
        row = promises.setdefault(
            line["promise"], {"promise": line["promise"], "trials": 0, "held": 0, "seconds": 0.0, "broken": []}
        )
        row["trials"] += 1
        row["held"] += bool(line["held"])
        row["seconds"] = round(row["seconds"] + line["seconds"], 2)
        if not line["held"]:
            row["broken"].append({"trial": line["trial"], "detail": line["detail"]})
        if cases := line["detail"].get("cases"):
            fuzzed = {"trial": line["trial"], "cases": cases, "seconds": line["seconds"]}
            row.setdefault("fuzzed", []).append(fuzzed)
    efforts = sorted({str(line["effort"]) for line in lines})
    return {
        "schema": SCHEMA, "date": date, "efforts": efforts, "machine": dict(machine),
        "promises": list(promises.values()),
    }  # fmt: skip


def page(path: Path) -> str | None:
    """Return the page of a file of figures, None where there is none; raises UserError for anything else."""
    if not path.exists():
        return None
    try:
        plain = json.loads(path.read_bytes())
        if plain["schema"] != SCHEMA:
            raise UserError(f"{path}: schema {plain['schema']}, known here is {SCHEMA}; {_WANTED}")
        return "\n\n".join(_parts(plain)) + "\n"
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {_WANTED}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: {type(error).__name__} {error}; {_WANTED}") from None


def _parts(plain: Mapping[str, Any]) -> list[str]:
    rows = plain["promises"]
    parts = [_HEAD, _machine(plain), table(["Promise", "Trials", "Held"], "lrr", [_row(row) for row in rows])]
    fuzzed = [one for row in rows for one in row.get("fuzzed", [])]
    if fuzzed:
        parts.append("Among these trials are those of fuzzing, which try foreign files changed at random:")
        cells = [[one["trial"], number(one["cases"]), number(one["seconds"])] for one in fuzzed]
        parts.append(table(["Fuzzed", "Cases", "Seconds"], "lrr", cells))
    broken = [md("{} ({})", row["promise"], str(one["trial"])) for row in rows for one in row["broken"]]
    if broken:
        parts.append(md("**Did not hold**: {}.", join(broken, "; ")))
    else:
        parts.append(f"All {plural(sum(row['trials'] for row in rows), 'trial')} held.")
    return parts


def _row(row: Mapping[str, Any]) -> list[Any]:
    held = number(row["held"]) if row["held"] == row["trials"] else Md(f"**{row['held']:,}**")
    return [row["promise"], number(row["trials"]), held]


def _machine(plain: Mapping[str, Any]) -> Md:
    machine = plain["machine"]
    versions = [f"{shown} {machine[key]}" for key, shown in _VERSIONS.items() if machine.get(key)]
    changed = " with changed files" if machine.get("dirty") else ""
    parts = [str(machine["device"]), str(machine.get("system", "")), *versions]
    parts += [f"commit {str(machine.get('commit', 'unknown'))[:12]}{changed}", str(plain["date"])[:10]]
    return Md(
        f"Tried on {escape(', '.join(part for part in parts if part))}; effort: {escape(', '.join(plain['efforts']))}."
    )
