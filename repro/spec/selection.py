"""Which experiments a request names."""

from repro.errors import UserError
from repro.spec.explain import nearest
from repro.spec.schema import Experiment, Report


def select(
    reports: dict[str, Report], targets: tuple[str, ...], everything: bool, tiers: tuple[str, ...]
) -> list[tuple[Report, list[Experiment]]]:
    """Return the experiments that targets and tiers name, report by report; raises UserError for an unknown name."""
    if not targets and not everything:
        raise UserError("nothing to run: name a REPORT or REPORT/EXPERIMENT (see `repro list`), or say --all")
    wanted: dict[str, set[str]] = {}
    for target in targets:
        name, slash, arm = target.partition("/")
        if not name:
            raise UserError(f"{target}: expected REPORT or REPORT/EXPERIMENT; see `repro list`")
        if name not in reports:
            raise UserError(f"{target}: no report {name!r}; {nearest(name, reports)}")
        arms = reports[name].experiments
        if slash and arm not in arms:
            raise UserError(f"{target}: no experiment {arm!r} in {name}; {nearest(arm, arms)}")
        wanted.setdefault(name, set()).update([arm] if slash else arms)
    chosen = []
    for report in reports.values():
        names = set(report.experiments) if everything else wanted.get(report.id, set())
        arms_of = [e for e in report.experiments.values() if e.id in names and (not tiers or e.tier in tiers)]
        if arms_of:
            chosen.append((report, arms_of))
    if not chosen:
        raise UserError(f"no experiment is of tier {' or '.join(tiers)} among those named; see `repro list`")
    return chosen
