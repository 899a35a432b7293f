"""The training loop: equal to a plain loop, resumable bit for bit, and never waiting for the host in a step."""

import hashlib
import json
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from repro import run as runner
from repro.augment import ops
from repro.data import sample
from repro.draws import generator
from repro.record import Journal
from repro.run import Options, assemble, execute, folder_of, wiring
from repro.spec.identity import Run, folds_of, recipe_hash
from repro.spec.loading import load_all
from repro.spec.recipe import Recipe
from repro.train import checkpoint, engine, memory
from repro.train.optim import maker
from repro.train.schedule import build

CPU = torch.device("cpu")
#: the networks here are tiny: a second thread costs more than it brings, and bits depend on the number of threads
torch.set_num_threads(1)
SGD = {"name": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 5e-4, "recreate_each_epoch": True}
PLAIN = {
    "data": {"split": {"train": 160, "val": 40}},
    "model": {"name": "resnet", "stem": 8, "widths": [8, 16], "blocks": [1, 1]},
    "loss": {"name": "cross_entropy"},
    "optim": {"name": "adam", "lr": 1e-3},
    "schedule": {"name": "constant"},
    "budget": {"epochs": 4, "batch_size": 48},
}
AUGMENTED = PLAIN | {
    "data": {"split": {"train": 160, "val": 40}, "val_transform": "train",
             "normalize": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}},
    "augment": [{"name": "rotate", "degrees": 5}, {"name": "flip"}, {"name": "crop", "pad": 4}],
    "model": {"name": "resnet", "stem": 8, "widths": [8, 16], "blocks": [1, 1], "logits_dropout": 0.5,
              "activation": "leaky_relu"},
}  # fmt: skip
RECIPES = {
    "adam-augmented-dropout": AUGMENTED,
    "sgd-recreated-plateau": PLAIN | {"optim": SGD,
                                      "schedule": {"name": "plateau", "metric": "test/loss", "patience": 1}},
    "cosine-step": PLAIN | {"optim": {"name": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True},
                            "schedule": {"name": "cosine", "t_max": 4, "per": "step"}},
    "augmix-jensen-shannon": PLAIN | {"augment": [{"name": "flip"}, {"name": "augmix", "views": 3, "all_ops": True}],
                                      "loss": {"name": "jensen_shannon"}, "optim": {"name": "radam", "lr": 1e-3}},
    "folds-carried": PLAIN | {"data": {"split": {"train": 37500, "val": 12500}, "val_transform": "train",
                                       "folds": {"k": 4, "network": "carried"}},
                              "augment": [{"name": "crop", "pad": 2}, {"name": "autoaugment"}]},
    "odd-widths": PLAIN | {"model": {"name": "resnet", "stem": 10, "widths": [10, 20], "blocks": [1, 1]},
                           "optim": {"name": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 5e-2}},
}  # fmt: skip


def small(test=60):
    data = sample.load()
    return replace(data, x_train=data.x_train[::7][:200], y_train=data.y_train[::7][:200],
                   x_test=data.x_test[::8][:test], y_test=data.y_test[::8][:test])  # fmt: skip


def a_run(recipe, seed=0, profile="full"):
    recipe = Recipe.model_validate(recipe)
    return Run("demo", ("arm",), recipe, seed, None, profile, "data", "headline", f"{recipe_hash(recipe)[:15]}{seed}")


def options(home, precision="fp32"):
    return Options(home, CPU, precision)


def train(run, home, precision="fp32", **kwargs):
    return execute(run, small(), options(home, precision), **kwargs)


def comparable(record):
    """The record without what a clock, a checkout or an interruption decides."""
    copy = replace(record, started="", seconds=0.0, images_per_s=0.0, resumed=[], env={})
    copy.curves = {name: curve for name, curve in copy.curves.items() if not name.startswith("time/")}
    return copy.to_bytes()


def weights(run, home):
    state = torch.load(folder_of(run, home) / "model.pt", weights_only=True)
    return {name: value.numpy().tobytes() for name, value in state.items()}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", RECIPES)
