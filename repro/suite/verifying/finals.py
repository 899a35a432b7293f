"""Rules of a record's final numbers: equal to the curves and matrices that they come from."""

import math
from collections.abc import Callable

import numpy as np

from repro.record import CLASSES, FULL_TEST
from repro.spec.cifar import TEST_IMAGES
from repro.suite.verifying.rules import Places, Rule, Subject, same

#: protocol -> (the curve that it chooses an epoch by, the best of it)
CHOSEN: dict[str, tuple[str, Callable[[np.ndarray], float]]] = {
    "best_test": ("test/acc_pct", np.nanmax), "best_test_every10": ("test/acc_pct", np.nanmax),
    "best_test_loss": ("test/loss", np.nanmin), "best_val_loss": ("val/loss", np.nanmin),
}  # fmt: skip
#: protocols that are the last values of curves of their own, and the test curves' last values
ENDS = {"last": "test", "train_running": "train_running", "val": "val"}
METRICS = ("acc_pct", "loss")
POINT = 1e-4  # in percent: a hundredth of an image of the full test set


def _last(subject: Subject) -> Places:
    if "last" not in subject.record.finals:
        yield "finals.last", "is missing"
    ends = dict(ENDS)
    if "val_augmented/loss" in subject.curves:  # else measured once, at the end
        ends["val_augmented"] = "val_augmented"
    for protocol, curve in ends.items():
        for metric in METRICS:
            value, values = subject.final(protocol, metric), subject.curves.get(f"{curve}/{metric}")
            if value is not None and values is not None and len(values) and not same(value, float(values[-1])):
                yield f"finals.{protocol}.{metric}", f"{value:g}; the curve {curve}/{metric} ends at {values[-1]:g}"


def _chosen(subject: Subject) -> Places:
    for protocol, (name, best) in CHOSEN.items():
        if (epoch := subject.final(protocol, "epoch")) is None:
            continue
        if protocol == "best_val_loss":
            name = subject.record.selection_metric
        key, curve = f"finals.{protocol}", subject.curves[name]
        if epoch != int(epoch) or not 1 <= epoch <= len(curve):
            yield f"{key}.epoch", f"{epoch:g}; expected a whole number from 1 to {len(curve)}"
            continue
        for metric in METRICS:
            value, there = subject.final(protocol, metric), float(subject.curves[f"test/{metric}"][int(epoch) - 1])
            if value is not None and not same(value, there):
                yield f"{key}.{metric}", f"{value:g}; the curve test/{metric} is {there:g} after epoch {epoch:g}"
        among = curve[9::10] if protocol == "best_test_every10" else curve
        if protocol == "best_test_every10" and epoch % 10:
            yield f"{key}.epoch", f"{epoch:g}; expected every tenth epoch"
        # Where the first value is not a number nothing is below it, and the first epoch stands.
        elif np.isfinite(among[0]) and not same(float(curve[int(epoch) - 1]), float(best(among))):
            yield f"{key}.epoch", f"{epoch:g}, where {name} is {curve[int(epoch) - 1]:g}; its best is {best(among):g}"


def _confusion(subject: Subject) -> Places:
    for protocol, matrix in subject.record.confusion.items():
        key, size = f"confusion.{protocol}", len(CLASSES)
        if len(matrix) != size or any(len(row) != size for row in matrix):
            yield key, f"expected {size} rows of {size} counts"
            continue
        if wrong := [n for row in matrix for n in row if type(n) is not int or n < 0]:
            yield key, f"{wrong[0]!r}; expected whole numbers that are not negative"
            continue
        total = sum(map(sum, matrix))
        if subject.images is not None and total != subject.images:
            yield key, f"sums to {total:,}; expected the {subject.images:,} test images"
        elif subject.record.data.get("test") == FULL_TEST:
            for row, counts in enumerate(matrix):
                if sum(counts) != (each := TEST_IMAGES // size):
                    yield f"{key}.{row}", f"sums to {sum(counts):,}; expected {each:,} test images a class"


def _accuracy(subject: Subject) -> Places:
    for protocol, matrix in subject.record.confusion.items():
        accuracy = subject.final(protocol, "acc_pct")
        total = subject.images or sum(map(sum, matrix))
        if accuracy is None:
            yield f"confusion.{protocol}", f"has no accuracy beside it; expected finals.{protocol}.acc_pct"
        elif total and not math.isclose(traced := 100 * _right(subject, protocol) / total, accuracy, abs_tol=POINT):
            yield f"finals.{protocol}.acc_pct", f"{accuracy:g}; the confusion matrix has {traced:g} on its diagonal"


def _right(subject: Subject, protocol: str) -> int:
    return sum(row[i] for i, row in enumerate(subject.record.confusion[protocol]))


def _classes(subject: Subject) -> Places:
    classes, confidence = (subject.predictions.get(name) for name in ("class", "confidence"))
    if classes is None:
        return
    if confidence is None or len(classes) != len(confidence) or len(classes) != subject.images:
        held = "none" if confidence is None else f"{len(confidence):,}"
        yield "predictions", f"{len(classes):,} classes and {held} confidences; expected {subject.images:,} of each"
    elif len(classes) and classes.max() >= len(CLASSES):
        yield "predictions.class", f"{classes.max()}; expected 0 to {len(CLASSES) - 1}"
    elif matrix := subject.record.confusion.get("last"):
        counted, columns = np.bincount(classes, minlength=len(CLASSES)), np.sum(matrix, axis=0)
        for i in np.flatnonzero(counted != columns):
            held = f"{counted[i]:,} images; the column of the confusion matrix has {columns[i]:,}"
            yield "predictions.class", f"{CLASSES[i]} of {held}"


def _batches(subject: Subject) -> Places:
    tested = "best_val_loss" if "best_val_loss" in subject.record.finals else "last"
    accuracy = subject.final(tested, "acc_pct")
    for protocol in ("batch_mean", "last_batch"):
        value = subject.final(protocol, "acc_pct")
        if value is not None and accuracy is not None and not math.isclose(value, accuracy, abs_tol=POINT):
            yield f"finals.{protocol}.acc_pct", f"{value:g}; expected finals.{tested}'s {accuracy:g}"
    n, right, total = (subject.final("last_batch", name) for name in ("n", "correct", "total"))
    if n is None or right is None or total is None:
        return
    batch = subject.record.recipe["budget"]["batch_size"]
    if subject.images is not None and total != subject.images:
        yield "finals.last_batch.total", f"{total:g}; expected {subject.images}"
    elif n != (total % batch or batch):
        yield "finals.last_batch.n", f"{n:g}; expected {total % batch or batch:g}, what batches of {batch} leave"
    elif tested in subject.record.confusion and right != _right(subject, tested):
        yield "finals.last_batch.correct", f"{right:g}; expected {_right(subject, tested)}"


RULES = (
    Rule("last", "final numbers of the last epoch are the last values of their curves", _last),
    Rule("chosen", "a protocol that chooses an epoch has that epoch's values, and the curve's best", _chosen),
    Rule("confusion", "confusion matrices sum to the test images, 1,000 a class of the full set", _confusion),
    Rule("accuracy", "a confusion matrix has its protocol's accuracy on its diagonal", _accuracy),
    Rule("classes", "predicted classes are those that the confusion matrix counts, class by class", _classes),
    Rule("batches", "protocols over test batches have the tested network's accuracy and counts", _batches),
)
