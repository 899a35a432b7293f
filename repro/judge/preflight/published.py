"""Published curves against what is said of them: maxima, steady courses, overfitting, counts divided by batches."""

import re
from collections.abc import Iterator
from itertools import pairwise

from repro.judge.preflight.finding import Finding, measured, names, shown
from repro.judge.printed import ends, reference
from repro.spec.cifar import TEST_IMAGES, TRAIN_IMAGES
from repro.spec.schema import MeasuredClaim, Report, Sentence, TrajectoryClaim, UntestableClaim

_STEADY = re.compile(r"steadily|throughout|in every epoch", re.IGNORECASE)
_OVERFIT = re.compile(r"\b(?:without|no|not|avoids?)\b[^.;]*overfit", re.IGNORECASE)
_DIVIDED = re.compile(r"divided by (\d+)")
_COUNTS = re.compile(r"\d+(?:, \d+){4,}")
#: protocols whose number is a point of the test curve or its maximum
_ON_CURVE = ("last", "best_test", "best_test_every10", "best_val_loss", "best_test_loss")


def maxima(report: Report) -> Iterator[Finding]:
    """Yield a finding for each network whose printed test accuracy lies above every point of its published curve."""
    curves = [c for c in report.claims if isinstance(c, TrajectoryClaim) and c.curve == "test/acc_pct"]
    headlines = {c.experiment for c in measured(report) if c.headline}
    for experiment in sorted(dict.fromkeys(c.experiment for c in curves), key=lambda name: name not in headlines):
        of_it = [c for c in curves if c.experiment == experiment]
        curve = max(of_it, key=lambda c: max(c.values))
        high = _top(curve)
        above = [
            c
            for c in measured(report)
            if c.experiment == experiment
            and c.protocol in _ON_CURVE
            and ends(c.value, c.decimals, c.rounding)[0] > high
        ]
        if not above:
            continue
        printed = list(dict.fromkeys(shown(c) for c in sorted(above, key=lambda c: -c.value)))
        best = max(curve.values)
        text = (
            f"Read as the result of `{experiment}`, {' and '.join(printed)} "
            f"{'lie' if len(printed) > 1 else 'lies'} above its published curve ({curve.where}), whose highest point "
            f"is {best:.{curve.decimals}f} %"
            + (f", read to {error:g}" if (error := curve.errors[curve.values.index(best)]) else "")
            + (", cut off to whole percents" if curve.rounding == "floor" else "")
            + f", at epoch {curve.epochs[curve.values.index(best)]}."
        )
        numbers: dict[str, float | int | str] = {
            "highest_point": best, "at_most": high, "printed": max(reference(c) for c in above),
            "last_epoch": max(c.epochs[-1] for c in of_it),
        }  # fmt: skip
        title = "A printed accuracy lies above the published curve"
        ids = (*(c.id for c in above), curve.id)
        yield Finding(report.id, f"maximum-{experiment}", "maximum_off_curve", title, text, numbers, ids)


def _top(curve: TrajectoryClaim) -> float:
    """Return the highest accuracy that the curve's highest point may stand for."""
    highest = max(map(sum, zip(curve.values, curve.errors, strict=True)))
    return ends(highest, curve.decimals, curve.rounding)[1]


def steady(report: Report) -> Iterator[Finding]:
    """Yield a finding for each course said to be steady whose published points go the other way somewhere."""
    seen: set[tuple[float, ...]] = set()
    for sentence in report.sentences:
        for clause in re.split(r";", sentence.says):
            if not _STEADY.search(clause):
                continue
            for curve in _curves(report, sentence):
                if _speaks_of(clause, curve) and curve.values not in seen:
                    seen.add(curve.values)
                    yield from _steps_back(report, sentence, curve)


def _curves(report: Report, sentence: Sentence) -> list[TrajectoryClaim]:
    return [c for c in report.claims if isinstance(c, TrajectoryClaim) and c.id in sentence.claims]


def _speaks_of(clause: str, curve: TrajectoryClaim) -> bool:
    part, _, measure = curve.curve.partition("/")
    word = {"test": "test", "val": "validation", "train": "training"}[part.split("_")[0]]
    return f"{word} {'loss' if measure == 'loss' else 'accuracy'}" in clause


def _axis(curve: TrajectoryClaim, epoch: int) -> int:
    return epoch - (1 - curve.epoch_base)


def _steps_back(report: Report, sentence: Sentence, curve: TrajectoryClaim) -> Iterator[Finding]:
    sign, verb = (1, "rises") if curve.curve.endswith("loss") else (-1, "falls")
    points = list(zip(curve.epochs, curve.values, curve.errors, strict=True))
    back = [(e, a, b) for (_, a, before), (e, b, error) in pairwise(points) if sign * (b - a) > max(before, error)]
    if not back:
        return
    steps = ", ".join(f"epoch {_axis(curve, e)} ({a:.{curve.decimals}f} to {b:.{curve.decimals}f})" for e, a, b in back)
    text = f"{sentence.where}: “{sentence.says}” By {curve.where}, `{curve.curve}` {verb} at {steps}."
    numbers: dict[str, float | int | str] = {"steps_back": len(back), "first_epoch": _axis(curve, back[0][0])}
    title = "A course said to be steady goes back"
    yield Finding(report.id, f"steady-{curve.id}", "not_steady", title, text, numbers, (curve.id,))


