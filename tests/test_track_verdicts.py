"""A parent run in MLflow shows what the judge says of its experiment, once, and nothing where nothing is judged."""

import json
import math
import shutil
import sqlite3
import struct
from contextlib import closing
from dataclasses import fields, replace

import pytest
from golden_demo import demo, make

from repro.judge.claims import judge_all
from repro.judge.label import label
from repro.judge.rows import Verdict
from repro.record import RunRecord, write_atomically
from repro.spec.claims import experiments_of
from repro.suite import notes_of, summarise
from repro.suite.moving import show_evidence
from repro.suite.summarising import refresh
from repro.suite.verdicts import Verdicts, in_numbers, main_row
from repro.track import Judged, Tracker, summary

REPORT = demo()
REPORTS = {REPORT.id: REPORT}


@pytest.fixture(autouse=True)
def quick_pictures(request, monkeypatch):
    """Drawing takes most of a summary's time; one test does draw."""
    if "picture" not in request.node.name:
        for name in ("confusion_png", "curves_png", "forest_figure", "bracket_figure"):
            monkeypatch.setattr(f"repro.plots.{name}", lambda *_, **__: b"png")


def runs(experiment="base", tops=(90.0, 90.4), **changes):
    """Records of some seeds, as they are read from a file."""
    made = [make(REPORT, experiment, seed, top, **changes) for seed, top in enumerate(tops)]
    return [RunRecord.from_bytes(record.to_bytes(), "made") for record in made]


def show(home, records, reports=REPORTS):
    """Bring records and parents into MLflow as `repro ui` does; return the tracker."""
    tracker = Tracker(home)
    for record in records:
        tracker.project(record, notes=notes_of(REPORT, record.experiments[0]))
    refresh(reports, records, home / "no reports", tracker)
    return tracker


def parents(tracker):
    ids = [experiment.experiment_id for experiment in tracker.experiments()]
    return {run.data.tags["repro.experiment"]: run for run in tracker.search(ids, kind="experiment")}


def artifact(tracker, run, name):
    return tracker.download(run.info.run_id, name)


def dump(tracker):
    """Everything in the store that a replay must not change."""
    with closing(sqlite3.connect(tracker.store.path)) as db:
        tables = ("runs", "metrics", "params", "tags", "experiments", "experiment_tags")
        return {table: sorted(map(repr, db.execute(f"select * from {table}"))) for table in tables}


def row_of(records, claim):
    return next(row for row in judge_all(REPORT, records, {}) if row.claim == claim)


def test_a_parent_holds_the_judges_numbers(home):
    records = [*runs(tops=(90.0, 90.4, 89.8)), *runs("plain", (85.0, 84.8, 85.2))]
    tracker = show(home, records)
    parent, row = parents(tracker)["base"], row_of(records, "test-acc")
    tags, metrics = parent.data.tags, parent.data.metrics
    assert (tags["repro.verdict"], tags["repro.claim"]) == (row.verdict.word, "test-acc")
    assert ("repro.provisional" in tags) is row.verdict.provisional
    for name in ("low", "high", "margin", "s_star", "agreement"):
        assert metrics[f"summary/{name}"] == round(getattr(row.verdict, name), 3), name
    assert metrics["summary/acc_mean"] == round(row.ours, 3)
    assert metrics["summary/acc_std"] == round(row.sd, 3)
    assert metrics["summary/delta_pp"] == round(row.difference, 3)
    assert (metrics["summary/published"], metrics["summary/n_seeds"]) == (row.published, row.n)
    assert metrics["summary/low"] < metrics["summary/delta_pp"] < metrics["summary/high"]
    first = tags["mlflow.note.content"].splitlines()[0]
    assert "published 90.14 % (Table 2, row 1)" in first
    assert f"{row.ours:.2f} ± {row.sd:.2f} %, 3 seeds: {row.verdict.word}" in first
    assert row.verdict.why in tags["mlflow.note.content"]
    head = json.loads(artifact(tracker, parent, "summary.json"))
    assert (head["verdict"], head["claim"]) == (row.verdict.word, "test-acc")


