"""The tables of what the commands of `speed` have measured; a dash stands for what was not measured."""

from typing import Any

import click

DASH = "-"


def arms(result: dict[str, Any]) -> None:
    """Show the arms of each experiment, what was left out and why, and the machine."""
    from repro.progress import table

    rows = [cells for row in result["rows"] for cells in _arms(row)]
    header = (
        "experiment", "batch", "arm", "in", "images/s", "GFLOP/s", "MFU", "ops/step", "kernels/step", "waits",
        "ready s", "ratio (lowest to highest)", "target", "",
    )  # fmt: skip
    table.show(header, rows, numbers=(1, *range(4, 13)), echo=click.echo)
    _machine(result)
    timings = "-".join(dict.fromkeys(str(f({row["repeats"] for row in result["rows"]})) for f in (min, max)))
    click.echo(
        f"{timings} timings an arm, in turn: medians, and of the ratios of a round the median, lowest and highest (how "
        f"many times as fast ours is); {'CPU' if result['clock'] == 'thread' else 'wall'} time"
    )
    click.echo("waits: of the host for the device in a timing's steps, on a CPU what would be such; ready: until then")
    for reason in dict.fromkeys(f"{k}: {why}" for row in result["rows"] for k, why in row.get("missing", {}).items()):
        click.echo(f"Not measured: {reason}")
    _busy((row["experiment"], row["before"]) for row in result["rows"])


def _arms(row: dict[str, Any]) -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = []
    for name, arm in row["arms"].items():
        found = row["ratios"].get(name)
        first = name == "ours"
        wanted = found["target"] if found else None
        lines.append((
            row["experiment"] if first else "", str(row["batch_size"]) if first else "", name, arm["precision"],
            f"{arm['images_per_s']:,.0f}", f"{arm['flop_per_s'] / 1e9:,.0f}", _share(arm["mfu"]),
            _number(arm["operations_per_step"]), _number(arm["kernels_per_step"]),
            DASH if arm["host_syncs"] is None else f"{arm['host_syncs']:,} in {row['steps']:,} steps",
            _number(arm["prepare_s"], 1),
            f"{found['ratio']:.2f} ({found['lowest']:.2f} to {found['highest']:.2f})" if found else "",
            "" if first else _number(wanted, None), met(found["met"] if found else None),
        ))  # fmt: skip
    lines += [("", "", name, *[DASH] * 8, "not measured", DASH, "") for name in row.get("missing", {})]
    return lines


def suite(result: dict[str, Any]) -> None:
    """Show groups, sums, and what is in none of them."""
    from repro.progress import table

    header = ("a step as of", "runs", "steps", "ms a step (lowest to highest)", "images/s", "MFU", "ready s", "minutes")
    table.show(header, [_group(group) for group in result["groups"]], numbers=range(1, 8), echo=click.echo)
    header = ("in all", "runs", "measured", "minutes", "target", "", "moonshot", "")
    table.show(header, [_line(line) for line in result["lines"]], numbers=(1, 2, 3, 4, 6), echo=click.echo)
    _machine(result)
    click.echo(
        "One seed, all folds, one run after the other: steps, tests, epoch ends, starts. Not in it: a process's start, "
        "the measurements after a run, MLflow. At least: not all of it was measured"
    )
    reasons = {group["reason"]: None for group in result["groups"] if group["reason"]}
    for reason in reasons:
        names = [group["of"] for group in result["groups"] if group["reason"] == reason]
        click.echo(f"Not measured, {reason}: {', '.join(names)}")
    _busy((group["of"], group["measured"]["before"]) for group in result["groups"] if group["measured"])


def _group(group: dict[str, Any]) -> tuple[str, ...]:
    found = group["measured"]
    plain = (group["of"], f"{group['runs']:,}", f"{group['steps']:,}")
    if found is None:
        return *plain, "not measured", *[DASH] * 4
    step, low, high = (_ms(found[key]) for key in ("step_s", "lowest_s", "highest_s"))
    return (
        *plain, f"{step} ({low} to {high})", f"{found['images_per_s']:,.0f}", _share(found["mfu"]),
        f"{found['prepare_s']:.1f}", f"{group['minutes']['all']:,.1f}",
    )  # fmt: skip


def _line(line: dict[str, Any]) -> tuple[str, ...]:
    minutes = DASH if line["minutes"] is None else f"{line['minutes']:,.1f}"
    measured = f"{line['measured_runs']:,} ({100 * line['share']:.0f} % of the operations)"
    return (
        line["name"], f"{line['runs']:,}", measured,
        minutes if line["complete"] or line["minutes"] is None else f"at least {minutes}",
        _number(line["target"], None), met(line["met"]), _number(line["moonshot"], None), met(line["moonshot_met"]),
    )  # fmt: skip


def _machine(result: dict[str, Any]) -> None:
    machine = result["machine"]
    click.echo(
        f"{machine['device']}; {result['precision']}; Python {machine['python']}, torch {machine['torch']}; images of "
        f"{result['source']}"
    )


def _busy(seen: Any) -> None:
    if busy := [name for name, before in seen if before["idle"] is False]:
        click.echo(f"The device was NOT idle before: {', '.join(busy)}")


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:,.{2 if seconds < 0.1 else 0}f}"


def _share(mfu: float | None) -> str:
    return DASH if mfu is None else f"{100 * mfu:.1f} %"


def _number(value: float | None, decimals: int | None = 0) -> str:
    """Write a number with so many decimals, None for as many as it has; a dash where there is none."""
    if value is None:
        return DASH
    return f"{value:g}" if decimals is None else f"{value:,.{decimals}f}"


def met(value: bool | None) -> str:
    """Return `met` or `missed`; nothing where nothing was held against a target."""
    return {None: "", True: "met", False: "missed"}[value]
