"""The command that measures what MLflow costs a training: bench tracking."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from repro.cli.options import deliver, figures_options, place_of
from repro.cli.shown import met

if TYPE_CHECKING:
    from repro.track import Tracker


@click.command()
@click.option("--epochs", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Epochs of the run.")
@click.option(
    "--seconds", type=click.FloatRange(0, 100_000, min_open=True), default=1.0, show_default=True,
    help="Seconds that an epoch of it takes.",
)  # fmt: skip
@click.option(
    "--delay", type=click.FloatRange(0, 10_000), default=50.0, show_default=True, metavar="MS",
    help="Round trip to the far server, in milliseconds.",
)  # fmt: skip
@click.option(
    "--repeats", type=click.IntRange(1, 100), default=5, show_default=True, help="Runs in each store, in turn."
)
@figures_options("tracking")
def tracking(
    epochs: int, seconds: float, delay: float, repeats: int, as_json: bool, save: bool, out: Path | None,
    reports_dir: Path,
) -> None:  # fmt: skip
    """Time what logging a run to MLflow costs its training: SQLite, a PostgreSQL server, and a distant one.

    Logs the longest run in evidence again, trains nothing, leaves nothing behind. The servers need the extra `server`.
    A target that is missed is shown, and is no failure of the command.
    """
    path = place_of(save, out, reports_dir / "bench" / "tracking.json")
    from repro.bench import tracking as benchmark
    from repro.execute.closing import Closing
    from repro.execute.drawing import Drawer
    from repro.execute.shown import Shown

    say, drawer = partial(click.echo, err=True), Drawer()

    def view(tracker: "Tracker") -> Shown:
        tracker.draw = drawer  # as `repro run` opens it
        return Shown(tracker, {}, say)

    record = benchmark.longest(reports_dir)
    result = benchmark.run(record, view, Closing, repeats, epochs, seconds, delay / 1000, say)
    if not deliver(result, path, as_json):
        _show(result)


def _show(result: dict[str, Any]) -> None:
    from repro.progress import table

    header = (
        "store", "call, ms", "until there, ms", "end, s", "lost to it, s", "CPU, s",
        "training waits (lowest to highest)", "target", "", "in total",
    )  # fmt: skip
    rows = [
        (
            row["where"], f"{row['call_ms']:.2f}", f"{row['there_ms']:.1f}", f"{row['finish_s']:.2f}",
            f"{row['lost_s']:.2f}", f"{row['cpu_s']:.2f}",
            f"{row['waited_pct']:.2f} % ({row['lowest']:.2f} to {row['highest']:.2f})", f"{row['target']:g} %",
            met(row["met"]), f"{row['total_pct']:.2f} %",
        )
        for row in result["rows"]
    ]  # fmt: skip
    table.show(header, rows, numbers=(1, 2, 3, 4, 5, 6, 7, 9), echo=click.echo)
    for name, why in result["left_out"].items():
        click.echo(f"{name}: left out: {why}")
    machine = result["machine"]
    click.echo(f"{machine['device']}; Python {machine['python']}, mlflow {machine['mlflow']}")
    click.echo(
        f"shares of a run of {result['epochs']} epochs of {result['seconds']:g} s; the far server is "
        f"{result['round_trip_ms']:g} ms away; {result['repeats']} runs of {result['shown_epochs']} epochs in each"
    )
