"""The command line end to end on a small report: train, skip, track, report, move, refuse."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import golden_demo
import pytest
import torch
from command_line import SMALL, repro

from repro import run as runner
from repro.execute import local
from repro.record import RunRecord
from repro.spec.loading import load_all

ROOT = Path(__file__).parents[1]


def tree(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_train_skip_report_and_both_sources_agree(place, home):
    out = repro("run", "--all", "--profile", "smoke", "--device", "cpu", "--pages")
    assert "2 trained" in out
    assert "None of this counts" in out
    records = sorted((home / "runs").glob("*/record.json"))
    assert len(records) == 2
    before = [path.read_bytes() for path in records]
    again = repro("run", "--all", "--profile", "smoke", "--device", "cpu")
    assert "2 skipped" in again
    assert [path.read_bytes() for path in records] == before
    pages = tree(home / "reports" / "smoke")
    assert {"README.md", "tiny/report.md", "tiny/figures/first-confusion.svg"} <= set(pages)
    assert b"smoke" in pages["README.md"].splitlines()[0]
    repro("report", "--profile", "smoke", "--out", "local")
    repro("report", "--profile", "smoke", "--out", "served", "--from-mlflow")
    assert tree(place / "local") == tree(place / "served") == pages
    repro("report")
    assert "not run" in (place / "reports" / "README.md").read_text()
    assert not list((place / "reports").glob("*/evidence/*"))


def test_pages_from_a_store_lose_none_of_the_evidence_beside_them(place, home):
    report = load_all()["tiny"]
    here, there = (
        replace(golden_demo.make(report, name), report="tiny", experiments=[name]) for name in ("first", "second")
    )
    kept = place / "reports" / "tiny" / "evidence" / here.file_name
    kept.parent.mkdir(parents=True)
    kept.write_bytes(here.to_bytes())
    from repro.track import Tracker

    Tracker(home).project(there)
    repro("report", "--from-mlflow")
    table = (place / "reports" / "runs.csv").read_text()
    assert here.run_key in table
    assert there.run_key in table
    repro("report", "--from-mlflow", "--out", "alone")
    alone = (place / "alone" / "runs.csv").read_text()
    assert (here.run_key in alone, there.run_key in alone) == (False, True)


def test_a_bundle_holds_what_was_kept_beside_a_later_run(place, home):
    command = ("run", "tiny/first", "--profile", "smoke", "--device", "cpu", "--offline")
    repro(*command)
    (record,) = home.glob("runs/*/record.json")
    other = record.with_name("record-0123abcd.json")  # as one that came with a bundle
    other.write_bytes(replace(RunRecord.from_bytes(record.read_bytes()), command="elsewhere").to_bytes())
    assert "2 runs" in repro("bundle", "export", "moved")
    assert {record.read_bytes(), other.read_bytes()} <= set(tree(place / "moved").values())


def test_mlflow_holds_what_the_record_says(place, home):
    import mlflow

    from repro.record import RunRecord

    repro("run", "tiny/first", "--profile", "smoke", "--device", "cpu")
    client = mlflow.MlflowClient(f"sqlite:///{home}/mlflow.db")
    experiment = client.get_experiment_by_name("cifar10/tiny/smoke")
    runs = client.search_runs([experiment.experiment_id])
    kinds = {run.data.tags["repro.kind"]: run for run in runs}
    assert set(kinds) == {"experiment", "run"}
    child, parent = kinds["run"], kinds["experiment"]
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert "published 50.0 %" in child.data.tags["mlflow.note.content"]
    path = next((home / "runs").glob("*/record.json"))
    record = RunRecord.from_bytes(path.read_bytes())
    assert Path(client.download_artifacts(child.info.run_id, "record.json")).read_bytes() == path.read_bytes()
    for protocol, metrics in record.finals.items():
        for metric in set(metrics) & {"acc_pct", "loss", "nll", "ece_pct"}:
            assert child.data.metrics[f"final/{protocol}/{metric}"] == pytest.approx(metrics[metric])
    for name, curve in record.curves.items():
        if not name.startswith("step/"):
            history = client.get_metric_history(child.info.run_id, name)
            assert [m.step for m in history] == list(range(1, len(curve) + 1))
            assert [m.value for m in history] == pytest.approx(curve.tolist(), rel=1e-6)
    assert child.info.status == parent.info.status == "FINISHED"


def test_bundle_moves_runs_into_another_store(place, home, tmp_path, mlflow_template, monkeypatch):
    repro("run", "--all", "--profile", "smoke", "--device", "cpu", "--offline")
    assert "2 runs" in repro("bundle", "export", "moved")
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(mlflow_template, other / "mlflow.db")
    monkeypatch.setenv("REPRO_HOME", str(other))
    assert "2 new, 0 already here" in repro("bundle", "import", "moved")
    assert "0 new, 2 already here" in repro("bundle", "import", "moved")
    names = ("record.json", "journal.jsonl", "probabilities.npz")
    ours, theirs = (
        {p.parent.name + p.name: p.read_bytes() for n in names for p in h.glob(f"runs/*/{n}")} for h in (home, other)
    )
    assert ours == theirs
    assert len(ours) == 6
    assert "2 skipped" in repro("run", "--all", "--profile", "smoke", "--device", "cpu")


def test_a_failed_run_is_shown_and_the_others_go_on(place, monkeypatch):
    train = runner.execute

    def fail(run, *rest):
        if run.experiments == ("first",):
            raise RuntimeError("the disk fell off")
        return train(run, *rest)

    monkeypatch.setattr(local.runner, "execute", fail)
    out = repro("run", "--all", "--profile", "smoke", "--device", "cpu", code=1)
    assert "failed: RuntimeError: the disk fell off" in out
    assert "1 trained, 1 failed" in out


def test_a_spent_budget_stops_and_the_next_call_goes_on(place):
    out = repro("run", "--all", "--profile", "smoke", "--device", "cpu", "--offline", "--budget", "0s")
    assert "2 stopped" in out
    assert "2 trained" in repro("run", "--all", "--profile", "smoke", "--device", "cpu", "--offline")


def test_training_outlives_a_tracking_store_that_fails(place, home, monkeypatch):
    from repro.track import Tracker, TrackingError

    def down(*_rest, **_kwargs):
        raise TrackingError("MLflow is down")

    with monkeypatch.context() as broken:
        for name in ("start", "project", "summarise"):
            broken.setattr(Tracker, name, down)
        out = repro("run", "--all", "--profile", "smoke", "--device", "cpu", code=1)
    assert "2 trained" in out
    assert "2 not in MLflow yet" in out
    assert "2 skipped" in repro("run", "--all", "--profile", "smoke", "--device", "cpu", "--missing")
    from repro.track import Tracker as Whole

    assert len(list(Whole(home).records())) == 2


def test_missing_skips_what_the_evidence_holds(place, home):
    from repro.record import RunRecord

    repro("run", "tiny/first", "--profile", "smoke", "--device", "cpu", "--offline")
    path = next((home / "runs").glob("*/record.json"))
    record = RunRecord.from_bytes(path.read_bytes())
    evidence = place / "reports" / "tiny" / "evidence"
    evidence.mkdir(parents=True)
    (evidence / record.file_name).write_bytes(record.to_bytes())
    out = repro("run", "--all", "--profile", "smoke", "--device", "cpu", "--missing", "--dry-run")
    assert "tiny/second" in out
    assert "tiny/first" not in out


def test_a_place_that_cannot_be_written_is_said(place):
    assert "/proc/nowhere" in repro("report", "--profile", "smoke", "--out", "/proc/nowhere", code=2)


def test_force_trains_again_and_keeps_the_record(place, home):
    repro("run", "tiny/first", "--profile", "smoke", "--device", "cpu", "--offline")
    repro("run", "tiny/first", "--profile", "smoke", "--device", "cpu", "--offline", "--force")
    assert sorted(p.name for p in home.glob("runs/*/record*.json")) == ["record-1.json", "record.json"]


def test_interrupt_exits_with_130(place, monkeypatch):
    def interrupt(*_rest):
        raise KeyboardInterrupt

    monkeypatch.setattr(local.runner, "execute", interrupt)
    assert "goes on" in repro("run", "--all", "--profile", "smoke", "--device", "cpu", "--offline", code=130)


def test_offline_needs_no_mlflow(place, home):
    code = (
        "import sys; sys.modules['mlflow'] = None; import torch; torch.set_num_threads(1); from repro.cli import main; "
        "main(['run', 'tiny/first', '--profile', 'smoke', '--device', 'cpu', '--offline'])"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert "1 trained" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["list"], 0, ""),
        (["run", "--all", "--profile", "smoke", "--device", "cpu", "--dry-run"], 1, "the same command goes on"),
    ],
)
def test_output_that_nobody_reads_ends_the_command(place, arguments, code, sentence):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "repro", *arguments], stdout=writer, stderr=subprocess.PIPE, text=True, env=env
    )
    os.close(writer)
    assert done.returncode == code
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_list_status_and_dry_run(place):
    rows = json.loads(repro("list", "--json"))
    assert [(r["experiment"], r["tier"]) for r in rows] == [("first", "headline"), ("second", "core")]
    assert "tiny/second" in repro("list")
    status = json.loads(repro("status", "--json"))
    assert [row["missing"] for row in status] == [[0, 1, 2], [0]]
    out = repro("run", "--all", "--seeds", "0-2", "--profile", "smoke", "--device", "cpu", "--dry-run")
    assert len([line for line in out.splitlines() if "smoke" in line]) == 6
    full = repro("run", "--all", "--device", "cpu", "--dry-run")  # the data is not here, and need not be
    assert len([line for line in full.splitlines() if "full" in line]) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "nothing to run: name a REPORT"),
        (["run", "tinny"], "no report 'tinny'; did you mean 'tiny'?"),
        (["run", "tiny/frist"], "no experiment 'frist' in tiny; did you mean 'first'?"),
        (["run", "--all", "--tier", "long"], "no experiment is of tier long"),
        (["run", "--all", "--seeds", "x"], "expected seeds such as 0, 0-2 or 0,3,5"),
        (["run", "--all", "--budget", "soon"], "expected a time such as 90s, 9m or 1.5h"),
        (["run", "--all", "--device", "tpu9"], "--device tpu9"),
        (["run", "--all", "--device", "cpu"], "`repro data fetch` downloads it"),
        (["data", "verify"], "CIFAR-10 is not here"),
        (["bundle", "import", "experiments"], "experiments"),
        (["bundle", "export", "nowhere"], "no finished run to export"),
    ],
)
def test_refusals_say_what_and_how_and_write_nothing(place, home, arguments, message):
    before = tree(place) | tree(home)
    assert message in repro(*arguments, code=2)
    assert tree(place) | tree(home) == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_no_cuda_is_said(place):
    assert "sees no CUDA device" in repro("run", "--all", "--device", "cuda", code=2)


def test_auto_without_cuda_is_smoke_and_the_first_line_says_so(place, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    out = repro("run", "tiny/second", "--profile", "auto", "--offline")
    assert out.startswith("No CUDA device: a smoke run")


def test_a_broken_yaml_names_file_line_and_key(place):
    path = place / "experiments" / "tiny.yaml"
    path.write_text(SMALL.replace("batch_size: 128", "batchsize: 128"))
    out = repro("list", code=2)
    assert "tiny.yaml:" in out
    assert "budget.batchsize" in out
    assert "batch_size" in out


def test_validate_agrees_on_every_network(monkeypatch):
    monkeypatch.chdir(ROOT)
    out = repro("validate")
    for number in ("1,050,202", "4,999,718", "4,815,940", "4,977,226", "4,903,242", "11,173,962"):
        assert f"{number} parameters, closed form and network agree" in out


def test_force_without_time_leaves_what_is_there(place, home):
    repro("run", "tiny/first", "--profile", "smoke", "--device", "cpu", "--offline")
    before = tree(home / "runs")
    out = repro("run", "tiny/first", "--profile", "smoke", "--device", "cpu", "--offline", "--force", "--budget", "0s")
    assert "no time left" in out
    assert tree(home / "runs") == before


@pytest.mark.parametrize("content", ["xx", "[{}]", "{}", '[{"env_class": "cpu-fp32-relaxed-n1"}]'])
def test_a_damaged_list_of_starts_fails_the_run_with_its_mend(place, home, content):
    repro("run", "tiny/first", "--profile", "smoke", "--device", "cpu", "--offline", "--precision", "fp32")
    (folder,) = (home / "runs").iterdir()
    (folder / "record.json").unlink()
    (folder / "attempts.json").write_text(content)
    out = repro(
        "run", "tiny/first", "--profile", "smoke", "--device", "cpu", "--offline", "--precision", "fp32", code=1
    )
    assert "attempts.json: not the list of a run's starts; --force begins the run anew" in out


@pytest.mark.parametrize("damage", ["folder", "no finals"])
def test_an_odd_record_fails_its_run_and_the_others_go_on(place, home, damage):
    repro("run", "tiny/first", "--profile", "smoke", "--device", "cpu", "--offline")
    (path,) = (home / "runs").glob("*/record.json")
    if damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_text(json.dumps(json.loads(path.read_text()) | {"finals": {}}))
    out = repro("run", "tiny", "--profile", "smoke", "--device", "cpu", "--offline", code=1)
    assert "record.json" in out
    assert "move it away, and the run is made again" in out
    assert "1 trained, 1 failed" in out


def test_the_means_in_mlflow_are_the_same_whichever_command_came_last(place, home, monkeypatch):
    """Evidence of one seed and a local run of another: `ui` and `run` give the parent one summary."""
    from repro.suite.moving import show_evidence
    from repro.track import Tracker

    repro("run", "tiny/first", "--profile", "smoke", "--device", "cpu", "--seeds", "0-1")
    folders = sorted((home / "runs").iterdir())
    kept = place / "reports" / "tiny" / "evidence"
    kept.mkdir(parents=True)
    shutil.move(folders[0] / "record.json", kept / "first-s0-cpu-00000000.json")
    shutil.rmtree(folders[0])
    show_evidence(home, place / "reports", say=lambda text: None)

    def parents():
        tracker = Tracker(home)
        ids = [experiment.experiment_id for experiment in tracker.experiments()]
        return [
            (run.info.run_id, run.data.metrics["summary/n_seeds"]) for run in tracker.search(ids, kind="experiment")
        ]

    before = parents()
    assert [seeds for _, seeds in before] == [2]
    seed = json.loads((folders[1] / "record.json").read_text())["seed"]
    repro("run", "tiny/first", "--profile", "smoke", "--device", "cpu", "--seeds", str(seed))
    assert parents() == before


def test_log_model_logs_the_network_of_each_experiment_once(place, home):
    from repro.track import Tracker

    command = ("run", "tiny", "--profile", "smoke", "--device", "cpu", "--seeds", "0-1", "--log-model", "-q")
    assert "models: 2 new in MLflow, of 2" in repro(*command)
    assert "models: 0 new in MLflow, of 2" in repro(*command)
    tracker = Tracker(home)
    found = tracker.client.search_logged_models([e.experiment_id for e in tracker.experiments()])
    assert sorted(model.name for model in found) == ["first-s0", "second-s0"]
