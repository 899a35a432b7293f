"""The section of the two loops' accuracies, and the sentences that page and command share."""

from collections.abc import Iterator, Mapping
from typing import Any

from repro.report.markdown import DASH, Md, code, escape, join, md, number, plural, signed, table

_TEXT = """The suite's loop beside the plain one: the same recipe, initial weights and images, each with its own order
and augmentation, tested alike at the end. The standard error is Welch's, as of independent trainings."""


def section(plain: Mapping[str, Any], name: str) -> Iterator[str]:
    """Yield the paragraphs of a file of `repro bench accuracy`, called `name`."""
    yield md("## Accuracy beside the plain loop ({})", code(name))
    yield _TEXT
    head = ["Experiment", "Trained", "Seeds", "Ours, %", "Plain, %", "Difference", "Standard error", "95 % interval",
            "Within two standard errors"]  # fmt: skip
    yield table(head, "llrrrrrrl", [_line(row) for row in plain["rows"]])
    for row in plain["rows"]:
        yield join([md("{}: by seed, ours / plain:", code(row["experiment"])), _each(row)], " ")
        yield _machine(row)


def _line(row: Mapping[str, Any]) -> list[Any]:
    found = row["summary"]
    return [
        code(row["experiment"]), how(row), found["n"], _mean(found, "ours"), _mean(found, "plain"),
        signed(found["difference"], 2), number(found["se"], 2), _interval(found), _word(found),
    ]  # fmt: skip


def _word(found: Mapping[str, Any]) -> str | Md:
    return {True: "yes", False: Md("**no**"), None: f"no verdict: {_lacking(found)}"}[found["within"]]


def _lacking(found: Mapping[str, Any]) -> str:
    """Say why there is no verdict."""
    return f"{plural(found['n'], 'seed')}, it takes 3" if found["learnt"] else "both arms have learnt little"


def _mean(found: Mapping[str, Any], arm: str) -> str:
    """`61.20 (sd 0.51)`."""
    sd = found[f"{arm}_sd"]
    return f"{found[arm]:.2f}" + ("" if sd is None else f" (sd {sd:.2f})")


def _interval(found: Mapping[str, Any]) -> str:
    return DASH if found["se"] is None else f"{signed(found['low95'], 2)} to {signed(found['high95'], 2)}"


def _each(row: Mapping[str, Any]) -> Md:
    return join(f"{seed['ours']:.2f} / {seed['plain']:.2f}" for seed in row["seeds"])


def _machine(row: Mapping[str, Any]) -> Md:
    machine, settings = row["machine"], row["settings"]
    commits = dict.fromkeys(str(s["commit"])[:12] + " with changed files" * bool(s["dirty"]) for s in row["seeds"])
    versions = [f"{shown} {machine[key]}" for key, shown in (("torch", "torch"), ("cuda", "CUDA"), ("driver", "driver"),
                                                             ("python", "Python")) if machine.get(key)]  # fmt: skip
    kinds = f"ours in {settings['precision']['ours']}, plain in {settings['precision']['plain']}"
    parts = [machine["device"], *versions, kinds, f"commit {', '.join(commits)}", f"images of {settings['source']}"]
    return Md(f"Measured on {escape(', '.join([*parts, row['date'][:10]]))}.")


def how(row: Mapping[str, Any]) -> str:
    """Say what was trained: all of the recipe, or what it was reduced to."""
    settings, whole = row["settings"], row["recipe"]
    sizes = [("images", "training images"), ("epochs", "epochs"), ("test_images", "test images")]
    if not row["reduced"]:
        return f"in full: {plural(settings['epochs'], 'epoch')} on {settings['images']:,} images"
    said = [f"{settings[key]:,} of {whole[key]:,} {word}" for key, word in sizes if settings[key] != whole[key]]
    if settings["source"] != whole["source"]:
        said.append(f"images of {settings['source']}")
    return f"reduced: {', '.join(said)}"


def sentences(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield what follows from a row, as plain text."""
    found = row["summary"]
    if found["se"] is not None:
        yield (
            f"difference {found['difference']:+.2f} points, standard error {found['se']:.2f} (Welch), 95 % interval "
            f"{found['low95']:+.2f} to {found['high95']:+.2f}; taken seed by seed the standard error is "
            f"{found['paired_se']:.2f}"
        )
    if found["within"] is None:
        yield f"no verdict: {_lacking(found)}"
    else:
        yield f"within two standard errors: {'yes' if found['within'] else 'NO'}"
