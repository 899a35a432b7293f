"""What a training step costs the host: operations dispatched, and one wait for the device an epoch.

A change that needs fewer operations lowers `tests/numbers/operations.json` with it.
"""

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_engine import AUGMENTED, SGD, HostSyncs, a_run, comparable, options, small, train, weights

from repro import run as runner
from repro.augment import ops
from repro.bench.operations import Operations
from repro.data import sample
from repro.models import half, norm
from repro.models.resnet import ResNet
from repro.run import assemble, optimizer_of
from repro.spec import counting
from repro.spec.identity import folds_of
from repro.spec.loading import load_all
from repro.train import checkpoint, engine
from repro.train.schedule import build
from repro.train.step import Stepper

torch.set_num_threads(1)
REPORTS = load_all()
#: torch's minor version -> experiment -> precision -> operations of a training step
BOUNDS = json.loads((Path(__file__).parent / "numbers" / "operations.json").read_text())
MINOR = ".".join(torch.__version__.split(".")[:2])
#: the networks of the reports' headlines, and one of VGG with batch norms
ARMS = ("chen2024/resnet68", "chiu2023/baseline80", "geng2022/augmix500", "shamooun2022/released", "zhang2023/final",
        "zhang2023/vgg-a-bn")  # fmt: skip


def count(step):
    """Return how often each operation is dispatched while `step` runs."""
    with Operations() as operations:
        step()
    return operations.seen


def a_step(name, precision):
    """Count the operations of a small batch's second step, as an accelerator would be given them."""
    report, experiment = name.split("/")
    recipe = runner.adapt(REPORTS[report].experiments[experiment].recipe, "smoke", 1500)
    recipe = recipe.model_copy(update={"budget": recipe.budget.model_copy(update={"batch_size": 2})})
    run = replace(a_run(AUGMENTED), recipe=recipe, profile="smoke", fold=folds_of(recipe)[0])
    stepper, _ = assemble(recipe, run, sample.load(), options(None, precision))
    optimizer, epoch = optimizer_of(recipe)(stepper.model.parameters()), stepper.prepare(0, 1)
    stepper.model.train()
    stepper.step(0, epoch, optimizer)  # the optimizer's state
    with ops.as_on_accelerators():
        return recipe.model, count(lambda: stepper.step(1, epoch, optimizer))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ARMS)
def test_a_step_dispatches_no_more_operations_than_before(name, precision):
    model, seen = a_step(name, precision)
    rows = [row.name.split("-")[0] for row in counting.layers(model)]
    for kind, operation in (("Conv2d", "convolution"), ("BatchNorm2d", "native_batch_norm")):
        assert seen[operation] == seen[f"{operation}_backward"] == rows.count(kind)
    if name != "geng2022/augmix500":  # whose augmentation adds in place
        assert seen["add_"] == 0  # as a batch norm that counts does
    if MINOR not in BOUNDS:
        pytest.skip(f"tests/numbers/operations.json has no counts for torch {MINOR}: {sum(seen.values())} operations")
    assert sum(seen.values()) <= BOUNDS[MINOR][name][precision]


def test_operations_are_counted_in_both_directions_and_views_are_not():
    x, w = torch.ones(2, 3), torch.ones(4, 3, requires_grad=True)
    forward = count(lambda: x @ w.t())
    assert forward == {"mm": 1}
    assert count(lambda: (x @ w.t()).sum().backward()) == {"mm": 2, "sum": 1, "ones_like": 1}  # w's gradient
    assert count(lambda: (x.view(3, 2), x[0].detach(), torch.empty(3))) == {}
    assert count(lambda: torch._foreach_add_([x, x.clone()], 1)) == {"clone": 1, "_foreach_add_": 1}


RECIPE = AUGMENTED | {"optim": {**SGD, "recreate_each_epoch": False}, "budget": {"epochs": 2, "batch_size": 48}}


def fitted(folder, monkeypatch, on_step=lambda done, of: None):
    """Train two epochs without writing checkpoints; return what would make the host wait, and the reads."""
    run, reads = a_run(RECIPE), []
    stepper, held = assemble(run.recipe, run, small(), options(None))
    monkeypatch.setattr(checkpoint, "save", lambda *_: None)  # reads everything, once an epoch is over
    for name in ("cpu", "tolist"):
        read = getattr(torch.Tensor, name)
        monkeypatch.setattr(torch.Tensor, name, lambda tensor, read=read: reads.append(tensor.shape) or read(tensor))
    folder.mkdir()
    with HostSyncs() as waits:
        engine.fit(
            stepper, held, optimizer_of(run.recipe), build(lr=0.05, name="constant"), seed=0, epochs=2, folder=folder,
            on_step=on_step,
        )  # fmt: skip
    return waits.found, reads, 2 * stepper.steps


