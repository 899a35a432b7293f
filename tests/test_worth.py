"""Which runs are worth training next: looks at 3, 5 and 8 seeds, their chances, steps and their order."""

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
import synthetic
from command_line import small_report
from golden_demo import make
from scipy.stats import chi2
from scipy.stats import t as student

from repro.judge import deciding, statistics, worth
from repro.judge.claims import judge
from repro.judge.records import Pool
from repro.judge.worth_draws import Chances, further, predictive
from repro.judge.worth_looks import LOOKS, Runs, standing, standings
from repro.judge.worth_minutes import ESTIMATED, Minutes
from repro.spec import cost
from repro.spec.loading import load_all

MORE = """claims:
  - {id: order, kind: order, higher: first, lower: second, where: Table 3}
  - {id: other, kind: point, experiment: second, value: 60.0, decimals: 1, where: Table 3}
  - {id: loss, kind: loss, experiment: second, metric: loss, value: 1.0, decimals: 2, where: Table 3}
  - {id: curve, kind: convergence, faster: first, slower: second, where: Figure 1}
  - {id: text, kind: conjecture, text: It might., why: Not done., where: Section 1}
"""
CHANCES = Chances(draws=2000)


@pytest.fixture(scope="module")
def report():
    return small_report(("claims:\n", MORE))


def runs(report, experiment, values, seeds=None, **changes):
    """Return records of an experiment whose last accuracies are these, of seeds 0, 1, 2, ..."""
    found = []
    for seed, value in zip(seeds or range(len(values)), values, strict=True):
        record = make(report, experiment, 0, 50.0, **changes)
        key = Runs(report).of(experiment, seed)[0].key
        finals = {"last": {"acc_pct": value, "loss": 1 + 0.01 * seed}}
        found.append(replace(record, seed=seed, run_key=key, finals=finals))
    return found


def pool_of(report, *records):
    return Pool(report, [record for each in records for record in each], {}, "full")


def at(pool, name):
    """Return a claim and where it stands."""
    claim = next(claim for claim in pool.report.claims if claim.id == name)
    return claim, standing(pool, claim, judge(pool.report, claim, pool.records))


def chance(pool, name, look, chances=CHANCES):
    claim, found = at(pool, name)
    return chances.of(pool, claim, found, look)


def seeds_of(looks, name):
    (look,) = (look for look in looks if look.claim == name)
    return [(run.experiments[0], run.seed) for run in look.runs]


# --- looks ------------------------------------------------------------------------------------------------------------

#: far from both words: 0.8 points above, with a margin of 2.0 at 50 % that the 90 % interval crosses
OPEN = (51.0, 52.4, 50.2, 51.9, 50.6, 52.2, 50.9, 51.4)


@pytest.mark.parametrize(
    ("n", "later"), [(0, LOOKS), (2, LOOKS), (3, LOOKS[1:]), (4, LOOKS[1:]), (5, (8,)), (7, (8,)), (8, ())]
)
def test_looks_are_at_3_5_and_8_seeds(report, n, later):
    pool = pool_of(report, runs(report, "first", OPEN[:n]))
    found = at(pool, "acc")[1]
    assert (found.n, found.decided) == (n, False)
    assert found.later == later


@pytest.mark.parametrize(
    ("there", "lacks"),
    [
        ((), [0, 1, 2]),
        ((0,), [1, 2]),
        ((0, 1, 2), [3, 4]),
        ((0, 1, 2, 3), [4]),
        ((0, 2, 7), [1, 3]),
        (range(5), [5, 6, 7]),
    ],
)
def test_a_look_lacks_the_lowest_seeds(report, there, lacks):
    there = tuple(map(int, there))
    looks = worth.next_looks(report, runs(report, "first", OPEN[: len(there)], there))
    assert seeds_of(looks, "acc") == [("first", seed) for seed in lacks]


def test_a_comparison_lacks_the_runs_of_both_sides_and_none_that_are_there(report):
    looks = worth.next_looks(report, runs(report, "first", OPEN[:4]) + runs(report, "second", (51.0,), (1,)))
    assert seeds_of(looks, "order") == [("second", 0), ("second", 2)]


