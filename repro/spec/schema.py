"""Every key a report's YAML may hold beside its recipes: experiments, claims, sentences, prose; others are refused."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from repro.spec.claims import (
    Claim,
    ConfusionClaim,
    CountClaim,
    DataClaim,
    MeasuredClaim,
    QualitativeClaim,
    TrajectoryClaim,
    UntestableClaim,
    experiments_of,
)
from repro.spec.comparisons import BandClaim, ConvergenceClaim, OrderClaim, TimeClaim, TrendClaim
from repro.spec.noted import CURVE_PROTOCOLS, PROTOCOLS, VAL_PROTOCOLS, Metric, Protocol
from repro.spec.recipe import Model, Recipe, Slug, Text, refuse
from repro.spec.sourcing import Checklist, Rung, Stated

__all__ = [
    "CURVE_PROTOCOLS", "PROTOCOLS", "VAL_PROTOCOLS", "BandClaim", "Checklist", "Claim", "ConfusionClaim",
    "ConvergenceClaim", "CountClaim", "DataClaim", "Deviation", "Experiment", "Finding", "MeasuredClaim", "Metric",
    "OrderClaim", "Protocol", "QualitativeClaim", "Reading", "Report", "Rung", "Sentence", "Source", "Stated",
    "Tier", "TimeClaim", "TrajectoryClaim", "TrendClaim", "UntestableClaim", "experiments_of",
]  # fmt: skip

Reading = Literal["as_written", "as_released", "as_evidenced", "isolated"]
Tier = Literal["headline", "core", "extended", "long"]


def _free(name: str) -> str:
    if name in ("ledger", "bench"):  # folders of reports/ that are no report's
        raise PydanticCustomError("taken", f"{name!r} is the name of another folder in reports/; choose another id")
    return name


ReportId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]{1,29}$"), AfterValidator(_free)]


class Experiment(Model):
    """One arm: the report's base recipe with this arm's deltas merged in."""

    id: Slug
    reading: Reading
    tier: Tier
    title: Text
    recipe: Recipe


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


class Sentence(Model):
    """A table cell, figure or sentence of the report (in our words), bound to what answers it, or to why nothing does.

    `claims` and `findings` are ids of this file, `settings` key paths of values that it was turned into, such as
    recipe.optim.lr. A reason: `explanation` (a cause nobody can test from outside), `conjecture` (something not done),
    `not_testable` (left open by the text), `background` (a fact that is not this report's own).
    """

    where: Text
    says: Text
    claims: Annotated[tuple[Slug, ...], Field(strict=False)] = ()
    settings: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    findings: Annotated[tuple[Slug, ...], Field(strict=False)] = ()
    explanation: Text | None = None
    conjecture: Text | None = None
    not_testable: Text | None = None
    background: Text | None = None

    @model_validator(mode="after")
    def _bound(self) -> "Sentence":
        reasons = [self.explanation, self.conjecture, self.not_testable, self.background]
        if not (self.claims or self.settings or self.findings or any(reasons)):
            text = "is bound to nothing; give claims, settings, findings, or a reason (explanation, conjecture, ...)"
            raise refuse(text, "says")
        return self


class Source(Model):
    """Who wrote the report, when, where its code is (owner/name of a public repository), and what to know of it."""

    authors: Annotated[tuple[Text, ...], Field(strict=False, min_length=1)]
    year: Annotated[int, Field(ge=1990, le=2100)]
    course: Text | None = None
    file: Text | None = None
    code: Text | None = None
    code_note: Text | None = None


class Report(Model):
    """One YAML: recipe and experiments (already merged), claims, and what was assumed, changed and found.

    `evidence` says where else than in the text a published number stands, `checklist` what the report says of its runs.
    """

    schema_version: Literal[1] = Field(alias="schema")
    id: ReportId
    title: Text
    source: Source
    summary: Text
    experiments: dict[str, Experiment]
    claims: Annotated[tuple[Claim, ...], Field(strict=False)]
    sentences: Annotated[tuple[Sentence, ...], Field(strict=False)] = ()
    evidence: Annotated[tuple[Rung, ...], Field(strict=False)] = ()
    checklist: Checklist = Field(default_factory=Checklist)
    assumed: dict[str, Text] = Field(default_factory=dict)
    deviations: Annotated[tuple[Deviation, ...], Field(strict=False)] = ()
    findings: Annotated[tuple[Finding, ...], Field(strict=False)] = ()
