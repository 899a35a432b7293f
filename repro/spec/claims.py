"""Claims: what a report says that can be counted, measured, compared or only noted; each with its place in the text.

Every kind states what it needs to be judged, before anything runs. `where` is the place in the report; a claim's `id`
never changes once a run has been made under it (`repro.spec.ledger`).
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from repro.spec.comparisons import COMPARED, BandClaim, ConvergenceClaim, OrderClaim, TimeClaim, TrendClaim
from repro.spec.fields import NonNegative
from repro.spec.noted import EPOCH_PROTOCOLS, Curve, Decimals, Epochs, Metric, Noted, Protocol, Slugs, Values
from repro.spec.recipe import Count, Float, Positive, Slug, Text, refuse


class CountClaim(Noted):
    """A number that arithmetic on the network decides exactly.

    `parameters`, the sizes of a layer summary in MB, the parameters of one row of it (`layer_parameters`, with `layer`
    its name such as Conv2d-3), or `depth`, the layers with weights outside shortcuts.
    """

    kind: Literal["count"]
    experiment: Slug
    quantity: Literal[
        "parameters", "input_mb", "forward_backward_mb", "params_mb", "total_mb", "layer_parameters", "depth"
    ] = "parameters"
    layer: Annotated[str, Field(pattern=r"^[A-Za-z0-9]+-[1-9][0-9]*$")] | None = None
    value: Float
    decimals: Decimals = 0

    @model_validator(mode="after")
    def _one_row(self) -> "CountClaim":
        if (self.layer is not None) != (self.quantity == "layer_parameters"):
            raise refuse("layer and quantity: layer_parameters belong together; give both or neither", "layer")
        return self


class DataClaim(Noted):
    """A number that CIFAR-10 itself decides exactly: how many images and classes, or a channel's mean or std in [0, 1].

    Judged from facts of the fingerprinted images; mean and std are over all pixels of the training images.
    """

    kind: Literal["data"]
    quantity: Literal[
        "images", "train_images", "test_images", "classes", "images_per_class", "side", "channel_mean", "channel_std"
    ]
    channel: Literal["red", "green", "blue"] | None = None
    value: Float
    decimals: Decimals = 0

    @model_validator(mode="after")
    def _channel_fits(self) -> "DataClaim":
        if (self.channel is not None) != self.quantity.startswith("channel_"):
            raise refuse("channel belongs to channel_mean and channel_std; give it there and only there", "channel")
        return self


def _fraction(value: float) -> str:
    return f"an accuracy of {value:g} % is far below chance; give it in percent ({100 * value:g})"


class MeasuredClaim(Noted):
    """A number that a training run measures: an accuracy in percent (`point`) or a loss (`loss`).

    `epoch` asks a curve protocol (val, val_augmented, train_running) at that completed epoch, and best_val_loss of the
    epochs until then. It and the K of `at_epoch:K` are in our count, from 1; `epoch_base: 0` says that the paper prints
    the same epoch as K - 1.
    `fold`: of an experiment with a fresh network a fold, the run of that fold; without it the mean over the folds.
    `n`: the images the published number rests on. `runs`: how many runs stand behind it.
    A claim without `experiment` says in `why_not_run` what is missing.
    """

    kind: Literal["point", "loss"]
    experiment: Slug | None = None
    why_not_run: Text | None = None
    metric: Metric = "acc_pct"
    protocol: Protocol = "last"
    epoch: Count | None = None
    epoch_base: Literal[0, 1] = 1
    fold: Count | None = None
    value: Float
    decimals: Decimals
    rounding: Literal["nearest", "floor"] = "nearest"
    runs: Count = 1
    n: Count = 10_000
    margin: Positive | None = None
    margin_why: Text | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "MeasuredClaim":
        if (self.experiment is None) == (self.why_not_run is None):
            text = "give either experiment (what measures it) or why_not_run (what is missing)"
            raise refuse(text, "why_not_run", "experiment")
        metrics = ("loss", "nll") if self.kind == "loss" else ("acc_pct", "ece_pct")
        if self.metric not in metrics:
            raise refuse(f"a {self.kind} claim is of {' or '.join(metrics)}, not {self.metric}; mend one", "metric")
        if (self.margin is None) != (self.margin_why is None):
            raise refuse("margin and margin_why belong together; give both or neither", "margin", "margin_why")
        if self.epoch is not None and self.protocol not in EPOCH_PROTOCOLS:
            text = f"epoch does not apply to protocol {self.protocol}; for the test set use at_epoch:K"
            raise refuse(text, "epoch")
        if self.metric.endswith("_pct") and not 0 <= self.value <= 100:
            raise refuse(f"a percentage lies between 0 and 100 (found {self.value!r}); give it in percent", "value")
        if self.metric == "acc_pct" and 0 < self.value < 1:
            raise refuse(_fraction(self.value), "value")
        if self.value < 0:
            raise refuse(f"a loss is never below 0 (found {self.value!r}); leave out the sign", "value")
        return self


class TrajectoryClaim(Noted):
    """A published curve, point by point: `values[i]` after `epochs[i]` epochs, in our count from 1.

    `digitising`: the error of reading it off a figure, 0 for printed numbers; `digitising_first`: that of the first
    points where it is another. `epoch_base: 0` says that the paper's axis prints epoch K as K - 1.
    """

    kind: Literal["trajectory"]
    experiment: Slug
    curve: Curve
    epochs: Epochs
    values: Values
    decimals: Decimals
    rounding: Literal["nearest", "floor"] = "nearest"
    digitising: NonNegative = 0.0
    digitising_first: Annotated[tuple[NonNegative, ...], Field(strict=False, min_length=1)] | None = None
    epoch_base: Literal[0, 1] = 1

    @model_validator(mode="after")
    def _points(self) -> "TrajectoryClaim":
        if len(self.epochs) != len(self.values):
            text = f"has {len(self.epochs)} entries and values {len(self.values)}; give one value an epoch"
            raise refuse(f"epochs {text}", "epochs", "values")
        if any(b <= a for a, b in zip(self.epochs, self.epochs[1:], strict=False)):
            raise refuse("epochs must rise from point to point; put them in order, each once", "epochs")
        if (first := len(self.digitising_first or ())) > len(self.epochs):
            text = f"has {first} entries and epochs {len(self.epochs)}; give no more than there are points"
            raise refuse(f"digitising_first {text}", "digitising_first", "epochs")
        high = 100.0 if self.curve.endswith("acc_pct") else float("inf")
        if wrong := next((v for v in self.values if not 0 <= v <= high), None):
            raise refuse(f"holds {wrong!r}, which no {self.curve} can be; give percents, and losses from 0", "values")
        if self.curve.endswith("acc_pct") and 0 < max(self.values) < 1:
            raise refuse(_fraction(max(self.values)), "values")
        return self

    @property
    def errors(self) -> tuple[float, ...]:
        """The error of digitising of each point."""
        first = self.digitising_first or ()
        return first + (self.digitising,) * (len(self.epochs) - len(first))


Row = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False, min_length=10, max_length=10)]


class ConfusionClaim(Noted):
    """A published confusion matrix of the test images: rows are true classes, columns predicted ones, in our order.

    The order is airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck.
    """

    kind: Literal["confusion"]
    experiment: Slug
    protocol: Literal["last", "best_val_loss"] = "last"
    matrix: Annotated[tuple[Row, ...], Field(strict=False, min_length=10, max_length=10)]

    @model_validator(mode="after")
    def _rows(self) -> "ConfusionClaim":
        for number, row in enumerate(self.matrix):
            if sum(row) != 1000:
                text = f"sums to {sum(row)}; each class has 1,000 test images, so mend a cell"
                raise refuse(text, f"matrix.{number}")
        return self


class QualitativeClaim(Noted):
    """A sentence without a number, judged by two or more claims of this file, the `primary` one first among them."""

    kind: Literal["qualitative"]
    text: Text
    indicators: Slugs
    primary: Slug

    @model_validator(mode="after")
    def _primary(self) -> "QualitativeClaim":
        if self.primary not in self.indicators:
            raise refuse(f"primary {self.primary!r} is none of the indicators; name one of them", "primary")
        return self


class UntestableClaim(Noted):
    """What no run decides, with the reason.

    `explanation`: a mechanism named as the cause; `conjecture`: something said that could be but was not done, by them
    or here; `not_testable`: a number or sentence that the text leaves open.
    """

    kind: Literal["not_testable", "explanation", "conjecture"]
    value: Float | None = None
    decimals: Decimals = 0
    text: Text
    why: Text


Claim = Annotated[
    CountClaim | DataClaim | MeasuredClaim | OrderClaim | TrendClaim | ConvergenceClaim | TimeClaim | BandClaim
    | TrajectoryClaim | ConfusionClaim | QualitativeClaim | UntestableClaim,
    Field(discriminator="kind"),
]  # fmt: skip


def experiments_of(claim: Claim) -> tuple[str, ...]:
    """Return the experiments that a claim names itself, in its order; none for indicators, data and prose."""
    names: list[str] = []
    for field in COMPARED.get(claim.kind, ("experiment",)):
        value = getattr(claim, field, None)
        names += [value] if isinstance(value, str) else value or ()
    return tuple(names)
