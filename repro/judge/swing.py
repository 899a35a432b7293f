"""How far one epoch's accuracy swings about its neighbours: what the spread expected of runs may fall short of.

A verdict of few runs expects the spread of converged networks (docs/verdicts.md). A rate that stays high, or an epoch
from the middle of a training, leaves weights whose accuracy jumps from epoch to epoch by more than that, and runs of
other seeds will hardly differ by less. How much it jumps can be read off a single run. It decides no verdict, whose
rule is in the ledger before the run; it says which verdicts would be others if runs spread as much.
"""

from math import sqrt

import numpy as np

from repro.judge.records import Groups
from repro.record import RunRecord

#: epochs around the one asked that are looked at
WINDOW = 9
#: of the parabola that is laid through them
DEGREE = 2
#: protocols that have a curve of their own
_OWN_CURVE = ("val", "val_augmented", "train_running")
#: protocols of the weights that the report tests: those of the lowest validation loss, without one the last
_TESTED = ("batch_mean", "last_batch")
_POWERS = np.vander(np.linspace(-1, 1, WINDOW), DEGREE + 1)
#: what is left of values once their parabola of least squares is taken off
_LEFT = np.eye(WINDOW) - _POWERS @ np.linalg.pinv(_POWERS)


def swing(groups: Groups, protocol: str, epoch: int | None = None) -> float | None:
    """Return the sd in points of one epoch's accuracy about its neighbours, over the runs that make up each value.

    None where a run is too short or has no such curve, of weights that are tested in another way, and of a number
    chosen among epochs by the test images: the highest of them swings less than each.
    """
    found = [[_variance(record, protocol, epoch) for record in group] for group in groups.values()]
    each = [[variance for variance in group if variance is not None] for group in found]
    if not each or any(not some or len(some) < len(group) for some, group in zip(each, found, strict=True)):
        return None
    # The mean of k folds swings by 1 / sqrt(k) of one.
    return sqrt(float(np.mean([np.mean(some) / len(some) for some in each])))


def about(curve: np.ndarray, epoch: int) -> float | None:
    """Return the variance of accuracy about a parabola through the `WINDOW` epochs nearest to `epoch` (from 1).

    What is left, over the fit's degrees of freedom: the variance itself on average where epochs are independent, and
    nine in ten times between a quarter and twice of it. None of a curve without that epoch, shorter than the window or
    not finite there.
    """
    first = max(min(epoch - 1 - WINDOW // 2, len(curve) - WINDOW), 0)
    values = np.asarray(curve[first : first + WINDOW], float)
    if epoch > len(curve) or len(values) < WINDOW or not np.isfinite(values).all():
        return None
    return float(np.sum((_LEFT @ values) ** 2)) / (WINDOW - DEGREE - 1)


def _variance(record: RunRecord, protocol: str, epoch: int | None) -> float | None:
    if not record.curves:  # a run that is only supposed
        return None
    curve, at = _place(record, protocol, record.epochs_done if epoch is None else epoch)
    values = record.curves.get(f"{curve}/acc_pct")
    return None if values is None or at is None else about(values, at)


def _place(record: RunRecord, protocol: str, until: int) -> tuple[str, int | None]:
    """Return the curve that a protocol's accuracy lies on, and the epoch; no epoch where it is not one of them."""
    if protocol in _OWN_CURVE:
        return protocol, until
    if protocol.startswith("at_epoch:"):
        return "test", int(protocol.removeprefix("at_epoch:"))
    if protocol == "best_val_loss" or (protocol in _TESTED and "best_val_loss" in record.finals):
        return "test", record.lowest_val_loss(until)
    return "test", until if protocol in ("last", *_TESTED) else None
