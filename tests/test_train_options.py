"""What recipes may ask of training beyond the plain loop, each against a closed form, a library or an invariant."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from test_engine import CPU, PLAIN, a_run, options, small, train
from torch.nn import functional as F
from torchvision.transforms import functional as TF

from repro import augment
from repro.data.batches import Resident, Scale
from repro.data.splits import fold, fold_of_epoch, kfold
from repro.draws import generator
from repro.models import MODELS
from repro.record import Journal
from repro.run import assemble, folder_of, part_of
from repro.spec.identity import folds_of, runs_of
from repro.spec.loading import load_all
from repro.spec.recipe import Recipe
from repro.train import losses
from repro.train.engine import rounded
from repro.train.optim import maker

JSD = PLAIN | {
    "augment": [{"name": "flip"}, {"name": "crop", "pad": 4}, {"name": "augmix", "views": 3}],
    "loss": {"name": "jensen_shannon", "factor": 12.0},
    "optim": {"name": "sgd", "lr": 0.05},
}
CARRIED = {"split": {"train": 40000, "val": 10000}, "folds": {"k": 5, "network": "carried"}}
FRESH = {"split": {"train": 40000, "val": 10000}, "folds": {"k": 5, "network": "fresh"}}


def test_the_divergence_is_the_entropy_of_the_mean_minus_the_mean_entropy():
    """Lin 1991's closed form, for classes that are all likelier than the clamp."""
    rng = np.random.default_rng(0)
    outputs = rng.normal(0, 1.5, (3, 16, 10))
    p = np.exp(outputs) / np.exp(outputs).sum(2, keepdims=True)
    divergence = entropy(p.mean(0), axis=1) - entropy(p, axis=2).mean(0)
    labels = torch.from_numpy(rng.integers(0, 10, 16))
    want = F.cross_entropy(torch.from_numpy(outputs[0]), labels).item() + 12 * divergence.mean()
    got = losses.jensen_shannon(factor=12.0)(torch.from_numpy(outputs.reshape(48, 10)), labels)
    assert got.item() == pytest.approx(want, rel=1e-12)


def test_three_equal_views_have_no_divergence_and_certain_ones_the_most():
    labels = torch.zeros(4, dtype=torch.long)
    same = torch.randn(4, 10, dtype=torch.float64)
    loss = losses.jensen_shannon(factor=7.0)
    assert loss(same.repeat(3, 1), labels).item() == pytest.approx(F.cross_entropy(same, labels).item())
    certain = 50.0 * torch.eye(10, dtype=torch.float64)[[0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]]
    assert loss(certain, labels).item() == pytest.approx(7 * np.log(3), rel=1e-6)


def test_the_gradient_is_finite_where_a_probability_underflows():
    """At a rate of 0.1 the first steps on CIFAR-10 bring logits this far apart: exp(-200) is 0 in float32."""
    outputs = torch.zeros(12, 10)
    outputs[:4, 0] = 200.0
    precise = outputs.double().requires_grad_()
    outputs.requires_grad_()
    labels = torch.zeros(4, dtype=torch.long)
    for case in (outputs, precise):
        losses.jensen_shannon(factor=12.0)(case, labels).backward()
    assert torch.isfinite(outputs.grad).all()
    torch.testing.assert_close(outputs.grad.double(), precise.grad, rtol=1e-4, atol=1e-6)


