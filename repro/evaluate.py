"""Logits -> every protocol's numbers: accuracy, loss, calibration, confusion, per class. Pure tensors.

Protocols that depend on the order of the test images (a last batch, a mean of batches) are given as their
exact distribution over random orders; only the number of correct images enters it.
"""

from math import sqrt

import torch
from torch.nn import functional as F

ECE_BINS = 15


def score(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return (mean cross entropy, accuracy in percent) as a float64 tensor of two on the logits' device."""
    loss = F.cross_entropy(logits.float(), labels, reduction="none").double().mean()
    return torch.stack([loss, 100 * (logits.argmax(1) == labels).double().mean()])


def summary(logits: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """Return acc_pct, loss (mean over images of the cross entropy), nll (the same) and ece_pct of logits (n, 10)."""
    loss, acc = score(logits, labels).tolist()
    return {"acc_pct": acc, "loss": loss, "nll": loss, "ece_pct": ece_pct(logits, labels)}


def ece_pct(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Expected calibration error in percent, 15 equal-width bins of confidence (Guo et al. 2017)."""
    confidence, predicted = logits.double().softmax(1).max(1)
    if not bool(confidence.isfinite().all()):
        return float("nan")
    bins = (confidence * ECE_BINS).ceil().clamp(1, ECE_BINS).long() - 1
    gap = torch.zeros(ECE_BINS, dtype=torch.float64, device=logits.device)
    gap.index_add_(0, bins, confidence - (predicted == labels).double())
    return 100 * float(gap.abs().sum()) / len(labels)


def confusion(logits: torch.Tensor, labels: torch.Tensor) -> list[list[int]]:
    """Return counts [true class][predicted class]."""
    flat = torch.bincount(labels * 10 + logits.argmax(1), minlength=100)
    return flat.view(10, 10).tolist()


def batch_mean(correct: int, total: int, batch: int) -> dict[str, float]:
    """Return mean and sd, over random image orders, of the mean of batch accuracies (percent).

    With a smaller last batch of t images, its k correct ones weigh more: the mean of batches is
    ((correct - k) / batch + k / t) / batches with k hypergeometric, whose mean is the plain accuracy.
    """
    tail = total % batch
    batches = -(-total // batch)
    sd = abs(1 / tail - 1 / batch) / batches * _hypergeometric_sd(correct, total, tail) if tail else 0.0
    return {"acc_pct": 100 * correct / total, "sd_pct": 100 * sd}


def last_batch(correct: int, total: int, batch: int) -> dict[str, float]:
    """Return mean and sd, over random image orders, of the accuracy on the last batch alone (percent), and its n."""
    tail = total % batch or batch
    sd = _hypergeometric_sd(correct, total, tail) / tail
    return {"acc_pct": 100 * correct / total, "sd_pct": 100 * sd, "n": tail, "correct": correct, "total": total}


def _hypergeometric_sd(correct: int, total: int, drawn: int) -> float:
    if total <= 1:
        return 0.0
    p = correct / total
    return sqrt(drawn * p * (1 - p) * (total - drawn) / (total - 1))
