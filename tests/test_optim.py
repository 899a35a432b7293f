"""Optimizers: each against its update rule written out in float64, and with PyTorch's defaults."""

import inspect
import math
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from repro.run import optimizer_of
from repro.spec import training
from repro.spec.recipe import Recipe
from repro.train.optim import OPTIMIZERS, Adagrad, set_lr

STEPS = 50
RNG = np.random.default_rng(0)
A, B, START = RNG.normal(size=(6, 4)), RNG.normal(size=6), RNG.normal(size=4)


def sgd(g, s, t, lr, momentum=0.0, nesterov=False):
    s["b"] = g if t == 1 else momentum * s["b"] + g
    return lr * (g + momentum * s["b"] if nesterov else s["b"])


def moments(g, s, t, betas):
    for k, (name, value) in enumerate((("m", g), ("v", g * g))):
        s[name] = betas[k] * s.get(name, 0) + (1 - betas[k]) * value
    return s["m"] / (1 - betas[0] ** t), s["v"] / (1 - betas[1] ** t)


def adam(g, s, t, lr, betas=(0.9, 0.999), eps=1e-8):
    m, v = moments(g, s, t, betas)
    return lr * m / (np.sqrt(v) + eps)


def radam(g, s, t, lr, betas=(0.9, 0.999), eps=1e-8):
    m, _ = moments(g, s, t, betas)
    most = 2 / (1 - betas[1]) - 1
    rho = most - 2 * t * betas[1] ** t / (1 - betas[1] ** t)
    if rho <= 5:  # the variance is not yet tractable: plain momentum
        return lr * m
    rectified = math.sqrt((rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho))
    return lr * m * rectified * math.sqrt(1 - betas[1] ** t) / (np.sqrt(s["v"]) + eps)


def adagrad(g, s, t, lr, lr_decay=0.0, eps=1e-10):
    s["sum"] = s.get("sum", 0) + g * g
    return lr / (1 + (t - 1) * lr_decay) * g / (np.sqrt(s["sum"]) + eps)


def rmsprop(g, s, t, lr, alpha=0.99, eps=1e-8, momentum=0.0, centered=False):
    s["v"] = alpha * s.get("v", 0) + (1 - alpha) * g * g
    s["g"] = alpha * s.get("g", 0) + (1 - alpha) * g
    scaled = g / (np.sqrt(s["v"] - s["g"] ** 2 if centered else s["v"]) + eps)
    s["b"] = momentum * s.get("b", 0) + scaled
    return lr * s["b"]


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("rate", [float, torch.tensor])
def test_adagrad_without_a_count_makes_the_same_steps(decay, rate):
    """In the same bits, also where its rate lies on the device, as a captured step has it."""
    start, sides = torch.from_numpy(START).float(), []
    for make, lr in ((torch.optim.Adagrad, float), (Adagrad, rate)):
        weight = torch.nn.Parameter(start.clone())
        optimizer = make([weight], lr=0.1, weight_decay=decay, foreach=True)
        for step in range(STEPS):
            optimizer.param_groups[0]["lr"] = lr(0.125 / (1 + step))
            optimizer.zero_grad()
            ((torch.from_numpy(A).float() @ weight - torch.from_numpy(B).float()) ** 2).sum().backward()
            optimizer.step()
        sides.append(weight.detach())
    assert torch.equal(*sides)
    assert not torch.equal(sides[0], start)


RULES = {"sgd": sgd, "adam": adam, "radam": radam, "adagrad": adagrad, "rmsprop": rmsprop}
CASES = [
    {"name": "sgd", "lr": 0.02},
    {"name": "sgd", "lr": 0.02, "momentum": 0.9, "weight_decay": 0.01},
    {"name": "sgd", "lr": 0.02, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True},
    {"name": "adam", "lr": 0.05},
    {"name": "adam", "lr": 0.05, "betas": [0.8, 0.95], "eps": 1e-3, "weight_decay": 0.1},
    {"name": "radam", "lr": 0.05},
    {"name": "radam", "lr": 0.05, "betas": [0.8, 0.95], "eps": 1e-3, "weight_decay": 0.1},
    {"name": "adagrad", "lr": 0.1},
    {"name": "adagrad", "lr": 0.1, "lr_decay": 0.01, "eps": 1e-3, "weight_decay": 0.1},
    {"name": "rmsprop", "lr": 0.01},
    {"name": "rmsprop", "lr": 0.01, "alpha": 0.9, "eps": 1e-3, "momentum": 0.5, "weight_decay": 0.1},
    {"name": "rmsprop", "lr": 0.01, "momentum": 0.5, "centered": True},
]


