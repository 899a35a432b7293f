"""How far one epoch's accuracy swings about its neighbours: what the spread expected of runs may fall short of.

A verdict of few runs expects the spread of converged networks (docs/verdicts.md). A rate that stays high, or an epoch
from the middle of a training, leaves weights whose accuracy jumps from epoch to epoch by more than that, and runs of
other seeds will hardly differ by less. How much it jumps can be read off a single run. It decides no verdict, whose
rule is in the ledger before the run; it says which verdicts would be others if runs spread as much.
"""

from math import sqrt

import numpy as np

from repro.data.splits import fold_of_epoch
from repro.judge.orders import ORDER_PROTOCOLS
from repro.judge.records import Groups
from repro.record import RunRecord
from repro.spec.noted import CURVE_PROTOCOLS
from repro.spec.recipe import Recipe

#: epochs around the one asked that are looked at
WINDOW = 9
#: of the polynomial that is laid through them
DEGREE = 2


def swing(groups: Groups, recipe: Recipe, protocol: str, epoch: int | None = None) -> float | None:
    """Return the sd in points of one epoch's accuracy about its neighbours, over the runs that make up each value.

    None of a number chosen among epochs, which spreads less than each of them, of a pass of its own over the images
    (as with noise), and where a run is too short or has no such curve.
    """
    found = [[_variance(record, recipe, protocol, epoch) for record in group] for group in groups.values()]
    each = [[variance for variance in group if variance is not None] for group in found]
    if not each or each != found:
        return None
    # The mean of k folds swings by 1 / sqrt(k) of one.
    return sqrt(float(np.mean([np.mean(group) / len(group) for group in each])))


def about(curve: np.ndarray, epoch: int, first: int = 1, last: int | None = None) -> float | None:
    """Return the variance of accuracy about a smooth course through the `WINDOW` epochs nearest to `epoch` (from 1).

    The course is a parabola in the logarithm of the epoch, which bends as accuracy does from the first epoch on (later
    it is one in the epoch). What it leaves is taken over the fit's degrees of freedom: of independent normal epochs
    their variance on average, and nine in ten times between a quarter and twice of it. The window stays within the
    epochs `first` to `last`. None where these are too few, do not hold `epoch`, or have values that are not finite.
    """
    last = len(curve) if last is None else min(last, len(curve))
    begin = max(min(epoch - WINDOW // 2, last - WINDOW + 1), first)
    values = np.asarray(curve[begin - 1 : last][:WINDOW], float)
    if not first <= epoch <= last or len(values) < WINDOW or not np.isfinite(values).all():
        return None
    logarithms = np.log(np.arange(begin, begin + WINDOW))
    left = values - np.polynomial.Polynomial.fit(logarithms, values, DEGREE)(logarithms)
    return float(np.sum(left**2)) / (WINDOW - DEGREE - 1)


def _variance(record: RunRecord, recipe: Recipe, protocol: str, epoch: int | None) -> float | None:
    if protocol.startswith("at_epoch:"):
        protocol, epoch = "last", int(protocol.removeprefix("at_epoch:"))
    values = record.curves.get(f"{_curve(record, protocol)}/acc_pct")
    if values is None:
        return None
    at = record.epochs_done if epoch is None else epoch
    return about(values, at, *_same_images(recipe, at))


def _curve(record: RunRecord, protocol: str) -> str:
    """Return the name of the curve that a protocol's accuracy lies on, at an epoch that nothing chose."""
    if protocol in CURVE_PROTOCOLS:
        return protocol
    # Batches are those of the weights that the report tests: where images are held out, of an epoch chosen by them.
    last = protocol == "last" or (protocol in ORDER_PROTOCOLS and "best_val_loss" not in record.finals)
    return "test" if last else ""


def _same_images(recipe: Recipe, epoch: int) -> tuple[int, int | None]:
    """Return the first and last epoch that train and validate on the images of this one.

    A network carried through folds changes them with every fold, and what it validates on has been trained on then.
    """
    folds = recipe.data.folds
    if folds is None or folds.network != "carried":
        return 1, None
    epochs, k = recipe.budget.epochs, folds.k
    within = [at for at in range(1, epochs + 1) if fold_of_epoch(at, epochs, k) == fold_of_epoch(epoch, epochs, k)]
    return within[0], within[-1]
