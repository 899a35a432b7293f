"""`repro compare`: closed forms of the rule, its words, its exit codes, and folders that hold nothing."""

import json
from dataclasses import replace
from math import sqrt

import pytest
from command_line import repro
from golden_demo import GOLDEN, demo, make
from scipy import stats

from repro import bundle
from repro.errors import UserError
from repro.judge import statistics
from repro.judge.compare import WORDS, compare, difference
from repro.judge.matching import match, same_finals
from repro.report import comparing

REPORT = demo()
REPORTS = {"demo2020": REPORT}
VAL = next(c for c in REPORT.claims if c.id == "val-2").model_copy(update={"epoch": None, "headline": True})
REPORT_FILES = GOLDEN / "experiments"


def ended(seed, percent, **changes):
    """Return a full run of `base` whose every final accuracy is `percent`."""
    record = make(REPORT, "base", seed)
    finals = {name: final | {"acc_pct": percent} for name, final in record.finals.items()}
    return replace(record, finals=finals, **changes)


def side(*values, first=0, **changes):
    return [ended(seed, value, **changes) for seed, value in enumerate(values, first)]


def last(a, b, **more):
    return next(row for row in compare(REPORTS, a, b, **more) if row.measure == "last/acc_pct")


def test_the_difference_of_pairs_by_hand():
    a, b, prior = [90.0, 90.2, 90.4], [90.1, 90.1, 90.7], 0.2
    diffs = [0.1, -0.1, 0.3]
    own2 = sum((d - 0.1) ** 2 for d in diffs) / 2
    sd = sqrt((4 * 2 * prior**2 + 2 * own2) / 6)
    half = stats.t.ppf(0.95, 6) * sd / sqrt(3)
    spread, found = difference(a, b, prior, paired=True)
    assert (spread.sd, spread.nu) == pytest.approx((sd, 6))
    assert (found.d, found.low, found.high) == pytest.approx((0.1, 0.1 - half, 0.1 + half))


def test_the_difference_of_two_groups_by_hand():
    a, b, prior = [90.0, 90.4], [90.5, 90.6, 91.0], 0.2
    squares = 2 * 0.2**2 + 0.2**2 + 0.1**2 + 0.3**2
    sd = sqrt((4 * prior**2 + squares) / 7)
    half = stats.t.ppf(0.95, 7) * sd * sqrt(1 / 2 + 1 / 3)
    spread, found = difference(a, b, prior, paired=False)
    assert (spread.sd, spread.nu, found.d) == pytest.approx((sd, 7, 0.5))
    assert (found.low, found.high) == pytest.approx((0.5 - half, 0.5 + half))


def test_groups_and_moderation_agree_where_one_group_has_no_spread_of_its_own():
    spread, _ = difference([90.0], [89.9, 90.1, 90.3], 0.2, paired=False)
    expected = statistics.moderated([89.9, 90.1, 90.3], 0.2)
    assert (spread.sd, spread.nu, spread.own) == pytest.approx((expected.sd, expected.nu, expected.own))
    wide, _ = difference([80.0, 90.0], [80.0, 90.0], 0.2, paired=False)
    assert wide.unstable
    assert wide.sd == pytest.approx(sqrt(50))
    assert wide.nu == 2


@pytest.mark.parametrize(
    ("b", "word"),
    [
        ((90.0, 90.2, 89.9), "same bits"),
        ((90.1, 90.3, 89.8), "equivalent"),
        ((87.0, 87.1, 87.2), "differs"),
        ((91.0, 91.2, 91.0), "differs"),
        ((91.2, 90.1, 90.6), "inconclusive"),
    ],
)
def test_words(b, word):
    row = last(side(90.0, 90.2, 89.9), side(*b))
    assert row.word == word
    assert row.word in WORDS
    assert row.d == pytest.approx(sum(b) / 3 - 270.1 / 3, abs=1e-9)


def test_the_margin_is_the_rules_own_unless_given():
    a, b = side(90.0, 90.2, 89.9), side(90.1, 90.3, 89.8)
    assert last(a, b).margin == statistics.margin(90.05) == 1.0
    strict = last(a, b, margin=0.01)
    assert (strict.margin, strict.word) == (0.01, "inconclusive")


def test_other_seeds_are_compared_as_groups_and_one_run_is_provisional():
    row = last(side(90.0, 90.1, 89.9), side(90.0, 90.1, 89.9, first=5))
    assert (row.word, row.shared, row.n, row.provisional) == ("equivalent", 0, 3, False)
    assert "seeds 0, 1, 2 only in A, seeds 5, 6, 7 only in B" in row.why
    assert last(side(90.0), side(90.1)).provisional


def test_swapping_the_sides_turns_the_sign():
    a, b = side(90.0, 90.2, 89.9), side(89.0, 90.0, 89.5)
    one, other = last(a, b), last(b, a)
    assert (one.d, one.low, one.high, one.word) == pytest.approx((-other.d, -other.high, -other.low, other.word))


def test_drift_is_a_note_and_other_environments_are_none():
    a = side(90.0, 90.1, 89.9)
    moved = side(90.05, 90.1, 89.9)
    assert (last(a, moved).same, last(a, moved).drifted) == (2, 1)
    elsewhere = [replace(record, env_class="cpu-fp32-relaxed-n1") for record in moved]
    assert last(a, elsewhere).drifted == 0
    assert "1 drifted" in comparing.lines([last(a, moved)])[0][-1]


