"""The bracket of the test protocols: its ends, its reference, what each protocol adds, and what lies in it."""

from dataclasses import replace

import pytest
from golden_demo import demo, make

from repro.judge.bracket import brackets
from repro.report.brackets import bar, bracket_figure, budget_table, printed_table


def counted(seed=0, experiment="base", **accuracies):
    """A record whose test protocols have just these accuracies."""
    finals = {name: {"acc_pct": value} for name, value in accuracies.items()}
    return replace(make(demo(), experiment, seed), finals=finals)


def one(*records):
    (found,) = brackets(demo(), records)
    return found


def test_the_budget_is_the_mean_of_the_differences_of_one_seed():
    found = one(
        counted(0, last=90.0, best_val_loss=89.0, best_test=90.5),
        counted(1, last=88.0, best_val_loss=88.0, best_test=89),
    )
    assert (found.reference, found.seeds, found.experiments) == ("best_val_loss", (0, 1), ("base", "twin"))
    assert found.added("best_test") == pytest.approx((1.5 + 1.0) / 2)
    assert found.added_sd("best_test") == pytest.approx(0.5 / 2**0.5)
    assert found.added("best_val_loss") == 0
    assert (found.lowest, found.highest) == ("best_val_loss", "best_test")
    assert found.mean("best_test") - found.mean("best_val_loss") == pytest.approx(found.added("best_test"))


def test_another_way_of_testing_the_last_weights_is_set_beside_them():
    found = one(counted(last=84.37, best_val_loss=85.24, train_mode_bn=84.81, augmented_test=83.87))
    assert found.added("train_mode_bn") == pytest.approx(0.44)
    assert found.added("augmented_test") == pytest.approx(-0.50)
    assert found.added("last") == pytest.approx(-0.87)
    assert bar(found).added["train_mode_bn"] == pytest.approx(84.81 - 85.24)


def test_without_held_out_images_the_last_epoch_is_the_reference():
    report = demo()
    base = report.experiments["base"]
    split = base.recipe.data.split.model_copy(update={"train": 50_000, "val": 0})
    recipe = base.recipe.model_copy(update={"data": base.recipe.data.model_copy(update={"split": split})})
    report = report.model_copy(update={"experiments": {"base": base.model_copy(update={"recipe": recipe})}})
    (found,) = brackets(report, [make(report)])
    assert found.reference == "last"


def test_a_protocol_that_a_seed_lacks_and_one_off_the_test_set_stay_out():
    found = one(counted(0, best_val_loss=80, last=81, val=99), counted(1, best_val_loss=80, val=99))
    assert set(found.values) == {"best_val_loss"}
    assert found.added_sd("best_val_loss") == 0


def test_a_seed_without_the_reference_is_left_out_and_none_gives_nothing():
    found = one(counted(0, best_val_loss=80.0), counted(1, last=70.0), counted(2, best_val_loss=float("nan")))
    assert found.seeds == (0,)
    assert found.added_sd("best_val_loss") is None
    assert brackets(demo(), [counted(last=70.0)]) == [] == brackets(demo(), [])


@pytest.mark.parametrize(
    ("low", "high", "outside"),
    [(90.0, 90.2, 0), (90.145, 91, 0), (90.2, 91, -0.055), (89, 90.0, 0.135), (90.14, 90.14, 0)],
)
def test_a_published_number_lies_where_its_rounding_touches_the_bracket(low, high, outside):
    found = one(counted(best_val_loss=low, last=high))
    printed = {number.claim: number for number in found.printed}
    assert printed["test-acc"].outside == pytest.approx(outside)
    assert printed["best"].low == 91
    assert printed["best"].high == 92
    assert "epoch-3" not in printed
    assert "val-2" not in printed


def test_a_number_from_before_the_end_of_training_is_no_part_of_it():
    report = demo()
    early = next(c for c in report.claims if c.id == "test-acc").model_copy(
        update={"id": "early", "protocol": "best_val_loss", "epoch": 2}
    )
    report = report.model_copy(update={"claims": (*report.claims, early)})
    (found,) = brackets(report, [counted(best_val_loss=90.0, last=91.0)])
    assert "early" not in {number.claim for number in found.printed}


def test_tables_and_figure_say_the_same():
    found = brackets(demo(), [counted(0, last=90.0, best_val_loss=89.0), counted(1, last=90.0, best_val_loss=89.0)])
    budget, printed = budget_table(found), printed_table(found)
    assert "+1.00 ± 0.00" in budget
    assert "`best_val_loss` 89.00 %" in budget
    assert "89.00 to 90.00 %" in budget
    assert "0.13 points above" in printed or "0.14 points above" in printed
    text = bracket_figure(demo(), found)["bracket.svg"].decode()
    assert "89.00 to 90.00" in text
    assert "2 runs" in text
    assert ">base<" in text
    assert (budget_table([]), printed_table([]), bracket_figure(demo(), [])) == ("", "", {})
