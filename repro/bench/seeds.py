"""What `bench accuracy` keeps: each seed's two accuracies, a row for each experiment, settings and machine."""

import json
from collections.abc import Iterable, Mapping, Sequence
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev, variance
from typing import Any

from repro.errors import UserError
from repro.judge.statistics import Interval, interval
from repro.record import write_atomically

BENCHMARK, SCHEMA = "accuracy", 1
#: seeds below which nothing is said about a difference
LEAST = 3
#: percent; where neither mean is above it, twice what guessing gets, nothing is said either
LEARNT = 20.0
#: what has to be equal for two seeds to stand in one row; the commit may differ, its numerics are part of the settings
MACHINE = ("device", "driver", "torch", "cuda", "python")

Row = dict[str, Any]


def welch(ours: Sequence[float], theirs: Sequence[float]) -> Interval:
    """Return the difference of two means with Welch's standard error and degrees of freedom (Welch 1947).

    For two values or more on each side, which are taken to be independent.
    """
    parts = [(variance(values) / len(values), len(values) - 1) for values in (ours, theirs)]
    total = sum(part for part, _ in parts)
    # Without any spread the weights of the two sides are 0 over 0.
    nu = total**2 / sum(part**2 / df for part, df in parts) if total else float(sum(df for _, df in parts))
    return interval(fmean(ours) - fmean(theirs), sqrt(total), nu)


def summary(seeds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what follows from some seeds, in percent and points.

    `within`: whether the means differ by at most two standard errors; None of fewer than three seeds, and where neither
    arm has `learnt`. `paired_se`: the standard error where the two accuracies of a seed are taken as a pair.
    """
    ours, plain = ([float(seed[name]) for seed in seeds] for name in ("ours", "plain"))
    learnt = max(fmean(ours), fmean(plain)) > LEARNT
    means = {"n": len(seeds), "ours": fmean(ours), "plain": fmean(plain), "difference": fmean(ours) - fmean(plain),
             "learnt": learnt}  # fmt: skip
    if len(seeds) < 2:
        rest = ("ours_sd", "plain_sd", "se", "nu", "low95", "high95", "paired_se", "within")
        return means | dict.fromkeys(rest)
    found = welch(ours, plain)
    gaps = [a - b for a, b in zip(ours, plain, strict=True)]
    return means | {
        "ours_sd": stdev(ours), "plain_sd": stdev(plain), "se": found.se, "nu": found.nu, "low95": found.low95,
        "high95": found.high95, "paired_se": stdev(gaps) / sqrt(len(gaps)),
        "within": abs(found.d) <= 2 * found.se if learnt and len(seeds) >= LEAST else None,
    }  # fmt: skip


def document(rows: Iterable[Row]) -> dict[str, Any]:
    """Return a file's content, rows sorted by experiment and date."""
    ordered = sorted(rows, key=lambda row: (row["experiment"], row["date"]))
    return {"benchmark": BENCHMARK, "schema": SCHEMA, "rows": ordered}


def read(path: Path) -> list[Row]:
    """Return the rows of a file, none where there is no file; raises UserError for a file of something else."""
    mend = "expected what `repro bench accuracy` writes; name another place, or delete the file"
    try:
        plain = json.loads(path.read_bytes())
        if (plain["benchmark"], plain["schema"]) != (BENCHMARK, SCHEMA):
            raise UserError(f"{path}: is of benchmark {plain['benchmark']}, schema {plain['schema']}; {mend}")
        rows: list[Row] = plain["rows"]
        for row in rows:
            row["experiment"], row["settings"], row["machine"]["device"], row["date"], summary(row["seeds"])
            [(int(seed["seed"]), float(seed["seconds"])) for seed in row["seeds"]]
        return rows
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: {type(error).__name__} {error}; {mend}") from None


def same(one: Row, other: Row) -> bool:
    """Whether two rows are of one experiment, trained in the same way on the same machine."""
    alike = one["experiment"] == other["experiment"] and one["settings"] == other["settings"]
    return alike and all(one["machine"].get(key) == other["machine"].get(key) for key in MACHINE)


def extended(row: Row, more: Iterable[Mapping[str, Any]]) -> Row:
    """Return a row with more seeds, in their order, and what follows; of a seed that is there twice the first stays."""
    each = {seed["seed"]: seed for seed in (*reversed([*more]), *row["seeds"])}
    seeds = [each[number] for number in sorted(each)]
    return row | {"seeds": seeds, "summary": summary(seeds)}


def enter(path: Path, row: Row) -> None:
    """Write a row into a file; its other rows stay, and so do seeds that another process has added meanwhile."""
    rows = read(path)
    before = [seed for other in rows if same(other, row) for seed in other["seeds"]]
    kept = [other for other in rows if not same(other, row)]
    content = json.dumps(document([*kept, extended(row, before)]), indent=1)
    write_atomically(path, f"{content}\n".encode())
