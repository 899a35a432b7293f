"""`repro verify`: sound records keep every rule, and each planted fault is found, named with its place, alone."""

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import synthetic
from command_line import SMALL, repro

from repro.judge.records import of_profile
from repro.record import FULL_TEST, Journal, RunRecord
from repro.report import data, tables
from repro.report.verdicts import verdicts_json
from repro.spec import ledger
from repro.spec.identity import PROFILES, run_key
from repro.spec.loading import load_all
from repro.suite.verifying import verify
from repro.suite.verifying.checking import FILE_RULES, RULES

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def reports():
    return {"chiu2023": load_all()["chiu2023"]}


def summed(record):
    """Return a made-up record whose seconds are those of its epochs, which made-up ones leave apart."""
    return replace(record, seconds=round(float(np.float64(record.curves["time/epoch_s"]).sum()), 3))


@pytest.fixture(scope="module")
def sound(reports):
    """Return a record that keeps every rule: validated, augmented, of at least ten epochs."""
    made = (summed(record) for record in synthetic.records(reports, 1))
    wanted = {"best_val_loss", "best_test_every10", "augmented_test"}
    return next(record for record in made if wanted <= set(record.finals) and "step/loss_min" in record.curves)


@pytest.fixture
def folder(tmp_path, reports):
    """Return a folder of reports with its ledger and no record."""
    ledger.write(reports.values(), tmp_path / "reports" / "ledger")
    return tmp_path / "reports"


def checked(folder, record, data=None):
    """Write a record as evidence and check it; return what is broken as (rule, key)."""
    path = folder / record.report / "evidence" / record.file_name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(record.to_bytes() if data is None else data)
    done = verify([path.parent], folder, folder / "home")
    assert done.records == 1
    assert all(broken.file == str(path) for broken in done.broken)
    return [(broken.rule, broken.key) for broken in done.broken]


def test_the_committed_evidence_keeps_every_rule():
    out = repro("verify", "--reports", str(ROOT / "reports"))
    assert out.endswith(f"{len(RULES) + 3} rules, all hold\n"), out


def test_made_up_records_of_every_experiment_of_a_report_keep_every_rule(folder, reports):
    """The rules hold for every kind of recipe, not for one."""
    shown = load_all()
    records = [summed(record) for record in synthetic.records(shown, 1)]
    ledger.write(shown.values(), folder / "ledger")
    for record in records:
        path = folder / record.report / "evidence" / record.file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(record.to_bytes())
    records = of_profile(records, "full")
    rows = tables.rows(shown, records, ledger.read(folder / "ledger"))
    runs = data.run_rows(shown, records, "full")
    (folder / "verdicts.json").write_bytes(verdicts_json(shown, rows, records))
    (folder / "runs.csv").write_bytes(data.csv_bytes(runs, data.run_columns(runs)))
    (folder / "claims.csv").write_bytes(data.csv_bytes(data.claim_rows(rows), data.CLAIM_COLUMNS))
    done = verify([], folder, folder / "home")
    assert [str(broken) for broken in done.broken] == []
    assert done.records == len(records) > 100


# One fault, one rule


def curve(name, place, value):
    def planted(record):
        changed = np.array(record.curves[name])
        changed[place] = value
        return replace(record, curves={**record.curves, name: changed})

    return planted


def final(protocol, metric, change):
    def planted(record):
        values = {**record.finals[protocol], metric: change(record.finals[protocol].get(metric))}
        return replace(record, finals={**record.finals, protocol: values})

    return planted


def matrix(protocol, change):
    def planted(record):
        rows = [list(row) for row in record.confusion[protocol]]
        change(rows)
        return replace(record, confusion={**record.confusion, protocol: rows})

    return planted


def add(row, column, count):
    def change(rows):
        rows[row][column] += count

    return change


def moved(rows):
    """Move a mistake of the first row to another column: sums and diagonal stay."""
    columns = [i for i in range(1, 10) if rows[0][i]]
    source, target = columns[0], next(i for i in range(1, 10) if i != columns[0])
    rows[0][source] -= 1
    rows[0][target] += 1


def rekeyed(record):
    """Give a record the key that its parts make."""
    r = record
    prints = f"{r.data['train']}:{r.data['test']}"
    return replace(r, run_key=run_key(r.report, r.recipe_hash, r.seed, r.fold, prints, r.profile))


