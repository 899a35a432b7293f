"""Which experiments are timed together: those that claims of time connect, directly or through one another."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from repro.errors import UserError
from repro.judge.timings import Timings
from repro.spec.claims import experiments_of
from repro.spec.explain import nearest
from repro.spec.schema import Report, TimeClaim


@dataclass(frozen=True)
class Wanted:
    """Experiments of a report, in the file's order, to be timed in turn, and the claims that connect them."""

    report: Report
    claims: tuple[TimeClaim, ...]

    @property
    def experiments(self) -> tuple[str, ...]:
        """The experiments that the claims name."""
        named = {name for claim in self.claims for name in experiments_of(claim)}
        return tuple(name for name in self.report.experiments if name in named)

    @property
    def name(self) -> str:
        """Report and experiments, for people."""
        return f"{self.report.id}: {', '.join(self.experiments)}"


def choose(reports: Mapping[str, Report], names: Sequence[str], ids: Sequence[str]) -> list[Wanted]:
    """Return the groups of the named reports' claims of time, or of those with these ids.

    Without names all reports count. Raises UserError for a name that is not known, and where there is no such claim.
    """
    for name in names:
        if name not in reports:
            raise UserError(f"{name}: no such report; {nearest(name, reports)}")
    times = {name: [c for c in report.claims if isinstance(c, TimeClaim)] for name, report in reports.items()}
    if without := [name for name in names if not times[name]]:
        having = ", ".join(name for name, claims in times.items() if claims) or "none"
        raise UserError(f"{without[0]}: has no claim of time to measure; reports with one: {having}")
    chosen = {name: times[name] for name in reports if not names or name in names}
    known = {claim.id for claims in chosen.values() for claim in claims}
    if unknown := [each for each in ids if each not in known]:
        listed = ", ".join(f"{name}/{claim.id}" for name, claims in chosen.items() for claim in claims) or "none"
        raise UserError(f"--claim {unknown[0]}: no claim of time has this id; known here: {listed}")
    if not known:
        raise UserError("no report has a claim of time to measure; `kind: time` in experiments/ makes one")
    return [
        Wanted(reports[name], group)
        for name, claims in chosen.items()
        for group in connected([claim for claim in claims if not ids or claim.id in ids])
    ]


def connected(claims: Iterable[TimeClaim]) -> list[tuple[TimeClaim, ...]]:
    """Split claims into groups that share no experiment, each in the order given."""
    groups: list[list[TimeClaim]] = []
    for claim in claims:
        names = set(experiments_of(claim))
        touched = [group for group in groups if any(names & set(experiments_of(other)) for other in group)]
        groups = [group for group in groups if group not in touched]
        groups.append([other for group in touched for other in group] + [claim])
    return [tuple(group) for group in groups]


def missing_first(chosen: Iterable[Wanted], timings: Timings) -> list[Wanted]:
    """Sort groups: those that lack a measurement first, then those with one that does not count, then the oldest."""

    def rank(wanted: Wanted) -> tuple[int, str]:
        found = [timings.of(wanted.report, experiments_of(claim))[0] for claim in wanted.claims]
        return min((0, "") if one is None else (1 + one.counts(), one.date) for one in found)

    return sorted(chosen, key=rank)
