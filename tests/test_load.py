"""`repro.load`: the frames say what the pages say, from the evidence and from this machine, and the CSVs the same."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import golden_demo
import numpy as np
import pandas as pd
import pytest
from golden_demo import GOLDEN, demo

import repro
from repro.errors import UserError
from repro.report.render import render

ROOT = Path(__file__).parents[1]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the invented report and its full-protocol records as evidence; the others in a state folder."""
    (tmp_path / "reports" / "demo2020" / "evidence").mkdir(parents=True)
    shutil.copytree(GOLDEN / "ledger", tmp_path / "reports" / "ledger")
    for path in (GOLDEN / "records").glob("*.json"):
        shutil.copy(path, tmp_path / "reports" / "demo2020" / "evidence")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REPRO_EXPERIMENTS", str(GOLDEN / "experiments"))
    monkeypatch.setenv("REPRO_HOME", str(tmp_path / "state"))
    return tmp_path


def to_state(place, name):
    target = place / "state" / "runs" / name / "record.json"
    target.parent.mkdir(parents=True)
    shutil.move(place / "reports" / "demo2020" / "evidence" / f"{name}.json", target)


def test_importing_the_package_imports_nothing_else():
    program = "import sys; before = set(sys.modules); import repro; print(*(set(sys.modules) - before))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    heavy = {"pandas", "numpy", "pydantic", "yaml", "torch", "mlflow", "click"}
    assert not {name.split(".")[0] for name in done.stdout.split()} & heavy


def test_frames_have_the_documented_columns_and_types(place):
    runs, claims, curves = repro.load()
    kinds = {
        "string": "report experiment profile state device torch commit env_class run_key ledger",
        "Int64": "seed fold epochs", "bool": "shared used", "boolean": "dirty",
        "datetime64[s, UTC]": "started", "float64": "seconds images_per_s energy_j last/acc_pct best_val_loss/epoch",
    }  # fmt: skip
    for dtype, names in kinds.items():
        assert set(runs[names.split()].dtypes.astype(str)) == {dtype}
    kinds = {
        "string": "report claim kind experiment protocol metric rounding state reason declared where note "
                  "verdict at_swing why",
        "bool": "headline provisional", "Int64": "epoch decimals n",
        "float64": "published reference ours sd difference low high margin s_star agreement q swing",
    }  # fmt: skip
    for dtype, names in kinds.items():
        assert set(claims[names.split()].dtypes.astype(str)) == {dtype}
    assert sorted(claims) == sorted(" ".join(kinds.values()).split())
    names = ["report", "experiment", "shared", "seed", "fold", "used", "run_key", "metric", "epoch", "value"]
    assert list(curves) == names
    documented = repro.load.__doc__
    assert all(name in documented for name in [*claims, *names, *(c for c in runs if "/" not in c)])


def test_a_row_an_experiment_of_each_run_that_counts(place):
    runs = repro.load().runs
    records = [record for record in golden_demo.read_golden()[0].values() if record.counts]
    assert len(runs[~runs.shared]) == len(records)
    assert sorted(runs[runs.used & (runs.experiment == "base")].seed) == [0, 1, 2]
    base, twin = (runs[runs.experiment == name]["last/acc_pct"].tolist() for name in ("base", "twin"))
    assert base == twin  # one recipe, one run
    assert set(runs[runs.shared].experiment) == {"twin"}
    assert not runs[runs.experiment == "idle"].used.any()  # its recipe is no longer the file's


def test_the_mean_over_the_runs_used_is_what_the_claims_hold(place):
    runs, claims, curves = repro.load()
    measured = claims[(claims.state == "measured") & claims.kind.isin(["point", "loss"])]
    assert len(measured) > 5
    for claim in measured.itertuples():
        if claim.protocol.startswith("at_epoch:") or not pd.isna(claim.epoch):
            protocol, _, epoch = claim.protocol.partition(":")
            name = f"{'test' if epoch else protocol}/{claim.metric}"
            frame = curves[(curves.metric == name) & (curves.epoch == int(epoch or claim.epoch))]
            values = frame[frame.used & (frame.experiment == claim.experiment)].value
        else:
            values = runs[runs.used & (runs.experiment == claim.experiment)][f"{claim.protocol}/{claim.metric}"]
        assert len(values) == claim.n
        assert values.mean() == pytest.approx(claim.ours, abs=1e-12)
        assert values.std() == pytest.approx(claim.sd, nan_ok=True)
        assert claim.difference == pytest.approx(claim.ours - claim.reference)


