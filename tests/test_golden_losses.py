"""The numbers a training gives do not move unless somebody says so: today's losses beside the committed ones."""

import json
from contextlib import ExitStack
from dataclasses import replace
from unittest import mock

import golden_losses
import pytest
import torch
from golden_losses import AGAIN, CASES, FILE, TOLERANCE, WHERE, golden, images_for, losses, moved, recipe_of, renew

from repro.errors import UserError
from repro.run import wiring
from repro.spec.identity import recipe_hash
from repro.spec.loading import load
from repro.spec.recipe import Recipe
from repro.train import step
from repro.train.step import NUMERICS

MEND = f"if on purpose, bump NUMERICS in {WHERE} and run {AGAIN}"
#: networks that amplify rounding little, so that float32 itself can be followed for all 20 steps
CALM = ("zhang2023/elu35", "zhang2023/vgg-a")
#: cheap cases that have between them what the controls change
SGD, ADAM, DROPPED = "zhang2023/bias-norm-1e-3", "zhang2023/vgg-a", "shamooun2022/released"
WARM, BY_STEP, CHEAPEST = "chen2024/resnet110-warmup", "geng2022/iso-sgd-restarts", "zhang2023/stem7-35"
#: a thousand times what rounding may do; the faults below move a loss by 1e-2 at the least
NOTICED = 1e-3
#: and do so within this many epochs
SOON = 3


def committed(name, epochs=golden_losses.EPOCHS):
    case = golden()["cases"][name]
    return {"train": case["train"][: epochs * golden_losses.STEPS], "test": case["test"][:epochs]}


def test_the_file_is_of_this_numerics_version_and_of_these_recipes():
    held = golden()
    assert held["numerics"] == NUMERICS, f"NUMERICS is {NUMERICS}, the losses are of {held['numerics']}: run {AGAIN}"
    now = {name: recipe_hash(recipe_of(name)) for name in CASES}
    assert now == {name: case["recipe"] for name, case in held["cases"].items()}, f"a recipe changed: run {AGAIN}"


@pytest.mark.parametrize("name", CASES)
def test_losses_are_the_committed_ones(name):
    apart = moved(losses(recipe_of(name), epochs=CASES[name].epochs), committed(name))
    assert apart < TOLERANCE, f"{name}: the losses moved by {apart:.1e}, which rounding does not do; {MEND}"


@pytest.mark.parametrize("name", CASES)
def test_in_float32_the_first_loss_is_the_committed_one(name):
    now = losses(recipe_of(name), epochs=1, wide=False)
    assert now["train"][0] == pytest.approx(committed(name)["train"][0], rel=1e-4), MEND


@pytest.mark.parametrize("name", CALM)
def test_in_float32_the_losses_follow_where_rounding_is_not_amplified(name):
    assert moved(losses(recipe_of(name), wide=False), committed(name)) < 0.02, MEND


def test_every_kind_of_training_of_the_reports_has_a_case():
    fields = ("activation", "init", "softmax", "max_pool", "stem_kernel", "batch_norm", "logits_dropout")

    def kinds(recipe):
        plain = recipe.model_dump(mode="json", exclude_defaults=True)
        model = {f"model.{key}={plain['model'][key]}" for key in fields if key in plain["model"]}
        named = {f"{key}={plain[key]['name']}" for key in ("model", "loss", "optim", "schedule")}
        options = {f"{key}.{field}" for key in ("optim", "schedule", "loss") for field in plain[key]}
        return model | named | options | {f"augment={each['name']}" for each in plain.get("augment", [])}

    guarded = {kind for name in CASES for kind in kinds(recipe_of(name))}
    for report in {case.report for case in CASES.values()}:
        for experiment in load(golden_losses.ROOT / "experiments" / f"{report}.yaml").experiments.values():
            missing = kinds(experiment.recipe) - guarded
            assert not missing, f"{report}/{experiment.id}: no case in tests/golden_losses.py has {missing}"


def changed(recipe, path, value):
    """Return a recipe with the value at a dotted path replaced."""
    plain = recipe.model_dump(mode="json")
    at = plain
    *above, last = path.split(".")
    for key in above:
        at = at[int(key) if isinstance(at, list) else key]
    at[int(last) if isinstance(at, list) else last] = value
    return Recipe.model_validate(plain)


@pytest.mark.parametrize(("name", "path", "value"), [
    (SGD, "optim.weight_decay", 1e-4),
    (SGD, "optim.momentum", 0.89),
    (SGD, "optim.nesterov", True),
    (SGD, "optim.recreate_each_epoch", False),
    (SGD, "optim.lr", 0.1001),
    (SGD, "schedule.patience", 2),
    (SGD, "loss.last_bias_norm", 5e-4),
    (SGD, "augment.0.pad", 3),
    (SGD, "augment.1.p", 0.45),
    (SGD, "data.normalize", None),
    (SGD, "data.normalize.mean", [0.486, 0.456, 0.406]),
    (SGD, "data.normalize.std", [0.229, 0.224, 0.226]),
    (SGD, "model.init", "kaiming_fan_in"),
    (ADAM, "optim.betas", [0.9, 0.99]),
    (ADAM, "optim.eps", 1e-7),
    (WARM, "schedule.warmup_start", 0.11),
    (DROPPED, "model.logits_dropout", 0.49),
])  # fmt: skip
def test_another_recipe_would_be_noticed(name, path, value):
    now = losses(changed(recipe_of(name), path, value), epochs=SOON)
    assert moved(now, committed(name, SOON)) > NOTICED


