"""MLflow's runs: those still RUNNING whose process is gone, and finished runs of this machine that are not there."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repro.errors import UserError
from repro.record import Journal, RunRecord
from repro.report.markdown import plural
from repro.suite.doctoring.findings import Finding, held
from repro.track import Tracker, owner
from repro.track.owner import Owner
from repro.track.projection import digest

Open = Callable[[], Tracker]


@dataclass
class Seen:
    """Every run of ours that MLflow holds, as it was seen."""

    runs: list[Any]

    @classmethod
    def of(cls, tracker: Tracker) -> "Seen":
        """Return the runs of a store."""
        ids = [experiment.experiment_id for experiment in tracker.experiments()]
        with tracker.door("listing runs"):
            return cls(sorted(tracker.search(ids), key=lambda run: (name(run), run.info.run_id)))

    def running(self, kind: str) -> list[Any]:
        """Return the runs of a kind (`run`, `experiment`) that are still RUNNING."""
        return [r for r in self.runs if r.info.status == "RUNNING" and r.data.tags.get("repro.kind") == kind]

    def children(self, parent: str) -> list[Any]:
        """Return the runs below a parent."""
        return [run for run in self.runs if run.data.tags.get("mlflow.parentRunId") == parent]

    @property
    def names(self) -> dict[str, str]:
        """Run key -> report, experiment and seed."""
        return {run.data.tags["repro.run_key"]: name(run) for run in self.runs if "repro.run_key" in run.data.tags}

    @property
    def records(self) -> set[str]:
        """The digests of the records that runs show whole, or all but whole."""
        return {run.data.tags["repro.record"] for run in self.runs if "repro.record" in run.data.tags}


def name(run: Any) -> str:
    """Return `report/s0 experiment`, as MLflow's list has it."""
    return f"{run.data.tags.get('repro.report', '?')}/{run.info.run_name}"


def state(run: Any, home: Path) -> owner.State:
    """Return what is known of the process that writes a run.

    Where its mark is missing, or of another container of this host, the lock of the run's folder tells.
    """
    tags = run.data.tags
    known = owner.state(Owner.of(tags))
    if tags.get(owner.HOST) not in (None, owner.host()):
        return "elsewhere"
    folder = home / "runs" / tags.get("repro.run_key", "")
    if known in ("unknown", "elsewhere") and "repro.run_key" in tags and folder.is_dir():
        return "alive" if held(folder / "lock") else "gone"
    return known


def abandoned(seen: Seen, home: Path, opened: Open) -> Iterator[Finding]:
    """Yield the runs still RUNNING whose process is gone, each to be ended; those of other hosts are told."""
    for run in seen.running("run"):
        tags, where = run.data.tags, f"{name(run)} ({run.info.run_id[:8]})"
        by = f"process {known.pid}" if (known := Owner.of(tags)) else "process"
        match state(run, home):
            case "elsewhere":
                found = "RUNNING on another host, which only that host can tell"
                yield Finding(
                    "MLflow run",
                    where,
                    found,
                    hint="left alone: `repro doctor` there, or end it in MLflow",
                    wrong=False,
                )
            case "unknown":
                found = "RUNNING, and nothing tells by which process"
                yield Finding("MLflow run", where, found, hint="end it in MLflow if it does not train any more")
            case "gone" if held(home / "runs" / tags.get("repro.run_key", "") / "lock"):
                found = f"RUNNING, its {by} is gone, and another one holds the lock of its folder"
                yield Finding("MLflow run", where, found, hint="see which (`fuser`), and end it or let it train")
            case "gone":
                found = f"RUNNING, and its {by} is gone"
                yield Finding("MLflow run", where, found, f"ended as {_end(run)}", _ending(run, home, opened))


def _end(run: Any) -> str:
    """Return how a run ends: one that holds its whole record was cut short at its very last step."""
    whole = "repro.record" in run.data.tags and run.data.tags.get("repro.state") != "stopped"
    return "FINISHED" if whole else "KILLED"


def _ending(run: Any, home: Path, opened: Open) -> Callable[[], None]:
    def mend() -> None:
        tracker = opened()
        with tracker.door(f"ending {name(run)}"), tracker.lock:
            now = tracker.client.get_run(run.info.run_id)
            if now.info.status != "RUNNING" or state(now, home) != "gone":
                raise UserError("a process has gone on with it meanwhile")
            if _end(now) == "KILLED":
                tracker.client.set_tag(now.info.run_id, "repro.state", "killed")
            tracker.client.set_terminated(now.info.run_id, _end(now), _last_sign(now, home))

    return mend


def _last_sign(run: Any, home: Path) -> int:
    """Return when a run was last heard of, ms UTC: its last epoch, else its start."""
    folder = home / "runs" / run.data.tags.get("repro.run_key", "")
    times = [entry.time for entry in Journal(folder / "journal.jsonl").read()]
    return max([run.info.start_time, *times[-1:]])


def parents(seen: Seen, home: Path, opened: Open) -> Iterator[Finding]:
    """Yield the parent runs still RUNNING though nobody writes below them any more."""
    for run in seen.running("experiment"):
        below = seen.children(run.info.run_id)
        busy = [each for each in below if each.info.status == "RUNNING" and state(each, home) != "gone"]
        foreign = any(each.data.tags.get(owner.HOST) != owner.host() for each in below)
        known = state(run, home)
        if busy or known == "alive" or known == "elsewhere" or (known == "unknown" and foreign):
            continue
        where = f"{name(run)} ({run.info.run_id[:8]})"
        found = "RUNNING, and no process writes it or a run below it"
        yield Finding("MLflow parent", where, found, "ended as KILLED", _ending_parent(run, below, opened),
                      "the next `repro run` or `repro ui` summarises it")  # fmt: skip


def _ending_parent(run: Any, below: list[Any], opened: Open) -> Callable[[], None]:
    last = max(run.info.start_time, *(each.info.end_time or each.info.start_time for each in below), 0)

    def mend() -> None:
        tracker = opened()
        with tracker.door(f"ending {name(run)}"), tracker.lock:
            if tracker.client.get_run(run.info.run_id).info.status == "RUNNING":
                tracker.client.set_terminated(run.info.run_id, "KILLED", last)

    return mend


def unsynced(
    seen: Seen, records: Iterable[tuple[Path, RunRecord]], bring: Callable[[list[Path]], None]
) -> list[Finding]:
    """Return one finding for the finished runs of this machine that MLflow does not show; `bring` puts them there."""
    missing = [path for path, record in records if digest(record.to_bytes()) not in seen.records]
    missing = [path for path in missing if not held(path.parent / "lock")]  # else its process is about to show it
    if not missing:
        return []
    keys = ", ".join(path.parent.name for path in missing[:3]) + (" and others" if len(missing) > 3 else "")
    found = f"{plural(len(missing), 'finished run')} not in MLflow ({keys})"

    def mend() -> None:
        bring(missing)

    return [Finding("records", str(missing[0].parents[1]), found, "brought into MLflow", mend)]
