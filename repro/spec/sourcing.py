"""Where a published number stands beside the report's text, and what a report says of how it was made.

Neither decides a verdict, so both may be mended at any time: they are in no key and in no ledger.
"""

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from repro.spec.recipe import Float, Model, Slug, Text, refuse

#: where evidence can stand, nearest to the reader first; `readings` of ours come after them
Source = Literal["text", "readme", "log", "notebook", "code"]
SOURCES: tuple[str, ...] = get_args(Source)
State = Literal["stated", "code_only", "nowhere"]

#: how a place begins that is not in the report's own text
_PLACES = {
    "README": "readme", "Log": "log", "Result file": "log", "Commit message": "log",
    "Notebook": "notebook", "notebook": "notebook",
}  # fmt: skip


class Rung(Model):
    """What one source besides the text says of a published number; in our words, with the number where it has one.

    `claim` is any claim of that number: the rung counts for all claims with its value, metric and place. `value` is
    in the claim's unit.
    """

    claim: Slug
    source: Literal["readme", "log", "notebook", "code"]
    says: Text
    value: Float | None = None
    decimals: Annotated[int, Field(ge=0, le=10)] | None = None

    @model_validator(mode="after")
    def _printed(self) -> "Rung":
        if (self.value is None) != (self.decimals is None):
            raise refuse("value and decimals belong together; give both or neither", "value", "decimals")
        return self


class Stated(Model):
    """Whether a report says one thing that a run needs: in its text (or figures), only in its code, or nowhere.

    `says`: what it is, as far as known. `differs`: what the code does otherwise, where the text states something.
    """

    state: State
    says: Text
    differs: Text | None = None

    @model_validator(mode="after")
    def _stated(self) -> "Stated":
        if self.differs is not None and self.state != "stated":
            text = f"differs is for what the text states and the code does otherwise; leave it out where {self.state}"
            raise refuse(text, "differs")
        return self


class Checklist(Model):
    """What has to be known to train a report's experiments again, in the order of a run; None: not looked up."""

    data_split: Stated | None = None
    preprocessing: Stated | None = None
    augmentation: Stated | None = None
    architecture: Stated | None = None
    initialization: Stated | None = None
    optimizer: Stated | None = None
    optimizer_constants: Stated | None = None
    learning_rate: Stated | None = None
    schedule: Stated | None = None
    batch_size: Stated | None = None
    epochs: Stated | None = None
    selection_rule: Stated | None = None
    test_protocol: Stated | None = None
    seeds: Stated | None = None
    runs: Stated | None = None
    hardware: Stated | None = None
    versions: Stated | None = None
    weights: Stated | None = None

    def looked_up(self) -> dict[str, Stated]:
        """Return what is known by item, in the order of a run."""
        return {item: stated for item in ITEMS if (stated := getattr(self, item)) is not None}


ITEMS = tuple(Checklist.model_fields)


def source_of(place: str) -> str:
    """Return which source a claim's `where`, or one part of it between semicolons, names: the text unless it says."""
    return next((source for start, source in _PLACES.items() if place.strip().startswith(start)), "text")
