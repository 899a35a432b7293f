"""Every protocol of a run, and values that depend on the order of the test images, as a page shows them."""

from collections.abc import Iterable
from typing import Any

from repro.judge.claims import Row
from repro.judge.records import number as finite
from repro.record import RunRecord
from repro.report.markdown import Md, code, join, md, number, percent, table
from repro.report.tables import PROTOCOL_WORDS
from repro.report.values import figure, published
from repro.spec.schema import PROTOCOLS


def order_sentences(row: Row) -> list[Md]:
    """Return a sentence a run on how the value depends on the order of the test images."""
    return [_order_sentence(row, run) for run in row.runs if run.order]


def _order_sentence(row: Row, run: Any) -> Md:
    spread = run.order
    official = "official order unknown" if spread.official_pct is None else None
    official = official or f"in the official order {percent(spread.official_pct)}"
    fold = "" if run.fold is None else f", fold {run.fold}"
    start = md("{}, seed {}{}: ", code(row.claim), run.seed, fold)
    if spread.n is None:
        mean, sd = percent(spread.mean_pct), f"{spread.sd_pct:.2f}"
        return join([start, f"over random orders {mean} on average, standard deviation {sd} points; {official}."], "")
    counts = ", ".join(str(k) for k in spread.counts)
    hits = f"{counts} of {spread.n}" if counts else f"no whole number of {spread.n}"
    chance = f", and {hits} has probability {spread.chance:.3f}" if counts else ""
    text = (
        f"the published {published(row)} is {hits} images. Over all orders of the {spread.total:,} test images, of "
        f"which this run has {spread.correct:,} right, a batch of {spread.n} scores {percent(spread.mean_pct)} on "
        f"average, standard deviation {spread.sd_pct:.2f} points: 95 % of the orders give {spread.low} to "
        f"{spread.high} of {spread.n}{chance}; {official}."
    )
    return join([start, text], "")


def protocol_table(record: RunRecord, extra: Iterable[str]) -> Md:
    """Every protocol of one run: accuracy, loss, likelihood, calibration; `extra` adds test-curve epochs."""
    metrics = {"acc_pct": "Accuracy", "loss": "Loss", "nll": "NLL", "ece_pct": "Calibration error"}
    own = (name for name in record.finals if not name.startswith("at_epoch:"))  # those are read off the curves
    names = sorted({*own, *extra}, key=protocol_place)
    values = {name: {metric: finite(record.value(name, metric)) for metric in metrics} for name in names}
    values = {name: found for name, found in values.items() if any(v is not None for v in found.values())}
    used = [metric for metric in metrics if any(found[metric] is not None for found in values.values())]
    rows = [
        [code(name), number(finite(record.value(name, "epoch"))), *(figure(found[metric], metric) for metric in used)]
        for name, found in values.items()
    ]
    return table(["Protocol", "Epoch", *(metrics[metric] for metric in used)], "lr" + "r" * len(used), rows)


def protocol_place(name: str) -> tuple[int, int, str]:
    """Sort key of protocols: the schema's order, then test-curve epochs by number, then unknown ones."""
    head, _, epoch = name.partition(":")
    if head == "at_epoch" and epoch.isdigit():
        return len(PROTOCOLS), int(epoch), name
    return (PROTOCOLS.index(name), 0, name) if name in PROTOCOLS else (len(PROTOCOLS) + 1, 0, name)


def protocol_words(rows: Iterable[Row], records: Iterable[RunRecord]) -> Md:
    """The protocols that occur on the page, explained."""
    names = {row.protocol.partition(":")[0] for row in rows if row.protocol} | {n for r in records for n in r.finals}
    known = [name for name in PROTOCOL_WORDS if name in names]
    return table(["Protocol", "What it measures"], "ll", ([code(name), PROTOCOL_WORDS[name]] for name in known))
