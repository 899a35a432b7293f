"""What a run takes of a machine of a cluster: CPUs, or a part of a GPU."""

import math

ROOM = 1.25  # PyTorch's reserve on top of what tensors take
OWN_GB = 1.0  # CUDA's own part, once a process


def part_of_gpu(concurrent: int, memory_gb: float | None, gpu_gb: float | None) -> float:
    """Return the part of a GPU that a run takes: 1/`concurrent`, more where it was measured to need more of its memory.

    `memory_gb`: what its tensors took, `gpu_gb`: what the smallest GPU has, both in 10^9 bytes, None where not known.
    """
    part = 1 / concurrent
    if memory_gb is None or gpu_gb is None:
        return part
    return max(part, min(1.0, math.ceil(100 * (memory_gb * ROOM + OWN_GB) / gpu_gb) / 100))


def of_run(
    kind: str, concurrent: int, threads: int | None, memory_gb: float | None = None, gpu_gb: float | None = None
) -> dict[str, float]:
    """Return a run's resources as Ray names them: a CPU a thread, or a part of a GPU and a CPU."""
    if kind == "cuda":
        return {"num_gpus": part_of_gpu(concurrent, memory_gb, gpu_gb), "num_cpus": 1}
    return {"num_cpus": threads or 1}
