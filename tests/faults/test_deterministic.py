"""`--deterministic`: the same run twice on one machine, in processes and folders of their own, gives equal bits."""

import functools
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from command_line import repro
from faulty import RUN, YAML
from holding import outcome, trial, trials

from repro import environment
from repro.record import RunRecord
from repro.train.step import Stepper

EQUAL = "--deterministic, the same run again in another process and folder: same bits"
ELSE = "--deterministic with another seed: other bits, so that the comparison can fail"
TOLD = "An operation that has no deterministic form: one sentence, the other runs go on"

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
STRICT = (*RUN, "--deterministic", "--offline")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def with_options(**options):
    """Return the command with other values of `--device` or `--precision`."""
    words = list(STRICT)
    for name, value in options.items():
        words[words.index(f"--{name}") + 1] = value
    return tuple(words)


def records(home):
    """Return a state folder's records, by seed."""
    found = [RunRecord.from_bytes(path.read_bytes()) for path in home.glob("runs/*/record.json")]
    return {record.seed: record for record in found}


def twice(places, command, again=None):
    """Run a command, and then itself or another one in another folder; return the two state folders."""
    homes = []
    for name, words in (("one", command), ("two", again or command)):
        place = places(name, store=False)
        (place.folder / "experiments" / "tiny.yaml").write_text(YAML.replace("epochs: 50", "epochs: 20"))
        place.run(*words)
        homes.append(place.home)
    return homes


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_equal_bits_twice_on_a_cpu(places, precision):
    with trial(EQUAL, f"cpu, {precision}"):
        one, two = twice(places, with_options(precision=precision))
        assert outcome(one) == outcome(two)
        for home in (one, two):
            (record,) = records(home).values()
            assert record.env_class.startswith(f"cpu-{precision}-deterministic-n")
            assert record.finals["last"]["acc_pct"] >= 0


def test_another_seed_gives_other_bits(places):
    with trial(ELSE, "cpu, fp32"):
        one, two = twice(places, STRICT, (*STRICT, "--seeds", "1"))
        (first,), (second,) = (outcome(home).values() for home in (one, two))
        assert all(first[what] != second[what] for what in ("weights", "journal", "probabilities", "record"))


def test_side_by_side_or_one_after_the_other(places):
    """Each of two runs that share a process draws and computes what it would alone."""
    with trial(EQUAL, "cpu, fp32, two at once and one by one"):
        seeds = (*STRICT, "--seeds", "0-1")
        one, two = twice(places, seeds, (*seeds, "--concurrent", "2"))
        assert len(outcome(one)) == 2
        assert outcome(one) == outcome(two)


