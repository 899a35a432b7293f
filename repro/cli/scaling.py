"""The command that measures what the suite costs at scale: bench scale."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from repro.cli.options import deliver, figures_options, place_of
from repro.cli.shown import met

if TYPE_CHECKING:
    from repro.execute.outcome import Outcome
    from repro.progress.training import Lines
    from repro.record import RunRecord
    from repro.run import Options
    from repro.spec.identity import Run


def workers_of(_ctx: click.Context, _param: click.Parameter, text: str) -> tuple[int, ...]:
    """Parse `1,2,4` into numbers of workers, each once, in the order given."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdecimal() and 1 <= int(part) <= 64 for part in parts):
        raise click.BadParameter(f"{text!r}: expected numbers of workers from 1 to 64, such as 1,2,4")
    return tuple(dict.fromkeys(map(int, parts)))


@click.command()
@click.option(
    "--runs", type=click.IntRange(1, 100_000), default=1000, show_default=True, help="Synthetic runs for the executor."
)
@click.option(
    "--workers", callback=workers_of, default="1,2,4,8", show_default=True, metavar="W,W,...",
    help="Worker processes, one number after the other.",
)  # fmt: skip
@click.option(
    "--wait", type=click.FloatRange(0, 60), default=0.2, show_default=True, metavar="S",
    help="Seconds that a synthetic run waits in place of training.",
)  # fmt: skip
@click.option(
    "--mlflow-runs", type=click.IntRange(0, 1_000_000), default=10_000, show_default=True,
    help="Made-up runs to bring into MLflow; 0 leaves that part out.",
)  # fmt: skip
@click.option(
    "--epochs", type=click.IntRange(1, 1000), default=5, show_default=True, help="Epochs of a made-up run in MLflow."
)
@figures_options("scale")
def scale(
    runs: int, workers: tuple[int, ...], wait: float, mlflow_runs: int, epochs: int, as_json: bool, save: bool,
    out: Path | None, reports_dir: Path,
) -> None:  # fmt: skip
    """Time many runs: the executor's cost per run as workers are added, and MLflow with thousands of runs.

    Trains nothing: runs wait in place of training, and records are made up and say so. All of it lies in a temporary
    folder that is removed. A target that is missed is shown, and is no failure of the command.
    """
    path = place_of(save, out, reports_dir / "bench" / "scale.json")
    from repro.bench import scale as benchmark
    from repro.execute import process
    from repro.spec.loading import load_all
    from repro.suite import notes_for

    click.get_current_context().with_resource(process.terminated_as_interrupted())
    reports = load_all()
    sizes = benchmark.Sizes(runs, workers, wait, mlflow_runs, epochs)
    say = lambda text: click.echo(text, err=True)  # noqa: E731
    result = benchmark.run(reports, sizes, _carry_out, lambda record: notes_for(reports, record), say)
    if not deliver(result, path, as_json):
        _show(result)


def _carry_out(
    runs: "Sequence[Run]", train: "Callable[..., RunRecord]", devices: "Sequence[Options]", display: "Lines"
) -> "list[Outcome]":
    """Make the runs as `repro run` does on several devices, but for their training; MLflow is left out."""
    from functools import partial

    from repro.data import sample
    from repro.execute import pool
    from repro.execute.outcome import Job
    from repro.suite import open_tracker

    nothing = partial(open_tracker, devices[0].home, True)
    return pool.run_all(
        [Job(run, train=train) for run in runs], sample.load(), devices, 1, profile="smoke", tracker=None,
        open_tracker=nothing, work={}, display=display,
    )  # fmt: skip


def _show(result: dict[str, Any]) -> None:
    _executor(result["executor"])
    _mlflow(result["mlflow"])
    machine = result["machine"]
    click.echo(
        f"{machine['device']}, {machine['cores']} cores; files on {result['disk'] or 'an unknown file system'}; Python "
        f"{machine['python']}, torch {machine['torch']}, mlflow {machine['mlflow']}"
    )
    if result["before"]["idle"] is False:
        click.echo("The machine was NOT idle before")


def _executor(found: dict[str, Any]) -> None:
    from repro.progress import table

    header = (
        "workers", "wall, s", "first run, s", "all ready, s", "runs/s", "overhead a run, ms", "target", "",
        "in the run, ms", "parent CPU, ms", "efficiency", "target", "", "with start and end",
    )  # fmt: skip
    rows = [
        (
            f"{row['workers']}", f"{row['wall_s']:.1f}", f"{row['first_s']:.1f}", f"{row['ready_s']:.1f}",
            f"{row['runs_per_s']:.1f}", f"{row['overhead_ms']:.1f}", _goal(row["target_ms"]), met(row["met"]),
            f"{row['inside_ms']:.1f}", f"{row['parent_ms']:.1f}", _share(row["efficiency"]),
            _share(row["efficiency_target"]), met(row["efficiency_met"]),
            _share(row["efficiency_whole"]),
        )
        for row in found["rows"]
    ]  # fmt: skip
    table.show(header, rows, numbers=(0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 13), echo=click.echo)
    click.echo(
        f"{found['runs']:,} synthetic runs that wait {found['wait_s']:g} s each; none is trained. Efficiency from when"
        " all workers are ready, for which the targets hold, and with their start and end"
    )


def _mlflow(found: dict[str, Any] | None) -> None:
    from repro.progress import table

    if found is None:
        click.echo("MLflow with many runs: not measured (--mlflow-runs 0)")
        return
    click.echo(
        f"{found['runs']:,} made-up runs of {found['epochs']} epochs in MLflow (SQLite): {found['first_ms']:.0f} ms a"
        f" run for the first {found['ends']:,}, {found['last_ms']:.0f} ms for the last; of CPU time "
        f"{found['first_cpu_ms']:.0f} and {found['last_cpu_ms']:.0f} ms. A run takes "
        f"{found['database_bytes'] / 1024:.1f} KiB of the database and {found['artifact_bytes'] / 1024:.1f} KiB in "
        f"{found['artifact_files']:.1f} files"
    )
    rows = [
        (row["what"], f"{row['seconds']:.3g}", f"{row['cpu_s']:.3g}", f"{row['peak_bytes'] / 2**20:,.0f}")
        for row in found["rows"]
    ]
    table.show(("then", "seconds", "CPU, s", "peak, MiB"), rows, numbers=(1, 2, 3), echo=click.echo)


def _goal(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %"