def test_interrupted_and_resumed_equals_uninterrupted_bit_for_bit(tmp_path, name, precision):
    run = a_run(RECIPES[name])
    whole = train(run, tmp_path / "a", precision)
    assert train(run, tmp_path / "b", precision, on_epoch=lambda e: e.epoch < 1) is None
    assert train(run, tmp_path / "b", precision, on_epoch=lambda e: e.epoch < 3) is None
    pieces = train(run, tmp_path / "b", precision)
    assert [r["epoch"] for r in pieces.resumed] == [1, 3]
    assert comparable(whole) == comparable(pieces)
    assert weights(run, tmp_path / "a") == weights(run, tmp_path / "b")
    assert whole.resumed == []
    assert whole.epochs_done == 4


def test_a_gpus_memory_is_a_curve_where_all_epochs_have_it(tmp_path, monkeypatch):
    run = a_run(PLAIN)
    monkeypatch.setattr(memory, "peak_gb", lambda _device: 1.5)
    assert train(run, tmp_path / "a").curves["gpu/mem_gb"].tolist() == [1.5] * 4
    assert train(run, tmp_path / "b", on_epoch=lambda e: e.epoch < 2) is None
    monkeypatch.undo()
    gone_on = train(run, tmp_path / "b")  # without a GPU
    assert not [name for name in gone_on.curves if name.startswith("gpu/")]
    assert gone_on.epochs_done == 4


def test_padded_channels_are_trained_in_bfloat16_and_never_kept(tmp_path):
    run = a_run(RECIPES["odd-widths"])
    own = {name: value.shape for name, value in runner.build_model(run.recipe.model).state_dict().items()}
    for precision, padded in (("fp32", False), ("bf16", True)):
        stepper, _ = assemble(run.recipe, run, small(), options(tmp_path, precision))
        assert stepper.model.conv.weight.shape[0] == (16 if padded else 10)
        assert stepper.own == (own if padded else None)
        train(run, tmp_path / precision, precision, on_epoch=lambda e: e.epoch < 1)
        _, state = checkpoint.load(folder_of(run, tmp_path / precision))
        assert {name: value.shape for name, value in state["model"].items()} == own
        moments = [value["momentum_buffer"].shape for value in state["optimizer"]["state"].values()]
        assert moments == [value.shape for value in runner.build_model(run.recipe.model).parameters()]
        train(run, tmp_path / precision, precision)
        saved = torch.load(folder_of(run, tmp_path / precision) / "model.pt", weights_only=True)
        assert {name: value.shape for name, value in saved.items()} == own


def test_killed_between_journal_and_checkpoint_resumes_bit_for_bit(tmp_path, monkeypatch):
    run = a_run(AUGMENTED)
    whole = train(run, tmp_path / "a")
    save = checkpoint.save

    def die(folder, epoch, state):
        if epoch == 3:
            raise KeyboardInterrupt
        return save(folder, epoch, state)

    monkeypatch.setattr(checkpoint, "save", die)
    with pytest.raises(KeyboardInterrupt):
        train(run, tmp_path / "b")
    assert len(Journal(folder_of(run, tmp_path / "b") / "journal.jsonl").read()) == 3
    monkeypatch.setattr(checkpoint, "save", save)
    assert comparable(train(run, tmp_path / "b")) == comparable(whole)


def test_killed_after_the_last_checkpoint_measures_and_saves_the_same(tmp_path, monkeypatch):
    run = a_run(AUGMENTED)
    whole = train(run, tmp_path / "a")
    gather = wiring.to_record

    def die(*_rest):
        raise KeyboardInterrupt

    monkeypatch.setattr(wiring, "to_record", die)
    with pytest.raises(KeyboardInterrupt):
        train(run, tmp_path / "b")
    monkeypatch.setattr(wiring, "to_record", gather)
    assert comparable(train(run, tmp_path / "b")) == comparable(whole)
    assert weights(run, tmp_path / "a") == weights(run, tmp_path / "b")


