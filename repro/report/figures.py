"""The figures of a page: curves with what was published over them, confusion matrices, bands of step losses, cost.

Each takes `cache`, a folder of figures drawn before; None draws every time.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

from repro import plots
from repro.judge.claims import choose, records_of
from repro.judge.curves import Bands, bands, matrices, matrix
from repro.judge.records import Pool, number
from repro.record import CLASSES, RunRecord
from repro.report.brackets import bracket_figure
from repro.report.forests import forest
from repro.report.markdown import Md, join, plural
from repro.spec.claims import experiments_of
from repro.spec.identity import sharing
from repro.spec.schema import BandClaim, ConfusionClaim, MeasuredClaim, Report, TrajectoryClaim

__all__ = [
    "Arm", "arms", "bracket_figure", "confusions", "cost", "draw", "forest", "images", "landscape_images", "landscapes",
    "pictures",
]  # fmt: skip

#: the curves that have a place in the figure
_CURVES = {f"{series}/{group}" for series in plots.SERIES for group in plots.GROUPS}
_DRAWN_LEVELS = ("best_val_loss", "best_test", "best_test_every10", "best_test_loss")


@dataclass
class Arm:
    """Experiments of one recipe with the runs that answer for them."""

    names: list[str]
    title: str
    tier: str
    chosen: list[RunRecord]
    replicates: list[RunRecord]
    figures: dict[str, bytes] = field(default_factory=dict)  # file name -> bytes

    @property
    def name(self) -> str:
        """The first experiment's id; it names the figures."""
        return self.names[0]


def arms(report: Report, records: list[RunRecord], profile: str) -> list[Arm]:
    """Return the report's distinct recipes in the file's order, each with its records."""
    records = [record for record in records if record.report == report.id]
    found = []
    for group in sharing(report).values():
        first = group[0]
        chosen, replicates = choose(records_of(report, first.id, records, profile))
        found.append(Arm([each.id for each in group], first.title, first.tier, chosen, replicates))
    return found


def draw(report: Report, arm: Arm, cache: Path | None = None) -> None:
    """Draw an arm's figures: its curves, and for headline arms the mean confusion matrix after the last epoch."""
    if not arm.chosen:
        return
    runs = f"mean of {len(arm.chosen)} runs" if len(arm.chosen) > 1 else "one run"
    names = sorted(_CURVES & {name for record in arm.chosen for name in record.curves})
    curves = {name: [r.curves[name] for r in arm.chosen if name in r.curves] for name in names}
    band = f"{runs}, band: lowest to highest" if len(arm.chosen) > 1 else runs
    if max(record.epochs_done for record in arm.chosen) > 1:  # one epoch is a point, no curve
        arm.figures[f"{arm.name}-curves.svg"] = plots.cached(
            cache, plots.curves_figure, curves, f"{report.id}, {arm.name} ({band})",
            list(published_points(report, arm)), traces=list(published_curves(report, arm)),
        )  # fmt: skip
    matrices = [m for m in (matrix(r) for r in arm.chosen) if m is not None]
    if matrices and (arm.tier == "headline" or _asked(report) & set(arm.names)):
        title = f"{report.id}, {arm.name}: last epoch ({runs})"
        picture = plots.cached(cache, plots.confusion_figure, np.mean(matrices, axis=0), CLASSES, title)
        arm.figures[f"{arm.name}-confusion.svg"] = picture


def _asked(report: Report) -> set[str | None]:
    """Return the experiments whose confusion matrix is of interest: of a headline, or published itself."""
    return {
        claim.experiment
        for claim in report.claims
        if isinstance(claim, ConfusionClaim) or (claim.headline and isinstance(claim, MeasuredClaim))
    }


def published_curves(report: Report, arm: Arm) -> Iterator[plots.Trace]:
    """Yield the published curves that belong on an arm's."""
    for claim in report.claims:
        if isinstance(claim, TrajectoryClaim) and claim.experiment in arm.names:
            yield plots.Trace(claim.curve, claim.epochs, claim.values)


def published_points(report: Report, arm: Arm) -> Iterator[plots.Published]:
    """Yield the published numbers that belong on an arm's curves."""
    for claim in report.claims:
        # The curves are means over folds: a single fold's number lies on none of them.
        if not isinstance(claim, MeasuredClaim) or claim.experiment not in arm.names or claim.fold is not None:
            continue
        budget = report.experiments[claim.experiment].recipe.budget.epochs
        label = f"{claim.value:.{claim.decimals}f}"
        if claim.metric not in plots.GROUPS:
            continue
        if claim.protocol.startswith("at_epoch:") or claim.protocol == "last":
            epoch = int(claim.protocol.partition(":")[2] or budget)
            yield plots.Published(f"test/{claim.metric}", claim.value, label, epoch)
        elif claim.protocol in ("val", "val_augmented", "train_running"):
            yield plots.Published(f"{claim.protocol}/{claim.metric}", claim.value, label, claim.epoch or budget)
        elif claim.protocol in _DRAWN_LEVELS:
            yield plots.Published(f"test/{claim.metric}", claim.value, f"{label} ({claim.protocol})", claim.epoch)


