"""What must hold after all of it, and the log of trials."""

import hashlib
import json
import os
import platform
import sqlite3
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from repro.record import Journal, RunRecord
from repro.track.connection import import_mlflow

#: what is promised of foreign input, in test_hostile.py case by case, in the fuzzers at random
FOREIGN_YAML = "Foreign YAML: read, or refused in one sentence"
FOREIGN_BUNDLES = "Foreign bundles, evidence, MLflow: taken, or refused in one sentence; nothing written elsewhere"
FOREIGN_DATA = "Foreign data files: taken, or refused in one sentence, within little memory"
FOREIGN_PICKLES = "Foreign pickles and checkpoints: nothing in them is run"
FOREIGN_TEXT = "Foreign text: shown as it is written on pages, tables and the terminal"
MODE = os.environ.get("REPRO_FAULTS") or "default"


def trials(default, full, long=None):
    """Return how many trials the chosen effort (REPRO_FAULTS) asks for."""
    return {"default": default, "full": full, "long": full if long is None else long}[MODE]


def noted(promise, trial, held, seconds, detail):
    """Append a line to the log of trials (REPRO_FAULTS_LOG), where one is kept."""
    if path := os.environ.get("REPRO_FAULTS_LOG"):
        line = {"promise": promise, "trial": trial, "held": held, "seconds": round(seconds, 2), "detail": detail}
        line["effort"] = MODE
        with open(path, "a") as file:
            file.write(json.dumps(line) + "\n")


@contextmanager
def trial(promise, name):
    """One trial of a promise: logged as held unless what is inside raises. Yields a dict for what is worth telling."""
    detail, began, held = {}, time.monotonic(), False
    try:
        yield detail
        held = True
    finally:
        noted(promise, name, held, time.monotonic() - began, detail)


def outcome(home):
    """Return what training has left, by run: all that an interruption, a clock or a checkout must not change."""
    found = {}
    for folder in sorted((home / "runs").iterdir()):
        record = RunRecord.from_bytes((folder / "record.json").read_bytes())
        resumed, record = record.resumed, replace(
            record, started="", seconds=0.0, images_per_s=0.0, resumed=[], env={}, command=""
        )  # fmt: skip
        assert all(0 <= start["epoch"] <= record.epochs_done for start in resumed)
        record.curves = {name: curve for name, curve in record.curves.items() if not name.startswith("time/")}
        weights = torch.load(folder / "model.pt", weights_only=True)
        journal = Journal(folder / "journal.jsonl").read()
        found[folder.name] = {
            "record": record.to_bytes(),
            "weights": {name: hashlib.sha256(value.numpy().tobytes()).hexdigest() for name, value in weights.items()},
            "journal": [
                ({k: v for k, v in e.metrics.items() if not k.startswith("time/")}, e.steps) for e in journal
            ],
            "probabilities": (folder / "probabilities.npz").read_bytes(),
        }  # fmt: skip
        left = {path.name for path in folder.iterdir()} - {
            "record.json", "model.pt", "journal.jsonl", "probabilities.npz", "attempts.json", "lock", "lock.attempt",
        }  # fmt: skip
        assert not {name for name in left if not name.startswith("damaged-")}, left
    return found


@contextmanager
def reading(store):
    """Yield a connection to MLflow's store: its SQLite file, opened to be read only, or a database's URI."""
    from sqlalchemy import create_engine  # comes with MLflow, without which there are runs with --offline
    from sqlalchemy.pool import NullPool

    if isinstance(store, Path):
        where = f"{store.as_uri()}?mode=ro"
        engine = create_engine(
            "sqlite://", creator=lambda: sqlite3.connect(where, uri=True, timeout=30), poolclass=NullPool
        )
    else:
        engine = create_engine(store, poolclass=NullPool, isolation_level="REPEATABLE READ")
    with engine.connect() as db:
        yield db
    engine.dispose()


def check_pages(db):
    """Assert that the database itself is whole: SQLite's own look; PostgreSQL checks the sum of every page it reads."""
    from sqlalchemy import inspect, text

    if db.dialect.name == "sqlite":
        assert db.execute(text("pragma integrity_check")).all() == [("ok",)]
        return
    assert db.execute(text("show data_checksums")).scalar() == "on"
    for table in inspect(db).get_table_names():
        db.execute(text(f'select * from "{table}"')).all()


def check_mlflow(store, home, keys=None):
    """Assert that a store shows each finished run of a state folder once, whole and ended, below a parent that is.

    `store`: MLflow's SQLite file, or a database's URI.
    """
    from sqlalchemy import text

    with reading(store) as db:
        check_pages(db)
        runs = dict(db.execute(text("select run_uuid, status from runs where lifecycle_stage = 'active'")).all())
        tags = {run: {} for run in runs}
        for run, key, value in db.execute(text("select run_uuid, key, value from tags")):
            if run in tags:
                tags[run][key] = value
        rows = Counter()
        values = {}
        for run, key, step, value in db.execute(text("select run_uuid, key, step, value from metrics")):
            rows[run, key, step] += 1
            values[run, key, step] = value
    assert set(runs.values()) == {"FINISHED"}, runs
    doubled = [row for row, times in rows.items() if times > 1 and row[0] in runs]
    assert not doubled, doubled[:5]
    children = {run for run in runs if tags[run]["repro.kind"] == "run"}
    parents = set(runs) - children
    assert {tags[run]["mlflow.parentRunId"] for run in children} == parents  # no orphan, and no parent without a child
    assert len({tags[run]["repro.experiment"] for run in parents}) == len(parents)
    shown = Counter(tags[run]["repro.run_key"] for run in children)
    made = {folder.name: folder for folder in (home / "runs").iterdir()}
    assert shown == Counter(list(made if keys is None else keys))
    for run in children:
        journal = Journal(made[tags[run]["repro.run_key"]] / "journal.jsonl").read()
        expected = {(key, e.epoch): value for e in journal for key, value in e.metrics.items()}
        held = {(key, step): value for (r, key, step), value in values.items() if r == run and (key, step) in expected}
        assert held == expected


def journals(home):
    """Return all epochs that are in journals."""
    return [entry for path in home.glob("runs/*/journal.jsonl") for entry in Journal(path).read()]


def starts(home):
    """Return how often each run was started, by run."""
    return {path.parent.name: len(json.loads(path.read_text())) for path in home.glob("runs/*/attempts.json")}


def statuses(store, kind):
    """Return the statuses of a store's runs of a kind, sorted."""
    from sqlalchemy import text

    query = (
        "select status from runs join tags using (run_uuid) "
        "where lifecycle_stage = 'active' and key = 'repro.kind' and value = :kind"
    )
    with reading(store) as db:
        return sorted(status for (status,) in db.execute(text(query), {"kind": kind}))


def wait_for(condition, within=120):
    """Wait until something is so."""
    until = time.monotonic() + within
    while not condition():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.02)


def standing(process):
    """Whether a process waits, and has used no processor time for half a second."""

    def used():
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        return fields[0], fields[11:13]

    before = used()
    time.sleep(0.5)
    return used() == before and before[0] == "S"


def versions():
    """Return the machine and the versions that the trials are made with."""
    from repro import environment

    return environment.describe(torch.device("cpu")) | {
        "mlflow": import_mlflow().__version__,
        "system": platform.platform(terse=True), "sqlite": sqlite3.sqlite_version,
    }  # fmt: skip
