"""Pages of claims that compare, of curves and matrices, of sentences: what is shown, folded and drawn."""

import csv
import io
import re
from types import SimpleNamespace

import golden_demo
import numpy as np
import pytest
from golden_demo import demo, make
from test_judge_kinds import fold_records, folded

from repro.judge.claims import judge
from repro.report import cells, tables, values
from repro.report.cells import LONG
from repro.report.cells import folded as fold
from repro.report.markdown import Md
from repro.report.protocols import order_sentences
from repro.report.render import render
from repro.spec.recipe import Folds


def rendered(out, report, records=None):
    golden, ledgers = golden_demo.read_golden()
    chosen = list(golden.values()) if records is None else records
    paths = render({report.id: report}, chosen, ledgers, out)
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def section(page, title):
    return re.split(r"\n##+ ", page.split(f"# {title}\n")[1])[0]


def row_of(name, records=()):
    report = demo()
    return judge(report, next(c for c in report.claims if c.id == name), records)


def test_every_claim_stands_on_its_page(tmp_path):
    page = rendered(tmp_path, demo())["demo2020/report.md"].decode()
    for claim in demo().claims:
        assert f"`{claim.id}`" in page


def test_comparisons_show_their_unit():
    records = list(golden_demo.read_golden()[0].values())
    shown = {name: values.ours(row_of(name, records)) for name in ("ranks", "sooner", "cells", "cheaper", "helps")}
    assert shown == {
        "ranks": "τ = +1.00", "sooner": "1.25 times", "cells": "at least 120 ± 52 images moved",
        "cheaper": "–", "helps": "–",
    }  # fmt: skip
    gap = row_of("augmented-better", [make(demo(), top=90.0), make(demo(), "plain", top=91.0)])
    assert re.fullmatch(r"−\d\.\d\d points", values.ours(gap))
    assert values.published(gap) == "+5.2 points"


def test_beside_the_difference_from_a_published_number_a_comparisons_interval_is_called_ours():
    records = [make(demo(), name, seed, top=top) for name, top in (("base", 90.0), ("plain", 91.0)) for seed in (0, 1)]
    gap, point = row_of("augmented-better", records), row_of("test-acc", records)
    assert cells.glance_table([gap, point], "full").count(" (ours)") == 1
    assert cells.headline_table([gap, point], "full").count(" (ours)") == 1
    alone = cells.compared_table([gap], "full")
    assert "90 % interval of ours" in alone
    assert "(ours)" not in alone


def test_what_is_not_judged_says_why():
    matrix = row_of("cells", [make(demo(), seed=0)])
    assert values.verdict(matrix) == f"not judged: {matrix.verdict.why}"
    assert matrix.verdict.why


def test_runs_of_one_seed_are_told_apart_by_their_fold():
    run = SimpleNamespace(seed=0, fold=3, order=SimpleNamespace(n=None, official_pct=None, mean_pct=90.0, sd_pct=0.1))
    shown = SimpleNamespace(claim="a", runs=[run, SimpleNamespace(**vars(run) | {"fold": None})])
    assert [text.split(":")[0] for text in order_sentences(shown)] == ["`a`, seed 0, fold 3", "`a`, seed 0"]


def test_long_tables_are_folded_and_short_ones_are_not():
    body = Md("| a |")
    assert fold("x", body, LONG) == body
    assert fold("x", body, LONG + 1).startswith("<details><summary>x</summary>\n\n| a |\n\n</details>")


def test_a_report_of_many_claims_and_sentences_stays_readable(tmp_path):
    report = demo()
    point = next(c for c in report.claims if c.id == "test-acc")
    many = tuple(point.model_copy(update={"id": f"p{i}", "headline": False}) for i in range(200))
    report = report.model_copy(update={"claims": many, "sentences": report.sentences * 50})
    page = rendered(tmp_path, report)["demo2020/report.md"].decode()
    open_lines = re.sub(r"<details>.*?</details>", "", page, flags=re.DOTALL).count("\n")
    assert page.count("\n") > 400
    assert open_lines < 200
    assert "200 claims, 200 with a number of ours" in page