@pytest.mark.skipif(trials(True, False), reason="interpreters of their own: with REPRO_FAULTS=full or long")
@pytest.mark.parametrize("threads", [1, 2])
def test_equal_bits_with_several_threads(tmp_path, threads):
    """The program as it is started by hand, on the embedded sample, with so many threads in both."""
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "tiny.yaml").write_text(YAML)
    with trial(EQUAL, f"cpu, fp32, {threads} threads"):
        homes = [tmp_path / name for name in ("one", "two")]
        for home in homes:
            command = [sys.executable, "-m", "repro", "run", "tiny/first", "--profile", "smoke", "--offline", "-q"]
            command += ["--device", "cpu", "--precision", "fp32", "--deterministic"]
            env = {**os.environ, "REPRO_HOME": str(home), "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
            subprocess.run(command, env=env, cwd=tmp_path, check=True, capture_output=True)
            (record,) = records(home).values()
            assert record.env["device"].endswith(f"({threads} threads)")
        assert outcome(homes[0]) == outcome(homes[1])


def without_joules(home):
    """Return what training has left but for the GPU's energy, which is no bit of the run's."""
    for path in home.glob("runs/*/energy.json"):
        path.unlink()
    found = outcome(home)
    for left in found.values():
        left["record"] = replace(RunRecord.from_bytes(left["record"]), energy_j=None).to_bytes()
    return found


@needs_cuda
@pytest.mark.parametrize("graph", [(), ("--no-graph",)], ids=["graph", "kernel by kernel"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_equal_bits_twice_on_a_gpu(places, monkeypatch, precision, graph):
    monkeypatch.setattr(torch, "load", functools.partial(torch.load, map_location="cpu"))
    with trial(EQUAL, f"cuda, {precision} {' '.join(graph)}".strip()):
        one, two = twice(places, (*with_options(device="cuda", precision=precision), *graph))
        assert without_joules(one) == without_joules(two)
        (record,) = records(one).values()
        assert record.env_class.startswith(f"cuda-{precision}-deterministic-n")


@pytest.fixture
def switches(monkeypatch):
    """Put the process's switches back as they were; return what they are at a moment."""

    def now():
        return torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark

    before = now()
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    yield now
    torch.use_deterministic_algorithms(before[0])
    torch.backends.cudnn.benchmark = before[1]


def test_a_relaxed_run_after_a_deterministic_one(switches, monkeypatch):
    monkeypatch.setattr(environment, "_keep_freed_memory", lambda: None)  # for the life of a process, which is ours
    for deterministic in (True, False, True):
        environment.prepare(CPU, "fp32", deterministic)
        assert switches() == (deterministic, not deterministic)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_what_the_user_has_set_for_cublas_stays(switches, monkeypatch):
    monkeypatch.setattr(environment, "_keep_freed_memory", lambda: None)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    environment.prepare(CPU, "fp32", True)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


def test_the_switch_is_set_before_the_first_operation_of_a_run(place, switches, monkeypatch):
    """CUDA's libraries read their settings at the first operation on a device: the network is built after that."""
    from repro.run import wiring

    assemble, seen = wiring.assemble, []

    def watched(*arguments):
        seen.append((switches()[0], os.environ.get("CUBLAS_WORKSPACE_CONFIG")))
        return assemble(*arguments)

    monkeypatch.setattr(wiring, "assemble", watched)
    repro("run", "tiny/first", "--profile", "smoke", "--device", "cpu", "--deterministic", "--offline", "-q")
    assert seen == [(True, ":4096:8")]


def test_an_operation_without_a_deterministic_form(place, switches, monkeypatch):
    """`put_` has none: it stands in for one of those that PyTorch has none for on a GPU."""
    whole, which = Stepper.step, []

    def step(self, *rest):
        if not which:
            which.append(self)
        if self is which[0]:
            torch.zeros(4).put_(torch.tensor([0]), torch.tensor([1.0]))
        return whole(self, *rest)

    monkeypatch.setattr(Stepper, "step", step)
    command = ("run", "tiny", "--profile", "smoke", "--device", "cpu", "--precision", "fp32", "--offline", "-q")
    with trial(TOLD, "put_"):
        said = repro(*command, "--deterministic", code=1)
        assert "Traceback" not in said
        sentence = "--deterministic: put_ does not have a deterministic implementation in PyTorch here; begin anew"
        assert sentence in " ".join(said.split())
        assert "1 trained, 1 failed" in said
    said = repro(*command[:1], "tiny/first", *command[2:], code=1)
    assert "cannot go on as cpu-fp32-relaxed" in said
    assert "--deterministic" in said
    which.clear()  # the sentence's mend: without determinism the operation is allowed
    assert "1 trained" in repro(*command[:1], "tiny/first", *command[2:], "--force")


def test_what_the_setting_of_cublas_does_is_said_in_a_sentence():
    """PyTorch's words for a matrix product on a GPU whose setting allows no equal bits."""
    error = RuntimeError(
        "Deterministic behavior was enabled with either `torch.use_deterministic_algorithms(True)` or `at::Context::"
        "setDeterministicAlgorithms(true)`, but this operation is not deterministic because it uses CuBLAS and you have"
        " CUDA >= 10.2. To enable deterministic behavior in this case, you must set an environment variable before "
        "running your PyTorch application: CUBLAS_WORKSPACE_CONFIG=:4096:8 or CUBLAS_WORKSPACE_CONFIG=:16:8."
    )
    assert "CUBLAS_WORKSPACE_CONFIG" in environment.relaxed_only(error)
    assert environment.relaxed_only(RuntimeError("CUDA error: an illegal memory access")) is None
    assert environment.relaxed_only(ValueError(str(error))) is None
