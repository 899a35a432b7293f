"""The judge on claims that compare experiments, curves and matrices: hand-made records, closed forms."""

import math
from dataclasses import replace

import numpy as np
import pytest
from golden_demo import demo, make
from pydantic import TypeAdapter

from repro.judge.claims import judge, judge_all
from repro.judge.convergence import by_area, by_thresholds, reach, smooth
from repro.judge.curves import Bands, bands
from repro.judge.label import label
from repro.judge.records import Pool, number
from repro.report import values
from repro.spec import ledger
from repro.spec.identity import recipe_hash, run_key
from repro.spec.schema import Claim, Report

ARMS = ("base", "plain", "idle")


@pytest.fixture(scope="module")
def report() -> Report:
    return demo()


def claim(kind, **fields):
    return TypeAdapter(Claim).validate_python({"id": "c", "where": "T", "kind": kind, **fields})


def with_acc(report, values):
    """Records of {experiment: accuracies by seed}."""
    return [
        make(report, name, seed, finals={"last": {"acc_pct": a}})
        for name, each in values.items() for seed, a in enumerate(each) if a is not None
    ]  # fmt: skip


def with_curve(report, name, experiment, *runs):
    return [make(report, experiment, seed, curves={name: np.array(run)}) for seed, run in enumerate(runs)]


# --- order and trend ----------------------------------------------------------------------------------------


def test_order_pairs_by_seed(report):
    records = with_acc(report, {"base": [90.0, 91.0, 95.0], "plain": [89.0, 89.0, None]})
    row = judge(report, claim("order", higher="base", lower="plain", gap=1.0), records)
    assert (row.state, row.n, row.ours, row.published, row.difference) == ("measured", 2, 1.5, 1.0, 0.5)
    assert row.sd == pytest.approx(math.sqrt(0.5))  # of the differences 1 and 2, not of the accuracies
    assert row.reason == "seed 2 left out: a run or its value is missing"
    assert row.details == ("on average `base` 90.50 % (n = 2), `plain` 89.00 % (n = 2)",)
    turned = judge(report, claim("order", higher="plain", lower="base"), records)
    assert (turned.ours, turned.difference, turned.sd) == (-1.5, None, row.sd)


def test_order_without_runs_names_what_lacks_them(report):
    records = with_acc(report, {"base": [90.0]})
    row = judge(report, claim("order", higher="base", lower="plain"), records)
    assert (row.state, row.reason) == ("not run", "no full-protocol run yet of `plain`")
    row = judge(report, claim("trend", experiments=ARMS), records, profile="smoke")
    assert row.reason == "no smoke run yet of `base`, `plain`, `idle`"
    apart = [*records, make(report, "plain", 3)]
    assert judge(report, claim("order", higher="base", lower="plain"), apart).state == "not measured"


@pytest.mark.parametrize(
    ("means", "direction", "tau"),
    [((1, 2, 3), "rising", 1), ((3, 2, 1), "rising", -1), ((3, 2, 1), "falling", 1), ((1, 3, 2), "rising", 1 / 3),
     ((2, 2, 2), "falling", 0)],
)  # fmt: skip
def test_trend_is_kendalls_tau_along_the_published_direction(report, means, direction, tau):
    records = with_acc(report, {name: [80.0 + m, 82.0 + m] for name, m in zip(ARMS, means, strict=True)})
    row = judge(report, claim("trend", experiments=ARMS, direction=direction), records)
    assert row.ours == pytest.approx(tau)
    assert (row.n, row.sd, row.provisional) == (2, None, True)
    assert f"`base` {81 + means[0]:.2f} % (n = 2)" in row.details[0]


def test_a_diverged_side_enters_no_mean(report):
    records = with_acc(report, {"base": [math.nan], "plain": [80.0]})
    assert judge(report, claim("order", higher="base", lower="plain"), records).state == "not measured"
    row = judge(report, claim("trend", experiments=("base", "plain")), records)
    assert (row.state, row.reason) == ("not measured", "no such value in `base`")


def test_time_is_never_taken_from_records(report):
    records = [make(report, name) for name in ARMS]
    row = judge(report, claim("time", shorter="base", longer="plain", ratio=1.5), records)
    assert (row.state, row.published, row.ours) == ("not measured", 1.5, None)