def test_sentences_name_what_answers_them(tmp_path):
    page = rendered(tmp_path, demo())["demo2020/report.md"].decode()
    said = section(page, "What the report says, and what answers it")
    assert "claims `best`, `test-acc`; finding `two-numbers`" in said
    assert "setting `recipe.optim.momentum`" in said
    assert "background: A fact about the data set." in said
    none = demo().model_copy(update={"sentences": ()})
    assert "what answers it" not in rendered(tmp_path, none)["demo2020/report.md"].decode()


def test_what_no_run_decides_stands_with_its_reason_under_its_kind(tmp_path):
    page = rendered(tmp_path, demo())["demo2020/report.md"].decode()
    assert "*Why not:* Nobody varied how many." in section(page, "Explanations: a cause that was named, not varied")
    assert "`more`" in section(page, "Conjectures: what was said that could be, not done")


def test_the_csv_holds_new_kinds_in_the_old_columns(tmp_path):
    text = rendered(tmp_path, demo())["claims.csv"].decode()
    found = {row["claim"]: row for row in csv.DictReader(io.StringIO(text))}
    assert found["augmented-better"]["experiment"] == "base plain"
    assert (found["augmented-better"]["published"], found["augmented-better"]["n"]) == ("5.2", "1")
    assert found["curve"]["metric"] == "test/acc_pct"
    assert found["why-helps"]["state"] == "explanation"
    assert found["images"]["ours"] == "60000.0"


def banded(names=("base", "plain", "idle"), seeds=(0,)):
    falling = np.linspace(2, 1, 300)
    return [
        make(demo(), name, seed, curves={"step/loss": falling * (1 + i), "test/acc_pct": np.ones(5)})
        for i, name in enumerate(names) for seed in seeds
    ]  # fmt: skip


def test_bands_are_drawn_once_every_experiment_has_its_losses(tmp_path):
    name = "demo2020/figures/landscape-smoother.svg"
    files = rendered(tmp_path, demo(), banded(seeds=(0, 1)))
    assert "(8 runs, lowest to highest loss)" not in files[name].decode()  # base and twin share a run
    assert "(6 runs, lowest to highest loss)" in files[name].decode()
    page = files["demo2020/report.md"].decode()
    assert "](figures/landscape-smoother.svg)" in page
    fewer = rendered(tmp_path, demo(), banded(("base", "plain")))
    assert name not in fewer
    assert not (tmp_path / name).exists()
    assert "landscape" not in fewer["demo2020/report.md"].decode()


def test_published_curves_and_matrices_are_drawn(tmp_path):
    svg = rendered(tmp_path, demo())["demo2020/figures/base-curves.svg"].decode()
    assert "published curve" in svg


@pytest.mark.parametrize(
    ("network", "words"),
    [("carried", "5 folds, one network carried through"), ("fresh", "5 folds, a fresh network each")],
)
def test_facts_say_how_folds_are_trained(network, words):
    recipe = folded(demo()).experiments["base"].recipe
    data = recipe.data.model_copy(update={"folds": Folds(k=5, network=network)})
    assert tables.facts(recipe.model_copy(update={"data": data}))["images"].endswith(f"10,000 validation, {words}")


def test_a_seed_is_done_with_all_its_folds():
    report = folded(demo())
    records = fold_records(report, 0, [1, 2, 3, 4, 5]) + fold_records(report, 1, [1, 2, 3, 4])
    done = {row["experiment"]: row for row in tables.status({report.id: report}, records)}["base"]
    assert (done["full"], done["missing"]) == ([0], [1, 2])


def test_noise_is_explained():
    assert "standard deviation" in tables.PROTOCOL_WORDS["gaussian_noise_0.05"]
