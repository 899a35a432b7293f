"""--compile: fused operations train the same network within rounding, compiled once, in an env_class of their own."""

import shutil
from dataclasses import replace

import pytest
import torch
from test_engine import PLAIN, SGD, a_run, options, small

from repro.errors import UserError
from repro.run import assemble, execute, folder_of, optimizer_of
from repro.train.fusing import fused

torch.set_num_threads(1)
RECIPE = PLAIN | {
    "data": {"split": {"train": 120, "val": 40}}, "optim": SGD, "budget": {"epochs": 2, "batch_size": 48},
}  # fmt: skip
needs_a_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile on a CPU needs g++")


@needs_a_compiler
def test_a_compiled_run_trains_the_same_network_within_rounding_and_a_second_seed_compiles_nothing(tmp_path):
    compiled = replace(options(tmp_path / "b"), compile=True)
    plain = execute(a_run(RECIPE), small(), options(tmp_path / "a"))
    record = execute(a_run(RECIPE), small(), compiled)
    assert record.env_class == plain.env_class + "-compiled"
    for name, curve in plain.curves.items():
        if not name.startswith("time/") and "acc" not in name:
            assert list(record.curves[name]) == pytest.approx(list(curve), rel=2e-3), name
    state = torch.load(folder_of(a_run(RECIPE), tmp_path / "b") / "model.pt", weights_only=True)
    assert not any(name.startswith("_orig_mod") for name in state)

    made = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert made >= 1
    execute(a_run(RECIPE, seed=1), small(), compiled)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == made


def test_what_cannot_be_compiled_is_said_in_one_sentence(tmp_path, monkeypatch):
    run = a_run(RECIPE)
    stepper, _ = assemble(run.recipe, run, small(), options(tmp_path))

    def refuse(model, dynamic):
        def forward(x):
            raise torch._dynamo.exc.BackendCompilerFailed(lambda: None, RuntimeError("no C++ compiler\nat all"), None)

        return forward

    monkeypatch.setattr(torch, "compile", refuse)
    stepper.compiled = fused(stepper.model)
    with pytest.raises(UserError, match=r"--compile: PyTorch cannot compile here \(.*\); run without it") as error:
        stepper.step(0, stepper.prepare(0, 1), optimizer_of(run.recipe)(stepper.model.parameters()))
    assert "\n" not in str(error.value)


def test_only_full_batches_are_compiled(tmp_path):
    run, shapes = a_run(RECIPE), []
    stepper, _ = assemble(run.recipe, run, small(), options(tmp_path))
    stepper.compiled = lambda x: shapes.append(tuple(x.shape)) or stepper.model(x)
    optimizer, epoch = optimizer_of(run.recipe)(stepper.model.parameters()), stepper.prepare(0, 1)
    for i in range(stepper.steps):
        stepper.step(i, epoch, optimizer)
    assert stepper.steps == 3
    assert shapes == [(48, 3, 32, 32)] * 2
