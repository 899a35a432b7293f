"""A Ray cluster: joined where there is one, made on this machine where none is named; what it has, and what it says.

This module and `ray` beside it are the only ones that import Ray.
"""

import contextlib
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from repro import environment
from repro.errors import UserError
from repro.execute import remote
from repro.track import store

STORE_BYTES = 80 << 20  # nothing large goes through Ray's object store, which takes a third of the memory else
QUIET = {"log_to_driver": False, "logging_level": "ERROR"}
REACH_S, LOOK_S = 10.0, 120.0
SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_DEDUP_LOGS": "0"}


def import_ray() -> Any:
    """Import Ray with our settings; raises UserError where it is missing."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise UserError(f"--executor ray: Ray cannot be imported ({error}); pip install -e '.[ray]'") from error
    return ray


@dataclass(frozen=True)
class Cluster:
    """A cluster that this process has joined: `kind` of device to train on, `concurrent` runs a device.

    `address` is empty where the cluster is this machine alone.
    """

    address: str
    kind: str
    concurrent: int
    threads: int | None

    @property
    def device(self) -> torch.device:
        """The device that a task sees: on CUDA the one that Ray has given to it."""
        return torch.device(self.kind)

    @property
    def demands(self) -> dict[str, float]:
        """What a run takes of a machine: a CPU a thread, or a part of a GPU and a CPU."""
        if self.kind == "cuda":
            return {"num_gpus": 1 / self.concurrent, "num_cpus": 1}
        return {"num_cpus": self.threads or 1}

    def places(self) -> dict[str, int]:
        """Return how many runs each living machine of this kind can train at once."""
        ray, asked = import_ray(), self.demands
        found = {}
        for node in ray.nodes():
            if node["Alive"]:
                has = node["Resources"]
                count = int(has.get("CPU", 0) / asked["num_cpus"])
                if "num_gpus" in asked:
                    count = min(count, int(has.get("GPU", 0)) * self.concurrent)
                found[node["NodeID"]] = count
        return {node: count for node, count in found.items() if count}

    def slots(self) -> int:
        """Return how many runs the cluster can train at once, as far as its machines are free."""
        return sum(self.places().values())

    def examine(self, home: Path, precision: str, offline: bool) -> str:
        """Return the precision for all runs, having asked every machine; raises UserError where they cannot be made."""
        if self.address and not offline and not (place := store.locate(home)).uri.startswith("http"):
            raise UserError(
                f"--ray-address: MLflow at {place.shown} cannot be written from other machines; set "
                "MLFLOW_TRACKING_URI to an MLflow server (http://...), or use --offline: `repro doctor --fix` then "
                "brings the runs in"
            )
        if not (places := self.places()):
            needs = " and ".join(f"{count:g} {name[4:].upper()}" for name, count in self.demands.items())
            raise UserError(
                f"--executor ray: no machine of the cluster has what a run takes ({needs}); "
                "set OMP_NUM_THREADS to fewer threads, or choose another --device"
            )
        looks, late = self._looks(list(places), home)
        if reasons := [look.reason for look in looks if look.reason]:
            raise UserError(reasons[0])
        if not looks and not late:
            raise UserError(
                "--executor ray: every machine of the cluster was lost while it was asked; see that it runs"
            )
        if precision != "auto":
            return precision
        if late:
            raise UserError(
                f"--precision auto: {late} machines of the cluster are busy and did not answer; "
                "give --precision bf16 or fp32"
            )
        picked = {look.precision for look in looks}
        return picked.pop() if len(picked) == 1 else "fp32"  # one for all: a run may go on elsewhere

    def _looks(self, nodes: list[str], home: Path) -> tuple[list[remote.Look], int]:
        """Ask machines; return what they say, and how many have not answered in time."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        ray, shared, commit = import_ray(), remote.share(home), environment.commit()["commit"]
        asked = {"num_cpus": 0.0, "num_gpus": self.demands.get("num_gpus", 0.0)}
        look = ray.remote(remote.look)
        pending = [
            look.options(**asked, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(
                home, shared, self.kind, commit
            )
            for node in nodes
        ]
        done, late = ray.wait(pending, num_returns=len(pending), timeout=LOOK_S)
        for reference in late:
            ray.cancel(reference)
        return [found for reference in done if (found := _answer(ray, reference))], len(late)


def _answer(ray: Any, reference: Any) -> remote.Look | None:
    """Return what a machine has said; None for one that was lost meanwhile, which makes no run either."""
    try:
        found = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise UserError(f"--executor ray: a machine of the cluster cannot run this suite ({last(error)})") from None
    except ray.exceptions.RayError:
        return None
    assert isinstance(found, remote.Look)
    return found


def last(error: Exception) -> str:
    """Return what an error of Ray's comes to: its last line, for above it stands where it came from."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()


@contextlib.contextmanager
def joined(address: str, device: str | None, concurrent: int) -> Iterator[Cluster]:
    """Join the cluster at an address, or make one of this machine where that is empty; leave it at the end.

    On a CPU a run has as many threads as one of `concurrent` processes on this machine would have.
    """
    ray = import_ray()
    before = signal.getsignal(signal.SIGTERM)
    with contextlib.ExitStack() as stack:
        try:
            if address:
                _join(ray, address)
            else:
                made = tempfile.TemporaryDirectory(prefix="repro-ray-", dir=_short(), ignore_cleanup_errors=True)
                _start(ray, stack.enter_context(made), concurrent)
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, before)  # Ray has put its own there
            kind = _kind(ray, address, device)
            threads = max(1, torch.get_num_threads() // concurrent) if kind == "cpu" else None
            yield Cluster(address, kind, concurrent, threads)
        finally:
            ray.shutdown()


def _start(ray: Any, folder: str, concurrent: int) -> None:
    cpus = max(os.cpu_count() or 1, torch.get_num_threads(), concurrent)
    ray.init(
        address="local", include_dashboard=False, object_store_memory=STORE_BYTES, _temp_dir=folder, num_cpus=cpus,
        **QUIET,
    )  # fmt: skip


def _join(ray: Any, address: str) -> None:
    _reach(address)
    try:
        ray.init(address=address, **QUIET)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(
            f"--ray-address {address}: cannot be joined ({last(error)}); name a cluster that runs"
        ) from None


def _reach(address: str) -> None:
    """Refuse an address where nobody answers, which Ray would try for minutes."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in address:
        raise UserError(
            f"--ray-address {address}: expected HOST:PORT of a cluster's head, or auto on one of its machines"
        )
    try:
        socket.create_connection((host, int(port)), timeout=REACH_S).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"--ray-address {address}: no Ray cluster answers there ({error}); start it first") from None


def _kind(ray: Any, address: str, device: str | None) -> str:
    wanted = device or "auto"
    if not address or wanted == "cpu":
        return environment.pick_device(wanted).type
    if wanted not in ("auto", "cuda"):
        raise UserError(f"--device {wanted}: on a cluster Ray chooses which one; give cpu, cuda or auto")
    there = ray.cluster_resources().get("GPU", 0) > 0
    if wanted == "cuda" and not there:
        raise UserError("--device cuda: the cluster has no GPU; use --device cpu, or add a machine that has one")
    return "cuda" if there else "cpu"


def _short() -> str | None:
    """Return a folder with a short name, since a Unix socket's path has at most 107 bytes; None for the usual one."""
    return "/tmp" if os.access("/tmp", os.W_OK | os.X_OK) else None