def test_a_look_that_lacks_a_run_that_may_not_be_made_is_left_out(report):
    """These three lie so far apart that five seeds cannot close them in, and eight can."""
    records = runs(report, "first", OPEN[:3])
    (look,) = (look for look in worth.next_looks(report, records) if look.claim == "acc")
    assert (look.seeds, worth.drawn(look).seeds) == (5, 8)
    (look,) = (x for x in worth.next_looks(report, records, may=lambda run: run.seed != 7) if x.claim == "acc")
    assert worth.drawn(look) is None
    looks = worth.next_looks(report, records, may=lambda run: run.seed != 4)
    assert "acc" not in {look.claim for look in looks}


def test_what_lies_between_two_looks_is_no_look(report):
    """Three seeds leave it open, four would not: the fourth is on the way to the fifth, and decides nothing."""
    values = (48.9, 50.0, 51.1, 50.0)
    pool = pool_of(report, runs(report, "first", values))
    claim, found = at(pool, "acc")
    assert judge(report, claim, pool.records).verdict.word == "reproduced"
    assert judge(report, claim, pool.records[:3]).verdict.word == "inconclusive"
    assert (found.word, found.decided) == ("inconclusive", False)
    assert seeds_of(worth.next_looks(report, pool.records), "acc") == [("first", 4)]


def test_a_step_that_was_begun_keeps_its_chance_until_its_look(report):
    values = (50.3, 50.95, 51.6, 55.0, 20.0, 51.0, 51.0)
    three, four = (pool_of(report, runs(report, "first", values[:n])) for n in (3, 4))
    assert 0 < chance(three, "acc", 5) == chance(four, "acc", 5) < 1


@pytest.mark.parametrize("values", [(50.1, 49.9, 50.0), (70.0, 70.2, 69.9), (30.0, 30.1, 30.2), OPEN])
def test_a_claim_that_is_decided_or_had_its_last_look_has_no_other(report, values):
    looks = worth.next_looks(report, runs(report, "first", values))
    assert "acc" not in {look.claim for look in looks}
    assert "order" in {look.claim for look in looks}


def test_two_runs_decide_nothing_however_clear_they_are(report):
    assert not at(pool_of(report, runs(report, "first", (50.0, 50.1))), "acc")[1].decided


def test_what_no_run_decides_has_no_look(report):
    assert {look.claim for look in worth.next_looks(report, [])} == {"acc", "order", "other", "loss", "curve"}
    for factor, there in (("budget", False), ("optim", True)):  # the two arms differ in their rate
        more = MORE.replace("first, lower: second,", f"first, lower: second, factor: [{factor}],")
        assert ("order" in standings(Pool(small_report(("claims:\n", more)), [], {}, "full"))) is there


# --- chances ----------------------------------------------------------------------------------------------------------


def words(x, published):
    """Judge many points at once, (cases, seeds), by the rule as docs/verdicts.md has it; one digit published."""
    n, s0 = x.shape[1], 100 * sqrt((1 - published / 100) / 20_000)
    s2, d = x.var(axis=1, ddof=1), x.mean(axis=1) - published
    unstable = s2 > s0**2 * chi2.ppf(0.99, n - 1) / (n - 1)
    nu = np.where(unstable, n - 1, n + 3)
    se = np.sqrt(np.where(unstable, s2, (4 * s0**2 + (n - 1) * s2) / (n + 3)) * (1 / n + 1) + 0.05**2 / 3)
    margin = round(min(max(0.32 * sqrt(100 - published), 0.5), 2.0), 1)
    same = np.abs(d) + np.where(unstable, student.ppf(0.95, n - 1), student.ppf(0.95, n + 3)) * se < margin
    off = np.abs(d) > student.ppf(0.975, nu) * se
    return np.where(same, "reproduced", np.where(off, np.where(d > 0, "exceeded", "fell short"), "inconclusive"))


