"""YAML -> Report: safe loader, duplicate keys and aliases refused, arms merged, errors with file, line and key path."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from repro.errors import UserError
from repro.spec.answerable import check_report
from repro.spec.explain import KeyPath, dotted, explain, line_of
from repro.spec.recipe import Recipe
from repro.spec.schema import Report

MAX_BYTES = 1 << 20
_RECIPE_KEYS = frozenset(Recipe.model_fields)
_SCALARS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null"))
_BLOCKS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq"))


def experiments_dir() -> Path:
    """Return the folder of the reports' YAMLs: `$REPRO_EXPERIMENTS`, else ./experiments, else the checkout's."""
    if override := os.environ.get("REPRO_EXPERIMENTS"):
        return Path(override)
    here = Path("experiments")
    return here if here.is_dir() else Path(__file__).resolve().parents[2] / "experiments"


def load_all(folder: Path | None = None) -> dict[str, Report]:
    """Load every `*.yaml` of a folder, by report id in alphabetical order; the file name must be the id."""
    folder = experiments_dir() if folder is None else folder
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of reports; run from the repository or set REPRO_EXPERIMENTS")
    # Editors leave hidden files beside the one that is being edited.
    reports = [load(path) for path in sorted(folder.glob("*.yaml")) if not path.name.startswith(".")]
    if not reports:
        raise UserError(f"{folder}: holds no *.yaml; each report is one YAML there")
    return {report.id: report for report in reports}


def load(path: Path) -> Report:
    """Load and validate one report; raises UserError naming file, line, key path, what was expected and the mend."""
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path}: cannot be read (not a plain file); each report is one YAML")
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path}: larger than {MAX_BYTES // 1024} KiB, which no report needs; split or trim it")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); it must be a file that you may read") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}:{line}: holds a byte that is not UTF-8 text; save the file as UTF-8") from None
    report = parse(text, str(path))
    if report.id != path.stem:
        line = next((n for n, text in enumerate(text.splitlines(), 1) if text.startswith("id:")), 1)
        text = f"is {report.id!r}, but the file's name says {path.stem!r}; rename one of the two"
        raise UserError(f"{path}:{line}: id: {text}")
    return report


def parse(text: str, name: str) -> Report:
    """Parse a report's YAML text; `name` stands for the file in messages."""
    lines: dict[KeyPath, int] = {}
    try:
        tree = _Builder(name, lines).build(yaml.compose(text, Loader=yaml.SafeLoader), ())
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        text = f"holds a character YAML does not allow ({error.character:#x}); remove it"
        raise UserError(f"{name}:{line}: {text}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{name}:{_broken(error)}; check indents, colons, quotes, brackets") from None
    except RecursionError:
        raise UserError(f"{name}:1: nested too deeply; a report needs fewer than ten levels") from None
    if tree is None:
        raise UserError(f"{name}:1: is empty; `repro new` writes a file to begin with")
    if not isinstance(tree, dict):
        raise UserError(f"{name}:1: expected a mapping with schema, id, title, ...; see experiments/ for examples")
    arms = _merge_arms(tree, lines, name)
    try:
        report = Report.model_validate(tree)
    except ValidationError as error:
        raise UserError(explain(error, arms, lines, name)) from None
    check_report(report, lines, name)
    return report


def _broken(error: yaml.YAMLError) -> str:
    """Return the line of a syntax error and what the parser says, with the line where the broken part began."""
    mark, began = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    problem = str(getattr(error, "problem", None) or error)
    if "'\\t'" in problem:
        problem = "a tab where YAML wants spaces"
    if began and mark and began.line != mark.line:
        problem += f", in what began at line {began.line + 1}"
    return f"{mark.line + 1 if mark else 1}: not valid YAML ({problem})"


