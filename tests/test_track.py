"""MLflow holds what the record says, once, whatever races, kills and replays come before."""

import dataclasses
import json
import math
import multiprocessing
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest
import yaml

from repro.errors import UserError
from repro.record import Entry, Journal
from repro.track import RunInfo, Tracker, TrackingError, connection, store, summary, ui, ui_command, ui_env
from repro.track.projection import STEP_POINTS, entries_of, params, points

ROOT = Path(__file__).parents[1]
NOTES = {"report": "Optimizing ResNet", "experiment": "68 layers", "published": "90.14 %", "where": "Table 1"}


@pytest.fixture(autouse=True)
def quick_pictures(request, monkeypatch):
    """Drawing takes most of a projection's time; two tests do draw."""
    if request.node.name not in ("test_mlflow_holds_what_the_record_says", "test_the_parent_holds_the_mean_over_seeds"):
        for name in ("confusion_png", "curves_png"):
            monkeypatch.setattr(f"repro.plots.{name}", lambda *_: b"png")


def rows(tracker):
    """Every metric row of every live run, straight from the file: (run, key, step) -> how often."""
    with closing(sqlite3.connect(tracker.store.path)) as db:
        return Counter(
            db.execute(
                "select m.run_uuid, m.key, m.step from metrics m join runs r using (run_uuid) "
                "where r.lifecycle_stage = 'active'"
            ).fetchall()
        )


def dump(tracker):
    """The store's rows that a replay must not change."""
    tables = ("runs", "metrics", "params", "tags", "inputs", "experiments")
    with closing(sqlite3.connect(tracker.store.path)) as db:
        return {t: sorted(map(repr, db.execute(f"select * from {t}"))) for t in tables}


def of_kind(tracker, kind):
    ids = [e.experiment_id for e in tracker.experiments()]
    return list(tracker.search(ids, kind=kind))


def small(make_record, **overrides):
    return make_record(**({"epochs": 3, "images": 200} | overrides))


def test_mlflow_holds_what_the_record_says(home, make_record, tmp_path):
    tracker, record = Tracker(home), make_record(epochs=5, experiments=["resnet68", "resnet68-too"])
    extra = tmp_path / "p.npz"
    extra.write_bytes(b"probabilities")
    run_id = tracker.project(record, extras={"probabilities.npz": extra}, notes=NOTES)
    run, client = tracker.client.get_run(run_id), tracker.client

    assert run.info.status == "FINISHED"
    assert run.info.end_time - run.info.start_time == record.seconds * 1000
    assert run.info.run_name == "s0 resnet68"
    for key, curve in record.curves.items():
        if not key.startswith("step/"):
            history = client.get_metric_history(run_id, key)
            assert [(m.step, np.float32(m.value)) for m in history] == list(enumerate(curve, 1)), key
    steps = client.get_metric_history(run_id, "step/loss")
    assert [m.step for m in steps] == list(range(1, 21))
    np.testing.assert_array_equal(np.float32([m.value for m in steps]), record.curves["step/loss_mean"])
    for protocol, values in record.finals.items():
        for metric, value in values.items():
            assert run.data.metrics[f"final/{protocol}/{metric}"] == value
    assert set(rows(tracker).values()) == {1}

    assert run.data.params["optim.lr"] == "0.01"
    assert run.data.params["augment"] == "crop,flip"
    assert run.data.params["augment.crop.pad"] == "4"
    assert run.data.params["model.widths"] == "[16,32,64]"
    tags = run.data.tags
    assert tags["repro.run_key"] == record.run_key
    assert tags["repro.env_class"] == record.env_class
    assert tags["repro.state"] == "finished"
    assert tags["repro.kind"] == "run"
    assert tags["mlflow.source.git.commit"] == record.env["commit"]
    assert tags["mlflow.source.name"] == record.command
    assert "repro.diverged" not in tags
    first = tags["mlflow.note.content"].splitlines()[0]
    assert first == "Seed 0 of resnet68 of “Optimizing ResNet”: published 90.14 % (Table 1)."
    inputs = {(i.tags[0].value, i.dataset.name, i.dataset.digest) for i in run.inputs.dataset_inputs}
    assert inputs == {(split, "cifar10", record.data[split][:12]) for split in ("train", "test")}

    (parent,) = of_kind(tracker, "experiment")
    assert tags["mlflow.parentRunId"] == parent.info.run_id
    experiment = client.get_experiment(run.info.experiment_id)
    assert experiment.name == "cifar10/chen2024"
    assert experiment.artifact_location.startswith(home.as_uri() + "/artifacts/")

    def artifact(path):
        return Path(client.download_artifacts(run_id, path, str(tmp_path))).read_bytes()

    assert artifact("record.json") == record.to_bytes()
    assert artifact("probabilities.npz") == b"probabilities"
    assert yaml.safe_load(artifact("spec.yaml")) == record.recipe
    assert json.loads(artifact("confusion/last.json"))["counts"] == record.confusion["last"]
    for picture in ("confusion/last.png", "curves.png"):
        assert artifact(picture).startswith(b"\x89PNG")
    per_class = json.loads(artifact("per_class.json"))
    assert per_class["columns"] == ["class", "n", "correct", "acc_pct"]
    assert sum(row[2] for row in per_class["data"]) == np.trace(record.confusion["last"])
    assert json.loads(tags["mlflow.loggedArtifacts"]) == [{"path": "per_class.json", "type": "table"}]
    assert list(tracker.records()) == [(f"runs:/{run_id}/record.json", record.to_bytes())]