def landscapes(report: Report, records: list[RunRecord], profile: str, cache: Path | None = None) -> dict[str, bytes]:
    """Draw the bands of step losses of each claim whose experiments all have runs; file name -> bytes."""
    pool = Pool(report, records, {}, profile)
    figures = {}
    for claim in report.claims:
        if isinstance(claim, BandClaim) and not isinstance(found := bands(pool, claim), str):
            groups = [pool.groups(name) for name in experiments_of(claim)]
            runs = len({r.run_key for group in groups for seed in found.seeds for r in group[seed]})
            title = f"{report.id}: landscape-{claim.id} ({plural(runs, 'run')}, lowest to highest loss)"
            figures[f"landscape-{claim.id}.svg"] = _landscape(claim, found, title, cache)
    return figures


def _landscape(claim: BandClaim, found: Bands, title: str, cache: Path | None) -> bytes:
    groups = (("narrower", claim.narrower, found.narrower), ("wider", claim.wider, found.wider))
    sides = {
        f"said to be {word}: {names[0]} and {plural(len(names) - 1, 'other')}": (low.mean(axis=0), high.mean(axis=0))
        for word, names, (low, high) in groups
    }
    unit = "training step" if found.curve == "step/loss" else "window of training steps"
    return plots.cached(cache, plots.bands_figure, sides, title, unit)


def confusions(report: Report, records: list[RunRecord], profile: str, cache: Path | None = None) -> dict[str, bytes]:
    """Draw each published confusion matrix beside ours, where runs hold one; file name -> bytes."""
    pool = Pool(report, records, {}, profile)
    figures = {}
    for claim in report.claims:
        if isinstance(claim, ConfusionClaim):
            theirs = np.array(claim.matrix, float)
            if ours := list(matrices(pool, claim).values()):
                title = f"{report.id}, {claim.experiment}: {claim.id}"
                picture = plots.cached(cache, plots.trio_figure, np.array(ours), theirs, CLASSES, title)
                figures[f"confusion-{claim.id}.svg"] = picture
    return figures


def cost(report: Report, drawn: Iterable[Arm], cache: Path | None = None) -> dict[str, bytes]:
    """Draw the hours and images a second of a report's runs, by experiment and device; nothing without runs."""
    lines = []
    for arm in drawn:
        devices: dict[str, list[RunRecord]] = defaultdict(list)
        for record in arm.chosen:
            devices[str(record.env.get("device", "unknown device"))].append(record)
        lines += [_cost_line(arm.name, device, runs) for device, runs in sorted(devices.items())]
    if not lines:
        return {}
    return {"cost.svg": plots.cached(cache, plots.cost_figure, lines, f"{report.id}: what the runs took")}


def _cost_line(name: str, device: str, runs: list[RunRecord]) -> plots.CostLine:
    speeds = [speed for record in runs if (speed := number(record.images_per_s)) is not None]
    hours = tuple((number(record.seconds) or 0.0) / 3600 for record in runs)
    return plots.CostLine(name, device, hours, median(speeds) if speeds else None)


def images(arm: Arm) -> Md:
    """The arm's figures as Markdown images; the ids in their names come from the report's file."""
    words = {"curves": "training and test curves", "confusion": "confusion matrix after the last epoch"}
    pictures = []
    for name in sorted(arm.figures, reverse=True):
        kind = name.removeprefix(f"{arm.name}-").partition(".")[0]
        pictures.append(Md(f"![{arm.name}: {words[kind]}](figures/{name})"))
    return join(pictures, "\n\n")


def landscape_images(figures: dict[str, bytes]) -> Md:
    """The bands' figures as Markdown images."""
    words = "lowest to highest training loss over the learning rates of two groups"
    return join([Md(f"![{name.removesuffix('.svg')}: {words}](figures/{name})") for name in sorted(figures)], "\n\n")


def pictures(figures: Mapping[str, bytes], words: str) -> Md:
    """Figures of a whole report as Markdown images; `words` say what they show."""
    return join([Md(f"![{name.removesuffix('.svg')}: {words}](figures/{name})") for name in figures], "\n\n")