def longer(record):
    curves = {name: np.array(values) for name, values in record.curves.items()}
    curves["test/loss"] = np.append(curves["test/loss"], curves["test/loss"][-1])
    return replace(record, curves=curves)


def without(name):
    return lambda record: replace(record, curves={k: v for k, v in record.curves.items() if k != name})


def resumed(*starts):
    return lambda record: replace(
        record, resumed=[{"epoch": e, "started": s, "commit": "0" * 40, "dirty": False} for e, s in starts]
    )


FAULTS = {
    "recipe not its hash": (
        lambda r: rekeyed(replace(r, recipe_hash="0" * 64)),
        {("recipe", "recipe_hash")},
    ),
    "recipe of another learning rate": (
        lambda r: replace(r, recipe=r.recipe | {"optim": r.recipe["optim"] | {"lr": 0.123}}),
        {("recipe", "recipe_hash")},
    ),
    "recipe none": (
        lambda r: replace(r, recipe=r.recipe | {"optim": {"name": "sgdx"}}),
        {("recipe", "recipe")},
    ),
    "key of another seed": (lambda r: replace(r, seed=r.seed + 7), {("key", "run_key")}),
    "data of another set": (
        lambda r: rekeyed(replace(r, data=r.data | {"train": FULL_TEST})),
        {("data", "data.train"), ("counts", "")},
    ),
    "official without order": (
        final("last_batch", "official_pct", lambda _: 90.0),
        {("data", "finals.last_batch.official_pct")},
    ),
    "device not named": (lambda r: replace(r, env=r.env | {"device": ""}), {("environment", "env.device")}),
    "ledger unknown": (lambda r: replace(r, ledger="0" * 12), {("ledger", "ledger")}),
    "start without zone": (lambda r: replace(r, started="2026-01-02T03:04:05"), {("started", "started")}),
    "resumed before its start": (
        resumed((1, "1999-01-01T00:00:00+00:00")), {("started", "resumed.0.started")},
    ),
    "resumed backwards": (
        resumed((3, "2026-01-01T00:00:00+00:00"), (2, "2026-01-02T00:00:00+00:00")), {("epochs", "resumed.1.epoch")},
    ),
    "epochs short of the budget": (
        lambda r: replace(r, epochs_done=r.epochs_done - 1),
        {("epochs", "epochs_done"), ("counts", ""), *(("curves", f"curves.{n}") for n in ("ALL",))},
    ),
    "a curve too long": (longer, {("curves", "curves.test/loss")}),
    "a curve missing": (without("train/acc_pct"), {("curves", "curves.train/acc_pct")}),
    "an accuracy above 100": (curve("train/acc_pct", 0, 101.0), {("percent", "curves.train/acc_pct")}),
    "a step loss not a number": (curve("step/loss_max", 1, np.nan), {("finite", "curves.step/loss_max")}),
    "diverged without a sign": (lambda r: replace(r, state="diverged"), {("finite", "state")}),
    "a mean above the highest": (curve("step/loss_mean", 2, 99.0), {("steps", "curves.step/loss_mean")}),
    "a negative learning rate": (curve("lr", 0, -0.1), {("steps", "curves.lr")}),
    "a negative wall time": (lambda r: replace(r, seconds=-1.0), {("times", "seconds")}),
    "seconds not the epochs'": (lambda r: replace(r, seconds=r.seconds + 1), {("times", "seconds")}),
    "last not the curve's end": (
        final("last", "loss", lambda value: value + 0.01), {("last", "finals.last.loss")},
    ),
    "val not the curve's end": (final("val", "acc_pct", lambda value: value + 1), {("last", "finals.val.acc_pct")}),
    "best_val_loss of another epoch": (
        final("best_val_loss", "epoch", lambda value: value - 1 or value + 1),
        {("chosen", "finals.best_val_loss.epoch"), ("chosen", "finals.best_val_loss.acc_pct"),
         ("chosen", "finals.best_val_loss.loss")},
    ),
    "best_val_loss beyond the budget": (
        final("best_val_loss", "epoch", lambda value: 10_000.0), {("chosen", "finals.best_val_loss.epoch")},
    ),
    "best_test not the curve's value": (
        final("best_test", "acc_pct", lambda value: value - 0.5), {("chosen", "finals.best_test.acc_pct")},
    ),
    "an image too many": (
        matrix("best_val_loss", add(3, 4, 1)), {("confusion", "confusion.best_val_loss"), },
    ),
    "a mistake made right": (
        matrix("best_val_loss", lambda rows: (add(3, 3, 10)(rows), add(3, 4, -10)(rows))), {
            ("accuracy", "finals.best_val_loss.acc_pct"), ("batches", "finals.last_batch.correct"), },
    ),
    "a negative count": (
        matrix("best_val_loss", lambda rows: (add(3, 4, -1000)(rows), add(3, 5, 1000)(rows))),
        {("confusion", "confusion.best_val_loss")},
    ),
    "classes not the matrix's": (matrix("last", moved), {("classes", "predictions.class")}),
    "a last batch of another size": (
        final("last_batch", "n", lambda value: value + 1), {("batches", "finals.last_batch.n")},
    ),
    "a mean of batches of another network": (
        final("batch_mean", "acc_pct", lambda value: value - 1), {("batches", "finals.batch_mean.acc_pct")},
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_by_its_rule_and_by_no_other(folder, sound, fault):
    plant, expected = FAULTS[fault]
    assert checked(folder, sound) == []
    shutil.rmtree(folder / sound.report)
    found = set(checked(folder, plant(sound)))
    if ("curves", "curves.ALL") in expected:  # every curve is an epoch too long then
        assert {rule for rule, _ in found} >= {rule for rule, _ in expected}
        assert expected - {("curves", "curves.ALL")} <= found
    else:
        assert found == expected


def test_every_rule_has_a_fault_that_breaks_it():
    planted = {rule for _, expected in FAULTS.values() for rule, _ in expected}
    elsewhere = {"once", "size", "place", "journal", "readable", "ledgers", "tables", "pages"}  # below
    elsewhere |= {"withdrawn"}  # in test_withdrawn
    assert planted | elsewhere == {rule.name for rule in RULES} | set(FILE_RULES)
    assert planted & elsewhere == set()


# The file itself


def test_a_key_that_is_there_twice_is_named(folder, sound):
    text = sound.to_bytes().replace(b'"seed": ', b'"seed": 5,\n"seed": ', 1)
    assert checked(folder, sound, text) == [("once", "seed")]


def test_other_bytes_of_the_same_values_are_not_the_records(folder, sound):
    plain = json.loads(sound.to_bytes())
    assert checked(folder, sound, json.dumps(plain).encode()) == [("once", "")]


def test_a_record_too_large_and_one_in_a_wrong_place(folder, sound):
    large = replace(sound, command="x" * 70_000)
    assert checked(folder, large) == [("size", "")]
    shutil.rmtree(folder / sound.report)
    path = folder / "another" / "evidence" / "other.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(sound.to_bytes())
    done = verify([path.parent], folder, folder)
    assert [(b.rule, b.key) for b in done.broken] == [("place", ""), ("place", "report")]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda text: text[: len(text) // 2], "not a run record"),
        (lambda text: text.replace(b'"seed"', b'"sead"'), "missing or unknown: sead, seed"),
        (lambda text: text.replace(b'"seed": 0', b'"seed": "0"'), "seed is of the wrong type (str)"),
        (lambda text: text.replace(b'"schema": 1', b'"schema": 99'), "newer than this version reads"),
    ],
)
def test_what_loading_refuses_is_a_broken_rule_and_the_others_are_still_checked(folder, sound, spoil, said):
    path = folder / sound.report / "evidence" / sound.file_name
    path.parent.mkdir(parents=True)
    path.write_bytes(spoil(sound.to_bytes()))
    path.with_name("other.json").write_bytes(replace(sound, seconds=-1.0).to_bytes())
    out = repro("verify", "--reports", str(folder), code=1)
    assert f"{path}: " in out
    assert said in out
    assert "[readable]" in out
    assert "seconds: -1; expected a finite number that is not negative [times]" in out
    assert "tables not compared" in out
    assert out.endswith("2 records, 25 rules, 3 broken in 3 places\n"), out


def test_values_that_no_rule_can_read_break_it_and_do_not_crash(folder, sound):
    for name, value in {
        "confusion": {"last": "none"}, "resumed": [3], "finals": {"last": {"acc_pct": 10**400}},
        "seconds": float("nan"),
    }.items():  # fmt: skip
        shutil.rmtree(folder / sound.report, ignore_errors=True)
        assert checked(folder, replace(sound, **{name: value})), name


def test_damage_anywhere_never_crashes_and_is_mostly_found(folder, sound):
    """A changed letter nearly always breaks a rule; what none depends on (a command, noisy accuracies) may pass."""
    rng, data = random.Random(3), sound.to_bytes()
    found = 0
    for trial in range(100):
        spoilt = bytearray(data)
        for _ in range(rng.choice([1, 1, 1, 20])):
            spoilt[rng.randrange(len(data))] = rng.randrange(33, 127)
        found += bool(checked(folder, sound, bytes(spoilt if trial % 10 else spoilt[: rng.randrange(len(data))])))
    assert found >= 85


# Runs of this machine


def test_a_run_is_compared_with_its_journal_and_its_folder(tmp_path, sound, folder):
    run = tmp_path / "home" / "runs" / sound.run_key
    journal = Journal(run / "journal.jsonl")
    epoch_curves = {name: values for name, values in sound.curves.items() if not name.startswith("step/")}
    for epoch in range(1, sound.epochs_done + 1):
        journal.append(epoch, {name: float(values[epoch - 1]) for name, values in epoch_curves.items()})
    (run / "record.json").write_bytes(sound.to_bytes())

    def broken():
        done = verify([tmp_path / "home"], folder, tmp_path / "home")
        assert done.records == 1
        return [(b.rule, b.key) for b in done.broken]

    assert broken() == []
    lines = journal.path.read_text().splitlines(keepends=True)
    plain = json.loads(lines[2])
    plain["metrics"]["train/loss"] = (9.0).hex()
    journal.path.write_text("".join([*lines[:2], json.dumps(plain) + "\n", *lines[3:]]))
    assert broken() == [("journal", "curves.train/loss")]
    journal.path.write_text("".join([*lines[:2], *lines[3:]]))  # an epoch is missing in the middle
    assert broken() == [("journal", "epochs_done")]
    journal.path.unlink()
    run.rename(run.with_name("0" * 16))
    assert broken() == [("place", "run_key")]


def test_runs_that_do_not_count_are_checked_by_their_own_budget(tmp_path, monkeypatch):
    """Real runs of this suite keep every rule, and their smoke profile is no fault."""
    home = tmp_path / "home"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REPRO_HOME", str(home))
    monkeypatch.delenv("REPRO_EXPERIMENTS", raising=False)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "tiny.yaml").write_text(SMALL)
    repro("run", "tiny", "--profile", "smoke", "--device", "cpu", "--offline", "-q")
    (tmp_path / "reports").mkdir()
    out = repro("verify", str(home))
    assert "all hold" in out
    assert out.startswith("2 records")
    path = next((home / "runs").glob("*/record.json"))
    record = RunRecord.from_bytes(path.read_bytes())
    path.write_bytes(replace(record, epochs_done=2).to_bytes())
    assert "epochs_done: 2; expected the budget's 1 [epochs]" in repro("verify", str(path), code=1)
    assert record.profile in PROFILES


