"""In what the recipes of compared experiments differ, as key paths."""

from collections.abc import Iterator
from typing import Any

from repro.spec.recipe import Recipe


def differing(recipes: list[Recipe]) -> tuple[str, ...]:
    """Return the key paths whose values are not the same in all recipes; blocks of another name count whole."""
    return tuple(_paths([recipe.model_dump(mode="json") for recipe in recipes], ""))


def _paths(values: list[Any], path: str) -> Iterator[str]:
    if all(value == values[0] for value in values):
        return
    mappings = all(isinstance(value, dict) for value in values)
    if not mappings or len({value.get("name") for value in values}) > 1:
        yield path
        return
    for key in dict.fromkeys(key for value in values for key in value):
        yield from _paths([value.get(key) for value in values], f"{path}.{key}" if path else key)


def beside(paths: tuple[str, ...], factor: tuple[str, ...]) -> tuple[str, ...]:
    """Return the paths that are no part of the factor."""
    return tuple(path for path in paths if not any(path == key or path.startswith(f"{key}.") for key in factor))
