"""What a training takes of its device's memory."""

import torch


def begin(device: torch.device) -> None:
    """Look anew from here on; a run that trains beside others in one process looks with them."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_gb(device: torch.device) -> float | None:
    """Return the most that this process has had of a CUDA device at once, in 10^9 bytes; None elsewhere.

    Tensors only; PyTorch's reserve and CUDA's own part come on top. What captured steps hold is seen while they are
    captured, not while they are replayed. Reads a counter of the host, so nothing waits.
    """
    if device.type != "cuda":
        return None
    return round(torch.cuda.max_memory_allocated(device) / 1e9, 3)


def least_gb(kind: str) -> float | None:
    """Return the memory of the smallest CUDA device that this process sees, in 10^9 bytes; None without one."""
    if kind != "cuda":
        return None
    devices = range(torch.cuda.device_count())
    return min((torch.cuda.get_device_properties(i).total_memory / 1e9 for i in devices), default=None)