def norms(**values):
    """Every batch norm made with other values."""

    def alter(model):
        for each in model.modules():
            if isinstance(each, torch.nn.BatchNorm2d):
                for key, value in values.items():
                    setattr(each, key, value)

    return built(alter)


@torch.no_grad()
def gain(model):
    for parameter in model.parameters():
        parameter.mul_(1.001)


def built(alter):
    """A network altered behind the back of whoever has it built."""
    build = wiring.build_padded

    def wrong(*arguments):
        model, own = build(*arguments)
        alter(model)
        return model, own

    return mock.patch.object(wiring, "build_padded", wrong)


def spared_biases():
    """Weight decay for matrices and filters only."""
    make = wiring.optimizer_of

    def wrong(recipe):
        decayed = make(recipe)

        def made(parameters):
            every = list(parameters)
            optimizer = decayed(p for p in every if p.ndim > 1)
            optimizer.add_param_group({"params": [p for p in every if p.ndim == 1], "weight_decay": 0.0})
            return optimizer

        return made

    return mock.patch.object(wiring, "optimizer_of", wrong)


def a_step_late():
    """The learning rate of the step before."""
    build = wiring.schedule.build

    def wrong(**arguments):
        rate = build(**arguments)
        return lambda epoch, done, history: rate(epoch, max(0.0, done - 1 / golden_losses.STEPS), history)

    return mock.patch.object(wiring.schedule, "build", wrong)


def drawn(alter):
    """An epoch's draws altered after they were made."""
    draw = step.Stepper._draw
    return mock.patch.object(step.Stepper, "_draw", lambda self, seed, epoch: alter(draw(self, seed, epoch)))


def backwards(epoch):
    return replace(epoch, order=epoch.order.flip(0))


def shifted(epoch):
    return replace(epoch, drawn=[each.roll(1, 0) for each in epoch.drawn])


FAULTS = {
    "batch-norm-eps": (SGD, lambda: norms(eps=1e-3)),
    "batch-norm-momentum": (SGD, lambda: norms(momentum=0.05)),  # seen in the test losses alone
    "initial-gain": (SGD, lambda: built(gain)),
    "biases-without-weight-decay": (SGD, spared_biases),
    "warm-up-a-step-late": (WARM, a_step_late),
    "cosine-a-step-late": (BY_STEP, a_step_late),
    "order-of-images": (SGD, lambda: drawn(backwards)),
    "draws-of-the-neighbour": (SGD, lambda: drawn(shifted)),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_engine_would_be_noticed(fault):
    name, patched = FAULTS[fault]
    with ExitStack() as stack:
        stack.enter_context(patched())
        now = losses(recipe_of(name), epochs=SOON)
    assert moved(now, committed(name, SOON)) > NOTICED


def test_another_seed_and_other_labels_would_be_noticed():
    recipe, data = recipe_of(SGD), images_for(recipe_of(SGD))
    swapped = data.y_train.copy()
    swapped[[0, 1]] = swapped[[1, 0]]
    assert swapped[0] != swapped[1]
    assert moved(losses(recipe, seed=1, epochs=SOON), committed(SGD, SOON)) > NOTICED
    now = losses(recipe, dataset=replace(data, y_train=swapped), epochs=SOON)
    assert moved(now, committed(SGD, SOON)) > NOTICED


def test_other_losses_are_written_with_another_numerics_version_only(tmp_path, monkeypatch):
    name, path = CHEAPEST, tmp_path / "losses.json"
    monkeypatch.setattr(golden_losses, "CASES", {name: replace(CASES[name], epochs=1)})
    assert renew(path) == [name]
    assert renew(path) == []
    held = json.loads(path.read_text())
    held["cases"][name]["train"][2] *= 1.001
    path.write_text(json.dumps(held))
    before = path.read_bytes()
    with pytest.raises(UserError, match=rf"{name} moved by 1\.0e-03 .* bump NUMERICS in {WHERE} first"):
        renew(path)
    assert path.read_bytes() == before
    assert renew(path, NUMERICS + 1) == [name]
    assert moved(golden(path)["cases"][name], committed(name, 1)) < TOLERANCE
    assert golden(path)["numerics"] == NUMERICS + 1
    with pytest.raises(UserError, match="older"):
        renew(path, NUMERICS)


def test_the_program_says_what_to_do_and_exits_with_2(monkeypatch, capsys, tmp_path):
    path = tmp_path / FILE.name
    path.write_text(FILE.read_text())
    monkeypatch.setattr(golden_losses, "CASES", {CHEAPEST: CASES[CHEAPEST]})
    monkeypatch.setattr(golden_losses, "losses", lambda *_, **__: {"train": [2.5] * 20, "test": [2.5] * 5})
    assert golden_losses.main(path) == 2
    assert "bump NUMERICS" in capsys.readouterr().err
    assert path.read_text() == FILE.read_text()