def test_a_step_is_one_pass_over_the_image_and_two_mixes_of_it(tmp_path):
    """Against a loop written out: three views through the network together, so that batch norms see all of them."""
    run = a_run(JSD)
    stepper, _ = assemble(run.recipe, run, small(), options(tmp_path))
    model = MODELS["resnet"](stem=8, widths=[8, 16], blocks=[1, 1])
    model.load_state_dict(stepper.model.state_dict())
    epoch = stepper.prepare(0, 1)
    index, drawn = epoch.order[:48], [d[:48] for d in epoch.drawn]
    moved = stepper.images.images(index, stepper.augment.sources(drawn))
    scale = Scale(None, None, CPU)
    mixed = augment.AugMix()(moved, drawn[2:], scale)
    outputs = model(torch.cat([scale(moved), mixed[:, 0], mixed[:, 1]]))
    p = [part.double().softmax(1) for part in outputs.chunk(3)]
    mixture = (sum(p) / 3).clamp(1e-7, 1).log()
    divergence = sum((q * (q.log() - mixture)).sum() for q in p) / 3 / 48
    want = F.cross_entropy(outputs[:48], stepper.images.labels[index]) + 12 * divergence
    want.backward()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    stepper.step(0, epoch, maker("sgd", lr=0.05)(stepper.model.parameters()))
    assert stepper.log[0, 0].item() == pytest.approx(want.item(), rel=1e-5)
    assert stepper.log[1, 0] == (outputs[:48].argmax(1) == stepper.images.labels[index]).sum()
    for start, parameter, ours in zip(before, model.parameters(), stepper.model.parameters(), strict=True):
        torch.testing.assert_close(ours, start - 0.05 * parameter.grad, rtol=1e-4, atol=1e-6)
    for name, value in model.named_buffers():
        torch.testing.assert_close(dict(stepper.model.named_buffers())[name], value, rtol=1e-5, atol=1e-6)


def test_one_view_of_augmix_takes_the_place_of_the_image():
    rows = small()
    images = Resident(rows.x_train, rows.y_train, CPU).images(torch.arange(20))
    scale = Scale((0.5,) * 3, (0.5,) * 3, CPU)
    one, three = (augment.build([{"name": "augmix", "views": views}]) for views in (1, 3))
    drawn = one.draw(generator(0, "augment", 1), 20)
    (view,) = one.views(images, drawn, scale)
    assert torch.equal(view, augment.AugMix(views=1)(images, drawn, scale)[:, 0])
    plain, first, second = three.views(images, three.draw(generator(0, "augment", 1), 20), scale)
    assert torch.equal(plain, scale(images))
    assert not torch.equal(first, second)


def test_autoaugment_comes_after_the_operations_that_move_pixels():
    rows = small()
    resident, scale = Resident(rows.x_train, rows.y_train, CPU), Scale(None, None, CPU)
    both = augment.build([{"name": "crop", "pad": 4}, {"name": "autoaugment"}])
    drawn = both.draw(generator(3, "augment", 1), 30)
    moved = resident.images(torch.arange(30), augment.build([{"name": "crop", "pad": 4}]).sources(drawn[:1]))
    assert torch.equal(resident.images(torch.arange(30), both.sources(drawn)), moved)
    (view,) = both.views(moved, drawn, scale)
    assert torch.equal(view, scale(augment.AutoAugment()(moved, drawn[1:])))


def test_nothing_comes_after_an_ending():
    with pytest.raises(ValueError, match="flip comes after an operation that has to be the last"):
        augment.build([{"name": "autoaugment"}, {"name": "flip"}])


def test_a_vertical_flip_is_torchvisions_and_an_exact_rotation_takes_two_angles():
    rows = small()
    resident = Resident(rows.x_train, rows.y_train, CPU)
    pipeline = augment.build([{"name": "flip", "p": 1.0, "direction": "vertical"}])
    drawn = pipeline.draw(generator(0, "augment", 1), 20)
    assert torch.equal(
        resident.images(torch.arange(20), pipeline.sources(drawn)), TF.vflip(resident.images(torch.arange(20)))
    )
    (angles,) = augment.build([{"name": "rotate", "degrees": 5, "exact": True}]).draw(generator(0, "augment", 1), 4000)
    rows, counts = np.unique(angles.numpy(), axis=0, return_counts=True)
    assert len(rows) == 2
    assert counts.min() > 1850  # of 4,000 fair coins: less once in 10^6
    uniform = augment.build([{"name": "rotate", "degrees": 5}]).draw(generator(0, "augment", 1), 4000)[0]
    assert set(rows[:, 1]) == {-rows[0, 1], rows[0, 1]}
    assert uniform[:, 1].abs().max() <= abs(rows[0, 1])