# Ledgers, tables, pages


def test_a_changed_ledger_and_changed_tables_are_named_with_their_mend(folder, sound, reports, monkeypatch):
    other = folder / "ledger" / "0123456789ab.json"
    other.write_text("{}")
    assert f"{other}: its content is not the ledger its name says" in repro("verify", "--reports", str(folder), code=1)
    other.unlink()
    copy = folder.with_name("committed")
    shutil.copytree(ROOT / "reports", copy, ignore=shutil.ignore_patterns("figures", "badges"))
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    assert "all hold" in repro("verify", "--reports", str(copy))
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before  # nothing is written
    table = copy / "claims.csv"
    table.write_text(table.read_text().replace("chen2024", "chen2025", 1))
    (copy / "runs.csv").unlink()
    out = repro("verify", "--reports", str(copy), code=1)
    assert f"{table}: is not what evidence and specs give; `repro report` writes it anew [tables]" in out
    assert f"{copy / 'runs.csv'}: is missing" in out
    assert "1 broken in 2 places" in out
    # A run of this machine that cannot be read is no evidence: the tables are compared all the same.
    run = folder.parent / "home" / "runs" / "k" / "record.json"
    run.parent.mkdir(parents=True)
    run.write_text("{}")
    monkeypatch.setenv("REPRO_HOME", str(run.parents[2]))
    out = repro("verify", "--runs", "--reports", str(copy), code=1)
    assert f"{table}: is not what evidence and specs give" in out
    assert "not compared" not in out


