"""The step that a CUDA graph replays: uncaptured it is the plain step bit for bit, and capturing leaves no trace."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from test_engine import PLAIN, RECIPES, a_run, options, small

from repro.data.splits import kfold
from repro.run import Options, assemble, optimizer_of
from repro.spec.recipe import Recipe
from repro.train import engine, graph, memory
from repro.train.graph import Graphed, possible
from repro.train.schedule import build

ARMS = {name: RECIPES[name] for name in ("adam-augmented-dropout", "cosine-step", "augmix-jensen-shannon")}


def made(recipe, home, precision="fp32"):
    """A stepper with a smaller last batch, its optimizer and its schedule."""
    run = a_run(recipe)
    stepper, _ = assemble(run.recipe, run, small(), options(home, precision))
    assert stepper.seen % stepper.batch_size
    optimizer = optimizer_of(run.recipe)(stepper.model.parameters())
    return stepper, optimizer, build(lr=run.recipe.optim.lr, **run.recipe.schedule.model_dump())


def bits(stepper):
    return {name: value.numpy().tobytes() for name, value in stepper.model.state_dict().items()}


@pytest.mark.parametrize("name", ARMS)
def test_the_step_with_everything_on_the_device_is_the_plain_step(tmp_path, name):
    plain, optimizer, schedule = made(ARMS[name], tmp_path)
    other, second, _ = made(ARMS[name], tmp_path)
    graphed = Graphed(other, second, capture=False)
    told = []
    for epoch in (1, 2):
        engine.train(plain, optimizer, schedule, [], seed=0, epoch=epoch)
        engine.train(
            other, second, schedule, [], seed=0, epoch=epoch, on_step=lambda *of: told.append(of), graphed=graphed
        )
        assert torch.equal(plain.log, other.log)
        assert bits(plain) == bits(other)
    assert told == [(i + 1, plain.steps) for i in range(plain.steps)] * 2


def test_forgetting_is_a_new_optimizer(tmp_path):
    plain, optimizer, schedule = made(RECIPES["cosine-step"], tmp_path)
    other, second, _ = made(RECIPES["cosine-step"], tmp_path)
    graphed = Graphed(other, second, capture=False)
    for epoch in (1, 2):
        if epoch == 2:
            optimizer = optimizer_of(Recipe.model_validate(RECIPES["cosine-step"]))(plain.model.parameters())
            graphed.forget()
        engine.train(plain, optimizer, schedule, [], seed=0, epoch=epoch)
        engine.train(other, second, schedule, [], seed=0, epoch=epoch, graphed=graphed)
    assert bits(plain) == bits(other)


class Recorded(Graphed):
    """A graph for a machine without CUDA: the warm-up runs, and a replay runs the step again."""

    def _capture(self):
        for size in sorted(set(self.sizes)):
            self.at.zero_()
            self._step(size)
            self.graphs[size] = type("Graph", (), {"replay": lambda _, size=size: self._replayed(size)})()

    def _replayed(self, size):
        for group in self.optimizer.param_groups:
            group["lr"] = float(self.rates[self.at])
        self._step(size)


@pytest.mark.parametrize("name", ["adam", "sgd"])
@pytest.mark.parametrize("begun", [False, True])
def test_warming_up_leaves_weights_moments_and_statistics_as_they_were(tmp_path, name, begun):
    given = {"adam": {"name": "adam", "lr": 2.0**-10}, "sgd": {"name": "sgd", "lr": 2.0**-4, "momentum": 0.9}}
    recipe = PLAIN | {"optim": given[name]}
    plain, optimizer, schedule = made(recipe, tmp_path)
    other, second, _ = made(recipe, tmp_path)
    if begun:  # as after a checkpoint
        engine.train(plain, optimizer, schedule, [], seed=0, epoch=1)
        engine.train(other, second, schedule, [], seed=0, epoch=1)
    graphed = Recorded(other, second)
    before = bits(other)
    graphed.ready(other.prepare(0, 2), [0.0] * other.steps)
    assert bits(other) == before
    assert all(isinstance(group["lr"], float) for group in second.param_groups)
    assert all(value.grad is None for value in other.model.parameters())
    for epoch in (2, 3):
        engine.train(plain, optimizer, schedule, [], seed=0, epoch=epoch)
        engine.train(other, second, schedule, [], seed=0, epoch=epoch, graphed=graphed)
    assert torch.equal(plain.log, other.log)
    assert bits(plain) == bits(other)


def test_where_nothing_can_be_captured_the_steps_run_one_by_one_and_it_is_said(tmp_path, capsys, monkeypatch):
    class Refused(Graphed):
        def _capture(self):
            self._step(self.sizes[0])
            self.graphs[self.sizes[0]] = begun
            raise RuntimeError("operation not permitted when stream is capturing")

    begun = object()
    monkeypatch.setattr(graph, "_BROKEN", [])
    plain, optimizer, schedule = made(PLAIN, tmp_path)
    other, second, _ = made(PLAIN, tmp_path)
    graphed = Refused(other, second)
    engine.train(plain, optimizer, schedule, [], seed=0, epoch=1)
    engine.train(other, second, schedule, [], seed=0, epoch=1, graphed=graphed)
    assert bits(plain) == bits(other)
    assert "no CUDA graph: operation not permitted" in capsys.readouterr().err
    assert begun in graph._BROKEN  # the allocator may go on asking it


def test_the_error_that_broke_a_capture_is_said_beside_the_one_of_ending_it(tmp_path, capsys):
    class Broken(Graphed):
        def _capture(self):
            try:
                raise RuntimeError("operation not permitted when stream is capturing")
            finally:
                raise ValueError("the capture was invalidated")

    stepper, optimizer, _ = made(PLAIN, tmp_path)
    graphed = Broken(stepper, optimizer)
    graphed.ready(stepper.prepare(0, 1), [0.0] * stepper.steps)
    said = capsys.readouterr().err
    assert "no CUDA graph: the capture was invalidated (after: operation not permitted when stream" in said
    assert graphed.failed
    assert not graphed.capture


def test_captured_steps_know_what_memory_was_held_for_them(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "peak_gb", lambda device: 1.5)
    stepper, optimizer, _ = made(PLAIN, tmp_path)
    graphed = Recorded(stepper, optimizer)
    assert graphed.memory_gb is None
    graphed.ready(stepper.prepare(0, 1), [0.0] * stepper.steps)
    assert graphed.memory_gb == 1.5


@pytest.fixture
def streams(monkeypatch):
    """Streams of a made-up GPU: each thread's own one, and a count of those asked for."""

    class Streams(threading.local):
        own = "default"

    here, asked = Streams(), []
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: here.own)
    monkeypatch.setattr(torch.cuda, "default_stream", lambda device: "default")
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: asked.append(device) or f"stream {len(asked)}")
    monkeypatch.setattr(graph, "_STREAMS", graph._Streams())
    return here, asked


