"""A validation error -> one sentence a person can act on: file, line, key path, what is wrong, the mend.

Pydantic's locations hold the tags of discriminated unions besides keys; walking the schema's own fields along a
location tells them apart, and knows which keys and tags would have been right.
"""

import difflib
import re
import types
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import ValidationError

from repro.spec.noted import CURVES
from repro.spec.recipe import Model, Recipe
from repro.spec.schema import PROTOCOLS, Experiment, Report

KeyPath = tuple[str | int, ...]
CURVE_NAMES = [f"{curve}/{metric}" for curve in CURVES for metric in ("acc_pct", "loss")]
STRAIGHT = 'straight quotes ("...")'
#: what tells the models of our unions apart: a block's name, a claim's kind
TAGS = ("kind", "name")
_NOUNS = {
    r"a valid dictionary( or instance of \w+| or object to extract fields from)?": "a mapping",
    "a valid tuple": "a list",
    "a valid integer": "an integer",
    "a valid number": "a number",
    "a valid string": "text (put it in quotes)",
    "a valid boolean": "true or false",
}


def explain(
    error: ValidationError, arms: Mapping[str, Any], lines: Mapping[KeyPath, int], name: str, root: Any = Report
) -> str:
    """Return the first thing wrong as `file:line: key path: message`, and how many more there are.

    `arms` are the experiments as the file gives them, and `lines` the line of each key path of the file; `root` is the
    model of the whole file.
    """
    found: dict[tuple[KeyPath, str], int] = {}  # one mistake in the base recipe shows up in every arm: tell it once
    # A misspelt key is both unknown and missing: speak of the one that is there to be mended.
    for item in sorted(error.errors(include_url=False), key=lambda item: item["type"] != "extra_forbidden"):
        start, here = _walk(item["loc"], root)
        start, message = _message(item, start, here, root)
        keys = item.get("ctx", {}).get("keys", ())
        paths = [_as_written((*start, *_parts(key)), message, arms, lines) for key in keys]
        paths = paths or [_as_written(start, message, arms, lines)]
        # Of keys that do not go together, the one an arm gives itself is the likelier mistake.
        own = (path for path in paths if path[:1] == ("experiments",) and path in lines)
        path = next(own, next((path for path in paths if path in lines), paths[0]))
        found.setdefault((path, message), line_of(path, lines))
    ((path, message), line), more = next(iter(found.items())), len(found) - 1
    return f"{name}:{line}: {dotted(path)}: {message}" + (f" (and {more} more)" if more else "")


def _parts(key: str) -> KeyPath:
    return tuple(int(part) if part.isdigit() else part for part in key.split("."))


def line_of(path: KeyPath, lines: Mapping[KeyPath, int]) -> int:
    """Return the line of a key path, or of the nearest key above it."""
    return next((lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in lines), 1)


def dotted(path: Iterable[str | int]) -> str:
    """Return a key path as people write it: `claims[3].epoch`."""
    out = ""
    for item in path:
        out += f"[{item}]" if isinstance(item, int) else f".{item}" if out else item
    return out or "the file"


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the hint that ends a message about an unknown word: the nearest known one, else all of them."""
    known = sorted(known)
    near = difflib.get_close_matches(word, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known) or 'nothing'}"


def _walk(loc: Iterable[str | int], root: Any) -> tuple[KeyPath, Any]:
    """Follow a location through the schema: the key path without union tags, and the type that stands there."""
    path: list[str | int] = []
    here: Any = root
    for item in loc:
        here, tagged = _plain(here), _tagged(here)
        if tagged:
            here = tagged.get(str(item))
            continue
        path.append(item)
        if isinstance(item, str) and isinstance(here, type) and issubclass(here, Model):
            fields = {field.alias or key: field.annotation for key, field in here.model_fields.items()}
            here = fields.get(item)
        else:  # an item of a list, or a value of a mapping
            args = get_args(here)
            here = (args[0] if isinstance(item, int) else args[-1]) if args else None
    return tuple(path), here


def _plain(annotation: Any) -> Any:
    """Strip `Annotated[...]` and `... | None` from a type."""
    while True:
        rest = [a for a in get_args(annotation) if a is not types.NoneType]
        optional = get_origin(annotation) in (Union, types.UnionType) and len(rest) == 1
        if not optional and get_origin(annotation) is not Annotated:
            return annotation
        annotation = rest[0]


def _tagged(annotation: Any) -> dict[str, type[Model]]:
    """Return a discriminated union's models by tag (one model may have several), else nothing."""
    annotation = _plain(annotation)
    if get_origin(annotation) not in (Union, types.UnionType):
        return {}
    tagged: dict[str, type[Model]] = {}
    for model in get_args(annotation):
        field = next((model.model_fields[key] for key in TAGS if key in getattr(model, "model_fields", {})), None)
        tags = field.annotation if field else None
        tagged |= dict.fromkeys(get_args(tags), model) if get_origin(tags) is Literal else {}
    return tagged


