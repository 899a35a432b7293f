"""What many runs cost: overhead and efficiency from given times, made-up records that nobody can count, the page."""

import json
import os
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from command_line import repro

from repro.bench import madeup, scale, scale_figures, scale_read, scale_store
from repro.bench.scale_figures import judged, row
from repro.bench.scale_store import Taken
from repro.bench.scale_workers import TIMES, Timed, Watch, times_of
from repro.cli import main, scaling
from repro.data import sample
from repro.errors import UserError
from repro.judge.records import of_profile
from repro.record import Journal, RunRecord, check_sound
from repro.report import evidence, performance, tables
from repro.run import folder_of
from repro.spec.identity import recipe_hash, runs_of
from repro.spec.loading import load_all
from repro.track import Tracker

REPORTS = load_all()
DATA = sample.load().key
QUIET = lambda text: None  # noqa: E731


def made(number=5, epochs=3):
    return list(madeup.records(madeup.runs(REPORTS, DATA, number), epochs))


# --- overhead and efficiency ----------------------------------------------------------------------------------------


def steady(workers, runs, inside, gap, late=()):
    """Return times of workers whose runs last `inside` and are `gap` apart, the n-th worker beginning late[n] later."""
    found, ends = [], []
    for worker in range(workers):
        at = 100.0 + (late[worker] if late else 0.0)
        for number in range(runs // workers):
            found.append(Timed(worker, f"{worker}-{number}", at, at + inside))
            at += inside + gap
        ends.append(at)
    return found, max(ends)


def watched(first, last, cpu=0.0):
    watch = Watch()
    watch.first, watch.last, watch.cpu_first, watch.cpu_last = first, last, 2.0, 2.0 + cpu
    return watch


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_overhead_is_the_gap_between_trainings(workers):
    times, last = steady(workers, 100, inside=0.25, gap=0.03)
    found = row(times, workers, 0.2, 90.0, watched(95.0, last, cpu=0.4), last + 1)
    assert found["overhead_ms"] == pytest.approx(30)
    assert found["inside_ms"] == pytest.approx(50)  # beyond the wait of 0.2 s
    assert found["parent_ms"] == pytest.approx(4)
    assert found["span_s"] == pytest.approx(100 / workers * 0.28)
    assert found["runs_per_s"] == pytest.approx(workers / 0.28)
    assert (found["first_s"], found["ready_s"], found["leaving_s"]) == pytest.approx((5, 10, 1))
    assert found["wall_s"] == pytest.approx(10 + found["span_s"] + 1)


def test_idle_workers_count_as_overhead():
    times, last = steady(2, 20, inside=0.2, gap=0.0)
    alone = [one for one in times if one.pid == 0 or one.key == "1-0"]  # the second makes one run and idles
    found = row(alone, 2, 0.2, 90.0, watched(95.0, last), last)
    assert found["overhead_ms"] == pytest.approx(1000 * 9 * 0.2 / 11)


def test_time_before_all_are_ready_is_no_overhead():
    times, last = steady(2, 40, inside=0.25, gap=0.05, late=(0.0, 3.0))
    found = row(times, 2, 0.25, 90.0, watched(95.0, last), last)
    assert found["ready_s"] == pytest.approx(13)
    assert found["span_s"] == pytest.approx(20 * 0.3)
    # Of the first worker's runs, 10 are over when the second begins; it is then done by 3 s before the end.
    assert found["overhead_ms"] == pytest.approx(1000 * (2 * 6.0 - 10 * 0.25 - 20 * 0.25) / 30)
    assert found["runs_per_s"] == pytest.approx(30 / 6.0)


def rows(seconds, runs=1000, wait=0.2, overhead=10.0):
    """Return rows by workers -> (seconds from ready, whole seconds), with what targets are held against."""
    return [
        {"workers": w, "runs": runs, "wait_s": wait, "span_s": span, "wall_s": wall, "overhead_ms": overhead}
        for w, (span, wall) in seconds.items()
    ]


def test_efficiency_is_the_share_of_the_best_possible():
    found = judged(rows({1: (200.0, 210.0), 2: (100.0, 120.0), 4: (100.0, 130.0)}))
    assert [one["efficiency"] for one in found] == pytest.approx([1, 1, 0.5])
    assert [one["efficiency_whole"] for one in found] == pytest.approx([1, 210 / 240, 210 / 520])


def test_the_target_of_efficiency_is_for_two_workers_after_they_are_ready():
    found = judged(rows({1: (180.0, 500.0), 2: (100.0, 500.0), 8: (1000.0, 1000.0)}))
    assert [one["efficiency_target"] for one in found] == [None, 0.9, None]
    assert [one["efficiency_met"] for one in found] == [None, True, None]
    assert judged(rows({1: (179.0, 0.1), 2: (100.0, 0.1)}))[1]["efficiency_met"] is False


def test_overhead_is_held_against_its_target_in_every_row():
    assert [one["met"] for one in judged(rows({1: (9.0, 9.0), 8: (9.0, 9.0)}, overhead=50.0))] == [True, True]
    assert [one["met"] for one in judged(rows({1: (9.0, 9.0), 8: (9.0, 9.0)}, overhead=50.1))] == [False, False]


@pytest.mark.parametrize("few", [{"runs": 20}, {"wait": 0.01}])
def test_too_few_or_too_short_runs_are_held_against_nothing(few):
    for one in judged(rows({1: (200.0, 210.0), 2: (100.0, 120.0)}, **few)):
        assert one["efficiency"] is not None
        assert [one[key] for key in ("target_ms", "met", "efficiency_target", "efficiency_met")] == [None] * 4


def test_without_one_worker_there_is_no_efficiency():
    (found,) = judged(rows({2: (100.0, 120.0)}))
    assert found["efficiency"] is found["efficiency_met"] is None


def test_growth_is_that_of_the_first_and_the_last_runs():
    found = scale_store.growth([Taken(0.1 + 0.001 * i, 0.05) for i in range(2000)])
    assert found["ends"] == 500
    assert found["first_ms"] == pytest.approx(100 + 249.5)
    assert found["last_ms"] == pytest.approx(100 + 1749.5)
    assert found["parts_ms"] == pytest.approx([100 + 99.5 + 200 * part for part in range(10)])
    assert (found["first_cpu_ms"], found["last_cpu_ms"]) == pytest.approx((50, 50))
    one = scale_store.growth([Taken(0.1, 0.1)])
    assert (one["ends"], one["first_ms"], one["last_ms"]) == pytest.approx((1, 100, 100))
    assert scale_store.growth([Taken(i, 0) for i in (1, 2, 9)])["ends"] == 1


# --- made-up records ------------------------------------------------------------------------------------------------


def test_made_up_records_say_so_and_are_sound():
    for record in made(105):
        check_sound(evidence.check(record, "x"), "x")
        assert record.env["device"] == "synthetic"
        assert record.env_class.endswith("-synthetic")
        assert "no network was trained" in record.command
        matrix = record.confusion["last"]
        assert sum(map(sum, matrix)) == len(record.predictions["class"]) == len(record.predictions["confidence"])
        right = 100 * sum(matrix[k][k] for k in range(10)) / sum(map(sum, matrix))
        assert record.finals["last"]["acc_pct"] == pytest.approx(right)
        assert record.curves["test/acc_pct"][-1] == pytest.approx(right)
        assert RunRecord.from_bytes(record.to_bytes()).to_bytes() == record.to_bytes()


def test_made_up_records_are_no_evidence(tmp_path):
    records = made(105)
    assert not any(record.counts for record in records)
    # Each of the two reasons is enough by itself.
    assert not any(replace(record, profile="full").counts for record in records)
    assert of_profile(records, "full") == []
    assert {row.state for row in tables.rows(REPORTS, records)} == {row.state for row in tables.rows(REPORTS, [])}
    for record in records:
        place = tmp_path / "home" / "runs" / record.run_key / "record.json"
        place.parent.mkdir(parents=True)
        place.write_bytes(record.to_bytes())
    assert evidence.collect(tmp_path / "home", tmp_path / "reports") == []
    assert not (tmp_path / "reports").exists()


def test_none_is_made_up_for_a_full_run():
    (run,) = madeup.runs(REPORTS, DATA, 1)
    with pytest.raises(ValueError, match="smoke"):
        madeup.record(replace(run, profile="full"), 1, 100)


def test_runs_are_those_of_a_plan_seed_after_seed():
    found = madeup.runs(REPORTS, DATA, 250)
    assert len({run.key for run in found}) == 250
    planned = {
        run.key for r in REPORTS.values() for run in runs_of(r, r.experiments.values(), [0, 1, 2], DATA, "smoke")
    }
    assert {run.key for run in found} <= planned
    each = {(run.report, recipe_hash(run.recipe), run.fold) for run in found}
    assert {run.seed for run in found[: len(each)]} == {0}
    assert [r.to_bytes() for r in madeup.records(found[:3], 2)] == [r.to_bytes() for r in madeup.records(found[:3], 2)]


# --- the executor ---------------------------------------------------------------------------------------------------


def sizes(**more):
    return scale.Sizes(**{"runs": 8, "workers": (2,), "wait_s": 0.0, "mlflow_runs": 0, "epochs": 2} | more)


def test_two_workers_make_every_run_exactly_once(tmp_path):
    home = tmp_path / "home"
    found = scale.one(REPORTS, sizes(), 2, scaling._carry_out, home)
    times = times_of(home)
    arm = REPORTS[scale.REPORT].experiments[scale.EXPERIMENT]
    runs = runs_of(REPORTS[scale.REPORT], [arm], range(8), DATA, "smoke")
    assert len((home / TIMES).read_text().splitlines()) == 8
    assert {one.key for one in times} == {run.key for run in runs}
    assert len({one.pid for one in times}) == 2
    assert os.getpid() not in {one.pid for one in times}
    # No worker is at two runs at once, and the first runs begin only once both are there.
    for pid in {one.pid for one in times}:
        own = sorted((one.began, one.ended) for one in times if one.pid == pid)
        assert all(before[1] <= after[0] for before, after in pairwise(own))
    assert found["workers"] == 2
    assert found["runs"] == 8
    assert 0 < found["first_s"] <= found["ready_s"] < found["wall_s"]
    assert found["ready_s"] + found["span_s"] + found["leaving_s"] == pytest.approx(found["wall_s"])
    for run in runs:
        folder = folder_of(run, home)
        record = RunRecord.from_bytes((folder / "record.json").read_bytes())
        assert record.run_key == run.key
        assert not record.counts
        assert len(Journal(folder / "journal.jsonl").read()) == record.epochs_done
        assert {path.name for path in folder.iterdir()} >= {"attempts.json", "probabilities.npz", "model.pt"}


def test_a_run_made_twice_is_no_measurement(tmp_path):
    line = json.dumps({"pid": 1, "key": "k", "began": 0.0, "ended": 1.0}) + "\n"
    (tmp_path / TIMES).write_text(line * 2)
    with pytest.raises(ValueError, match="twice"):
        times_of(tmp_path)


def test_a_failed_run_is_an_error_and_nothing_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(scale.tempfile, "tempdir", str(tmp_path))

    def fail(runs, train, devices, display):
        return [SimpleNamespace(state="failed", run=run, said="failed: for a test") for run in runs]

    with pytest.raises(UserError, match="8 runs were not made: chen2024/resnet20 s0 failed: for a test"):
        scale.run(REPORTS, sizes(), fail, lambda record: {}, QUIET)
    assert list(tmp_path.iterdir()) == []


# --- MLflow ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """Return a store with six made-up runs, the folder of reports, and what `fill` returned."""
    folder = tmp_path_factory.mktemp("store")
    tracker = Tracker(folder / "state", place=scale_read.store_of(folder / "state"))
    tracker.draw = scale_store.no_figures
    runs = madeup.runs({"shamooun2022": REPORTS["shamooun2022"]}, DATA, 10)
    return (
        tracker,
        folder / "reports",
        runs,
        scale_store.fill(tracker, runs, 2, folder / "reports", lambda r: {}, QUIET),
    )


def test_the_store_and_the_reports_hold_the_same_records(filled):
    tracker, reports, runs, (taken, size) = filled
    there = {data for _, data in tracker.records()}
    on_disk = [path.read_bytes() for path in reports.glob("*/evidence/*.json")]
    assert set(on_disk) == there
    assert len(taken) == len(on_disk) == len(runs) == 10
    assert size == sum(map(len, on_disk))
    assert all(one.wall > 0 for one in taken)


@pytest.mark.parametrize(
    ("question", "count"),
    [("by_time", 18), ("by_metric", 18), ("by_key", 1), ("shown", 10), ("records", 10), ("summary", 2)],
)
def test_questions_are_answered(filled, question, count):
    tracker, reports, _, _ = filled
    # A page has the parent runs too: eight recipes, ten runs.
    assert scale_read.QUESTIONS[question][1](tracker, reports)() == count


def test_the_summary_is_over_the_seeds_of_an_experiment(filled):
    tracker, reports, _, _ = filled
    scale_read.QUESTIONS["summary"][1](tracker, reports)()
    ids = [tracker.experiment_id("shamooun2022", "smoke")]
    parents = [run for run in tracker.search(ids, kind="experiment") if "summary/n_seeds" in run.data.metrics]
    assert [run.data.metrics["summary/n_seeds"] for run in parents] == [2]


def test_a_command_is_measured_by_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    code = "import os; x = b'1' * (200 << 20); print(os.environ['REPRO_HOME'], 'MLFLOW_TRACKING_URI' in os.environ)"
    ballast = b"1" * (400 << 20)  # of this process: no part of what a command holds
    large, said = scale_store.alone([sys.executable, "-c", code], tmp_path, tmp_path)
    small, _ = scale_store.alone([sys.executable, "-c", "pass"], tmp_path, tmp_path)
    assert len(ballast) > large["peak_bytes"] > 200 << 20
    assert small["peak_bytes"] < 100 << 20
    assert said.split() == [str(tmp_path), "False"]


def test_many_runs_in_mlflow_are_measured(tmp_path, monkeypatch):
    kept = {name: scale_read.QUESTIONS[name] for name in ("by_key", "shown")}
    monkeypatch.setattr(scale_read, "QUESTIONS", kept)
    monkeypatch.setattr(scale_store, "COMMANDS", {"repro status": ("status",)})
    runs = madeup.runs({"shamooun2022": REPORTS["shamooun2022"]}, DATA, 3)
    found = scale_store.measure(runs, 2, tmp_path, lambda record: {}, QUIET)
    assert (found["runs"], found["epochs"], found["ends"]) == (3, 2, 1)
    assert [line["count"] for line in found["rows"]] == [1, 3, None]
    assert all(line["peak_bytes"] > 20 << 20 and line["seconds"] > 0 for line in found["rows"])
    on_disk = [path.stat().st_size for path in (tmp_path / "reports").glob("*/evidence/*.json")]
    assert found["record_bytes"] == pytest.approx(sum(on_disk) / 3)
    assert found["database_bytes"] == (tmp_path / "state" / "mlflow.db").stat().st_size / 3
    assert found["artifact_bytes"] > found["record_bytes"]


def test_a_command_that_fails_is_told(tmp_path):
    with pytest.raises(
        UserError, match=r"nothing was measured: `repro compare .*` failed: repro: .*holds no run records"
    ):
        scale_store.alone([sys.executable, "-m", "repro", "compare", tmp_path, tmp_path], tmp_path, tmp_path)


# --- the command and the page ---------------------------------------------------------------------------------------


def result(**more):
    lines = rows({1: (200.0, 210.0), 2: (125.0, 140.0)})
    for line in lines:
        line |= {"first_s": 4.0, "ready_s": 5.5, "runs_per_s": 5.0, "inside_ms": 12.34, "parent_ms": 1.25}
    lines[1]["overhead_ms"] = 60.0
    store = {
        "runs": 10_000, "epochs": 5, "ends": 500, "first_ms": 110.0, "last_ms": 154.0, "first_cpu_ms": 80.0,
        "last_cpu_ms": 120.0, "parts_ms": [], "parts_cpu_ms": [], "database_bytes": 30 * 1024,
        "artifact_bytes": 17.5 * 1024, "artifact_files": 5.0, "record_bytes": 16 * 1024,
        "rows": [
            {"what": "repro status", "seconds": 12.34, "cpu_s": 9.87, "peak_bytes": 150 << 20, "times": 1,
             "count": None},
            {"what": "MLflow: a page", "seconds": 0.5, "cpu_s": 0.45, "peak_bytes": 220 << 20, "times": 5,
             "count": 100},
        ],
    }  # fmt: skip
    return {
        "benchmark": "scale", "schema": 1, "date": "2026-01-02T03:04:05+00:00", "disk": "ext4",
        "machine": {"device": "A CPU | x", "torch": "2.11.0", "python": "3.11.7", "mlflow": "3.17.2", "cores": 2},
        "before": {"idle": False, "busy_pct": 50.0, "others": None},
        "executor": {"runs": 1000, "wait_s": 0.2, "experiment": "chen2024/resnet20", "rows": judged(lines)},
        "mlflow": store,
    } | more  # fmt: skip


def page(folder, plain):
    folder.mkdir(exist_ok=True)
    (folder / "scale.json").write_text(json.dumps(plain))
    return performance.page(folder)


def test_the_page_shows_overhead_efficiency_and_what_was_missed(tmp_path):
    text = page(tmp_path, result())
    assert "## At scale (`scale.json`)" in text
    assert "| 1 | 5.5 | 210.0 | 5.0 | 10.0, target 50 met | 12.3 | 1.2 | 100 % | 100 % |" in text
    assert "60.0, target 50 **missed** | 12.3 | 1.2 | 80 %, target 90 % **missed** | 75 % |" in text
    assert "110 ms a run for the first 500, 154 ms for the last 500; of CPU time 80 and 120 ms." in text
    assert "| repro status | 12.3 | 9.87 | 150 | – |" in text
    assert "| MLflow: a page | 0.5 | 0.45 | 220 | 100 |" in text
    assert "A CPU \\| x, torch 2.11.0" in text
    assert "2 cores, files on ext4." in text
    assert "**Others used the machine** just before." in text
    assert "MLflow with many runs: not measured" not in text


def test_the_page_shows_what_was_not_measured_as_not_measured(tmp_path):
    few = judged(rows({2: (100.0, 120.0)}, runs=8))
    few[0] |= {"ready_s": 5.5, "runs_per_s": 5.0, "inside_ms": 12.3, "parent_ms": 1.2}
    plain = result(mlflow=None, before={"idle": None, "busy_pct": None, "others": None})
    plain["executor"] |= {"rows": few, "runs": 8}
    text = page(tmp_path, plain)
    assert "MLflow with many runs: not measured." in text
    assert "| 2 | 5.5 | 120.0 | 5.0 | 10.0 | 12.3 | 1.2 | – | – |" in text
    assert "Held against no target: too few runs, or too short ones." in text
    assert "Others used" not in text


def test_a_file_that_is_not_the_benchmarks_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"scale\.json: KeyError"):
        page(tmp_path, {"benchmark": "scale", "schema": 1})