def test_a_sentence_takes_the_state_of_its_primary_indicator(report):
    sentence = claim("qualitative", text="It works.", indicators=("idle-acc", "test-acc"), primary="test-acc")
    row = judge(report, sentence, [make(report, seed=seed) for seed in range(3)])
    assert (row.state, row.n, row.what) == ("measured", 3, "It works.")
    assert row.details == ("`idle-acc`: not run (no full-protocol run yet)", "`test-acc` (primary): reproduced")
    assert not row.verdict.provisional
    assert judge(report, sentence, [make(report)]).verdict.provisional


@pytest.mark.parametrize("kind", ["explanation", "conjecture", "not_testable"])
def test_what_no_run_decides_says_so_in_its_own_word(report, kind):
    row = judge(report, claim(kind, text="Because.", why="Nobody varied it."), [make(report)])
    assert (row.state, row.reason, row.note) == (kind.replace("_", " "), "Nobody varied it.", "Because.")


def test_comparisons_were_declared_or_not(report):
    gap = claim("order", higher="base", lower="plain")
    mapping = ledger.claims([report.model_copy(update={"claims": (gap,)})])
    name = ledger.ledger_id(mapping)
    records = [make(report, "base", ledger=name), make(report, "plain", ledger=name)]
    assert judge(report, gap, records, {name: mapping}).declared == "yes"
    assert judge(report, gap, [records[0], replace(records[1], ledger="")], {name: mapping}).declared == "unknown"


# --- trajectory and confusion -------------------------------------------------------------------------------


def test_trajectory_states_the_mean_distance_and_the_share_within(report):
    printed = claim(
        "trajectory", experiment="base", curve="test/acc_pct", epochs=(1, 3), values=(60.0, 80.0), decimals=1,
        digitising=0.5,
    )  # fmt: skip
    records = with_curve(report, "test/acc_pct", "base", [60.5, 0, 82.0], [60.0, 0, 80.0])
    row = judge(report, printed, records)
    assert row.ours == pytest.approx((1.25 + 0) / 2)
    assert row.sd == pytest.approx(1.25 / math.sqrt(2))
    assert row.n == 2
    assert row.details[0].startswith("75 % of the points lie within 0.55")
    cut = printed.model_copy(update={"rounding": "floor"})
    assert judge(report, cut, records[1:]).ours == pytest.approx(0.05)
    fine = printed.model_copy(update={"digitising": 0.0})
    assert judge(report, fine, records).details[0].startswith("50 % of the points lie within 0.05 of")
    first = fine.model_copy(update={"digitising_first": (0.5,)})
    said = "75 % of the points lie within 0.05 of the published ones (digitising 0, of the first points 0.5, rounding"
    assert judge(report, first, records).details[0].startswith(said)


@pytest.mark.parametrize("run", [[60.0, 70.0], [60.0, 70.0, math.nan]])
def test_a_curve_that_lacks_a_point_is_left_out(report, run):
    printed = claim(
        "trajectory", experiment="base", curve="test/acc_pct", epochs=(1, 3), values=(60.0, 80.0), decimals=1
    )
    records = with_curve(report, "test/acc_pct", "base", run)
    assert judge(report, printed, records).state == "not measured"
    row = judge(report, printed, [*records, make(report, "base", 1)])
    assert (row.n, row.reason) == (1, "seed 0 left out: a run or its value is missing")


