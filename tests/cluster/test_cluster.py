"""Runs on a Ray cluster: equal bits, lost machines, killed and interrupted requests, an MLflow server that restarts.

The server is `repro server`'s: PostgreSQL, and MLflow before it with the artifacts.
"""

import json
import signal
import time

import pytest
from filelock import FileLock, Timeout
from holding import check_mlflow, outcome, starts, statuses, wait_for


def under_way(place, runs, epochs):
    """Whether so many runs have come so far, and have not ended."""
    found = [path for path in place.home.glob("runs/*/journal.jsonl") if path.read_bytes().count(b"\n") >= epochs]
    return sum(not path.with_name("record.json").exists() for path in found) >= runs


def held(folder):
    """Whether a process holds a run."""
    try:
        with FileLock(folder / "lock", timeout=0):
            return False
    except Timeout:
        return True


def resumed_at(home):
    """Return the epochs at which runs were taken up again."""
    found = [json.loads(path.read_text())[1:] for path in home.glob("runs/*/attempts.json")]
    return [start["epoch"] for more in found for start in more]


def test_records_are_those_of_one_process(places, machine, expected):
    place = places("cluster")
    said = place.run()
    assert "6 trained" in said
    assert "epoch 5/5" in said
    assert outcome(place.home) == expected
    assert set(starts(place.home).values()) == {1}
    assert "6 skipped" in place.run()


def test_runs_of_a_lost_machine_go_on_elsewhere(cluster, places, machine, hold, expected):
    place = places("lost")
    hold.after(2)
    process = place.start()
    wait_for(lambda: under_way(place, 2, epochs=2))
    begun = set(starts(place.home))
    cluster.remove_node(machine, allow_graceful=False)  # kill -9
    hold.lift()
    code, said = place.ended(process)
    assert code == 0, said
    assert "another one has taken it up" in said
    assert "6 trained" in said
    assert outcome(place.home) == expected
    again = {run for run, times in starts(place.home).items() if times > 1}
    assert begun - again  # the other machine's went on
    assert set(starts(place.home).values()) == {1, 2}
    assert max(resumed_at(place.home)) >= 1


def test_a_killed_request_goes_on_with_the_same_command(places, machine, hold, expected):
    place = places("killed")
    hold.after(2)
    process = place.start()
    wait_for(lambda: under_way(place, 2, epochs=2))
    process.kill()
    process.wait()
    wait_for(lambda: not any(map(held, place.home.glob("runs/*"))))  # its tasks end with it
    begun = set(starts(place.home))
    hold.lift()
    said = place.run()
    assert "6 trained" in said
    assert outcome(place.home) == expected
    assert len(begun) >= 2
    assert starts(place.home) == {run: 1 + (run in begun) for run in expected}
    assert sorted(resumed_at(place.home))[-2] >= 1


def test_an_interrupted_request_says_so_in_mlflow_and_goes_on(places, machine, hold, server, expected):
    place = places("interrupted")
    place.uri = server.uri
    hold.after(2)
    process = place.start()
    wait_for(lambda: under_way(place, 2, epochs=2) and statuses(server.store, "run").count("RUNNING") >= 2)
    process.send_signal(signal.SIGINT)
    code, said = place.ended(process)
    assert code == 130, said
    assert "goes on at the last finished epoch" in said
    assert set(statuses(server.store, "run")) == {"KILLED"}
    hold.lift()
    assert "6 trained" in place.run()
    assert outcome(place.home) == expected
    check_mlflow(server.store, place.home)


def test_no_metric_is_lost_where_the_server_and_its_database_restart(
    places, machine, hold, server, expected, monkeypatch
):
    """First MLflow's server is away for an epoch of two runs and longer, then PostgreSQL for another one."""
    place = places("restarted")
    place.uri = server.uri
    hold.after(1)
    process = place.start()
    wait_for(lambda: under_way(place, 2, epochs=1) and statuses(server.store, "run").count("RUNNING") >= 2)
    server.kill()
    hold.after(2)
    wait_for(lambda: under_way(place, 2, epochs=2))
    time.sleep(2)
    server.start()
    server.database.stop()
    hold.after(3)
    wait_for(lambda: under_way(place, 2, epochs=3))
    time.sleep(1)
    server.database.start()
    hold.lift()
    code, said = place.ended(process)
    assert code == 0, said
    assert "6 trained" in said
    assert outcome(place.home) == expected
    check_mlflow(server.store, place.home)
    assert served(place, monkeypatch) == sorted(path.read_bytes() for path in place.home.glob("runs/*/record.json"))
    server.stop()
    check_that_the_look_can_fail(server, place.home)


def served(place, monkeypatch):
    """Return the records that a client gets from the server, sorted."""
    from repro.track import Tracker

    monkeypatch.setenv("MLFLOW_TRACKING_URI", place.uri)
    return sorted(data for _, data in Tracker(place.home).records())


def check_that_the_look_can_fail(server, home):
    """Negative control: a row too many, changed or lost, a run left RUNNING or without a parent is found."""
    from sqlalchemy import create_engine, text

    for harm in (
        "insert into metrics select key, value, timestamp + 1, run_uuid, step, is_nan from metrics limit 1",
        "update metrics set value = value + 1e-9 where key = 'test/loss' and step = 1",
        "delete from metrics where key = 'train/loss' and step = 2",
        "update runs set status = 'RUNNING'",
        "update tags set value = 'nobody' where key = 'mlflow.parentRunId'",
    ):
        store = server.database.fresh(server.store)
        check_mlflow(store, home)
        engine = create_engine(store)
        with engine.begin() as db:
            assert db.execute(text(harm)).rowcount > 0
        engine.dispose()
        with pytest.raises(AssertionError):
            check_mlflow(store, home)


def test_a_database_file_is_refused_where_machines_are_several(places):
    place = places("sqlite")
    place.offline = False
    said = place.run(code=2)
    assert "cannot be written from other machines" in said
    assert "--offline" in said
    assert not (place.home / "runs").exists()


def test_gpus_that_pytorch_does_not_see_are_refused(cluster, places):
    """Ray counts what it is told; the machine itself is asked. Without a device named, a cluster's GPUs are taken."""
    node = cluster.add_node(
        num_cpus=1, num_gpus=1, object_store_memory=80 << 20, node_ip_address=cluster.head_node.node_ip_address
    )
    try:
        place = places("gpus")
        plain = [word for word in place.runs if word not in ("--device", "cpu")]
        assert "PyTorch sees no CUDA device on a machine of the cluster" in place.run(
            *plain, "--device", "cuda", code=2
        )
    finally:
        cluster.remove_node(node)
