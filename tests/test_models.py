"""Networks: shapes, counts, initial weights."""

from typing import get_args

import numpy as np
import pytest
import torch
from torch import nn

from repro.draws import generator
from repro.models.init import SCHEMES, initialise
from repro.models.norm import BatchNorm2d, count_batches
from repro.models.resnet import Block, ResNet
from repro.models.vgg import VGG
from repro.run import build_model
from repro.spec import counting, network
from repro.spec.loading import load_all

VGG_A = {"widths": (64, 128, 256, 512, 512), "convs": (1, 1, 2, 2, 2), "hidden": (512, 512)}
SMALL = {"stem": 8, "widths": (8, 16, 16), "blocks": (1, 2, 1)}
REPORTS = load_all()
MODELS = {f"{r.id}/{e.id}": e.recipe.model for r in REPORTS.values() for e in r.experiments.values()} | {
    "vgg-a": network.VGG(name="vgg", **VGG_A),
    "vgg-a-bn": network.VGG(name="vgg", **VGG_A, batch_norm=True),
    "vgg of two stages": network.VGG(name="vgg", widths=(4, 6), convs=(2, 1), hidden=(5,)),
    "vgg of one linear layer": network.VGG(name="vgg", widths=(4,) * 5, convs=(1,) * 5, hidden=()),
    "7x7 stem": network.ResNet(name="resnet", **SMALL, stem_kernel=7),
    "max-pool": network.ResNet(name="resnet", **SMALL, max_pool=True),
    "imagenet stem": network.ResNet(name="resnet", **SMALL, stem_kernel=7, max_pool=True),
}


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


def test_the_imagenet_stem_is_conv_norm_relu_pool():
    torch.manual_seed(0)
    model = ResNet(4, (4,), (1,), stem_kernel=7, max_pool=True).eval()
    x = torch.randn(2, 3, 32, 32)
    stem = nn.functional.conv2d(x, model.conv.weight, stride=2, padding=3)
    stem = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)(torch.relu(model.bn(stem)))
    assert stem.shape == (2, 4, 8, 8)
    assert torch.equal(model(x), model.linear(model.blocks(stem).mean((2, 3))))


@pytest.mark.parametrize("momentum", [0.1, 0.0])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_batch_norm_is_pytorchs_bit_for_bit_but_for_when_it_counts(precision, momentum):
    torch.manual_seed(0)
    ours, theirs = BatchNorm2d(6, momentum=momentum), nn.BatchNorm2d(6, momentum=momentum)
    assert repr(ours) == repr(theirs)
    for training in (True, True, False, True):
        x = torch.randn(4, 6, 5, 5).to(precision, memory_format=torch.channels_last) * 3 + 1
        inputs = [x.clone().requires_grad_(), x.clone().requires_grad_()]
        outputs = [norm.train(training)(value) for norm, value in zip((ours, theirs), inputs, strict=True)]
        for out in outputs:
            out.square().sum().backward()
        assert torch.equal(*outputs)
        assert torch.equal(inputs[0].grad, inputs[1].grad)
        assert all(torch.equal(a.grad, b.grad) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    assert int(ours.num_batches_tracked) == 0
    count_batches(nn.Sequential(nn.Conv2d(1, 1, 1), ours), 3)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True))


def test_no_network_counts_batches_in_its_forward_pass():
    for name, spec in MODELS.items():
        with torch.device("meta"):
            model = build_model(spec)
        norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
        assert all(isinstance(module, BatchNorm2d) for module in norms), name


@pytest.mark.parametrize("batch_norm", [False, True])
def test_vgg_is_the_stack_of_its_layers(batch_norm):
    torch.manual_seed(0)
    model = VGG((4, 6), (1, 2), (5, 7), batch_norm)
    stack = []
    for width_in, width, last in ((3, 4, True), (4, 6, False), (6, 6, True)):
        norm = [nn.BatchNorm2d(width)] if batch_norm else []
        stack += [nn.Conv2d(width_in, width, 3, padding=1), *norm, nn.ReLU(), *([nn.MaxPool2d(2, 2)] if last else [])]
    stack += [nn.Flatten(), nn.Linear(6 * 8 * 8, 5), nn.ReLU(), nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 10)]
    stack = nn.Sequential(*stack)
    x = torch.randn(4, 3, 32, 32)
    stack.load_state_dict(dict(zip(stack.state_dict(), model.state_dict().values(), strict=True)))
    assert torch.equal(model(x), stack(x))  # training mode
    assert torch.equal(model.eval()(x), stack.eval()(x))


