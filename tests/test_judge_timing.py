"""Claims of time: the rule against closed forms, what counts, and which of several measurements answers."""

import json
import math

import numpy as np
import pytest
from golden_demo import demo
from pydantic import TypeAdapter
from scipy.stats import t as student

from repro.errors import UserError
from repro.judge import timing, timings
from repro.judge.claims import judge, judge_all
from repro.judge.statistics import log_ratios
from repro.judge.timings import NONE, Group, Round, Timed, Timings
from repro.report import tables, values
from repro.report.render import render
from repro.spec.identity import recipe_hash
from repro.spec.schema import Claim

REPORT = demo()
IDLE = Round(idle=True, busy_pct=0.0, others=0)


def claim(**fields):
    plain = {"id": "c", "where": "T", "kind": "time", "shorter": "base", "longer": "plain"}
    return TypeAdapter(Claim).validate_python(plain | fields)


def timed(name, seconds, **changes):
    recipe = REPORT.experiments[name].recipe
    plain = {"experiment": name, "recipe_hash": recipe_hash(recipe), "seconds": tuple(seconds)}
    images = recipe.data.split.train
    return Timed(**plain | {"images": images, "of": images} | changes)


def group(ratios, base=2.0, arms=None, **changes):
    """Rounds in which `plain` takes that many times as long as `base`, whose own time drifts."""
    ratios = list(ratios)
    drift = [base * (1 + 0.3 * i) for i in range(len(ratios))]
    arms = arms or (timed("base", drift), timed("plain", [r * s for r, s in zip(ratios, drift, strict=True)]))
    plain = {"report": REPORT.id, "date": "2026-01-01T00:00:00+00:00", "env_class": "cuda-bf16-relaxed-n1",
             "data": "cifar10", "machine": {"device": "Synthetic GPU"}, "experiments": arms,
             "rounds": (IDLE,) * len(ratios)}  # fmt: skip
    return Group(**plain | changes)


def held(*groups):
    return NONE.model_copy(update={"groups": groups})


def row(ratios, group_changes=None, **fields):
    return judge(REPORT, claim(**fields), [], timings=held(group(ratios, **group_changes or {})))


def bounds(ratios, level):
    """The interval of the geometric mean, by scipy."""
    logs = np.log(ratios)
    low, high = student.interval(level, len(logs) - 1, logs.mean(), logs.std(ddof=1) / math.sqrt(len(logs)))
    return math.exp(low), math.exp(high)


# --- the rule ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratios", "word"),
    [
        ([1.5, 1.52, 1.48], "supported"),
        ([1.06, 1.061, 1.059], "supported"),
        ([1.02, 1.021, 1.019], "no effect"),  # above 1, by less than counts
        ([1.0, 1.01, 0.99], "no effect"),
        ([0.98, 0.981, 0.979], "no effect"),
        ([0.8, 0.81, 0.79], "reversed"),
        ([1.1, 0.9, 1.3], "inconclusive"),
        ([1.04, 1.06, 1.05], "supported"),  # reaches beyond 5 %, and lies above 1
    ],
)
def test_a_claim_without_a_ratio_is_judged_by_the_interval(ratios, word):
    found = row(ratios)
    low, high = bounds(ratios, 0.90)
    assert (found.state, found.n, found.verdict.word) == ("measured", 3, word)
    assert found.ours == pytest.approx(np.exp(np.log(ratios).mean()))
    assert (math.exp(found.verdict.low), math.exp(found.verdict.high)) == pytest.approx((low, high))
    wide = math.exp(found.verdict.low95), math.exp(found.verdict.high95)
    assert wide == pytest.approx(bounds(ratios, 0.95))
    expected = "no effect" if low > 1 / 1.05 and high < 1.05 else "supported" if low > 1 else "reversed"
    assert word == (expected if not low <= 1 <= high or expected == "no effect" else "inconclusive")


