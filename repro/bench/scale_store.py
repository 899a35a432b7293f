"""What MLflow costs with many runs in it: to bring them in, on the disk, and to whoever asks for them then."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import repro
from repro.bench import madeup, scale_child, scale_read
from repro.errors import UserError
from repro.record import RunRecord
from repro.spec.identity import Run
from repro.track import RunInfo, Tracker

#: runs whose mean is told at the beginning and at the end; and the parts of the whole whose means are told
ENDS, PARTS, SAID = 500, 10, 500
#: what users call then, on the records on disk or in MLflow
COMMANDS = {
    "repro status": ("status",),
    "repro report, from the records": ("report", "--profile", madeup.PROFILE),
    "repro report, from MLflow": ("report", "--profile", madeup.PROFILE, "--from-mlflow"),
    "repro compare, with itself": ("compare", "{reports}", "{reports}", "--profile", madeup.PROFILE),
}
Notes = Callable[[RunRecord], Mapping[str, Any]]
Say = Callable[[str], None]


class Taken(NamedTuple):
    """The seconds that a run took to be brought in: by the wall, and of this process's CPU time."""

    wall: float
    cpu: float


def measure(runs: Sequence[Run], epochs: int, folder: Path, notes: Notes, say: Say) -> dict[str, Any]:
    """Bring made-up runs of so many epochs into an empty SQLite store and ask for them; return the figures.

    The same records lie in a folder of reports as evidence does. Raises UserError where a command failed.
    """
    home, reports = folder / "state", folder / "reports"
    tracker = Tracker(home, place=scale_read.store_of(home))
    tracker.draw = no_figures
    taken, size = fill(tracker, runs, epochs, reports, notes, say)
    artifacts = [path.stat().st_size for path in (home / "artifacts").rglob("*") if path.is_file()]
    number = len(runs)
    return {
        "runs": number, "epochs": epochs, **growth(taken),
        "database_bytes": (home / "mlflow.db").stat().st_size / number, "artifact_bytes": sum(artifacts) / number,
        "artifact_files": len(artifacts) / number, "record_bytes": size / number,
        "rows": [*asked(home, reports, folder, say), *called(home, reports, folder, say)],
    }  # fmt: skip


def no_figures(info: RunInfo, record: RunRecord) -> dict[str, bytes]:
    """Draw nothing: a run's figures take most of a second, and do not depend on how many runs there are."""
    return {}


def fill(
    tracker: Tracker, runs: Sequence[Run], epochs: int, reports: Path, notes: Notes, say: Say
) -> tuple[list[Taken], int]:
    """Write each record as evidence and show it in MLflow; return what each took there, and the bytes of all."""
    taken: list[Taken] = []
    size = 0
    for number, record in enumerate(madeup.records(runs, epochs), 1):
        place = reports / record.report / "evidence"
        place.mkdir(parents=True, exist_ok=True)
        size += (place / record.file_name).write_bytes(record.to_bytes())
        words, began, used = notes(record), time.perf_counter(), time.process_time()
        tracker.project(record, notes=words)
        taken.append(Taken(time.perf_counter() - began, time.process_time() - used))
        if number % SAID == 0:
            say(f"{number:,} of {len(runs):,} runs in MLflow, {_mean_ms(taken[-SAID:], 'wall'):.0f} ms each ...")
    return taken, size


def growth(taken: Sequence[Taken]) -> dict[str, Any]:
    """Return the mean ms of the first and the last runs (half of them at most), by the wall and of CPU, and of parts.

    The CPU time holds the database's own work too, and says how that grows where others use the machine.
    """
    ends = min(ENDS, max(1, len(taken) // 2))
    edges = [len(taken) * part // PARTS for part in range(PARTS + 1)]
    return {
        "ends": ends, "first_ms": _mean_ms(taken[:ends], "wall"), "last_ms": _mean_ms(taken[-ends:], "wall"),
        "first_cpu_ms": _mean_ms(taken[:ends], "cpu"), "last_cpu_ms": _mean_ms(taken[-ends:], "cpu"),
        "parts_ms": [_mean_ms(taken[low:high], "wall") for low, high in pairwise(edges) if high > low],
        "parts_cpu_ms": [_mean_ms(taken[low:high], "cpu") for low, high in pairwise(edges) if high > low],
    }  # fmt: skip


def _mean_ms(taken: Sequence[Taken], clock: str) -> float:
    return 1000 * fmean(getattr(one, clock) for one in taken)


def asked(home: Path, reports: Path, folder: Path, say: Say) -> list[dict[str, Any]]:
    """Return the figures of each question to MLflow: the seconds once the store is open."""
    rows = []
    for name, (what, _, times) in scale_read.QUESTIONS.items():
        say(f"{what} ...")
        figures, said = alone([sys.executable, "-m", scale_read.__name__, home, reports, name], home, folder)
        answer = json.loads(said.splitlines()[-1])
        rows.append({
            "what": what, "seconds": answer["seconds"], "cpu_s": answer["cpu_s"], "peak_bytes": figures["peak_bytes"],
            "times": times, "count": answer["count"],
        })  # fmt: skip
    return rows


def called(home: Path, reports: Path, folder: Path, say: Say) -> list[dict[str, Any]]:
    """Return the figures of each command: all its seconds, from start to end of its process."""
    rows = []
    for what, words in COMMANDS.items():
        say(f"{what} ...")
        named = [word.format(reports=reports) for word in words]
        shutil.rmtree(home / "figures", ignore_errors=True)  # each draws its own
        figures, _ = alone([sys.executable, "-m", "repro", *named, "--reports", reports], home, folder)
        rows.append({
            "what": what, "seconds": figures["seconds"], "cpu_s": figures["cpu_s"],
            "peak_bytes": figures["peak_bytes"], "times": 1, "count": None,
        })  # fmt: skip
    return rows


def alone(command: Sequence[str | Path], home: Path, folder: Path) -> tuple[dict[str, Any], str]:
    """Run a command in a process of its own with this state folder; return its figures, and what it printed.

    Raises UserError with its last words where it ended with another code than 0.
    """
    place, root = folder / "figures.json", str(Path(repro.__file__).resolve().parents[1])
    env = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    env |= {"REPRO_HOME": str(home), "PYTHONPATH": os.pathsep.join(filter(None, [root, env.get("PYTHONPATH", "")]))}
    call = [sys.executable, "-m", scale_child.__name__, str(place), *map(str, command)]
    done = subprocess.run(call, env=env, capture_output=True, text=True, check=False)
    figures = json.loads(place.read_bytes()) if done.returncode == 0 else {"code": done.returncode}
    if figures["code"]:
        words = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise UserError(f"nothing was measured: `repro {' '.join(map(str, command[3:]))}` failed: {words[0]}")
    return figures, done.stdout
