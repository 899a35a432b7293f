"""What a run takes, in minutes: as measured on machines of a class, else as estimated for one H200. Ratios matter."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import median

from repro.record import RunRecord
from repro.spec import cost
from repro.spec.identity import Run, recipe_hash
from repro.spec.schema import Report

ESTIMATED = "on one H200 (estimate)"


class Minutes:
    """The minutes of runs. Where some were measured, estimates of the others are scaled by the median of the ratios.

    `env_class`: the class of machines whose records are asked; None asks none. `left`: the share of a run that is yet
    to be trained, by key, where it was begun.
    """

    def __init__(
        self, reports: Mapping[str, Report], records: Iterable[RunRecord] = (), env_class: str | None = None,
        left: Mapping[str, float] | None = None,
    ):  # fmt: skip
        self.left = left or {}
        self.estimates, hashes = {}, {}
        for report in reports.values():
            for name, experiment in report.experiments.items():
                priced = cost.of(experiment.recipe)
                self.estimates[report.id, name] = priced.minutes / priced.networks
                hashes[report.id, name] = recipe_hash(experiment.recipe)
        taken: dict[tuple[str, str], list[float]] = defaultdict(list)
        for record in records:
            if record.env_class == env_class and record.counts and record.seconds > 0:
                taken[record.report, record.recipe_hash].append(record.seconds / 60)
        known = {key: taken[key[0], sha] for key, sha in hashes.items() if (key[0], sha) in taken}
        self.measured = {key: median(each) for key, each in known.items()}
        self.scale = median(took / self.estimates[key] for key, took in self.measured.items()) if known else 1.0

    def __call__(self, run: Run) -> float:
        """Return the minutes that a run has left."""
        key = (run.report, run.experiments[0])
        return self.left.get(run.key, 1.0) * self.measured.get(key, self.scale * self.estimates[key])

    @property
    def where(self) -> str:
        """Say on what the minutes are, and whether they were measured."""
        return "by what runs took on such a machine" if self.measured else ESTIMATED
