"""Carrying a plan out: train, show in MLflow, summarise."""

import os
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from repro.execute import local, pool
from repro.execute.drawing import Drawer
from repro.execute.outcome import Job, Outcome
from repro.execute.remote import Order
from repro.progress.training import Lines
from repro.record.share import share
from repro.report import evidence
from repro.spec import ledger
from repro.suite import memory
from repro.suite.forecasting import estimate, foresee, threads_of
from repro.suite.planning import Plan
from repro.suite.summarising import summarise

if TYPE_CHECKING:
    from repro.execute.cluster import Cluster
    from repro.track import Tracker


def open_tracker(home: Path, offline: bool) -> "Tracker | None":
    """Return the tracker, its store made safe to use, or None offline."""
    if offline:
        return None
    from repro.track import Tracker

    tracker = Tracker(home)
    tracker.draw = Drawer()
    return tracker


def carry_out(
    plan: Plan, *, offline: bool, budget_s: float | None, display: Lines, cluster: "Cluster | None" = None
) -> list[Outcome]:
    """Say what it will take, train what is to be trained, then bring the experiments' summaries up to date.

    On this machine, or on a Ray `cluster`.

    What can be refused is refused before the first run, and too little disk before anything is written.
    """
    began = time.monotonic()
    loads = foresee(plan, offline=offline, refuse=True, say=display.say)
    opener = partial(open_tracker, plan.options.home, offline)
    if (tracker := opener()) is not None:
        refuse_deleted(plan, tracker)
    dataset = plan.provide()
    forecast = estimate(
        plan, loads, budget_s=budget_s, measure=display.shows_estimates and not cluster, say=display.say
    )
    if plan.profile == "full":
        # What was claimed is written down before the first run that is judged against it.
        ledger.write(plan.reports.values(), plan.reports_dir / "ledger")
    left_s = None if budget_s is None else budget_s - (time.monotonic() - began)  # download and timing took their part
    jobs = [
        Job(run, plan.notes.get(run.key, {}), plan.force, left_s, forecast.epoch_s.get(run.key, 0.0), plan.anew(run))
        for run in plan.runs
    ]
    with display:
        display.plan(forecast.work, forecast.measured, len(plan.devices), plan.concurrent)
        if cluster is not None:
            outcomes = _on_cluster(cluster, plan, jobs, offline, tracker, forecast.work, display)
        elif len(plan.devices) == plan.concurrent == 1:
            outcomes = local.run_all(jobs, dataset, plan.options, tracker=tracker, display=display)
        else:
            together = plan.concurrent > 1
            outcomes = pool.run_all(
                jobs, dataset, plan.devices * plan.concurrent, threads_of(plan), profile=plan.profile,
                tracker=tracker, open_tracker=opener, work=forecast.work, display=display, together=together,
            )  # fmt: skip
        if tracker is not None:
            synced = summarise(plan.reports, plan.options.home, plan.reports_dir, outcomes, tracker, display.say)
            for outcome in outcomes:
                outcome.synced &= synced
    return outcomes


def _on_cluster(
    cluster: "Cluster", plan: Plan, jobs: list[Job], offline: bool, tracker: "Tracker | None", work: dict[str, float],
    display: Lines,
) -> list[Outcome]:  # fmt: skip
    from repro.execute import ray

    if cluster.kind == "cuda":
        most = memory.measured(plan.runs, evidence.read(plan.options.home, plan.reports_dir), plan.options)
        jobs = [replace(job, memory_gb=most.get(job.run.key)) for job in jobs]
    shared, uri = share(plan.options.home), os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    order = Order(plan.profile, plan.options, cluster.threads, shared, offline, uri)
    return ray.run_all(jobs, plan.provide(), order, cluster, tracker=tracker, work=work, display=display)


def refuse_deleted(plan: Plan, tracker: "Tracker") -> None:
    """Raise UserError where MLflow's experiment of one of the runs is deleted."""
    with tracker.door("looking for the experiments"):
        for run in plan.runs:
            tracker.experiment_id(run.report, run.profile, plan.notes.get(run.key, {}))
