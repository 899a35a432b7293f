"""How fast this device trains and measures: a few steps of each network, in a process of its own.

The process takes everything with it that a measurement changes: random state, chosen kernels, memory.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch

from repro import environment
from repro import run as runner
from repro.data.cifar10 import Dataset
from repro.execute import process
from repro.execute.workload import Load, Speed, shape
from repro.run import Options
from repro.spec import counting
from repro.spec.identity import Run
from repro.train.step import EVAL_BATCH

WITHIN_S = 20.0
CALLS = 20  # at most this many of a step are timed
SHARE_S = 3.0  # at most this long for one network


def calibrate(
    loads: Sequence[Load], options: Options, *, threads: int | None = None, within_s: float = WITHIN_S
) -> dict[str, Speed]:
    """Time the networks of some runs, the largest share of the work first, for at most `within_s` seconds.

    Nothing is compiled for that, which may take longer than all of it.
    Returns {shape: speed} of those that were reached; `threads` is what each CPU process will have.
    """
    runs = distinct(loads)
    if not runs:
        return {}
    speeds: dict[str, Speed] = {}
    deadline = time.monotonic() + within_s
    child, connection = process.start(_measure_all, runs, replace(options, compile=False), threads, within_s)
    try:
        while connection.poll(max(0.0, deadline - time.monotonic())):
            name, speed = connection.recv()
            speeds[name] = speed
    except (EOFError, OSError):
        pass  # it is through, or it died (out of memory): what it has sent stands
    finally:
        connection.close()
        process.stop(child, grace_s=1)
    return speeds


def distinct(loads: Sequence[Load]) -> list[Run]:
    """Return a run of each shape that has no times of its own, the shape with the most work first."""
    work: dict[str, float] = {}
    first: dict[str, Run] = {}
    for load in loads:
        if load.epochs and load.journal_s is None:
            name = shape(load.recipe)
            work[name] = work.get(name, 0.0) + load.work
            first.setdefault(name, load.run)
    return [first[name] for name in sorted(work, key=work.__getitem__, reverse=True)]


def _measure_all(
    connection: Connection, runs: Sequence[Run], options: Options, threads: int | None, within_s: float
) -> None:
    deadline = time.monotonic() + within_s
    if threads is not None:
        torch.set_num_threads(threads)
    environment.prepare(options.device, options.precision, options.deterministic)
    for number, run in enumerate(runs):
        share_s = min(SHARE_S, (deadline - time.monotonic()) / (len(runs) - number))
        with contextlib.suppress(RuntimeError):  # out of memory: the run itself will say so, the others are timed
            connection.send((shape(run.recipe), measure(run, options, share_s)))


def measure(run: Run, options: Options, share_s: float, clock: Callable[[], float] = time.perf_counter) -> Speed:
    """Time training steps and one evaluation chunk of a run's network on made-up images."""
    batch = run.recipe.budget.batch_size
    split = run.recipe.data.split.model_copy(update={"train": batch, "val": 0})
    data = run.recipe.data.model_copy(update={"split": split, "folds": None})
    recipe = run.recipe.model_copy(update={"data": data})
    stepper, held = runner.assemble(recipe, replace(run, profile="full", fold=None), _images(batch), options)
    optimizer = runner.optimizer_of(recipe)(stepper.model.parameters())
    draws = stepper.prepare(run.seed, 1)

    def sync() -> None:
        if options.device.type == "cuda":
            torch.cuda.synchronize(options.device)

    stepper.model.train()
    if options.device.type == "cuda":  # loading kernels and trying algorithms takes longer than many steps
        stepper.step(0, draws, optimizer)
        sync()
    train_s = pace(lambda: stepper.step(0, draws, optimizer), sync, 0.75 * share_s, clock) / batch
    stepper.model.eval()
    eval_s = train_s / 3  # a forward pass, without the two passes back
    if eval_s * EVAL_BATCH < 0.25 * share_s:
        eval_s = pace(lambda: stepper.predict(held.test, held.test_index), sync, 0.25 * share_s, clock) / EVAL_BATCH
    return Speed(train_s, eval_s, counting.macs(recipe.model))


def pace(call: Callable[[], Any], sync: Callable[[], None], share_s: float, clock: Callable[[], float]) -> float:
    """Return the seconds that a call takes: after two to warm up, the mean of as many as fit `share_s`, at most CALLS.

    A call too slow for that is timed by the last one made.
    """

    def timed(calls: int) -> float:
        began = clock()
        for _ in range(calls):
            call()
        sync()
        return (clock() - began) / calls

    spent = once = timed(1)  # with set-up and the choice of kernels
    if spent < share_s:
        once = timed(1)
        spent += once
    calls = min(CALLS, int((share_s - spent) / once)) if once else 0
    return timed(calls) if calls > 0 else once


def _images(train: int) -> Dataset:
    rng = np.random.default_rng(0)

    def split(n: int) -> tuple[np.ndarray, np.ndarray]:
        return rng.integers(0, 256, (n, 32, 32, 3), np.uint8), rng.integers(0, 10, n, np.uint8)

    return Dataset("cifar10-sample", *split(train), *split(EVAL_BATCH), train="", test="")
