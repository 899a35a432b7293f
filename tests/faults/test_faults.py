"""Full disks, damaged files, clocks that jump, losses that are no numbers: what is there stays, and runs go on."""

import contextlib
import os
import random
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from command_line import repro
from faulty import RUN, Place
from holding import check_mlflow, journals, outcome, statuses, trial, trials

from repro.record import RunRecord
from repro.train import checkpoint

FULL = "Full disk: old file whole, one sentence, resumed in the same bits"
DAMAGED = "Damaged checkpoint: found out, the one before it is used, same bits"
DATA = "Damaged data: refused before training"
PLACE = "Folder that cannot be written: one sentence, nothing begun"
CLOCK = "Clock that jumps back: same bits, MLflow whole"
NONFINITE = "Loss that is no number: a recorded result"
MEMORY = "Out of GPU memory: one sentence, the other runs go on"
OFFLINE = (*RUN, "--offline")


def contents(folder, *names):
    """Return the bytes of a run's files of these patterns."""
    return {path: path.read_bytes() for name in names for path in folder.glob(f"runs/*/{name}")}


def test_full_disk_at_every_write_of_one_run(places, undisturbed):
    place = places("full")
    for point in (
        "attempts.write", "journal.append:2", "checkpoint.write", "checkpoint.rename:2", "probabilities.write",
        "model.rename", "record.write",
    ):  # fmt: skip
        with trial(FULL, point):
            epoch = newest(place.home)
            said = place.run(point=f"{point}=enospc", code=1)
            assert "No space left on device; make room" in said
            assert "goes on at the last finished epoch" in said
            assert "Traceback" not in said
            assert newest(place.home) >= epoch
            assert not list(place.home.glob("runs/*/.*.tmp"))
            assert statuses(place.home / "mlflow.db", "run") in ([], ["FAILED"])
    with trial(FULL, "resumed"):
        place.run()
        assert outcome(place.home) == undisturbed(*RUN)[0]
        check_mlflow(place.home / "mlflow.db", place.home)


def newest(home):
    return max((checkpoint.newest(folder) for folder in home.glob("runs/*")), default=0)


