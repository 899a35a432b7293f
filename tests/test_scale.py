"""Many runs: every number is over all of them, and neither pages nor work grow with each one. No clock is asked.

`tests/synthetic.py` makes the records, and says how ten thousand of them are measured.
"""

import base64
import itertools
import json
import random
import zlib
from collections import Counter
from dataclasses import replace
from statistics import fmean, stdev

import numpy as np
import pytest
import synthetic

from repro import plots
from repro.judge.records import of_profile
from repro.record import RunRecord
from repro.record.arrays import Arrays, b85, unb85
from repro.report import data, evidence, figures, machines, runs, tables
from repro.report.render import render
from repro.spec import ledger
from repro.spec.identity import folds_of, recipe_hash
from repro.spec.loading import load_all

NAME, SEEDS = "shamooun2022", 36


@pytest.fixture(scope="module")
def report():
    return load_all()[NAME]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, report):
    """Return a folder of reports with 288 records: eight recipes, 36 seeds."""
    place = tmp_path_factory.mktemp("many")
    count, size = synthetic.write(place, SEEDS, {NAME: report})
    assert count == SEEDS * len({recipe_hash(e.recipe) for e in report.experiments.values()}) == 288
    assert size < count * 40_000
    return place


@pytest.fixture(scope="module")
def many(folder):
    return evidence.committed(folder)


@pytest.fixture
def quick_figures(monkeypatch):
    """Draw nothing: what is drawn is tested by itself."""
    monkeypatch.setattr(plots, "cached", lambda *given, **named: b'<svg xmlns="http://www.w3.org/2000/svg"/>')


def pages(out, report, records, ledgers):
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in render({report.id: report}, records, ledgers, out)}


# --- the made-up records ----------------------------------------------------------------------------------------------


def test_made_up_records_answer_every_claim_that_names_an_experiment():
    reports = load_all()
    found = list(synthetic.records(reports, 1))
    recipes = {(r.id, recipe_hash(e.recipe)): e.recipe for r in reports.values() for e in r.experiments.values()}
    assert Counter((r.report, r.recipe_hash) for r in found) == {key: len(folds_of(x)) for key, x in recipes.items()}
    assert all(evidence.check(record, "x").counts for record in found)
    rows = tables.rows(reports, found)
    asked = {(r.id, c.id) for r in reports.values() for c in r.claims if getattr(c, "experiment", None)}
    lacking = [
        row.claim for row in rows if (row.report, row.claim) in asked and row.state in ("not run", "not measured")
    ]
    assert lacking == []


def test_made_up_records_say_that_they_are_and_are_the_same_each_time(report):
    first, again, other = (list(synthetic.records({NAME: report}, 2, rng_seed=s)) for s in (0, 0, 1))
    assert [r.to_bytes() for r in first] == [r.to_bytes() for r in again]
    assert not {r.to_bytes() for r in first} & {r.to_bytes() for r in other}
    for record in first:
        assert record.env["device"] == "synthetic"
        assert record.env_class.endswith("-synthetic")
        assert "no network was trained" in record.command
        for protocol, matrix in record.confusion.items():
            assert np.trace(matrix) == round(record.finals[protocol]["acc_pct"] * 100)
        predicted = np.bincount(10 * np.repeat(np.arange(10), 1000) + record.predictions["class"], minlength=100)
        assert record.confusion["last"] == predicted.reshape(10, 10).tolist()
        assert record.finals["best_test"]["acc_pct"] == pytest.approx(record.curves["test/acc_pct"].max())


def test_made_up_records_bring_out_the_verdicts():
    reports = load_all()
    rows = tables.rows(reports, list(synthetic.records(reports, 6)))
    words = {row.verdict.word for row in rows if row.verdict}
    assert words >= {
        "reproduced", "exceeded", "fell short", "inconclusive", "equal", "supported", "reversed", "no effect",
        "not reproduced", "not judged", "not testable", "mixed",
    }  # fmt: skip
    assert "not run" in {row.verdict.word for row in tables.rows(reports, []) if row.verdict}


