"""Times measured side by side, as `repro bench time --save` writes them: pure JSON, read strictly.

Experiments that claims connect are trained in turn, an epoch each, round by round. Times are in seconds.
"""

import json
from collections.abc import Iterable, Sequence
from functools import reduce
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from repro.errors import UserError
from repro.spec.fields import Model, refuse
from repro.spec.identity import recipe_hash
from repro.spec.schema import Report

SCHEMA = 1
#: where `repro bench time --save` writes, in the folder of reports
PLACE = Path("bench", "time.json")
#: rounds that an interval takes
ENOUGH_ROUNDS = 3
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Round(Model):
    """What else used the device just before a round: `busy_pct` of it, `others` processes; None where not known."""

    idle: bool | None
    busy_pct: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    others: Annotated[int, Field(ge=0)] | None = None


class Timed(Model):
    """One experiment: seconds an epoch, round by round, and how many `images` an epoch had of how many `of` a run's."""

    experiment: str
    recipe_hash: str
    images: Annotated[int, Field(ge=1)]
    of: Annotated[int, Field(ge=1)]
    seconds: Annotated[tuple[Seconds, ...], Field(strict=False, min_length=1, max_length=1000)]


class Group(Model):
    """Experiments of one report that were trained in turn; `data` is the name of the images, `date` in UTC."""

    report: str
    date: str
    env_class: str
    data: str
    machine: dict[str, Any]
    experiments: Annotated[tuple[Timed, ...], Field(strict=False, min_length=1, max_length=1000)]
    rounds: Annotated[tuple[Round, ...], Field(strict=False, min_length=1, max_length=1000)]

    @model_validator(mode="after")
    def _whole(self) -> "Group":
        if len(names := [timed.experiment for timed in self.experiments]) != len(set(names)):
            raise refuse("an experiment is listed twice; each is timed once a round", "experiments")
        if any(len(timed.seconds) != len(self.rounds) for timed in self.experiments):
            raise refuse("each experiment has one number of seconds a round", "experiments", "rounds")
        return self

    def timed(self, experiment: str) -> Timed | None:
        """Return an experiment's times; None where it is not of the group."""
        return next((timed for timed in self.experiments if timed.experiment == experiment), None)

    def counts(self, names: Sequence[str] | None = None) -> bool:
        """Whether these experiments, or all of the group, were measured as a verdict needs it."""
        return not self.why_not(names)

    def why_not(self, names: Sequence[str] | None = None) -> str:
        """Say why the measurement does not count; nothing where it does."""
        chosen = [timed for timed in self.experiments if names is None or timed.experiment in names]
        if fewer := next((timed for timed in chosen if timed.images != timed.of), None):
            return f"{fewer.images:,} of {fewer.of:,} images an epoch: shown, never judged"
        if self.data != "cifar10":
            return f"the images are those of {self.data}: shown, never judged"
        if not self.env_class.startswith("cuda"):
            return "measured on a CPU: a ratio of times belongs to a kind of device, and the reports' are of GPUs"
        if len(self.rounds) < ENOUGH_ROUNDS:
            return f"{ENOUGH_ROUNDS} rounds are needed, {len(self.rounds)} here"
        if busy := [i for i, each in enumerate(self.rounds, 1) if each.idle is False]:
            return f"something else used the device in round {', '.join(map(str, busy))}"
        if any(each.idle is None for each in self.rounds):
            return "whether anything else used the device is not known"
        return ""


class Timings(Model):
    """What has been measured side by side, as the file holds it."""

    benchmark: Literal["time"]
    schema_version: Literal[1] = Field(alias="schema")
    groups: Annotated[tuple[Group, ...], Field(strict=False)]

    def of(self, report: Report, names: Sequence[str]) -> tuple[Group | None, str]:
        """Return the measurement that answers for some experiments, else why an older one does not.

        Of several one that counts, of these the latest. One of a recipe that has since been changed answers nothing.
        """
        hashes = {name: recipe_hash(report.experiments[name].recipe) for name in names}
        found, stale = [], ""
        for group in self.groups:
            each = {name: group.timed(name) for name in names}
            if group.report != report.id or None in each.values():
                continue
            changed = [name for name, timed in each.items() if timed and timed.recipe_hash != hashes[name]]
            if changed:
                stale = f"measured before the recipe of `{'`, `'.join(changed)}` was changed"
            else:
                found.append(group)
        best = max(found, key=lambda group: (group.counts(names), group.date), default=None)
        return best, "" if best else stale

    def with_group(self, new: Group) -> "Timings":
        """Return these and a new measurement, in place of those of no other experiments.

        One that counts stays beside a new one that does not.
        """
        names = {timed.experiment for timed in new.experiments}
        kept = [group for group in self.groups if not (_within(group, new.report, names) and _yields(group, new))]
        kept.append(new)
        kept.sort(key=lambda group: (group.report, group.date, [timed.experiment for timed in group.experiments]))
        return self.model_copy(update={"groups": tuple(kept)})

    def to_bytes(self) -> bytes:
        """Return the file's bytes."""
        return (json.dumps(self.model_dump(mode="json", by_alias=True), indent=1, sort_keys=True) + "\n").encode()


def _within(group: Group, report: str, names: set[str]) -> bool:
    return group.report == report and {timed.experiment for timed in group.experiments} <= names


def _yields(old: Group, new: Group) -> bool:
    hashes = {timed.experiment: timed.recipe_hash for timed in new.experiments}
    same = all(hashes[timed.experiment] == timed.recipe_hash for timed in old.experiments)
    return new.counts() or not old.counts() or not same


NONE = Timings.model_validate({"benchmark": "time", "schema": SCHEMA, "groups": ()})


def collected(groups: Iterable[Group]) -> Timings:
    """Return measurements as the file holds them."""
    return reduce(lambda held, group: held.with_group(group), groups, NONE)


def read(reports_dir: Path) -> Timings:
    """Read what `repro bench time --save` has written to a folder of reports; nothing where there is no such file."""
    path = reports_dir / PLACE
    try:
        return Timings.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return NONE
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); expected a file of `repro bench time`") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        said = f"{where}: {first['msg']}" if where else first["msg"]
        text = "expected what `repro bench time --save` writes; delete the file and measure again"
        raise UserError(f"{path}: {said}; {text}") from None
