"""Kinds of fields that spec models share, their strict and frozen base, and the error of keys that clash."""

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

#: text that a number field means as a number: YAML 1.1 reads 5e-4 (no dot) as text
NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"


def number(value: Any) -> Any:
    """Return text that a number field means as a number, and anything else as it is."""
    return float(value) if isinstance(value, str) and re.fullmatch(NUMBER, value) else value


Slug = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=40)]
Text = Annotated[str, Field(min_length=1, max_length=2000)]
Float = Annotated[float, BeforeValidator(number), Field(allow_inf_nan=False)]
Positive = Annotated[float, BeforeValidator(number), Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, BeforeValidator(number), Field(ge=0, allow_inf_nan=False)]
Decay = Annotated[float, BeforeValidator(number), Field(ge=0, lt=1)]
Probability = Annotated[float, BeforeValidator(number), Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1, le=10**6)]
RGB = Annotated[tuple[Float, Float, Float], Field(strict=False)]


class Model(BaseModel):
    """Base of every spec model: strict types, unknown keys refused, frozen."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def refuse(message: str, *keys: str) -> PydanticCustomError:
    """Return the error of keys that do not go together: dotted paths from the model, the likeliest at fault first."""
    return PydanticCustomError("together", "{text}", {"text": message, "keys": keys})
