"""What claims of every kind are made of: a place in the report, and the names of metrics, protocols and curves."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from repro.spec.recipe import Count, Float, Model, Slug, Text

Metric = Literal["acc_pct", "loss", "nll", "ece_pct"]
PROTOCOLS = (
    "last", "best_val_loss", "best_test", "best_test_every10", "best_test_loss", "batch_mean", "last_batch",
    "train_mode_bn", "augmented_test", "val", "val_augmented", "train_running", "gaussian_noise_0.05",
    "gaussian_noise_0.1",
)  # fmt: skip
#: protocols that are a quantity on the validation split, and so need one
VAL_PROTOCOLS = ("best_val_loss", "val", "val_augmented")
#: protocols that have a curve of their own, so that a claim may ask them at an epoch
CURVE_PROTOCOLS = ("val", "val_augmented", "train_running")
#: protocols that a claim may ask before the end of training
EPOCH_PROTOCOLS = (*CURVE_PROTOCOLS, "best_val_loss")
Protocol = Annotated[
    str, Field(pattern=rf"^({'|'.join(p.replace('.', '[.]') for p in PROTOCOLS)}|at_epoch:[1-9][0-9]{{0,4}})$")
]
Decimals = Annotated[int, Field(ge=0, le=10)]


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    for place, name in enumerate(names):
        if name in names[:place]:
            raise PydanticCustomError("twice", f"names {name!r} twice; keep one")
    return names


Slugs = Annotated[tuple[Slug, ...], Field(strict=False, min_length=2, max_length=32), AfterValidator(_distinct)]
Epochs = Annotated[tuple[Count, ...], Field(strict=False, min_length=2, max_length=2000)]
Values = Annotated[tuple[Float, ...], Field(strict=False, min_length=2, max_length=2000)]
#: curves of a run that a trajectory or a comparison of convergence may follow
CURVES = ("test", "val", "val_augmented", "train", "train_running")
Curve = Annotated[str, Field(pattern=rf"^({'|'.join(CURVES)})/(acc_pct|loss)$")]


class Noted(Model):
    """What every claim has: an id, its place in the report, and what a reader should know."""

    id: Slug
    headline: bool = False
    where: Text
    note: Text | None = None
