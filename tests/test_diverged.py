"""Runs that diverged, as the engine records them: logits of NaN, whose largest is the first, a class and no answer."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from golden_demo import demo, make

from repro import evaluate
from repro.execute.outcome import Outcome
from repro.judge.bracket import brackets
from repro.judge.claims import judge
from repro.judge.compare import compare
from repro.judge.curves import curve, matrix, points
from repro.track import summary

REPORT = demo()
CLAIM = next(claim for claim in REPORT.claims if claim.id == "test-acc")


def diverged(record):
    """Return what the record would be if its network were lost before its first epoch had ended."""
    logits, labels = torch.full((10_000, 10), torch.nan), torch.arange(10).repeat(1000)
    measured, right = evaluate.summary(logits, labels), int((logits.argmax(1) == labels).sum())
    finals = {name: {**measured, "epoch": 1.0} for name in record.finals if "batch" not in name}
    finals["batch_mean"] = evaluate.batch_mean(right, 10_000, 128)
    finals["last_batch"] = evaluate.last_batch(right, 10_000, 128)
    curves = dict(record.curves)
    for name in curves:
        curves[name] = np.full_like(curves[name], 10.0 if name.endswith("_pct") else np.nan)
    confusion = {name: evaluate.confusion(logits, labels) for name in record.confusion}
    return replace(record, state="diverged", finals=finals, curves=curves, confusion=confusion)


LOST = diverged(make(REPORT))


def test_the_largest_of_ten_nan_is_a_tenth_right():
    assert LOST.finals["last"]["acc_pct"] == 10.0
    assert np.isnan(LOST.finals["last"]["loss"])


@pytest.mark.parametrize("protocol", ["last", "best_val_loss", "best_test", "val", "batch_mean", "last_batch"])
def test_no_protocol_has_an_accuracy_of_it(protocol):
    assert LOST.value(protocol, "acc_pct") is None
    assert make(REPORT).value(protocol, "acc_pct") is not None


def test_no_epoch_has_one_but_those_before():
    half = make(REPORT)
    half.curves["test/loss"] = half.curves["test/loss"].copy()
    half.curves["test/loss"][2:] = np.nan
    assert half.value("test", "acc_pct", 2) == pytest.approx(half.curves["test/acc_pct"][1])
    assert half.value("test", "acc_pct", 3) is half.value("at_epoch:3", "acc_pct") is None
    assert np.isfinite(points(half, "test/acc_pct")).tolist()[:3] == [True, True, False]
    assert curve(half, "test/acc_pct") is None


def test_one_of_them_leaves_a_number_open_and_is_in_no_mean():
    sound = [make(REPORT, seed=seed, finals={"last": {"acc_pct": CLAIM.value, "loss": 0.4}}) for seed in range(3)]
    found = judge(REPORT, CLAIM, [*sound, diverged(make(REPORT, seed=3))])
    assert (found.n, found.ours) == (3, pytest.approx(CLAIM.value))
    assert found.verdict.word == "inconclusive"
    assert found.verdict.why.startswith("1 of 4 runs have no such value; of the others: reproduced")
    assert (found.verdict.attained, found.verdict.agreement, found.verdict.p) == (None, None, None)
    assert "diverged" in found.reason


def test_nothing_but_them_is_not_measured():
    found = judge(REPORT, CLAIM, [diverged(make(REPORT, seed=seed)) for seed in range(3)])
    assert (found.state, found.ours, found.verdict.word) == ("not measured", None, "not judged")
    assert found.reason == "3 of 3 runs diverged, 3 of 3 runs recorded no such value"


def test_it_has_no_matrix_and_no_place_in_a_bracket():
    assert matrix(LOST) is None
    assert matrix(make(REPORT)) is not None
    (found,) = brackets(REPORT, [make(REPORT), diverged(make(REPORT, seed=1))])
    assert found.seeds == (0,)


def test_a_comparison_with_runs_lost_on_one_side_is_never_equivalent():
    a = [make(REPORT, "base", seed) for seed in range(5)]
    b = [replace(record, seconds=1.0) for record in a[:3]] + [diverged(record) for record in a[3:]]
    moved = [replace(r, finals=r.finals | {"last": r.finals["last"] | {"loss": 0.123}}) for r in b[:3]] + b[3:]
    (found,) = (row for row in compare({REPORT.id: REPORT}, a, moved) if row.measure == "last/acc_pct")
    assert (found.word, found.n, found.d) == ("inconclusive", 3, 0.0)
    assert found.why == "seeds 3, 4 without a value in B only"


def test_what_is_said_of_it():
    epochs = f"after {LOST.epochs_done} epochs"
    assert f"diverged: no finite loss {epochs}" in Outcome(None, "trained", LOST).said
    means = dict(summary.mean_finals([make(REPORT), LOST]))
    assert "final/last/acc_pct" not in means
