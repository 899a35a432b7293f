"""Joules that a GPU takes while it trains, by the driver's counter; what the rest of the machine takes is not known.

The counter is the whole device's: another process on it counts too. It is read once an epoch, after the epoch's
numbers have come from the device.
"""

import ctypes
import json
from collections.abc import Callable
from pathlib import Path

import torch

from repro.errors import UserError
from repro.record import write_atomically

#: the driver's library, which nvidia-smi reads too
LIBRARY = "libnvidia-ml.so.1"
#: joules since the driver was loaded, None where nothing counts them
Counter = Callable[[], float | None]


def counter(device: torch.device) -> Counter:
    """Return the device's counter; one that knows nothing for a CPU, a part of a GPU, or a driver without it."""
    try:
        return _driver_counter(device) if device.type == "cuda" else unknown
    except (OSError, AttributeError, RuntimeError, AssertionError):  # no library, an old one, or no such device
        return unknown


def unknown() -> None:
    """Tell nothing: a counter where there is none."""


def _driver_counter(device: torch.device) -> Counter:
    driver, handle = ctypes.CDLL(LIBRARY), ctypes.c_void_p()
    ask = driver.nvmlDeviceGetTotalEnergyConsumption
    # By its own id: the driver counts devices that CUDA_VISIBLE_DEVICES hides.
    name = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
    if driver.nvmlInit_v2() or driver.nvmlDeviceGetHandleByUUID(name.encode(), ctypes.byref(handle)):
        return unknown

    def read() -> float | None:
        millijoules = ctypes.c_ulonglong()
        return None if ask(handle, ctypes.byref(millijoules)) else millijoules.value / 1000

    return read


class Meter:
    """A training's joules from its first epoch on, in a file beside its checkpoints, so that it may be interrupted.

    Known only where every epoch was counted; one that was trained again counts once, as its seconds do.
    """

    def __init__(self, path: Path, read: Counter):
        self.path, self.read = path, read
        self.known: tuple[int, float] | None = _kept(path)  # epochs, and the joules of all of them
        self.before = read()

    def epoch(self, number: int) -> None:
        """Count an epoch that has just become durable; epochs count from 1."""
        now, before = self.read(), self.before
        self.before = now
        epochs, joules = (0, 0.0) if number == 1 else self.known or (-1, 0.0)
        if now is None or before is None or now < before or epochs != number - 1:
            self.known = None
            return
        self.known = number, joules + now - before
        try:
            write_atomically(self.path, json.dumps(self.known).encode())
        except (OSError, UserError):  # no reason to lose a run
            self.known = None

    def joules(self, epochs: int) -> float | None:
        """Return what so many epochs took, all there are; None where that is not known."""
        return self.known[1] if self.known is not None and self.known[0] == epochs else None


def _kept(path: Path) -> tuple[int, float] | None:
    try:
        epochs, joules = json.loads(path.read_text())
        return int(epochs), float(joules)
    except (OSError, ValueError, TypeError, OverflowError):
        return None
