"""YAML -> Report: safe loader, duplicate keys and aliases refused, arms merged, errors with file, line and key path."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from repro.errors import UserError
from repro.spec.answerable import check_report
from repro.spec.building import Builder, Loader, quickly
from repro.spec.explain import KeyPath, dotted, explain, line_of
from repro.spec.recipe import Recipe
from repro.spec.schema import Report

MAX_BYTES = 1 << 20
_RECIPE_KEYS = frozenset(Recipe.model_fields)


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
    text = read(path)
    report = parse(text, str(path))
    if report.id != path.stem:
        line = next((n for n, text in enumerate(text.splitlines(), 1) if text.startswith("id:")), 1)
        text = f"is {report.id!r}, but the file's name says {path.stem!r}; rename one of the two"
        raise UserError(f"{path}:{line}: id: {text}")
    return report


def read(path: Path, kind: str = "report") -> str:
    """Return a YAML file's text, of at most `MAX_BYTES`; raises UserError where it cannot be read or is no text."""
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path}: cannot be read (not a plain file); each {kind} is one YAML")
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)  # what a file says of its size need not be so
        if len(data) > MAX_BYTES:
            raise UserError(f"{path}: larger than {MAX_BYTES // 1024} KiB, which no {kind} needs; split or trim it")
        return data.decode("utf-8").replace("\r\n", "\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); it must be a file that you may read") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}:{line}: holds a byte that is not UTF-8 text; save the file as UTF-8") from None


def parse(text: str, name: str) -> Report:
    """Parse a report's YAML text; `name` stands for the file in messages."""
    lines: dict[KeyPath, int] = {}
    tree = plain(text, name, Builder(name, lines))
    if tree is None:
        raise UserError(f"{name}:1: is empty; `repro new` writes a file to begin with")
    if not isinstance(tree, dict):
        raise UserError(f"{name}:1: expected a mapping with schema, id, title, ...; see experiments/ for examples")
    return checked(tree, lines, name)


def plain(text: str, name: str, builder: Builder) -> Any:
    """Return what a YAML text holds as plain values, None of an empty one; raises UserError where it is no YAML."""
    loader = None
    try:
        if (root := quickly(text)) is None:
            loader = Loader(text)
            root = loader.get_single_node()
        return builder.build(root, ())
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        text = f"holds a character YAML does not allow ({error.character:#x}); remove it"
        raise UserError(f"{name}:{line}: {text}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{name}:{_broken(error)}; check indents, colons, quotes, brackets") from None
    except (ValueError, OverflowError):  # from the scanner: "\UFFFFFFFF", a YAML version of 5,000 digits
        line = loader.line + 1 if loader else 1
        raise UserError(f"{name}:{line}: not valid YAML (a number that no character or version has)") from None
    except RecursionError:
        raise UserError(f"{name}:1: nested too deeply; a report needs fewer than ten levels") from None


def checked(tree: dict[str, Any], lines: Mapping[KeyPath, int], name: str) -> Report:
    """Validate what a YAML holds, which is changed on the way; `lines`: the line of each key path, for messages."""
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
        raise refuse(
            ("experiments",), "is missing, empty or not a mapping; give at least one, for example `baseline: {...}`"
        )
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
