"""Records keep their bytes; journals survive a kill at any byte."""

import copy
import json
import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from repro.errors import UserError
from repro.record import MAX_BYTES, Journal, RunRecord, check_sound, read_records, run, write_atomically


def test_round_trip_keeps_bytes_and_values(make_record):
    record = make_record(resumed=[{"epoch": 3}], fold=2)
    data = record.to_bytes()
    again = RunRecord.from_bytes(data)
    assert again.to_bytes() == data
    assert again.finals == record.finals
    assert again.confusion == record.confusion
    for key, curve in record.curves.items():
        assert again.curves[key].dtype == np.float32
        np.testing.assert_array_equal(again.curves[key], curve)
    np.testing.assert_array_equal(again.predictions["class"], record.predictions["class"])
    assert list(json.loads(data)) == sorted(json.loads(data))


def test_non_finite_values_survive(make_record):
    record = make_record(epochs=2, state="diverged", finals={"last": {"loss": math.nan, "acc_pct": 10.0}})
    record.curves["train/loss"] = np.array([np.inf, np.nan], np.float32)
    again = RunRecord.from_bytes(record.to_bytes())
    assert math.isnan(again.finals["last"]["loss"])
    np.testing.assert_array_equal(again.curves["train/loss"], record.curves["train/loss"])


@pytest.mark.parametrize(("epochs", "most"), [(50, 18 * 1024), (250, MAX_BYTES)])
def test_size(make_record, epochs, most):
    # 4 step windows an epoch; random windows do not compress: each costs 15 bytes with its min, mean and max.
    size = len(make_record(epochs=epochs, windows=4).to_bytes())
    print(f"\na record of {epochs} epochs: {size:,} bytes")
    assert size <= most


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not a run record"),
        (b"[1]", "no schema number"),
        (b'{"schema": "1"}', "no schema number"),
        (b'{"schema": 2}', "newer than this version"),
        (b'{"schema": true}', "no schema number"),
        (b'{"schema": 0}', "schema 0 was never written"),
        (b'{"schema": 1}', "not a run record"),
        (b'{"schema": 1, "curves": {}, "predictions": {}}', "missing or unknown"),
        (b'{"schema": 1, "curves": {"a": 1}, "predictions": {}}', "not a run record"),
        (b'{"schema": 1, "curves": {"a": "no array"}, "predictions": {}}', "not a run record"),
        (b"[" * 100_000, "not a run record"),
    ],
)
def test_what_is_no_record_is_refused(data, says):
    with pytest.raises(UserError, match=says) as caught:
        RunRecord.from_bytes(data, "there.json")
    assert str(caught.value).startswith("there.json: ")


def test_every_schema_that_was_ever_written_is_read():
    """A committed record a version, never to be written anew: it becomes one of today's, which keeps its bytes."""
    assert sorted(run.UPGRADES) == list(range(1, run.SCHEMA))
    paths = {int(path.stem): path for path in (Path(__file__).parent / "golden" / "schemas").glob("*.json")}
    assert sorted(paths) == list(range(1, run.SCHEMA + 1))
    for schema, path in paths.items():
        assert json.loads(path.read_bytes())["schema"] == schema
        record = RunRecord.from_bytes(path.read_bytes(), str(path))
        check_sound(record, str(path))
        assert record.schema == run.SCHEMA
        assert (record.seed, record.finals["last"]["acc_pct"]) == (3, 90.5)
        assert RunRecord.from_bytes(record.to_bytes()).to_bytes() == record.to_bytes()
    assert record.to_bytes() == path.read_bytes()  # the newest's


def test_older_schemas_are_brought_up_step_by_step(monkeypatch, make_record):
    """With two later schemas made up: one that renamed a key, and one that counts in another unit."""
    monkeypatch.setattr(run, "SCHEMA", 3)
    monkeypatch.setattr(run, "UPGRADES", {
        1: lambda plain: {k: v for k, v in plain.items() if k != "seconds"} | {"duration": plain["seconds"]},
        2: lambda plain: plain | {"duration": plain["duration"] / 60},
    })  # fmt: skip
    plain = json.loads(make_record(epochs=1, seconds=90.0).to_bytes())
    before = copy.deepcopy(plain)
    found = run.upgrade(plain, "x")
    assert (found["schema"], found["duration"], "seconds" in found) == (3, 1.5, False)
    assert plain == before
    assert run.upgrade({"schema": 2, "duration": 30.0}, "x") == {"schema": 3, "duration": 0.5}
    with pytest.raises(UserError, match=r"newer than this version reads \(3\)"):
        run.upgrade({"schema": 4}, "x")


def test_a_cut_array_is_refused(make_record):
    plain = json.loads(make_record(epochs=50).to_bytes())
    whole = plain["curves"]["test/loss"]
    for cut in range(len(whole)):
        plain["curves"]["test/loss"] = whole[:cut]
        with pytest.raises(UserError, match="not a run record"):
            RunRecord.from_bytes(json.dumps(plain).encode())


