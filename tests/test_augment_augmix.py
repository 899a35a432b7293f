"""AugMix on a batch equals the same chains on Pillow images and the same mix of tensors, given the same draws."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torchvision.transforms import Normalize
from torchvision.transforms import functional as TF

from repro.augment import ops
from repro.augment.augmix import ALL_OPS, SOME_OPS, AugMix, chains, magnitudes, mix
from repro.data import sample
from repro.data.batches import Scale
from repro.draws import generator

HALF = (0.5, 0.5, 0.5)
SCALE = Scale(HALF, HALF, torch.device("cpu"))


def moved(image, *place):
    return image.transform((32, 32), Image.Transform.AFFINE, place, resample=Image.Resampling.BILINEAR)


def whole(level, largest):
    return int(level * largest / 10)


def part(level, largest):
    return float(level) * largest / 10.0


#: each operation on one Pillow image, from its level and sign
PILLOW = {
    "autocontrast": lambda x, v, s: ImageOps.autocontrast(x),
    "equalize": lambda x, v, s: ImageOps.equalize(x),
    "posterize": lambda x, v, s: ImageOps.posterize(x, 4 - whole(v, 4)),
    "rotate": lambda x, v, s: x.rotate(s * whole(v, 30), resample=Image.Resampling.BILINEAR),
    "solarize": lambda x, v, s: ImageOps.solarize(x, 256 - whole(v, 256)),
    "shear_x": lambda x, v, s: moved(x, 1, s * part(v, 0.3), 0, 0, 1, 0),
    "shear_y": lambda x, v, s: moved(x, 1, 0, 0, s * part(v, 0.3), 1, 0),
    "translate_x": lambda x, v, s: moved(x, 1, 0, s * whole(v, 32 / 3), 0, 1, 0),
    "translate_y": lambda x, v, s: moved(x, 1, 0, 0, 0, 1, s * whole(v, 32 / 3)),
    "color": lambda x, v, s: ImageEnhance.Color(x).enhance(part(v, 1.8) + 0.1),
    "contrast": lambda x, v, s: ImageEnhance.Contrast(x).enhance(part(v, 1.8) + 0.1),
    "brightness": lambda x, v, s: ImageEnhance.Brightness(x).enhance(part(v, 1.8) + 0.1),
    "sharpness": lambda x, v, s: ImageEnhance.Sharpness(x).enhance(part(v, 1.8) + 0.1),
}


def tensor(images):
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def pillow(image, code, level, negative):
    """Run one chain on one HWC array."""
    x = Image.fromarray(image)
    for c, v, minus in zip(code, level, negative, strict=True):
        x = x if c == ops.IDENTITY else PILLOW[ops.OPS[c]](x, v, -1 if minus else 1)
    return np.asarray(x)


def drawn(augmix, rng_of, n):
    """Return the draws of `augmix` and, from the same stream, the levels and signs behind its magnitudes."""
    draws = augmix.draw(rng_of(), n)
    rng, steps = rng_of(), tuple(draws[0].shape)
    rng.integers(0, augmix.operations, steps)
    return draws, rng.uniform(0.1, augmix.severity, steps), rng.random(steps) > 0.5


@pytest.fixture(scope="module")
def images():
    return sample.load().x_train


@pytest.mark.parametrize("severity", [3, 10])
@pytest.mark.parametrize("name", ops.OPS[:ALL_OPS])
def test_each_operation_over_its_levels_is_pillows(images, name, severity):
    n = 600
    rng = np.random.default_rng(ops.CODE[name])
    code = np.full((n, 1, 1, 1), ops.CODE[name])
    level, negative = rng.uniform(0.1, severity, code.shape), rng.random(code.shape) > 0.5
    magnitude = torch.from_numpy(magnitudes(code, level, negative))
    got = chains(tensor(images[:n]), torch.from_numpy(code), magnitude)[:, 0, 0].permute(0, 2, 3, 1).numpy()
    flat = (a.reshape(n, 1) for a in (code, level, negative))
    want = np.stack([pillow(*one) for one in zip(images, *flat, strict=False)])
    assert np.count_nonzero(got != want) == 0


@pytest.mark.parametrize(
    ("all_ops", "depth", "severity"), [(True, None, 3), (False, None, 3), (True, 2, 10), (False, 1, 10)]
)
def test_random_chains_are_pillows(images, all_ops, depth, severity):
    n = 60
    augmix = AugMix(severity, depth=depth, all_ops=all_ops)
    (code, magnitude, *_), level, negative = drawn(augmix, lambda: generator(5, "augment", 1), n)
    got = chains(tensor(images[:n]), code, magnitude).permute(0, 1, 2, 4, 5, 3).numpy()
    for place in np.ndindex(*code.shape[:3]):
        want = pillow(images[place[0]], code[place].numpy(), level[place], negative[place])
        assert np.count_nonzero(got[place] != want) == 0, place


def test_the_mix_is_the_references(images):
    n = 40
    augmix = AugMix(all_ops=True)
    draws = augmix.draw(generator(7, "augment", 1), n)
    got = augmix(tensor(images[:n]), draws, SCALE)
    code, magnitude, weight, share = draws
    augmented = chains(tensor(images[:n]), code, magnitude)
    normalize = Normalize(HALF, HALF)

    def ready(image):
        return normalize(TF.to_tensor(Image.fromarray(image)))

    for i, view in np.ndindex(n, 2):
        total = torch.zeros(3, 32, 32)
        for chain in range(3):
            total += weight[i, view, chain] * ready(augmented[i, view, chain].permute(1, 2, 0).numpy())
        m = share[i, view]
        assert torch.equal(got[i, view], (1 - m) * ready(images[i]) + m * total)
    exact = (augmented.double() / 127.5 - 1) * weight.double()[..., None, None, None]
    m = share.double()[..., None, None, None]
    exact = (1 - m) * (tensor(images[:n]).double()[:, None] / 127.5 - 1) + m * exact.sum(2)
    assert (got - exact).abs().max() < 1e-6


def test_mixing_is_convex(images):
    x = tensor(images[:8])
    same = x[:, None, None].expand(8, 2, 3, 3, 32, 32)
    weight, share = torch.full((8, 2, 3), 1 / 3), torch.linspace(0, 1, 16).view(8, 2)
    got = mix(x, same, weight, share, SCALE)
    assert (got - SCALE(x)[:, None]).abs().max() < 1e-6  # of equal images: the image
    augmented = torch.zeros(8, 2, 3, 3, 32, 32, dtype=torch.uint8)
    assert torch.equal(mix(x, augmented, weight, torch.zeros(8, 2), SCALE)[:, 1], SCALE(x))  # share 0: the original
    assert torch.allclose(mix(x, augmented, weight, torch.ones(8, 2), SCALE), torch.tensor(-1.0))  # 1: the chains


def test_draws_have_augmixs_laws():
    n = 4000
    code, magnitude, weight, share = (d.numpy() for d in AugMix().draw(generator(0, "augment", 1), n))
    assert code.shape == magnitude.shape == (n, 2, 3, 3)
    depth = (code != ops.IDENTITY).sum(-1)
    assert (np.diff((code == ops.IDENTITY).astype(int), axis=-1) >= 0).all()  # nothing after a chain's end
    assert np.abs(np.bincount(depth.ravel(), minlength=4)[1:] / depth.size - 1 / 3).max() < 0.02
    counts = np.bincount(code[code != ops.IDENTITY])
    assert len(counts) == SOME_OPS
    assert np.abs(counts / counts.sum() - 1 / SOME_OPS).max() < 0.01
    assert np.abs(weight.sum(-1) - 1).max() < 1e-6
    # Dirichlet(1, 1, 1): mean 1/3, variance 1/18; Beta(1, 1): uniform.
    assert abs(weight.var() - 1 / 18) < 0.002
    assert abs(share.mean() - 0.5) < 0.02
    assert abs(share.var() - 1 / 12) < 0.004
    degrees = magnitude[code == ops.CODE["rotate"]]
    assert set(degrees) == set(range(-8, 9))  # int(3 degrees a level), levels below 3
    assert abs(degrees.mean()) < 0.2
    deep = AugMix(depth=4, all_ops=True, width=2, views=1).draw(generator(0, "augment", 1), 500)
    assert deep[0].shape == (500, 1, 2, 4)
    assert set(deep[0].unique().tolist()) == set(range(ALL_OPS))


def test_draws_are_a_function_of_seed_and_epoch():
    draws = [AugMix().draw(generator(seed, "augment", epoch), 50) for seed, epoch in [(0, 1), (0, 1), (0, 2)]]
    assert all(torch.equal(a, b) for a, b in zip(draws[0], draws[1], strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(draws[0], draws[2], strict=True))


def test_the_accelerators_path_gives_the_same_chains(images):
    code, magnitude, *_ = AugMix(all_ops=True).draw(generator(2, "augment", 1), 12)
    want = chains(tensor(images[:12]), code, magnitude)
    with ops.as_on_accelerators():
        assert torch.equal(chains(tensor(images[:12]), code, magnitude), want)


@pytest.mark.parametrize("arguments", [{"severity": 0}, {"severity": 11}, {"width": 0}, {"views": 0}, {"depth": 0}])
def test_arguments_without_meaning_are_refused(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        AugMix(**arguments)
