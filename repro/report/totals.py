"""How far the suite is, for the overview: claims by what stands behind them, runs made and missing, what they took."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from repro.judge.claims import Row
from repro.judge.ladder import number_of
from repro.judge.records import Pool, by_seed
from repro.judge.records import number as finite
from repro.record import RunRecord
from repro.report.markdown import Md, number, table
from repro.report.tables import SEEDS_OF_TIER
from repro.report.values import EXACT, UNTESTABLE
from repro.spec import cost, throughput
from repro.spec.schema import Report

#: what a claim counts as, in the order of the table's lines
BEHIND = ("judged from runs", "by arithmetic", "not run", "not judged", "not testable", "explanation", "conjecture")


def word_of(row: Row) -> str:
    """Return the verdict's word; of what no run could decide, and of pages that do not judge, the state."""
    return row.state if row.verdict is None or row.kind in UNTESTABLE else row.verdict.word


def behind(row: Row) -> str:
    """Return which of `BEHIND` a claim counts as."""
    if (word := word_of(row)) in BEHIND:
        return word
    return "by arithmetic" if row.kind in EXACT else "judged from runs"


#: of the claims that runs judge: what a line counts among them
AMONG: dict[str, Callable[[list[Row]], int]] = {
    "numbers and statements that these are readings of": lambda own: len({(r.report, *number_of(r)) for r in own}),
    "of these provisional": lambda own: sum(row.provisional for row in own),
    "of these declared before the run": lambda own: sum(row.declared == "yes" for row in own),
    "declared under an earlier version of their rule": lambda own: sum(r.declared.startswith("rules") for r in own),
    "declared after it, or in part": lambda own: sum(row.declared in ("no", "in part", "unknown") for row in own),
}


def claims_table(rows: Sequence[Row]) -> Md:
    """A column a report: its claims by what stands behind them; what runs judge also by what qualifies it."""
    found = _by_report(rows) | {"together": list(rows)}
    counts = [Counter(map(behind, own)) for own in found.values()]
    judged, *others = ([kind, *(count[kind] for count in counts)] for kind in BEHIND)
    by_runs = [[row for row in own if behind(row) == BEHIND[0]] for own in found.values()]
    among = [[name, *map(count, by_runs)] for name, count in AMONG.items()]
    lines = [judged, *among, *others, ["all", *map(len, found.values())]]
    return table(["Claims", *found], "l" + "r" * len(found), lines)


@dataclass
class _Seeds:
    """Seeds by tier, done and asked for, and the minutes that the missing ones are estimated to take."""

    done: Counter[str] = field(default_factory=Counter)
    wanted: Counter[str] = field(default_factory=Counter)
    minutes: float = 0.0

    def add(self, tier: str, done: int, wanted: int, minutes: float) -> None:
        self.done[tier] += done
        self.wanted[tier] += wanted
        self.minutes += (wanted - done) * minutes

    def cells(self) -> list[str]:
        each = (f"{self.done[tier]} of {self.wanted[tier]}" if self.wanted[tier] else "" for tier in cost.TIERS)
        return [*each, number(self.minutes)]


def runs_table(reports: Mapping[str, Report], records: Sequence[RunRecord]) -> Md:
    """A line a report: seeds done of those asked for, by tier, and an estimate of what the others would take.

    Experiments that share their runs count once, in the most important tier that has them.
    """
    together, lines = _Seeds(), []
    for name, report in sorted(reports.items()):
        pool, own = Pool(report, records, {}, "full"), _Seeds()
        for price in cost.priced({name: report}):
            if price.same_as is None:
                experiment, wanted = price.experiment, set(SEEDS_OF_TIER[price.experiment.tier])
                done = wanted & set(by_seed(experiment.recipe, pool.chosen(experiment.id)))
                for seeds in (own, together):
                    seeds.add(experiment.tier, len(done), len(wanted), price.cost.minutes)
        lines.append([_link(name), *own.cells()])
    head = ["Report", *(tier.capitalize() for tier in cost.TIERS), "Missing, minutes"]
    return table(head, "l" + "r" * (len(head) - 1), [*lines, ["Together", *together.cells()]])


@dataclass
class _Took:
    """What some runs took: seconds, images, operations (None: not known of all), joules of those that have them."""

    runs: int = 0
    seconds: float = 0.0
    images: float = 0.0
    flop: float | None = 0.0
    energies: list[float] = field(default_factory=list)

    def add(self, record: RunRecord, an_image: int | None) -> None:
        seconds = finite(record.seconds) or 0.0
        images = seconds * (finite(record.images_per_s) or 0.0)
        self.runs += 1
        self.seconds += seconds
        self.images += images
        self.flop = None if self.flop is None or an_image is None else self.flop + images * an_image
        if (energy := finite(record.energy_j)) is not None:
            self.energies.append(energy)

    def cells(self) -> list[str]:
        of = f" ({len(self.energies)} of {self.runs} runs)" if len(self.energies) < self.runs else ""
        kwh = f"{sum(self.energies) / 3.6e6:,.2f}{of}" if self.energies else ""
        pace = self.images / self.seconds if self.seconds else None
        rate = self.flop / self.seconds / 1e12 if self.flop is not None and self.seconds else None
        return [str(self.runs), number(self.seconds / 60), number(pace), number(rate, 2), kwh]


def took_table(records: Iterable[RunRecord]) -> Md | str:
    """A line a device and class of computing: runs, minutes, throughput, energy; nothing where there is no run."""
    operations: dict[str, int | None] = {}  # of an image; runs of one recipe share them
    sums: dict[tuple[str, str], _Took] = defaultdict(_Took)
    for record in records:
        if record.recipe_hash not in operations:
            operations[record.recipe_hash] = throughput.operations(record)
        sums[str(record.env.get("device")), record.env_class].add(record, operations[record.recipe_hash])
    head = ["Device", "Class", "Runs", "Minutes", "Images/s", "TFLOP/s", "kWh"]
    return table(head, "llrrrrr", [[*where, *sums[where].cells()] for where in sorted(sums)]) if sums else ""


def minutes_said(records: Iterable[RunRecord]) -> str:
    """Say how many minutes the runs took on GPUs and on CPUs."""
    sums = {True: 0.0, False: 0.0}
    for record in records:
        sums[record.env_class.startswith("cuda")] += finite(record.seconds) or 0.0
    return f"{sums[True] / 60:,.0f} minutes on GPUs, {sums[False] / 60:,.0f} on CPUs"


def _by_report(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row.report].append(row)
    return dict(sorted(found.items()))


def _link(name: str) -> Md:
    return Md(f"[{name}]({name}/report.md)")
