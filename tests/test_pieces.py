"""Every piece a recipe can name trains a tiny network, and an interrupted run of it ends in the same bits."""

import json
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch

from repro import environment
from repro.data import sample
from repro.run import Options, execute, folder_of, starts
from repro.spec import network
from repro.spec.identity import Run, recipe_hash, resolved
from repro.spec.recipe import Recipe
from repro.train import checkpoint

torch.set_num_threads(1)  # bits depend on the number of threads
#: at least 8 channels: on a CPU, PyTorch 2.15 crashes in the gradient of strided 1x1 convolutions of fewer
RESNET = {"name": "resnet", "stem": 8, "widths": [8, 16], "blocks": [1, 1]}
VGG = {"name": "vgg", "widths": [4, 8], "convs": [1, 2], "hidden": [16]}
PLAIN = {
    "data": {"split": {"train": 60, "val": 20}},
    "model": RESNET,
    "loss": {"name": "cross_entropy"},
    "optim": {"name": "sgd", "lr": 0.05, "momentum": 0.9},
    "schedule": {"name": "constant"},
    "budget": {"epochs": 3, "batch_size": 25},
}
PIECES = {
    "vgg": {"model": VGG, "optim": {"name": "adam", "lr": 1e-3}},
    "vgg-bn": {"model": VGG | {"batch_norm": True, "logits_dropout": 0.3}},
    "stem7": {"model": RESNET | {"stem_kernel": 7}},
    "max-pool": {"model": RESNET | {"stem_kernel": 7, "max_pool": True}},
    "nesterov": {"optim": {"name": "sgd", "lr": 0.05, "momentum": 0.9, "nesterov": True}},
    "radam": {"optim": {"name": "radam", "lr": 1e-3, "weight_decay": 0.01}},
    "adagrad": {"optim": {"name": "adagrad", "lr": 0.01, "lr_decay": 0.1}},
    "rmsprop": {"optim": {"name": "rmsprop", "lr": 1e-3, "momentum": 0.5, "centered": True}},
    "rmsprop-recreated": {"optim": {"name": "rmsprop", "lr": 0.1, "recreate_each_epoch": True}},
    "cosine-step": {"schedule": {"name": "cosine", "t_max": 3, "per": "step"}},
    "restarts": {"schedule": {"name": "cosine_restarts", "t_0": 1, "t_mult": 2, "per": "step"}},
    "warm-up": {"schedule": {"name": "cosine", "t_max": 2, "warmup_epochs": 1, "warmup_start": 0.01}},
    "warm-plateau": {"schedule": {"name": "plateau", "metric": "test/loss", "patience": 1, "warmup_epochs": 1}},
    **{f"init-{init}": {"model": VGG | {"init": init}} for init in get_args(network.Init)},
}


def small():
    data = sample.load()
    return replace(data, x_train=data.x_train[::15][:80], y_train=data.y_train[::15][:80],
                   x_test=data.x_test[::12][:40], y_test=data.y_test[::12][:40])  # fmt: skip


def trained(recipe, home, options=None, **more):
    run = Run("demo", ("arm",), recipe, 0, None, "full", "data", "headline", recipe_hash(recipe)[:16])
    record = execute(run, small(), Options(home, torch.device("cpu"), "fp32", **options or {}), **more)
    if record is None:
        return None
    weights = torch.load(folder_of(run, home) / "model.pt", weights_only=True)
    return record, {name: value.numpy().tobytes() for name, value in weights.items()}


@pytest.mark.parametrize("name", PIECES)
def test_trains_and_resumes_bit_for_bit(tmp_path, name):
    recipe = Recipe.model_validate(PLAIN | PIECES[name])
    record, weights = trained(recipe, tmp_path / "whole")
    assert record.epochs_done == 3
    assert record.state == "finished"
    assert np.isfinite(record.curves["train/loss"]).all()
    assert len(set(record.curves["train/loss"].tolist())) == 3
    assert trained(recipe, tmp_path / "pieces", on_epoch=lambda entry: entry.epoch < 2) is None
    again, pieces = trained(recipe, tmp_path / "pieces")
    assert [attempt["epoch"] for attempt in again.resumed] == [2]
    assert weights == pieces