def test_spec_yaml_reads_small_numbers_as_numbers(make_record):
    from repro.track.projection import spec_yaml

    recipe = make_record().recipe | {"optim": {"name": "adam 1e-5", "lr": 1e-5, "eps": 2.5e-8, "betas": [1e-9, 0.999]}}
    text = spec_yaml(RunInfo.of(make_record(recipe=recipe)))
    assert yaml.safe_load(text) == recipe


def test_live_then_replay_then_project_changes_nothing(home, make_record, tmp_path):
    tracker, record = Tracker(home), small(make_record)
    journal, info = Journal(tmp_path / "journal.jsonl"), RunInfo.of(record, NOTES)
    live = tracker.start(info)
    assert tracker.client.get_run(live.run_id).info.status == "RUNNING"
    for entry in entries_of(record):
        live.log([journal.append(entry.epoch, entry.metrics, entry.steps)])
    live.log(journal.read())
    live.finish(record, {"journal.jsonl": journal.path})
    before = dump(tracker)
    assert set(rows(tracker).values()) == {1}
    live.log(journal.read())
    live.finish(record, {"journal.jsonl": journal.path})
    assert dump(tracker) == before
    for extras in ({}, {"journal.jsonl": journal.path}):
        assert Tracker(home).project(record, extras=extras, notes=NOTES) == live.run_id
    assert dump(tracker) == before


def test_a_lost_record_artifact_is_put_back(home, make_record):
    tracker, record = Tracker(home), small(make_record)
    run_id = tracker.project(record)
    before = rows(tracker)
    (path,) = home.glob("artifacts/**/record.json")
    path.write_bytes(small(make_record, seed=1).to_bytes())
    with pytest.raises(TrackingError, match=r"record\.json is not the record that was put there"):
        list(tracker.records())
    path.unlink()
    with pytest.raises(TrackingError, match=r"record\.json is gone"):
        list(tracker.records())
    assert tracker.project(record) == run_id
    assert path.read_bytes() == record.to_bytes()
    assert rows(tracker) == before


def test_a_resumed_run_goes_on_in_its_mlflow_run(home, make_record):
    record = small(make_record)
    first, entries = Tracker(home).start(RunInfo.of(record)), entries_of(record)
    first.log(entries[:2])
    first.end("KILLED")
    tracker = Tracker(home)
    live = tracker.start(dataclasses.replace(RunInfo.of(record), started="2026-01-03T00:00:00+00:00"))
    assert live.run_id == first.run_id
    live.log(entries)
    live.finish(record)
    run = tracker.client.get_run(live.run_id)
    assert (run.info.status, run.data.tags["repro.state"]) == ("FINISHED", "finished")
    assert set(rows(tracker).values()) == {1}


