"""The section of what MLflow costs a training."""

from collections.abc import Iterator, Mapping
from typing import Any

from repro.report.markdown import Md, code, md, number, plural, table
from repro.report.speed_parts import machine, met

_HOW = """A finished run is logged again as if it were training. *Call*: logging an epoch, on the training thread;
*until there*: until the epoch is in MLflow. *End*: final metrics and artifacts, in a thread beside the next run; *lost
to it*: how much longer small PyTorch steps took meanwhile than the same steps alone. *Training waits*: start, calls and
what is lost, as a share of the run's time."""


def section(plain: Mapping[str, Any], name: str) -> Iterator[str]:
    """Yield the paragraphs of a file of `repro bench tracking`, called `name`."""
    yield md("## What MLflow costs a training ({})", code(name))
    yield Md(f"{machine(plain)} MLflow {md('{}', plain['machine']['mlflow'])}.")
    yield _HOW
    head = ["Store", "Call, ms", "Until there, ms", "End, s", "Lost to it, s", "CPU, s", "Training waits"]
    yield table(head, "lrrrrrr", [_line(row) for row in plain["rows"]])
    yield md(
        "{} of {} in each store, the median; shares of {} of {} s. The far server is {} ms away.",
        plural(plain["repeats"], "run"), plural(plain["shown_epochs"], "epoch"), plural(plain["epochs"], "epoch"),
        f"{plain['seconds']:g}", f"{plain['round_trip_ms']:g}",
    )  # fmt: skip
    for left, why in plain["left_out"].items():
        yield md("{}: not measured, {}.", left, why)
    if plain["before"]["idle"] is False:
        yield "**Others used the machine** just before."


def _line(row: Mapping[str, Any]) -> list[Any]:
    waits = md(
        "{} % ({} to {}), target {} % {}",
        *(f"{row[key]:.2f}" for key in ("waited_pct", "lowest", "highest")), f"{row['target']:g}", met(row["met"]),
    )  # fmt: skip
    return [
        row["where"], number(row["call_ms"], 2), number(row["there_ms"], 1), number(row["finish_s"], 2),
        number(row["lost_s"], 2), number(row["cpu_s"], 2), waits,
    ]  # fmt: skip