def test_a_journal_that_lost_epochs_is_refused(tmp_path):
    from repro.errors import UserError

    run = a_run(PLAIN)
    train(run, tmp_path, on_epoch=lambda e: e.epoch < 3)
    Journal(folder_of(run, tmp_path) / "journal.jsonl").truncate(1)
    with pytest.raises(UserError, match="holds 1 epochs but the checkpoint 3; --force begins anew"):
        train(run, tmp_path)


def test_the_resume_test_can_fail(tmp_path, monkeypatch):
    """Negative control: without the optimizer's state the bits differ."""
    run = a_run(AUGMENTED)
    whole = train(run, tmp_path / "a")
    train(run, tmp_path / "b", on_epoch=lambda e: e.epoch < 2)
    monkeypatch.setattr(torch.optim.Optimizer, "load_state_dict", lambda self, state: None)
    assert comparable(train(run, tmp_path / "b")) != comparable(whole)


def test_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, capsys):
    run = a_run(PLAIN)
    whole = train(run, tmp_path / "a")
    train(run, tmp_path / "b", on_epoch=lambda e: e.epoch < 3)
    newest = max(folder_of(run, tmp_path / "b").glob("checkpoint-*.pt"))
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    assert comparable(train(run, tmp_path / "b")) == comparable(whole)
    assert newest.name in capsys.readouterr().out


def test_a_checkpoint_of_something_else_counts_as_damaged(tmp_path, capsys):
    run = a_run(PLAIN)
    whole = train(run, tmp_path / "a")
    train(run, tmp_path / "b", on_epoch=lambda e: e.epoch < 3)
    folder = folder_of(run, tmp_path / "b")
    newest = max(folder.glob("checkpoint-*.pt"))
    newest.unlink()
    (folder / f"checkpoint-00003-{hashlib.sha256(b'else').hexdigest()[:16]}.pt").write_bytes(b"else")
    (folder / "checkpoint-notes.pt").write_bytes(b"a name that is none of ours")
    assert comparable(train(run, tmp_path / "b")) == comparable(whole)
    assert "checkpoint-00003" in capsys.readouterr().out


def test_seeds_differ_and_repeat(tmp_path):
    first, again, other = (train(a_run(PLAIN, s), tmp_path / d) for s, d in ((0, "a"), (0, "b"), (1, "c")))
    assert comparable(first) == comparable(again)
    assert not np.array_equal(first.curves["train/loss"], other.curves["train/loss"])


def test_equals_a_plain_pytorch_loop():
    """The same network, order and batches in the loop of a textbook: same losses, same weights."""
    recipe = Recipe.model_validate(PLAIN | {"optim": SGD})
    run, data = a_run(PLAIN | {"optim": SGD}), small()
    stepper, _ = assemble(recipe, run, data, options(None))
    reference, _ = assemble(recipe, run, data, options(None))
    model = reference.model.to(memory_format=torch.contiguous_format)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, foreach=False, fused=False
    )
    order = stepper.index[torch.from_numpy(generator(0, "order", 1).permutation(160))].numpy()
    images = torch.from_numpy(data.x_train).permute(0, 3, 1, 2).float() / 255
    losses = []
    for start in range(0, 160, 48):
        index = order[start : start + 48]
        optimizer.zero_grad()
        loss = F.cross_entropy(
            model(images[index].contiguous()), torch.from_numpy(data.y_train[index].astype(np.int64))
        )
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    ours = maker("sgd", lr=0.05, momentum=0.9, weight_decay=5e-4)(stepper.model.parameters())
    epoch = stepper.prepare(0, 1)
    for i in range(stepper.steps):
        stepper.step(i, epoch, ours)
    assert stepper.log[0].tolist() == pytest.approx(losses, rel=1e-4)
    for a, b in zip(stepper.model.state_dict().values(), model.state_dict().values(), strict=True):
        assert torch.allclose(a.float(), b.float(), rtol=1e-3, atol=1e-4)


