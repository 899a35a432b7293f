"""Learning rates against PyTorch's schedulers and their closed forms."""

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from repro.run import adapt
from repro.spec.recipe import Recipe
from repro.train.schedule import SCHEDULES, build

LR, STEPS = 0.1, 7  # steps an epoch


def an_optimizer():
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR)


def theirs(make, count, *metrics):
    """Return the rate before each of `count` steps of one of PyTorch's schedulers."""
    optimizer, rates = an_optimizer(), []
    scheduler = make(optimizer)
    for k in range(count):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step(*(m[k] for m in metrics))
    return rates


def by_epoch(rate, epochs, history=()):
    return [rate(epoch, 0.0, history[: epoch - 1]) for epoch in range(1, epochs + 1)]


def by_step(rate, epochs):
    return [rate(epoch, i / STEPS, []) for epoch in range(1, epochs + 1) for i in range(STEPS)]


def test_constant():
    assert by_step(build("constant", LR), 3) == [LR] * 21


def test_cosine_per_epoch_and_per_step_are_pytorchs():
    ours = build("cosine", LR, t_max=9, eta_min=1e-3)
    expected = theirs(lambda o: lr_scheduler.CosineAnnealingLR(o, 9, 1e-3), 20)
    assert by_epoch(ours, 20) == pytest.approx(expected, abs=1e-12)
    assert by_step(ours, 20) == pytest.approx(np.repeat(expected, STEPS), abs=1e-12)  # the same within an epoch
    ours = build("cosine", LR, t_max=9, eta_min=1e-3, per="step")
    expected = theirs(lambda o: lr_scheduler.CosineAnnealingLR(o, 9 * STEPS, 1e-3), 9 * STEPS)
    assert by_step(ours, 9) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("t_0", "t_mult"), [(1, 1), (4, 1), (3, 2), (2, 3), (100, 2)])
def test_warm_restarts_are_pytorchs(t_0, t_mult):
    ours = build("cosine_restarts", LR, t_0=t_0, t_mult=t_mult, eta_min=1e-3)
    expected = theirs(lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, t_0, t_mult, 1e-3), 40)
    assert by_epoch(ours, 40) == pytest.approx(expected, abs=1e-12)
    ours = build("cosine_restarts", LR, t_0=t_0, t_mult=t_mult, eta_min=1e-3, per="step")
    scheduler = lr_scheduler.CosineAnnealingWarmRestarts(an_optimizer(), t_0, t_mult, 1e-3)
    for epoch in range(1, 41):
        for i in range(STEPS):
            scheduler.step(epoch - 1 + i / STEPS)  # as its documentation does it within an epoch
            assert ours(epoch, i / STEPS, []) == pytest.approx(scheduler.get_last_lr()[0], abs=1e-9)