def test_an_epoch_waits_for_the_device_once(tmp_path, monkeypatch):
    waits, reads, _ = fitted(tmp_path / "a", monkeypatch)
    assert waits == []
    assert len(reads) == 2  # epochs


def test_a_read_in_a_step_is_seen(tmp_path, monkeypatch):
    """Negative control."""
    loss = torch.zeros(1)
    waits, reads, steps = fitted(tmp_path / "a", monkeypatch, on_step=lambda *_: (loss.item(), loss.cpu()))
    assert (len(waits), len(reads)) == (steps, steps + 2)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_is_that_with_pytorchs_batch_norm_bit_for_bit(tmp_path, monkeypatch, precision):
    """Losses, weights, statistics and counters: where a run stopped, resumed and ended."""
    run = a_run(RECIPE)
    assert train(run, tmp_path / "a", precision, on_epoch=lambda e: e.epoch < 1) is None
    after_one = checkpoint.load(runner.folder_of(run, tmp_path / "a"))[1]["model"]
    record = train(run, tmp_path / "a", precision)
    counters = {int(value) for name, value in after_one.items() if name.endswith("num_batches_tracked")}
    assert counters == {-(-160 // 48)}

    monkeypatch.setattr(norm.BatchNorm2d, "forward", torch.nn.BatchNorm2d.forward)
    monkeypatch.setattr(engine, "count_batches", lambda *_: None)
    assert comparable(train(run, tmp_path / "b", precision)) == comparable(record)
    assert weights(run, tmp_path / "a") == weights(run, tmp_path / "b")


VGG = {"name": "vgg", "widths": [8, 16], "convs": [1, 1], "hidden": [12], "batch_norm": True}


@pytest.mark.parametrize("model", [RECIPE["model"], VGG], ids=["resnet", "vgg"])
def test_casting_all_weights_at_once_is_autocast_bit_for_bit(tmp_path, monkeypatch, model):
    run = a_run(RECIPE | {"model": model})
    record = train(run, tmp_path / "a", "bf16")
    monkeypatch.setattr(half.Halves, "cast", lambda self: nullcontext())
    assert comparable(train(run, tmp_path / "b", "bf16")) == comparable(record)
    assert weights(run, tmp_path / "a") == weights(run, tmp_path / "b")


def test_casting_all_weights_is_one_operation_in_each_direction():
    model = ResNet(stem=8, widths=(8,), blocks=(2,))
    halves, x = half.Halves(model), torch.ones(1, 3, 32, 32, dtype=torch.bfloat16)

    def step():
        with torch.autocast("cpu", torch.bfloat16), halves.cast():
            model(x).sum().backward()

    assert len(halves.weights) == 7  # five convolutions' weights; the linear layer's and its bias
    seen = count(step)
    assert seen["_foreach_copy_"] == 2
    assert seen["_to_copy"] <= 1  # no more than autocast's of the pooled input
    assert all(weight.grad.dtype == torch.float32 for weight in halves.weights)


def test_the_next_epoch_is_drawn_before_the_host_waits_for_this_one(tmp_path, monkeypatch):
    told = []
    draw, read_out = Stepper._draw, engine.read_out
    monkeypatch.setattr(Stepper, "_draw", lambda self, seed, epoch: told.append(epoch) or draw(self, seed, epoch))
    monkeypatch.setattr(engine, "read_out", lambda *arguments: told.append("wait") or read_out(*arguments))
    fitted(tmp_path / "a", monkeypatch)
    assert told == [1, 2, "wait", "wait"]


def test_draws_ahead_are_those_of_their_epoch_and_of_no_other():
    run = a_run(RECIPE)
    (stepper, _), (other, _) = (assemble(run.recipe, run, small(), options(None)) for _ in range(2))
    stepper.draw_ahead(0, 2)
    for epoch in (2, 2, 3):
        one, two = stepper.prepare(0, epoch), other.prepare(0, epoch)
        for a, b in zip([one.order, one.keep, *one.drawn], [two.order, two.keep, *two.drawn], strict=True):
            assert torch.equal(a, b)
    stepper.draw_ahead(0, 2)
    assert torch.equal(stepper.prepare(1, 2).order, other.prepare(1, 2).order)
