"""The section of what the suite costs at scale: many runs on many workers, and many runs in MLflow."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from repro.report.markdown import DASH, Md, code, md, number, plural, table
from repro.report.speed_parts import machine, met

_EXECUTOR = """The executor that makes runs in several processes, with real jobs, messages, locks, journals and records;
only the training is a fixed wait. *Overhead a run*: what a worker spends outside trainings, from when all workers are
ready. *In the run*: journal, record and other files, beyond the wait. *Efficiency*: one worker's seconds over all
workers' seconds for the same runs, counted from when all are ready; the target is for this. The last column includes
the processes' start and end."""
_MLFLOW = """Made-up records are brought into an empty SQLite store one after the other, without pictures, and lie as
evidence in a folder of reports. Then MLflow is asked, with its store open, and commands are called, from the start of
their process to its end, all in processes of their own. No network was trained for any record; none is kept."""
_LEFT_OUT = "MLflow with many runs: not measured."


def section(plain: Mapping[str, Any], name: str) -> Iterator[str]:
    """Yield the paragraphs of a file of `repro bench scale`, called `name`."""
    yield md("## At scale ({})", code(name))
    found = plain["machine"]
    where = f"{plural(found['cores'], 'core')}, files on {plain['disk'] or 'an unknown file system'}"
    yield Md(f"{machine(plain)} MLflow {md('{}', found['mlflow'])}, {md('{}', where)}.")
    yield from _executor(plain["executor"])
    yield from _mlflow(plain["mlflow"]) if plain["mlflow"] else (_LEFT_OUT,)
    if plain["before"]["idle"] is False:
        yield "**Others used the machine** just before."


def _executor(found: Mapping[str, Any]) -> Iterator[str]:
    yield _EXECUTOR
    head = [
        "Workers", "All ready after, s", "Wall, s", "Runs/s", "Overhead a run, ms", "In the run, ms",
        "Parent's CPU a run, ms", "Efficiency", "With start and end",
    ]  # fmt: skip
    yield table(head, "rrrrrrrrr", [_line(row) for row in found["rows"]])
    yield md("{} of {}, each waiting {} s.", plural(found["runs"], "run"), code(found["experiment"]), found["wait_s"])
    if all(row["target_ms"] is None for row in found["rows"]):
        yield "Held against no target: too few runs, or too short ones."


def _line(row: Mapping[str, Any]) -> list[Any]:
    return [
        number(row["workers"]), number(row["ready_s"], 1), number(row["wall_s"], 1), number(row["runs_per_s"], 1),
        _held(number(row["overhead_ms"], 1), row["target_ms"], number, row["met"]), number(row["inside_ms"], 1),
        number(row["parent_ms"], 1),
        _held(_share(row["efficiency"]), row["efficiency_target"], _share, row["efficiency_met"]),
        _share(row["efficiency_whole"]),
    ]  # fmt: skip


def _held(shown: str, target: float | None, form: Callable[[float], str], reached: bool | None) -> str | Md:
    return shown if target is None else md("{}, target {} {}", shown, form(target), met(reached))


def _share(value: float | None) -> str:
    return DASH if value is None else f"{100 * value:.0f} %"


def _mlflow(found: Mapping[str, Any]) -> Iterator[str]:
    yield _MLFLOW
    ends, kib = found["ends"], 1024
    yield (
        f"{plural(found['runs'], 'run')} of {plural(found['epochs'], 'epoch')}: {number(found['first_ms'])} ms a run "
        f"for the first {ends:,}, {number(found['last_ms'])} ms for the last {ends:,}; of CPU time "
        f"{number(found['first_cpu_ms'])} and {number(found['last_cpu_ms'])} ms. "
        f"A run takes {number(found['database_bytes'] / kib, 1)} KiB of the database, "
        f"{number(found['artifact_bytes'] / kib, 1)} KiB of artifacts in {number(found['artifact_files'], 1)} files, "
        f"and {number(found['record_bytes'] / kib, 1)} KiB as evidence."
    )
    rows = [
        [
            row["what"],
            f"{row['seconds']:.3g}",
            f"{row['cpu_s']:.3g}",
            number(row["peak_bytes"] / 2**20),
            number(row["count"]),
        ]
        for row in found["rows"]
    ]
    yield table(["Then", "Seconds", "CPU, s", "Peak, MiB", "Came back"], "lrrrr", rows)
    yield "Pages of runs: the median of five; everything else was asked once."
