"""Logged models: what comes back from MLflow computes what the run's network computes."""

import json

import numpy as np
import pytest
import torch

from repro.data import sample
from repro.execute.outcome import Outcome
from repro.run import build_model
from repro.spec.identity import resolved
from repro.spec.recipe import Recipe
from repro.suite.models import example, log_models, log_trained, trained
from repro.track import Tracker

SMALL = {
    "data": {
        "split": {"train": 50000},
        "normalize": {"mean": [0.4914, 0.4822, 0.4465], "std": [0.2023, 0.1994, 0.201]},
    },
    "model": {"name": "resnet", "stem": 4, "widths": [4, 8], "blocks": [1, 1], "init": "kaiming_fan_in"},
    "loss": {"name": "cross_entropy"},
    "optim": {"name": "sgd", "lr": 0.1},
    "schedule": {"name": "cosine", "t_max": 2},
    "budget": {"epochs": 2, "batch_size": 64},
}


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    for name in ("confusion_png", "curves_png"):
        monkeypatch.setattr(f"repro.plots.{name}", lambda *_: b"png")


@pytest.fixture
def train(home, make_record):
    """Put a run with random weights into the state folder, as if it had been trained: train(seed) -> its record."""

    def put(seed=0, **overrides):
        recipe = resolved(Recipe.model_validate_json(json.dumps(SMALL)))
        record = make_record(epochs=2, images=200, seed=seed, **({"recipe": recipe} | overrides))
        torch.manual_seed(seed)
        network = build_model(Recipe.model_validate_json(json.dumps(SMALL)).model)
        network.train()(torch.randn(8, 3, 32, 32))  # running statistics that are not the initial ones
        folder = home / "runs" / record.run_key
        folder.mkdir(parents=True)
        torch.save(network.state_dict(), folder / "model.pt")
        (folder / "record.json").write_bytes(record.to_bytes())
        return record, network.eval()

    return put


def models(tracker):
    return tracker.client.search_logged_models([e.experiment_id for e in tracker.experiments()])


def test_the_logged_model_gives_the_networks_logits(home, train, monkeypatch):
    import mlflow.pytorch

    tracker, said = Tracker(home), []
    (record, network), (second, _) = train(0), train(1)
    run_id, _ = tracker.project(record), tracker.project(second)
    assert log_models([second, record], home, tracker, said.append) == 1
    assert said == ["models: 1 new in MLflow, of 1"]
    (model,) = models(tracker)
    assert (model.source_run_id, model.status) == (run_id, "READY")
    assert model.tags["repro.run_key"] == record.run_key
    assert {m.key: m.value for m in model.metrics}["final/last/acc_pct"] == record.finals["last"]["acc_pct"]
    assert [m.model_id for m in tracker.client.get_run(run_id).outputs.model_outputs] == [model.model_id]

    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracker.store.uri)
    loaded = mlflow.pytorch.load_model(f"models:/{model.model_id}")
    images = sample.load().x_test[:5]  # another batch size than the example's
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(SMALL["data"]["normalize"][key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        torch.testing.assert_close(loaded(x), network((x - mean) / std), rtol=1e-4, atol=1e-5)

    served = mlflow.pyfunc.load_model(f"models:/{model.model_id}")
    signature = served.metadata.signature
    assert [(str(s.inputs[0].type), s.inputs[0].shape) for s in (signature.inputs, signature.outputs)] == [
        ("float32", (-1, 3, 32, 32)), ("float32", (-1, 10)),
    ]  # fmt: skip
    np.testing.assert_array_equal(served.input_example, example())
    with torch.no_grad():
        expected = trained(record, home)[0](torch.from_numpy(example())).numpy()
    np.testing.assert_allclose(served.predict(served.input_example), expected, rtol=1e-4, atol=1e-5)


def test_logging_again_logs_nothing_new_and_clears_what_a_kill_left(home, train):
    tracker, said = Tracker(home), []
    record, _ = train()
    run_id = tracker.project(record)
    exp_id = tracker.client.get_run(run_id).info.experiment_id
    left = tracker.client.create_logged_model(exp_id, "half", run_id)
    assert log_models([record], home, tracker, said.append) == 1
    (model,) = models(tracker)
    assert model.model_id != left.model_id
    assert log_models([record], home, tracker, said.append) == 0
    assert [m.model_id for m in models(tracker)] == [model.model_id]


def test_a_model_that_cannot_be_logged_is_said(home, train, make_record):
    tracker, said = Tracker(home), []
    record, _ = train()
    assert log_models([record], home, tracker, said.append) == 0
    assert "chen2024/resnet68: its model is not in MLflow (run abcdef" in said[0]
    tracker.project(record)
    path = home / "runs" / record.run_key / "model.pt"
    path.write_bytes(b"not weights")
    log_models([record], home, tracker, said.append)
    path.unlink()
    log_models([record], home, tracker, said.append)
    assert "its model is not in MLflow" in said[2]
    assert "model.pt: the weights of this record are not here" in said[4]
    assert models(tracker) == []


def test_a_store_that_cannot_be_opened_is_said(home, train, monkeypatch):
    said = []
    (home / "mlflow.db").write_bytes(b"x" * 5000)
    assert log_trained([], home, said.append) == 0
    assert said[0].startswith("models are not in MLflow: ")
    assert "mlflow.db" in said[0]


def test_the_models_of_a_requests_runs(home, train):
    record, _ = train()
    Tracker(home).project(record)
    outcomes = [Outcome(None, "failed", reason="no"), Outcome(None, "trained", record)]
    assert log_trained(outcomes, home, print) == 1
