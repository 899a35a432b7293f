"""JSON Schema of a report's YAML as authors write it, derived from the models, for completion and checks in an editor.

The models describe experiments already merged; a file holds one full recipe and experiments as changes to it:
mappings merge, lists and plain values replace, a block with another `name` replaces the whole block.
"""

from collections.abc import Mapping
from typing import Any

from repro.spec.recipe import NUMBER
from repro.spec.schema import Report

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_BOUNDS = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}

Schema = dict[str, Any]


def author_schema() -> Schema:
    """Return the schema. It asks for a full base recipe; the loader only that each experiment's merged one is full."""
    schema = Report.model_json_schema()
    defs: dict[str, Schema] = schema["$defs"]
    experiment, recipe = defs.pop("Experiment"), defs["Recipe"]
    changes = {key: _change(field, defs) for key, field in recipe["properties"].items()}
    own = {key: field for key, field in experiment["properties"].items() if key not in ("id", "recipe")}
    defs["Experiment"] = {
        "type": "object", "additionalProperties": False, "properties": own | changes,
        "required": [key for key in experiment["required"] if key in own],
        "description": "One experiment: what it is, and what it changes in the recipe.",
    }  # fmt: skip
    experiments = {
        "type": "object", "minProperties": 1, "propertyNames": experiment["properties"]["id"],
        "additionalProperties": {"$ref": "#/$defs/Experiment"},
    }  # fmt: skip
    properties = {}
    for key, field in schema["properties"].items():
        if key == "experiments":
            properties["recipe"] = {"$ref": "#/$defs/Recipe"}
        properties[key] = experiments if key == "experiments" else field
    description = "One report: what it claims, how it was trained, and what was assumed, changed and found."
    found = _tidy(schema | {
        "properties": properties, "required": [*schema["required"], "recipe"], "description": description,
        "allOf": _replacements(recipe),
    })  # fmt: skip
    return {"$schema": DIALECT, **found}


def _change(field: Schema, defs: dict[str, Schema]) -> Schema:
    """Return a field as a change to one that is there: of a mapping any part may be given."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        if (part := f"{name}Change") not in defs:
            properties = {key: _change(inner, defs) for key, inner in defs[name]["properties"].items()}
            kept = {key: value for key, value in defs[name].items() if key != "required"}
            defs[part] = kept | {"properties": properties}
        return {"$ref": f"#/$defs/{part}"}
    for union in ("oneOf", "anyOf"):
        if union in field:
            return {"anyOf": [_change(inner, defs) for inner in field[union]]}
    return {key: value for key, value in field.items() if key != "default"}


def _replacements(recipe: Schema) -> list[Schema]:
    """Return, for each name a base block may have: a block of that name is a change to it, any other must be full."""
    rules = []
    for key, field in recipe["properties"].items():
        mapping: Mapping[str, str] = field.get("discriminator", {}).get("mapping", {})
        for name in mapping:
            allowed = [{"$ref": ref if other != name else f"{ref}Change"} for other, ref in mapping.items()]
            named = {"properties": {"name": {"const": name}}, "required": ["name"]}
            base = {"properties": {"recipe": {"properties": {key: named}, "required": [key]}}}
            arms = {"additionalProperties": {"properties": {key: {"anyOf": allowed}}}}
            rules.append({"if": base, "then": {"properties": {"experiments": arms}}})
    return rules


def _tidy(node: Any) -> Any:
    """Drop pydantic's titles and tags, name bounds as JSON Schema does, allow 5e-4 (which YAML 1.1 reads as text)."""
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    tidy = {
        _BOUNDS.get(key, key): _tidy(value)
        for key, value in node.items()
        if not (key == "title" and isinstance(value, str)) and key != "discriminator"
    }
    if tidy.get("type") != "number":
        return tidy
    kept = {key: tidy.pop(key) for key in ("default", "description") if key in tidy}
    return {"anyOf": [tidy, {"type": "string", "pattern": f"^({NUMBER})$"}], **kept}