def recipe(optim):
    return Recipe.model_validate({
        "data": {"split": {"train": 100}},
        "model": {"name": "resnet", "stem": 8, "widths": [8], "blocks": [1]},
        "loss": {"name": "cross_entropy"},
        "optim": optim,
        "schedule": {"name": "constant"},
        "budget": {"epochs": 1, "batch_size": 10},
    })  # fmt: skip


def gradient(x):
    """The gradient of |A x - b|^2 / 2 + sum(log(cosh(x)))."""
    return A.T @ (A @ x - B) + np.tanh(x)


def rate(step, lr):
    return lr * (1 - step / (2 * STEPS))  # a schedule sets the rate before each step


@pytest.mark.parametrize("optim", CASES, ids=lambda optim: "-".join(map(str, optim.values())))
def test_fifty_steps_are_the_rules(optim):
    options = {key: value for key, value in optim.items() if key not in ("name", "lr", "weight_decay")}
    expected, state, path = START.copy(), {}, []
    for step in range(STEPS):
        g = gradient(expected) + optim.get("weight_decay", 0.0) * expected
        expected = expected - RULES[optim["name"]](g, state, step + 1, rate(step, optim["lr"]), **options)
        path.append(expected)
    parts = [torch.tensor(part, requires_grad=True) for part in (START[:1], START[1:])]
    ours = optimizer_of(recipe(optim))(parts)
    for step in range(STEPS):
        ours.param_groups[0]["lr"] = rate(step, optim["lr"])
        g = torch.tensor(gradient(np.concatenate([part.detach().numpy() for part in parts])))
        parts[0].grad, parts[1].grad = g[:1].clone(), g[1:].clone()
        ours.step()
        found = np.concatenate([part.detach().numpy() for part in parts])
        np.testing.assert_allclose(found, path[step], rtol=1e-9, atol=1e-12)
    assert np.linalg.norm(gradient(path[-1])) < np.linalg.norm(gradient(START))


MODELS = {get_args(m.model_fields["name"].annotation)[0]: m for m in get_args(get_args(training.Optim)[0])}


def test_every_optimizer_has_a_spec_a_rule_and_a_maker():
    assert set(MODELS) == set(OPTIMIZERS) == set(RULES)


@pytest.mark.parametrize("name", MODELS)
def test_defaults_are_pytorchs(name):
    theirs = inspect.signature(OPTIMIZERS[name][0]).parameters
    own = MODELS[name].model_fields.keys() - {"name", "lr", "recreate_each_epoch"}
    assert own
    assert {key: MODELS[name].model_fields[key].default for key in own} == {key: theirs[key].default for key in own}


@pytest.mark.parametrize(
    "optim",
    [
        {"name": "radam"},
        {"name": "radam", "lr": 0.1, "betas": [0.9, 1.0]},
        {"name": "adam", "lr": 0.1, "betas": [1.0, 0.9]},
        {"name": "adagrad", "lr": 0.1, "lr_decay": -1},
        {"name": "adagrad", "lr": 0.1, "momentum": 0.9},
        {"name": "rmsprop", "lr": 0.1, "alpha": 1},
        {"name": "rmsprop", "lr": 0.1, "centered": 1},
        {"name": "rmsprop", "lr": 0.1, "eps": 0},
    ],
)
def test_what_pytorch_would_refuse_or_ignore_is_refused_first(optim):
    with pytest.raises(ValueError, match="validation error"):
        TypeAdapter(training.Optim).validate_python(optim)


@pytest.mark.parametrize(("is_cuda", "rate"), [(False, 0.1), (True, float(np.float32(0.1)))])
def test_on_cuda_a_rate_is_what_a_captured_step_reads(is_cuda, rate):
    groups = [{"params": [SimpleNamespace(is_cuda=is_cuda)], "lr": 0.0} for _ in range(2)]
    set_lr(SimpleNamespace(param_groups=groups), 0.1)
    assert [group["lr"] for group in groups] == [rate, rate]