def test_dropout_multiplies_the_logits_by_its_mask():
    recipe = Recipe.model_validate(AUGMENTED)
    stepper, _ = assemble(recipe, a_run(AUGMENTED), small(), options(None))
    epoch = stepper.prepare(0, 1)
    assert set(epoch.keep.unique().tolist()) == {0.0, 2.0}
    assert epoch.keep.mean().item() == pytest.approx(1, abs=0.1)
    index, source = epoch.order[:48], stepper.augment.sources([d[:48] for d in epoch.drawn])
    logits = stepper.model(stepper.scale(stepper.images.images(index, source))) * epoch.keep[:48]
    want = F.cross_entropy(logits, stepper.images.labels[index]).item()
    stepper.step(0, epoch, maker("sgd", lr=0.1)(stepper.model.parameters()))
    assert stepper.log[0, 0].item() == pytest.approx(want, rel=1e-4)


def test_metrics_are_means_over_images_and_over_batches(tmp_path):
    run = a_run(PLAIN | {"budget": {"epochs": 1, "batch_size": 100}})  # batches of 100 and 60
    record = train(run, tmp_path)
    loss = [record.curves[f"step/loss_{k}"][0] for k in ("min", "mean", "max")]
    # step losses are kept with 12 significant bits
    assert record.curves["train_running/loss"][0] == pytest.approx(loss[1], rel=2**-12)
    # min and max are the two batches; which one is the larger batch decides the mean over images.
    candidates = [(100 * a + 60 * b) / 160 for a, b in ((loss[0], loss[2]), (loss[2], loss[0]))]
    assert min(abs(record.curves["train/loss"][0] - c) for c in candidates) < 2e-3


def test_a_runs_seconds_hold_what_lies_between_its_epochs(tmp_path):
    """Keeping an epoch and showing it is time of the run: else a rate from its seconds would flatter."""
    record = train(a_run(PLAIN), tmp_path, on_epoch=lambda e: time.sleep(0.2) is None)
    taken = record.curves["time/epoch_s"]
    assert (taken[1:] >= 0.2 * (1 - 2**-11)).all()  # kept to 12 bits
    assert record.seconds == pytest.approx(taken.sum(dtype=float), abs=1e-3)


def test_finals_agree_with_curves_matrices_and_each_other(tmp_path):
    record = train(a_run(AUGMENTED), tmp_path)
    test = record.curves["test/acc_pct"]
    assert record.finals["last"]["acc_pct"] == pytest.approx(test[-1])
    assert record.finals["best_test"]["acc_pct"] == pytest.approx(test.max())
    best = int(np.argmin(record.curves["val_augmented/loss"]))  # the recipe selects on augmented images
    assert record.finals["best_val_loss"]["epoch"] == best + 1
    assert record.finals["best_val_loss"]["acc_pct"] == pytest.approx(test[best])
    lowest = int(np.argmin(record.curves["test/loss"]))
    assert record.finals["best_test_loss"]["acc_pct"] == pytest.approx(test[lowest])
    assert record.finals["val_augmented"]["acc_pct"] == pytest.approx(record.curves["val_augmented/acc_pct"][-1])
    for protocol in ("last", "best_val_loss"):
        matrix = np.array(record.confusion[protocol])
        assert matrix.sum() == 60
        assert 100 * np.trace(matrix) / 60 == pytest.approx(record.finals[protocol]["acc_pct"])
    assert 100 * np.mean(record.predictions["class"] == small().y_test) == pytest.approx(test[-1])
    assert record.finals["last_batch"]["n"] == 60 % 48
    assert "best_test_every10" not in record.finals  # four epochs have no tenth
    assert {"train_mode_bn", "augmented_test", "val", "batch_mean", "train_running"} <= set(record.finals)


def test_train_mode_prediction_uses_batch_statistics_and_leaves_the_running_ones():
    recipe = Recipe.model_validate(PLAIN)
    stepper, held = assemble(recipe, a_run(PLAIN), small(), options(None))
    before = {k: v.clone() for k, v in stepper.model.state_dict().items()}
    stepper.model.eval()
    got = stepper.predict_train_mode(held.test, held.test_index)
    assert all(torch.equal(v, before[k]) for k, v in stepper.model.state_dict().items())
    assert not stepper.model.training
    stepper.model.train()
    with torch.no_grad():
        want = stepper.model(stepper.scale(held.test.images(held.test_index[:48])))
    assert torch.allclose(got[:48], want, atol=1e-5)


