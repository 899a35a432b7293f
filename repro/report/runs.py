"""Every run of a report under every protocol, and of an experiment with many runs their mean and spread instead."""

from collections.abc import Iterable, Sequence
from statistics import fmean, stdev

from repro.judge.claims import Row
from repro.judge.records import number as finite
from repro.record import RunRecord
from repro.report import protocols
from repro.report.figures import Arm
from repro.report.machines import MOST, first, seed_of
from repro.report.markdown import DASH, Md, code, plural, table
from repro.report.values import figure


def run_tables(arms: Iterable[Arm], rows: Sequence[Row]) -> list[tuple[Md, Md]]:
    """Return a title and a table of every protocol a run; `rows` name the epochs of the test curve that are asked."""
    found = []
    for arm in arms:
        asked = [row.protocol or "" for row in rows if row.experiment in arm.names]
        epochs = sorted({name for name in asked if name.startswith("at_epoch:")}, key=protocols.protocol_place)
        found += [_one(arm, record, epochs) for record in first(arm.chosen)]
        if len(arm.chosen) > MOST:
            found.append(_all(arm, epochs))
    return found


def _one(arm: Arm, record: RunRecord, epochs: Sequence[str]) -> tuple[Md, Md]:
    last = figure(finite(record.value("last", "acc_pct")), "acc_pct")
    # The title stands in HTML, where Markdown's backslashes would show: ids and numbers only.
    title = Md(f"{', '.join(arm.names)}, {seed_of(record)}: {last} after the last epoch")
    return title, protocols.protocol_table(record, epochs)


def _all(arm: Arm, epochs: Sequence[str]) -> tuple[Md, Md]:
    """Return the table over all runs of an experiment; `runs.csv` has them one by one."""
    own = {name for record in arm.chosen for name in record.finals if not name.startswith("at_epoch:")}
    lines = []
    for name in sorted({*own, *epochs}, key=protocols.protocol_place):
        accuracies, losses = (_values(arm.chosen, name, metric) for metric in ("acc_pct", "loss"))
        if accuracies or losses:
            ends = [figure(end(accuracies, default=None), "acc_pct") for end in (min, max)]
            n = max(len(accuracies), len(losses))
            lines.append([code(name), n, _spread(accuracies, "acc_pct"), *ends, _spread(losses, "loss")])
    head = ["Protocol", "Runs", "Accuracy ± sd", "Lowest", "Highest", "Loss ± sd"]
    title = Md(f"{', '.join(arm.names)}: all {plural(len(arm.chosen), 'run')}, which runs.csv has one by one")
    return title, table(head, "lrrrrr", lines)


def _values(records: Iterable[RunRecord], protocol: str, metric: str) -> list[float]:
    found = (finite(record.value(protocol, metric)) for record in records)
    return [value for value in found if value is not None]


def _spread(values: Sequence[float], metric: str) -> str:
    if not values:
        return DASH
    digits, unit = (2, " %") if metric == "acc_pct" else (3, "")
    return f"{fmean(values):.{digits}f}" + (f" ± {stdev(values):.{digits}f}" if len(values) > 1 else "") + unit