def test_an_epoch_trained_again_replaces_the_mlflow_run(home, make_record):
    # Killed between the journal's line and the checkpoint: MLflow holds epoch 2, training does it again.
    tracker, record = Tracker(home), small(make_record)
    entries = entries_of(record)
    killed = tracker.start(RunInfo.of(record))
    killed.log(entries[:2])
    live = Tracker(home).start(RunInfo.of(record))
    live.log(entries[:1])
    again = [dataclasses.replace(entry, time=entry.time + 1) for entry in entries[1:]]
    live.log(again)
    live.finish(record)
    assert live.run_id != killed.run_id
    assert [run.info.run_id for run in of_kind(tracker, "run")] == [live.run_id]
    history = tracker.client.get_metric_history(live.run_id, "test/loss")
    assert [(m.step, m.timestamp) for m in history] == [(e.epoch, e.time) for e in [entries[0], *again]]
    assert set(rows(tracker).values()) == {1}


def test_epochs_that_did_not_get_through_come_with_the_record(home, make_record):
    tracker, record = Tracker(home), small(make_record)
    live = tracker.start(RunInfo.of(record))
    live.log(entries_of(record)[:1])
    run_id = Tracker(home).project(record)
    assert run_id == live.run_id
    assert [m.step for m in tracker.client.get_metric_history(run_id, "test/loss")] == [1, 2, 3]


def test_replicates_stand_side_by_side(home, make_record):
    tracker, record = Tracker(home), small(make_record)
    drifted = small(make_record, seconds=613.0)
    elsewhere = small(make_record, env_class="cpu-fp32-relaxed-n1")
    ids = {tracker.project(r) for r in (record, drifted, elsewhere, record, drifted, elsewhere)}
    assert len(ids) == 3
    assert {data for _, data in tracker.records()} == {r.to_bytes() for r in (record, drifted, elsewhere)}
    begun_anew = tracker.start(RunInfo.of(record))
    assert begun_anew.run_id not in ids


def test_a_record_from_elsewhere_does_not_mix_with_half_a_run(home, make_record):
    tracker, record, other = Tracker(home), small(make_record), small(make_record)
    other.curves = {key: curve + 1 for key, curve in other.curves.items()}
    half = tracker.start(RunInfo.of(record))
    half.log(entries_of(record)[:2])
    half.end("KILLED")
    run_id = tracker.project(other)
    values = [np.float32(m.value) for m in tracker.client.get_metric_history(run_id, "test/loss")]
    assert values == list(other.curves["test/loss"])


def test_a_run_that_another_host_trains_is_left_to_it(home, make_record):
    tracker, info = Tracker(home), RunInfo.of(small(make_record))
    theirs = tracker.start(info)
    for tag in ("repro.host", "repro.folder"):
        tracker.client.set_tag(theirs.run_id, tag, "elsewhere")
    assert tracker.start(info).run_id != theirs.run_id


def test_a_parent_ends_with_the_last_run_in_training_below_it_and_is_woken_by_the_next(home, make_record):
    tracker, one, two = Tracker(home), *(RunInfo.of(small(make_record, seed=seed)) for seed in (0, 1))

    def status():
        (parent,) = tracker.parents(tracker.experiment_id(one.report, one.profile), one.experiments[0])
        return parent.info.status

    first, second = tracker.start(one), tracker.start(two)
    first.end("KILLED")
    assert status() == "RUNNING"
    second.end("FAILED")
    assert status() == "FAILED"
    assert tracker.start(one).run_id == first.run_id
    assert status() == "RUNNING"


def test_a_parent_with_a_summary_keeps_its_end(home, make_record):
    tracker, record = Tracker(home), small(make_record)
    tracker.project(record)
    parent = tracker.summarise(record.report, record.experiments[0], record.profile, [record])
    tracker.start(RunInfo.of(small(make_record, seed=1))).end("KILLED")
    assert tracker.client.get_run(parent).info.status == "FINISHED"


