"""Which experiments a benchmark of training takes: one a report, or those that are named."""

from collections.abc import Mapping, Sequence

from repro.errors import UserError
from repro.spec.explain import nearest
from repro.spec.schema import Experiment, Report

#: besides each report's first headline experiment: networks or losses that are too different to be left out
MORE = ("geng2022/randomflip-128", "zhang2023/vgg-a-bn")

Named = tuple[Report, Experiment]


def choose(reports: Mapping[str, Report], names: Sequence[str]) -> list[Named]:
    """Return the experiments named REPORT/EXPERIMENT; of a name REPORT, and without names, the usual ones.

    Raises UserError for a name that is not known.
    """
    chosen: dict[str, Named] = {}
    for name in names or reports:
        known, _, arm = name.partition("/")
        if known not in reports:
            raise UserError(f"{name}: no report {known!r}; {nearest(known, reports)}")
        arms = reports[known].experiments
        if "/" in name and arm not in arms:
            raise UserError(f"{name}: no experiment {arm!r} in {known}; {nearest(arm, arms)}")
        for each in [arms[arm]] if arm else usual(reports[known]):
            chosen[f"{known}/{each.id}"] = reports[known], each
    return list(chosen.values())


def usual(report: Report) -> list[Experiment]:
    """Return a report's first headline experiment (or its first of all), and what `MORE` adds."""
    arms = list(report.experiments.values())
    first = next((arm for arm in arms if arm.tier == "headline"), arms[0])
    return [first, *(arm for arm in arms if arm is not first and f"{report.id}/{arm.id}" in MORE)]
