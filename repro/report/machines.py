"""Where runs were made, what they cost, and which repeat others: tables of a report's page."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from statistics import median
from typing import Any, TypeVar

from repro.judge.records import number as finite
from repro.record import RunRecord
from repro.report.figures import Arm
from repro.report.markdown import Md, code, number, signed, table
from repro.report.values import figure
from repro.spec import throughput

#: of an experiment with more runs than this, a page shows the first few one by one, and then all or the rest together
MOST, FIRST = 15, 3
_T = TypeVar("_T")
_Environment = tuple[str, tuple[tuple[str, str], ...]]
_Lettered = dict[_Environment, str]


def first(runs: Sequence[_T]) -> Sequence[_T]:
    """Return the runs of an experiment that a page shows one by one."""
    return runs if len(runs) <= MOST else runs[:FIRST]


def seed_of(record: RunRecord) -> str:
    """`seed 0`, with the fold where the run is one of several."""
    return f"seed {int(record.seed)}" + ("" if record.fold is None else f", fold {int(record.fold)}")


def environments_table(records: list[RunRecord]) -> Md:
    """The distinct machines and versions, lettered."""
    keys = ("device", "driver", "torch", "cuda", "python", "commit", "dirty")
    rows = [
        [letter, *(_version(key, dict(env).get(key, "")) for key in keys), env_class]
        for (env_class, env), letter in _letters(records).items()
    ]
    return table(
        ["Machine", "Device", "Driver", "torch", "CUDA", "Python", "Commit", "Changed files", "Class"], "l" * 9, rows
    )


def _version(key: str, value: str) -> str:
    short = value[:12] if key == "commit" else value[:80]
    return {"True": "yes", "False": "no", "None": ""}.get(value, short)


def _environment(record: RunRecord) -> _Environment:
    return record.env_class, tuple(sorted((str(key), str(value)) for key, value in record.env.items() if key != "diff"))


def _letters(records: list[RunRecord]) -> _Lettered:
    distinct = sorted({_environment(record) for record in records})
    return {env: f"E{i}" for i, env in enumerate(distinct, 1)}


def cost_table(runs: list[tuple[Arm, RunRecord]]) -> Md:
    """What each run cost, and the file that holds its record; of many runs of an experiment the later ones together."""
    letters = _letters([record for _, record in runs])
    rows = []
    for _, group in groupby(runs, key=lambda run: id(run[0])):
        own = list(group)
        shown = first(own)
        an_image = throughput.operations(own[0][1])  # its runs have one recipe
        rows += [_cost(arm, record, letters, an_image) for arm, record in shown]
        if rest := [record for _, record in own[len(shown) :]]:
            rows.append(_cost_together(own[0][0], rest, letters, an_image))
    head = ["Experiment", "Run", "State", "Machine", "Hours", "Images/s", "TFLOP/s", "kWh", "Resumed", "Run key"]
    return table([*head, "Record"], "lllcrrrrrll", rows)


def _cost(arm: Arm, r: RunRecord, letters: _Lettered, an_image: int | None) -> list[Any]:
    energy, speed = finite(r.energy_j), finite(r.images_per_s)
    return [
        code(arm.name), seed_of(r), r.state, letters[_environment(r)],
        number((finite(r.seconds) or 0) / 3600, 2), number(speed), number(throughput.tflops(an_image, speed), 2),
        number(energy / 3.6e6, 2) if energy is not None else "", len(r.resumed) or "",
        code(r.run_key), code(r.file_name),
    ]  # fmt: skip


def _cost_together(arm: Arm, rest: Sequence[RunRecord], letters: _Lettered, an_image: int | None) -> list[Any]:
    """Return one line of many runs: hours, energy and resumptions are sums, the rates medians."""
    energies, speeds = _finite(r.energy_j for r in rest), _finite(r.images_per_s for r in rest)
    speed = median(speeds) if speeds else None
    states = Counter(r.state for r in rest)
    return [
        code(arm.name), f"{len(rest)} further runs", ", ".join(f"{n} {state}" for state, n in sorted(states.items())),
        ", ".join(sorted({letters[_environment(r)] for r in rest})),
        number(sum(_finite(r.seconds for r in rest)) / 3600, 2),
        number(speed), number(throughput.tflops(an_image, speed), 2),
        number(sum(energies) / 3.6e6, 2) if energies else "", sum(len(r.resumed) for r in rest) or "",
        "", code("runs.csv"),
    ]  # fmt: skip


def _finite(values: Iterable[Any]) -> list[float]:
    return [found for value in values if (found := finite(value)) is not None]


def replicates_table(arms: list[Arm]) -> Md | str:
    """Further records of a run key: they do not enter a mean, but show whether a repetition agrees."""
    rows = []
    for arm in arms:
        counted = {record.run_key: record for record in arm.chosen}
        for r in arm.replicates:
            first = counted[r.run_key]
            mine, theirs = (finite(x.value("last", "acc_pct")) for x in (r, first))
            gap = None if mine is None or theirs is None else mine - theirs
            same_place = r.env_class == first.env_class
            drift = ("no" if _measured(r) == _measured(first) else "**yes**") if same_place else "other class"
            rows.append([code(arm.name), seed_of(r), code(r.run_key), r.env.get("device"), r.env_class, r.started,
                         figure(mine, "acc_pct"), signed(gap, 2), Md(drift)])  # fmt: skip
    head = ["Experiment", "Run", "Run key", "Device", "Class", "Started", "Last", "To the counted one", "Drift"]
    return table(head, "llllllrrc", rows) if rows else ""


def _measured(record: RunRecord) -> dict[str, dict[str, str]]:
    # The official order is known or not; that is no property of the training. NaN equals NaN here.
    return {
        protocol: {metric: str(value) for metric, value in final.items() if metric != "official_pct"}
        for protocol, final in record.finals.items()
    }
