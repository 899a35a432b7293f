"""The sections of our own steps beside one another, and of what the whole suite takes on a device."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from repro.report.markdown import DASH, Md, code, join, md, number, table
from repro.report.speed_parts import busy, machine, met, peaks, ratio, share

#: headings of the sections that the page has in any case, measured or not, by benchmark
TITLES = {"variants": "## A step with one thing changed", "suite": "## What the whole suite takes"}
COSTS = """*Waits*: how often the host waits for the device in the steps of a timing; on a CPU, which never waits, how
often a GPU's host would. *Kernels*: those of a step launched without a CUDA graph. A dash: not measured."""
_VARIANTS = """Our own step against itself: *eager* launches kernel by kernel what a CUDA graph replays, *unpadded*
does not pad channels, *compiled* has its operations fused by torch.compile, *concurrent-N* is N runs on one device at
once, all their images counted. The ratio is how many times as fast ours is: below 1, the change is a gain."""
_SUITE = """One seed, all folds, one run after the other: every kind of step was timed and multiplied out, with tests,
epoch ends and starts as measured. Not in it are a process's start, the measurements after a run's end, and MLflow."""


def lacking(benchmark: str) -> str:
    """Return the section of a benchmark that no file has."""
    return "\n\n".join([TITLES[benchmark], md("Not measured yet; {} does.", code(f"repro bench {benchmark} --save"))])


def variants(plain: Mapping[str, Any], name: str) -> Iterator[str]:
    """Yield the paragraphs of a file of `repro bench variants`, called `name`."""
    yield md("{} ({})", Md(TITLES["variants"]), code(name))
    yield _VARIANTS
    yield machine(plain)
    head = [
        "Experiment",
        "Batch",
        "Step",
        "Images/s",
        "MFU",
        "Ratio",
        "Kernels a step",
        "Waits in steps",
        "Ready in, s",
    ]
    yield table(head, "lrlrrrrrr", [line for row in plain["rows"] for line in _arms(row)])
    yield COSTS
    yield from peaks(arm for row in plain["rows"] for arm in row["arms"].values())
    yield from _left_out(plain["rows"])
    yield from busy((row["experiment"], row["before"]) for row in plain["rows"])


def _arms(row: Mapping[str, Any]) -> Iterator[list[Any]]:
    for name, arm in row["arms"].items():
        waits = None if arm["host_syncs"] is None else f"{arm['host_syncs']:,} in {row['steps']:,}"
        yield [
            code(row["experiment"]), number(row["batch_size"]), name, number(arm["images_per_s"]), share(arm["mfu"]),
            "" if name == "ours" else ratio(row["ratios"][name]),
            number(arm["kernels_per_step"]), waits, number(arm["prepare_s"], 1),
        ]  # fmt: skip
    for name in row["missing"]:
        yield [code(row["experiment"]), number(row["batch_size"]), name, "not measured", *[None] * 5]


def _left_out(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Say why variants were not measured, each reason once."""
    reasons: dict[tuple[str, str], list[Md]] = {}
    for row in rows:
        for name, reason in row["missing"].items():
            reasons.setdefault((name, reason), []).append(code(row["experiment"]))
    if reasons:
        said = [
            md("{} ({}), {}", name, "everywhere" if len(where) == len(rows) else join(where), reason)
            for (name, reason), where in reasons.items()
        ]
        yield md("Not measured: {}.", join(said, "; "))


def suite(plain: Mapping[str, Any], name: str) -> Iterator[str]:
    """Yield the paragraphs of a file of `repro bench suite`, called `name`."""
    yield md("{} ({})", Md(TITLES["suite"]), code(name))
    yield _SUITE
    yield f"{machine(plain)} In {plain['precision']}."
    head = ["", "Runs", "Measured", "Share of the operations", "Minutes", "Target", "Moonshot"]
    yield table(head, "lrrrrrr", [_line(line) for line in plain["lines"]])
    yield from _incomplete(plain["lines"])
    head = ["A step as of", "Runs", "Batch", "Steps", "Ms a step", "Images/s", "MFU", "Ready in, s", "Minutes"]
    yield table(head, "lrrrrrrrr", [_group(group) for group in plain["groups"]])
    yield "*Ms a step*: the median of the timings, and in brackets the lowest and the highest."
    found = [group["measured"] for group in plain["groups"] if group["measured"]]
    yield from peaks({**each, "precision": plain["precision"]} for each in found)
    for reason in {group["reason"]: None for group in plain["groups"] if group["reason"]}:
        names = [code(group["of"]) for group in plain["groups"] if group["reason"] == reason]
        yield md("Not measured, {}: {}.", reason, join(names))
    yield from busy((group["of"], group["measured"]["before"]) for group in plain["groups"] if group["measured"])


def _line(line: Mapping[str, Any]) -> list[Any]:
    minutes = number(line["minutes"], 1)
    goal, hope = (
        md("{} {}", f"{line[key]:g}", met(line[verdict])) if line[key] is not None else None
        for key, verdict in (("target", "met"), ("moonshot", "moonshot_met"))
    )
    return [
        line["name"], number(line["runs"]), number(line["measured_runs"]), f"{100 * line['share']:.0f} %",
        minutes if line["complete"] or minutes == DASH else f"at least {minutes}", goal, hope,
    ]  # fmt: skip


def _incomplete(lines: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if short := [line["name"] for line in lines if not line["complete"]]:
        yield md("Not measured in full, so that the sum holds what was measured and no more: {}.", join(short))
    if not any(line["target"] is not None for line in lines):
        yield "Held against no target: those are of the whole suite on an H200."


def _group(group: Mapping[str, Any]) -> list[Any]:
    found = group["measured"]
    plain = [code(group["of"]), number(group["runs"]), number(group["batch_size"]), number(group["steps"])]
    if found is None:
        return [*plain, "not measured", *[None] * 4]
    step, low, high = (number(1000 * found[key], 2 if found[key] < 0.1 else 0)
                       for key in ("step_s", "lowest_s", "highest_s"))  # fmt: skip
    return [
        *plain, f"{step} ({low} to {high})", number(found["images_per_s"]), share(found["mfu"]),
        number(found["prepare_s"], 1), number(group["minutes"]["all"], 1),
    ]  # fmt: skip


def costs(rows: Sequence[Mapping[str, Any]], arms: Sequence[str]) -> Iterator[str]:
    """Yield what arms cost beside time, ours first; nothing where a file has none of it."""
    if not any(arm.get("host_syncs") is not None for row in rows for arm in row["arms"].values()):
        return
    kinds = {"kernels_per_step": 0, "host_syncs": 0, "prepare_s": 1}
    lines = [
        [code(row["experiment"]), number(row["steps"]), *(
            " / ".join(number(row["arms"][name].get(kind), decimals) for name in arms)
            for kind, decimals in kinds.items()
        )]
        for row in rows
    ]  # fmt: skip
    yield table(["Experiment", "Steps a timing", "Kernels a step", "Waits", "Ready in, s"], "lrrrr", lines)
    yield COSTS
