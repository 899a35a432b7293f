"""What a cluster's tasks and requests are refused, what they send, and what they answer; without a cluster."""

import socket
import sys
from dataclasses import replace

import pytest
import torch
from command_line import repro, small_report

from repro import environment
from repro.errors import UserError
from repro.execute import cluster, joining, remote
from repro.execute.cluster import Cluster
from repro.execute.outcome import Job
from repro.record import fence
from repro.record.share import share
from repro.run import Options, folder_of
from repro.spec.identity import runs_of

CPU = torch.device("cpu")
SMOKE = ("run", "--all", "--profile", "smoke", "--offline", "--device", "cpu")


class Heard:
    """A channel that keeps what comes."""

    def __init__(self):
        self.kept, self.offered = [], []

    def put(self, message):
        self.kept.append(message)

    def offer(self, message):
        self.offered.append(message)


@pytest.fixture
def order(tmp_path):
    home = tmp_path / "state"
    return remote.Order("smoke", Options(home, CPU, "fp32"), 1, share(home), True, "")


def job():
    from repro.data import sample

    report = small_report()
    run = runs_of(report, [report.experiments["second"]], [0], sample.load().key, "smoke")[0]
    return Job(run, ticket="a request")


# Refused


def test_without_ray_a_sentence_says_what_to_install(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    before = sorted(place.rglob("*"))
    out = repro(*SMOKE, "--executor", "ray", code=2)
    assert out.count("\n") == 1
    assert "pip install -e '.[ray]'" in out
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--ray-address", "10.0.0.1:6379"), "expected --executor ray with it"),
        (("--executor", "ray", "--devices", "cpu,cpu"), "Ray chooses the devices"),
        (("--executor", "dask"), "'dask' is not one of 'local', 'ray'"),
    ],
)
def test_options_that_do_not_go_together_are_refused(place, arguments, message):
    smoke = [word for word in SMOKE if word not in ("--device", "cpu")]
    assert message in " ".join(repro(*smoke, *arguments, code=2).split())


@pytest.mark.parametrize("address", ["ray://10.0.0.1:10001", "head", ":6379", "head:port", "http://head:8265"])
def test_addresses_of_another_kind_are_refused(address):
    with pytest.raises(UserError, match="expected HOST:PORT"):
        joining._reach(address)


def test_an_address_where_nobody_answers_is_refused_at_once():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(UserError, match="no Ray cluster answers there"):
        joining._reach(f"127.0.0.1:{port}")


# Machines


def test_a_machine_that_does_not_see_the_state_folder_makes_no_run(order, tmp_path):
    commit = environment.commit()["commit"]
    assert remote.look(order.options.home, order.shared, "cpu", commit) == remote.Look(
        "", environment.pick_precision("auto", CPU)
    )
    assert share(order.options.home) == order.shared  # the name stays
    for home in (tmp_path / "absent", tmp_path / "another"):
        if home.name == "another":
            share(home)
        assert "does not see this state folder" in remote.look(home, order.shared, "cpu", commit).reason
        elsewhere = replace(order, options=replace(order.options, home=home))
        outcome = remote.make(job(), None, elsewhere, Heard())
        assert (outcome.state, outcome.reason.partition(": ")[0]) == ("failed", str(home))
        assert not (home / "runs").exists()


def test_a_machine_with_another_version_makes_no_run(order):
    assert "has commit" in remote.look(order.options.home, order.shared, "cpu", "f" * 40).reason


def test_places_are_counted_by_what_a_run_takes(monkeypatch):
    def node(alive, **resources):
        return {"Alive": alive, "NodeID": str(resources), "Resources": resources}

    class Ray:
        @staticmethod
        def nodes():
            return [node(True, CPU=8, GPU=2), node(True, CPU=3), node(False, CPU=64, GPU=8), node(True, memory=1e9)]

    monkeypatch.setattr(cluster, "import_ray", lambda: Ray)
    assert Cluster("", "cpu", 1, 2).slots() == 4 + 1
    assert Cluster("", "cpu", 1, 9).slots() == 0
    assert Cluster("", "cuda", 1, None).slots() == 2
    assert Cluster("", "cuda", 3, None).slots() == 6
    assert Cluster("", "cuda", 5, None).slots() == 8  # as many as there are CPUs
    with pytest.raises(UserError, match=r"what a run takes \(9 CPUS\)"):
        Cluster("", "cpu", 1, 9).examine(None, "fp32", True)


@pytest.mark.parametrize(
    ("sizes", "late", "smallest"), [((150.0, 80.0), 0, 80.0), ((150.0, None), 0, None), ((150.0,), 1, None)]
)
def test_the_smallest_gpu_of_machines_that_all_answered_counts(monkeypatch, sizes, late, smallest):
    """Runs are given parts of it; where one is not known, no measured memory is counted on."""
    looks = [remote.Look("", "bf16", size) for size in sizes]
    monkeypatch.setattr(Cluster, "places", lambda _self: {str(i): 1 for i in range(len(sizes) + late)})
    monkeypatch.setattr(Cluster, "_looks", lambda *_: (looks, late))
    made = Cluster("", "cuda", 8, None)
    assert made.demands(12.0)["num_gpus"] == 1 / 8
    assert made.examine(None, "bf16", True) == "bf16"
    assert made.demands(12.0)["num_gpus"] == (0.2 if smallest else 1 / 8)  # (12 x 1.25 + 1) / 80
    assert made.gpu_gb == smallest


# A task


def test_a_task_makes_the_run_and_says_so(order):
    heard, one = Heard(), job()
    before = torch.get_num_threads()
    try:
        assert remote.make(one, None, order, heard).state == "trained"
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    assert {message[0] for message in heard.kept} == {one.run.key}
    said = [message[1:] for message in heard.kept]
    assert said[0] == ("begun", False)
    assert [words[1] for words in said[1:]] == ["train", "epoch"]
    assert [message[1:3] for message in heard.offered] == [("show", "step")]
    # Its machine was lost before it could answer: the next attempt finds it done, by its own request.
    assert remote.make(one, None, order, heard).state == "trained"
    assert remote.make(replace(one, ticket="another request"), None, order, heard).state == "skipped"


def test_a_task_whose_time_is_over_begins_no_epoch(order):
    assert remote.make(job(), 0.0, order, Heard()).state == "stopped"
    assert fence.read(folder_of(job().run, order.options.home)).state == "released"


def test_a_run_begins_where_the_tracking_server_is_away(order):
    """It is trained, and its outcome says that MLflow does not have it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{free.getsockname()[1]}"
    heard = Heard()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "")  # put back afterwards
        outcome = remote.make(job(), None, replace(order, offline=False, uri=uri), heard)
    assert (outcome.state, outcome.synced) == ("trained", False)
    assert any("not in MLflow yet" in str(message) for message in heard.kept)