def test_a_thread_captures_on_its_own_stream_or_on_one_that_it_keeps(streams):
    """PyTorch hands out 32 streams in turn: each new one brings the day nearer when it is another run's."""
    (here, asked), device = streams, torch.device("cuda:0")
    assert [graph.stream(device) for _ in range(40)] == ["stream 1"] * 40
    assert graph.stream(torch.device("cuda:1")) == "stream 2"
    here.own = "a worker's"
    assert graph.stream(device) == "a worker's"
    with ThreadPoolExecutor(1) as other:  # whose current stream is the default one
        assert [other.submit(graph.stream, device).result() for _ in range(2)] == ["stream 3"] * 2
    assert len(asked) == 3


def test_folds_may_change_the_images_between_epochs(tmp_path):
    recipe = PLAIN | {"data": {"split": {"train": 160, "val": 40}}}
    plain, optimizer, schedule = made(recipe, tmp_path)
    other, second, _ = made(recipe, tmp_path)
    graphed = Graphed(other, second, capture=False)
    for epoch, part in enumerate(kfold(200, 5, 0)[:2], 1):
        index = np.setdiff1d(np.arange(200), part)
        for stepper in (plain, other):
            stepper.train_on(index)
        engine.train(plain, optimizer, schedule, [], seed=0, epoch=epoch)
        engine.train(other, second, schedule, [], seed=0, epoch=epoch, graphed=graphed)
    assert bits(plain) == bits(other)


def test_on_a_cpu_nothing_is_captured(tmp_path):
    stepper, optimizer, _ = made(PLAIN, tmp_path)
    assert not possible(stepper, optimizer)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ARMS)
def test_captured_training_follows_the_plain_one(tmp_path, name):
    device, run = torch.device("cuda"), a_run(ARMS[name])
    losses = []
    for captured in (False, True, False):
        stepper, _ = assemble(run.recipe, run, small(), Options(tmp_path, device, "fp32"))
        optimizer = optimizer_of(run.recipe)(stepper.model.parameters())
        schedule = build(lr=run.recipe.optim.lr, **run.recipe.schedule.model_dump())
        graphed = Graphed(stepper, optimizer) if captured else None
        for epoch in (1, 2):
            engine.train(stepper, optimizer, schedule, [], seed=0, epoch=epoch, graphed=graphed)
        assert graphed is None or graphed.graphs
        losses.append(stepper.log[0].cpu())
    # No further from the plain training than that is from itself, and rounding.
    spread = (losses[0] - losses[2]).abs().max()
    assert (losses[1] - losses[0]).abs().max() <= 2 * spread + 1e-3
