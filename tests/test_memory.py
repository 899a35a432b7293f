"""A GPU's memory: measured by the run, kept in its record, and what part of a GPU the next such run is given."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from repro.execute import demands
from repro.record import RunRecord
from repro.spec.identity import recipe_hash, runs_of
from repro.spec.loading import load_all
from repro.suite.memory import measured
from repro.track import Tracker, projection
from repro.track.projection import RunInfo
from repro.train import memory

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def run():
    report = load_all()["chen2024"]
    return runs_of(report, [report.experiments["resnet20"]], [0], "a:b", "smoke")[0]


def test_on_a_cpu_nothing_is_measured():
    memory.begin(CPU)
    assert memory.peak_gb(CPU) is None


def test_on_cuda_the_peak_since_the_beginning_counts(monkeypatch):
    calls = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", calls.append)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _device: 2_345_678_901)
    memory.begin(CUDA)
    assert calls == [CUDA]
    assert memory.peak_gb(CUDA) == 2.346


def test_the_smallest_device_counts(monkeypatch):
    sizes = [150_000_000_000, 80_000_000_000]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(sizes))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda i: SimpleNamespace(total_memory=sizes[i]))
    assert memory.least_gb("cuda") == 80.0
    assert memory.least_gb("cpu") is None
    sizes.clear()
    assert memory.least_gb("cuda") is None


def test_it_is_no_part_of_what_two_machines_must_agree_on(home, make_record):
    record = make_record(epochs=2, images=200)
    one, other = (
        replace(record, curves=dict(record.curves) | {"gpu/mem_gb": np.full(2, gb, np.float32)}) for gb in (1.0, 2.0)
    )
    tracker = Tracker(home)
    tracker.draw = lambda *_: {}
    live = tracker.start(RunInfo.of(one))
    live.log(projection.entries_of(one))
    assert live.agrees(other)
    assert not live.agrees(replace(other, curves=dict(other.curves) | {"test/acc_pct": np.zeros(2, np.float32)}))


@pytest.mark.parametrize(
    ("concurrent", "run_gb", "gpu_gb", "part"),
    [
        (1, None, None, 1.0),
        (4, None, 80.0, 0.25),  # not measured: what was asked for
        (4, 3.0, None, 0.25),  # no machine has said what it has
        (4, 3.0, 150.0, 0.25),  # (3 x 1.25 + 1) / 150 is less
        (8, 12.0, 80.0, 0.2),  # (12 x 1.25 + 1) / 80
        (8, 12.1, 80.0, 0.21),  # rounded up
        (8, 90.0, 80.0, 1.0),  # more than there is: it fails by itself, alone
    ],
)
def test_the_part_of_a_gpu_by_hand(concurrent, run_gb, gpu_gb, part):
    assert demands.part_of_gpu(concurrent, run_gb, gpu_gb) == part
    assert demands.of_run("cuda", concurrent, None, run_gb, gpu_gb) == {"num_gpus": part, "num_cpus": 1}


@pytest.mark.parametrize(("threads", "cpus"), [(None, 1), (3, 3)])
def test_on_a_cpu_a_run_takes_a_core_a_thread(threads, cpus):
    assert demands.of_run("cpu", 2, threads, 1.0, 1.0) == {"num_cpus": cpus}


def test_runs_that_fit_by_their_parts_fit_by_their_memory():
    for gpu_gb in (24.0, 80.0, 150.0):
        for run_gb in np.linspace(0.1, 30, 40):
            part = demands.part_of_gpu(32, float(run_gb), gpu_gb)
            if part < 1:
                assert int(1 / part) * (run_gb * demands.ROOM + demands.OWN_GB) <= gpu_gb


def test_the_most_that_such_a_run_took_counts(run, make_record):
    options = SimpleNamespace(env_class="cuda-bf16-relaxed-n1")

    def record(gb, **more) -> RunRecord:
        made = make_record(epochs=2, images=200, recipe_hash=recipe_hash(run.recipe), profile="smoke", **more)
        curves = dict(made.curves) | ({} if gb is None else {"gpu/mem_gb": np.array([gb / 2, gb], np.float32)})
        return replace(made, curves=curves)

    ours = {"env_class": options.env_class}
    assert measured([run], [record(None, **ours)], options) == {}
    found = [record(2.0, **ours), record(3.0, seed=1, **ours), record(9.0, env_class="cuda-fp32-relaxed-n1")]
    assert measured([run], found, options) == {run.key: 3.0}
    assert measured([replace(run, profile="full")], found, options) == {}
