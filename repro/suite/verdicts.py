"""What MLflow shows of the verdicts: the claims that an experiment's runs decide, in plain words, numbers and files."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any

from repro.judge.bracket import brackets
from repro.judge.claims import Ledgers, choose, judge_all, records_of
from repro.judge.label import label
from repro.judge.rows import WORDS, Row, Verdict
from repro.judge.timings import NONE, Timings
from repro.record import RunRecord
from repro.report.markdown import plural
from repro.report.values import EXACT, behind, interval, margin, ours, verdict
from repro.report.verdicts import verdicts_json
from repro.spec.claims import experiments_of
from repro.spec.identity import recipe_hash, sharing
from repro.spec.schema import Report
from repro.suite.planning import main_number
from repro.suite.verdict_files import as_json, as_markdown, pictures
from repro.track.judged import Judged

#: what of a verdict is a number of `summary/*`
NUMBERS = ("low", "high", "margin", "s_star", "agreement")


class Verdicts:
    """The verdicts over some records; a report is judged when it is first asked for, and once."""

    def __init__(
        self,
        reports: Mapping[str, Report],
        records: Sequence[RunRecord],
        ledgers: Ledgers,
        timings: Timings = NONE,
    ):
        self.reports, self.records = reports, records
        self.rows = cache(lambda report: judge_all(reports[report], records, ledgers, timings=timings))
        self._brackets = cache(lambda report: brackets(reports[report], records))
        self._plain = cache(self._as_plain)

    def _as_plain(self, report: str) -> dict[str, Any]:
        """Return a report's verdicts by claim, as the pages' verdicts.json has them."""
        whole = json.loads(verdicts_json({report: self.reports[report]}, self.rows(report), self.records))
        return {claim["id"]: claim for claim in whole["reports"][report]["claims"]}

    def runs(self, report: str, experiment: str) -> list[RunRecord]:
        """Return the runs that a verdict on an experiment may rest on, one a run key; none of an unknown one."""
        spec = self.reports.get(report)
        known = spec is not None and experiment in spec.experiments
        return choose(records_of(spec, experiment, self.records))[0] if spec and known else []

    def label(self, report: str) -> str:
        """Return in a line what a report's headline claims come to."""
        found = label(self.rows(report))
        return f"{found.word}{', provisional' if found.provisional else ''}: {found.why.replace('`', '')}"

    def of(self, report: str, experiment: str, profile: str = "full") -> Judged | None:
        """Return what is said of an experiment; None without runs that count, and where no claim needs its runs."""
        if profile != "full" or not self.runs(report, experiment):
            return None
        spec = self.reports[report]
        names = alike(spec, experiment)
        named = {claim.id for claim in spec.claims if names & set(experiments_of(claim))}
        rows = [row for row in self.rows(report) if row.claim in named]
        if (main := main_row(spec, experiment, rows)) is None:
            return None
        # What has numbers of runs first, then what arithmetic decides, then what waits for runs.
        rows.sort(key=lambda r: (r.claim != main.claim, not r.headline, r.ours is None, r.kind in EXACT))
        bracket = next((b for b in self._brackets(report) if experiment in b.experiments), None)
        tally, said = in_numbers(rows), main.verdict or Verdict("not judged")
        plain = [self._plain(report)[row.claim] for row in rows]
        files = {
            "verdicts.json": as_json(report, experiment, main.claim, plain, bracket),
            "verdicts.md": as_markdown(experiment, rows, tally),
        }
        draw = partial(pictures, f"{report}: {experiment}", rows, bracket)
        more = tuple(filter(None, (rests_on(main), f"{claims(rows)}: {tally}. Each with its numbers: `verdicts.md`.")))
        return Judged(main.claim, said.word, in_words(main), more, tally, said.provisional, numbers(main), files, draw)


def alike(report: Report, experiment: str) -> set[str]:
    """Return the experiments that share an experiment's recipe and so its runs, itself among them."""
    return {other.id for other in sharing(report)[recipe_hash(report.experiments[experiment].recipe)]}


def main_row(report: Report, experiment: str, rows: Sequence[Row]) -> Row | None:
    """Return the row that stands for an experiment: of its published number, else of a comparison that names it.

    Of comparisons a headline one goes before others, and a difference of two experiments before other kinds.
    """
    if number := main_number(report, experiment):
        return next(row for row in rows if row.claim == number.id)
    ran = [row for row in rows if row.kind not in EXACT and row.verdict is not None]
    return min(ran, key=lambda row: (not row.headline, row.kind != "order"), default=None)


def numbers(main: Row) -> dict[str, float | None]:
    """Return the main claim's numbers beside the published one; none of a comparison, which has no such number."""
    if main.kind not in ("point", "loss"):
        return {}
    found = {"mean": main.ours, "std": main.sd, "n_seeds": main.n, "published": main.published}
    found["delta"] = main.difference
    return found | {name: getattr(main.verdict, name, None) for name in NUMBERS}


def in_words(main: Row) -> str:
    """Return the verdict with ours, as the note's first sentence ends: `ours 90.07 ± 0.31 %, 3 seeds: reproduced`."""
    words = verdict(main, short=True)
    if main.ours is not None:
        words = f"{ours(main)}, {plural(main.n, 'seed')}: {words}"
    if main.kind in ("point", "loss"):
        return f"ours {words}" if main.ours is not None else words
    return f"{main.claim}: {words}"


def rests_on(main: Row) -> str:
    """Return what the main verdict rests on, with its interval and margin; nothing where no run was judged."""
    reach, limit, rest = interval(main), margin(main), behind(main)
    parts = [f"90 % interval {reach}" if reach else "", f"margin {limit}" if limit else "", rest]
    return f"{main.claim}: {'; '.join(filter(None, parts))}." if rest else ""


def claims(rows: Sequence[Row]) -> str:
    """Return how many claims the runs decide."""
    return f"{plural(len(rows), 'claim')} name{'s' * (len(rows) == 1)} this experiment"


def in_numbers(rows: Sequence[Row]) -> str:
    """Return how many claims came to which word, best first: `2 reproduced, 1 inconclusive`."""
    count = Counter(row.verdict.word if row.verdict else "not judged" for row in rows)
    return ", ".join(f"{count[word]} {word}" for word in WORDS if count[word])