def test_figures_are_saved_printed_and_put_on_the_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(scale, "run", lambda *given: result())
    reports = str(tmp_path / "reports")
    shown = repro("bench", "scale", "--save", "--reports", reports)
    saved = Path("reports/bench/scale.json")
    assert json.loads(saved.read_text()) == result()
    assert "60.0" in shown
    assert "missed" in shown
    assert "10,000 made-up runs" in shown
    text = performance.page(saved.parent)
    printed = CliRunner().invoke(main, ["bench", "scale", "--json", "--out", "other.json"])
    assert json.loads(printed.stdout) == result() == json.loads(Path("other.json").read_text())
    assert text == performance.page(saved.parent)
    monkeypatch.setattr(scale, "run", lambda *given: result(mlflow=None))
    assert "MLflow with many runs: not measured" in repro("bench", "scale")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--workers", "0"], "expected numbers of workers from 1 to 64"),
        (["--workers", "1,x"], "expected numbers of workers from 1 to 64"),
        (["--workers", "1,,2"], "expected numbers of workers from 1 to 64"),
        (["--runs", "3", "--workers", "1,4", "--save"], "--runs 3: 4 workers need a run each; ask for more runs"),
        (["--save", "--out", "x.json"], "name two places"),
        (["--mlflow-runs", "-1"], "mlflow-runs"),
    ],
)
def test_mistakes_are_told_and_write_nothing(tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert said in repro("bench", "scale", *arguments, code=2)
    assert list(tmp_path.iterdir()) == []


def test_workers_are_each_once_in_the_order_given():
    assert scaling.workers_of(None, None, "4, 1,4,2") == (4, 1, 2)


def test_targets_are_those_of_the_documentation():
    text = (Path(__file__).parents[1] / "docs" / "benchmarks.md").read_text()
    section = text.partition("## At scale")[2].partition("\n## ")[0]
    assert f"{scale_figures.TARGET_MS:g} ms" in section
    assert f"{scale_figures.TARGET_EFFICIENCY:.0%}".replace("%", " %") in section