def test_pages_are_drawn_again_and_compared_but_for_their_figures(tmp_path, monkeypatch):
    """One small report: a page changed by hand, one missing, a figure too many."""
    shutil.copytree(Path(__file__).parent / "golden" / "experiments", tmp_path / "experiments")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REPRO_HOME", str(tmp_path / "home"))
    folder = tmp_path / "reports"
    folder.mkdir()
    repro("report")
    assert "all hold" in repro("verify", "--pages")
    assert "leave out PATH" in repro("verify", "--pages", "reports", code=2)
    page, badge = folder / "demo2020" / "report.md", next((folder / "demo2020" / "badges").glob("*.svg"))
    page.write_text(page.read_text() + "Reproduced.\n")
    badge.write_text(badge.read_text().replace("not", "now"))
    (folder / "index.html").unlink()
    (folder / "demo2020" / "figures").mkdir(exist_ok=True)
    (folder / "demo2020" / "figures" / "old.svg").write_text("<svg></svg>")
    out = repro("verify", "--pages", code=1)
    for name, said in {
        page: "is not what evidence and specs give", badge: "is not what evidence and specs give",
        folder / "index.html": "is missing", folder / "demo2020" / "figures" / "old.svg": "is left over",
    }.items():  # fmt: skip
        assert f"{name.relative_to(tmp_path)}: {said}" in out
    assert "1 broken in 4 places" in out


