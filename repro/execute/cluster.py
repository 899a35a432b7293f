"""A Ray cluster that this process has joined: what it has, and what its machines say of themselves.

This module and `ray` beside it are the only ones that import Ray.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from repro import environment
from repro.errors import UserError
from repro.execute import demands, remote
from repro.record.share import share
from repro.track import store

LOOK_S = 120.0
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


@dataclass
class Cluster:
    """A cluster that this process has joined: `kind` of device to train on, `concurrent` runs a device.

    `address` is empty where the cluster is this machine alone. `gpu_gb` is the memory of its smallest GPU, in 10^9
    bytes, once machines were asked.
    """

    address: str
    kind: str
    concurrent: int
    threads: int | None
    gpu_gb: float | None = None

    @property
    def device(self) -> torch.device:
        """The device that a task sees: on CUDA the one that Ray has given to it."""
        return torch.device(self.kind)

    def demands(self, memory_gb: float | None = None) -> dict[str, float]:
        """Return what a run takes of a machine; `memory_gb`: what such a run was measured to take of a GPU's memory."""
        return demands.of_run(self.kind, self.concurrent, self.threads, memory_gb, self.gpu_gb)

    def places(self) -> dict[str, int]:
        """Return how many runs each living machine of this kind can train at once."""
        ray, asked = import_ray(), self.demands()
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
            needs = " and ".join(f"{count:g} {name[4:].upper()}" for name, count in self.demands().items())
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
        sizes = [look.gpu_gb for look in looks if look.gpu_gb is not None]
        self.gpu_gb = min(sizes) if len(sizes) == len(looks) and not late else None
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

        ray, shared, commit = import_ray(), share(home), environment.commit()["commit"]
        asked = {"num_cpus": 0.0, "num_gpus": self.demands().get("num_gpus", 0.0)}
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
