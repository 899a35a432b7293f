"""One judged row as numbers and words: published, ours, difference, verdict, state, and what is measured."""

from math import exp, expm1

from repro.judge.claims import Row
from repro.judge.label import FALSE_SHARE
from repro.report.markdown import DASH, Md, code, join, number, percent, prose, signed
from repro.report.tables import METRIC_WORDS

EXACT = ("count", "data")
#: kinds that set experiments beside one another, or stand for a sentence
COMPARED = ("order", "trend", "convergence", "time", "band", "qualitative")
DRAWN = ("trajectory", "confusion")
UNTESTABLE = ("not_testable", "explanation", "conjecture")
_RATIOS = ("convergence", "time", "band")


def is_percent(metric: str | None) -> bool:
    """Whether a metric, or the curve of one, is in percent."""
    return (metric or "").endswith(("acc_pct", "ece_pct"))


def figure(value: float | None, metric: str | None, decimals: int = 3) -> str:
    """A value in its metric's unit: percent, or plain with `decimals`."""
    return percent(value) if is_percent(metric) else number(value, decimals)


def published(row: Row) -> str:
    """The number as printed; one cut off at its last digit says so."""
    if row.published is None:
        return DASH
    if row.kind == "order":
        return signed(row.published, row.decimals) + _points(row)
    if row.kind in _RATIOS:
        return f"{number(row.published, row.decimals)} times"
    if is_percent(row.metric):
        return percent(row.published, row.decimals) + (" (cut off)" if row.rounding == "floor" else "")
    return number(row.published, row.decimals)


def ours(row: Row) -> str:
    """Mean over runs ± standard deviation, the closed-form count, or what a comparison comes to, with its unit."""
    if row.ours is None:
        return DASH
    if row.kind in EXACT:
        return number(row.ours, row.decimals)
    if row.kind == "trend":
        return f"τ = {signed(row.ours, 2)}"
    if row.kind == "confusion":
        return f"at least {_spread(row, 0)} images moved"
    if row.kind in _RATIOS:
        return f"{_spread(row, 2)} times"
    digits = 2 if is_percent(row.metric) else 3
    if row.kind == "trajectory":
        return f"{_spread(row, digits)}{_points(row)} apart"
    if row.kind == "order":
        return _spread(row, digits, signed(row.ours, digits)) + _points(row)
    return figure(row.ours, row.metric) if row.sd is None else _spread(row, digits) + (" %" if digits == 2 else "")


def _points(row: Row) -> str:
    return " points" if is_percent(row.metric) else ""


def _spread(row: Row, digits: int, mean: str = "") -> str:
    mean = mean or f"{row.ours:,.{digits}f}"
    return mean if row.sd is None else f"{mean} ± {row.sd:,.{digits}f}"


def difference(row: Row) -> str:
    """Ours minus published, signed; percentage points for percentages."""
    if row.kind in EXACT:
        return signed(row.difference, row.decimals)
    return signed(row.difference, 2 if is_percent(row.metric) else 3)


def state(row: Row, profile: str = "full", short: bool = False) -> str:
    """The row's state in words; `short` leaves the reason to the report's own page."""
    words = row.state
    if row.state == "measured" and profile != "full":
        words += ", does not count"
    elif row.provisional:
        words += ", provisional"
    if row.reason and not (short and row.kind in UNTESTABLE):
        words += f": {row.reason.replace('`', '') if short else row.reason}"
    return words if not short or len(words) <= 90 else words[:90].rsplit(" ", 1)[0] + " …"


