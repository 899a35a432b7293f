"""The synthetic records behind the golden pages. Test data: no network was trained for any of them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from repro.record import FULL_TEST, FULL_TRAIN, RunRecord
from repro.spec import ledger
from repro.spec.identity import recipe_hash, resolved, run_key
from repro.spec.loading import load
from repro.spec.schema import Report

GOLDEN = Path(__file__).parent / "golden"
GPU = {
    "device": "Synthetic GPU (test data)", "driver": "1.0", "torch": "0.0", "cuda": "0.0", "python": "3.11.0",
    "commit": "0" * 40, "dirty": False, "diff": None,
}  # fmt: skip
CPU = GPU | {"device": "Synthetic CPU (test data)", "driver": None, "cuda": None, "dirty": True, "diff": "abc"}


def demo() -> Report:
    """Return the invented report."""
    return load(GOLDEN / "experiments" / "demo2020.yaml")


def make(report: Report, experiment: str = "base", seed: int = 0, top: float = 90.0, **changes: Any) -> RunRecord:
    """Return a synthetic record whose test accuracy ends near `top`; `changes` replace fields."""
    recipe = report.experiments[experiment].recipe
    sha, profile = recipe_hash(recipe), changes.get("profile", "full")
    epochs = recipe.budget.epochs if profile == "full" else 1
    draw = np.random.default_rng([seed, int(top * 100)])
    t = np.arange(1, epochs + 1)
    test = np.round(top - 30 * np.exp(-t / 1.2) + draw.normal(0, 0.2, epochs), 2)
    loss = 0.4 + 1.5 * np.exp(-t / 1.5)
    total = 10_000 if profile == "full" else 200
    correct = round(float(test[-1]) / 100 * total)
    last = {"acc_pct": 100 * correct / total, "loss": float(loss[-1]), "nll": float(loss[-1]), "ece_pct": 3.25}
    p = correct / total
    peak = int(test.argmax())
    finals = {
        "last": last,
        "best_val_loss": {**last, "epoch": float(epochs)},
        "best_test": {"acc_pct": float(test[peak]), "loss": float(loss[peak]), "epoch": peak + 1.0},
        "val": {"acc_pct": float(test[-1]) - 0.2, "loss": float(loss[-1]) + 0.02},
        "batch_mean": {"acc_pct": 100 * p, "sd_pct": 0.13},
        "last_batch": {"acc_pct": 100 * p, "sd_pct": 7.5, "n": 16.0, "correct": float(correct), "total": float(total)},
    }  # fmt: skip
    rows = [[round(1000 * (1 - p) / 9)] * 10 for _ in range(10)]
    for i, row in enumerate(rows):
        row[i] = 1000 - 9 * row[0] if i else 1000 - sum(row[1:])
    data = {"train": FULL_TRAIN, "test": FULL_TEST, "order": "unknown"}
    if profile == "smoke":
        data = {"train": "sample", "test": "sample", "order": "unknown"}
    sharing = [e.id for e in report.experiments.values() if recipe_hash(e.recipe) == sha]
    record = RunRecord(
        run_key=run_key(report.id, sha, seed, None, f"{data['train']}:{data['test']}", profile),
        recipe_hash=sha,
        recipe=resolved(recipe),
        report=report.id,
        experiments=sharing,
        seed=seed,
        fold=None,
        profile=profile,
        data=data,
        env=dict(GPU),
        env_class="cuda-bf16-relaxed-n1",
        ledger="",
        command="synthetic test data",
        started=f"2020-01-0{seed + 1}T00:00:00+00:00",
        seconds=3600.0 + 60 * seed,
        images_per_s=12_345.6,
        energy_j=1.8e6,
        state="finished",
        epochs_done=epochs,
        curves={
            "test/acc_pct": test,
            "test/loss": loss,
            "val/acc_pct": test - 0.3,
            "val/loss": loss + 0.02,
            "train/acc_pct": test + 4 * t / epochs,
            "train/loss": loss * np.exp(-t / 4),
            "lr": 0.1 * np.cos(t / epochs),
        },
        finals=finals,
        confusion={"last": rows},
    )
    return replace(record, **changes)


def demo_records(report: Report) -> tuple[dict[str, RunRecord], dict[str, dict[str, str]]]:
    """Return the golden records by file name and the ledgers they name."""
    now = ledger.claims([report])
    before = now | {"demo2020/plain-acc": "0" * 64}
    ledgers = {ledger.ledger_id(m): m for m in (now, before)}
    new, old = ledgers
    declared = {"ledger": new}
    first = make(report, seed=0, top=90.0, **declared)
    drifted = {**first.finals, "last": {**first.finals["last"], "acc_pct": 89.5}}
    official = {**first.finals, "last_batch": {**first.finals["last_batch"], "official_pct": 93.75}}
    stale = replace(make(report, "idle"), recipe_hash="f" * 64, run_key="f" * 16)
    return {
        "base-s0": replace(first, finals=official),
        "base-s1": make(report, seed=1, top=90.4, **declared),
        "base-s2": make(report, seed=2, top=89.8, energy_j=None, ledger="000000000000"),
        "base-s0-again": replace(first, started="2020-03-01T00:00:00+00:00", finals=drifted),
        "base-s0-cpu": replace(first, started="2019-01-01T00:00:00+00:00", env=CPU, env_class="cpu-fp32-relaxed-n1"),
        "plain-s0": make(report, "plain", top=85.0, ledger=old, data=first.data | {"order": "official"}),
        "plain-s1-stopped": make(report, "plain", 1, top=85.0, state="stopped", epochs_done=3),
        "idle-stale": stale,
        "base-smoke": make(report, top=20.0, profile="smoke"),
        "base-quick": make(report, top=70.0, profile="quick"),
    }, ledgers


def write_golden() -> None:
    """Write the committed records and ledgers anew."""
    records, ledgers = demo_records(demo())
    for folder, files in (
        ("records", {f"{name}.json": record.to_bytes() for name, record in records.items()}),
        ("ledger", {f"{name}.json": (json.dumps(m, indent=1) + "\n").encode() for name, m in ledgers.items()}),
    ):
        for path in (GOLDEN / folder).glob("*.json"):
            path.unlink()
        for name, data in files.items():
            (GOLDEN / folder).mkdir(parents=True, exist_ok=True)
            (GOLDEN / folder / name).write_bytes(data)


def read_golden() -> tuple[dict[str, RunRecord], dict[str, dict[str, str]]]:
    """Read the committed records and ledgers."""
    records = {
        p.stem: RunRecord.from_bytes(p.read_bytes(), str(p)) for p in sorted((GOLDEN / "records").glob("*.json"))
    }
    return records, {p.stem: json.loads(p.read_text()) for p in sorted((GOLDEN / "ledger").glob("*.json"))}
