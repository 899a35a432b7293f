"""Killed anywhere, a run ends in the same bits, and MLflow holds every epoch once."""

import os
import random
import shutil
import signal
import sqlite3
import time
from contextlib import closing

import pytest
from faulty import RUN
from holding import check_mlflow, journals, outcome, standing, statuses, trial, trials, wait_for

from repro.train import checkpoint

SEED = 20250715
FP32, BF16 = RUN, tuple("bf16" if word == "fp32" else word for word in RUN)
PRECISIONS = {"fp32": FP32, "bf16": BF16}
#: what MLflow is told beside the training, in an order in which each start comes as far as its own
BESIDE = ("mlflow.parent", "mlflow.run", "mlflow.write:2")
#: the rest of a run's life, in such an order
POINTS = (
    "attempts.write", "attempts.rename", "journal.append", "journal.append:2", "journal.appended", "checkpoint.write",
    "checkpoint.write:2", "checkpoint.rename", "checkpoint.renamed", "journal.rename", "checkpoint.rename:2",
    "probabilities.write", "model.rename", "record.write", "record.rename", "record.renamed", "mlflow.upload",
    "mlflow.finish", "mlflow.summary",
)  # fmt: skip
ALONE = "Killed at a random moment, resumed: same bits, MLflow whole"
CONTROL = "A state that lost a part is found out: the comparison fails"
TOLD = "SIGTERM and Ctrl-C: exit 130, KILLED in MLflow, resumed in the same bits"
STEADY = "Killed at a named place, resumed: same bits, MLflow whole"


def kills():
    """Yield (precision, number, share of a whole run's time), drawn from a fixed seed."""
    rng = random.Random(SEED)
    for number in range(trials(2, 10, 100)):
        for precision in PRECISIONS:
            share = rng.random()
            if number < trials(2, 10, 100) - (precision == "bf16" and not trials(0, 1)):
                yield precision, number, share


@pytest.mark.parametrize(("precision", "number", "share"), list(kills()))
def test_killed_at_a_random_moment(places, undisturbed, precision, number, share):
    command = PRECISIONS[precision]
    whole, seconds, _ = undisturbed(*command)
    with trial(ALONE, f"{precision} {number}") as detail:
        detail |= {"seed": SEED, "share": round(share, 4), "precision": precision}
        place = killed_while_alive(places, command, share, seconds)
        folders = list((place.home / "runs").glob("*")) if (place.home / "runs").exists() else []
        detail["epoch"] = checkpoint.newest(folders[0]) if folders else 0
        place.run(*command)
        assert outcome(place.home) == whole
        check_mlflow(place.home / "mlflow.db", place.home)


def killed_while_alive(places, command, share, seconds):
    """Return a place whose process was killed after a share of its life, which takes about so many seconds.

    A process that was over before, since the machine has become faster, tells how long a life is now.
    """
    for attempt in range(10):
        place = places(f"killed-{attempt}")
        process, began = place.start(*command), time.monotonic()
        process.join(share * seconds)
        if process.exitcode is None:
            process.kill()
            process.join()
        if process.exitcode == -signal.SIGKILL:
            return place
        assert process.exitcode == 0, process.output.read_text()
        seconds = time.monotonic() - began
    raise AssertionError(f"no process lived for {share:.0%} of the life of the one before")


def test_killed_at_every_named_place_in_one_run(places, undisturbed):
    with trial(STEADY, "one after another") as detail:
        place = places("killed")
        for point in BESIDE + POINTS:
            detail["point"] = point
            # No epoch may be over before MLflow has been told what is not told again.
            place.dies_at(point, changes=[("slow_epochs", 5.0)] if point in BESIDE else ())
        place.run()
        assert outcome(place.home) == undisturbed(*FP32)[0]
        check_mlflow(place.home / "mlflow.db", place.home)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("point", BESIDE + POINTS)
@pytest.mark.skipif(not trials(0, 1), reason="one after another in the test above; alone with REPRO_FAULTS=full")
def test_killed_at_a_named_place(places, undisturbed, point, precision):
    command = PRECISIONS[precision]
    with trial(STEADY, f"{precision} {point}"):
        place = places("killed")
        place.dies_at(point, *command)
        place.run(*command)
        assert outcome(place.home) == undisturbed(*command)[0]
        check_mlflow(place.home / "mlflow.db", place.home)


@pytest.mark.parametrize(
    "harm",
    [
        "insert into metrics select key, value, timestamp + 1, run_uuid, step, is_nan from metrics limit 1",
        "update metrics set value = value + 1e-9 where key = 'test/loss' and step = 1",
        "delete from metrics where key = 'train/loss' and step = 2",
        "update runs set status = 'RUNNING' where rowid = 1",
        "update tags set value = 'nobody' where key = 'mlflow.parentRunId'",
    ],
)
def test_the_look_at_mlflow_can_fail(undisturbed, tmp_path, harm):
    """Negative control: a row too many, changed or lost, a run left RUNNING or without a parent is found."""
    place = undisturbed(*FP32)[2]
    path = tmp_path / "mlflow.db"
    shutil.copy(place.home / "mlflow.db", path)
    check_mlflow(path, place.home)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute(harm).rowcount > 0
        db.commit()
    with pytest.raises(AssertionError):
        check_mlflow(path, place.home)


def test_the_comparison_can_fail(places, undisturbed):
    """Negative control: without the optimizer's moments, or its count of steps, the bits differ."""
    whole = undisturbed(*FP32)[0]
    for what in ("exp_avg", "step"):
        with trial(CONTROL, f"without {what}"):
            place = places(f"forgetful-{what}")
            place.dies_at("checkpoint.renamed:2")
            place.run(changes=[("forgets", what)])
            (found,), (expected,) = outcome(place.home).values(), whole.values()
            assert all(found[part] != expected[part] for part in ("record", "weights", "probabilities"))
            assert found["journal"][:2] == expected["journal"][:2]
            assert found["journal"][2:] != expected["journal"][2:]


@pytest.mark.parametrize("point", ["checkpoint.rename:2", "journal.append:3", "checkpoint.renamed:3"])
@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end(places, undisturbed, point, sign):
    """It stands still at a place and is told to end: it closes its MLflow run, says so, and can be gone on with."""
    if point != "checkpoint.rename:2" and not trials(0, 1):
        pytest.skip("with REPRO_FAULTS=full")
    with trial(TOLD, f"{sign.name} {point}"):
        place = places("told")
        process = place.start(point=f"{point}=sleep")
        wait_for(lambda: len(journals(place.home)) >= 1 and standing(process))
        os.kill(process.pid, sign)
        code, said = place.ended(process)
        assert code == 130, said
        assert "goes on at the last finished epoch" in said
        assert "Traceback" not in said
        (folder,) = (place.home / "runs").iterdir()
        assert checkpoint.load(folder) is not None
        assert statuses(place.home / "mlflow.db", "run") == ["KILLED"]
        place.run()
        assert outcome(place.home) == undisturbed(*FP32)[0]
        check_mlflow(place.home / "mlflow.db", place.home)