def reference(values, published, look, now, draws=40_000):
    """Simulate a point's next look once more, all draws at once."""
    rng, x, n = np.random.default_rng(1), np.array(values), len(values)
    nu = 3 + n
    sd = np.sqrt((4 * statistics.jordan_sd(published) ** 2 + (n - 1) * x.var(ddof=1)) / rng.chisquare(nu, (draws, 1)))
    true = x.mean() + sd / sqrt(n) * rng.standard_normal((draws, 1))
    every = np.hstack([np.tile(x, (draws, 1)), true + sd * rng.standard_normal((draws, look - n))])
    return float((words(every, published) != now).mean())


@pytest.mark.parametrize("shift", [0.0, 0.4, 0.9, 1.0, 1.1, 1.2, 2.0, -1.0])
@pytest.mark.parametrize("base", [(-0.6, 0.0, 0.6), (-0.9, 0.2, 0.7, -0.1, 0.1)])
def test_the_chance_of_a_point_is_that_of_its_rule_simulated_otherwise(report, shift, base):
    values = [50.0 + shift + b for b in base]
    pool = pool_of(report, runs(report, "first", values))
    look = 5 if len(base) == 3 else 8
    found = at(pool, "acc")[1]
    now = found.word if found.decided else "inconclusive"
    assert chance(pool, "acc", look) == pytest.approx(reference(values, 50.0, look, now), abs=4 * 0.5 / sqrt(2000))


def test_the_rule_at_once_is_the_judges():
    rng = np.random.default_rng(0)
    x = 90.1 + rng.normal(0, 1.2, (300, 1)) + rng.normal(0, 0.3, (300, 5))
    judged = [deciding.point(row.tolist(), 90.1, 0.05, statistics.jordan_sd(90.1)).word for row in x]
    assert words(x, 90.1).tolist() == judged
    assert len(set(judged)) == 4


@pytest.mark.parametrize(
    ("spread", "apart", "once", "three_looks"),
    [
        (0.22, 0.0, (94, 2, 4), (98, 2, 0)),
        (0.22, 0.5, (51, 31, 17), (60, 38, 2)),
        (0.22, 1.0, (3, 91, 6), (4, 96, 0)),
        (0.40, 0.0, (50, 11, 39), (61, 13, 26)),
        (0.40, 1.0, (9, 56, 35), (11, 69, 20)),
    ],
)
def test_three_looks_err_as_docs_verdicts_says(spread, apart, once, three_looks):
    """The published number is a run as well; it moves, or ours do: the rule sees their difference only."""
    draws, rng = 40_000, np.random.default_rng(3)
    x = 90.1 + apart + rng.normal(0, spread, (draws, 8)) - rng.normal(0, spread, (draws, 1))
    looks = [words(x[:, :n], 90.1) for n in LOOKS]
    stopped = looks[0]
    for later in looks[1:]:
        stopped = np.where(stopped == "inconclusive", later, stopped)
    for found, expected in ((looks[0], once), (stopped, three_looks)):
        kinds = (found == "reproduced", np.isin(found, ("exceeded", "fell short")), found == "inconclusive")
        assert [100 * kind.mean() for kind in kinds] == pytest.approx(expected, abs=1.2)


@pytest.mark.parametrize(("apart", "once", "two_looks"), [(0.0, 7.8, 12.0), (0.3, 61, 81)])
def test_two_looks_at_an_order_err_as_docs_verdicts_says(apart, once, two_looks):
    """Of recipes that are alike, those called supported or reversed; of others, those called supported."""
    rng, called = np.random.default_rng(5), ("supported", "reversed") if apart == 0 else ("supported",)
    found = []
    for _ in range(3000):
        higher, lower = apart + rng.normal(0, 0.22, 8), rng.normal(0, 0.22, 8)
        five, eight = (deciding.order(higher[:n].tolist(), lower[:n].tolist(), 0.22).word for n in (5, 8))
        found.append((five, eight if five == "inconclusive" else five))
    rates = [100 * np.mean([each[i] in called for each in found]) for i in (0, 1)]
    assert rates == pytest.approx([once, two_looks], abs=4 * 100 * 0.5 / sqrt(3000) * (0.6 if apart == 0 else 1))


