"""Padded channels change nothing: exactly zero after training, the rest equal to the unpadded network's in float64."""

import copy

import pytest
import torch
from torch import nn

from repro.models import padding
from repro.models.resnet import ACTIVATIONS, ResNet
from repro.run import build_padded, networks
from repro.spec import recipe as spec
from repro.train.optim import maker

ARGUMENTS = {"stem": 10, "widths": (10, 20), "blocks": (1, 1)}
OPTIMIZERS = {
    "sgd": {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4, "nesterov": True},
    "adam": {"lr": 1e-2},
    "radam": {"lr": 1e-2},
    "adagrad": {"lr": 1e-2},
    "rmsprop": {"lr": 1e-3},
}


def pair(activation="relu"):
    """A network of odd widths and the same one with padded channels, in float64."""
    torch.manual_seed(0)
    small = ResNet(**ARGUMENTS, activation=activation).double()
    wide = padding.fill(ResNet(**padding.widened(ARGUMENTS), activation=activation).double(), small)
    return small, wide


def train(model, optimizer, steps=30):
    rng = torch.Generator().manual_seed(1)
    losses = []
    for _ in range(steps):
        x = torch.randn(8, 3, 16, 16, generator=rng, dtype=torch.float64)
        y = torch.randint(10, (8,), generator=rng)
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def added(model, small):
    """The padded parts of a network's weights and biases but the batch norms' weights, which nothing reads."""
    norms = {name.removesuffix("running_var") + "weight" for name in model.state_dict() if "running_var" in name}
    for name, value in model.named_parameters():
        rest = value.detach().clone()
        rest[tuple(slice(0, n) for n in small[name])] = 0
        if name not in norms:
            yield name, rest


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_is_the_same_and_padded_weights_stay_exactly_zero(name):
    small, wide = pair()
    make = maker(name, **OPTIMIZERS[name])
    first, second = make(small.parameters()), make(wide.parameters())
    ours, theirs = train(small, first), train(wide, second)
    assert ours == pytest.approx(theirs, rel=1e-11)
    assert ours[-1] != pytest.approx(ours[0], rel=1e-3)  # something was learnt or lost
    shapes = padding.shapes(small)
    for key, value in padding.cut_state(wide.state_dict(), shapes).items():
        torch.testing.assert_close(value, small.state_dict()[key], rtol=1e-9, atol=1e-12)
    for key, rest in added(wide, shapes):
        assert rest.count_nonzero() == 0, key
    order = [value.shape for value in small.parameters()]
    cut = padding.move_moments(second.state_dict(), order, padding.cut)
    for number, moments in first.state_dict()["state"].items():
        for key, value in moments.items():
            torch.testing.assert_close(cut["state"][number][key], value, rtol=1e-8, atol=1e-14)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_keeps_them_at_zero(activation):
    assert ACTIVATIONS[activation](torch.zeros(1)) == 0
    small, wide = pair(activation)
    make = maker("sgd", **OPTIMIZERS["sgd"])
    assert train(small, make(small.parameters()), 5) == pytest.approx(train(wide, make(wide.parameters()), 5))


def test_a_checkpoint_cut_and_grown_again_goes_on_as_if_nothing_was():
    small, wide = pair()
    make = maker("adam", **OPTIMIZERS["adam"])
    optimizer = make(wide.parameters())
    train(wide, optimizer, 5)
    shapes, order = padding.shapes(small), [value.shape for value in small.parameters()]
    kept = padding.cut_state(wide.state_dict(), shapes)
    moments = padding.move_moments(copy.deepcopy(optimizer.state_dict()), order, padding.cut)
    again = padding.fill(ResNet(**padding.widened(ARGUMENTS)).double(), small)
    again.load_state_dict(padding.grow_state(kept, padding.shapes(again)))
    resumed = make(again.parameters())
    wide_order = [value.shape for value in again.parameters()]
    resumed.load_state_dict(padding.move_moments(moments, wide_order, padding.grow))
    assert train(again, resumed, 5) == train(wide, optimizer, 5)


def test_a_tested_network_gives_the_same_logits():
    small, wide = pair()
    make = maker("sgd", **OPTIMIZERS["sgd"])
    train(small, make(small.parameters()), 3)
    train(wide, make(wide.parameters()), 3)
    x = torch.randn(4, 3, 16, 16, dtype=torch.float64)
    torch.testing.assert_close(small.eval()(x), wide.eval()(x), rtol=1e-9, atol=1e-12)


def test_widths_are_rounded_up_and_other_networks_left_alone():
    assert [padding.padded(n) for n in (3, 8, 42, 84, 156, 168, 350)] == [8, 8, 48, 88, 160, 168, 352]
    assert padding.widened({"stem": 64, "widths": (32, 96, 156, 350)})["widths"] == (32, 96, 160, 352)
    assert padding.widened({"batch_norm": True}) == {"batch_norm": True}


def test_networks_of_fewer_than_eight_channels_are_padded_in_float32_too():
    """Their gradients in channels_last, which PyTorch gets wrong or dies of where they are not, as the plain ones."""
    model = spec.ResNet(name="resnet", stem=4, widths=(4, 6), blocks=(1, 1))
    wide, own = build_padded(model, 0, "fp32", pad=False)
    assert wide.conv.weight.shape[0] == 8 > own["conv.weight"][0]
    plain = networks.build_model(model)
    plain.load_state_dict(padding.cut_state(wide.state_dict(), own))
    x, y = torch.randn(8, 3, 16, 16), torch.arange(8)
    for network, form in ((plain, torch.contiguous_format), (wide, torch.channels_last)):
        network.to(memory_format=form)
        nn.functional.cross_entropy(network(x.contiguous(memory_format=form)), y).backward()
    for (name, one), other in zip(plain.named_parameters(), wide.parameters(), strict=True):
        torch.testing.assert_close(one.grad, padding.cut(other.grad, own[name]), rtol=1e-4, atol=1e-5)
    assert build_padded(model.model_copy(update={"stem": 9, "widths": (9, 19)}), 0, "fp32")[1] is None