def test_a_network_learns_the_sample(tmp_path):
    record = train(
        a_run(PLAIN | {"budget": {"epochs": 20, "batch_size": 32}, "optim": {"name": "adam", "lr": 5e-3}}), tmp_path
    )
    assert record.curves["train/loss"][-1] < 0.75 * record.curves["train/loss"][0]
    assert record.finals["best_test_every10"]["epoch"] in (10, 20)


def test_nonfinite_losses_are_a_recorded_result(tmp_path):
    record = train(a_run(PLAIN | {"optim": {"name": "sgd", "lr": 1e30}}), tmp_path)
    assert record.state == "diverged"
    assert record.epochs_done == 4
    json.loads(record.to_bytes())


class HostSyncs(TorchDispatchMode):
    """Counts operations that would make the host wait for the device."""

    WAITING = (
        "_local_scalar_dense",
        "item",
        "nonzero",
        "is_nonzero",
        "equal",
        "masked_select",
        "unique",
        "repeat_interleave",
    )

    def __init__(self, host=()):
        super().__init__()
        self.found = []
        self.host = {tensor.data_ptr() for tensor in host}  # tensors that are on the host whatever the device

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name == "_local_scalar_dense" and args[0].data_ptr() in self.host:
            return func(*args, **(kwargs or {}))
        by_mask = name in ("index", "index_put_") and any(
            i is not None and i.dtype in (torch.bool, torch.uint8) for i in (args[1] if len(args) > 1 else ())
        )
        moves = name in ("_to_copy", "copy_") and any(isinstance(a, torch.device) for a in (kwargs or {}).values())
        if name in self.WAITING or by_mask or moves:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def test_the_counter_sees_syncs():
    with HostSyncs() as syncs:
        x = torch.ones(3)
        x.sum().item()
        float(x[0])
        bool((x > 0).all())
        x[x > 0]
        x.nonzero()
    assert len(syncs.found) >= 5


REPORTS = load_all()
ARMS = {f"{r.id}/{e.id}": e.recipe for r in REPORTS.values() for e in r.experiments.values()}


@pytest.mark.parametrize("name", ARMS)
def test_every_experiment_takes_two_steps_without_a_host_sync(name):
    full = ARMS[name]
    budget = full.budget.model_copy(update={"batch_size": 4})
    recipe = runner.adapt(full, "smoke", 1500).model_copy(update={"budget": budget})
    fold = folds_of(recipe)[0]
    run = replace(a_run(PLAIN), recipe=recipe, profile="smoke", fold=fold)
    stepper, _ = assemble(recipe, run, sample.load(), options(None))
    optimizer = maker(recipe.optim.name, lr=recipe.optim.lr)(stepper.model.parameters())
    before = [p.detach().clone() for p in stepper.model.parameters()]
    epoch = stepper.prepare(0, 1)
    stepper.model.train()
    with ops.as_on_accelerators():
        stepper.step(0, epoch, optimizer)
    steps = [state["step"] for state in optimizer.state.values() if "step" in state]
    with HostSyncs(host=steps) as syncs, ops.as_on_accelerators():
        stepper.step(1, epoch, optimizer)
    assert syncs.found == []
    assert stepper.log[0, :2].isfinite().all()
    assert all(not torch.equal(a, b) for a, b in zip(before, stepper.model.parameters(), strict=True))


@pytest.mark.parametrize(("t_max", "eta_min"), [(50, 0.0), (200, 0.0), (7, 1e-4)])
def test_cosine_is_pytorchs(t_max, eta_min):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, t_max, eta_min)
    ours = build("cosine", 0.1, t_max=t_max, eta_min=eta_min)
    for epoch in range(1, 60):
        assert ours(epoch, 0.5, []) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        theirs.step()