@pytest.mark.parametrize(
    ("ratios", "published", "decimals", "word"),
    [
        ([1.22, 1.23, 1.21], 1.22, 2, "reproduced"),
        ([1.17, 1.171, 1.169], 1.22, 2, "reproduced"),  # 4 % below
        ([1.50, 1.51, 1.49], 1.22, 2, "exceeded"),
        ([1.02, 1.021, 1.019], 1.22, 2, "fell short"),
        ([1.22, 1.5, 1.0], 1.22, 2, "inconclusive"),
        ([1.0, 1.001, 0.999], 1.0, 2, "reproduced"),
        ([1.43, 1.431, 1.429], 1.0, 0, "reproduced"),  # 1 stands for all from 0.5 to 1.5
    ],
)
def test_a_claim_with_a_ratio_is_judged_beside_it(ratios, published, decimals, word):
    found = row(ratios, ratio=published, decimals=decimals)
    assert found.verdict.word == word
    assert (found.published, found.difference) == (published, pytest.approx(found.ours - published))
    half = 0.5 * 10.0**-decimals
    assert found.verdict.margin == pytest.approx(
        math.log(1.05) + (math.log(published + half) - math.log(published - half)) / 2
    )
    (low, high), (low95, high95) = bounds(ratios, 0.90), bounds(ratios, 0.95)
    least, most = published * math.exp(-found.verdict.margin), published * math.exp(found.verdict.margin)
    if least < low and high < most:
        assert word == "reproduced"
    elif low95 > published or high95 < published:
        assert word == ("exceeded" if low95 > published else "fell short")
    else:
        assert word == "inconclusive"


def test_the_probability_is_that_of_so_low_a_ratio():
    ratios, published = [1.10, 1.12, 1.11], 1.22
    logs = np.log(ratios)
    statistic = (logs.mean() - math.log(published)) / (logs.std(ddof=1) / math.sqrt(3))
    assert row(ratios, ratio=published).verdict.p == pytest.approx(student.cdf(statistic, 2))


def test_rounds_pair_so_that_a_drift_of_the_device_cancels():
    """The times of `group` rise by 30 % a round; the ratio knows nothing of it."""
    found = row([1.5] * 5)
    assert found.ours == pytest.approx(1.5)
    assert found.sd == pytest.approx(0, abs=1e-12)


def test_the_other_way_round_is_the_inverse():
    there = row([1.5, 1.52, 1.48])
    back = row([1.5, 1.52, 1.48], shorter="plain", longer="base")
    assert back.ours == pytest.approx(1 / there.ours)
    assert (there.verdict.word, back.verdict.word) == ("supported", "reversed")
    assert back.verdict.low == pytest.approx(-there.verdict.high)


@pytest.mark.parametrize("true", [1.0, 1.04, 1.2])
def test_how_often_the_rule_errs(true):
    """Among 2,000 measurements with a spread of 2 %: the 90 % interval misses a true ratio on a side in 1 of 20."""
    rng = np.random.default_rng(7)
    words = [timing.verdict(log_ratios(np.exp(rng.normal(math.log(true), 0.02, 5)).tolist())).word for _ in range(2000)]
    assert words.count("reversed") <= 0.07 * len(words)
    assert (words.count("supported") <= 0.07 * len(words)) == (true == 1.0)


# --- what counts ---------------------------------------------------------------------------------------------

BUSY, UNKNOWN = Round(idle=False, busy_pct=40.0, others=1), Round(idle=None)
RATIOS = [1.5, 1.52, 1.48]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"env_class": "cpu-fp32-relaxed-n1"}, "measured on a CPU: a ratio of times belongs to a kind of device"),
        ({"rounds": (IDLE, BUSY, IDLE)}, "something else used the device in round 2"),
        ({"rounds": (UNKNOWN, IDLE, IDLE)}, "whether anything else used the device is not known"),
        ({"data": "cifar10-sample"}, "the images are those of cifar10-sample"),
    ],
)
def test_what_does_not_count_is_shown_and_not_judged(changes, reason):
    found = row(RATIOS, changes, ratio=1.5)
    assert (found.state, found.verdict.word) == ("measured", "not judged")
    assert found.ours == pytest.approx(1.5, rel=0.01)
    assert found.verdict.low < math.log(1.5) < found.verdict.high
    assert found.reason == found.verdict.why
    assert reason in found.reason
    assert any(f"not judged: {reason}" in line for line in found.details)
    assert (found.verdict.p, found.verdict.margin) == (None, None)  # it enters no q-value


def test_fewer_images_do_not_count():
    arms = timed("base", [2.0] * 3), timed("plain", [3.0] * 3, images=500)
    found = row([1.5] * 3, {"arms": arms})
    assert (found.verdict.word, found.ours) == ("not judged", pytest.approx(1.5))
    assert found.reason.startswith("500 of ")


