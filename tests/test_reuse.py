"""The next seed or fold of an experiment takes over the captured steps of the last, and trains as if it were alone."""

import functools
from dataclasses import replace

import pytest
import torch
from test_engine import AUGMENTED, PLAIN, RECIPES, a_run, comparable, options, small, weights

from repro.run import execute, reuse
from repro.run.wiring import part_of
from repro.train import memory

torch.set_num_threads(1)


@pytest.mark.parametrize(("name", "precision"), [
    ("adam-augmented-dropout", "fp32"), ("sgd-recreated-plateau", "fp32"), ("folds-carried", "fp32"),
    ("augmix-jensen-shannon", "fp32"), ("odd-widths", "bf16"),  # whose channels are padded
])  # fmt: skip
def test_a_second_seed_trains_on_the_first_ones_steps_bit_for_bit(tmp_path, captures, name, precision):
    first, second = (a_run(RECIPES[name], seed) for seed in (0, 1))
    alone = execute(second, small(), options(tmp_path / "alone", precision))
    reuse.take(None)
    execute(first, small(), options(tmp_path, precision))
    assert len(captures) == 2
    after = execute(second, small(), options(tmp_path, precision))
    assert len(captures) == 2
    assert comparable(after) == comparable(alone)
    assert weights(second, tmp_path) == weights(second, tmp_path / "alone")


def test_steps_that_could_not_be_captured_are_not_taken_over(tmp_path, captures):
    """The next run of the kind tries again, and says so again where it cannot either."""

    def fails(entry):
        captures[0].failed = True
        return True

    execute(a_run(PLAIN), small(), options(tmp_path), on_epoch=fails)
    execute(a_run(PLAIN, seed=1), small(), options(tmp_path))
    assert len(captures) == 2
    execute(a_run(PLAIN, seed=2), small(), options(tmp_path))
    assert len(captures) == 2


def test_a_run_on_captured_steps_holds_the_memory_of_their_capture(tmp_path, captures, monkeypatch):
    """Replays allocate nothing: without that the record of a second seed would tell of its tests alone."""
    monkeypatch.setattr(memory, "peak_gb", lambda device: 0.5)
    first = execute(a_run(PLAIN), small(), options(tmp_path))
    captures[0].memory_gb = 2.0
    second = execute(a_run(PLAIN, seed=1), small(), options(tmp_path))
    assert [set(record.curves["gpu/mem_gb"]) for record in (first, second)] == [{0.5}, {2.0}]


def test_folds_with_networks_of_their_own_share_steps(tmp_path, captures):
    recipe = PLAIN | {"data": {"split": {"train": 37500, "val": 12500}, "folds": {"k": 4, "network": "fresh"}}}
    runs = [replace(run, fold=fold, key=f"{run.key[:15]}{fold}") for fold in (1, 2) for run in [a_run(recipe)]]
    assert list(part_of(runs[0].recipe, 0, 1, 200)(1).val) != list(part_of(runs[0].recipe, 0, 2, 200)(1).val)
    alone = execute(runs[1], small(), options(tmp_path / "alone"))
    for run in runs:
        last = execute(run, small(), options(tmp_path))
    assert len(captures) == 2 - 1  # all three are of one kind
    assert comparable(last) == comparable(alone)


@pytest.mark.parametrize("change", [
    {"optim": {"name": "adam", "lr": 2e-3}}, {"model": PLAIN["model"] | {"widths": [8, 24]}},
    {"data": {"split": {"train": 100, "val": 40}}},
])  # fmt: skip
def test_another_recipe_captures_its_own_steps(tmp_path, captures, change):
    execute(a_run(AUGMENTED), small(), options(tmp_path))
    execute(a_run(AUGMENTED | change), small(), options(tmp_path))
    assert len(captures) == 2


def test_other_options_capture_their_own_steps(tmp_path, captures):
    execute(a_run(PLAIN), small(), options(tmp_path))
    execute(a_run(PLAIN, seed=1), small(), options(tmp_path, "bf16"))
    assert len(captures) == 2


def test_a_run_that_resumes_captures_its_own_steps(tmp_path, captures):
    first, second = a_run(PLAIN), a_run(PLAIN, seed=1)
    whole = execute(second, small(), options(tmp_path / "whole"))
    assert execute(second, small(), options(tmp_path), on_epoch=functools.partial(_until, 2)) is None
    execute(first, small(), options(tmp_path))
    made = len(captures)
    assert comparable(execute(second, small(), options(tmp_path))) == comparable(whole)
    assert len(captures) == made + 1


def _until(epoch, entry):
    return entry.epoch < epoch
