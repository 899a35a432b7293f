"""Claims that set experiments beside one another: orders, trends, convergence, times, bands of losses."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from repro.spec.noted import Curve, Decimals, Metric, Noted, Protocol, Slugs
from repro.spec.recipe import Positive, Slug, refuse

#: a key path of the recipe, such as augment or data.split
Factor = Annotated[str, Field(pattern=r"^(data|augment|model|loss|optim|schedule|budget)([.][a-z0-9_]+)*$")]
Factors = Annotated[tuple[Factor, ...], Field(strict=False, min_length=1, max_length=8)]
#: claims of several experiments, and the fields that name them
COMPARED: dict[str, tuple[str, ...]] = {
    "order": ("higher", "lower"), "trend": ("experiments",), "convergence": ("faster", "slower"),
    "time": ("shorter", "longer"), "band": ("narrower", "wider"),
}  # fmt: skip


class Pair(Noted):
    """A claim of two experiments, which have to be two."""

    @model_validator(mode="after")
    def _two(self) -> Self:
        first, second = COMPARED[self.kind]  # type: ignore[attr-defined]
        if getattr(self, first) == getattr(self, second):
            raise refuse(f"{first} and {second} are the same experiment; name two", first, second)
        return self


class OrderClaim(Pair):
    """A comparison: `metric` of the experiment `higher` is above that of `lower`, in runs paired by seed.

    `gap`: the published difference, where there is one. `factor`: the parts of the recipe that the text names as what
    differs, where it names any; in what else the two differ, the note says.
    """

    kind: Literal["order"]
    higher: Slug
    lower: Slug
    metric: Metric = "acc_pct"
    protocol: Protocol = "last"
    gap: Positive | None = None
    decimals: Decimals = 2
    factor: Factors | None = None


class TrendClaim(Noted):
    """A monotone relation: `metric` rises (or falls) along `experiments`, in this order; `factor` as in `order`."""

    kind: Literal["trend"]
    experiments: Slugs
    direction: Literal["rising", "falling"] = "rising"
    metric: Metric = "acc_pct"
    protocol: Protocol = "last"
    factor: Factors | None = None


class ConvergenceClaim(Pair):
    """One experiment reaches good values of a curve in fewer epochs than another."""

    kind: Literal["convergence"]
    faster: Slug
    slower: Slug
    curve: Curve = "test/acc_pct"


class TimeClaim(Pair):
    """One experiment takes less time than another: a ratio, measured side by side on one device, never from records.

    `ratio`: the published time of `longer` over that of `shorter`, where there is one.
    """

    kind: Literal["time"]
    shorter: Slug
    longer: Slug
    ratio: Positive | None = None
    decimals: Decimals = 2

    @model_validator(mode="after")
    def _longer_over_shorter(self) -> "TimeClaim":
        if self.ratio is not None and self.ratio < 1:
            text = f"the time of longer over that of shorter is 1 or more; swap the two, or give {1 / self.ratio:.3g}"
            raise refuse(text, "ratio")
        return self


class BandClaim(Noted):
    """Of two groups of experiments, one has the narrower band of step losses over its learning rates.

    The band at a step reaches from the lowest to the highest loss of the group; its width is the mean over all steps.
    """

    kind: Literal["band"]
    narrower: Slugs
    wider: Slugs