def test_runs_whose_parent_was_deleted_stand_below_the_next_one(home, make_record):
    tracker, records = Tracker(home), [small(make_record, seed=seed) for seed in (0, 1)]
    runs = [tracker.project(record) for record in records]
    group = records[0].report, records[0].experiments[0], records[0].profile
    old = tracker.summarise(*group, records)
    tracker.client.delete_run(old)
    new = tracker.summarise(*group, records)
    assert new != old
    assert {tracker.client.get_run(run).data.tags["mlflow.parentRunId"] for run in runs} == {new}


def test_what_is_not_finite_is_counted_not_stored(home, make_record):
    nan, inf = math.nan, math.inf
    record = small(make_record, state="diverged", finals={"last": {"loss": nan, "acc_pct": 10.0}})
    record.curves["train/loss"] = np.array([2.0, inf, nan], np.float32)
    record.curves["test/loss"] = np.array([2.0, 2.0, -inf], np.float32)
    tracker = Tracker(home)
    run = tracker.client.get_run(tracker.project(record))
    history = tracker.client.get_metric_history(run.info.run_id, "train/nonfinite")
    assert [(m.step, m.value) for m in history] == [(2, 1.0), (3, 2.0)]
    assert [m.step for m in tracker.client.get_metric_history(run.info.run_id, "train/loss")] == [1]
    assert run.data.tags["repro.diverged"] == "true"
    assert run.data.tags["repro.state"] == "diverged"
    assert "final/last/loss" not in run.data.metrics
    assert run.data.metrics["final/last/acc_pct"] == 10.0


def test_step_losses_stay_within_what_charts_draw(make_record):
    record = make_record(epochs=250, windows=40, images=10)
    found = [p for entry in entries_of(record) for p in points(entry, 250)[0] if p.key == "step/loss"]
    assert STEP_POINTS / 2 < len(found) <= STEP_POINTS
    assert len({p.step for p in found}) == len(found)


def test_params_of_one_step_twice():
    recipe = {"augment": [{"name": "flip", "p": 0.5}, {"name": "flip", "p": 1.0}], "on": True, "none": None, "lr": 1e-5}
    info = RunInfo("k", "h", recipe, "r", ["e"], 0, 2, "full", {}, {}, "c", "", "", "")
    assert params(info) == {
        "seed": "0", "fold": "2", "profile": "full", "augment": "flip,flip", "augment.flip.0.p": "0.5",
        "augment.flip.1.p": "1.0", "on": "true", "none": "null", "lr": "1e-05",
    }  # fmt: skip


def test_profiles_have_experiments_of_their_own(home, make_record):
    tracker = Tracker(home, prefix="mine")
    for profile in ("full", "quick", "smoke"):
        tracker.project(small(make_record, profile=profile))
    assert [e.name for e in tracker.experiments()] == ["mine/chen2024", "mine/chen2024/quick", "mine/chen2024/smoke"]
    assert all(e.tags["mlflow.experimentKind"] == "custom_model_development" for e in tracker.experiments())
    assert Tracker(home).experiments() == []


def test_the_parent_holds_the_mean_over_seeds(home, make_record):
    tracker, records = Tracker(home), [small(make_record, seed=seed) for seed in (0, 1, 2)]
    children = [tracker.project(record) for record in records]
    tracker.summarise("chen2024", "resnet68", "full", records[:1], NOTES)
    run_id = tracker.summarise("chen2024", "resnet68", "full", records, NOTES)
    before = dump(tracker)
    assert tracker.summarise("chen2024", "resnet68", "full", records[::-1], NOTES) == run_id
    assert dump(tracker) == before
    parent = tracker.client.get_run(run_id)
    assert parent.info.status == "FINISHED"
    assert [run.info.run_id for run in of_kind(tracker, "experiment")] == [run_id]
    assert {tracker.client.get_run(c).data.tags["mlflow.parentRunId"] for c in children} == {run_id}
    for key in ("train/loss", "test/acc_pct", "lr"):
        mean = np.mean([np.float64(r.curves[key]) for r in records], axis=0)
        assert [m.value for m in tracker.client.get_metric_history(run_id, key)] == list(mean)
    values = [r.finals["last"]["acc_pct"] for r in records]
    metrics = parent.data.metrics
    assert metrics["summary/acc_mean"] == round(np.mean(values), 3)
    assert metrics["summary/acc_std"] == round(np.std(values, ddof=1), 3)
    assert metrics["summary/n_seeds"] == 3
    assert metrics["summary/published"] == 90.14
    assert metrics["summary/delta_pp"] == round(np.mean(values) - 90.14, 3)
    assert {f.path for f in tracker.client.list_artifacts(run_id)} == {"summary.json", "curves.png", "confusion"}
    assert set(rows(tracker).values()) == {1}


