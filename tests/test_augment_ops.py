"""Every operation equals Pillow's, value for value, on real images, images of one colour and noise."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from repro.augment import ops, warp
from repro.data import sample

N = 600
AFFINE = Image.Transform.AFFINE
BILINEAR, NEAREST = Image.Resampling.BILINEAR, Image.Resampling.NEAREST
FACTORS = [*np.linspace(0.1, 1.9, 13), 0.0, 1.0, 0.28, 0.64, 1e-7]
DEGREES = [*range(-30, 31), 45, 90, 180]
SHEARS = [*np.linspace(-0.3, 0.3, 40), 0.0, 1.0, -1.0]

#: how Pillow is asked, and the magnitudes; geometric operations follow with their matrices
POINTWISE = {
    "autocontrast": (lambda image, _: ImageOps.autocontrast(image), [0]),
    "equalize": (lambda image, _: ImageOps.equalize(image), [0]),
    "posterize": (lambda image, bits: ImageOps.posterize(image, int(bits)), range(1, 9)),
    "solarize": (ImageOps.solarize, [0, 1, 113.33333587646484, 128, 170.5, 203, 230.4, 255, 256]),
    "invert": (lambda image, _: ImageOps.invert(image), [0]),
    "color": (lambda image, factor: ImageEnhance.Color(image).enhance(factor), FACTORS),
    "contrast": (lambda image, factor: ImageEnhance.Contrast(image).enhance(factor), FACTORS),
    "brightness": (lambda image, factor: ImageEnhance.Brightness(image).enhance(factor), FACTORS),
    "sharpness": (lambda image, factor: ImageEnhance.Sharpness(image).enhance(factor), FACTORS),
}


def hard():
    """Images on which tables degenerate: one colour, two colours, few pixels off, ramps, noise."""
    rng = np.random.default_rng(0)
    flat = [np.full((32, 32, 3), value, np.uint8) for value in (0, 1, 127, 255)]
    two = np.where(rng.random((8, 32, 32, 3)) < 0.5, 3, 250).astype(np.uint8)
    few = [np.where(np.arange(1024).reshape(32, 32, 1) < k, 9, 200).repeat(3, 2).astype(np.uint8)
           for k in (1, 254, 255, 256, 500, 769, 770)]  # fmt: skip
    ramp = (np.arange(3072) % 256).astype(np.uint8).reshape(1, 32, 32, 3)
    pairs = np.stack([rng.integers(a, b, (32, 32, 3), endpoint=True)
                      for a, b in np.sort(rng.integers(0, 256, (60, 2)), axis=1)]).astype(np.uint8)  # fmt: skip
    return np.concatenate([np.stack(flat), two, np.stack(few), ramp, pairs])


@pytest.fixture(scope="module")
def images():
    return np.concatenate([sample.load().x_train[:N], hard()])


def tensor(images):
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def ours(images, names, magnitude, matrix=None, resample=warp.bilinear):
    """Apply one named operation an image (or the same to all); return HWC uint8."""
    n = len(images)
    code = torch.tensor([ops.CODE[name] for name in ([names] * n if isinstance(names, str) else names)])
    matrix = torch.zeros(n, 6, dtype=torch.long) if matrix is None else torch.from_numpy(matrix)
    magnitude = torch.from_numpy(np.broadcast_to(np.float64(magnitude), (n,)).copy())
    out = ops.apply(tensor(images), code, magnitude, matrix, resample)
    return out.permute(0, 2, 3, 1).numpy()


def differing(images, got, pillow, magnitudes):
    """Count the values that differ from what Pillow makes of each image and magnitude."""
    want = [np.asarray(pillow(Image.fromarray(x), m)) for x, m in zip(images, magnitudes, strict=True)]
    return int(np.count_nonzero(got != np.stack(want)))


def cycled(values, n, kind=float):
    return [kind(value) for value in np.resize(list(values), n)]


@pytest.mark.parametrize("name", POINTWISE)
def test_pointwise_operations_are_pillows(images, name):
    pillow, magnitudes = POINTWISE[name]
    turns = [cycled(np.roll(list(magnitudes), turn), len(images)) for turn in range(2)]
    for drawn in turns if len(magnitudes) > 1 else turns[:1]:
        assert differing(images, ours(images, name, drawn), pillow, drawn) == 0


@pytest.mark.parametrize("resample", ["bilinear", "nearest"])
@pytest.mark.parametrize("name", ["rotate", "shear_x", "shear_y"])
def test_warps_are_pillows(images, name, resample):
    drawn = cycled({"rotate": DEGREES}.get(name, SHEARS), len(images))
    matrices = np.array([matrix(name, m) for m in drawn])
    kind = {"bilinear": BILINEAR, "nearest": NEAREST}[resample]
    if resample == "nearest":
        got = ours(images, name, 0, warp.fixed_point(matrices), warp.nearest)
    else:
        got = ours(images, name, 0, matrices)

    def pillow(image, m):
        if name == "rotate":
            return image.rotate(m, resample=kind)
        return image.transform((32, 32), AFFINE, matrix(name, m), resample=kind)

    assert differing(images, got, pillow, drawn) == 0


def matrix(name, magnitude):
    return {
        "rotate": lambda m: warp.rotation(m),
        "shear_x": lambda m: [1, m, 0, 0, 1, 0],
        "shear_y": lambda m: [1, 0, 0, m, 1, 0],
    }[name](magnitude)


@pytest.mark.parametrize("kind", [BILINEAR, NEAREST])
@pytest.mark.parametrize("name", ["translate_x", "translate_y"])
def test_translations_are_pillows_in_both_resamplings(images, name, kind):
    drawn = cycled(range(-33, 34), len(images), int)

    def pillow(image, m):
        place = (1, 0, m, 0, 1, 0) if name == "translate_x" else (1, 0, 0, 0, 1, m)
        return image.transform((32, 32), AFFINE, place, resample=kind)

    assert differing(images, ours(images, name, drawn), pillow, drawn) == 0


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(-2, 2, width=64), min_size=4, max_size=4), st.lists(st.floats(-40, 40), min_size=2, max_size=2)
)
def test_bilinear_reads_any_matrix_as_pillow(turn, move):
    image = sample.load().x_train[:1]
    (a, b, d, e), (c, f) = turn, move
    drawn = [a, b, c, d, e, f]
    got = ours(image, "rotate", 0, np.array([drawn]))
    want = Image.fromarray(image[0]).transform((32, 32), AFFINE, drawn, resample=BILINEAR)
    assert np.array_equal(got[0], np.asarray(want))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["color", "contrast", "brightness", "sharpness"]), st.floats(0, 4))
def test_enhancers_take_any_factor(name, factor):
    image = sample.load().x_train[7:9]
    assert differing(image, ours(image, name, factor), POINTWISE[name][0], [factor] * 2) == 0


def test_a_mixed_batch_is_the_same_on_subsets_and_whole(images):
    rng = np.random.default_rng(1)
    names = [ops.OPS[i] for i in rng.integers(0, len(ops.OPS), len(images))]
    magnitude = np.array([{"posterize": 4, "solarize": 99, "translate_x": -7, "translate_y": 5}.get(n, 1.37)
                          for n in names])  # fmt: skip
    matrices = np.array([matrix(n, 0.2) if n in ops.WARPED else [1, 0, 0, 0, 1, 0] for n in names])
    subsets = ours(images, names, magnitude, matrices)
    with ops.as_on_accelerators():
        assert np.array_equal(subsets, ours(images, names, magnitude, matrices))
    for i in rng.integers(0, len(images), 20):
        alone = ours(images[i : i + 1], names[i], magnitude[i], matrices[i : i + 1])
        assert np.array_equal(alone[0], subsets[i])


def test_identity_leaves_images_alone_and_inputs_are_not_written_to(images):
    before = images.copy()
    x = tensor(images)  # channels_last in memory
    n = len(images)
    code = torch.full((n,), ops.IDENTITY)
    out = ops.apply(x, code, torch.zeros(n), torch.zeros(n, 6), warp.bilinear)
    assert torch.equal(out, x)
    ours(images, "invert", 0)
    assert np.array_equal(images, before)


def test_empty_batch_is_an_empty_batch():
    assert ours(np.zeros((0, 32, 32, 3), np.uint8), "equalize", np.zeros(0)).shape == (0, 32, 32, 3)