def test_cosine_per_step_moves_within_the_epoch():
    rate = build("cosine", 0.1, t_max=10, per="step")
    assert rate(1, 0.0, []) == 0.1
    assert rate(6, 0.0, []) == pytest.approx(0.05)
    assert rate(5, 0.5, []) == pytest.approx(0.05 * (1 + np.cos(np.pi * 0.45)))


def test_plateau_halves_after_patience_epochs_without_a_minimum_and_counts_anew():
    rate = build("plateau", 0.1, metric="test/loss", factor=0.5, patience=3)
    losses = [5, 4, 4.5, 4, 4.1, 3, 3.5, 3.5, 3.5, 3.2, 3.1, 3.0, 2.0]
    history = [{"test/loss": x} for x in losses]
    got = [rate(k + 1, 0.0, history[:k]) for k in range(len(losses) + 1)]
    # drops after epoch 5 (4.5, 4, 4.1), after 9 and after 12 (no new minimum below 3)
    assert got == [0.1] * 5 + [0.05] * 4 + [0.025] * 3 + [0.0125] * 2


def test_a_run_begun_elsewhere_is_not_continued_in_another_precision(tmp_path):
    from repro.errors import UserError

    run = a_run(PLAIN)
    train(run, tmp_path, on_epoch=lambda e: False)
    with pytest.raises(UserError, match="was begun as cpu-fp32"):
        train(run, tmp_path, "bf16")


def test_begin_anew_keeps_the_record(tmp_path):
    run = a_run(PLAIN)
    record = train(run, tmp_path)
    runner.begin_anew(run, tmp_path)
    folder = folder_of(run, tmp_path)
    assert [p.name for p in folder.iterdir()] == ["record-1.json"]
    assert (folder / "record-1.json").read_bytes() == record.to_bytes()
    (folder / "record-1.json").rename(folder / "record-2.json")  # as where the first of two was moved away
    (folder / "record.json").write_bytes(b"another")
    runner.begin_anew(run, tmp_path)
    kept = {path.read_bytes() for path in folder.iterdir()}
    assert kept == {record.to_bytes(), b"another"}


def test_beginning_anew_goes_on_from_nothing_wherever_it_is_killed(tmp_path, monkeypatch):
    """A kill between two deletions leaves no checkpoint without what says whose it was."""
    run = a_run(PLAIN)
    folder = folder_of(run, tmp_path)
    names = ["attempts.json", "checkpoint-00003.pt", "checkpoint-00004.pt", "journal.jsonl", "probabilities.npz"]
    for left in range(len(names)):
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            (folder / name).write_bytes(b"x")
        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", killed_after(left))
            with pytest.raises(InterruptedError):
                runner.begin_anew(run, tmp_path)
        there = {path.name.split("-")[0] for path in folder.iterdir()}
        assert "attempts.json" in there
        assert "journal.jsonl" in there or "checkpoint" not in there
    runner.begin_anew(run, tmp_path)
    assert list(folder.iterdir()) == []


def killed_after(deletions):
    """Return a `Path.unlink` that ends with an error after so many deletions."""
    unlink, left = Path.unlink, [None] * deletions

    def delete(path):
        if not left:
            raise InterruptedError
        left.pop()
        unlink(path)

    return delete


@pytest.mark.parametrize("losses", [[2.3, math.nan, 1.5], [math.nan, 2.0], [1.0, 1.0, 0.9, 0.9]])
def test_the_epoch_selected_is_the_one_that_the_final_numbers_name(losses):
    history = [{"val/loss": loss} for loss in losses]
    chosen = [k for k in range(len(losses)) if engine.improves(history[k], history[:k], "val/loss")][-1]
    assert chosen == min(range(len(losses)), key=lambda k: losses[k])
    assert not engine.improves(history[0], [], None)


def test_streams_are_pinned():
    """Every committed record rests on these numbers; a change here needs a new stream version, not a new value."""
    assert generator(0, "order", 1).permutation(10).tolist() == [0, 7, 5, 1, 2, 8, 9, 3, 6, 4]
    assert generator(0, "init").random(2).tolist() == [0.7925346708482347, 0.27587185575802786]