@pytest.mark.parametrize("at", range(trials(1, 3)))
def test_a_disk_that_is_really_full(undisturbed, mlflow_template, tmp_path, at):
    """A small file system of its own, MLflow's store in it, filled up while the run trains; room is made later."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(disk)]
    if os.geteuid() or subprocess.run(mounted, capture_output=True).returncode:
        pytest.skip("needs a user who may mount a file system")
    try:
        home = disk / "state"
        place = Place(tmp_path / "place", env={"REPRO_HOME": str(home)})
        home.mkdir()
        shutil.copy(mlflow_template, home / "mlflow.db")
        with trial(FULL, f"tmpfs {at}") as detail:
            place.dies_at(f"checkpoint.renamed:{at + 1}")
            with open(disk / "filler", "wb") as filler:
                detail["free"] = fill(filler, leave=(4096, 20_000, 45_000)[at])
            assert "MB are needed there and 0 MB are free; make room" in place.run(code=2)
            said = place.run(code=1, changes=[("sees_room",)])
            assert "No space left on device; make room" in said, said
            assert "Traceback" not in said
            assert checkpoint.load(next((home / "runs").iterdir())) is not None
            (disk / "filler").unlink()
            place.run()
            assert outcome(home) == undisturbed(*RUN)[0]
            check_mlflow(home / "mlflow.db", home)
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(file, leave):
    """Write until a disk has so many bytes left at most; returns how many."""
    with contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
            file.flush()
    size = os.fstat(file.fileno()).st_size
    os.ftruncate(file.fileno(), max(0, size - leave))
    return shutil.disk_usage(Path(file.name).parent).free


def test_full_disk_while_pages_are_written(places, undisturbed):
    with trial(FULL, "report"):
        whole = undisturbed(*RUN)[2]
        place = places("pages")
        shutil.copytree(whole.home / "runs", place.home / "runs")
        command = ("report", "--profile", "quick")
        place.run(*command)
        pages = place.home / "reports" / "quick"
        page = pages / "tiny" / "report.md"
        page.write_text(old := page.read_text() + "an older page\n")
        said = place.run(*command, point="report.write=enospc", code=2)
        assert f"{page}: No space left on device" in said
        assert "Traceback" not in said
        assert page.read_text() == old
        assert not list(pages.rglob(".*.tmp"))
        place.run(*command)
        assert page.read_text() == old.removesuffix("an older page\n")


@pytest.mark.parametrize("number", range(trials(2, 10, 40)))
def test_a_damaged_checkpoint(places, undisturbed, number):
    """Cut short or with one bit flipped, at a place drawn from a fixed seed; every fourth time all of them are."""
    rng = random.Random(f"damage {number}")
    with trial(DAMAGED, f"{number}") as detail:
        place = places("damaged")
        place.dies_at("checkpoint.renamed:3")
        files = sorted(place.home.glob("runs/*/checkpoint-*.pt"))
        assert len(files) == 3  # killed before the oldest was removed
        for path in files if number % 4 == 3 else files[-1:]:
            data = bytearray(path.read_bytes())
            offset = rng.randrange(len(data))
            if number % 2:
                del data[offset:]
            else:
                data[offset] ^= 1 << rng.randrange(8)
            path.write_bytes(data)
            detail[path.name] = f"{'cut' if number % 2 else 'flipped'} at {offset}"
        said = place.run()
        assert f"{files[-1].name} is damaged; going back to the checkpoint before it" in said
        assert outcome(place.home) == undisturbed(*RUN)[0]
        check_mlflow(place.home / "mlflow.db", place.home)  # epochs that were trained again stand there once


def test_killed_while_epochs_trained_again_replace_others_in_mlflow(places, undisturbed):
    with trial(DAMAGED, "killed at mlflow.replace"):
        place = places("replaced")
        place.dies_at("checkpoint.renamed:4")
        for path in place.home.glob("runs/*/checkpoint-*.pt"):
            path.write_bytes(path.read_bytes()[:-1])
        place.dies_at("mlflow.replace")
        place.run()
        assert outcome(place.home) == undisturbed(*RUN)[0]
        check_mlflow(place.home / "mlflow.db", place.home)


def test_killed_while_one_parent_replaces_another(places):
    with trial(DAMAGED, "killed at mlflow.replace_parent"):
        place = places("parents")
        place.run(*RUN)
        seeds = (*RUN, "--seeds", "0-1")
        place.dies_at("mlflow.replace_parent", *seeds)
        assert len(statuses(place.home / "mlflow.db", "experiment")) == 2
        place.run(*seeds)
        check_mlflow(place.home / "mlflow.db", place.home)


def test_a_damaged_data_cache(place, home, standin):
    """One flipped bit in any image or label, or a file cut short: exit code 2, and no run is begun."""
    repro("data", "import", str(standin.npz(place / "cifar.npz")))
    cache = home / "data" / "cifar10.npz"
    whole = cache.read_bytes()
    rng = random.Random(7)
    for number in range(trials(10, 100)):
        with trial(DATA, f"{number}") as detail:
            data = bytearray(whole)
            detail["offset"] = offset = rng.randrange(len(data))
            if number % 5 == 4:
                del data[offset:]
            else:
                data[offset] ^= 1 << rng.randrange(8)
            cache.write_bytes(data)
            said = repro("run", "tiny/first", "--profile", "quick", "--device", "cpu", code=2)
            assert f"repro: {cache}: " in said
            assert "delete the file and import or fetch CIFAR-10 again" in said
            assert not (home / "runs").exists()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="becomes another user: needs root")
def test_a_folder_that_cannot_be_written():
    folder = Path(tempfile.mkdtemp(prefix="repro-faults-", dir="/tmp"))
    try:
        folder.chmod(0o755)
        place = Place(folder / "place")
        place.home.mkdir()
        place.home.chmod(0o555)
        for path in (folder, *folder.rglob("*")):
            os.chown(path, 65534, 65534)
        with trial(PLACE, "state folder"):
            said = place.run(*OFFLINE, code=2, changes=[("as_nobody",)])
            assert said == f"repro: {place.home}: cannot be written; set REPRO_HOME to a folder that can be written\n"
            assert list(place.home.iterdir()) == []
        with trial(PLACE, "a run's folder"):
            place.home.chmod(0o755)
            place.dies_at("checkpoint.renamed:2", *OFFLINE, changes=[("as_nobody",)])
            (run,) = (place.home / "runs").iterdir()
            before = contents(place.home, "*")
            run.chmod(0o555)
            said = place.run(*OFFLINE, code=1, changes=[("as_nobody",)])
            assert "Permission denied; make room or see that it can be written" in said
            assert "Traceback" not in said
            assert contents(place.home, "*") == before
            run.chmod(0o755)
            place.run(*OFFLINE, changes=[("as_nobody",)])
    finally:
        shutil.rmtree(folder)


def test_a_clock_that_jumps_back(places, undisturbed):
    with trial(CLOCK, "an hour at every second look"):
        place = places("clock")
        place.dies_at("checkpoint.renamed:2")
        place.run(changes=[("jumps_back", 3600)])
        assert outcome(place.home) == undisturbed(*RUN)[0]
        times = [entry.time for entry in journals(place.home)]
        assert times != sorted(times)
        check_mlflow(place.home / "mlflow.db", place.home)


def test_a_loss_that_is_no_number(places):
    with trial(NONFINITE, "learning rate 1e30"):
        place = places("diverged")
        spec = place.folder / "experiments" / "tiny.yaml"
        spec.write_text(spec.read_text().replace("{name: adam, lr: 1e-2}", "{name: sgd, lr: 1e30}"))
        place.dies_at("checkpoint.renamed:2")
        place.run()
        (path,) = place.home.glob("runs/*/record.json")
        record = RunRecord.from_bytes(path.read_bytes())
        assert record.state == "diverged"
        assert record.epochs_done == 5
        assert statuses(place.home / "mlflow.db", "run") == ["FINISHED"]


def test_out_of_gpu_memory(places, undisturbed):
    with trial(MEMORY, "in a step of the first of two runs"):
        place = places("memory")
        seeds = (*RUN, "--seeds", "0-1")
        said = place.run(*seeds, code=1, changes=[("runs_out_of_memory", 4)])
        assert "failed: out of memory on cpu (CUDA out of memory); train fewer runs side by side" in said
        assert "--concurrent" in said
        assert "Traceback" not in said
        assert "1 trained, 1 failed" in said
        assert statuses(place.home / "mlflow.db", "run") == ["FAILED", "FINISHED"]
        place.run(*seeds)
        assert undisturbed(*RUN)[0].items() <= outcome(place.home).items()
        check_mlflow(place.home / "mlflow.db", place.home)
