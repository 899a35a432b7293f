"""What a pass of an arm costs beside time: operations and kernels of a step, and how often the host waits.

Counts are the same on every machine of a kind, busy or idle. All are taken in a pass that is not timed.
"""

import json
import os
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from repro.augment import ops
from repro.bench.operations import Operations

#: operations whose result a host needs before it can go on: a GPU's host waits in each of them
WAITING = frozenset({
    "_local_scalar_dense", "item", "nonzero", "is_nonzero", "equal", "masked_select", "unique", "repeat_interleave",
})  # fmt: skip
#: methods that copy from the device to the host; on a CPU nothing is dispatched for them
READING = frozenset({"cpu", "tolist"})
_CUDA_SAYS = "called a synchronizing CUDA operation"


@dataclass(frozen=True)
class Counts:
    """Of a step: `operations` PyTorch dispatches, `kernels` on the device; `host_syncs` of a pass and its read-out.

    None where something was not counted.
    """

    operations: float | None = None
    kernels: int | None = None
    host_syncs: int | None = None


NOTHING = Counts()


def count(
    device: torch.device, steps: int, train: Callable[[], object], step: Callable[[], object],
    read: Callable[[], object] | None = None, host: Iterable[torch.Tensor] = (), modes: bool = True,
) -> Counts:  # fmt: skip
    """Count while `train` makes `steps` steps and `read` brings their sums to the host, and kernels of one `step`.

    `host` are tensors that lie on the host whatever the device: reading them waits for nothing.
    `modes=False` leaves out what would make compiled code compile anew: operations, and waits on a CPU.
    """
    operations = Operations()
    if device.type != "cuda" and not modes:
        return Counts(kernels=kernels(step, device))
    with waits(device, host) as seen:
        with ops.as_on_accelerators(), operations if modes else nullcontext():
            train()
        if read is not None:
            read()
    dispatched = round(operations.seen.total() / steps, 1) if modes else None
    return Counts(dispatched, kernels(step, device), len(seen))


def kernels(step: Callable[[], object], device: torch.device) -> int | None:
    """Return the CUDA kernels of a step that is launched kernel by kernel; None elsewhere, and where none is seen.

    Copies and fills of memory are none. Not every machine lets a program see its kernels.
    """
    if device.type != "cuda":
        return None
    # Else the profiler's hooks stay behind, and launches that are timed later in this process take longer.
    os.environ.setdefault("TEARDOWN_CUPTI", "1")
    with torch.profiler.profile(activities=list(torch.profiler.supported_activities())) as trace:
        step()
        torch.cuda.synchronize(device)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        trace.export_chrome_trace(str(path))
        return kernels_of(json.loads(path.read_bytes())) or None


def kernels_of(trace: dict[str, Any]) -> int:
    """Return the kernels in a profiler's trace."""
    return sum(event.get("cat") == "kernel" for event in trace["traceEvents"])


@contextmanager
def waits(device: torch.device, host: Iterable[torch.Tensor] = ()) -> Iterator[list[str]]:
    """Give a list that fills with what makes the host wait, one entry each time.

    On CUDA as PyTorch's own debug mode tells it, copies to the device that wait among them. A CPU never waits: there
    it is what a GPU's host would wait for: reads (but of the `host`'s tensors), and operations whose result has a
    shape that depends on values.
    """
    seen: list[str] = []
    if device.type != "cuda":
        with _Reads(seen), _Waits(seen, host):
            yield seen
        return
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield seen
        finally:
            torch.cuda.set_sync_debug_mode(before)
            seen += [str(each.message) for each in said if _CUDA_SAYS in str(each.message)]


class _Waits(TorchDispatchMode):
    """Notes operations that make a GPU's host wait."""

    def __init__(self, seen: list[str], host: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self.seen, self.host = seen, {tensor.data_ptr() for tensor in host}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note an operation and do it."""
        name = func.overloadpacket.__name__
        waiting = name in WAITING or (name in ("index", "index_put_") and _by_mask(args))
        if waiting and args[0].data_ptr() not in self.host:
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


class _Reads(TorchFunctionMode):
    """Notes calls that bring a tensor to the host."""

    def __init__(self, seen: list[str]) -> None:
        super().__init__()
        self.seen = seen

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note a call and make it."""
        if getattr(func, "__name__", "") in READING:
            self.seen.append(func.__name__)
        return func(*args, **(kwargs or {}))


def _by_mask(args: Any) -> bool:
    return any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in (args[1] if len(args) > 1 else ()))