@pytest.mark.parametrize("rounds", [1, 2])
def test_fewer_rounds_do_not_count(rounds):
    found = row(RATIOS[:rounds])
    assert (found.verdict.word, found.n) == ("not judged", rounds)
    assert found.reason == f"3 rounds are needed, {rounds} here"


def test_another_arms_images_do_not_matter():
    arms = (timed("base", [2.0] * 3), timed("plain", [3.0] * 3), timed("idle", [3.0] * 3, images=5))
    assert row([1.5] * 3, {"arms": arms}).verdict.word == "supported"


def test_a_recipe_that_was_changed_answers_nothing():
    arms = timed("base", [2.0] * 3, recipe_hash="0" * 64), timed("plain", [3.0] * 3)
    found = row([1.5] * 3, {"arms": arms})
    assert (found.state, found.ours, found.verdict.word) == ("not measured", None, "not judged")
    assert found.reason == "measured before the recipe of `base` was changed"


@pytest.mark.parametrize(
    "there", [NONE, held(group(RATIOS, report="other")), held(group(RATIOS, arms=(timed("base", RATIOS),)))]
)
def test_without_a_measurement_the_row_is_as_before(there):
    found = judge(REPORT, claim(), [], timings=there)
    assert found == judge(REPORT, claim(), [])
    assert (found.state, found.verdict.why) == ("not measured", "no measurement side by side yet")


def test_pages_of_other_profiles_show_no_times():
    found = judge(REPORT, claim(), [], profile="smoke", timings=held(group(RATIOS)))
    assert found.state == "not measured"


def test_of_several_the_latest_that_counts_answers():
    early, late = group([1.1] * 3, date="2026-01-01"), group([1.2] * 3, date="2026-02-01")
    cpu = group([1.3] * 3, date="2026-03-01", env_class="cpu-fp32-relaxed-n1")
    for order in ((early, late, cpu), (cpu, late, early)):
        assert judge(REPORT, claim(), [], timings=held(*order)).ours == pytest.approx(1.2)
    assert judge(REPORT, claim(), [], timings=held(cpu)).ours == pytest.approx(1.3)


def test_a_sentence_follows_its_indicators():
    more = claim(id="more"), claim(id="again", shorter="plain", longer="base")
    sentence = TypeAdapter(Claim).validate_python({
        "id": "s", "where": "T", "kind": "qualitative", "text": "It takes longer.", "indicators": ("more", "again"),
        "primary": "more",
    })  # fmt: skip
    report = REPORT.model_copy(update={"claims": (*more, sentence)})
    words = [r.verdict.word for r in judge_all(report, [], timings=held(group(RATIOS)))]
    assert words == ["supported", "reversed", "mixed"]
    assert judge_all(report, [], timings=held(group(RATIOS)))[1].verdict.q is not None
    shown = judge_all(report, [], timings=held(group(RATIOS, env_class="cpu-fp32-relaxed-n1")))
    assert [r.verdict.word for r in shown] == ["not judged"] * 3
    assert [r.verdict.word for r in judge_all(report, [])] == ["not judged"] * 3


# --- the file ------------------------------------------------------------------------------------------------


def names(found):
    return [tuple(arm.experiment for arm in each.experiments) for each in found.groups]


def test_a_measurement_takes_the_place_of_those_it_covers():
    pair = group(RATIOS)
    both = (timed("base", RATIOS), timed("plain", RATIOS), timed("idle", RATIOS))
    wide, other = group(RATIOS, arms=both, date="2026-02-02"), group(RATIOS, report="other")
    assert names(NONE.with_group(pair).with_group(wide)) == [("base", "plain", "idle")]
    assert names(NONE.with_group(wide).with_group(pair)) == [("base", "plain"), ("base", "plain", "idle")]
    assert {each.report for each in NONE.with_group(other).with_group(pair).groups} == {"other", REPORT.id}


def test_one_that_does_not_count_takes_no_place_of_one_that_does():
    good, tried = group(RATIOS), group(RATIOS, env_class="cpu-fp32-relaxed-n1", date="2026-02-01")
    found = NONE.with_group(good).with_group(tried).with_group(tried)
    assert found.groups == (good, tried)
    assert found.with_group(good).groups == (good,)
    changed = group(RATIOS, arms=(timed("base", RATIOS, recipe_hash="0" * 64), timed("plain", RATIOS)))
    assert NONE.with_group(changed).with_group(tried).groups == (tried,)