def test_the_files_hold_every_claim_of_the_experiment(home):
    records = [*runs(), *runs("plain", (85.0, 84.8))]
    tracker = show(home, records)
    parent, rows = parents(tracker)["base"], {row.claim: row for row in judge_all(REPORT, records, {})}
    # twin has base's recipe, so that its claims are base's too
    wanted = {claim.id for claim in REPORT.claims if {"base", "twin"} & set(experiments_of(claim))}
    found = json.loads(artifact(tracker, parent, "verdicts.json"))
    assert {claim["id"] for claim in found["claims"]} == wanted
    assert found["claims"][0]["id"] == found["main"] == "test-acc"
    for claim in found["claims"]:
        held, given = rows[claim["id"]].verdict, claim["verdict"]
        assert set(given) == {field.name for field in fields(Verdict)}
        for key, value in given.items():
            expected = getattr(held, key)
            if isinstance(expected, float):
                expected = pytest.approx(expected, rel=1e-5) if math.isfinite(expected) else None
            assert value == expected, (claim["id"], key)
    table = artifact(tracker, parent, "verdicts.md").decode()
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    assert len(lines) == len(wanted) + 2
    for name in wanted:
        assert any(f"`{name}`" in line for line in lines), name
    tally = parent.data.tags["repro.verdicts"]
    assert tally == in_numbers([rows[name] for name in wanted])
    assert sum(int(part.split()[0]) for part in tally.split(", ")) == len(wanted)
    assert found["bracket"]["reference"] == "best_val_loss"
    assert found["bracket"]["published"]["test-acc"] == ["last", 90.14]


def test_the_pictures_are_pictures(home):
    tracker = show(home, [*runs(), *runs("plain", (85.0, 84.8))])
    parent = parents(tracker)["base"]
    for name in ("forest.png", "bracket.png"):
        data = artifact(tracker, parent, name)
        assert data.startswith(b"\x89PNG\r\n\x1a\n")
        wide, high = struct.unpack(">II", data[16:24])
        assert wide == 616  # 5.6 inches at 110 dots
        assert high > 150


def test_a_second_projection_writes_nothing(home, monkeypatch):
    records = [*runs(), *runs("plain", (85.0, 84.8))]
    tracker = show(home, records)
    before = dump(tracker)
    monkeypatch.setattr(summary, "over_seeds", lambda *_: pytest.fail("summarised again"))
    monkeypatch.setattr("repro.suite.verdicts.pictures", lambda *_: pytest.fail("drawn again"))
    for order in (records, records[::-1]):
        assert dump(show(home, order)) == before


def test_a_third_seed_changes_the_verdict(home):
    first, third = runs(tops=(90.0, 90.1)), make(REPORT, "base", 2, 90.2)
    tracker = show(home, first)
    old = parents(tracker)["base"]
    assert old.data.tags["repro.provisional"] == "true"
    new = parents(show(home, [*first, third]))["base"]
    assert "repro.provisional" not in new.data.tags
    row = row_of([*first, third], "test-acc")
    assert new.data.tags["repro.verdict"] == row.verdict.word
    assert new.data.metrics["summary/n_seeds"] == 3
    assert new.data.metrics["summary/high"] == round(row.verdict.high, 3)
    assert new.data.metrics["summary/high"] < old.data.metrics["summary/high"]
    for key in ("summary/high", "summary/agreement", "summary/n_seeds"):
        assert len(tracker.client.get_metric_history(new.info.run_id, key)) == 1
    children = [r for r in tracker.search([new.info.experiment_id], kind="run")]
    assert {r.data.tags["mlflow.parentRunId"] for r in children} == {new.info.run_id}
    assert len(children) == 3


