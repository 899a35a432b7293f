"""The judge: which records count, what they add up to, and what is said where there are none."""

import math
import random
import subprocess
import sys
from dataclasses import replace

import pytest
from golden_demo import demo, demo_records, make
from scipy import stats
from scipy.special import comb

from repro.judge.claims import choose, judge, order_spread
from repro.judge.records import together
from repro.spec.schema import MeasuredClaim, Report


@pytest.fixture(scope="module")
def report() -> Report:
    return demo()


def claim(report, name):
    return next(c for c in report.claims if c.id == name)


def judged(report, name, records, **more):
    return judge(report, claim(report, name), records, **more)


def test_mean_spread_and_difference_of_three_runs(report):
    accuracies = (91.2, 91.0, 91.4)
    records = [make(report, seed=s, finals={"last": {"acc_pct": a}}) for s, a in enumerate(accuracies)]
    row = judged(report, "test-acc", records)
    assert (row.state, row.n, row.provisional) == ("measured", 3, False)
    assert row.ours == pytest.approx(91.2)
    assert row.sd == pytest.approx(0.2)
    assert row.difference == pytest.approx(1.06)
    assert [run.value for run in row.runs] == list(accuracies)


@pytest.mark.parametrize("n", [1, 2])
def test_fewer_than_three_runs_are_provisional(report, n):
    row = judged(report, "test-acc", [make(report, seed=s) for s in range(n)])
    assert row.provisional
    assert (row.sd is None) == (n == 1)


def test_cuda_before_cpu_then_the_earliest_and_the_rest_are_replicates(report):
    late = make(report, started="2020-05-02T00:00:00+00:00")
    early = make(report, started="2020-05-01T00:00:00+00:00")
    cpu = make(report, started="2019-01-01T00:00:00+00:00", env_class="cpu-fp32-relaxed-n1")
    other = make(report, seed=1)
    for _ in range(5):
        records = random.sample([late, early, cpu, other], 4)
        chosen, replicates = choose(records)
        assert chosen == [early, other]
        assert replicates == [late, cpu]
    assert judged(report, "test-acc", [late, early, cpu]).n == 1


def test_only_records_that_count_enter_a_full_row(report):
    short = make(report, state="stopped", epochs_done=3)
    smoke = make(report, profile="smoke")
    other_data = make(report, data={"train": "x", "test": "y", "order": "unknown"})
    row = judged(report, "test-acc", [short, smoke, other_data])
    assert (row.state, row.reason) == ("not run", "no full-protocol run yet")
    assert judged(report, "test-acc", [short, smoke], profile="smoke").n == 1


def test_a_record_of_a_changed_recipe_answers_for_nothing(report):
    assert judged(report, "test-acc", [make(report, recipe_hash="0" * 64)]).state == "not run"


def test_experiments_of_one_recipe_share_their_run(report):
    shared = claim(report, "test-acc").model_copy(update={"experiment": "twin"})
    assert judge(report, shared, [make(report, "base")]).n == 1


def test_a_run_without_the_protocol_is_not_measured(report):
    row = judged(report, "test-acc", [make(report, finals={})])
    assert (row.state, row.reason) == ("not measured", "the run recorded no such value")


def test_a_diverged_run_is_named(report):
    lost = make(report, state="diverged", finals={"last": {"acc_pct": math.nan}})
    row = judged(report, "test-acc", [lost, make(report, seed=1)])
    assert row.n == 1
    assert row.reason == "1 of 2 runs diverged, 1 of 2 runs recorded no such value"


def test_epochs_count_from_one_and_curves_answer(report):
    record = make(report)
    assert judged(report, "epoch-3", [record]).ours == pytest.approx(float(record.curves["test/acc_pct"][2]), abs=1e-4)
    assert judged(report, "val-2", [record]).ours == pytest.approx(float(record.curves["val/acc_pct"][1]), abs=1e-4)


def test_a_number_cut_off_stands_for_the_middle_of_its_unit(report):
    row = judged(report, "best", [make(report, finals={"best_test": {"acc_pct": 91.5}})])
    assert (row.published, row.reference, row.difference) == (91, 91.5, 0)


def test_counts_are_exact(report):
    assert judged(report, "params", []).state == "equal"
    row = judged(report, "params-mb", [])
    assert (row.state, round(row.ours, 4)) == ("not equal", round(78042 * 4 / 2**20, 4))


def test_reasons_of_claims_that_no_run_answers(report):
    assert judged(report, "folds", []).reason == "Folds are not part of a recipe here."
    assert judged(report, "faster", []).state == "not testable"


def test_declared_before_the_run(report):
    records, ledgers = demo_records(report)
    assert judged(report, "plain-acc", records.values(), ledgers=ledgers).declared == "no"
    assert judged(report, "test-acc", records.values(), ledgers=ledgers).declared == "unknown"
    known = [records["base-s0"], records["base-s1"]]
    assert judged(report, "test-acc", known, ledgers=ledgers).declared == "yes"


