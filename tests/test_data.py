"""The data: one order and one fingerprint whatever the source; wrong data refused."""

import math

import numpy as np
import pytest
from data_standin import Standin

from repro.data import cifar10, identity, sample
from repro.data.batches import epoch_order
from repro.data.splits import holdout
from repro.errors import UserError
from repro.record import FULL_TEST, FULL_TRAIN


def test_sample_is_balanced_and_in_canonical_order():
    data = sample.load()
    assert data.x_train.shape == (1500, 32, 32, 3)
    assert data.x_test.shape == (500, 32, 32, 3)
    assert np.bincount(data.y_train).tolist() == [150] * 10
    assert np.bincount(data.y_test).tolist() == [50] * 10
    for x, y in ((data.x_train, data.y_train), (data.x_test, data.y_test)):
        found = cifar10.digests(x, y)
        assert found == sorted(found)
    size = sum(path.stat().st_size for path in sample.FOLDER.iterdir())
    assert size <= 3_500_000


def test_two_sources_in_different_orders_give_one_order_and_fingerprint():
    data = sample.load()
    rng = np.random.default_rng(0)
    results = []
    for shuffle in (rng.permutation(1500), rng.permutation(1500)):
        x, y, position, print_ = cifar10.canonical(data.x_train[shuffle], data.y_train[shuffle])
        assert np.array_equal(x[position], data.x_train[shuffle])
        results.append((x, y, print_))
    assert np.array_equal(results[0][0], results[1][0])
    assert np.array_equal(results[0][1], results[1][1])
    assert results[0][2] == results[1][2] == data.train
    assert np.array_equal(results[0][0], data.x_train)


def test_fingerprint_sees_pixels_labels_and_pairing():
    data = sample.load()
    x, y = data.x_test.copy(), data.y_test.copy()
    base = cifar10.fingerprint(cifar10.digests(x, y))
    x[3, 4, 5, 0] ^= 1
    assert cifar10.fingerprint(cifar10.digests(x, y)) != base
    x[3, 4, 5, 0] ^= 1
    y[0], y[1] = (y[0] + 1) % 10, y[1]
    assert cifar10.fingerprint(cifar10.digests(x, y)) != base


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": np.zeros((50, 32, 32, 3), np.uint8)}, "the train images are not CIFAR-10's"),
        ({"y_test": np.arange(20, dtype=np.uint8) % 10}, "the test images are not CIFAR-10's"),
        ({"x_test": None, "y_test": None}, "lacks x_test, y_test; expected x_test, x_train, y_test, y_train"),
        ({"y_test": np.zeros(20, np.int64)}, r"y_test is int64 \(20,\); expected uint8"),
        ({"x_test": np.zeros((20, 3, 32, 32), np.uint8)}, "expected uint8"),
        ({"y_train": np.array([{}] * 50)}, "not a readable .npz"),
    ],
)
def test_wrong_npz_is_refused_and_nothing_is_written(tmp_path, monkeypatch, changes, message):
    arrays = Standin(monkeypatch).arrays | changes
    source = tmp_path / "x.npz"
    np.savez(source, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(UserError, match=message) as error:
        cifar10.import_from(source, tmp_path / "home")
    assert str(source) in str(error.value)
    assert not (tmp_path / "home").exists()


def test_shapes_are_cifar10s():
    assert [math.prod(shape) for shape in identity.SHAPES.values()] == [153_600_000, 50_000, 30_720_000, 10_000]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04junk", b"hello" * 100, b"\x93NUMPY"])
def test_not_an_npz_is_refused(tmp_path, content):
    source = tmp_path / "x.npz"
    source.write_bytes(content)
    with pytest.raises(UserError, match=r"x\.npz: not"):
        cifar10.import_from(source, tmp_path / "home")


def test_missing_data_names_the_ways_to_get_it(tmp_path):
    with pytest.raises(UserError, match=r"repro data fetch.*repro data import"):
        cifar10.load(tmp_path)


def test_expected_fingerprints():
    assert FULL_TRAIN.startswith("6a3b2c04")
    assert FULL_TEST.startswith("65a6ffe0")


def test_holdout_is_disjoint_exact_and_seeded():
    train, val = holdout(50_000, 45_000, 5_000, 0)
    assert (len(train), len(val)) == (45_000, 5_000)
    assert np.array_equal(np.sort(np.concatenate([train, val])), np.arange(50_000))
    again, other = holdout(50_000, 45_000, 5_000, 0), holdout(50_000, 45_000, 5_000, 1)
    assert np.array_equal(val, again[1])
    assert not np.array_equal(val, other[1])
    whole, none = holdout(50_000, 50_000, 0, 0)
    assert len(whole) == 50_000
    assert len(none) == 0
    with pytest.raises(ValueError, match="does not fit"):
        holdout(100, 90, 20, 0)


def test_epoch_order_is_a_permutation_by_seed_and_epoch():
    first = epoch_order(1000, 0, 1)
    assert np.array_equal(np.sort(first), np.arange(1000))
    assert np.array_equal(first, epoch_order(1000, 0, 1))
    assert not np.array_equal(first, epoch_order(1000, 0, 2))
    assert not np.array_equal(first, epoch_order(1000, 1, 1))
