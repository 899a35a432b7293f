"""Where runs were made, what they cost, and which repeat others: tables of a report's page."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from statistics import median
from typing import Any, TypeVar

from repro.judge.records import number as finite
from repro.record import Difference, RunRecord, drift
from repro.report.figures import Arm
from repro.report.markdown import Md, code, join, md, number, plural, signed, table
from repro.report.values import figure
from repro.spec import throughput

#: of an experiment with more runs than this, a page shows the first few one by one, and then all or the rest together
MOST, FIRST = 15, 3
#: how many runs that drifted are named in a sentence
NAMED = 5
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
    """The distinct environments, machine and versions, lettered."""
    keys = ("device", "driver", "torch", "cuda", "python", "commit", "dirty")
    rows = [
        [letter, *(_version(key, dict(env).get(key, "")) for key in keys), env_class]
        for (env_class, env), letter in _letters(records).items()
    ]
    head = ["Environment", "Device", "Driver", "torch", "CUDA", "Python", "Commit", "Changed files", "Class"]
    return table(head, "l" * len(head), rows)


def precision_note(records: Sequence[RunRecord]) -> str:
    """Explain the classes of machines; say how many of the runs compute in bfloat16, and what of them."""
    said = "Class: device, precision, whether sums are taken in one order (deterministic) or not (relaxed), version of "
    said += "the suite's numerics. fp32: all in float32, PyTorch's default."
    half = sum("-bf16-" in record.env_class for record in records)
    if not half:
        return said
    said += (
        f" bf16 ({half} of {plural(len(records), 'record')}): forward and backward passes in bfloat16 by autocast, in "
    )
    return said + "tests as well; weights, their updates and losses in float32."


def precision_deviation(records: Sequence[RunRecord]) -> list[list[str]]:
    """Return a line beside the deviations that a report's file names: how many of its runs compute in bfloat16."""
    half = sum("-bf16-" in record.env_class for record in records)
    if not half:
        return []
    return [[
        "No precision is named; PyTorch computes in float32 by default.",
        f"Forward and backward passes and tests in bfloat16 in {half} of {plural(len(records), 'run')}; weights, their "
        "updates and losses in float32.",
        "Speed; `--precision fp32` computes all in float32.",
        "Not measured over whole trainings.",
    ]]  # fmt: skip


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
    head = ["Experiment", "Run", "State", "Environment", "Hours", "Images/s", "TFLOP/s", "kWh", "Resumed", "Run key"]
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
        for r, like in _repeats(arm):
            mine, theirs = (finite(x.value("last", "acc_pct")) for x in (r, counted[r.run_key]))
            gap = None if mine is None or theirs is None else mine - theirs
            said = "other class" if like is None else "**yes**" if drift(like, r) else "no"
            rows.append([code(arm.name), seed_of(r), code(r.run_key), r.env.get("device"), r.env_class, r.started,
                         figure(mine, "acc_pct"), signed(gap, 2), Md(said)])  # fmt: skip
    head = ["Experiment", "Run", "Run key", "Device", "Class", "Started", "Last", "To the counted one", "Drift"]
    return table(head, "llllllrrc", rows) if rows else ""


def _repeats(arm: Arm) -> Iterator[tuple[RunRecord, RunRecord | None]]:
    """Yield each replicate with the first record of its key and class, None where it is that itself."""
    firsts = {(record.run_key, record.env_class): record for record in arm.chosen}
    for record in arm.replicates:
        like = firsts.setdefault((record.run_key, record.env_class), record)
        yield record, None if like is record else like


def drifted(arms: Iterable[Arm]) -> Md | str:
    """Say which runs gave other final numbers when the same class of machine made them again; nothing where none did.

    A replicate that drifted is named with what it ended at, the first record of its key and class before it.
    """
    keys, said = set(), []
    for arm in arms:
        for record, like in _repeats(arm):
            if like is not None and (gaps := drift(like, record)):
                keys.add(record.run_key)
                said.append(md("{} {}, {}: {}", code(arm.name), seed_of(record), record.env_class, different(gaps)))
    if not said:
        return ""
    rest = f"; {len(said) - NAMED} more" if len(said) > NAMED else ""
    return md(
        "**{} drifted**: the same class of machine gave other final numbers. {}{}. See *Replicates* below.",
        plural(len(keys), "run"), join(said[:NAMED], "; "), rest,
    )  # fmt: skip


def different(gaps: Sequence[Difference]) -> str:
    """Name the first number that differs with both values: `last/acc_pct 90.0 and 89.5, 3 more numbers`."""
    shown = f"{gaps[0].name} {gaps[0].one} and {gaps[0].other}"
    return shown + (f", {plural(len(gaps) - 1, 'more number')}" if len(gaps) > 1 else "")
