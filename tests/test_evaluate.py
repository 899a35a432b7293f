"""Protocols against closed forms, SciPy and brute force."""

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from repro import evaluate


@pytest.fixture
def logits():
    rng = torch.Generator().manual_seed(0)
    return torch.randn(500, 10, generator=rng) * 3, torch.randint(10, (500,), generator=rng)


def test_summary_against_numpy(logits):
    z, y = logits
    p = np.exp(z.double().numpy())
    p /= p.sum(1, keepdims=True)
    got = evaluate.summary(z, y)
    assert got["acc_pct"] == pytest.approx(100 * np.mean(p.argmax(1) == y.numpy()))
    assert got["loss"] == pytest.approx(-np.log(p[np.arange(500), y]).mean(), rel=1e-6)
    assert got["nll"] == got["loss"]


def test_ece_by_definition(logits):
    z, y = logits
    p = z.double().softmax(1).numpy()
    confidence, right = p.max(1), p.argmax(1) == y.numpy()
    edges = np.linspace(0, 1, 16)
    want = sum(
        abs(confidence[m].sum() - right[m].sum())
        for low, high in itertools.pairwise(edges)
        if (m := (confidence > low) & (confidence <= high)).any()
    )
    assert evaluate.ece_pct(z, y) == pytest.approx(100 * want / 500)
    sure = torch.full((4, 10), -50.0)
    sure[:, 3] = 50.0
    assert evaluate.ece_pct(sure, torch.tensor([3, 3, 3, 3])) == pytest.approx(0, abs=1e-9)
    assert evaluate.ece_pct(sure, torch.tensor([3, 3, 1, 1])) == pytest.approx(50)


def test_confusion_counts_rows_true_columns_predicted(logits):
    z, y = logits
    matrix = np.array(evaluate.confusion(z, y))
    assert matrix.sum() == 500
    assert np.array_equal(matrix.sum(1), np.bincount(y, minlength=10))
    assert np.array_equal(matrix.sum(0), np.bincount(z.argmax(1), minlength=10))
    assert 100 * np.trace(matrix) / 500 == pytest.approx(evaluate.summary(z, y)["acc_pct"])


def test_last_batch_is_hypergeometric():
    got = evaluate.last_batch(8_900, 10_000, 128)
    law = stats.hypergeom(10_000, 8_900, 16)
    assert got["n"] == 16
    assert got["acc_pct"] == pytest.approx(100 * law.mean() / 16)
    assert got["sd_pct"] == pytest.approx(100 * law.std() / 16)
    assert evaluate.last_batch(8_900, 10_000, 100)["n"] == 100  # divides evenly: the last batch is a full one


@pytest.mark.parametrize(("correct", "total", "batch"), [(5, 7, 3), (3, 8, 5), (4, 6, 3), (6, 6, 4)])
def test_order_protocols_against_every_order(correct, total, batch):
    right = [1] * correct + [0] * (total - correct)
    means, lasts = [], []
    for order in itertools.permutations(right):
        parts = [order[i : i + batch] for i in range(0, total, batch)]
        means.append(100 * np.mean([np.mean(p) for p in parts]))
        lasts.append(100 * np.mean(parts[-1]))
    for got, values in (
        (evaluate.batch_mean(correct, total, batch), means),
        (evaluate.last_batch(correct, total, batch), lasts),
    ):
        assert got["acc_pct"] == pytest.approx(np.mean(values))
        assert got["sd_pct"] == pytest.approx(np.std(values), abs=1e-9)


def test_batch_mean_sd_of_a_256_batch_script():
    # 40 batches, the last of 16 images that weigh as much as 256: about 0.18 points at 90 %.
    assert evaluate.batch_mean(9_000, 10_000, 256)["sd_pct"] == pytest.approx(0.18, abs=0.01)