def test_unknown_and_missing_keys_are_named(make_record):
    plain = json.loads(make_record(epochs=1).to_bytes())
    plain["extra"] = plain.pop("seed")
    with pytest.raises(UserError, match="extra, seed"):
        RunRecord.from_bytes(json.dumps(plain).encode())


def test_value(make_record):
    record = make_record(epochs=4)
    curve = record.curves["test/acc_pct"]
    assert record.value("last", "acc_pct") == record.finals["last"]["acc_pct"]
    assert record.value("at_epoch:1", "acc_pct") == float(curve[0])
    assert record.value("at_epoch:4", "acc_pct") == float(curve[3])
    assert record.value("at_epoch:5", "acc_pct") is None
    assert record.value("train", "loss", epoch=2) == float(record.curves["train/loss"][1])
    assert record.value("batch_mean", "acc_pct") is None
    assert record.value("last", "nll") is None


@pytest.mark.parametrize("curve", ["val/loss", "val_augmented/loss"])
def test_the_lowest_validation_loss_of_the_first_epochs(make_record, curve):
    record = make_record(epochs=5)
    assert record.value("best_val_loss", "acc_pct", epoch=3) is None  # without validation images
    held_out = {"val/loss": np.float32([3, 4, 2, 1, 2]), curve: np.float32([3, 1, 2, 0.5, 2])}
    record = replace(record, curves={**record.curves, **held_out})
    tested = record.curves["test/acc_pct"]
    found = [record.value("best_val_loss", "acc_pct", epoch=k) for k in range(1, 7)]
    assert found == [float(tested[k]) for k in (0, 1, 1, 3, 3)] + [None]
    assert record.value("best_val_loss", "loss", epoch=3) == float(record.curves["test/loss"][1])


def test_only_a_whole_full_run_counts(make_record):
    assert make_record().counts
    assert make_record(state="diverged").counts
    for change in (
        {"profile": "quick"},
        {"state": "stopped"},
        {"epochs_done": 49},
        {"data": {"train": "", "test": ""}},
    ):
        assert not make_record(**change).counts


def test_file_name(make_record):
    name = make_record(seed=3, fold=1).file_name
    assert name.startswith("resnet68-s3-f1-")
    assert name.endswith("-abcdef01.json")
    assert make_record().file_name != make_record(env_class="cpu-fp32-relaxed-n1").file_name


def test_journal_keeps_floats_exactly(tmp_path):
    journal = Journal(tmp_path / "run" / "journal.jsonl")
    values = {"a": 0.1 + 0.2, "b": math.inf, "c": -5e-324, "d": math.nan}
    entry = journal.append(1, values, {"step/loss_mean": [1 / 3, 2.0]})
    (read,) = journal.read()
    assert {k: v.hex() for k, v in read.metrics.items()} == {k: v.hex() for k, v in values.items()}
    assert (read.steps, read.time, read.epoch) == (entry.steps, entry.time, 1)


def test_journal_cut_at_any_byte_keeps_its_whole_epochs(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    for epoch in (1, 2, 3):
        journal.append(epoch, {"loss": 1 / epoch})
    data = journal.path.read_bytes()
    ends = [i for i, byte in enumerate(data) if byte == ord("\n")]
    for cut in range(len(data) + 1):
        journal.path.write_bytes(data[:cut])
        # A line is whole when its last brace is there, whether or not its newline is.
        assert len(journal.read()) == sum(end <= cut for end in ends)


def test_journal_truncate_then_append_goes_on(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    for epoch in (1, 2, 3):
        journal.append(epoch, {"loss": 1.0})
    with open(journal.path, "ab") as file:
        file.write(b'{"epoch": 4, "met')
    journal.truncate(2)
    journal.append(3, {"loss": 2.0})
    assert [(e.epoch, e.metrics["loss"]) for e in journal.read()] == [(1, 1.0), (2, 1.0), (3, 2.0)]


def test_journal_stops_where_the_epochs_do_not_follow(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append(1, {"loss": 1.0})
    journal.append(3, {"loss": 1.0})
    assert [e.epoch for e in journal.read()] == [1]
    assert Journal(tmp_path / "none.jsonl").read() == []


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch, failing):
    path = tmp_path / "record.json"
    write_atomically(path, b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]


def test_read_records_in_name_order(tmp_path, make_record):
    for name in ("b.json", "a.json"):
        (tmp_path / name).write_bytes(make_record(epochs=1).to_bytes())
    assert [path.name for path, _ in read_records(tmp_path, "*.json")] == ["a.json", "b.json"]


def test_only_plain_files_are_replaced_and_links_are_followed(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", tmp_path):
        with pytest.raises(UserError, match="is not a plain file"):
            write_atomically(place, b"new")
    (tmp_path / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"


def test_a_place_that_cannot_be_written_is_named_as_it_was_asked_for(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError) as refused:
        write_atomically(tmp_path / "file" / "new", b"")
    assert refused.value.filename == str(tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
