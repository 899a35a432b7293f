"""What several test files share: no stray MLflow settings, a migrated store to copy, and records to play with."""

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

os.environ["MLFLOW_TRUNCATE_LONG_VALUES"] = "false"  # a value too long fails here instead of being cut
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ.pop("MLFLOW_TRACKING_URI", None)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As a shell's background job: the commands that the tests interrupt would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: what takes longest, first of all where several workers share the tests: no worker has it for itself at the end
LONGEST = (
    "cluster/test_cluster.py", "test_docs.py", "test_engine.py", "test_execute.py", "test_cli.py", "test_browser.py",
    "test_server.py", "test_reuse.py", "test_withdrawn.py", "test_golden_losses.py", "faults/test_kills.py",
    "faults/test_hostile.py", "test_worth.py", "test_bench_accuracy.py", "test_bench_scale.py",
)  # fmt: skip
#: whose tests share nothing, and need not be one worker's
APART = ("tests/test_docs.py",)

RECIPE = {
    "data": {
        "split": {"train": 50000},
        "normalize": {"mean": [0.4914, 0.4822, 0.4465], "std": [0.2023, 0.1994, 0.201]},
    },
    "augment": [{"name": "crop", "pad": 4}, {"name": "flip"}],
    "model": {
        "name": "resnet", "stem": 16, "widths": [16, 32, 64], "blocks": [11, 11, 11], "init": "kaiming_fan_in",
    },
    "loss": {"name": "cross_entropy"},
    "optim": {"name": "sgd", "lr": 0.01, "momentum": 0.9, "weight_decay": 0.0005},
    "schedule": {"name": "cosine", "t_max": 50},
    "budget": {"epochs": 50, "batch_size": 64},
}  # fmt: skip


def pytest_collection_modifyitems(items):
    """Let workers begin with the longest files."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        here = Path(__file__).parent
        rank = {here / name: number for number, name in enumerate(LONGEST)}
        items.sort(key=lambda item: rank.get(item.path, len(rank)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Hand out whole files, but for those whose tests may go to any worker."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return nodeid if file in APART else file

    return Scheduling(config, log)


def build_record(epochs=50, windows=4, images=10_000, seed=0, **overrides):
    """Return a full RunRecord of plausible, seeded numbers."""
    from repro.record import FULL_TEST, FULL_TRAIN, RunRecord

    rng = np.random.default_rng(seed)
    rise = 1 - np.exp(-np.arange(1, epochs + 1) / epochs * 4)

    def noisy(low, high, sd):
        return (low + (high - low) * rise + rng.normal(0, sd, epochs)).astype(np.float32)

    labels = np.repeat(np.arange(10), images // 10)
    wrong = rng.random(images) > 0.9
    predicted = np.where(wrong, (labels + rng.integers(1, 10, images)) % 10, labels).astype(np.uint8)
    confusion = np.zeros((10, 10), int)
    np.add.at(confusion, (labels, predicted), 1)
    accuracy = 100 * float(np.trace(confusion)) / images
    step = (2.3 - 2 * np.repeat(rise, windows) + rng.normal(0, 0.1, epochs * windows)).astype(np.float32)
    fields = dict(
        run_key=f"{0xABCDEF0123450000 + seed:016x}",
        recipe_hash="5e" * 32,
        recipe=RECIPE | {"budget": {"epochs": epochs, "batch_size": 64}},
        report="chen2024",
        experiments=["resnet68"],
        seed=seed,
        fold=None,
        profile="full",
        data={"train": FULL_TRAIN, "test": FULL_TEST, "order": "official"},
        env={"device": "NVIDIA H200", "torch": "2.11.0", "python": "3.11.7", "commit": "0" * 40, "dirty": False},
        env_class="cuda-bf16-relaxed-n1",
        ledger="0123456789ab",
        command="repro run chen2024/resnet68",
        started="2026-01-02T03:04:05+00:00",
        seconds=612.25,
        images_per_s=4083.3,
        energy_j=None,
        state="finished",
        epochs_done=epochs,
        curves={
            "train/loss": noisy(2.3, 0.1, 0.02), "train/acc_pct": noisy(10, 97, 0.4),
            "test/loss": noisy(2.3, 0.35, 0.02), "test/acc_pct": noisy(10, 90, 0.4),
            "lr": (0.005 * (1 + np.cos(np.pi * np.arange(epochs) / epochs))).astype(np.float32),
            "time/epoch_s": rng.normal(12, 0.1, epochs).astype(np.float32),
            "step/loss_mean": step, "step/loss_min": step - 0.2, "step/loss_max": step + 0.2,
        },
        finals={"last": {"acc_pct": accuracy, "loss": 0.3512}, "best_test": {"acc_pct": accuracy + 0.2, "epoch": 47.0}},
        confusion={"last": confusion.tolist()},
        predictions={
            "class": predicted,
            "confidence": (255 * rng.beta(np.where(wrong, 4, 60), 1.2)).astype(np.uint8),
        },
    )  # fmt: skip
    return RunRecord(**(fields | overrides))


@pytest.fixture(scope="session")
def make_record():
    """Return the factory of realistic records: `make_record(epochs=50, seed=0, **any field of RunRecord)`."""
    return build_record


@pytest.fixture
def captures(monkeypatch):
    """Take steps as a graph would replay them, uncaptured, so that epochs end late; a list of what was captured."""
    from repro.run import reuse
    from repro.train import engine
    from repro.train.graph import Graphed

    made = []

    class Counted(Graphed):
        def __init__(self, *arguments):
            made.append(self)
            super().__init__(*arguments, capture=False)

    monkeypatch.setattr(engine, "Graphed", Counted)
    monkeypatch.setattr(engine, "possible", lambda *_: True)
    reuse.take(None)
    yield made
    reuse.take(None)


@pytest.fixture(scope="session")
def mlflow_template(tmp_path_factory):
    """Return a migrated, empty MLflow store, made once; migrating takes over a second, copying it milliseconds."""
    from repro.track import Tracker

    home = tmp_path_factory.mktemp("template")
    Tracker(home)
    return home / "mlflow.db"


@pytest.fixture
def home(tmp_path, mlflow_template):
    """Return a state folder (with a space in its name) that holds an empty MLflow store."""
    folder = tmp_path / "state folder"
    folder.mkdir()
    shutil.copy(mlflow_template, folder / "mlflow.db")
    return folder


@pytest.fixture
def place(tmp_path, monkeypatch, home):
    """Return the current folder: one small report in it, and a state folder with an empty MLflow store."""
    import torch
    from command_line import SMALL

    torch.set_num_threads(1)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "tiny.yaml").write_text(SMALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REPRO_HOME", str(home))
    for name in ("REPRO_EXPERIMENTS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def standin(monkeypatch):
    """Return a small stand-in for CIFAR-10: its shapes, fingerprints and checksums in place of the real ones."""
    from data_standin import Standin

    return Standin(monkeypatch)
