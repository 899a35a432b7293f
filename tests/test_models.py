"""Networks: shapes, counts, initial weights."""

import numpy as np
import pytest
import torch
from torch import nn

from repro.draws import generator
from repro.models.init import initialise
from repro.models.resnet import Block, ResNet
from repro.run import build_model
from repro.spec import counting
from repro.spec.loading import load_all

REPORTS = load_all()
MODELS = {f"{r.id}/{e.id}": e.recipe.model for r in REPORTS.values() for e in r.experiments.values()}


@pytest.mark.parametrize("name", MODELS)
def test_every_layer_has_the_closed_forms_shape_and_parameters(name):
    spec = MODELS[name]
    with torch.device("meta"):
        model = build_model(spec)
    seen = []

    def note(module, _inputs, out):
        seen.append((type(module).__name__, tuple(out.shape[1:]), sum(p.numel() for p in module.parameters())))

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.Linear):
            module.register_forward_hook(note)
    model(torch.empty(2, 3, 32, 32, device="meta"))
    closed = [layer for layer in counting.layers(spec) if not layer.name.startswith("BasicBlock")]
    assert [s for _, s, _ in seen] == [tuple(layer.shape) for layer in closed]
    assert [n for _, _, n in seen] == [layer.parameters for layer in closed]
    assert [k for k, _, _ in seen] == [layer.name.split("-")[0] for layer in closed]


def test_block_is_the_residual_formula():
    torch.manual_seed(0)
    block = Block(4, 8, 2, "relu").eval()
    x = torch.randn(2, 4, 8, 8)
    inner = block.bn2(block.conv2(torch.relu(block.bn1(block.conv1(x)))))
    assert torch.allclose(block(x), torch.relu(inner + block.shortcut(x)))
    same = Block(4, 4, 1, "elu").eval()
    assert same.shortcut is None
    inner = same.bn2(same.conv2(nn.functional.elu(same.bn1(same.conv1(x)))))
    assert torch.allclose(same(x), nn.functional.elu(inner + x))


def built(scheme, seed=0):
    model = ResNet(32, (32, 64), (1, 1))
    initialise(model, scheme, generator(seed, "init"))
    return model


@pytest.mark.parametrize(
    ("scheme", "std"),
    [
        ("default", lambda fan_in, fan_out: 1 / np.sqrt(3 * fan_in)),
        ("kaiming_fan_in", lambda fan_in, fan_out: np.sqrt(2 / fan_in)),
        ("kaiming_fan_out_linear_1e-3", lambda fan_in, fan_out: np.sqrt(2 / fan_out)),
    ],
)
def test_initial_spread_is_the_schemes(scheme, std):
    for module in built(scheme).modules():
        if isinstance(module, nn.Conv2d):
            w = module.weight.detach().numpy()
            expected = std(w[0].size, w[:, 0].size)
            assert w.std() == pytest.approx(expected, rel=6 / np.sqrt(2 * w.size))
            assert abs(w.mean()) < 6 * expected / np.sqrt(w.size)
            if scheme == "default":
                assert abs(w).max() <= 1 / np.sqrt(w[0].size)
    linear = built(scheme).linear
    if scheme == "kaiming_fan_out_linear_1e-3":
        assert linear.weight.std().item() == pytest.approx(1e-3, rel=0.15)
        assert not linear.bias.any()
    else:
        assert 0 < abs(linear.bias).max() <= 1 / 8


def test_initial_weights_depend_on_the_seed_alone():
    same = [p.detach().numpy() for p in built("default").parameters()]
    torch.manual_seed(123)  # PyTorch's own generator must not matter
    assert all(np.array_equal(a, b.detach().numpy()) for a, b in zip(same, built("default").parameters(), strict=True))
    assert not np.array_equal(same[0], built("default", 1).conv.weight.detach().numpy())