@pytest.mark.parametrize(
    ("each", "said"),
    [
        ([], ""), (["yes"], "yes"), (["yes", "no"], "in part"), (["yes", "unknown"], "unknown"), (["no", "no"], "no"),
        (["yes", "rules 1"], "rules 1"), (["rules 2", "rules 1", "yes"], "rules 1"), (["rules 1", "no"], "in part"),
    ],
)  # fmt: skip
def test_what_runs_say_together_of_when_a_claim_was_declared(each, said):
    assert together(each) == said


def test_a_ledger_that_does_not_hash_to_its_name_says_nothing(report):
    records, ledgers = demo_records(report)
    forged = {name: {**claims, "demo2020/extra": "0"} for name, claims in ledgers.items()}
    assert judged(report, "plain-acc", records.values(), ledgers=forged).declared == "unknown"


@pytest.mark.parametrize("correct", [8_750, 9_060, 9_999])
def test_fourteen_of_sixteen_is_hypergeometric(report, correct):
    spread = order_spread({"n": 16, "correct": correct, "total": 10_000}, claim(report, "last-16"))
    exact = comb(correct, 14, exact=True) * comb(10_000 - correct, 2, exact=True) / comb(10_000, 16, exact=True)
    assert spread.counts == (14,)
    assert spread.chance == pytest.approx(exact, rel=1e-9, abs=1e-15)
    assert spread.mean_pct == pytest.approx(correct / 100)
    p = correct / 10_000
    assert spread.sd_pct == pytest.approx(100 * math.sqrt(p * (1 - p) / 16 * (10_000 - 16) / 9_999))
    assert spread.official_pct is None


@pytest.mark.parametrize(
    ("n", "correct", "total"),
    [(16, 8_750, 10_000), (80, 9_120, 10_000), (80, 0, 10_000), (16, 16, 16), (1, 1, 1), (4_000, 7_000, 10_000)],
)
def test_the_order_of_the_images_has_scipys_hypergeometric_distribution(n, correct, total):
    law = stats.hypergeom(total, correct, n)
    for hits in {0, n // 2, int(law.ppf(0.975)), n}:
        given = {"kind": "point", "id": "x", "experiment": "e", "n": n, "where": "T", "protocol": "last_batch"}
        one = MeasuredClaim(value=100 * hits / n, decimals=4, **given)
        spread = order_spread({"n": n, "correct": correct, "total": total}, one)
        assert (spread.low, spread.high) == (law.ppf(0.025), law.ppf(0.975))
        assert spread.counts == (hits,)
        assert spread.chance == pytest.approx(law.pmf(hits), rel=1e-8, abs=1e-300)


@pytest.mark.parametrize("module", ["repro.judge", "repro.judge.preflight", "repro.report.tables"])
def test_judging_does_not_import_all_of_scipys_statistics(module):
    """It would be a second more for every command."""
    code = f"import sys, {module}; sys.exit('scipy.stats' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_vector_of_8750_right():
    fourteen = MeasuredClaim(
        kind="point", id="x", experiment="e", value=87.5, decimals=1, n=16, protocol="last_batch", where="T"
    )
    spread = order_spread({"n": 16, "correct": 8_750, "total": 10_000, "official_pct": 93.75}, fourteen)
    assert spread.chance == pytest.approx(0.28930, abs=1e-4)
    assert (spread.low, spread.high, spread.official_pct) == (11, 16, 93.75)


@pytest.mark.parametrize("final", [{}, {"n": 0, "correct": 1, "total": 2}, {"n": 16, "correct": math.nan, "total": 9}])
def test_an_unsound_last_batch_gives_no_distribution(report, final):
    assert order_spread(final, claim(report, "last-16")) is None


@pytest.mark.parametrize(("name", "protocol"), [("last-16", "last_batch"), ("test-acc", "last")])
def test_only_an_accuracy_over_the_last_images_has_an_order(report, name, protocol):
    counts = {"acc_pct": 87.5, "loss": 0.5, "n": 16, "correct": 9_060, "total": 10_000}
    record = make(report, finals={"last": counts, "last_batch": counts})
    one = claim(report, name)
    assert one.protocol == protocol
    (run,) = judge(report, one, [record]).runs
    assert (run.order is None) == (name != "last-16")
    (run,) = judge(report, one.model_copy(update={"metric": "loss"}), [record]).runs
    assert run.order is None


def test_the_order_of_records_does_not_matter(report):
    records, ledgers = demo_records(report)
    rows = [judge(report, c, records.values(), ledgers) for c in report.claims]
    backwards = list(reversed(records.values()))
    assert rows == [judge(report, c, backwards, ledgers) for c in report.claims]


def test_a_record_is_not_changed_by_judging(report):
    record = make(report)
    before = replace(record).to_bytes()
    judged(report, "test-acc", [record])
    assert record.to_bytes() == before
