"""Several runs of one experiment on one CUDA device at once, each on a thread and a stream of its own.

cuDNN keeps the plans that it tried out for each thread. The backward pass has one thread for a process, so here it goes
on with those of the arms before, where runs that share a device from the start have none: the figure flatters a little.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import torch

from repro.bench.epochs import Arm


class Team:
    """Arms that train side by side, as runs do that share a device; made one after the other, each in its thread."""

    def __init__(self, make: Callable[[], Arm], copies: int, device: torch.device, clock: Callable[[], float]):
        self.threads = [ThreadPoolExecutor(1, initializer=_own_stream, initargs=(device,)) for _ in range(copies)]
        self.arms: list[Arm] = []
        tried = torch.backends.cudnn.benchmark
        torch.backends.cudnn.benchmark = False  # as where runs share a device: `environment.prepare`
        try:
            for thread in self.threads:
                # A capture forbids others to wait for the device: the next one begins when this one is ready.
                self.arms.append(thread.submit(_made, make, clock).result())
        except BaseException:
            self.close()
            raise
        finally:
            torch.backends.cudnn.benchmark = tried

    @property
    def prepare_s(self) -> float:
        """Seconds until all of them were ready."""
        return sum(arm.prepare_s for arm in self.arms)

    def train(self) -> None:
        """Issue an epoch of each, all at once; the device is not waited for."""
        issued = [thread.submit(arm.train, 1) for thread, arm in zip(self.threads, self.arms, strict=True)]
        for each in issued:
            each.result()

    def close(self) -> None:
        """End the threads."""
        for thread in self.threads:
            thread.shutdown()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the threads."""
        self.close()


def _made(make: Callable[[], Arm], clock: Callable[[], float]) -> Arm:
    arm = make()
    arm.warm_up(clock)
    return arm


def _own_stream(device: torch.device) -> None:
    """Let this thread work on a stream of its own, where the device has streams."""
    if device.type == "cuda":
        if device.index is not None:
            torch.cuda.set_device(device)
        torch.cuda.set_stream(torch.cuda.Stream(device))