# --- the store -------------------------------------------------------------------------------------------------


FORK = multiprocessing.get_context("fork")  # mlflow is imported already: the children race, they do not load


def race(home, record, barrier, said):
    barrier.wait()
    live = Tracker(home).start(RunInfo.of(record))
    live.log(entries_of(record))
    said.put(live.run_id)


def test_four_processes_on_a_fresh_store_make_one_run(tmp_path, make_record, mlflow_template):
    barrier, said = FORK.Barrier(4), FORK.SimpleQueue()
    racers = [FORK.Process(target=race, args=(tmp_path, small(make_record), barrier, said)) for _ in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(60)
    assert [racer.exitcode for racer in racers] == [0, 0, 0, 0]
    assert len({said.get() for _ in racers}) == 1
    tracker = Tracker(tmp_path)
    assert len(of_kind(tracker, "run")) == len(of_kind(tracker, "experiment")) == 1
    assert set(rows(tracker).values()) == {1}


def make_store(home):
    store.ensure(store.locate(home), connection.migrate)


@pytest.mark.parametrize("tables", [1, 20])
def test_a_kill_while_the_store_is_made_leaves_nothing_broken(tmp_path, mlflow_template, tables):
    maker = FORK.Process(target=make_store, args=(tmp_path,))
    maker.start()
    killed_at = 0
    while killed_at < tables and maker.is_alive():
        time.sleep(0.002)
        for path in tmp_path.glob(".mlflow.db.*.tmp"):
            with (
                closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db,
                suppress(sqlite3.OperationalError),
            ):
                (killed_at,) = db.execute("select count(*) from sqlite_master where type = 'table'").fetchone()
    maker.kill()
    maker.join()
    assert not (tmp_path / "mlflow.db").exists()
    assert list(tmp_path.glob(".mlflow.db.*.tmp"))
    tracker = Tracker(tmp_path)
    assert tracker.experiments() == []
    assert {p.name for p in tmp_path.iterdir()} == {"mlflow.db", "mlflow.db.lock"}


@pytest.mark.parametrize("content", [b"SQLite format 3\0 and then nothing", b"x" * 5000, "half"])
def test_a_broken_store_is_named_at_once(tmp_path, content):
    path = tmp_path / "mlflow.db"
    if content == "half":
        with closing(sqlite3.connect(path)) as db:
            db.execute("create table _alembic_tmp_experiments (a)")
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    began = time.monotonic()
    with pytest.raises(UserError, match=r"mlflow\.db: .*store.*move it away"):
        Tracker(tmp_path)
    assert time.monotonic() - began < 5
    assert path.read_bytes() == before


def test_the_environment_names_the_store(home, tmp_path, monkeypatch, make_record):
    other = tmp_path / "other" / "tracking.db"
    other.parent.mkdir()
    (home / "mlflow.db").rename(other)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{other}")
    Tracker(home).project(small(make_record))
    assert not (home / "mlflow.db").exists()
    assert list(other.parent.glob("artifacts/**/record.json"))


def test_a_store_of_files_is_refused(home, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "file:./mlruns")
    with pytest.raises(UserError, match="MLFLOW_TRACKING_URI=file"):
        Tracker(home)


def test_a_server_that_is_not_there_is_said_soon(home, monkeypatch):
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://me:secret@127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(
        TrackingError, match=r"MLflow at http://\*\*\*@127.*no answer: Connection refused.*--offline"
    ) as caught:
        Tracker(home)
    assert "secret" not in str(caught.value)