# --- numbers ----------------------------------------------------------------------------------------------------------


def test_every_number_is_over_all_runs(folder, many, report):
    ledgers = ledger.read(folder / "ledger")
    rows = tables.rows({NAME: report}, many, ledgers)
    measured = [row for row in rows if row.kind == "point" and row.state == "measured"]
    assert measured
    for row in measured:
        own = [r for r in many if row.experiment in r.experiments]
        values = [r.value(row.protocol, row.metric, row.epoch) for r in own]
        assert (row.n, row.declared) == (SEEDS, "yes")
        assert row.ours == pytest.approx(fmean(values))
        assert row.sd == pytest.approx(stdev(values))
    table = data.run_rows({NAME: report}, many)
    assert len(table) == sum(len(record.experiments) for record in many)
    assert all(row["used"] for row in table)


def test_pages_are_the_same_from_any_order_and_from_records_given_twice(tmp_path, many, report, quick_figures):
    first = pages(tmp_path / "a", report, many, {})
    again = random.Random(0).sample(many, len(many)) + many[:20]
    assert pages(tmp_path / "b", report, again, {}) == first


def test_records_that_share_a_name_are_told_apart_by_their_bytes(many):
    one = many[0]
    other = replace(one, seconds=one.seconds + 1)
    copy = RunRecord.from_bytes(one.to_bytes())
    for given in itertools.permutations([one, other, copy]):
        found = of_profile(given, "full")
        assert [r.to_bytes() for r in found] == sorted({one.to_bytes(), other.to_bytes()})


# --- work -------------------------------------------------------------------------------------------------------------


def test_each_file_is_read_once_and_no_record_is_written_out_again(
    tmp_path, folder, report, monkeypatch, quick_figures
):
    calls = Counter()

    def counted(kind, name):
        real = getattr(kind, name)

        def call(*given, **named):
            calls[name] += 1
            return real(*given, **named)

        return call

    monkeypatch.setattr(RunRecord, "from_bytes", staticmethod(counted(RunRecord, "from_bytes")))
    monkeypatch.setattr(RunRecord, "to_bytes", counted(RunRecord, "to_bytes"))
    records = evidence.read(tmp_path / "home", folder)
    pages(tmp_path / "out", report, records, ledger.read(folder / "ledger"))
    assert calls == {"from_bytes": len(records)}


def test_pages_ask_for_few_of_a_runs_arrays(tmp_path, folder, report, monkeypatch, quick_figures):
    records, asked = evidence.committed(folder), Counter()
    real = Arrays.__getitem__

    def unpack(self, name):
        asked[name] += 1
        return real(self, name)

    monkeypatch.setattr(Arrays, "__getitem__", unpack)
    pages(tmp_path, report, records, {})
    assert not {"class", "confidence", "lr", "time/epoch_s", "step/loss_mean"} & set(asked)
    assert sum(asked.values()) < 40 * len(records)


# --- pages ------------------------------------------------------------------------------------------------------------


