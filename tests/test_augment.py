"""Augmentation equals Pillow and torchvision, value for value, given the same draws."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, Normalize
from torchvision.transforms import functional as TF

from repro import augment
from repro.augment.basic import coefficients
from repro.data import sample
from repro.data.batches import Resident, Scale
from repro.draws import generator

N = 600
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def images():
    data = sample.load()
    return data.x_train[:N], data.y_train[:N]


def ours(images, steps, drawn=None):
    """Apply a pipeline to the images; return (result HWC uint8, draws)."""
    pipeline = augment.build(steps)
    drawn = drawn or pipeline.draw(generator(3, "augment", 1), N)
    out = Resident(*images, CPU).images(torch.arange(N), pipeline.sources(drawn))
    return out.permute(0, 2, 3, 1).numpy(), [d.numpy() for d in drawn]


def crop(image, dy, dx, pad):
    return TF.crop(TF.pad(image, pad, fill=0), int(dy), int(dx), 32, 32)


def angles(degrees):
    """The angles behind the rotation draws of `ours`, from the same stream."""
    return generator(3, "augment", 1).uniform(-degrees, degrees, N)


@pytest.mark.parametrize("pad", [2, 4])
def test_crop_is_torchvisions(images, pad):
    got, (d,) = ours(images, [{"name": "crop", "pad": pad}])
    want = [np.asarray(crop(Image.fromarray(x), *d[i], pad)) for i, x in enumerate(images[0])]
    assert np.count_nonzero(got != np.stack(want)) == 0
    assert d.min() == 0
    assert d.max() == 2 * pad


def test_flip_is_pillows(images):
    got, (d,) = ours(images, [{"name": "flip", "p": 0.5}])
    want = [x[:, ::-1] if d[i, 0] else x for i, x in enumerate(images[0])]
    mirrored = [np.asarray(TF.hflip(Image.fromarray(x))) for x in images[0][:20]]
    assert np.array_equal(images[0][:20, :, ::-1], np.stack(mirrored))
    assert np.count_nonzero(got != np.stack(want)) == 0
    assert abs(d.mean() - 0.5) < 4 * 0.5 / N**0.5


@pytest.mark.parametrize("degrees", [5, 30, 180])
def test_rotation_is_torchvisions(images, degrees):
    got, _ = ours(images, [{"name": "rotate", "degrees": degrees}])
    want = [
        np.asarray(TF.rotate(Image.fromarray(x), float(a), InterpolationMode.NEAREST, fill=0))
        for x, a in zip(images[0], angles(degrees), strict=True)
    ]
    assert np.count_nonzero(got != np.stack(want)) == 0


def test_rotation_by_special_angles_is_pillows(images):
    special = np.array([0.0, 90.0, 180.0, 270.0, -90.0, 45.0, 1e-7, 359.999])
    drawn = [torch.from_numpy(coefficients(np.resize(special, N)).astype(np.int32))]
    got, _ = ours(images, [{"name": "rotate", "degrees": 180}], drawn)
    want = [
        np.asarray(Image.fromarray(x).rotate(float(a))) for x, a in zip(images[0], np.resize(special, N), strict=True)
    ]
    assert np.count_nonzero(got != np.stack(want)) == 0


def test_rotate_flip_crop_compose_as_one_after_the_other(images):
    steps = [{"name": "rotate", "degrees": 5}, {"name": "flip", "p": 0.5}, {"name": "crop", "pad": 2}]
    got, (_, flips, corners) = ours(images, steps)
    want = []
    for i, (x, angle) in enumerate(zip(images[0], angles(5), strict=True)):
        image = TF.rotate(Image.fromarray(x), float(angle), InterpolationMode.NEAREST, fill=0)
        image = TF.hflip(image) if flips[i, 0] else image
        want.append(np.asarray(crop(image, *corners[i], 2)))
    assert np.count_nonzero(got != np.stack(want)) == 0


def test_order_of_operations_matters_and_is_kept(images):
    crop_first, (d, f) = ours(images, [{"name": "crop", "pad": 4}, {"name": "flip", "p": 1.0}])
    want = [np.asarray(TF.hflip(crop(Image.fromarray(x), *d[i], 4))) for i, x in enumerate(images[0])]
    assert np.array_equal(crop_first, np.stack(want))
    assert f.all()


@pytest.mark.parametrize(
    "device",
    ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))],
)
def test_scale_is_totensor_and_normalize(images, device):
    mean, std = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
    there = torch.device(device)
    resident, index = Resident(*images, there), torch.arange(N, device=there)
    got = Scale(mean, std, there)(resident.images(index)).cpu()
    want = torch.stack([Normalize(mean, std)(TF.to_tensor(Image.fromarray(x))) for x in images[0]])
    assert torch.equal(got, want)
    assert got.is_contiguous(memory_format=torch.channels_last)
    plain = Scale(None, None, there)(resident.images(index)).cpu()
    assert torch.equal(plain, torch.stack([TF.to_tensor(Image.fromarray(x)) for x in images[0]]))


def test_draws_are_a_function_of_seed_and_epoch_and_differ_by_image():
    pipeline = augment.build([{"name": "crop", "pad": 4}, {"name": "flip", "p": 0.5}])
    first = pipeline.draw(generator(0, "augment", 1), 1000)
    again = pipeline.draw(generator(0, "augment", 1), 1000)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    for other in (generator(1, "augment", 1), generator(0, "augment", 2), generator(0, "order", 1)):
        assert not torch.equal(first[0], pipeline.draw(other, 1000)[0])
    assert len(np.unique(first[0].numpy(), axis=0)) == 81