def verdict(row: Row, profile: str = "full", short: bool = False) -> str:
    """The verdict in words, with what qualifies it; of smoke and quick runs, and of prose, the state."""
    found = row.verdict
    if found is None or profile != "full" or row.kind in UNTESTABLE:
        return state(row, profile, short)
    words = found.word
    # A time that does not count has its rounds too; its reason is what a reader needs.
    if found.word not in ("not run", "not judged") or (row.n and row.kind != "time"):
        marks = (
            (found.provisional, "provisional"),
            (bool(found.at_swing), f"{found.at_swing} at its swing"),
            (row.declared == "no", "declared after the run"),
            (found.unstable, "unstable training"),
            (row.kind not in DRAWN and ", " in found.environment, "runs of more than one class"),
            (found.attained, "attained"),
            (found.q is not None and found.q >= FALSE_SHARE, f"q {found.q or 0:.2f}"),
        )
        parts = [words, *(word for on, word in marks if on and row.kind not in EXACT), found.allowance]
        words = ", ".join(part for part in parts if part)
        if found.word == "not judged" and found.why:
            words += f": {found.why}"
    elif row.reason:
        words += f": {row.reason.replace('`', '') if short else row.reason}"
    return words if not short or len(words) <= 90 else words[:90].rsplit(" ", 1)[0] + " …"


def interval(row: Row) -> str:
    """The 90 % interval of the difference, or of the ratio."""
    found = row.verdict
    if found is None or found.low is None or found.high is None:
        return ""
    low, high = (exp(x) if row.kind in _RATIOS else x for x in (found.low, found.high))
    digits = 2 if is_percent(row.metric) or row.kind in _RATIOS else 3
    if row.kind in _RATIOS:
        return f"{low:.{digits}f} to {high:.{digits}f} times"
    return f"{signed(low, digits)} to {signed(high, digits)}"


def margin(row: Row) -> str:
    """The distance within which ours counts as the same."""
    if row.verdict is None or row.verdict.margin is None or row.kind in ("confusion", *EXACT):
        return ""
    if row.kind == "time":  # of a logarithm
        return f"±{100 * expm1(row.verdict.margin):.1f} %"
    return f"±{row.verdict.margin:.{1 if is_percent(row.metric) else 3}f}"


def behind(row: Row) -> str:
    """What a verdict rests on, in one line; nothing where no run was judged."""
    v = row.verdict
    if v is None or not row.n or row.kind in (*EXACT, *UNTESTABLE):
        return ""
    digits = 2 if is_percent(row.metric) else 3
    parts = [v.why]
    if v.se is not None:
        wide = "" if v.low95 is None else f", 95 % interval {signed(v.low95, digits)} to {signed(v.high95, digits)}"
        parts.append(f"d = {signed(v.d, digits)}, standard error {v.se:.{digits}f}{wide}")
    if v.s_star is not None and v.nu is not None:
        own = "" if v.s is None else f"s = {v.s:.{digits}f}, "
        alone = "" if row.n > 1 else ", from the prior alone"
        parts.append(f"{own}s* = {v.s_star:.{digits}f} with {v.nu:g} degrees of freedom{alone}")
    if v.swing is not None:
        other = f", {v.at_swing} if runs spread as much" if v.at_swing else ""
        parts.append(f"swing from epoch to epoch {v.swing:.{digits}f}{other}")
    if v.agreement is not None:
        parts.append(f"probability {v.agreement:.2f} of lying within the margin")
    if v.q is not None:
        parts.append(f"q = {v.q:.3f}")
    if v.environment:
        parts.append(("runs of more than one class: " if ", " in v.environment else "") + v.environment)
    return "; ".join([f"{v.word} (n = {row.n})", *parts])


def measures(row: Row) -> str:
    """What the number is: the metric with its part, its curve or its protocol, and the epoch."""
    curve, _, metric = (row.metric or "").rpartition("/")
    parts = [f"{curve} {METRIC_WORDS.get(metric, metric)}".strip()]
    if row.kind in EXACT:
        parts += row.details
    if row.protocol:
        until = "of epochs 1 to" if row.protocol == "best_val_loss" else "epoch"
        parts.append(row.protocol + (f", {until} {row.epoch}" if row.epoch else ""))
    if row.kind in ("point", "loss"):
        parts.append(row.what)
    return ", ".join(part for part in parts if part)


def subject(row: Row) -> Md:
    """What is compared and by which number."""
    what = prose(row.what) if row.kind in (*COMPARED, *DRAWN) else ""
    return join([part for part in (what, measures(row)) if part])


def claim_name(row: Row) -> Md:
    """The claim's id, bold when it is a headline."""
    return Md(f"**{code(row.claim)}**") if row.headline else code(row.claim)
