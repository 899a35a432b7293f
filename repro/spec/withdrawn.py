"""Records that are withdrawn: `reports/withdrawn.yaml` says which, and why. Nothing is deleted, and no key changes.

The file is read as strictly as a report's. Where it is not there, nothing is withdrawn.
"""

import os
import re
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, Field, ValidationError, model_validator

from repro.errors import UserError
from repro.record import RunRecord
from repro.spec.building import Builder
from repro.spec.explain import KeyPath, explain
from repro.spec.fields import Model, Text, refuse
from repro.spec.loading import plain, read

FILE = "withdrawn.yaml"
SELECTORS = ("commits", "numerics", "env_classes", "experiments", "run_keys")
_NUMERICS = re.compile(r"-n([0-9]+)(?:-|$)")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _matching(pattern: str, expected: str) -> AfterValidator:
    """Return the check of a text against a pattern, with the words that say what was expected."""

    def checked(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"must be {expected} (found {text[:40]!r})")
        return text

    return AfterValidator(checked)


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text if _DATE.fullmatch(text) else "").isoformat()
    except ValueError:
        raise ValueError(f"must be a day such as 2026-11-21 (found {text[:40]!r})") from None


_ID = r"[a-z0-9]+(-[a-z0-9]+)*"
_Commit = Annotated[str, _matching("[0-9a-f]{7,40}", "the first 7 to 40 hex figures of a commit")]
_Class = Annotated[str, _matching(_ID, "a class of environment such as cuda-bf16-relaxed-n1")]
_Name = Annotated[str, _matching(f"{_ID}(/{_ID})?", "a report or report/experiment such as geng2022/augmix500")]
_Key = Annotated[str, _matching("[0-9a-f]{16}", "a run key, 16 hex figures")]
_Several = Field(strict=False)


class Made(NamedTuple):
    """What selectors look at; `commits`: those of a run's start and of each time it was resumed."""

    run_key: str
    report: str
    experiments: Sequence[str]
    env_class: str
    commits: Sequence[str]

    @classmethod
    def of(cls, record: RunRecord) -> "Made":
        """Return it of a record."""
        starts = [record.env, *(start for start in record.resumed if isinstance(start, dict))]
        commits = [str(start.get("commit")) for start in starts]
        return cls(record.run_key, record.report, record.experiments, record.env_class, commits)


class Entry(Model):
    """Why some records are withdrawn, since when, and which: every selector given must hold, by any of its values."""

    why: Text
    date: Annotated[str, AfterValidator(_day)]
    commits: Annotated[tuple[_Commit, ...], _Several] = ()
    numerics: Annotated[tuple[Annotated[int, Field(ge=1)], ...], _Several] = ()
    env_classes: Annotated[tuple[_Class, ...], _Several] = ()
    experiments: Annotated[tuple[_Name, ...], _Several] = ()
    run_keys: Annotated[tuple[_Key, ...], _Several] = ()

    @model_validator(mode="after")
    def _selects(self) -> "Entry":
        if empty := [name for name in SELECTORS if name in self.model_fields_set and not getattr(self, name)]:
            raise refuse("holds no value; give one, or leave the key out", *empty)
        if not any(getattr(self, name) for name in SELECTORS):
            raise refuse(f"selects nothing; give at least one of {', '.join(SELECTORS)}")
        return self

    def holds(self, made: Made) -> bool:
        """Whether the entry withdraws what was made so."""
        numerics = {int(found) for found in _NUMERICS.findall(made.env_class)}
        names = {made.report, *(f"{made.report}/{name}" for name in made.experiments)}
        return (
            (not self.commits or any(commit.startswith(self.commits) for commit in made.commits))
            and (not self.numerics or bool(numerics & set(self.numerics)))
            and (not self.env_classes or made.env_class in self.env_classes)
            and (not self.experiments or bool(names & set(self.experiments)))
            and (not self.run_keys or made.run_key in self.run_keys)
        )


class Struck(NamedTuple):
    """A withdrawn record, and the entry that withdraws it."""

    record: RunRecord
    entry: Entry


class Withdrawn(Model):
    """What a `withdrawn.yaml` says: its entries, the first that holds for a record is the one that is named."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    withdrawn: Annotated[tuple[Entry, ...], Field(strict=False)] = ()

    def find(self, record: RunRecord | Made) -> Entry | None:
        """Return the entry that withdraws a record, None where none does."""
        if not self.withdrawn:
            return None
        made = Made.of(record) if isinstance(record, RunRecord) else record
        return next((entry for entry in self.withdrawn if entry.holds(made)), None)

    def why(self, record: RunRecord) -> str | None:
        """Return why a record is withdrawn, None where it is not."""
        entry = self.find(record)
        return entry.why if entry else None

    def split(self, records: Iterable[RunRecord]) -> tuple[list[RunRecord], list[Struck]]:
        """Return the records that stand, and those that are withdrawn, both in the order given."""
        stand: list[RunRecord] = []
        struck: list[Struck] = []
        for record in records:
            if entry := self.find(record):
                struck.append(Struck(record, entry))
            else:
                stand.append(record)
        return stand, struck


NONE = Withdrawn()


class _Dated(Builder):
    """Takes a day as the text that it is; all else as in a report."""

    def scalar(self, node: Any, path: KeyPath) -> Any:
        if node.tag.endswith(":timestamp") and _DATE.fullmatch(node.value):
            return node.value
        return super().scalar(node, path)


def of(reports_dir: Path) -> Withdrawn:
    """Return what the `withdrawn.yaml` of a folder of reports says; see `load`."""
    return load(reports_dir / FILE)


def load(path: Path) -> Withdrawn:
    """Read the file; nothing is withdrawn where it is missing. Raises UserError naming file, line, key and mend."""
    if not os.path.lexists(path):
        return NONE
    name, lines = str(path), dict[KeyPath, int]()
    tree = plain(read(path, "list of withdrawn records"), name, _Dated(name, lines))
    if not isinstance(tree, dict):
        raise UserError(f"{name}:1: expected a mapping with schema and withdrawn; drop a file that withdraws nothing")
    for key in ("schema", "withdrawn"):
        if key not in tree:
            raise UserError(f"{name}:1: {key}: is missing; add it")
    try:
        return Withdrawn.model_validate(tree)
    except ValidationError as error:
        raise UserError(explain(error, {}, lines, name, Withdrawn)) from None
