"""The house's layers: imports point down only, and each heavy library has one door."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "repro"
LAYER = {
    "__main__": 0, "cli": 1, "suite": 2, "execute": 2.5, "report": 2.5, "bench": 2.5, "run": 3, "judge": 3,
    "bundle": 3.5, "train": 4, "track": 4, "data": 5, "augment": 5, "models": 5, "evaluate": 5, "environment": 5,
    "plots": 5, "progress": 5,
    "spec": 6, "record": 6, "draws": 6.5, "errors": 7, "": 8,
}  # fmt: skip
#: (importer, imported): siblings that may meet
ALLOWED = {("spec", "record"), ("", "report")}
DOORS = {
    "mlflow": {"track"}, "ray": {"execute/ray", "execute/cluster"}, "click": {"cli"}, "matplotlib": {"plots"},
    "rich": {"progress"},
    "yaml": {"spec/building", "spec/loading"},
}  # fmt: skip
#: parts that must start at once on a laptop: neither torch nor mlflow, not even through another module
LIGHT = ("spec", "record", "judge", "report", "draws", "errors", "plots", "progress", "cli")


def modules():
    for path in sorted(ROOT.rglob("*.py")):
        yield path.relative_to(ROOT).with_suffix("").as_posix().removesuffix("/__init__"), ast.parse(path.read_text())


def imports(tree, top_level_only=False):
    """Yield the dotted names a module imports."""
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module == "repro")


def room(dotted):
    return dotted.split(".")[1] if "." in dotted else ""


@pytest.mark.parametrize(("name", "tree"), list(modules()), ids=[name for name, _ in modules()])
def test_imports_point_down_and_through_the_doors(name, tree):
    own = name.split("/")[0].replace("__init__", "")
    for dotted in imports(tree):
        top = dotted.split(".")[0]
        if top == "repro":
            other = room(dotted)
            if other.startswith("__"):  # repro.__version__
                continue
            assert other in LAYER, f"{name} imports {dotted}: give it a layer"
            assert other == own or LAYER[other] > LAYER[own] or (own, other) in ALLOWED, f"{name} imports {dotted}"
        if top in DOORS:
            assert {name, own} & DOORS[top], f"{name} imports {top}; its door is {DOORS[top]}"
    if own in LIGHT:
        heavy = {d.split(".")[0] for d in imports(tree, top_level_only=True)} & {"torch", "torchvision", "mlflow"}
        assert not heavy, f"{name} imports {heavy} at module level"
    if own in ("spec", "judge", "report"):
        assert "torch" not in {d.split(".")[0] for d in imports(tree)}
    if own == "execute":
        assert not {room(d) for d in imports(tree)} & {"report", "bench"}
    if own in ("data", "augment", "models", "train", "evaluate"):
        assert "spec" not in {room(d) for d in imports(tree)}


def test_light_rooms_do_not_pull_in_torch_through_others():
    import subprocess
    import sys

    code = (
        "import repro.cli, repro.spec.loading, repro.spec.ledger, repro.report.render, repro.report.tables, "
        "repro.report.evidence, repro.judge.claims, repro.plots, sys; "
        "print([m for m in ('torch', 'mlflow', 'torchvision', 'matplotlib') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    assert out.stdout.strip() == "[]"
