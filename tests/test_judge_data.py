"""Facts of CIFAR-10: the arithmetic by hand, and the whole numbers themselves where the machine has the images."""

import os
from pathlib import Path

import numpy as np
import pytest

from repro.data import cache
from repro.spec import cifar


def test_counts_agree_with_one_another():
    assert cifar.fact("images") == cifar.fact("train_images") + cifar.fact("test_images") == 60_000
    assert cifar.fact("images_per_class") * cifar.fact("classes") == cifar.fact("images")
    assert cifar.fact("side") == 32


@pytest.mark.parametrize("pixels", [[0, 255], [255, 255, 255], [0, 51, 102, 204]])
def test_moments_are_mean_and_population_deviation_of_pixels_in_the_unit_interval(pixels):
    mean, std = cifar.moments(sum(pixels), sum(p * p for p in pixels), len(pixels))
    assert mean == pytest.approx(np.mean(pixels) / 255, rel=1e-15)
    assert std == pytest.approx(np.std(pixels) / 255, rel=1e-14)


def test_channels_have_the_moments_that_everyone_normalises_with():
    means = [round(cifar.fact("channel_mean", channel), 4) for channel in cifar.SUMS]
    stds = [round(cifar.fact("channel_std", channel), 4) for channel in cifar.SUMS]
    assert (means, stds) == ([0.4914, 0.4822, 0.4465], [0.247, 0.2435, 0.2616])


def test_sums_can_be_those_of_pixels():
    n = cifar.TRAIN_IMAGES * cifar.SIDE**2
    for total, squares in cifar.SUMS.values():
        assert total**2 < n * squares  # a spread above 0
        assert squares < 255 * total  # no pixel above 255
        assert (total - squares) % 2 == 0  # x and x² are both even or both odd


def test_the_images_of_this_machine_have_these_sums():
    home = Path(os.environ.get("REPRO_HOME") or ".repro")
    if not cache.cache_path(home).exists():
        pytest.skip("the full images are not on this machine; the arithmetic on their sums is tested above")
    x = cache.load(home).x_train
    for channel, (total, squares) in enumerate(cifar.SUMS.values()):
        counts = np.bincount(x[..., channel].ravel(), minlength=256)
        assert total == sum(v * int(n) for v, n in enumerate(counts))
        assert squares == sum(v * v * int(n) for v, n in enumerate(counts))