def _known_keys(path: KeyPath, here: Any) -> list[str]:
    """Return the keys the schema knows beside an unknown one, `path` naming that one."""
    if here is Report:
        return [field.alias or key for key, field in Report.model_fields.items()] + ["recipe"]
    if path[0] == "experiments" and len(path) == 3:
        return [key for key in (*Experiment.model_fields, *Recipe.model_fields) if key not in ("id", "recipe")]
    return [field.alias or key for key, field in here.model_fields.items()]


def _message(item: Any, path: KeyPath, here: Any, root: Any) -> tuple[KeyPath, str]:
    """Return where to point and what to say for one of pydantic's errors."""
    kind, context, given = item["type"], item.get("ctx", {}), item.get("input")
    tag_key = str(context.get("discriminator", "")).strip("'")
    if kind == "extra_forbidden":
        _, parent = _walk(item["loc"][:-1], root)
        if given is None and re.search(r"^\d|\s|[“”]", str(path[-1])):  # as `{where: Table 2, row 1}` gives
            text = f"is no key: inside braces the comma before it ends a value; put text with a comma in {STRAIGHT}"
            return path, f"{text}, and write numbers without one"
        return path, "unknown key; " + nearest(str(path[-1]), _known_keys(path, _plain(parent)))
    if kind == "missing":
        return path, "is missing; add it"
    if kind == "union_tag_not_found":
        return (*path, tag_key), f"is missing; give one of {', '.join(_tagged(here))}"
    if kind == "union_tag_invalid":
        return (*path, tag_key), f"unknown {tag_key} {context['tag']!r}; " + nearest(context["tag"], _tagged(here))
    if kind == "string_pattern_mismatch":
        if path[-1] == "protocol" and str(given).startswith("at_epoch"):
            return (
                path,
                f"unknown protocol {given!r}; in at_epoch:K, K is the epoch, counted from 1, such as at_epoch:50",
            )
        if path[-1] == "protocol":
            return path, f"unknown protocol {given!r}; " + nearest(str(given), [*PROTOCOLS, "at_epoch:K"])
        if path[-1] == "curve":
            return path, f"unknown curve {given!r}; " + nearest(str(given), CURVE_NAMES)
        if path[-1] == "layer":
            return path, f"must be a row of the layer summary such as Conv2d-3 (found {_short(given)})"
        if path[-1] == "factor" or path[-2:-1] == ("factor",):
            return path, f"must be a key path of the recipe such as optim or data.split (found {_short(given)})"
        if path == ("id",):
            return path, f"must be 2 to 30 lower-case letters and digits, a letter first (found {_short(given)})"
        if path[:1] == ("experiments",) and path[2:] == ("id",):  # the key that names the experiment
            path = path[:2]
        return path, f"must be lower-case letters and digits, words joined by single hyphens (found {_short(given)})"
    if kind == "string_type" and isinstance(given, dict | list):
        return path, f"must be one text, not a {'mapping' if isinstance(given, dict) else 'list'}"
    message = item["msg"].removeprefix("Value error, ").replace(" after validation", "")
    for theirs, ours in _NOUNS.items():
        message = re.sub(theirs, ours, message)
    message = re.sub("^(Input|Tuple|String|List) should", "must", message)
    if kind == "value_error" or isinstance(given, dict | list):
        return path, message
    if kind.startswith(("int", "float")) and isinstance(given, str) and re.search(r"[%,±]|[^ -~]", given):
        message += " in plain digits, without a sign behind or between them"
    return path, f"{message} (found {_short(given)})"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _as_written(path: KeyPath, message: str, arms: Mapping[str, Any], lines: Mapping[KeyPath, int]) -> KeyPath:
    """Point into the arm's own delta or into the base recipe, whichever holds the faulty key."""
    if len(path) < 3 or path[0] != "experiments" or path[2] != "recipe":
        return path
    own, base = path[:2] + path[3:], path[2:]
    if own in lines or len(own) == 2:
        return own
    # A missing key belongs to the block that lacks it: the arm's, if the arm gives or replaces that block.
    replaced = len(own) > 3 and isinstance(block := arms[str(path[1])].get(str(own[2])), dict) and "name" in block
    return own if (message.startswith("is missing") and own[:3] in lines) or replaced else base
