"""The end of an epoch, written while the next one trains: in order, each once, and of the epoch it is of."""

import pytest
import torch
from test_engine import PLAIN, RECIPES, a_run, comparable, options, small, weights

from repro.run import execute, folder_of
from repro.train import checkpoint, engine
from repro.train.ends import copied

torch.set_num_threads(1)


def test_a_checkpoint_is_written_once_the_next_epoch_is_under_way(tmp_path, captures, monkeypatch):
    told = []
    for module, name in ((engine, "train"), (engine, "read_out"), (checkpoint, "save")):
        call = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, name=name, call=call, **k: told.append(name) or call(*a, **k))
    run = a_run(PLAIN | {"budget": {"epochs": 3, "batch_size": 48}})
    execute(run, small(), options(tmp_path), on_epoch=lambda entry: told.append(entry.epoch) is None)
    assert told == [
        "train",
        "read_out",
        *("train", "save", 1, "read_out"),
        *("train", "save", 2, "read_out"),
        "save",
        3,
    ]


@pytest.mark.parametrize("name", ["adam-augmented-dropout", "sgd-recreated-plateau", "odd-widths", "folds-carried"])
def test_stopped_and_resumed_it_ends_in_the_same_bits(tmp_path, captures, name):
    run, precision = a_run(RECIPES[name]), "bf16" if name == "odd-widths" else "fp32"  # padded, in bfloat16
    whole = execute(run, small(), options(tmp_path / "a", precision))
    assert execute(run, small(), options(tmp_path / "b", precision), on_epoch=lambda entry: entry.epoch < 2) is None
    assert checkpoint.newest(folder_of(run, tmp_path / "b")) == 2
    assert comparable(execute(run, small(), options(tmp_path / "b", precision))) == comparable(whole)
    assert weights(run, tmp_path / "a") == weights(run, tmp_path / "b")


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_what_ends_the_next_epoch_loses_no_epoch(tmp_path, captures, error):
    run, seen = a_run(PLAIN), []
    whole = execute(run, small(), options(tmp_path / "a"))

    def interrupt(done, of):
        seen.append(done)
        if len(seen) == 2 * of + 1:
            raise error

    shown = []
    with pytest.raises(error):
        execute(run, small(), options(tmp_path), on_epoch=lambda e: shown.append(e.epoch) is None, on_step=interrupt)
    assert shown == [1, 2]
    assert checkpoint.newest(folder_of(run, tmp_path)) == 2
    assert comparable(execute(run, small(), options(tmp_path))) == comparable(whole)


@pytest.mark.parametrize("first", [RuntimeError, KeyboardInterrupt])
def test_of_two_failures_the_first_is_told(tmp_path, captures, first):
    seen = []

    def failing(done, of):
        seen.append(done)
        if len(seen) > of:  # in the second epoch, while the first waits to be written
            raise first("out of memory")

    def full(entry):
        raise OSError("no space left")

    with pytest.raises(first, match="out of memory"):
        execute(a_run(PLAIN), small(), options(tmp_path), on_epoch=full, on_step=failing)


def test_a_copy_shares_no_memory():
    state = {"a": torch.ones(2), "b": [torch.zeros(1), 3], "c": {0: {"step": torch.tensor(1.0)}}}
    other = copied(state)
    for value in (state["a"], state["b"][0], state["c"][0]["step"]):
        value.add_(1)
    assert (other["a"].tolist(), other["b"][0].item(), other["b"][1]) == ([1, 1], 0, 3)
    assert other["c"][0]["step"] == 1
