"""How much longer a training takes while something else is done in a thread beside it.

What trains is stood in for by small steps on the CPU in one thread, each with a few calls into PyTorch, as a step that
launches work on a device has them: what holds Python's lock, or takes the core away, is felt by both.
"""

import time
from collections.abc import Callable
from threading import Thread

import torch

SIZE, CALLS, ALONE_S = 192, 4, 1.0


class Steps:
    """Steps that only this thread makes."""

    def __init__(self) -> None:
        self.weights = torch.full((SIZE, SIZE), 1 / SIZE)

    def make(self, going_on: Callable[[], bool]) -> tuple[float, int]:
        """Make steps as long as something goes on; return the seconds that took, and how many they were."""
        start, count = time.perf_counter(), 0
        while going_on():
            x = self.weights
            for _ in range(CALLS):
                x = torch.relu(x @ self.weights)
            count += 1
        return time.perf_counter() - start, count

    def lost(self, thread: Thread) -> tuple[float, float]:
        """Start a thread and make steps until it has ended; return (its seconds, those that the steps lost to it).

        Lost is what the steps took beyond as many steps alone, which are timed right before.
        """
        until = time.perf_counter() + ALONE_S
        took, count = self.make(lambda: time.perf_counter() < until)
        alone = took / count
        thread.start()
        took, count = self.make(thread.is_alive)
        return took, took - count * alone


class OneThread:
    """A context in which PyTorch computes in one thread."""

    def __enter__(self) -> None:
        self.before = torch.get_num_threads()
        torch.set_num_threads(1)

    def __exit__(self, *_rest: object) -> None:
        torch.set_num_threads(self.before)