def test_a_start_from_which_nothing_is_left_made_none_of_the_record(tmp_path):
    recipe = Recipe.model_validate(PLAIN)
    record, _ = trained(recipe, tmp_path / "there")
    folder = tmp_path / "here" / "runs" / record.run_key
    folder.mkdir(parents=True)
    start = json.loads((tmp_path / "there" / "runs" / record.run_key / "attempts.json").read_text())[0]
    lost = start | {"commit": "a" * 40, "started": "2020-01-01T00:00:00+00:00"}
    lost["env"] = start["env"] | {"commit": "a" * 40, "device": "another"}
    (folder / "attempts.json").write_text(json.dumps([lost]))
    again, _ = trained(recipe, tmp_path / "here")
    assert (again.env, again.resumed) == (record.env, [])
    assert again.started > "2026"


def test_a_record_names_the_ledger_and_the_command_that_it_began_with_and_what_machines_went_on(tmp_path, monkeypatch):
    recipe = Recipe.model_validate(PLAIN)
    first, later = {"ledger": "a" * 12, "command": "repro run one"}, {"ledger": "b" * 12, "command": "repro run two"}
    assert trained(recipe, tmp_path, on_epoch=lambda entry: entry.epoch < 2, options=first) is None
    describe = environment.describe
    monkeypatch.setattr(environment, "describe", lambda device: describe(device) | {"torch": "9.9", "driver": "7"})
    record, _ = trained(recipe, tmp_path, options=later)
    assert (record.ledger, record.command) == ("a" * 12, "repro run one")
    (again,) = record.resumed
    assert {key: again[key] for key in again.keys() - {"started", "commit", "dirty"}} == {
        "epoch": 2, "torch": "9.9", "driver": "7",
    }  # fmt: skip
    assert "7" not in {record.env["driver"], record.env["torch"]}


@pytest.mark.parametrize(
    ("epochs", "left"),
    [
        ([0], [0]), ([0, 0, 2], [1, 2]), ([0, 10, 9], [0, 2]), ([0, 2, 2], [0, 1, 2]), ([0, 3, 5, 0, 4], [3, 4]),
        ([5, 6], [0, 1]),
    ],
)  # fmt: skip
def test_starts_of_which_something_is_left(epochs, left):
    found = [{"epoch": epoch, "place": place} for place, epoch in enumerate(epochs)]
    assert [start["place"] for start in starts.lasting(found)] == left


def test_the_epoch_that_a_start_names_is_of_a_sound_checkpoint(tmp_path):
    recipe = Recipe.model_validate(PLAIN)
    assert trained(recipe, tmp_path, on_epoch=lambda entry: entry.epoch < 2) is None
    (newest,) = tmp_path.glob("runs/*/checkpoint-00002-*.pt")
    newest.write_bytes(newest.read_bytes()[:-1] + b"x")
    assert (checkpoint.newest(newest.parent), checkpoint.newest_sound(newest.parent)) == (2, 1)
    again, _ = trained(recipe, tmp_path)
    assert [attempt["epoch"] for attempt in again.resumed] == [1]


@pytest.mark.parametrize("name", PIECES)
def test_reads_back_from_its_canonical_form_under_a_hash_of_its_own(name):
    recipe = Recipe.model_validate(PLAIN | PIECES[name])
    assert Recipe(**resolved(recipe)) == recipe
    assert recipe_hash(recipe) != recipe_hash(Recipe.model_validate(PLAIN))


def test_values_equal_to_the_new_defaults_change_no_hash():
    spelt = PLAIN | {
        "model": RESNET | {"stem_kernel": 3, "max_pool": False},
        "schedule": {"name": "constant", "warmup_epochs": 0, "warmup_start": 0.1},
    }
    assert recipe_hash(Recipe.model_validate(spelt)) == recipe_hash(Recipe.model_validate(PLAIN))