def test_far_inside_the_margin_nothing_changes_and_on_its_edge_it_may_go_either_way(report):
    inside = pool_of(report, runs(report, "first", (50.1, 49.9, 50.0)))
    assert chance(inside, "acc", 5) < 0.03
    far = pool_of(report, runs(report, "first", (60.1, 59.9, 60.0)))
    assert chance(far, "acc", 5) < 0.03
    # With five seeds an order's difference is where, with eight, its 90 % interval begins to exclude 0: half of the
    # draws lie above that.
    gaps = np.array([-0.3, -0.1, 0.0, 0.1, 0.3])
    spread = statistics.moderated(gaps.tolist(), sqrt(2) * statistics.jordan_sd(50.0))
    edge = 50.0 + gaps + float(student.ppf(0.95, spread.nu + 3)) * spread.sd / sqrt(8)
    pool = pool_of(report, runs(report, "first", edge.tolist()), runs(report, "second", [50.0] * 5))
    assert not at(pool, "order")[1].decided
    assert chance(pool, "order", 8) == pytest.approx(0.5, abs=0.1)


def test_before_the_first_look_a_claim_is_worth_one(report):
    for n in (0, 1, 2):
        pool = pool_of(report, runs(report, "first", OPEN[:n]))
        assert chance(pool, "acc", 3) == 1.0


def test_an_order_that_is_clear_is_decided_at_five(report):
    clear = pool_of(report, runs(report, "first", (55.0, 55.2, 54.9)), runs(report, "second", (50.0, 50.1, 49.8)))
    assert not at(clear, "order")[1].decided  # provisional: five pairs are needed
    assert chance(clear, "order", 5) > 0.99
    alike = pool_of(report, runs(report, "first", (50.0, 50.6, 50.3)), runs(report, "second", (50.3, 50.1, 50.5)))
    assert chance(alike, "order", 5) < 0.5


def test_an_intricate_kind_is_worth_one_until_its_rule_has_its_seeds(report):
    def curve(n):
        pool = pool_of(report, runs(report, "first", OPEN[:n]), runs(report, "second", OPEN[:n]))
        claim = next(claim for claim in report.claims if claim.id == "curve")
        found = standing(pool, claim, judge(report, claim, pool.records))
        return [CHANCES.of(pool, claim, found, look) for look in found.later]

    assert curve(3) == [1.0, 1.0]
    assert curve(5) == [0.0]


def test_a_run_without_the_value_leaves_the_claim_open_whatever_follows(report):
    records = runs(report, "first", (50.1, 49.9, 50.0))
    records[1] = replace(records[1], finals={"last": {"acc_pct": float("nan")}}, state="diverged")
    pool = pool_of(report, records)
    assert chance(pool, "acc", 5) == chance(pool, "acc", 8) == 0.0
    found = [worth.drawn(look) for look in worth.next_looks(report, records) if look.claim == "acc"]
    assert found == [None]


def test_predictive_draws_have_the_moments_of_the_predictive_distribution():
    x, prior = np.array([50.0, 50.4, 50.3]), 0.3
    spread = statistics.moderated(x.tolist(), prior)
    drawn = predictive(x, prior, (400_000, 2), np.random.default_rng(0))
    base = spread.sd**2 * spread.nu / (spread.nu - 2)
    assert drawn.mean() == pytest.approx(x.mean(), abs=0.003)
    assert drawn.var() == pytest.approx(base * (1 + 1 / 3), rel=0.02)
    assert np.cov(drawn.T)[0, 1] == pytest.approx(base / 3, rel=0.04)  # the true mean, which both share


def test_drawn_pairs_differ_as_the_order_rule_expects():
    values = {"a": {0: 50.0, 1: 50.6, 2: 50.1}, "b": {0: 49.0, 1: 49.5, 2: 49.6}}
    drawn = further(values, 0.3, (400_000, 1), np.random.default_rng(0))
    gaps = [values["a"][seed] - values["b"][seed] for seed in range(3)]
    spread = statistics.moderated(gaps, sqrt(2) * 0.3)
    gap = drawn["a"] - drawn["b"]
    assert gap.mean() == pytest.approx(np.mean(gaps), abs=0.005)
    assert gap.var() == pytest.approx(spread.sd**2 * spread.nu / (spread.nu - 2) * (1 + 1 / 3), rel=0.02)
    assert drawn["a"].mean() == pytest.approx(np.mean(list(values["a"].values())), abs=0.005)


