"""Every key a report's YAML may hold beside its recipes: experiments, claims, prose; unknown keys are refused."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from repro.spec.recipe import Count, Float, Model, Positive, Recipe, Slug, Text, refuse

Reading = Literal["as_written", "as_released", "as_evidenced", "isolated"]
Tier = Literal["headline", "core", "extended", "long"]
Metric = Literal["acc_pct", "loss", "nll", "ece_pct"]
PROTOCOLS = (
    "last", "best_val_loss", "best_test", "best_test_every10", "best_test_loss", "batch_mean", "last_batch",
    "train_mode_bn", "augmented_test", "val", "val_augmented", "train_running",
)  # fmt: skip
#: protocols that are a quantity on the validation split, and so need one
VAL_PROTOCOLS = ("best_val_loss", "val", "val_augmented")
#: protocols that have a curve of their own, so that a claim may ask them at an epoch
CURVE_PROTOCOLS = ("val", "val_augmented", "train_running")
Protocol = Annotated[str, Field(pattern=rf"^({'|'.join(PROTOCOLS)}|at_epoch:[1-9][0-9]{{0,4}})$")]


def _free(name: str) -> str:
    if name == "ledger":  # reports/ledger is taken
        raise PydanticCustomError("taken", "'ledger' is the name of another folder in reports/; choose another id")
    return name


ReportId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]{1,29}$"), AfterValidator(_free)]


class Experiment(Model):
    """One arm: the report's base recipe with this arm's deltas merged in."""

    id: Slug
    reading: Reading
    tier: Tier
    title: Text
    recipe: Recipe


class CountClaim(Model):
    """A number that arithmetic decides exactly: parameters, or a size as a layer summary prints it."""

    kind: Literal["count"]
    id: Slug
    experiment: Slug
    quantity: Literal["parameters", "input_mb", "forward_backward_mb", "params_mb", "total_mb"] = "parameters"
    value: Float
    decimals: Annotated[int, Field(ge=0, le=6)] = 0
    headline: bool = False
    where: Text
    note: Text | None = None


class MeasuredClaim(Model):
    """A number that a training run measures: an accuracy in percent (`point`) or a loss (`loss`).

    `epoch` asks a curve protocol (val, val_augmented, train_running) at that completed epoch. It and the K of
    `at_epoch:K` are in our count, from 1; `epoch_base: 0` says that the paper prints the same epoch as K - 1.
    `n`: the images the published number rests on. `runs`: how many runs stand behind it.
    A claim without `experiment` says in `why_not_run` what is missing.
    """

    kind: Literal["point", "loss"]
    id: Slug
    experiment: Slug | None = None
    why_not_run: Text | None = None
    metric: Metric = "acc_pct"
    protocol: Protocol = "last"
    epoch: Count | None = None
    epoch_base: Literal[0, 1] = 1
    value: Float
    decimals: Annotated[int, Field(ge=0, le=6)]
    rounding: Literal["nearest", "floor"] = "nearest"
    runs: Count = 1
    n: Count = 10_000
    margin: Positive | None = None
    margin_why: Text | None = None
    headline: bool = False
    where: Text
    note: Text | None = None

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
        if self.epoch is not None and self.protocol not in CURVE_PROTOCOLS:
            text = f"epoch does not apply to protocol {self.protocol}; for the test set use at_epoch:K"
            raise refuse(text, "epoch")
        if self.metric.endswith("_pct") and not 0 <= self.value <= 100:
            raise refuse(f"a percentage lies between 0 and 100 (found {self.value!r}); give it in percent", "value")
        if self.value < 0:
            raise refuse(f"a loss is never below 0 (found {self.value!r}); leave out the sign", "value")
        return self


class UntestableClaim(Model):
    """A published number or sentence that no run can decide, with the reason."""

    kind: Literal["not_testable"]
    id: Slug
    value: Float | None = None
    decimals: Annotated[int, Field(ge=0, le=6)] = 0
    text: Text
    why: Text
    headline: bool = False
    where: Text


Claim = Annotated[CountClaim | MeasuredClaim | UntestableClaim, Field(discriminator="kind")]


class Deviation(Model):
    """Where our run differs from theirs on purpose: theirs, ours, why, expected effect."""

    theirs: Text
    ours: Text
    why: Text
    effect: Text


class Finding(Model):
    """What the report's own evidence contradicts, neutrally put, with where it can be seen."""

    id: Slug
    text: Text
    evidence: Text


class Source(Model):
    """Who wrote the report, when, and where its code is (owner/name of a public repository)."""

    authors: Annotated[tuple[Text, ...], Field(strict=False, min_length=1)]
    year: Annotated[int, Field(ge=1990, le=2100)]
    course: Text | None = None
    file: Text | None = None
    code: Text | None = None


class Report(Model):
    """One YAML: recipe and experiments (already merged), claims, and what was assumed, changed and found."""

    schema_version: Literal[1] = Field(alias="schema")
    id: ReportId
    title: Text
    source: Source
    summary: Text
    experiments: dict[str, Experiment]
    claims: Annotated[tuple[Claim, ...], Field(strict=False)]
    assumed: dict[str, Text] = Field(default_factory=dict)
    deviations: Annotated[tuple[Deviation, ...], Field(strict=False)] = ()
    findings: Annotated[tuple[Finding, ...], Field(strict=False)] = ()