def write(folder, text):
    path = folder / timings.PLACE
    path.parent.mkdir(parents=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def test_the_file_is_read_as_it_was_written(tmp_path):
    found = held(group(RATIOS, rounds=(IDLE, BUSY, UNKNOWN)))
    assert timings.read(tmp_path) is NONE
    assert timings.read(write(tmp_path, found.to_bytes())) == found
    assert timings.collected(found.groups) == found


def plain(**changes):
    return json.loads(held(group(RATIOS)).to_bytes()) | changes


def spoilt(**changes):
    broken = plain()
    broken["groups"][0] |= changes
    return json.dumps(broken)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "JSON"), ("{", "JSON"), ("[]", "object"), (b"\xff", "JSON"), ("{}", "benchmark"),
        (json.dumps(plain(schema=2)), "schema"), (json.dumps(plain(benchmark="augment")), "benchmark"),
        (json.dumps(plain(more=1)), "more"), (spoilt(report=3), "groups.0.report"), (spoilt(rounds=[]), "rounds"),
        (spoilt(rounds=[{"idle": True}]), "one number of seconds a round"),
        (spoilt(rounds=[{"idle": "yes"}] * 3), "groups.0.rounds.0.idle"),
        (spoilt(experiments=plain()["groups"][0]["experiments"][:1] * 2), "listed twice"),
        (spoilt(experiments=[plain()["groups"][0]["experiments"][0] | {"seconds": [1, 2, 0]}]), "seconds.2"),
        (spoilt(experiments=[plain()["groups"][0]["experiments"][0] | {"seconds": [1, 2, "x"]}]), "seconds.2"),
    ],
)  # fmt: skip
def test_a_broken_file_is_refused_in_a_sentence(tmp_path, text, where):
    with pytest.raises(UserError) as caught:
        timings.read(write(tmp_path, text))
    said = str(caught.value)
    assert said.startswith(str(tmp_path / timings.PLACE))
    assert where.lower() in said.lower()
    assert said.endswith("delete the file and measure again")
    assert "\n" not in said


def test_a_number_that_is_not_finite_is_refused(tmp_path):
    text = json.dumps(plain()).replace("2.0", "NaN", 1)
    with pytest.raises(UserError):
        timings.read(write(tmp_path, text))


# --- pages ---------------------------------------------------------------------------------------------------


def pages(out, **more):
    report = REPORT.model_copy(update={"claims": (*REPORT.claims, claim(id="slower", ratio=1.4))})
    paths = render({report.id: report}, [], {}, out, **more)
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def test_pages_show_ratio_interval_rounds_and_device(tmp_path):
    without = pages(tmp_path / "a")
    assert pages(tmp_path / "b", timings=NONE) == without
    found = pages(tmp_path / "c", timings=held(group(RATIOS)))
    text = found["demo2020/report.md"].decode()
    low, high = bounds(RATIOS, 0.90)
    assert f"{low:.2f} to {high:.2f} times" in text
    assert "3 rounds on Synthetic GPU" in text
    assert "1.50 ± 0.02 times" in text
    assert {name for name in found if found[name] != without[name] and not name.endswith(".html")} == {
        "demo2020/report.md", "README.md", "verdicts.json", "claims.csv",
        "demo2020/badges/cheaper.svg", "demo2020/badges/slower.svg",
    }  # fmt: skip


def test_a_table_of_claims_has_the_ratio():
    report = REPORT.model_copy(update={"claims": (claim(ratio=1.4),)})
    (found,) = tables.rows({report.id: report}, [], timings=held(group(RATIOS)))
    assert values.published(found) == "1.40 times"
    assert values.margin(found) == "±5.4 %"
    assert values.verdict(found) == "exceeded"
    (cpu,) = tables.rows({report.id: report}, [], timings=held(group(RATIOS, rounds=(IDLE, BUSY, IDLE))))
    assert values.verdict(cpu) == "not judged: something else used the device in round 2"
    assert "n = 3" in values.behind(found)


def test_timings_compare_by_value():
    assert Timings.model_validate_json(held(group(RATIOS)).to_bytes()) == held(group(RATIOS))