def test_pages_hardly_grow_with_the_runs(tmp_path, many, report, quick_figures):
    half = [record for record in many if record.seed < SEEDS // 2]
    small, large = (pages(tmp_path / name, report, given, {}) for name, given in (("a", half), ("b", many)))
    for name in (f"{NAME}/report.md", f"{NAME}/report.html"):
        more = (len(large[name]) - len(small[name])) / (len(many) - len(half))
        assert more < 250, f"{name} grows by {more:.0f} bytes a run"  # a table a run would be a thousand and more
    assert large["runs.csv"].count(b"\n") - 1 == len(data.run_rows({NAME: report}, many))


def test_of_many_runs_a_page_shows_the_first_and_all_together(many, report):
    arms = figures.arms(report, many, "full")
    shown = runs.run_tables(arms, [])
    assert len(shown) == len(arms) * (machines.FIRST + 1)
    title, table = shown[machines.FIRST]
    assert f"all {SEEDS} runs" in title
    values = [record.value("last", "acc_pct") for record in arms[0].chosen]
    line = next(line for line in table.split("\n") if line.startswith("| `last`"))
    assert (
        f"| {SEEDS} | {fmean(values):.2f} ± {stdev(values):.2f} % | {min(values):.2f} % | {max(values):.2f} %" in line
    )

    few = [record for record in many if record.seed < machines.MOST]
    arms = figures.arms(report, few, "full")
    assert len(runs.run_tables(arms, [])) == len(few)


def test_the_cost_of_many_runs_adds_up(many, report):
    arms = figures.arms(report, many, "full")
    table = machines.cost_table([(arm, record) for arm in arms for record in arm.chosen])
    lines = [line.split(" | ") for line in table.split("\n")[2:]]
    assert len(lines) == len(arms) * (machines.FIRST + 1)
    own = lines[: machines.FIRST + 1]
    assert own[-1][1:4] == [f"{SEEDS - machines.FIRST} further runs", f"{SEEDS - machines.FIRST} finished", "E1"]
    hours = sum(record.seconds for record in arms[0].chosen) / 3600
    assert sum(float(line[4]) for line in own) == pytest.approx(hours, abs=0.03)


def test_figures_of_many_runs_stay_small():
    def forest(n):
        values = np.linspace(-0.5, 0.5, n).tolist()
        line = plots.ForestLine("a", "reproduced", "for", "90.0", "90.1", mean=0.0, runs=values, low=-0.1, high=0.1)
        return plots.forest_figure([plots.ForestPanel("points", [line])], "x")

    def cost(n):
        return plots.cost_figure([plots.CostLine("a", "gpu", [1.0] * n, 100.0)], "x")

    for draw in (forest, cost):
        assert len(draw(3000)) < 2.5 * len(draw(30))
    assert len(cost(3000)) < len(cost(30)) / 1.5
    assert b"3,000.00 (3000)" in cost(3000)
    assert b"30.00 (30)" in cost(30)


# --- arrays -----------------------------------------------------------------------------------------------------------


def test_base85_is_pythons_own():
    draw = random.Random(0)
    for n in (*range(20), 999, 4000):
        raw = draw.randbytes(n)
        assert b85(raw) == base64.b85encode(raw).decode()
        assert unb85([b85(raw), "", b85(raw[:3])]) == [raw, b"", raw[:3]]
    for _ in range(3000):
        text = "".join(chr(draw.randint(32, 130)) for _ in range(draw.randint(0, 7)))
        try:
            known = base64.b85decode(text)
        except ValueError:
            with pytest.raises(ValueError, match=r"base85|ascii"):
                unb85([text])
        else:
            assert unb85([text]) == [known]


def test_read_arrays_keep_their_text_whichever_zlib_packed_it(many):
    plain = json.loads(many[0].to_bytes())
    curve = many[0].curves["test/loss"]
    plain["curves"]["test/loss"] = base64.b85encode(zlib.compress(curve.tobytes(), 1)).decode()
    again = RunRecord.from_bytes(json.dumps(plain).encode())
    assert np.array_equal(again.curves["test/loss"], curve)
    assert json.loads(again.to_bytes())["curves"] == plain["curves"]


def test_a_changed_array_changes_the_bytes_and_no_other(many):
    record = RunRecord.from_bytes(many[0].to_bytes())
    with pytest.raises(ValueError, match="read-only"):
        record.curves["test/loss"][0] = 7.0
    record.curves["test/loss"] = np.full(3, 7.0)
    del record.curves["lr"]
    again = RunRecord.from_bytes(record.to_bytes())
    assert again.curves["test/loss"].tolist() == [7.0] * 3
    assert again.curves["test/loss"].dtype == np.float32
    assert set(again.curves) == set(many[0].curves) - {"lr"}
    assert "lr" not in again.curves
    assert many[0].curves["test/loss"].size == 20