def built(scheme, seed=0):
    model = ResNet(32, (32, 64), (1, 1))
    initialise(model, scheme, generator(seed, "init"))
    return model


def default(fan_in, fan_out):
    return 1 / np.sqrt(3 * fan_in)


def fan_in_std(fan_in, fan_out):
    return np.sqrt(2 / fan_in)


def fan_out_std(fan_in, fan_out):
    return np.sqrt(2 / fan_out)


def xavier(fan_in, fan_out):
    return np.sqrt(2 / (fan_in + fan_out))


def small(fan_in, fan_out):
    return 1e-3


# name: (spread of convolutions, of linear layers, biases are zero)
SPREADS = {
    "default": (default, default, False),
    "kaiming_fan_in": (fan_in_std, fan_in_std, False),
    "kaiming_fan_out": (fan_out_std, fan_out_std, False),
    "kaiming_fan_in_linear_1e-3": (fan_in_std, small, True),
    "kaiming_fan_out_linear_1e-3": (fan_out_std, small, True),
    "xavier": (xavier, xavier, True),
    "linear_normal": (default, small, False),
}


def test_every_scheme_is_known_to_recipes_and_to_these_tests():
    assert set(SPREADS) == set(SCHEMES) == set(get_args(network.Init))
    with pytest.raises(ValueError, match="unknown init 'zeros'"):
        initialise(nn.Linear(1, 1), "zeros", generator(0, "init"))


@pytest.mark.parametrize("scheme", SPREADS)
def test_initial_spread_is_the_schemes(scheme):
    conv, linear, zero_bias = SPREADS[scheme]
    model = VGG((24, 48), (1, 2), (96, 64), batch_norm=True)
    initialise(model, scheme, generator(0, "init"))
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 6
    for module in layers:
        w, spread = module.weight.detach().numpy(), conv if isinstance(module, nn.Conv2d) else linear
        fan_in, expected = w[0].size, spread(w[0].size, w[:, 0].size)
        assert w.std() == pytest.approx(expected, rel=6 / np.sqrt(2 * w.size))
        assert abs(w.mean()) < 6 * expected / np.sqrt(w.size)
        assert (abs(w).max() <= 1 / np.sqrt(fan_in)) == (spread in (default, small))  # uniform, or far inside the bound
        bias = abs(module.bias.detach().numpy())
        assert bias.max() == 0 if zero_bias else 0 < bias.max() <= 1 / np.sqrt(fan_in)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all((m.weight == 1).all() and (m.bias == 0).all() for m in norms)


@pytest.mark.parametrize("scheme", SPREADS)
def test_weights_are_drawn_on_the_host_in_float32_and_by_nothing_else(scheme):
    ours = [p.detach().numpy() for p in built(scheme).parameters()]
    assert {w.dtype for w in ours} == {np.dtype("float32")}
    model, state = ResNet(32, (32, 64), (1, 1)), torch.get_rng_state()
    with torch.device("meta"):  # whatever the device in force, the draws are the host's
        initialise(model, scheme, generator(0, "init"))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(np.array_equal(a, b.detach().numpy()) for a, b in zip(ours, model.parameters(), strict=True))


# The first weight of each kind for seed 0: records rest on them.
@pytest.mark.parametrize(
    ("scheme", "conv", "linear"),
    [
        ("default", -0.100346223, -0.0772233307),
        ("kaiming_fan_in", 0.0536982268, -0.153495297),
        ("kaiming_fan_out", 0.0164416581, -0.388315797),
        ("kaiming_fan_out_linear_1e-3", 0.0164416581, -0.000868300616),
        ("xavier", 0.0157212317, -0.14274773),
        ("linear_normal", -0.100346223, 0.000248508091),
    ],
)
def test_draws_are_pinned(scheme, conv, linear):
    model = built(scheme)
    found = [model.conv.weight.flatten()[0].item(), model.linear.weight.flatten()[0].item()]
    assert found == pytest.approx([conv, linear], rel=1e-6)


def test_initial_weights_depend_on_the_seed_alone():
    same = [p.detach().numpy() for p in built("default").parameters()]
    torch.manual_seed(123)  # PyTorch's own generator must not matter
    assert all(np.array_equal(a, b.detach().numpy()) for a, b in zip(same, built("default").parameters(), strict=True))
    assert not np.array_equal(same[0], built("default", 1).conv.weight.detach().numpy())