def overfitting(report: Report) -> Iterator[Finding]:
    """Yield a finding where the text sees no overfitting and the published test loss was lowest before the end."""
    for sentence in report.sentences:
        losses = [c for c in _curves(report, sentence) if c.curve == "test/loss"]
        if not losses or not _OVERFIT.search(sentence.says):
            continue
        curve = losses[0]
        low, last = min(curve.values), curve.values[-1]
        epoch, end = (_axis(curve, e) for e in (curve.epochs[curve.values.index(low)], curve.epochs[-1]))
        numbers: dict[str, float | int | str] = {"lowest": low, "lowest_epoch": epoch, "last": last, "last_epoch": end}
        text = (
            f"{sentence.where}: “{sentence.says}” By {curve.where}, the test loss was lowest ({low:g}) at epoch "
            f"{epoch} and is {last:g} at epoch {end}."
        )
        if accuracy := _accuracy_beside(report, curve):
            at_lowest, at_end = accuracy.values[curve.values.index(low)], accuracy.values[-1]
            text += f" Test accuracy is {at_lowest:.{accuracy.decimals}f} % and {at_end:.{accuracy.decimals}f} % there."
        train, test = (_final(report, sentence, p) for p in ("train_running", "last"))
        if train and test:
            numbers |= {"train_acc": train.value, "test_acc": test.value, "gap": train.value - test.value}
            text += f" Training accuracy ends at {shown(train)}, test accuracy at {shown(test)}."
        if epoch < end:
            title = "The published test loss was lowest before the end"
            yield Finding(report.id, f"overfitting-{curve.id}", "overfitting", title, text, numbers, sentence.claims)


def _accuracy_beside(report: Report, loss: TrajectoryClaim) -> TrajectoryClaim | None:
    """Return the published course of test accuracy at the points of one of test loss."""
    curves = (c for c in report.claims if isinstance(c, TrajectoryClaim) and c.curve == "test/acc_pct")
    return next((c for c in curves if (c.experiment, c.epochs) == (loss.experiment, loss.epochs)), None)


def _final(report: Report, sentence: Sentence, protocol: str) -> MeasuredClaim | None:
    return next((c for c in measured(report) if c.id in sentence.claims and c.protocol == protocol), None)


def batch_counts(report: Report) -> Iterator[Finding]:
    """Yield a finding for each published course of counts that were divided by a number of batches."""
    for claim in report.claims:
        listed = _COUNTS.search(claim.text) if isinstance(claim, UntestableClaim) else None
        if not isinstance(claim, UntestableClaim) or not listed or not _DIVIDED.search(claim.text):
            continue
        counts, divisors = [int(n) for n in listed[0].split(", ")], " and ".join(map(str, _divisors(claim)))
        text = f"{claim.where}: the ordinates are counts of at most {max(counts)} over {divisors}. "
        numbers: dict[str, float | int | str] = {"highest_count": max(counts), "divisors": divisors}
        fits: dict[int, list[str]] = {}
        for experiment in report.experiments.values():
            split, batch = experiment.recipe.data.split, experiment.recipe.budget.batch_size
            for divisor in _divisors(claim):
                for size in sorted({TEST_IMAGES, TRAIN_IMAGES, split.train, split.val} - {0}):
                    if -(-size // batch) == divisor:
                        numbers[f"images_{divisor}"] = size
            if rest := split.val % batch:
                fits.setdefault(rest, []).append(experiment.id)
        known = [f"{d} is the number of batches in {numbers[key]:,} images" for d in _divisors(claim)
                 if (key := f"images_{d}") in numbers]  # fmt: skip
        text += f"{', '.join(known)}. " if known else ""
        lasts = [f"{rest} images in {names(ids, 2)}" for rest, ids in sorted(fits.items())]
        text += f"The last validation batch has {', '.join(lasts)}. " if lasts else ""
        numbers["last_batches"] = ", ".join(map(str, sorted(fits)))
        title = "A figure's ordinates are no accuracies"
        yield Finding(report.id, f"counts-{claim.id}", "batch_counts", title, text.strip(), numbers, (claim.id,))


def _divisors(claim: UntestableClaim) -> list[int]:
    """Return the numbers that the text names from `divided by` on, `by 79 (validation) and by 391 (training)`."""
    begin = _DIVIDED.search(claim.text)
    return [int(n) for n in re.findall(r"\bby (\d+)", claim.text[begin.start() :])] if begin else []
