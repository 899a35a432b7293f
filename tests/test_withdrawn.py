"""Withdrawn records: the file's form, what it selects, that nothing rests on them, and that nothing is lost."""

import csv
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import golden_demo
import pytest
from command_line import repro, small_report
from golden_demo import GOLDEN, demo, make

from repro import suite
from repro.errors import UserError
from repro.execute.outcome import withdrawn_start
from repro.judge.claims import Pool
from repro.record import RunRecord
from repro.report import evidence, tables
from repro.report.render import render
from repro.run import set_aside
from repro.spec import withdrawn

COMMIT, WHY = "f" * 40, "The flip was drawn twice; mended in 1234567."
SMOKE = ("run", "tiny/first", "--profile", "smoke", "--device", "cpu", "--offline")


def write(folder, *entries):
    """Write a list that withdraws by these selectors, YAML each."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"  - {{why: '{WHY}', date: 2026-11-21, {selectors}}}" for selectors in entries]
    (folder / withdrawn.FILE).write_text("\n".join(["schema: 1", "withdrawn:", *lines]) + "\n")
    return folder


def tree(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# The file


def test_nothing_is_withdrawn_where_there_is_no_file(tmp_path):
    assert withdrawn.of(tmp_path).withdrawn == ()
    assert withdrawn.of(tmp_path).why(make(demo())) is None
    assert evidence.struck(tmp_path, tmp_path) == []


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("schema: 1", "schema: 2", r"withdrawn.yaml:1: schema: must be 1 \(found 2\)"),
        ("schema: 1\n", "", "1: schema: is missing"),
        ("withdrawn:", "withdrew:", "1: withdrawn: is missing"),
        ("commits:", "comits:", r":6: withdrawn\[0\].comits: unknown key; did you mean 'commits'"),
        ("    why: Because.\n", "", r"withdrawn\[0\].why: is missing"),
        ("Because.", "''", r":4: withdrawn\[0\].why: must have at least 1 character"),
        ("2026-11-21", "2026-13-21", r":5: withdrawn\[0\].date: must be a day such as 2026-11-21"),
        ("2026-11-21", "yesterday", r":5: withdrawn\[0\].date: must be a day"),
        ("2026-11-21", "2026-11-21T00:00:00", r":5: withdrawn\[0\].date: YAML reads .* as a timestamp"),
        ("    commits: [9a417eb]\n", "", "selects nothing; give at least one of commits, numerics"),
        ("[9a417eb]", "[]", r":6: withdrawn\[0\].commits: holds no value"),
        ("[9a417eb]", "9a417eb", r":6: withdrawn\[0\].commits: must be a list"),
        ("[9a417eb]", "[9a417e]", r"commits\[0\]: must be the first 7 to 40 hex figures"),
        ("[9a417eb]", "[9A417EB]", r"commits\[0\]: must be the first 7 to 40 hex figures"),
        ("[9a417eb]", "[1234567]", r"commits\[0\]: must be text \(put it in quotes\)"),
        ("commits: [9a417eb]", "numerics: [0]", r"numerics\[0\]: .*greater than or equal to 1"),
        ("commits: [9a417eb]", "numerics: ['1']", r"numerics\[0\]: must be an integer"),
        ("commits: [9a417eb]", "experiments: [A/b/c]", r"experiments\[0\]: must be a report or report/experiment"),
        ("commits: [9a417eb]", "run_keys: [7be8914f]", r"run_keys\[0\]: must be a run key, 16 hex figures"),
        ("commits: [9a417eb]", "commits: [9a417eb]\n    commits: [9a417eb]", "is given twice"),
        ("Because.", "&a Because.\n    date: *a", "alias|given twice"),
        ("Because.", '"\\e[31m"', "holds a character that is no text"),
        ("2026-11-21", '!!timestamp "\\e2026"', "holds a character that is no text"),
        ("schema: 1", "- schema: 1", "not valid YAML"),
    ],
)
def test_a_mistake_is_one_sentence_with_its_place(tmp_path, old, new, says):
    text = "schema: 1\nwithdrawn:\n  -\n    why: Because.\n    date: 2026-11-21\n    commits: [9a417eb]\n"
    assert old in text
    (tmp_path / withdrawn.FILE).write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=says) as error:
        withdrawn.of(tmp_path)
    assert str(error.value).startswith(str(tmp_path / withdrawn.FILE))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b"a", b"x" * (1 << 21), b"[" * 5000])
def test_what_is_no_list_is_refused(tmp_path, data):
    (tmp_path / withdrawn.FILE).write_bytes(data)
    with pytest.raises(UserError, match=r"withdrawn\.yaml"):
        withdrawn.of(tmp_path)


def test_the_form_in_the_docs_is_one(tmp_path):
    text = (Path(__file__).parents[1] / "docs" / "withdrawing.md").read_text()
    (tmp_path / withdrawn.FILE).write_text(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[0])
    (entry,) = withdrawn.of(tmp_path).withdrawn
    assert all(getattr(entry, name) for name in withdrawn.SELECTORS)


def test_a_link_that_leads_nowhere_is_not_taken_for_nothing(tmp_path):
    (tmp_path / withdrawn.FILE).symlink_to(tmp_path / "gone")
    with pytest.raises(UserError, match="cannot be read"):
        withdrawn.of(tmp_path)


# What it selects


@pytest.mark.parametrize(
    ("selectors", "holds"),
    [
        ("commits: [fffffff]", True),
        ("commits: [ffffffe]", False),
        ("commits: [ffffffe, fffffff]", True),
        (f"commits: [{COMMIT}]", True),
        ("commits: [bbbbbbb]", True),  # resumed on it
        ("numerics: [1]", True),
        ("numerics: [11, 2]", False),
        ("env_classes: [cuda-bf16-relaxed-n1]", True),
        ("env_classes: [cuda-bf16-relaxed]", False),
        ("experiments: [demo2020]", True),
        ("experiments: [demo2020/base]", True),
        ("experiments: [demo2020/twin]", True),  # shares the run
        ("experiments: [demo2020/plain, demo2021]", False),
        ("commits: [fffffff], numerics: [1], experiments: [demo2020/base]", True),
        ("commits: [fffffff], numerics: [2], experiments: [demo2020/base]", False),
        ("commits: [fffffff], experiments: [demo2020/plain]", False),
    ],
)
def test_each_selector_must_hold_by_any_of_its_values(tmp_path, selectors, holds):
    record = make(demo(), env=golden_demo.GPU | {"commit": COMMIT}, resumed=[{"epoch": 1, "commit": "b" * 40}])
    found = withdrawn.of(write(tmp_path, selectors))
    assert (found.why(record) == WHY) is holds
    assert [len(part) for part in found.split([record])] == ([0, 1] if holds else [1, 0])


def test_a_compiled_class_has_its_numerics_too(tmp_path):
    found = withdrawn.of(write(tmp_path, "numerics: [3]"))
    assert found.why(make(demo(), env_class="cuda-bf16-relaxed-n3-compiled"))
    assert not found.why(make(demo(), env_class="cuda-bf16-relaxed-n33"))


def test_a_run_key_selects_its_records(tmp_path):
    one, two = make(demo()), make(demo(), seed=1)
    found = withdrawn.of(write(tmp_path, f"run_keys: ['{one.run_key}']"))
    assert found.split([two, one])[0] == [two]


# Nothing rests on them


@pytest.fixture
def reports(tmp_path, monkeypatch):
    """The invented report's records as evidence; a list that withdraws its second seed."""
    monkeypatch.setenv("REPRO_EXPERIMENTS", str(GOLDEN / "experiments"))
    monkeypatch.setenv("REPRO_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "reports"
    shutil.copytree(GOLDEN / "ledger", folder / "ledger")
    for record in golden_demo.read_golden()[0].values():
        if record.counts:
            path = folder / "demo2020" / "evidence" / record.file_name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_stem(path.stem + ("-2" if path.exists() else "")).write_bytes(record.to_bytes())
    return write(folder, f"run_keys: ['{make(demo(), seed=1).run_key}']")


def test_what_is_read_stands_and_the_files_stay(reports, tmp_path):
    before = tree(reports)
    stand, every = evidence.committed(reports), evidence.all_committed(reports)
    (gone,) = evidence.struck(None, reports)
    assert gone.record.seed == 1
    assert len(stand) == len(every) - 1
    assert gone.record.to_bytes() not in {record.to_bytes() for record in stand}
    assert [r.to_bytes() for r in evidence.read(tmp_path / "state", reports)] == [r.to_bytes() for r in stand]
    assert {r.seed for r in Pool(demo(), stand, {}, "full").chosen("base")} == {0, 2}
    assert tree(reports) == before


def test_pages_are_those_without_the_record_but_for_where_it_is_named(reports, tmp_path):
    _, ledgers = golden_demo.read_golden()
    stand, struck = evidence.committed(reports), evidence.struck(None, reports)
    shown = {"demo2020": demo()}
    render(shown, stand, ledgers, tmp_path / "without")
    render(shown, stand, ledgers, tmp_path / "with", struck=struck)
    without, named = tree(tmp_path / "without"), tree(tmp_path / "with")
    differing = {name for name in named if named[name] != without[name]}
    assert without.keys() == named.keys()
    assert differing == {
        "README.md", "index.html", "runs.csv", "verdicts.json", "demo2020/report.md", "demo2020/report.html",
    }  # fmt: skip
    page, plain = named["demo2020/report.md"].decode(), without["demo2020/report.md"].decode()
    section = page[page.index("## Withdrawn records") : page.index("## Records of recipes")]
    assert page.replace(section, "") == plain
    (gone,) = struck
    last = f"{gone.record.finals['last']['acc_pct']:.2f}"
    assert all(word in section for word in (gone.record.run_key, "seed 1", last, "0" * 12, "2026-11-21", WHY))
    assert "1 record withdrawn" in named["README.md"].decode()
    said = json.loads(named["verdicts.json"])
    (listed,) = said["reports"]["demo2020"].pop("withdrawn")
    assert (listed["run"], listed["why"], listed["date"]) == (gone.record.run_key, WHY, "2026-11-21")
    assert said == json.loads(without["verdicts.json"])
    rows, before = (list(csv.DictReader(io.StringIO(t["runs.csv"].decode()))) for t in (named, without))
    more = [row for row in rows if row.pop("withdrawn")]
    assert [row for row in rows if row not in more] == before
    assert {(row["run_key"], row["used"]) for row in more} == {(gone.record.run_key, "false")}


def test_a_hostile_reason_cannot_leave_its_cell(reports, tmp_path):
    (gone,) = evidence.struck(None, reports)
    hostile = gone._replace(entry=gone.entry.model_copy(update={"why": "<script>x</script> | [a](http://b) `c`"}))
    render({"demo2020": demo()}, [], {}, tmp_path / "out", struck=[hostile])
    for name in ("report.md", "report.html"):
        text = (tmp_path / "out" / "demo2020" / name).read_text()
        assert "<script>x" not in text
        assert "[a](" not in text or name.endswith("html")
        assert 'href="http://b' not in text


def test_every_command_leaves_it_out_and_names_it(reports, tmp_path):
    key = make(demo(), seed=1).run_key
    repro("report")
    assert WHY in (reports / "demo2020" / "report.md").read_text()
    out = repro("status")
    assert f"withdrawn: {WHY}" in out
    (base,) = [row for row in json.loads(repro("status", "--json")) if row["experiment"] == "base"]
    assert (base["full"], base["missing"], base["withdrawn"]) == ([0, 2], [1], [1])
    compared = repro("compare", "reports", "reports")
    assert f"left out of A, withdrawn: demo2020/base s1: {WHY}" in compared
    rows = json.loads(repro("compare", "reports", "reports", "--json"))
    assert {row["runs_a"] for row in rows["rows"] if row["experiment"].startswith("base")} == {2}
    assert len(rows["left_out"]) == 2
    whole = json.loads(repro("compare", "reports", "reports", "--json", "--reports", "elsewhere"))
    assert {row["runs_a"] for row in whole["rows"] if row["experiment"].startswith("base")} == {3}
    import repro as package

    runs = package.load().runs
    assert set(runs[runs.run_key == key].used) == {False}
    assert set(runs[runs.run_key == key].withdrawn) == {WHY}
    assert runs[runs.run_key != key].withdrawn.isna().all()
    assert key not in repro("report", "--letter", "demo2020")


def test_a_report_with_nothing_but_withdrawn_records_has_a_page_without_numbers(reports):
    write(reports, "experiments: [demo2020]")
    repro("report")
    page = (reports / "demo2020" / "report.md").read_text()
    assert "0 run records" in page
    assert "## Withdrawn records" in page
    claims = csv.DictReader(io.StringIO((reports / "claims.csv").read_text()))
    assert {row["state"] for row in claims if row["kind"] == "point"} <= {"not run", "not testable"}


def test_a_broken_list_stops_whatever_would_rest_on_records(reports):
    (reports / withdrawn.FILE).write_text("schema: 9\nwithdrawn: []\n")
    before = tree(reports)
    for command in (("report",), ("status",), ("compare", "reports", "reports")):
        assert "withdrawn.yaml:1: schema: must be 1" in repro(*command, code=2)
    assert tree(reports) == before


def test_only_its_profile_lists_a_record(reports, tmp_path):
    smoke = golden_demo.read_golden()[0]["base-smoke"]
    write(reports, "experiments: [demo2020]")
    place = tmp_path / "state" / "runs" / smoke.run_key / "record.json"
    place.parent.mkdir(parents=True)
    place.write_bytes(smoke.to_bytes())
    repro("report", "--profile", "smoke")
    page = (tmp_path / "state" / "reports" / "smoke" / "demo2020" / "report.md").read_text()
    assert page[page.index("## Withdrawn records") :].count("seed") == 1


# Verify


def test_verify_reads_the_list_and_compares_tables_made_with_it(reports):
    repro("report")
    done = json.loads(repro("verify", "--json", code=1))  # made-up records break rules of their own
    assert "withdrawn" in done["rules"]
    assert {each["rule"] for each in done["broken"]}.isdisjoint({"withdrawn", "tables"})
    assert not any("withdrawn" in note for note in done["notes"])
    write(reports, "run_keys: ['0123456789abcdef']")
    done = json.loads(repro("verify", "--json", code=1))
    assert any("withdrawn[0]: holds for none of the" in note for note in done["notes"])
    assert {each["rule"] for each in done["broken"]} >= {"tables"}  # made with another list
    (reports / withdrawn.FILE).write_text("schema: 1\n")
    done = json.loads(repro("verify", "--json", code=1))
    (broken,) = [each for each in done["broken"] if each["rule"] == "withdrawn"]
    assert "withdrawn: is missing" in broken["found"]
    assert any("tables not compared" in note for note in done["notes"])


# Training anew


def remade(home):
    """Give the finished smoke run another commit, as if another version had made it; return folder and record."""
    (path,) = home.glob("runs/*/record.json")
    record = RunRecord.from_bytes(path.read_bytes())
    record = replace(record, env=record.env | {"commit": COMMIT})
    path.write_bytes(record.to_bytes())
    return path.parent, record


def test_a_withdrawn_run_is_trained_anew_and_its_record_kept(place, home):
    assert "1 trained" in repro(*SMOKE)
    folder, old = remade(home)
    held = tree(folder)
    assert "1 skipped" in repro(*SMOKE)
    write(place / "reports", "commits: [fffffff]")
    assert "1 to train" in repro(*SMOKE, "--dry-run")
    assert tree(folder) == held
    out = repro(*SMOKE)
    assert "1 trained" in out
    assert WHY in out
    (kept,) = folder.glob("record-*.json")
    assert kept.name in out
    assert kept.read_bytes() == old.to_bytes()
    after = tree(folder)
    for name in ("journal.jsonl", "probabilities.npz", "model.pt"):
        assert after[f"{kept.stem}-{name}"] == held[name]
    assert after[f"{kept.stem}-attempts"] == held["attempts.json"]
    new = RunRecord.from_bytes((folder / "record.json").read_bytes())
    assert new.env["commit"] != COMMIT
    assert new.finals == old.finals  # the same engine, from the first epoch on
    assert new.resumed == []
    assert "1 skipped" in repro(*SMOKE)
    assert tree(folder) == after


def test_mlflow_shows_both_runs_and_rests_on_the_new_one(place, home):
    from repro.track import Tracker

    command = SMOKE[:-1]
    repro(*command)
    folder, old = remade(home)
    repro(*command)
    write(place / "reports", "commits: [fffffff]")
    assert "1 trained" in repro(*command)
    new = RunRecord.from_bytes((folder / "record.json").read_bytes())
    tracker = Tracker(home)
    ids = [e.experiment_id for e in tracker.experiments()]
    (parent,) = tracker.search(ids, kind="experiment")
    assert parent.data.metrics["summary/n_seeds"] == 1
    marks = {record.env["commit"]: "" for record in (old, new)}
    for run in tracker.search(ids, kind="run"):
        (data,) = (data for name, data in tracker.records() if run.info.run_id in name)
        marks[RunRecord.from_bytes(data).env["commit"]] = run.data.tags.get("repro.withdrawn", "")
    assert marks == {COMMIT: WHY, new.env["commit"]: ""}


def test_forced_anew_it_is_kept_whole_as_well(place, home):
    repro(*SMOKE)
    folder, old = remade(home)
    journal = (folder / "journal.jsonl").read_bytes()
    write(place / "reports", "commits: [fffffff]")
    repro(*SMOKE, "--force")
    assert {old.to_bytes(), journal} <= set(tree(folder).values())
    assert len(list(folder.glob("record*.json"))) == 2


@pytest.mark.parametrize("more", [("--devices", "cpu,cpu"), ("--concurrent", "2")])
def test_so_it_is_by_several_workers(place, home, more, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    repro(*SMOKE)
    folder, _ = remade(home)
    write(place / "reports", "commits: [fffffff]")
    arguments = [word for word in SMOKE if word not in ("--device", "cpu")] if more[0] == "--devices" else SMOKE
    assert "1 trained" in repro(*arguments, *more)
    assert len(list(folder.glob("record-*.json"))) == 1


def test_what_would_be_withdrawn_again_is_not_trained_anew(place, home):
    repro(*SMOKE)
    (path,) = home.glob("runs/*/record.json")
    write(place / "reports", f"run_keys: ['{path.parent.name}']")
    before = tree(path.parent)
    out = repro(*SMOKE)
    assert "1 skipped" in out
    assert f"Withdrawn is what this version makes of 1 of them: they will not count ({WHY})" in out
    assert tree(path.parent) == before


def test_a_record_that_cannot_be_read_is_told_as_without_a_list(place, home):
    repro(*SMOKE)
    (path,) = home.glob("runs/*/record.json")
    path.write_text("{}")
    before = repro(*SMOKE, code=1)
    assert "not a run record" in before
    write(place / "reports", "commits: [fffffff]")
    assert "not a run record" in repro(*SMOKE, code=1)
    out = repro(*SMOKE, "--concurrent", "2", code=1)  # by several workers as well: that run alone fails
    assert "not a run record" in out
    assert "1 failed" in out
    assert "1 trained" in repro(*SMOKE, "--force")


def test_what_was_begun_on_a_withdrawn_commit_is_begun_anew(place, home):
    """Else the record would be withdrawn when it is done; a start that came to nothing is no reason."""
    repro(*SMOKE)
    (path,) = home.glob("runs/*/record.json")
    folder, attempts = path.parent, path.parent / "attempts.json"
    path.unlink()  # as if it had been cut short: its journal is there
    (start,) = json.loads(attempts.read_text())
    here = start["commit"]
    write(place / "reports", "commits: [fffffff]")
    attempts.write_text(json.dumps([start | {"commit": "f" * 40}, start]))
    assert withdrawn_start(folder, a_run(folder), listed(place)) is None
    attempts.write_text(json.dumps([start | {"commit": "f" * 40}, start | {"epoch": 1}]))
    assert withdrawn_start(folder, a_run(folder), listed(place)).why == WHY
    out = repro(*SMOKE)
    assert "1 run of 1 experiment: 1 to train, 0 to resume" in out
    assert f"what had been begun of it is withdrawn ({WHY}); begun anew" in out
    assert RunRecord.from_bytes(path.read_bytes()).env["commit"] == here
    assert len(json.loads(attempts.read_text())) == 1


def listed(place):
    return withdrawn.of(place / "reports")


def a_run(folder):
    return SimpleNamespace(key=folder.name, report="tiny", experiments=("first",))


def test_missing_counts_no_withdrawn_record(place, home):
    def wanted():
        made = suite.plan(
            {"tiny": report}, [(report, list(report.experiments.values()))], profile="full", seeds=(0,),
            devices=(CPU,), precision="fp32", deterministic=False, home=home, command="", missing=True, dry=True,
            reports_dir=place / "reports",
        )  # fmt: skip
        return [run.key for run in made.runs]

    import torch

    CPU, report = torch.device("cpu"), small_report()
    first, second = wanted()
    record = replace(make(report, "first"), run_key=first, report="tiny", experiments=["first"])
    path = place / "reports" / "tiny" / "evidence" / record.file_name
    path.parent.mkdir(parents=True)
    path.write_bytes(record.to_bytes())
    assert wanted() == [second]
    write(place / "reports", "commits: ['0000000']")
    assert wanted() == [first, second]


@pytest.mark.parametrize("survives", range(5))
def test_killed_while_it_is_set_aside_nothing_is_lost_and_the_same_call_goes_on(tmp_path, monkeypatch, survives):
    record = make(demo())
    (tmp_path / "record.json").write_bytes(record.to_bytes())
    files = {"journal.jsonl": b"a", "model.pt": b"b", "probabilities.npz": b"c", "attempts.json": b"d"}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "record-1.json").write_bytes(b"an older one")
    (tmp_path / "checkpoint-1-x.pt").write_bytes(b"of no use")
    contents = sorted([*files.values(), record.to_bytes(), b"an older one"])
    done, rename = [], Path.rename

    def killed(self, target):
        if len(done) == survives:
            raise KeyboardInterrupt
        done.append(self)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        set_aside(tmp_path)
    assert (tmp_path / "record.json").exists()  # so that the run is still known as finished, and withdrawn
    assert sorted(tree(tmp_path).values()) == contents
    monkeypatch.undo()
    kept = set_aside(tmp_path)
    assert kept.read_bytes() == record.to_bytes()
    assert sorted(tree(tmp_path).values()) == contents
    assert all(name.startswith("record-") for name in tree(tmp_path))
    assert sorted(p.name for p in tmp_path.glob("record*.json")) == sorted(["record-1.json", kept.name])


def test_setting_aside_overwrites_nothing(tmp_path):
    record = make(demo())
    kept = []
    for n in (b"1", b"2"):
        (tmp_path / "record.json").write_bytes(record.to_bytes())
        (tmp_path / "journal.jsonl").write_bytes(n)
        kept.append(set_aside(tmp_path))
    assert kept[0] == kept[1]  # the same bytes once
    assert sorted(tree(tmp_path).values()) == sorted([record.to_bytes(), b"1", b"2"])


# MLflow


def test_a_withdrawn_record_enters_no_mean_of_mlflow_and_is_marked(place, home, make_record):
    from repro.suite.moving import show_evidence
    from repro.track import Tracker

    folder = place / "reports"
    records = [make_record(epochs=2, images=200, seed=seed, env_class=f"cpu-n{seed + 1}") for seed in (0, 1)]
    for record in records:
        path = folder / record.report / "evidence" / record.file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(record.to_bytes())

    def shown():
        show_evidence(home, folder)
        tracker = Tracker(home)
        ids = [e.experiment_id for e in tracker.experiments()]
        (parent,) = tracker.search(ids, kind="experiment")
        children = {run.data.tags["repro.run_key"]: run for run in tracker.search(ids, kind="run")}
        assert {run.data.tags["mlflow.parentRunId"] for run in children.values()} == {parent.info.run_id}
        marks = {key: run.data.tags.get("repro.withdrawn") for key, run in children.items()}
        return parent.data.metrics.get("summary/n_seeds"), [marks[record.run_key] for record in records]

    assert shown() == (2, [None, None])
    write(folder, "numerics: [2]")
    assert shown() == (1, [None, WHY])
    write(folder, "numerics: [2, 1]")
    assert shown() == (None, [WHY, WHY])
    assert shown() == (None, [WHY, WHY])  # and again
    (folder / withdrawn.FILE).unlink()
    assert shown() == (2, [None, None])


def test_status_without_withdrawn_records_is_as_before():
    rows = tables.status({"demo2020": demo()}, [make(demo())])
    assert "withdrawn" not in tables.status_text(rows)