class _Builder:
    """Turns YAML nodes into plain Python, notes each key's line and refuses what a report needs none of."""

    def __init__(self, name: str, lines: dict[KeyPath, int]):
        self.name, self.lines = name, lines
        self.seen: set[int] = set()
        self.loader = yaml.SafeLoader("")

    def refuse(self, node: yaml.Node, path: KeyPath, message: str) -> UserError:
        return UserError(f"{self.name}:{node.start_mark.line + 1}: {dotted(path)}: {message}")

    def build(self, node: yaml.Node | None, path: KeyPath) -> Any:
        """Build a node; a mapping's values carry their key's line, noted before, and list items their own."""
        if node is None:
            return None
        self.lines.setdefault(path, node.start_mark.line + 1)
        if id(node) in self.seen:  # two uses of one node: an alias, for which a diff would not show what changed
            raise self.refuse(node, path, "uses a YAML alias; write the block out")
        self.seen.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, path)
        if node.tag not in _BLOCKS:
            raise self.refuse(node, path, f"has the YAML tag {node.tag!r}; leave it out")
        if isinstance(node, yaml.SequenceNode):
            return [self.build(child, (*path, i)) for i, child in enumerate(node.value)]
        return self.mapping(node, path)

    def mapping(self, node: yaml.Node, path: KeyPath) -> dict[str, Any]:
        """Build a mapping whose keys are plain words, each given once."""
        result: dict[str, Any] = {}
        for key_node, child in node.value:
            key = key_node.value
            if not isinstance(key, str) or key == "<<":
                raise self.refuse(key_node, path, "has a key that is not a plain word; write the keys out")
            if key in result:
                first = self.lines[(*path, key)]
                raise self.refuse(key_node, (*path, key), f"is given twice (first at line {first}); keep one")
            self.lines[(*path, key)] = key_node.start_mark.line + 1
            result[key] = self.build(child, (*path, key))
        return result

    def scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        """Build text, a number, true/false or null; dates and other tags are refused rather than guessed at."""
        if node.tag not in _SCALARS:
            kind = node.tag.rpartition(":")[2]
            raise self.refuse(node, path, f"YAML reads {node.value[:40]!r} as a {kind}; put it in quotes")
        try:
            return self.loader.construct_object(node)
        except (ValueError, LookupError, OverflowError):  # for example `!!int x`, or an integer of 5,000 digits
            raise self.refuse(node, path, f"cannot read {node.value[:40]!r} as a value; put it in quotes") from None


def merge(base: Any, delta: Any) -> Any:
    """Merge an arm's delta into the base: mappings merge, lists replace, another `name` replaces the whole block."""
    if not (isinstance(base, Mapping) and isinstance(delta, Mapping)):
        return delta
    if "name" in delta and delta["name"] != base.get("name"):
        return dict(delta)
    return {**base, **{key: merge(base.get(key), value) for key, value in delta.items()}}


def _merge_arms(tree: dict[str, Any], lines: Mapping[KeyPath, int], name: str) -> dict[str, Any]:
    """Replace `recipe` and the arms' deltas by one full recipe an experiment; return the arms as written."""
    base, arms = tree.pop("recipe", None), tree.get("experiments")

    def refuse(path: KeyPath, message: str) -> UserError:
        return UserError(f"{name}:{line_of(path, lines)}: {dotted(path)}: {message}")

    if not isinstance(base, dict):
        raise refuse(("recipe",), "is missing or not a mapping; give data, model, loss, optim, schedule, budget")
    if not isinstance(arms, dict) or not arms:
        raise refuse(("experiments",), "is missing or empty; give at least one, for example `baseline: {...}`")
    for arm_id, arm in arms.items():
        if not isinstance(arm, dict):
            raise refuse(("experiments", arm_id), "must be a mapping with reading, tier, title and deltas")
        for key in ("id", "recipe"):
            if key in arm:
                raise refuse(("experiments", arm_id, key), "is not a key here; write an arm's deltas directly")
    tree["experiments"] = {
        arm_id: {
            **{key: value for key, value in arm.items() if key not in _RECIPE_KEYS},
            "id": arm_id,
            "recipe": merge(base, {key: value for key, value in arm.items() if key in _RECIPE_KEYS}),
        }
        for arm_id, arm in arms.items()
    }
    return arms
