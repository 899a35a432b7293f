"""One judged row as the cells and sentences of a page."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from repro.judge.claims import ENOUGH_RUNS, Row
from repro.record import RunRecord
from repro.report.markdown import DASH, Md, code, join, md, number, percent, plural, prose, signed, table
from repro.report.tables import METRIC_WORDS
from repro.spec.schema import PROTOCOLS


def figure(value: float | None, metric: str | None, decimals: int = 3) -> str:
    """A value in its metric's unit: percent, or plain with `decimals`."""
    return percent(value) if metric in ("acc_pct", "ece_pct") else number(value, decimals)


def published(row: Row) -> str:
    """The number as printed; one cut off at its last digit says so."""
    if row.published is None:
        return DASH
    if row.metric in ("acc_pct", "ece_pct"):
        return percent(row.published, row.decimals) + (" (cut off)" if row.rounding == "floor" else "")
    return number(row.published, row.decimals)


def ours(row: Row) -> str:
    """Mean over runs ± standard deviation, or the closed-form count."""
    if row.ours is None:
        return DASH
    if row.kind == "count":
        return number(row.ours, row.decimals)
    if row.sd is None:
        return figure(row.ours, row.metric)
    if row.metric in ("acc_pct", "ece_pct"):
        return f"{row.ours:.2f} ± {row.sd:.2f} %"
    return f"{row.ours:.3f} ± {row.sd:.3f}"


def difference(row: Row) -> str:
    """Ours minus published, signed; percentage points for percentages."""
    if row.kind == "count":
        return signed(row.difference, row.decimals)
    return signed(row.difference, 2 if row.metric in ("acc_pct", "ece_pct") else 3)


def state(row: Row, profile: str = "full", short: bool = False) -> str:
    """The row's state in words; `short` leaves the reason to the report's own page."""
    words = row.state
    if row.state == "measured" and profile != "full":
        words += ", does not count"
    elif row.provisional:
        words += ", provisional"
    if row.reason and not (short and row.state == "not testable"):
        words += f": {row.reason}"
    return words if not short or len(words) <= 90 else words[:90].rsplit(" ", 1)[0] + " …"


def measures(row: Row) -> str:
    """What the number is: the metric and the protocol, with its epoch."""
    parts = [METRIC_WORDS.get(row.metric or "", row.metric or "")]
    if row.protocol:
        parts.append(row.protocol + (f", epoch {row.epoch}" if row.epoch else ""))
    return ", ".join(part for part in parts if part)


def claim_name(row: Row) -> Md:
    """The claim's id, bold when it is a headline."""
    return Md(f"**{code(row.claim)}**") if row.headline else code(row.claim)


def glance_table(rows: Iterable[Row], profile: str, report: bool = True) -> Md:
    """The overview's table: report, claim, published, ours, difference, n, state; `report` keeps the first column."""
    lines = [
        [
            Md(f"[{row.report}]({row.report}/report.md)"),
            claim_name(row),
            published(row),
            ours(row),
            difference(row),
            row.n or "",
            state(row, profile, short=True),
        ]
        for row in rows
    ]
    head, align = ["Report", "Claim", "Published", "Ours", "Difference", "n", "State"], "llrrrrl"
    return table(head, align, lines) if report else table(head[1:], align[1:], [line[1:] for line in lines])


def headline_table(rows: Iterable[Row], profile: str) -> Md | str:
    """A report's headline claims, short; nothing where it has none."""
    cells = [
        [
            claim_name(row),
            measures(row),
            published(row),
            ours(row),
            difference(row),
            row.n or "",
            state(row, profile, True),
        ]
        for row in rows
    ]
    return table(["Claim", "What", "Published", "Ours", "Difference", "n", "State"], "llrrrrl", cells) if cells else ""


def measured_table(rows: Sequence[Row], profile: str) -> Md:
    """The report page's table of what runs measure; the runs' own values and the ledger's word where there are runs."""
    run = any(row.runs for row in rows)
    several = any(len(row.runs) > 1 for row in rows)
    columns: list[tuple[str, str, Callable[[Row], Any]]] = [
        ("Claim", "l", claim_name),
        ("Where", "l", lambda row: prose(row.where)),
        ("Protocol", "l", measures),
        ("Published", "r", published),
        ("Ours", "r", ours),
        ("Difference", "r", difference),
        ("n", "r", lambda row: row.n or ""),
    ]
    if several:
        columns.append(("Each run", "l", lambda row: ", ".join(_bare(run.value, row.metric) for run in row.runs)))
    if run:
        columns.append(("Declared before", "c", lambda row: row.declared))
    columns.append(("State", "l", lambda row: state(row, profile)))
    head, align = [name for name, _, _ in columns], "".join(letter for _, letter, _ in columns)
    return table(head, align, [[cell(row) for _, _, cell in columns] for row in rows])


def count_table(rows: Iterable[Row]) -> Md:
    """The report page's table of what arithmetic decides."""
    return table(
        ["Claim", "Where", "Experiment", "Counts", "Published", "Ours", "Difference", "State"],
        "llllrrrl",
        [
            [
                claim_name(row),
                row.where,
                code(row.experiment),
                measures(row),
                published(row),
                ours(row),
                difference(row),
                row.state,
            ]
            for row in rows
        ],
    )


def _bare(value: float | None, metric: str | None) -> str:
    if value is None:
        return DASH
    return f"{value:.2f}" if metric in ("acc_pct", "ece_pct") else f"{value:.3f}"


def order_sentences(row: Row) -> list[Md]:
    """Return a sentence a run on how the value depends on the order of the test images."""
    return [_order_sentence(row, run) for run in row.runs if run.order]


def _order_sentence(row: Row, run: Any) -> Md:
    spread = run.order
    official = "official order unknown" if spread.official_pct is None else None
    official = official or f"in the official order {percent(spread.official_pct)}"
    start = md("{}, seed {}: ", code(row.claim), run.seed)
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


def finite(value: Any) -> float | None:
    """A record's value as a finite float, else None: records are not to be trusted with types."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if good else None


def provisional_note(rows: Iterable[Row]) -> str:
    """Explain the word where it occurs."""
    few = sum(row.provisional for row in rows)
    return f"Provisional: fewer than {ENOUGH_RUNS} runs ({plural(few, 'claim')})." if few else ""
