"""Runs on a Ray cluster: equal bits, lost machines, killed and interrupted requests, an MLflow server that restarts."""

import json
import signal
import time

from holding import check_mlflow, outcome, starts, statuses, wait_for


def under_way(place, runs, epochs=1):
    """Whether so many runs have come so far, and have not ended."""
    found = [path for path in place.home.glob("runs/*/journal.jsonl") if path.read_bytes().count(b"\n") >= epochs]
    return sum(not path.with_name("record.json").exists() for path in found) >= runs


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


def test_runs_of_a_lost_machine_go_on_elsewhere(cluster, places, machine, expected):
    place = places("lost")
    process = place.start()
    wait_for(lambda: under_way(place, 2, epochs=2))
    cluster.remove_node(machine, allow_graceful=False)  # kill -9
    code, said = place.ended(process)
    assert code == 0, said
    assert "another one has taken it up" in said
    assert "6 trained" in said
    assert outcome(place.home) == expected
    assert sorted(starts(place.home).values()) == [1, 1, 1, 1, 1, 2]
    assert min(resumed_at(place.home)) >= 1


def test_a_killed_request_goes_on_with_the_same_command(places, machine, expected):
    place = places("killed")
    process = place.start()
    wait_for(lambda: under_way(place, 2))
    process.kill()
    process.wait()
    said = place.run()
    assert "6 trained" in said
    assert outcome(place.home) == expected
    assert sorted(starts(place.home).values()) == [1, 1, 1, 1, 2, 2]
    assert min(resumed_at(place.home)) >= 1


def test_an_interrupted_request_says_so_in_mlflow_and_goes_on(places, machine, server, expected):
    place = places("interrupted")
    place.uri = server.uri
    process = place.start()
    wait_for(lambda: under_way(place, 2) and statuses(server.database, "run").count("RUNNING") == 2)
    process.send_signal(signal.SIGINT)
    code, said = place.ended(process)
    assert code == 130, said
    assert "goes on at the last finished epoch" in said
    assert set(statuses(server.database, "run")) == {"KILLED"}
    assert "6 trained" in place.run()
    assert outcome(place.home) == expected
    check_mlflow(server.database, place.home)


def test_no_metric_is_lost_where_the_mlflow_server_restarts(places, machine, server, expected):
    place = places("restarted")
    place.uri = server.uri
    process = place.start()
    wait_for(lambda: under_way(place, 2))
    server.stop()
    time.sleep(2)
    server.start()
    code, said = place.ended(process)
    assert code == 0, said  # also what ended or began while the server was away
    assert "6 trained" in said
    assert outcome(place.home) == expected
    check_mlflow(server.database, place.home)


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