def test_each_restart_begins_at_the_full_rate_and_lasts_longer():
    rates = by_epoch(build("cosine_restarts", LR, t_0=10, t_mult=2), 151)
    assert [epoch for epoch, rate in enumerate(rates) if rate == LR] == [0, 10, 30, 70, 150]
    assert all(rates[start + n // 2] == pytest.approx(LR / 2) for start, n in ((0, 10), (10, 20), (30, 40), (70, 80)))


@pytest.mark.parametrize("patience", [1, 3, 10])
def test_plateau_is_pytorchs(patience):
    losses = np.random.default_rng(patience).normal(size=60).cumsum() / 10
    history = [{"val/loss": loss} for loss in losses]
    ours = build("plateau", LR, metric="val/loss", factor=0.3, patience=patience)

    def make(optimizer):  # theirs waits for one epoch more than its patience
        return lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.3, patience=patience - 1, threshold=0.0, eps=0.0)

    expected = theirs(make, 60, losses)
    assert len(set(expected)) > 2
    assert by_epoch(ours, 60, history) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("start", [0.01, 0.1, 1.0])
def test_warm_up_is_pytorchs_line_and_then_the_schedule_from_its_start(start):
    ours = build("cosine", LR, t_max=8, per="step", warmup_epochs=3, warmup_start=start)

    def make(optimizer):
        line = lr_scheduler.LinearLR(optimizer, start, 1.0, 3 * STEPS)
        cosine = lr_scheduler.CosineAnnealingLR(optimizer, 8 * STEPS)
        return lr_scheduler.SequentialLR(optimizer, [line, cosine], [3 * STEPS])

    assert by_step(ours, 11) == pytest.approx(theirs(make, 11 * STEPS), abs=1e-9)


ARGUMENTS = {
    "constant": {},
    "cosine": {"t_max": 5},
    "cosine_restarts": {"t_0": 2, "t_mult": 2},
    "plateau": {"metric": "test/loss", "patience": 1},
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_warms_up_and_then_starts_its_own_count(name):
    history = [{"test/loss": loss} for loss in (0.0, 5.0, 9.0, 8.0, 8.5, 7.0, 7.5, 7.6)]
    plain = build(name, LR, **ARGUMENTS[name])
    warm = build(name, LR, warmup_epochs=3, warmup_start=0.25, **ARGUMENTS[name])
    assert [warm(1, 0.0, []), warm(2, 0.5, history[:1])] == pytest.approx([LR * 0.25, LR * 0.625])
    assert warm(3, 1.0, history[:2]) == pytest.approx(LR)
    for epoch in range(1, 6):  # the losses of the warm-up, with the lowest of all, do not count
        assert warm(epoch + 3, 0.5, history[: epoch + 2]) == plain(epoch, 0.5, history[3 : epoch + 2])


def a_recipe(schedule, epochs=200):
    return Recipe.model_validate({
        "data": {"split": {"train": 100}},
        "model": {"name": "resnet", "stem": 8, "widths": [8], "blocks": [1]},
        "loss": {"name": "cross_entropy"},
        "optim": {"name": "sgd", "lr": LR},
        "schedule": schedule,
        "budget": {"epochs": epochs, "batch_size": 10},
    })  # fmt: skip


@pytest.mark.parametrize(
    ("schedule", "epochs", "quick"),
    [
        ({"name": "constant"}, 200, {}),
        ({"name": "cosine", "t_max": 195, "per": "step"}, 200, {"t_max": 19}),
        ({"name": "cosine_restarts", "t_0": 10, "t_mult": 2}, 200, {"t_0": 1}),
        ({"name": "cosine_restarts", "t_0": 5, "t_mult": 2}, 200, {"t_0": 1}),
        ({"name": "plateau", "metric": "test/loss", "patience": 25}, 200, {"patience": 2}),
        ({"name": "cosine", "t_max": 190, "warmup_epochs": 10}, 200, {"t_max": 19, "warmup_epochs": 1}),
        ({"name": "constant", "warmup_epochs": 11, "warmup_start": 0.2}, 200, {"warmup_epochs": 2}),
        ({"name": "constant", "warmup_epochs": 5}, 10, {"warmup_epochs": 0}),  # one epoch: nothing to warm up for
    ],
)
def test_a_quick_run_has_a_tenth_of_every_length(schedule, epochs, quick):
    recipe = a_recipe(schedule, epochs)
    found = adapt(recipe, "quick", 50_000)
    assert found.schedule == recipe.schedule.model_copy(update=quick)
    assert found.budget.epochs == epochs // 10
    assert adapt(recipe, "full", 50_000) == recipe
    assert adapt(recipe, "smoke", 50_000).schedule == recipe.schedule


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ({"name": "constant", "warmup_epochs": 200}, "leaves none of the budget's 200 epochs; give at most 199"),
        ({"name": "constant", "warmup_start": 0.5}, "needs warmup_epochs above 0; give warmup_epochs, or leave"),
        ({"name": "constant", "warmup_epochs": 5, "warmup_start": 0}, "greater than 0"),
        ({"name": "constant", "warmup_epochs": -1}, "greater than or equal to 0"),
        ({"name": "cosine_restarts"}, "t_0"),
        ({"name": "cosine_restarts", "t_0": 0}, "greater than or equal to 1"),
        ({"name": "cosine_restarts", "t_0": 5, "t_mult": 0}, "greater than or equal to 1"),
    ],
)
def test_lengths_that_make_no_schedule_are_refused(schedule, message):
    with pytest.raises(ValueError, match=message):
        a_recipe(schedule)