def test_confusion_counts_images_in_other_cells(report):
    theirs = np.diag([900] * 10) + 10 * np.ones((10, 10), int)
    ours = theirs.copy()
    ours[3, 3] -= 20
    ours[3, 5] += 20
    printed = claim("confusion", experiment="base", matrix=tuple(tuple(map(int, line)) for line in theirs))
    records = [make(report, seed=i, confusion={"last": m.tolist()}) for i, m in enumerate((ours, theirs))]
    row = judge(report, printed, records)
    assert (row.ours, row.n) == (10.0, 2)
    assert row.sd == pytest.approx(20 / math.sqrt(2))
    assert row.details == ("on the diagonal: published 9,100, ours 9,090",)
    small = make(report, confusion={"last": (ours // 5).tolist()})
    assert judge(report, printed, [small]).state == "not measured"


# --- convergence --------------------------------------------------------------------------------------------


def test_median_of_three_keeps_ends_and_drops_a_spike():
    assert smooth([1, 9, 2, 3, 4]).tolist() == [1, 2, 3, 3, 4]
    assert smooth([5]).tolist() == [5]
    assert smooth([5, 6]).tolist() == [5, 6]
    assert reach(np.array([10, 90, 10, 20, 60, 70]), 60) == 5
    assert reach(np.array([10, 20, 30]), 60) == 3  # censored at the budget


def test_a_curve_stretched_twofold_takes_twice_the_epochs():
    fast = 90 * (1 - np.exp(-np.arange(1, 401) / 40))
    slow = 90 * (1 - np.exp(-np.arange(1, 401) / 80))
    pair = by_thresholds(fast, slow)
    assert pair.ratio == pytest.approx(2, rel=0.03)
    assert [name for name, _, _ in pair.parts] == ["60 %", "65 %", "70 %", "75 %", "80 %", "85 %"]
    assert by_thresholds(slow, fast).ratio == pytest.approx(1 / pair.ratio)
    assert by_thresholds(fast, fast).ratio == 1
    assert by_thresholds(fast * 0.6, slow) is None


def test_losses_are_compared_over_the_first_fifth():
    fast, slow = np.full(50, 1.0), np.full(40, 3.0)
    fast[8:] = 100  # later epochs do not matter
    assert by_area(fast, slow).ratio == pytest.approx(3)


def test_convergence_is_a_geometric_mean_over_seeds(report):
    base = with_curve(report, "test/acc_pct", "base", [61, 70, 70, 70], [61, 70, 70, 70])
    plain = with_curve(report, "test/acc_pct", "plain", [50, 63, 63, 63], [50, 50, 50, 61, 70, 70, 70, 70])
    row = judge(report, claim("convergence", faster="base", slower="plain"), [*base, *plain])
    first, second = 2.0, math.sqrt(4 * 2.5)  # 60 % in 2 against 1; in the second seed also 65 % in 5 against 2
    assert row.ours == pytest.approx(math.sqrt(first * second))
    assert row.n == 2
    assert row.details[0].startswith("seed 0: 2.00 times (60 % 1 against 2)")
    low = with_curve(report, "test/acc_pct", "plain", [10, 20, 30])
    assert judge(report, claim("convergence", faster="base", slower="plain"), [*base, *low]).state == "not measured"


# --- bands --------------------------------------------------------------------------------------------------

BAND = {"narrower": ("base", "plain"), "wider": ("idle", "plain")}


def test_band_is_the_ratio_of_mean_widths(report):
    name = "step/loss"
    records = [
        *with_curve(report, name, "base", [2.0, 1.0]),
        *with_curve(report, name, "plain", [1.0, 2.0]),
        *with_curve(report, name, "idle", [4.0, 5.0]),
    ]
    row = judge(report, claim("band", **BAND), records)
    assert (row.ours, row.n, row.sd, row.metric) == (3.0, 1, None, "step/loss")
    assert row.details[0].startswith("mean width 1.000 against 3.000")
    lacking = judge(report, claim("band", **BAND), records[:-1])
    assert (lacking.state, lacking.reason) == ("not run", "no full-protocol run yet of `idle`")


def test_band_falls_back_to_windows_where_one_run_has_no_single_steps(report):
    both = {"step/loss": np.ones(4), "step/loss_mean": np.array([1.0, 2.0])}
    records = [make(report, name, curves=both) for name in ARMS[:2]]
    records.append(make(report, "idle", curves={"step/loss_mean": np.array([2.0, 4.0])}))
    found = bands(Pool(report, records, {}, "full"), claim("band", **BAND))
    assert isinstance(found, Bands)
    assert found.curve == "step/loss_mean"
    assert found.widths("wider").tolist() == [1.5]
    assert judge(report, claim("band", **BAND), records).reason == "a band has no width at all"


@pytest.mark.parametrize("curve", [[1.0, math.inf], [1.0]])
def test_a_diverged_or_shorter_run_leaves_no_band(report, curve):
    records = [make(report, name, curves={"step/loss": np.array([1.0, 2.0])}) for name in ARMS[:2]]
    records.append(make(report, "idle", curves={"step/loss": np.array(curve)}))
    assert judge(report, claim("band", **BAND), records).state == "not measured"


# --- folds --------------------------------------------------------------------------------------------------


def folded(report, k=5):
    base = report.experiments["base"]
    plain = base.recipe.model_dump(mode="json", exclude_defaults=True)
    plain["data"] |= {"folds": {"k": k, "network": "fresh"}, "split": {"train": 40_000, "val": 10_000}}
    arm = base.model_copy(update={"recipe": type(base.recipe).model_validate(plain)})
    return report.model_copy(update={"experiments": report.experiments | {"base": arm, "twin": arm}})


def fold_records(report, seed, accuracies):
    sha = recipe_hash(report.experiments["base"].recipe)
    return [
        make(report, seed=seed, fold=f, finals={"last": {"acc_pct": a}}, run_key=run_key("d", sha, seed, f, "", "full"))
        for f, a in enumerate(accuracies, 1)
    ]


def test_a_seed_of_fresh_folds_counts_with_all_its_folds(report):
    report = folded(report)
    records = fold_records(report, 0, [80, 81, 82, 83, 84]) + fold_records(report, 1, [90, 90, 90])
    point = claim("point", experiment="base", value=82.0, decimals=1)
    row = judge(report, point, records)
    assert (row.n, row.ours, row.sd, len(row.runs)) == (1, 82.0, None, 5)
    assert row.reason == "seed 1 has 3 of 5 folds"
    none = judge(report, point, records[5:])
    assert (none.state, none.reason) == ("not run", "seed 1 has 3 of 5 folds")
    one = judge(report, point.model_copy(update={"fold": 2}), records)
    assert (one.n, one.ours) == (2, (81 + 90) / 2)


def test_comparisons_take_the_mean_over_folds(report):
    report = folded(report)
    records = fold_records(report, 0, [80, 81, 82, 83, 84]) + with_acc(report, {"plain": [80.0]})
    assert judge(report, claim("order", higher="base", lower="plain"), records).ours == 2.0


# --- data and counts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"quantity": "images", "value": 60_000.0}, "equal"),
        ({"quantity": "images_per_class", "value": 5_000.0}, "not equal"),
        ({"quantity": "channel_mean", "channel": "red", "value": 0.4914, "decimals": 4}, "equal"),
        ({"quantity": "channel_std", "channel": "blue", "value": 0.2616, "decimals": 4}, "equal"),
        ({"quantity": "channel_std", "channel": "red", "value": 0.2023, "decimals": 4}, "not equal"),
    ],
)
def test_data_claims_are_exact(report, fields, state):
    row = judge(report, claim("data", **fields), [])
    assert row.state == state
    assert row.details == ((fields["channel"],) if "channel" in fields else ())


def test_counts_of_a_layer_and_of_depth(report):
    depth = judge(report, claim("count", experiment="base", quantity="depth", value=8.0), [])
    assert (depth.state, depth.ours) == ("equal", 8.0)
    fields = {"experiment": "base", "quantity": "layer_parameters", "layer": "Conv2d-3", "value": 2_304.0}
    row = judge(report, claim("count", **fields), [])
    assert (row.state, row.details) == ("equal", ("Conv2d-3",))


def test_rows_that_differ_in_more_than_the_named_factor_are_not_testable(report):
    named = next(c for c in report.claims if c.id == "augmented-better")
    records = [make(report, seed=s) for s in range(3)] + [make(report, "plain", seed=s, top=80.0) for s in range(3)]
    clean = judge(report, named.model_copy(update={"factor": ("augment",)}), records)
    assert clean.verdict.word == "supported"
    other = judge(report, named.model_copy(update={"factor": ("optim",)}), records)
    assert other.verdict.word == "not testable"
    assert "`augment`" in other.verdict.why
    assert other.ours == clean.ours


def test_a_label_needs_every_headline_claim(report):
    def said(accuracies, plain=80.0):
        records = [make(report, seed=s, finals={"last": {"acc_pct": a}}) for s, a in enumerate(accuracies)]
        records += [make(report, "plain", seed=s, finals={"last": {"acc_pct": plain}}) for s in range(len(accuracies))]
        return label(judge_all(report, records))

    assert said([]).word == "open"
    assert said([90.1, 90.2, 90.3]).word == "reproduced"
    assert said([88.0, 88.1, 88.2]).word == "not reproduced"
    assert said([90.1, 90.2, 90.3], plain=95.0).word == "not reproduced"
    assert said([91.2, 91.0, 91.4]).word == "reproduced"  # exceeded and attained
    assert said([90.1]).provisional


def test_negative_verdicts_have_q_values_and_smoke_runs_no_verdict(report):
    low = [make(report, seed=s, top=85.0) for s in range(3)]
    rows = {row.claim: row for row in judge_all(report, low)}
    assert rows["test-acc"].verdict.word == "fell short"
    assert 0 <= rows["test-acc"].verdict.p <= rows["test-acc"].verdict.q < 0.1
    assert rows["params"].verdict.q is None
    assert values.verdict(rows["test-acc"]) == "fell short"
    unsure = replace(rows["test-acc"], verdict=replace(rows["test-acc"].verdict, q=0.113))
    assert values.verdict(unsure) == "fell short, q 0.11"
    smoke = judge_all(report, [make(report, profile="smoke")], profile="smoke")
    assert next(row for row in smoke if row.claim == "test-acc").verdict is None


def test_a_run_without_a_value_leaves_the_verdict_open(report):
    records = [make(report, seed=s, finals={"last": {"acc_pct": 90.1}}) for s in range(3)]
    broken = make(report, seed=3, state="diverged", finals={"last": {"acc_pct": float("nan")}})
    found = judge(report, next(c for c in report.claims if c.id == "test-acc"), [*records, broken]).verdict
    assert found.word == "inconclusive"
    assert found.why.startswith("1 of 4 runs have no such value")


def test_a_seed_that_came_to_no_value_leaves_a_comparison_open(report):
    gap = claim("order", higher="plain", lower="base", metric="loss", protocol="last")
    finals = [{"last": {"loss": x, "acc_pct": 90.0}} for x in (0.41, 0.40, 0.42, 0.30, 0.31, 0.30)]
    high = [make(report, "plain", seed, finals=f) for seed, f in enumerate(finals[:3])]
    low = [make(report, "base", seed, finals=f) for seed, f in enumerate(finals[3:])]
    lost = make(report, "plain", 3, state="diverged", finals={"last": {"loss": float("nan"), "acc_pct": 10.0}})
    alone = [make(report, "base", 3, finals=finals[3])]
    assert judge(report, gap, high + low).verdict.word == "supported"
    found = judge(report, gap, [*high, *low, *alone, lost]).verdict
    assert (found.word, found.why.split(":")[0]) == ("inconclusive", "1 of 4 seeds have no such value; of the others")
    assert judge(report, gap, high + low + alone).verdict.word == "supported"  # a run that was not made is no loss


def test_a_claim_whose_rule_changed_since_is_said_to_be_declared_under_the_earlier_one(report):
    gap = claim("order", higher="base", lower="plain", metric="acc_pct", protocol="last")
    before = {f"{report.id}/c": ledger.digest(gap, 1)}
    name = ledger.ledger_id(before)
    records = [replace(r, ledger=name) for r in with_acc(report, {"base": [91.0], "plain": [90.0]})]
    assert judge(report, gap, records, {name: before}).declared == "rules 1"
    other = {f"{report.id}/c": ledger.digest(gap.model_copy(update={"lower": "idle"}), 1)}
    name = ledger.ledger_id(other)
    assert judge(report, gap, [replace(r, ledger=name) for r in records], {name: other}).declared == "no"


def test_a_comparison_of_three_pairs_is_provisional_in_its_row_as_in_its_verdict(report):
    gap = claim("order", higher="base", lower="plain", metric="acc_pct", protocol="last")
    values = {"base": [91.0, 91.2, 91.1, 91.0, 91.1], "plain": [88.0, 88.1, 88.2, 88.0, 88.1]}
    few, enough = (
        judge(report, gap, with_acc(report, {name: each[:n] for name, each in values.items()})) for n in (3, 5)
    )
    assert (few.n, few.provisional, few.verdict.provisional) == (3, True, True)
    assert (enough.n, enough.provisional, enough.verdict.provisional) == (5, False, False)


def test_the_pooled_spread_of_a_report_raises_the_prior(report):
    pool = Pool(report, [], {}, "full")
    assert pool.pooled is None
    assert pool.prior(0.1) == 0.1


def test_a_number_of_a_foreign_record_is_finite_or_nothing():
    assert [number(v) for v in (1, 2.5)] == [1.0, 2.5]
    assert {number(v) for v in (10**400, float("inf"), float("nan"), True, "3", None)} == {None}