def test_the_same_records_give_the_same_chances_in_any_order(report):
    records = runs(report, "first", OPEN[:3]) + runs(report, "second", (58.6, 59.5, 60.4))
    first, again = ([worth.drawn(look) for look in worth.next_looks(report, each)] for each in (records, records[::-1]))
    assert first == again
    assert any(0 < look.chance < 1 for look in first if look)


# --- steps ------------------------------------------------------------------------------------------------------------


def test_a_headline_that_was_never_run_comes_first_whatever_it_costs(report):
    for minutes in ({"first": 1000.0, "second": 0.001}, {"first": 0.001, "second": 1000.0}):
        step, _ = worth.best(worth.next_looks(report, []), lambda run, m=minutes: m[run.experiments[0]])
        assert "acc" in {look.claim for look in step.looks}
        assert {run.experiments[0] for run in step.runs} >= {"first"}


def test_after_the_headlines_the_changes_a_minute_decide(report):
    records = runs(report, "first", (50.0, 50.1, 49.9))
    cheap, _ = worth.best(worth.next_looks(report, records), lambda run: 1.0)
    assert [(run.experiments[0], run.seed) for run in cheap.runs] == [("second", seed) for seed in range(3)]
    assert {look.claim for look in cheap.looks} == {"other", "loss", "order", "curve"}  # shared runs count for all
    assert cheap.worth == 4.0
    assert cheap.minutes == 3.0
    assert not cheap.headline


@pytest.mark.parametrize(("name", "seeds"), [("shamooun2022", 3), ("chiu2023", 5)])
def test_the_best_step_is_that_of_all_chances_drawn(name, seeds):
    report = load_all()[name]
    looks = worth.next_looks(report, synthetic.records({name: report}, seeds), chances=(chances := Chances(60)))
    minutes = Minutes({name: report})
    known = [look for each in looks if (look := worth.drawn(each))]
    assert worth.best(looks, minutes)[0] == worth.steps(known, minutes)[0]
    assert all(0.01 <= look.chance <= 1 for look in known)
    assert len(chances.known) > 3


def test_foreseen_steps_make_each_run_once_and_reach_each_look_once():
    reports = load_all()
    looks = [look for report in reports.values() for look in worth.next_looks(report, [])]
    found = list(worth.foreseen(looks, Minutes(reports)))
    keys = [run.key for step in found for run in step.runs]
    assert len(keys) == len(set(keys))
    assert set(keys) == {run.key for look in looks for run in look.runs}
    reached = [(look.report, look.claim) for step in found for look in step.looks]
    assert sorted(reached) == sorted((look.report, look.claim) for look in looks)
    assert [step.headline for step in found] == sorted((step.headline for step in found), reverse=True)


def test_minutes_are_estimated_until_something_was_measured_and_then_scaled(report):
    first, second = (Runs(report).of(name, 0)[0] for name in ("first", "second"))
    estimated = Minutes({"tiny": report})
    assert estimated(first) == cost.of(first.recipe).minutes
    assert estimated.where == ESTIMATED
    records = [replace(r, seconds=s) for r, s in zip(runs(report, "first", OPEN[:3]), (60, 120, 600), strict=True)]
    other = Minutes({"tiny": report}, records, "cpu-fp32-relaxed-n1")
    assert other(first) == estimated(first)
    measured = Minutes({"tiny": report}, records, records[0].env_class, {second.key: 0.5})
    assert measured(first) == 2.0
    assert measured(second) == pytest.approx(0.5 * 2.0 * estimated(second) / estimated(first))


def test_a_step_in_words(report):
    step, _ = worth.best(worth.next_looks(report, runs(report, "first", (50.0, 50.1, 49.9))), lambda run: 1.0)
    assert worth.runs_said(step) == "tiny/second s0 s1 s2"
    assert worth.claims_said(step) == "order 100 %, other 100 %, loss 100 %, curve 100 % (n 0 -> 3)"