@pytest.mark.parametrize(("images", "k"), [(50_000, 5), (1_500, 5), (203, 4)])
def test_folds_are_disjoint_equal_parts_that_each_validate_once(images, k):
    parts = kfold(images, k, 3)
    assert [len(part) for part in parts] == [images // k] * k
    assert len(np.unique(np.concatenate(parts))) == k * (images // k)
    for number in range(1, k + 1):
        now = fold(parts, number, carried=False)
        assert np.array_equal(now.val, parts[number - 1])
        assert not set(now.train) & set(now.val)
        assert len(now.train) == (k - 1) * (images // k)
    assert not np.array_equal(parts[0], kfold(images, k, 4)[0])


def test_a_carried_network_has_trained_on_every_later_folds_validation_images_and_a_fresh_one_on_none():
    """The leak of `folds-released`, as counts at its real size, and its absence in `folds-clean`."""
    arms = load_all()["chiu2023"].experiments
    released, clean = arms["folds-released"].recipe, arms["folds-clean"].recipe
    of = part_of(released, 0, None, 50_000)
    assert [of(epoch).trained_before for epoch in (1, 10, 11, 20, 21, 50)] == [0, 0, 10_000, 10_000, 10_000, 10_000]
    assert [fold_of_epoch(epoch, 50, 5) for epoch in (1, 10, 11, 41, 50)] == [1, 1, 2, 5, 5]
    seen = set(of(1).train)
    assert seen >= set(of(11).val)
    for number in folds_of(clean):
        part = part_of(clean, 0, number, 50_000)(7)
        assert part.trained_before == 0
        assert not set(part.train) & set(part.val)
    assert {tuple(part_of(clean, 0, n, 50_000)(1).val[:3]) for n in folds_of(clean)} == {
        tuple(part[:3]) for part in kfold(50_000, 5, 0)
    }


def test_a_run_through_folds_records_the_leak_and_a_fresh_fold_its_absence(tmp_path):
    through = train(a_run(PLAIN | {"data": CARRIED, "budget": {"epochs": 5, "batch_size": 48}}), tmp_path)
    assert through.curves["val/trained_before"].tolist() == [0, 40, 40, 40, 40]
    assert through.fold is None
    report = load_all()["chiu2023"]
    runs = runs_of(report, [report.experiments["folds-clean"]], [0, 1], "data", "full")
    assert [(run.seed, run.fold) for run in runs] == [(seed, number) for seed in (0, 1) for number in (1, 2, 3, 4, 5)]
    assert len({run.key for run in runs}) == 10
    fresh = replace(a_run(PLAIN | {"data": FRESH}), fold=3)
    record = train(fresh, tmp_path)
    assert record.curves["val/trained_before"].tolist() == [0] * 4
    assert record.fold == 3
    assert "-f3-" in record.file_name


def test_of_all_folds_the_lowest_validation_loss_selects(tmp_path):
    record = train(a_run(PLAIN | {"data": CARRIED, "budget": {"epochs": 5, "batch_size": 48}}), tmp_path)
    best = int(np.argmin(record.curves["val/loss"]))
    assert record.finals["best_val_loss"]["epoch"] == best + 1
    assert record.finals["best_val_loss"]["acc_pct"] == pytest.approx(record.curves["test/acc_pct"][best], abs=1e-4)


def test_noise_is_added_to_pixels_and_cut_off_before_they_are_normalised(tmp_path):
    run = a_run(PLAIN | {"data": PLAIN["data"] | {"normalize": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}}})
    stepper, held = assemble(run.recipe, run, small(), options(tmp_path))
    stepper.model.eval()
    noise = generator(5, "noise").standard_normal((60, 32, 32, 3), dtype=np.float32)
    pixels = (small().x_test / np.float32(255) + np.float32(0.1) * noise).clip(0, 1)
    x = (torch.from_numpy(pixels).permute(0, 3, 1, 2) - torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1)) / torch.tensor(
        [0.2, 0.3, 0.4]
    ).view(1, 3, 1, 1)
    with torch.no_grad():
        want = stepper.model(x)
    torch.testing.assert_close(
        stepper.predict_noisy(held.test, held.test_index, [0.1], 5)[0], want, rtol=1e-4, atol=1e-5
    )
    plain = stepper.predict(held.test, held.test_index)
    torch.testing.assert_close(stepper.predict_noisy(held.test, held.test_index, [0.1, 0.0], 5)[1], plain)
    record = train(run, tmp_path)
    assert {"gaussian_noise_0.05", "gaussian_noise_0.1"} <= set(record.finals)


def test_a_short_run_keeps_every_steps_loss_and_a_long_one_does_not(tmp_path, monkeypatch):
    run = a_run(PLAIN)
    record = train(run, tmp_path)
    steps = np.concatenate([e.steps["step/loss"] for e in Journal(folder_of(run, tmp_path) / "journal.jsonl").read()])
    assert len(steps) == 4 * 4  # epochs of 160 images in batches of 48
    np.testing.assert_allclose(record.curves["step/loss"], steps, rtol=2**-12)
    assert rounded([0.0, 1.0, -2.5, 1e30, float("inf")]) == [0.0, 1.0, -2.5, pytest.approx(1e30, 2**-12), float("inf")]
    assert np.isnan(rounded([float("nan")])[0])
    assert record.curves["step/loss"].reshape(4, 4).min(1) == pytest.approx(record.curves["step/loss_min"], rel=1e-3)
    monkeypatch.setattr("repro.train.engine.EVERY_STEP", 15)
    assert "step/loss" not in train(a_run(PLAIN, seed=1), tmp_path).curves


def test_a_network_with_a_softmax_is_trained_on_its_probabilities(tmp_path):
    run = a_run(PLAIN | {"model": PLAIN["model"] | {"softmax": True}})
    stepper, held = assemble(run.recipe, run, small(), options(tmp_path))
    out = stepper.predict(held.test, held.test_index)
    torch.testing.assert_close(out.sum(1), torch.ones(60))
    epoch = stepper.prepare(0, 1)
    plain = MODELS["resnet"](stem=8, widths=[8, 16], blocks=[1, 1])
    plain.load_state_dict(stepper.model.state_dict())
    index = epoch.order[:48]
    want = F.cross_entropy(plain(stepper.scale(stepper.images.images(index))).softmax(1), stepper.images.labels[index])
    stepper.model.train()
    stepper.step(0, epoch, maker("sgd", lr=0.1)(stepper.model.parameters()))
    assert stepper.log[0, 0].item() == pytest.approx(want.item(), rel=1e-5)


def test_the_penalty_on_the_last_biases_pulls_them_and_nothing_else(tmp_path):
    """Its gradient is the unit vector of the biases, times the coefficient."""
    grads = []
    for coefficient in (0.0, 0.25):
        run = a_run(PLAIN | {"loss": {"name": "cross_entropy", "last_bias_norm": coefficient}})
        stepper, _ = assemble(run.recipe, run, small(), options(tmp_path))
        optimizer = maker("sgd", lr=1.0)(stepper.model.parameters())
        before = [p.detach().clone() for p in stepper.model.parameters()]
        stepper.step(0, stepper.prepare(0, 1), optimizer)
        grads.append([b - p.detach() for b, p in zip(before, stepper.model.parameters(), strict=True)])
        bias = before[-1]
    assert bias.shape == (10,)
    torch.testing.assert_close(grads[1][-1] - grads[0][-1], 0.25 * bias / bias.norm(), rtol=1e-4, atol=1e-6)
    for without, with_ in zip(grads[0][:-1], grads[1][:-1], strict=True):
        assert torch.equal(without, with_)


@pytest.mark.parametrize("name", ["resnet", "vgg"])
def test_the_last_parameter_of_every_network_is_the_last_bias(name):
    recipes = (e.recipe for report in load_all().values() for e in report.experiments.values())
    spec = next(recipe.model for recipe in recipes if recipe.model.name == name)
    with torch.device("meta"):
        model = MODELS[name](**spec.model_dump(exclude={"name", "init", "logits_dropout"}))
    assert list(model.parameters())[-1].shape == (10,)


def test_adding_options_changed_no_key():
    """Recipes of before, resolved: none of the new fields shows unless it is given."""
    recipe = Recipe.model_validate(PLAIN)
    assert recipe.model_dump(mode="json", exclude_defaults=True) == PLAIN
