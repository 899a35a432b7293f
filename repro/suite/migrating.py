"""The finished runs of a local MLflow store brought to another one, from their records and journals, and counted there.

A run is not copied row by row: it is shown again from its record, as everything in MLflow is. Then what both stores
hold of it is read back and compared: every metric row, every param, the names of tags and the paths of artifacts.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from repro.errors import UserError
from repro.record import EXTRAS, RunRecord
from repro.report import evidence
from repro.spec import withdrawn
from repro.suite.migrated import KINDS, Migrated
from repro.suite.planning import notes_for
from repro.suite.summarising import refresh
from repro.track import Tracker, owner, store

#: tags that say who wrote the run into this store
_WRITER = {owner.TAG, owner.HOST, owner.FOLDER, "repro.replaces", "mlflow.parentRunId"}
Held = dict[str, set[Any]]


def migrate(home: Path, source: Path, reports_dir: Path, say: Callable[[str], None]) -> Migrated:
    """Show every finished run of a SQLite store in the one that MLFLOW_TRACKING_URI names; compare what both hold.

    The parents there are made again over all runs there. Raises UserError where the two are one, or `source` is none.
    """
    there, source = store.locate(home), source.absolute()
    if there.path == source:
        raise UserError(
            f"MLFLOW_TRACKING_URI: names {source} itself, or nothing; give the address of the server to bring the "
            "runs to, as `repro server` prints it"
        )
    if not source.is_file():
        raise UserError(f"{source}: no such file; name MLflow's SQLite file with --from")
    place = store.Store(
        f"sqlite:///{source}", source, source.parent / "artifacts", source.with_name(source.name + ".lock")
    )
    old, new = Tracker(home, place=place), Tracker(home)
    pairs, left = _brought(old, new, say)
    _summarised(new, reports_dir)
    return _compared(old, new, pairs, left)


def _brought(old: Tracker, new: Tracker, say: Callable[[str], None]) -> tuple[dict[str, str], int]:
    """Return run id here -> run id there, and how many runs have no whole record."""
    from repro.spec.loading import load_all

    reports, found, left = load_all(), {}, 0
    with old.door("listing runs"):
        runs = list(old.search([each.experiment_id for each in old.experiments()], kind="run"))
    for number, run in enumerate(runs, 1):
        run_id, name = run.info.run_id, f"{run.data.tags.get('repro.report')}/{run.info.run_name}"
        if "repro.record" not in run.data.tags or run.info.status == "RUNNING":
            left += 1
            continue
        with old.door(f"reading {name}"), tempfile.TemporaryDirectory(prefix="repro-") as folder:
            if (data := old.download(run_id, "record.json")) is None:
                raise UserError(
                    f"{name}: its record.json is gone from {old.store.shown}; `repro doctor` brings it back"
                )
            record = evidence.check(RunRecord.from_bytes(data, name), name)
            extras = _extras(old, run_id, Path(folder))
            found[run_id] = new.project(record, extras=extras, notes=notes_for(reports, record))
        if number % 20 == 0:
            say(f"{number} of {len(runs)} runs taken into MLflow")
    return found, left


def _extras(old: Tracker, run_id: str, folder: Path) -> dict[str, Path]:
    found = {}
    for name in EXTRAS:
        if (data := old.download(run_id, name)) is not None:
            found[name] = folder / name
            found[name].write_bytes(data)
    return found


def _summarised(new: Tracker, reports_dir: Path) -> None:
    from repro.spec.loading import load_all

    every = [evidence.check(RunRecord.from_bytes(data, name), name) for name, data in new.records()]
    stand, struck = withdrawn.of(reports_dir).split(every)
    refresh(load_all(), stand, reports_dir, new, struck=struck)


def _compared(old: Tracker, new: Tracker, pairs: Mapping[str, str], left: int) -> Migrated:
    made = Migrated(new.store.shown, there=len(set(pairs.values())), left=left)
    parents: tuple[set[str], set[str]] = set(), set()
    for here, there in pairs.items():
        (run, one), (twin, other) = _held(old, here), _held(new, there)
        for side, each in zip(parents, (run, twin), strict=True):
            side.add(each.data.tags.get("mlflow.parentRunId", ""))
        name = f"{run.data.tags['repro.report']}/{run.info.run_name} ({here[:8]})"
        made.runs[name] = {kind: (len(one[kind]), len(other[kind]), one[kind] == other[kind]) for kind in KINDS}
    made.parents = len(parents[0]), len(parents[1])
    return made


def _held(tracker: Tracker, run_id: str) -> tuple[Any, Held]:
    """Return a run and what its store holds of it, who wrote it aside."""
    with tracker.door("counting"):
        run = tracker.client.get_run(run_id)
        rows = {
            (key, row.step, row.timestamp, row.value)
            for key in run.data.metrics
            for row in tracker.client.get_metric_history(run_id, key)
        }
        held = rows, set(run.data.params.items()), run.data.tags.keys() - _WRITER, set(_files(tracker, run_id))
    return run, dict(zip(KINDS, held, strict=True))


def _files(tracker: Tracker, run_id: str, folder: str | None = None) -> Iterator[str]:
    for each in tracker.client.list_artifacts(run_id, folder):
        if each.is_dir:
            yield from _files(tracker, run_id, each.path)
        else:
            yield each.path