# The command


def test_json_has_the_same_as_the_lines(folder, sound):
    path = folder / sound.report / "evidence" / sound.file_name
    path.parent.mkdir(parents=True)
    path.write_bytes(replace(sound, seconds=-1.0).to_bytes())
    plain = json.loads(repro("verify", str(path), "--reports", str(folder), "--json", code=1))
    assert plain["records"] == 1
    assert not plain["holds"]
    assert [(b["file"], b["key"], b["rule"]) for b in plain["broken"]] == [(str(path), "seconds", "times")]
    assert set(plain["rules"]) == {rule.name for rule in RULES} | {"readable", "ledgers"}


def test_a_runs_folder_is_its_record_whatever_else_lies_there(folder, sound, tmp_path):
    run = tmp_path / "home" / "runs" / sound.run_key
    run.mkdir(parents=True)
    (run / "record.json").write_bytes(sound.to_bytes())
    for name in ("attempts.json", "energy.json"):
        (run / name).write_text("[]")
    for place in (run, run.parent, tmp_path / "home"):
        assert repro("verify", str(place), "--reports", str(folder)).startswith("1 record,")


def test_elsewhere_than_in_the_repository_a_records_ledger_is_not_looked_up(folder, sound, tmp_path):
    path = tmp_path / "away" / sound.file_name
    path.parent.mkdir()
    path.write_bytes(sound.to_bytes())
    plain = json.loads(repro("verify", str(path), "--reports", str(tmp_path / "none"), "--json"))
    assert plain["holds"]
    assert [note for note in plain["notes"] if "no folder of ledgers" in note]


def test_a_path_that_is_not_there_or_holds_no_record_is_the_users_mistake(tmp_path):
    assert "is not there" in repro("verify", str(tmp_path / "no.json"), code=2)
    assert "holds no record" in repro("verify", str(tmp_path), code=2)
    assert "no such folder of evidence" in repro("verify", "--reports", str(tmp_path / "none"), code=2)


def test_the_page_of_the_docs_names_every_rule():
    text = (ROOT / "docs" / "reliability.md").read_text()
    assert [
        f"| `{rule.name}` | {rule.says} |" for rule in RULES if f"| `{rule.name}` | {rule.says} |" not in text
    ] == []
    assert [name for name in FILE_RULES if f"| `{name}` |" not in text] == []
