"""What an MLflow experiment's page opens with: saved views in the pages' own format, and a note with the numbers."""

import base64
import json
import logging
import zlib

import pytest

from repro.track import Judged, RunInfo, Tracker, ui, views
from repro.track.notes import report_note
from repro.track.projection import params, points

NOTES = {
    "report": "Optimizing ResNet", "published": "90.14 %", "where": "Table 1", "protocol": "last", "metric": "acc_pct",
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    for name in ("confusion_png", "curves_png"):
        monkeypatch.setattr(f"repro.plots.{name}", lambda *_: b"png")


@pytest.fixture
def small(make_record):
    return lambda seed=0, **overrides: make_record(epochs=3, images=200, seed=seed, **overrides)


def experiment_of(tracker):
    (experiment,) = tracker.experiments()
    return tracker.client.get_experiment(experiment.experiment_id)


def unpacked(tag):
    """Read a tag as MLflow's pages do."""
    envelope = json.loads(tag)
    scheme, _, packed = envelope["state"].partition(";")
    assert scheme == "deflate"
    assert type(envelope["name"]) is str
    assert type(envelope["createdAt"]) is type(envelope["updatedAt"]) is int
    return envelope["name"], json.loads(zlib.decompress(base64.b64decode(packed)))


def test_an_experiment_has_its_views_once(home, small):
    tracker = Tracker(home)
    tracker.project(small(), notes=NOTES)
    tags = {k: v for k, v in experiment_of(tracker).tags.items() if k.startswith("mlflow.sharedViewState.")}
    found = dict(map(unpacked, tags.values()))
    assert list(found) == ["Published beside ours", "Curves, mean over seeds", "Curves, every seed"]
    assert all(len(tag) < 5000 for tag in tags.values())  # MLflow refuses tags above 8,000 characters
    again = Tracker(home)
    written = []
    again.client.set_experiment_tag = lambda *args: written.append(args)
    again.project(small(1), notes=NOTES)
    assert written == []


def test_a_view_names_what_runs_have(home, small):
    tracker = Tracker(home)
    runs = [tracker.project(small(seed), notes=NOTES) for seed in (0, 1)]
    judged = Judged("test-acc", "reproduced", "reproduced")
    parent = tracker.summarise("chen2024", "resnet68", "full", [small(seed) for seed in (0, 1)], NOTES, judged)
    held = {f"attributes.`{name}`" for name in ("Run Name",)}
    for run_id in (*runs, parent):
        data = tracker.client.get_run(run_id).data
        for kind in ("tags", "metrics", "params"):
            held |= {f"{kind}.`{key}`" for key in getattr(data, kind)}
    states = {key: state for key, (_, state) in views.views().items()}
    columns = states["repro-published"]["selectedColumns"]
    assert set(columns) <= held
    # In sight whatever else is open beside the table: what a reader came for.
    assert columns[:2] == ["attributes.`Run Name`", "tags.`repro.verdict`"]
    charted = {f"metrics.`{chart['metricKey']}`" for chart in states["repro-mean"]["compareRunCharts"]}
    assert charted <= held
    for state in states.values():
        ids = [e.experiment_id for e in tracker.experiments()]
        found = tracker.client.search_runs(ids, state["searchFilter"], order_by=[f"{state['orderByKey']} ASC"])
        assert (
            len(found)
            == {"repro-published": 3, "repro-mean": 1, "repro-seeds": 2}[
                next(key for key, other in states.items() if other is state)
            ]
        )
        assert [run.info.run_name for run in found] == sorted(run.info.run_name for run in found)


def test_a_view_that_somebody_saved_again_is_left_alone(home, small):
    tracker = Tracker(home)
    tracker.project(small(), notes=NOTES)
    experiment, key = experiment_of(tracker), "mlflow.sharedViewState.repro-published"
    theirs = json.loads(experiment.tags[key])
    theirs["updatedAt"] += 1
    theirs["state"] = "deflate;" + base64.b64encode(zlib.compress(b"{}")).decode()
    tracker.client.set_experiment_tag(experiment.experiment_id, key, json.dumps(theirs))
    tracker.client.set_experiment_tag(experiment.experiment_id, "mlflow.sharedViewState.repro-mean", "{not json")
    Tracker(home).project(small(1), notes=NOTES)
    after = experiment_of(tracker).tags
    assert json.loads(after[key]) == theirs
    assert unpacked(after["mlflow.sharedViewState.repro-mean"])[0] == "Curves, mean over seeds"


def test_a_view_of_an_older_release_is_brought_up_to_date(monkeypatch):
    first = views.missing({}, made=7)
    assert views.missing(first, made=7) == {}
    monkeypatch.setitem(views._COLUMNS, "tags.`repro.verdict`", 120)
    assert list(views.missing(first, made=7)) == ["mlflow.sharedViewState.repro-published"]


def test_other_versions_of_mlflow_get_no_views_and_plain_links(home, small, monkeypatch, caplog):
    assert views.supported("3.17.2")
    for other in ("3.18.0", "3.17.0rc1", "", "<html>"):
        assert not views.supported(other)
    monkeypatch.setattr("mlflow.__version__", "4.0.0")
    tracker = Tracker(home)
    with caplog.at_level(logging.DEBUG, logger="repro.track.connection"):
        tracker.project(small(), notes=NOTES)
    assert not any(key.startswith("mlflow.sharedViewState") for key in experiment_of(tracker).tags)
    assert "saved views are written for" in caplog.text
    _, _, lines = ui(home, 5077)
    assert lines[1:] == ["cifar10/chen2024: http://127.0.0.1:5077/#/experiments/1/runs?workflowType=machine_learning"]


def test_a_failure_to_write_them_costs_no_run(home, small, caplog):
    tracker = Tracker(home)

    def refuse(*_):
        raise tracker.mlflow.MlflowException("no")

    tracker.client.set_experiment_tag = refuse
    with caplog.at_level(logging.DEBUG, logger="repro.track.connection"):
        run_id = tracker.project(small(), notes=NOTES)
    assert tracker.client.get_run(run_id).info.status == "FINISHED"
    assert "no note or views (no)" in caplog.text


def test_links_open_the_views(home, small):
    Tracker(home).project(small(), notes=NOTES)
    _, _, lines = ui(home, 5077)
    root = "http://127.0.0.1:5077/#/experiments"
    plain = f"{root}/1/runs?workflowType=machine_learning"
    assert lines == [
        f"all: {root}?workflowType=machine_learning",
        "cifar10/chen2024",
        f"  Published beside ours: {plain}&viewStateShareKey=repro-published",
        f"  Curves, mean over seeds: {plain}&viewStateShareKey=repro-mean&compareRunsMode=CHART",
        f"  Curves, every seed: {plain}&viewStateShareKey=repro-seeds&compareRunsMode=CHART",
    ]


def test_the_experiments_note_begins_with_the_published_numbers(home, small):
    tracker = Tracker(home)
    tracker.project(small(), notes=NOTES)
    key = "mlflow.note.content"
    assert experiment_of(tracker).tags[key].splitlines()[0] == "“Optimizing ResNet” published 90.14 % (Table 1)."
    Tracker(home).project(small(1), notes={})
    assert "90.14 %" in experiment_of(tracker).tags[key]
    headline = {**NOTES, "headline": "90.14 % (Table 1) and 92.00 % (Table 2)"}
    Tracker(home).project(small(2), notes=headline)
    note = experiment_of(tracker).tags[key]
    assert note.startswith("“Optimizing ResNet” published 90.14 % (Table 1) and 92.00 % (Table 2).\n\n")
    tracker.client.set_experiment_tag(experiment_of(tracker).experiment_id, key, "mine")
    Tracker(home).project(small(3), notes={**headline, "headline": "other"})
    assert experiment_of(tracker).tags[key] == "mine"


def test_runs_that_do_not_count_say_so_in_the_note():
    assert "count for nothing" in report_note("chen2024", "smoke", NOTES)
    assert report_note("x", "full", {}).startswith("Runs of “x”, beside what it published.")


def test_parents_hold_what_their_runs_share(home, small):
    tracker = Tracker(home)
    records = [small(seed) for seed in (0, 1, 2)]
    records[2].recipe = records[2].recipe | {"budget": {"epochs": 3, "batch_size": 128}}
    records[1].finals = {"last": {"acc_pct": 80.0, "loss": 0.5, "nll": float("nan")}}
    parent = tracker.client.get_run(tracker.summarise("chen2024", "resnet68", "full", records, NOTES)).data
    assert parent.params["optim.lr"] == "0.01"
    assert not {"seed", "fold", "budget.batch_size"} & set(parent.params)
    values = [r.finals["last"]["acc_pct"] for r in records]
    assert parent.metrics["final/last/acc_pct"] == round(sum(values) / 3, 3)
    assert not {"final/last/nll", "final/best_test/acc_pct"} & set(parent.metrics)  # not of every seed
    assert parent.tags["repro.device"] == "NVIDIA H200"
    assert parent.tags["repro.place"] == "resnet68"


def test_keys_are_short_and_dotted_and_accuracies_in_percent(make_record):
    from repro.track.projection import entries_of, finals

    record = make_record()
    found = params(RunInfo.of(record))
    assert max(map(len, found)) <= 24
    assert {"optim.lr", "optim.name", "budget.epochs", "budget.batch_size", "schedule.name", "seed"} <= set(found)
    rows = [point for entry in entries_of(record) for point in points(entry, 50)[0]] + finals(record)
    assert max(len(row.key) for row in rows) <= 24
    accuracies = [row.value for row in rows if "acc" in row.key]
    assert accuracies
    assert all(row.key.endswith("acc_pct") for row in rows if "acc" in row.key)
    assert max(accuracies) > 80
