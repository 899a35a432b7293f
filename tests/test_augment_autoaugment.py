"""AutoAugment on a batch equals torchvision's AutoAugment(CIFAR10) on Pillow images, given the same draws."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import AutoAugment as Torchvisions
from torchvision.transforms import AutoAugmentPolicy

from repro.augment.autoaugment import NOTHING, POLICY, PROBABILITY, AutoAugment
from repro.data import sample
from repro.draws import generator

N = 600


class Told(Torchvisions):
    """torchvision's transform, told what to draw: two entries of our table."""

    def __init__(self):
        super().__init__(AutoAugmentPolicy.CIFAR10)

    def get_params(self, transform_num):
        pair = next((entry // 4 for entry in self.entries if entry != NOTHING), 0)
        probs = torch.tensor([2.0 if entry == NOTHING else 0.0 for entry in self.entries])
        return int(pair), probs, torch.tensor([int(entry) % 2 for entry in self.entries])


def pillow(images, entries):
    transform, out = Told(), []
    for image, pair in zip(images, entries, strict=True):
        transform.entries = pair
        out.append(np.asarray(transform(Image.fromarray(image))))
    return np.stack(out)


def ours(images, entries):
    x = torch.from_numpy(images).permute(0, 3, 1, 2)
    return AutoAugment()(x, [torch.from_numpy(entries)]).permute(0, 2, 3, 1).numpy()


@pytest.fixture(scope="module")
def images():
    return sample.load().x_train


@pytest.mark.parametrize("pair", range(len(POLICY)))
def test_every_pair_and_sign_is_torchvisions(images, pair):
    signs = np.resize([[0, 0], [0, 1], [1, 0], [1, 1]], (40, 2))
    entries = (pair * 2 + np.arange(2)) * 2 + signs
    chosen = images[pair * 40 : pair * 40 + 40]
    assert np.count_nonzero(ours(chosen, entries) != pillow(chosen, entries)) == 0


def test_drawn_batches_are_torchvisions(images):
    (entries,) = AutoAugment().draw(generator(3, "augment", 1), N)
    assert np.count_nonzero(ours(images[:N], entries.numpy()) != pillow(images[:N], entries.numpy())) == 0


def test_the_policy_is_torchvisions():
    theirs = Told()._get_policies(AutoAugmentPolicy.CIFAR10)
    assert [tuple((name.lower().replace("_", ""), p, m) for name, p, m in pair) for pair in theirs] == [
        tuple((name.replace("_", ""), p, m) for name, p, m in pair) for pair in POLICY
    ]


def test_draws_have_the_policys_frequencies():
    n = 50_000
    entries = AutoAugment().draw(generator(0, "augment", 1), n)[0].numpy()
    applied = entries != NOTHING
    assert np.abs(applied.mean(0) - PROBABILITY.mean(0)).max() < 5 * 0.5 / n**0.5
    pairs = np.bincount(entries[:, 0][applied[:, 0]] // 4, minlength=25) / n
    assert np.abs(pairs - PROBABILITY[:, 0] / 25).max() < 5 * (0.04 / n) ** 0.5
    signs = (entries % 2)[applied]
    assert abs(signs.mean() - 0.5) < 5 * 0.5 / len(signs) ** 0.5
    both = applied.all(1)
    assert (entries[both, 0] // 4 == entries[both, 1] // 4).all()  # two steps of one pair
    assert set(entries[applied[:, 0], 0] // 2 % 2) == {0}
    assert set(entries[applied[:, 1], 1] // 2 % 2) == {1}


def test_draws_are_a_function_of_seed_and_epoch():
    draws = [AutoAugment().draw(generator(seed, "augment", epoch), 500)[0] for seed, epoch in [(0, 1), (0, 1), (0, 2)]]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