def test_drift_is_that_of_the_pages():
    """State and numbers that both have; records without a number in common differ, but have not drifted."""
    a = side(90.0, 90.1)
    assert last(a, [replace(a[0], state="diverged"), a[1]]).drifted == 1
    bare = [replace(a[0], finals={"other": {"loss": 0.5}}), a[1]]
    assert not same_finals(a[0], bare[0])
    assert (match(a, bare).same, match(a, bare).drifted) == (1, 0)


def test_a_part_of_a_collection_has_its_bits_whichever_replicate_it_holds():
    cuda, cpu = ended(0, 90.0), ended(0, 90.3, env_class="cpu-fp32-relaxed-n1")
    assert last([cuda, cpu], [cpu]).word == "same bits"
    assert match([cuda, cpu], [cpu]).same == 1


def test_runs_of_other_seeds_validate_on_other_images():
    """By a closed form: a sample of 5,000 images each, not the same ones."""
    report = REPORT.model_copy(
        update={"claims": (*(c for c in REPORT.claims if c.id not in ("test-acc", "val-2")), VAL)}
    )
    recipe = report.experiments["base"].recipe
    images = recipe.data.split.val
    a, b = side(90.0), side(90.0, first=1)
    found = next(row for row in compare({"demo2020": report}, a, b) if row.measure == "val/acc_pct")
    half = stats.t.ppf(0.95, 4) * statistics.sample_sd(90.0, images) * sqrt(2)
    assert (found.high - found.low) / 2 == pytest.approx(half)
    same = next(
        row for row in compare({"demo2020": report}, a, side(90.0, seconds=1.0)) if row.measure == "val/acc_pct"
    )
    assert same.word in ("same bits", "equivalent")


def test_runs_that_diverged_alike_are_the_same():
    a = ended(0, float("nan"), state="diverged")
    assert same_finals(a, replace(a))
    assert not same_finals(a, ended(0, float("nan")))
    assert last([a], [replace(a)]).word == "same bits"
    assert last([a], [ended(0, 90.0)]).word == "inconclusive"
    bare = replace(a, finals={})
    assert same_finals(bare, replace(bare))


def test_recipes_of_one_side_only_and_of_no_file():
    plain, strange = make(REPORT, "plain"), ended(0, 90.0, recipe_hash="f" * 64, run_key="f" * 16)
    rows = compare(REPORTS, [ended(0, 90.0), plain], [ended(0, 90.0), strange])
    words = {row.experiment: row.word for row in rows}
    assert words["plain"] == "only in A"
    assert words["base (another recipe)"] == "only in B"
    assert not comparing.differs(rows)
    assert compare({}, [strange], [strange])[0].word == "same bits"


def test_smoke_runs_are_compared_by_bits_only():
    one, other = make(REPORT, profile="smoke", top=20.0), make(REPORT, profile="smoke", top=70.0)
    assert last([one], [one], profile="smoke").word == "same bits"
    assert last([one], [other], profile="smoke").word == "inconclusive"
    assert compare(REPORTS, [one], [other]) == []


def stored(folder, records):
    for record in records:
        path = folder / "runs" / record.run_key / "record.json"
        path.parent.mkdir(parents=True)
        path.write_bytes(record.to_bytes())
    return folder


def test_the_command_its_exit_codes_and_json(tmp_path, monkeypatch):
    monkeypatch.setenv("REPRO_EXPERIMENTS", str(REPORT_FILES))
    a = stored(tmp_path / "a", side(90.0, 90.2, 89.9))
    worse = stored(tmp_path / "worse", side(85.0, 85.2, 84.9))
    bundle.export([(record, {}) for record in side(90.0, 90.2, 89.9)], tmp_path / "bundle")
    evidence = tmp_path / "reports" / "demo2020" / "evidence"
    evidence.mkdir(parents=True)
    for record in side(90.0, 90.2, 89.9):
        (evidence / record.file_name).write_bytes(record.to_bytes())
    for other in (a, tmp_path / "bundle", tmp_path / "reports", evidence.parent):
        plain = json.loads(repro("compare", str(a), str(other), "--json"))
        assert {row["word"] for row in plain["rows"]} == {"same bits"}
        assert plain["differs"] is False
    assert "differs" in repro("compare", str(a), str(worse), code=1)
    assert json.loads(repro("compare", str(a), str(worse), "--json", code=1))["differs"] is True
    assert "equivalent" in repro("compare", str(a), str(worse), "--margin", "9")
    assert "--profile" in repro("compare", str(a), str(worse), "--profile", "quick", code=2)
    assert "by their bits alone" in repro("compare", str(a), str(worse), "--profile", "smoke", "--margin", "9", code=2)


def test_folders_that_hold_nothing(tmp_path):
    with pytest.raises(UserError, match="holds no run records; expected"):
        comparing.read(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        comparing.read(tmp_path / "missing")
    hostile = ended(0, 90.0, report="../../x\x1b[31m")
    with pytest.raises(UserError, match="no report's id"):
        comparing.read(stored(tmp_path / "hostile", [hostile]))
    odd = ended(0, 90.0, experiments=["../<script>"])
    with pytest.raises(UserError, match="cannot name a file"):
        comparing.read(stored(tmp_path / "odd", [odd]))
