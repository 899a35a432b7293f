"""`repro` in real processes that are killed, starved and set against each other.

A process is forked from a server that has imported everything and computed nothing: it starts in a tenth of a second,
and dies of kill -9 as any other. The runs are a small network's on a hundred images of the embedded sample, which
stand in for CIFAR-10 (`prepared.starts_small`), under the profile `quick`.
"""

import importlib
import importlib.util
import multiprocessing
import os
import signal
import sys
from dataclasses import dataclass, field
from multiprocessing import forkserver
from pathlib import Path

import prepared
import torch

import repro.bundle
import repro.cli
import repro.plots
import repro.report.render
import repro.suite.carrying
import repro.suite.concluding
import repro.suite.pages
import repro.track.connection
from repro.data import sample

# What a run imports on its way, so that no process pays for it again.
STORE = (
    "mlflow.store.tracking.sqlalchemy_store", "mlflow.store.db.utils", "mlflow.store.artifact.local_artifact_repo",
    "mlflow.tracking._model_registry.utils", "alembic.script", "alembic.migration",
)  # fmt: skip
if importlib.util.find_spec("mlflow"):  # without it there are runs with --offline
    repro.track.connection.import_mlflow()
    for name in STORE:
        importlib.import_module(name)
for name in (
    "matplotlib.figure", "matplotlib.backends.backend_agg", "scipy.stats", "repro.spec.loading",
    "repro.progress.training", "repro.report.evidence",
):  # fmt: skip
    importlib.import_module(name)
torch.use_deterministic_algorithms(False)
sample.load()

EPOCHS = 5
YAML = """\
schema: 1
id: tiny
title: A small report
summary: Made for tests.
source: {authors: [A. Tester], year: 2020}
recipe:
  data: {split: {train: 45000, val: 5000}, val_transform: train}
  augment: [{name: crop, pad: 4}, {name: flip}]
  model: {name: resnet, stem: 8, widths: [8, 16], blocks: [1, 1], logits_dropout: 0.1}
  loss: {name: cross_entropy}
  optim: {name: adam, lr: 1e-2}
  schedule: {name: cosine, t_max: 50, per: step}
  budget: {epochs: 50, batch_size: 30}
experiments:
  first: {reading: as_released, tier: headline, title: The first arm}
  second: {reading: isolated, tier: core, title: The second arm, optim: {lr: 2e-2}}
claims:
  - {id: acc, kind: point, experiment: first, value: 50.0, decimals: 1, headline: true, where: Table 1}
"""
RUN = ("run", "tiny/first", "--profile", "quick", "--device", "cpu", "--precision", "fp32", "-q")
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["faulty"])


def ready():
    """Start the server of processes, if it is not there yet; it looks for this file where we found it."""
    before = os.environ.get("PYTHONPATH")
    here = Path(__file__).parent
    os.environ["PYTHONPATH"] = os.pathsep.join([str(here.parents[1]), str(here), *filter(None, [before])])
    try:
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def enter(arguments, env, folder, output, changes):
    """Be `repro ...` in a folder, after the changes: names of functions of `prepared`, with their arguments."""
    os.setsid()
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    sys.stdout = os.fdopen(1, "w", buffering=1)
    sys.stderr = os.fdopen(2, "w", buffering=1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    for name in ("REPRO_FAILPOINT", "MLFLOW_TRACKING_URI", "REPRO_EXPERIMENTS"):
        os.environ.pop(name, None)
    os.environ.update(env)
    torch.set_num_threads(1)
    for name, *rest in changes:
        getattr(prepared, name)(*rest)
    sys.argv = ["repro", *arguments]
    repro.cli.main(list(arguments))


@dataclass
class Place:
    """A folder with one small report, a state folder, and processes in it."""

    folder: Path
    env: dict = field(default_factory=dict)
    uri: str = ""
    started: int = 0
    all: list = field(default_factory=list)

    def __post_init__(self):
        (self.folder / "experiments").mkdir(parents=True)
        (self.folder / "experiments" / "tiny.yaml").write_text(YAML)

    @property
    def home(self):
        """The state folder."""
        return self.folder / "state"

    def start(self, *arguments, point="", changes=(), **env):
        """Start `repro ...`; returns the process, which has its output as `output`."""
        env = {"REPRO_HOME": str(self.home), **self.env, **env}
        env |= {"REPRO_FAILPOINT": point} if point else {}
        env |= {"MLFLOW_TRACKING_URI": self.uri} if self.uri else {}
        self.started += 1
        output = self.folder / f"output-{self.started}.txt"
        output.touch()
        ready()
        everything = [("starts_small",), *changes]
        process = SERVER.Process(target=enter, args=(arguments or RUN, env, str(self.folder), str(output), everything))
        process.start()
        process.output = output
        self.all.append(process)
        return process

    def ended(self, process, within=120):
        """Wait for a process; returns exit code (negative: a signal's number) and output."""
        process.join(within)
        if process.exitcode is None:
            process.kill()
            raise AssertionError(f"still running after {within} s:\n{process.output.read_text()}")
        return process.exitcode, process.output.read_text()

    def run(self, *arguments, code=0, **rest):
        """Run `repro ...` to its end; returns what it prints, asserting its exit code."""
        found, said = self.ended(self.start(*arguments, **rest))
        assert found == code, said
        return said

    def dies_at(self, point, *arguments, **rest):
        """Run until a fail point kills the process, asserting that it does."""
        assert self.run(*arguments, point=point, code=-signal.SIGKILL, **rest) is not None

    def stop(self):
        """Kill what still runs."""
        for process in self.all:
            if process.exitcode is None:
                process.kill()
                process.join()