def test_curves_hold_every_epoch_once(place):
    curves = repro.load().curves
    own = curves[~curves.shared & curves.used]
    assert not own.duplicated(["run_key", "metric", "epoch"]).any()
    for _, curve in own.groupby(["run_key", "metric"]):
        assert curve.epoch.tolist() == list(range(1, len(curve) + 1))
    record = golden_demo.read_golden()[0]["plain-s0"]
    plain = own[(own.experiment == "plain") & (own.metric == "test/loss")]
    assert np.array_equal(plain.value, record.curves["test/loss"].astype(np.float64))


def test_this_machines_runs_are_there_unless_left_out(place):
    for name in ("base-s1", "base-s2", "base-smoke"):
        to_state(place, name)
    seeds = [set(repro.load(home=home).runs.seed) for home in (None, place / "state", str(place / "state"), False)]
    assert seeds == [{0, 1, 2}, {0, 1, 2}, {0, 1, 2}, {0}]
    assert len(repro.load(profile="smoke").runs) == 2  # base, and twin which shares it
    assert repro.load(profile="smoke", home=False).runs.empty
    assert set(repro.load(profile="quick").runs.profile) == {"quick"}
    assert repro.load(place / "reports").runs.equals(repro.load("reports").runs)


def test_what_is_not_there_is_refused(place):
    with pytest.raises(UserError, match=r"nowhere: no such folder of evidence; run from the repository or name its"):
        repro.load("nowhere")
    with pytest.raises(UserError, match=r"nowhere: no such state folder; give the one REPRO_HOME named, or home=False"):
        repro.load(home="nowhere")
    with pytest.raises(UserError, match=r"'fulll': no such profile; choose one of full, quick, smoke"):
        repro.load(profile="fulll")


def test_without_any_run_the_claims_stand_and_the_rest_is_empty(tmp_path, monkeypatch):
    monkeypatch.delenv("REPRO_EXPERIMENTS", raising=False)
    monkeypatch.setenv("REPRO_HOME", str(tmp_path))
    monkeypatch.chdir(ROOT)
    (tmp_path / "reports").mkdir()
    runs, claims, curves = repro.load(tmp_path / "reports")
    assert set(claims.report) == {"chen2024", "chiu2023", "geng2022", "shamooun2022", "zhang2023"}
    assert claims[~claims.kind.isin(["count", "data"])].ours.isna().all()
    assert (claims[claims.state == "equal"].difference.abs() < 0.01).all()
    assert runs.empty
    assert curves.empty
    assert runs[runs.experiment == "resnet68"]["last/acc_pct"].isna().all()
    assert runs.groupby("experiment")["best_val_loss/ece_pct"].mean().empty
    assert curves[curves.metric == "test/acc_pct"].groupby("epoch").value.mean().empty


def test_the_csv_files_hold_the_same_numbers(place):
    records, ledgers = golden_demo.read_golden()
    render({"demo2020": demo()}, records.values(), ledgers, place / "pages")
    for name, frame in zip(("runs", "claims"), repro.load(), strict=False):
        words = {column: str for column in frame if str(frame[column].dtype) == "string"}  # else 000... is a number
        text = pd.read_csv(place / "pages" / f"{name}.csv", float_precision="round_trip", dtype=words)
        assert list(text) == list(frame)
        for column in frame:
            ours = frame[column]
            if str(ours.dtype) == "datetime64[s, UTC]":
                assert pd.to_datetime(text[column]).tolist() == ours.tolist()
            elif ours.isna().all():
                assert text[column].isna().all()
            else:
                assert text[column].astype(ours.dtype).equals(ours), column
