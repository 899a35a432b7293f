"""Joining a Ray cluster: the one at an address, or one of this machine alone, which ends with the command."""

import contextlib
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

import torch

from repro import environment
from repro.errors import UserError
from repro.execute.cluster import Cluster, import_ray, last

STORE_BYTES = 80 << 20  # nothing large goes through Ray's object store, which takes a third of the memory else
QUIET = {"log_to_driver": False, "logging_level": "ERROR"}
REACH_S = 10.0


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
    if wanted.startswith("cuda:"):
        raise UserError(f"--device {wanted}: on a cluster Ray chooses which one; give cpu, cuda or auto")
    if not address or wanted not in ("auto", "cuda"):
        return environment.pick_device(wanted).type
    there = ray.cluster_resources().get("GPU", 0) > 0
    if wanted == "cuda" and not there:
        raise UserError("--device cuda: the cluster has no GPU; use --device cpu, or add a machine that has one")
    return "cuda" if there else "cpu"


def _short() -> str | None:
    """Return a folder with a short name, since a Unix socket's path has at most 107 bytes; None for the usual one."""
    return "/tmp" if os.access("/tmp", os.W_OK | os.X_OK) else None