def test_a_deleted_experiment_says_how_to_bring_it_back(home, make_record):
    tracker, record = Tracker(home), small(make_record)
    tracker.project(record)
    (experiment,) = tracker.experiments()
    tracker.client.delete_experiment(experiment.experiment_id)
    with pytest.raises(UserError, match=f"restore --experiment-id {experiment.experiment_id}"):
        Tracker(home).start(RunInfo.of(record))


def test_extras_stay_in_their_place(home, make_record, tmp_path):
    with pytest.raises(UserError, match="extra artifact"):
        Tracker(home).project(small(make_record), extras={"../out": tmp_path})
    hostile = small(make_record)
    hostile.confusion = {"../../last": hostile.confusion["last"]}
    with pytest.raises(UserError, match="not a protocol's name"):
        Tracker(home).project(hostile)


def test_the_package_works_without_mlflow(tmp_path):
    code = """
import sys
sys.modules["mlflow"] = None
from pathlib import Path
import repro.track, repro.bundle, repro.record
try:
    repro.track.Tracker(Path(sys.argv[1]))
except repro.track.connection.UserError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--offline" in done.stdout
    assert "Traceback" not in done.stderr


def test_importing_track_does_not_import_mlflow(tmp_path):
    code = "import sys, repro.track, repro.bundle; sys.exit(bool({'mlflow', 'torch', 'matplotlib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_ui(home, make_record, monkeypatch):
    Tracker(home).project(small(make_record))
    command, env, links = ui(home)
    assert command == ui_command(home)
    assert env == ui_env()
    assert command[command.index("--backend-store-uri") + 1] == f"sqlite:///{home / 'mlflow.db'}"
    assert command[command.index("--workers") + 1] == "1"
    assert all("?workflowType=machine_learning" in link for link in links if "http" in link)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    with pytest.raises(UserError, match="server already"):
        ui_command(home)


def test_an_entry_with_more_rows_than_a_request_holds(home, make_record):
    tracker, record = Tracker(home), small(make_record)
    live = tracker.start(RunInfo.of(record))
    live.log([Entry(1, {f"train/m{i}": float(i) for i in range(1200)}, {}, 1)])
    assert len(tracker.client.get_run(live.run_id).data.metrics) == 1200


def test_an_experiment_with_a_network_a_fold_is_summarised(home, make_record):
    tracker = Tracker(home)
    folds = [small(make_record, seed=seed, fold=fold) for seed in (0, 1) for fold in (1, 2)]
    for record in folds:
        tracker.project(record)
    group = folds[0].report, folds[0].experiments[0], folds[0].profile
    parent = tracker.client.get_run(tracker.summarise(*group, folds))
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["summary/n_seeds"] == 2
    said = json.loads(tracker.download(parent.info.run_id, "summary.json"))
    assert [(run["seed"], run["fold"]) for run in said["runs"]] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert [run["value"] for run in said["runs"]] == pytest.approx([each.finals["last"]["acc_pct"] for each in folds])


def test_a_seed_of_several_folds_counts_once(make_record):
    """With a network a fold a seed's value is their mean, and one that lacks a value has none."""
    records = [make_record(epochs=1, images=200, seed=seed, fold=fold) for seed in (0, 1) for fold in (1, 2)]
    assert summary._by_seed(records, [80.0, 90.0, 84.0, 86.0]) == [85.0, 85.0]
    assert summary._by_seed(records, [80.0, None, 84.0, 86.0]) == [None, 85.0]


def test_writes_are_never_left_to_a_thread_of_mlflows(monkeypatch, home, make_record):
    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_LOGGING", "true")
    tracker = Tracker(home)
    record = make_record(epochs=2, images=200)
    tracker.project(record)
    assert os.environ["MLFLOW_ENABLE_ASYNC_LOGGING"] == "false"
    assert [data for _, data in tracker.records()] == [record.to_bytes()]
