"""What a user can get wrong: one sentence with place, expectation and mend, exit code 2, and no file changed."""

import json
import os
import re
import shutil
import sqlite3
from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from repro.cli import main
from repro.record import FULL_TRAIN

SMOKE = ("run", "tiny/first", "--profile", "smoke", "--device", "cpu")
FULL = ("run", "tiny/first", "--device", "cpu", "--offline")


@pytest.fixture
def setting(place, home, monkeypatch):
    """The folder of one small report, with what a case needs to spoil it."""
    spec = place / "experiments" / "tiny.yaml"
    return SimpleNamespace(path=place, home=home, spec=spec, env=monkeypatch.setenv, patch=monkeypatch.setattr)


def tree(folder):
    """Return every file's bytes and every folder; locks aside, which stay behind empty."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if path.suffix != ".lock"
    }


def edit(old, new):
    """A setting in which the YAML reads otherwise."""

    def prepare(place):
        text = place.spec.read_text()
        assert old in text
        place.spec.write_text(text.replace(old, new))

    return prepare


def nothing(place):
    """The setting as it is."""


def wrong_data(place):
    data = {"x_train": np.zeros((50_000, 32, 32, 3), np.uint8), "x_test": np.zeros((10_000, 32, 32, 3), np.uint8)}
    data |= {"y_train": np.zeros(50_000, np.uint8), "y_test": np.zeros(10_000, np.uint8)}
    np.savez(place.path / "other.npz", **data)


def other_shape(place):
    np.savez(place.path / "other.npz", **{k: np.zeros(3) for k in ("x_train", "y_train", "x_test", "y_test")})


def cut_cache(place):
    (place.home / "data").mkdir()
    (place.home / "data" / "cifar10.npz").write_bytes(b"PK\x03\x04 cut short")


def other_cache(place):
    wrong_data(place)
    (place.home / "data").mkdir()
    shutil.move(place.path / "other.npz", place.home / "data" / "cifar10.npz")


def pipe(place):
    os.mkfifo(place.path / "pipe")


def pipe_of_a_report(place):
    os.mkfifo(place.path / "experiments" / "other.yaml")


def file_home(place):
    (place.path / "file").write_text("not a folder")
    place.env("REPRO_HOME", str(place.path / "file"))


def uri(text):
    """A setting in which MLFLOW_TRACKING_URI is so."""
    return lambda place: place.env("MLFLOW_TRACKING_URI", text)


def full_disk(place):
    place.patch("shutil.disk_usage", lambda path: SimpleNamespace(total=10**12, used=10**12, free=10**6))


def unwritable(place):
    (place.path / "file").write_text("not a folder")
    place.env("REPRO_HOME", str(place.path / "file" / "state"))


def odd_home(place):
    place.env("REPRO_HOME", str(place.path / "100%25"))


def no_server(place):
    place.env("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    place.env("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def file_store(place):
    place.env("MLFLOW_TRACKING_URI", "./mlruns")


def broken_store(place):
    (place.home / "mlflow.db").write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 40)


def half_made_store(place):
    with closing(sqlite3.connect(place.home / "mlflow.db")) as connection:
        connection.execute("create table _alembic_tmp_experiments (id int)")
        connection.commit()


def other_schema(place):
    with closing(sqlite3.connect(place.home / "mlflow.db")) as connection:
        connection.execute("update alembic_version set version_num = '0123456789ab'")
        connection.commit()


def deleted_experiment(place):
    from repro.track import Tracker

    tracker = Tracker(place.home)
    tracker.client.delete_experiment(tracker.experiment_id("tiny", "smoke"))


def no_mlflow(place):
    import sys

    # As on a machine without it; the modules that other tests have loaded are out of reach for the import below.
    place.patch.__self__.setitem(sys.modules, "mlflow", None)


def no_cuda(place):
    place.patch(torch.cuda, "is_available", lambda: False)


def broken_evidence(place):
    folder = place.path / "reports" / "tiny" / "evidence"
    folder.mkdir(parents=True)
    (folder / "first-s0.json").write_text('{"schema": 1, "run_key":')


def strange_evidence(place):
    folder = place.path / "reports" / "tiny" / "evidence"
    folder.mkdir(parents=True)
    (folder / "first-s0.json").write_text(json.dumps({"schema": 99}))


def no_experiments(place):
    place.spec.unlink()


def claim(text):
    """A setting with one claim more."""
    return lambda place: place.spec.write_text(place.spec.read_text() + f"  - {text}\n")


def sentence(text):
    """A setting with a sentence."""
    return lambda place: place.spec.write_text(place.spec.read_text() + f"sentences:\n  - {text}\n")


def no_validation(place):
    edit("decimals: 1, headline", "decimals: 1, protocol: best_val_loss, headline")(place)
    edit("train: 45000, val: 5000", "train: 50000")(place)


# name: (setting, arguments, what the sentence has to hold)
REFUSALS = {
    "unknown report": (nothing, ("run", "tinny"), ("tinny: no report 'tinny'", "did you mean 'tiny'?")),
    "unknown experiment": (nothing, ("run", "tiny/frist"), ("tiny/frist: no experiment 'frist'", "'first'")),
    "experiment left out behind the slash": (nothing, ("run", "tiny/"), ("tiny/: no experiment '' in tiny", "first")),
    "nothing named": (nothing, ("run",), ("nothing to run", "--all")),
    "empty tier": (nothing, ("run", "tiny", "--tier", "long"), ("no experiment is of tier long", "repro list")),
    "no specs at all": (no_experiments, ("list",), ("experiments: holds no *.yaml; each report is one YAML there",)),
    "unknown key": (
        edit("optim: {name: adam, lr: 1e-3}", "optim: {name: adam, lr: 1e-3, momentun: 0.9}"), ("validate",),
        ("tiny.yaml:11: recipe.optim.momentun: unknown key",),
    ),
    "unknown loss": (
        edit("cross_entropy", "jsd"), ("validate",),
        ("tiny.yaml:10: recipe.loss.name", "cross_entropy"),
    ),
    "unknown model": (edit("name: resnet", "name: resnest"), ("validate",), ("recipe.model.name", "'resnet'")),
    "missing key": (
        edit("  budget: {epochs: 2, batch_size: 128}", "  budget: {epochs: 2}"), ("validate",),
        ("tiny.yaml:13: recipe.budget.batch_size: is missing; add it",),
    ),
    "wrong type": (
        edit("epochs: 2,", "epochs: two,"), ("validate",),
        ("tiny.yaml:13: recipe.budget.epochs: must be an integer (found 'two')",),
    ),
    "broken YAML": (
        edit("{name: adam, lr: 1e-3}", "{name: adam, lr: 1e-3"), ("list",),
        ("tiny.yaml:12: not valid YAML", "check indents, colons, quotes"),
    ),
    "duplicate key": (
        edit("title: A small report", "title: A small report\ntitle: Another"), ("list",),
        ("tiny.yaml:4: title: is given twice (first at line 3); keep one",),
    ),
    "split too large": (edit("val: 5000", "val: 5001"), ("validate",), ("recipe.data.split", "50,000")),
    "validation protocol without validation images": (
        no_validation, ("validate",), ("tiny.yaml:18: claims[0].protocol", "validation"),
    ),
    "three views wanted, one given": (
        edit("loss: {name: cross_entropy}", "loss: {name: jensen_shannon}"), ("validate",),
        ("tiny.yaml:10: recipe.loss.name: loss jensen_shannon compares three views", "{name: augmix, views: 3}"),
    ),
    "three views given, one wanted": (
        edit("{name: flip}]", "{name: augmix, views: 3}]"), ("validate",),
        ("tiny.yaml:8: recipe.augment[1].views: augmix with views: 3 needs the loss jensen_shannon", "views: 1"),
    ),
    "operation behind the last": (
        edit("[{name: crop, pad: 4}, {name: flip}]", "[{name: autoaugment}, {name: flip}]"), ("validate",),
        ("tiny.yaml:8: recipe.augment[0]: autoaugment must be the last operation; move it to the end",),
    ),
    "folds that do not divide": (
        edit("val: 5000}", "val: 5000}, folds: {k: 7, network: fresh}"), ("validate",),
        ("tiny.yaml:7: recipe.data.folds.k: folds.k is 7, which does not divide the 50,000", "4, 5, 8, 10"),
    ),
    "folds of another size": (
        edit("val: 5000}", "val: 5000}, folds: {k: 5, network: fresh}"), ("validate",),
        ("tiny.yaml:7: recipe.data.split.train: split must be that of one of 5 folds", "train: 40000, val: 10000"),
    ),
    "epochs that folds cannot share": (
        edit("val: 5000}", "val: 5000}, folds: {k: 10, network: carried}"), ("validate",),
        ("tiny.yaml:13: recipe.budget.epochs: budget.epochs is 2, which 10 folds cannot share", "a multiple of 10"),
    ),
    "fold of an experiment without folds": (
        edit("decimals: 1, headline", "decimals: 1, fold: 1, headline"), ("validate",),
        ("tiny.yaml:18: claims[0].fold: first has no fold of its own", "leave fold out"),
    ),
    "number in base 8": (
        edit("epochs: 2,", "epochs: 0144,"), ("validate",), ("tiny.yaml:13: recipe.budget.epochs: YAML reads '0144'",),
    ),
    "number in base 60": (edit("epochs: 2,", "epochs: 1:40,"), ("validate",), ("YAML reads '1:40'", "write it out")),
    "factor that is no key": (
        claim("{id: o, kind: order, higher: first, lower: second, factor: [optim.momentun], where: Text}"),
        ("validate",), ("tiny.yaml:20: claims[2].factor: no key 'optim.momentun' in the recipes of first and second",),
    ),
    "factor that is no key path": (
        claim("{id: o, kind: order, higher: first, lower: second, factor: [learning_rate], where: Text}"),
        ("validate",), ("claims[2].factor", "must be a key path of the recipe such as optim"),
    ),
    "digits of a small number": (
        claim("{id: l, kind: loss, experiment: first, metric: loss, value: 0.00005, decimals: 4, where: Text}"),
        ("validate",), ("claims[2].decimals: is 4, but value 5e-05 has 5; give as many",),
    ),
    "report id with a hyphen": (
        edit("id: tiny", "id: my-report"), ("validate",), ("id: must be 2 to 30 lower-case letters and digits",),
    ),
    "experiment with an underscore": (
        edit("  first:", "  base_line:"), ("validate",), ("experiments.base_line: must be lower-case letters",),
    ),
    "comparison of one with itself": (
        claim("{id: o, kind: order, higher: first, lower: first, where: Text}"), ("validate",),
        ("claims[2].higher: higher and lower are the same experiment; name two",),
    ),
    "trend of one experiment": (
        claim("{id: o, kind: trend, experiments: [first, first], where: Text}"), ("validate",),
        ("tiny.yaml:20: claims[2].experiments: names 'first' twice; keep one",),
    ),
    "band of one experiment": (
        claim("{id: o, kind: band, narrower: [first, second], wider: [second, second], where: Text}"), ("validate",),
        ("claims[2].wider: names 'second' twice; keep one",),
    ),
    "order of what no run records": (
        claim("{id: o, kind: order, higher: first, lower: second, metric: nll, protocol: best_test, where: Text}"),
        ("validate",), ("claims[2].metric: nll is not measured by best_test; known: acc_pct, loss",),
    ),
    "comparison with no such experiment": (
        claim("{id: o, kind: order, higher: first, lower: secund, where: Text}"), ("validate",),
        ("tiny.yaml:20: claims[2].lower: no experiment 'secund' in this report; did you mean 'second'?",),
    ),
    "curve without a value for each epoch": (
        claim("{id: t, kind: trajectory, experiment: first, curve: test/loss, epochs: [1, 2], values: [1.0, 2.0, 3.0], "
              "decimals: 1, where: Text}"), ("validate",),
        ("claims[2].epochs: epochs has 2 entries and values 3; give one value an epoch",),
    ),
    "curve past the budget": (
        claim("{id: t, kind: trajectory, experiment: first, curve: test/loss, epochs: [1, 3], values: [1.0, 2.0], "
              "decimals: 1, where: Text}"), ("validate",),
        ("claims[2].epochs: epoch 3 is past the budget of 2 epochs of first; give epochs from 1 to 2",),
    ),
    "matrix that loses an image": (
        claim("{id: m, kind: confusion, experiment: first, where: Text, matrix: "
              f"{[[999] + [0] * 9] + [[1000] + [0] * 9] * 9}}}"), ("validate",),
        ("claims[2].matrix[0]: sums to 999; each class has 1,000 test images",),
    ),
    "accuracy as a fraction": (
        claim("{id: a, kind: point, experiment: first, value: 0.8231, decimals: 4, where: Text}"), ("validate",),
        ("claims[2].value: an accuracy of 0.8231 % is far below chance; give it in percent (82.31)",),
    ),
    "curve of fractions": (
        claim("{id: t, kind: trajectory, experiment: first, curve: test/acc_pct, epochs: [1, 2], values: [0.3, 0.5], "
              "decimals: 1, where: Text}"), ("validate",),
        ("claims[2].values: an accuracy of 0.5 % is far below chance; give it in percent (50)",),
    ),
    "comma within braces": (
        claim("{id: a, kind: point, experiment: first, value: 82.3, decimals: 1, where: Table 2, row 1}"),
        ("validate",), ("claims[2].row 1: is no key", "put text with a comma in straight quotes"),
    ),
    "comma for a point": (
        claim("{id: a, kind: point, experiment: first, value: 82,3, decimals: 1, where: Text}"),
        ("validate",), ("claims[2].3: is no key", "write numbers without one"),
    ),
    "sign behind a number": (
        claim("{id: a, kind: point, experiment: first, value: 82.3%, decimals: 1, where: Text}"),
        ("validate",), ("claims[2].value: must be a number in plain digits, without a sign behind", "(found '82.3%')"),
    ),
    "list for a name": (
        claim("{id: a, kind: point, experiment: [first], value: 82.3, decimals: 1, where: Text}"),
        ("validate",), ("claims[2].experiment: must be one text, not a list",),
    ),
    "epoch without a number": (
        claim('{id: a, kind: point, experiment: first, protocol: "at_epoch:K", value: 82.3, decimals: 1, where: Text}'),
        ("validate",), ("unknown protocol 'at_epoch:K'; in at_epoch:K, K is the epoch, counted from 1",),
    ),
    "time that is longer the other way round": (
        claim("{id: a, kind: time, longer: first, shorter: second, ratio: 0.8, where: Text}"), ("validate",),
        ("claims[2].ratio: the time of longer over that of shorter is 1 or more; swap the two, or give 1.25",),
    ),
    "indicator that indicates nothing": (
        claim("{id: q, kind: qualitative, text: Better, indicators: [acc, nil], primary: acc, where: Text}"),
        ("validate",), ("claims[2].indicators: no claim 'nil' in this file",),
    ),
    "sentence bound to nothing": (
        sentence("{where: Text, says: It is good.}"), ("validate",),
        ("sentences[0].says: is bound to nothing; give claims, settings, findings, or a reason",),
    ),
    "sentence bound to no such claim": (
        sentence("{where: Text, says: It is good., claims: [ac]}"), ("validate",),
        ("tiny.yaml:21: sentences[0].claims: no claim 'ac' in this file; did you mean 'acc'?",),
    ),
    "sentence bound to no such setting": (
        sentence("{where: Text, says: It is good., settings: [recipe.optim.rate]}"), ("validate",),
        ("sentences[0].settings: no setting 'recipe.optim.rate' in this file",),
    ),
    "epoch past the budget": (
        edit("decimals: 1, headline", "decimals: 1, protocol: 'at_epoch:3', headline"), ("validate",),
        ("claims[0].protocol: epoch 3 is past the budget of 2 epochs",),
    ),
    "no CUDA": (no_cuda, ("run", "tiny", "--device", "cuda"), ("--device cuda: PyTorch sees no CUDA", "--device cpu")),
    "no such device": (nothing, ("run", "tiny", "--device", "gpu"), ("--device gpu: not a device", "cuda:N")),
    "device and devices": (nothing, ("run", "tiny", "--device", "cpu", "--devices", "cpu,cpu"), ("leave one out",)),
    "devices of two kinds": (nothing, ("run", "tiny", "--devices", "cpu,cuda:0"), ("--device",)),
    "model without MLflow": (nothing, (*SMOKE, "--log-model", "--offline"), ("--log-model: expected MLflow",)),
    "device of another kind": (nothing, ("run", "tiny", "--device", "meta"), ("--device meta: runs are made on cpu",)),
    "second CPU": (nothing, ("run", "tiny", "--device", "cpu:1"), ("--device cpu:1: there is one CPU device",)),
    "seeds": (nothing, ("run", "tiny", "--seeds", "3-1"), ("'3-1'", "a range runs upwards")),
    "budget": (nothing, ("run", "tiny", "--budget", "9 minutes"), ("'9 minutes'", "90s, 9m or 1.5h")),
    "no data": (nothing, FULL, ("CIFAR-10 is not here", "repro data fetch", "repro data import")),
    "data cut short": (cut_cache, FULL, ("cifar10.npz: not a readable .npz", "import or fetch CIFAR-10 again")),
    "other data in the cache": (other_cache, FULL, ("cifar10.npz: the train images are not CIFAR-10's", "again")),
    "import of other data": (
        wrong_data, ("data", "import", "other.npz"),
        ("other.npz: the train images are not CIFAR-10's", FULL_TRAIN[:12]),
    ),
    "import of other shapes": (
        other_shape, ("data", "import", "other.npz"), ("other.npz: x_train is", "expected uint8"),
    ),
    "import of nothing": (
        nothing, ("data", "import", "nowhere.npz"),
        ("nowhere.npz: cannot be read", "cifar-10-python.tar.gz", ".npz of x_train"),
    ),
    "import of a pipe": (pipe, ("data", "import", "pipe"), ("pipe: is neither a file nor a folder",)),
    "schema into a pipe": (pipe, ("schema", "--out", "pipe"), ("pipe: is there, and is not a plain file",)),
    "a pipe among the reports": (pipe_of_a_report, ("list",), ("other.yaml: cannot be read (not a plain file)",)),
    "state folder is a file": (file_home, ("status",), ("REPRO_HOME=", "is not a folder")),
    "disk full": (full_disk, SMOKE, ("free", "REPRO_HOME")),
    "state folder in a file": (unwritable, SMOKE, ("file/state", "REPRO_HOME")),
    "state folder that no URL can name": (odd_home, SMOKE, ("100%25: MLflow's database", "? and %", "--offline")),
    "store that no URL can name": (uri("sqlite:////tmp/a%20b.db"), SMOKE, ("a%20b.db: % means something else",)),
    "no server": (no_server, SMOKE, ("MLflow at http://127.0.0.1:9", "--offline")),
    "half an address": (uri("http://[::1"), SMOKE, ("MLFLOW_TRACKING_URI=http://[::1", "unset it")),
    "address without a host": (uri("https://"), SMOKE, ("MLFLOW_TRACKING_URI=https://", "unset it")),
    "store in a folder": (uri("sqlite:////tmp"), SMOKE, ("sqlite:////tmp: is a folder", "/mlflow.db")),
    "store without its driver": (
        uri("postgresql+pg8000://me:secret@127.0.0.1/x"), SMOKE, ("//***@127.0.0.1/x", "install that package"),
    ),
    "file store": (file_store, SMOKE, ("MLFLOW_TRACKING_URI=./mlruns", "sqlite:///<file>")),
    "broken store": (broken_store, SMOKE, ("mlflow.db: not a readable MLflow store", "move it away")),
    "half-made store": (half_made_store, SMOKE, ("mlflow.db: a half-made MLflow store", "move it away")),
    "store of another MLflow": (other_schema, SMOKE, ("mlflow.db", "mlflow db upgrade")),
    "deleted MLflow experiment": (
        deleted_experiment, SMOKE, ("experiment cifar10/tiny/smoke was deleted", "mlflow experiments restore"),
    ),
    "no mlflow": (no_mlflow, SMOKE, ("mlflow cannot be imported", "--offline")),
    "broken evidence": (broken_evidence, ("report",), ("first-s0.json",)),
    "evidence of a later version": (strange_evidence, ("report",), ("first-s0.json", "schema 99")),
    "a report that is there": (nothing, ("new", "tiny"), ("tiny.yaml",)),
    "an empty title": (nothing, ("new", "miller2025", "--title", " "), ("--title ' '", "printable")),
    "a report's bad name": (nothing, ("new", "Sixth-Report"), ("'Sixth-Report'",)),
    "picture of an unknown report": (nothing, ("data", "show", "tinny"), ("no report 'tinny'", "'tiny'")),
    "nothing to export": (nothing, ("bundle", "export", "out"), ("no finished run to export", "repro status")),
    "bundle of nothing": (nothing, ("bundle", "import", "experiments"), ("experiments",)),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_a_mistake_gets_one_sentence_and_changes_nothing(setting, name):
    prepare, arguments, expected = REFUSALS[name]
    prepare(setting)
    before = tree(setting.path)
    result = CliRunner().invoke(main, list(arguments), catch_exceptions=False)
    sentence = re.sub(r"\s+", " ", result.stderr)
    assert result.exit_code == 2, result.output
    for words in expected:
        assert words in sentence, f"{words!r} is not in: {result.output}"
    assert "Traceback" not in result.output
    assert len(result.stderr.strip().splitlines()) <= 4, result.stderr
    assert tree(setting.path) == before
