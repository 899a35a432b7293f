"""What else uses a device just before it is timed: looked at while this process waits, so that it sees only others."""

import os
import subprocess
import time
from pathlib import Path

import torch

from repro.judge.timings import Round

#: percent of a GPU, or of all cores, that others may take of a device that is called idle
QUIET_GPU, QUIET_CPU = 5.0, 10.0
#: seconds to wait: the driver tells how busy a GPU was in up to the last second
WAIT_GPU_S, WAIT_CPU_S = 1.2, 0.5
_SMI = ("nvidia-smi", "--format=csv,noheader,nounits")
_STAT = Path("/proc/stat")


def look(device: torch.device) -> Round:
    """Return what else uses the device; `idle` is None where that cannot be known."""
    return _gpu(device) if device.type == "cuda" else _cpu()


def _gpu(device: torch.device) -> Round:
    torch.cuda.synchronize(device)
    time.sleep(WAIT_GPU_S)
    # By its own id: the driver counts devices that CUDA_VISIBLE_DEVICES hides.
    name = f"GPU-{getattr(torch.cuda.get_device_properties(device), 'uuid', '')}"
    try:
        busy = float(_ask(name, "--query-gpu=utilization.gpu"))
        # Only numbers count: where the driver may not tell, it says so in words.
        processes = [word for word in _ask(name, "--query-compute-apps=pid").split() if word.isdigit()]
    except (OSError, subprocess.SubprocessError, ValueError):
        return Round(idle=None)
    # One of those listed is this process, whose number may be another one outside its container.
    others = max(len(processes) - 1, 0)
    return Round(idle=busy <= QUIET_GPU and not others, busy_pct=busy, others=others)


def _ask(name: str, query: str) -> str:
    command = [*_SMI, "-i", name, query]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()


def _cpu() -> Round:
    try:
        before = _ticks()
        time.sleep(WAIT_CPU_S)
        busy, total = (after - then for after, then in zip(_ticks(), before, strict=True))
        share = 100 * busy / total
    except (OSError, ValueError, ZeroDivisionError):  # not Linux
        return _load()
    return Round(idle=share <= QUIET_CPU, busy_pct=round(share, 1))


def _ticks() -> tuple[int, int]:
    """Return the ticks in which the cores were busy, and all ticks, since the machine was started."""
    user, nice, system, idle, iowait, *rest = map(int, _STAT.read_text().split("\n", 1)[0].split()[1:9])
    busy = user + nice + system + sum(rest)
    return busy, busy + idle + iowait


def _load() -> Round:
    """Judge by the load average. It remembers this process's last minute: low says idle, high says nothing."""
    try:
        share = 100 * os.getloadavg()[0] / (os.cpu_count() or 1)
    except OSError:
        return Round(idle=None)
    return Round(idle=True if share <= QUIET_CPU else None, busy_pct=round(share, 1))