def test_runs_of_another_experiment_change_what_rests_on_both(home):
    """An order is judged of two experiments: a run of one brings the other's parent up to date as well."""
    base, plain = runs(), runs("plain", (85.0, 84.8))
    tracker = show(home, base)
    assert "not run" in parents(tracker)["base"].data.tags["repro.verdicts"]
    for record in (*base, *plain):
        write_atomically(home / "runs" / record.run_key / "record.json", record.to_bytes())
    tracker.project(plain[0], notes=notes_of(REPORT, "plain"))
    tracker.project(plain[1], notes=notes_of(REPORT, "plain"))
    said = []
    assert summarise(REPORTS, home, home / "no reports", plain, tracker, said.append), said
    found = json.loads(artifact(tracker, parents(tracker)["base"], "verdicts.json"))
    order = next(claim for claim in found["claims"] if claim["id"] == "augmented-better")
    assert order["verdict"]["word"] == row_of([*base, *plain], "augmented-better").verdict.word == "supported"
    before = dump(tracker)
    assert summarise(REPORTS, home, home / "no reports", plain, tracker, said.append)
    assert dump(tracker) == before


@pytest.mark.parametrize("profile", ["smoke", "quick"])
def test_runs_that_do_not_count_have_no_verdict(home, profile):
    records = runs(profile=profile)
    tracker = show(home, records)
    (parent,) = parents(tracker).values()
    assert not {key for key in parent.data.tags if key.startswith(("repro.verdict", "repro.claim", "repro.prov"))}
    assert not {"summary/low", "summary/agreement"} & set(parent.data.metrics)
    assert parent.data.metrics["summary/n_seeds"] == 2
    assert {"verdicts.json", "forest.png"}.isdisjoint(f.path for f in tracker.client.list_artifacts(parent.info.run_id))
    assert "repro.label" not in tracker.experiments()[0].tags


def test_a_verdict_that_is_gone_leaves_nothing(home):
    records = runs()
    tracker = show(home, records)
    assert parents(tracker)["base"].data.tags["repro.verdict"] == "reproduced"
    # the recipe was changed since: these runs answer for nothing
    changed = REPORT.experiments["base"].recipe.model_copy(
        update={"budget": REPORT.experiments["base"].recipe.budget.model_copy(update={"epochs": 6})}
    )
    other = {
        name: e.model_copy(update={"recipe": changed}) if name in ("base", "twin") else e
        for name, e in REPORT.experiments.items()
    }
    tracker = show(home, records, {REPORT.id: REPORT.model_copy(update={"experiments": other})})
    parent = parents(tracker)["base"]
    assert not {"repro.verdict", "repro.claim", "repro.verdicts", "repro.provisional"} & set(parent.data.tags)
    assert not {"summary/low", "summary/high", "summary/margin", "summary/s_star", "summary/agreement"} & set(
        parent.data.metrics
    )
    assert "reproduced" not in parent.data.tags["mlflow.note.content"]
    assert artifact(tracker, parent, "verdicts.json") is None


def test_runs_that_do_not_count_are_not_in_the_means_either(home):
    good = runs()
    stopped = make(REPORT, "base", 2, 50.0, state="stopped", epochs_done=3)
    parent = parents(show(home, [*good, stopped]))["base"]
    assert parent.data.metrics["summary/n_seeds"] == 2
    assert parent.data.metrics["test/acc_pct"] > 85


def test_an_experiment_without_a_number_of_its_own_shows_a_comparison():
    records = [*runs(), *runs("plain", (85.0, 84.8))]
    without = REPORT.model_copy(
        update={"claims": tuple(c for c in REPORT.claims if getattr(c, "experiment", None) != "plain")}
    )
    found = Verdicts({REPORT.id: without}, records, {}).of(REPORT.id, "plain")
    assert (found.claim, found.word) == ("augmented-better", "supported")  # a headline comparison
    assert found.numbers == {}
    assert "augmented-better: +" in found.said


def test_the_row_that_stands_for_an_experiment():
    rows = judge_all(REPORT, runs(), {})
    assert main_row(REPORT, "base", rows).claim == "test-acc"  # headline before the first
    assert main_row(REPORT, "idle", rows).claim == "idle-acc"
    assert main_row(REPORT, "twin", [row for row in rows if row.kind == "count"]) is None


def test_a_loss_keeps_its_unit_and_its_name():
    """The main claim of an experiment may be a loss: its mean and difference are not called accuracies or points."""
    losses = REPORT.model_copy(update={"claims": tuple(c for c in REPORT.claims if c.kind == "loss")})
    records = runs(tops=(90.0, 90.4, 89.8))
    found = Verdicts({REPORT.id: losses}, records, {}).of(REPORT.id, "base")
    (row,) = judge_all(losses, records, {})
    numbers = found.summary("loss")
    assert (numbers["loss_mean"], numbers["delta"]) == (round(row.ours, 4), round(row.difference, 4))
    assert numbers["margin"] == round(row.verdict.margin, 4)
    assert not {"acc_mean", "delta_pp"} & set(numbers)
    assert "s_star" in numbers
    assert "%" not in found.said


