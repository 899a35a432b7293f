"""What MLflow is asked once many runs are in it: one question, in a process of its own.

    python -m repro.bench.scale_read HOME REPORTS QUESTION

prints as JSON the seconds and CPU seconds that the answer took once the store was open, and how many things came back.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from repro.bench.madeup import PROFILE
from repro.record import RunRecord, read_records
from repro.track import Tracker
from repro.track.store import Store

#: runs that MLflow's page asks for at once, and how often such a page is asked for: its figure is the median
PAGE, PAGES = 100, 5
Ask = Callable[[], int]


def store_of(home: Path) -> Store:
    """Return the SQLite store of a state folder, whatever the environment names."""
    path = home.absolute() / "mlflow.db"
    return Store(f"sqlite:///{path}", path, path.parent / "artifacts", path.with_name("mlflow.db.lock"))


def _shown(tracker: Tracker, reports: Path) -> Ask:
    """Which records are there: what `repro ui` asks first."""
    return lambda: len(tracker.shown())


def _records(tracker: Tracker, reports: Path) -> Ask:
    """Every record, read back: what pages made from MLflow rest on."""
    return lambda: sum(1 for _ in tracker.records())


def _by_time(tracker: Tracker, reports: Path) -> Ask:
    """The latest runs of the largest report, as MLflow's page opens."""
    return _page(tracker, reports, "attributes.start_time DESC")


def _by_metric(tracker: Tracker, reports: Path) -> Ask:
    """The same, ordered by a column of metrics."""
    return _page(tracker, reports, "metrics.`final/last/acc_pct` DESC")


def _by_key(tracker: Tracker, reports: Path) -> Ask:
    """The run of one key, by its tag: what is asked before a run is shown."""
    _, record = next(read_records(_largest(reports), "*.json"))
    return _page(tracker, reports, "attributes.start_time ASC", f"tags.`repro.run_key` = '{record.run_key}'")


def _summary(tracker: Tracker, reports: Path) -> Ask:
    """The parent run of the experiment with the most runs in the largest report."""
    groups: dict[str, list[RunRecord]] = {}
    for _, record in read_records(_largest(reports), "*.json"):
        groups.setdefault(record.experiments[0], []).append(record)
    name, found = max(groups.items(), key=lambda item: len(item[1]))

    def ask() -> int:
        tracker.summarise(found[0].report, name, PROFILE, found)
        return len(found)

    return ask


def _largest(reports: Path) -> Path:
    """Return the evidence folder with the most records."""
    return max(sorted(reports.glob("*/evidence")), key=lambda folder: sum(1 for _ in folder.iterdir()))


def _page(tracker: Tracker, reports: Path, order: str, query: str = "") -> Ask:
    ids = [tracker.experiment_id(_largest(reports).parent.name, PROFILE)]
    return lambda: len(tracker.client.search_runs(ids, query, max_results=PAGE, order_by=[order]))


#: question -> what it means, how to get it ready, and how often it is asked
QUESTIONS: dict[str, tuple[str, Callable[[Tracker, Path], Ask], int]] = {
    "by_time": (f"MLflow: a page of {PAGE} runs, the latest first", _by_time, PAGES),
    "by_metric": (f"MLflow: a page of {PAGE} runs, by a final accuracy", _by_metric, PAGES),
    "by_key": ("MLflow: the run of one key, by its tag", _by_key, PAGES),
    "shown": ("MLflow: which records are there", _shown, 1),
    "records": ("MLflow: every record read back", _records, 1),
    "summary": ("MLflow: the summary of one experiment over its seeds", _summary, 1),
}


def main() -> None:
    """Ask the question that the command line names."""
    home, reports, name = sys.argv[1:]
    tracker = Tracker(Path(home), place=store_of(Path(home)))
    _, ready, times = QUESTIONS[name]
    ask, seconds, cpu, count = ready(tracker, Path(reports)), [], [], 0
    for _ in range(times):
        began, used = time.perf_counter(), time.process_time()
        count = ask()
        seconds.append(time.perf_counter() - began)
        cpu.append(time.process_time() - used)
    print(json.dumps({"seconds": median(seconds), "cpu_s": median(cpu), "count": count}))


if __name__ == "__main__":
    main()