def test_what_runs_have_measured_comes_first():
    found = Verdicts(REPORTS, runs(), {}).of(REPORT.id, "base")
    listed = json.loads(found.files["verdicts.json"])["claims"]
    rest = [claim for claim in listed[1:] if not claim["headline"]]
    kinds = ["waiting" if c["ours"] is None else "counted" if c["kind"] == "count" else "measured" for c in rest]
    assert kinds == sorted(kinds, key=["measured", "counted", "waiting"].index)
    assert {"measured", "counted", "waiting"} == set(kinds)


def test_nothing_that_is_not_a_number_is_logged():
    judged = Judged(
        "c", "inconclusive", "", numbers={"mean": math.nan, "low": None, "high": math.inf, "margin": 1.23456}
    )
    assert judged.summary("acc_pct") == {"margin": 1.235}
    assert judged.summary("loss") == {"margin": 1.2346}
    long = Judged("c", "w", "", tally="1 word, " * 1000)
    assert max(map(len, long.tags().values())) <= 500
    assert "repro.provisional" not in long.tags()
    assert replace(judged, word="other").stamp != judged.stamp
    assert replace(judged, draw=lambda: {"x": b""}).stamp == judged.stamp


def test_a_diverged_run_leaves_numbers_out(home):
    first = make(REPORT, "base", 0, 90.0)
    lost = {**first.finals, "last": {"acc_pct": None, "loss": math.nan}}
    tracker = show(home, [replace(first, finals=lost, state="diverged")])
    parent = parents(tracker)["base"]
    row = row_of([replace(first, finals=lost, state="diverged")], "test-acc")
    assert parent.data.tags["repro.verdict"] == row.verdict.word
    assert all(abs(value) < 1e300 for value in parent.data.metrics.values())
    assert parent.data.metrics["summary/n_seeds"] == 0
    assert "summary/acc_mean" not in parent.data.metrics


def test_the_label_stands_with_the_report(home):
    records = runs(tops=(90.0, 90.1, 90.2))
    tracker = show(home, records)
    (experiment,) = tracker.experiments()
    found = label(judge_all(REPORT, records, {}))
    assert experiment.tags["repro.label"].startswith(f"{found.word}")
    assert "`" not in experiment.tags["repro.label"]
    written = []
    tracker.client.set_experiment_tag = lambda *args: written.append(args)
    tracker.label(REPORT.id, experiment.tags["repro.label"])
    tracker.label("unheard2030", "open")
    assert written == []


def test_the_evidence_gets_the_same_parents(home, tmp_path, mlflow_template, monkeypatch):
    """`repro ui` on a fresh clone shows what training those runs here would have shown."""
    records = [*runs(), *runs("plain", (85.0, 84.8))]
    expected = parents(show(home, records))
    fresh, reports = tmp_path / "fresh", tmp_path / "reports"
    fresh.mkdir()
    shutil.copy(mlflow_template, fresh / "mlflow.db")
    for record in records:
        write_atomically(reports / record.report / "evidence" / record.file_name, record.to_bytes())
    monkeypatch.setattr("repro.spec.loading.load_all", lambda *_: REPORTS)
    assert show_evidence(fresh, reports) == (4, 4)
    tracker = Tracker(fresh)
    for name, parent in parents(tracker).items():
        assert parent.data.metrics == expected[name].data.metrics
        shown, wanted = parent.data.tags, expected[name].data.tags
        assert {k: v for k, v in shown.items() if k.startswith("repro.")} == {
            k: v for k, v in wanted.items() if k.startswith("repro.")
        }
        assert shown["mlflow.note.content"] == wanted["mlflow.note.content"]
    before = dump(tracker)
    assert show_evidence(fresh, reports) == (0, 4)
    assert dump(tracker) == before
