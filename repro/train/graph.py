"""A training step as one launch: CUDA graphs of a step, for a full batch and for the smaller last one.

A captured step reads everything that changes from memory on the device: the number of the step, its learning rate,
the epoch's order and draws. So the host issues one launch a step and waits for nothing. The step itself is the
stepper's own (`Stepper.step_at`), which also runs uncaptured.
"""

import gc
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch

from repro.train import memory
from repro.train.optim import Adagrad, set_lr
from repro.train.step import Epoch, Stepper

#: steps before capturing: memory is reserved, kernels are loaded and chosen
WARM = 3
#: runs that share a device (threads) capture one at a time
_CAPTURING = threading.Lock()
#: graphs whose capture failed, held for good: PyTorch before 2.12 lets its allocator go on asking them
_BROKEN: list[torch.cuda.CUDAGraph] = []
#: optimizers whose step needs nothing of the host; PyTorch's Adagrad counts on it
CAPTURABLE = (torch.optim.SGD, torch.optim.Adam, torch.optim.RAdam, torch.optim.RMSprop, Adagrad)


class _Streams(threading.local):
    """A thread's streams for capturing, by device."""

    def __init__(self) -> None:
        self.kept: dict[torch.device, torch.cuda.Stream] = {}


_STREAMS = _Streams()


class Graphed:
    """Replays a training's steps; made once a training, with the optimizer whose state it will go on with.

    `capture=False` runs the same steps uncaptured: what a graph would replay, on any device.
    """

    def __init__(self, stepper: Stepper, optimizer: torch.optim.Optimizer, capture: bool = True):
        device = stepper.device
        self.stepper, self.optimizer, self.capture = stepper, optimizer, capture
        self.at = torch.zeros((), dtype=torch.int64, device=device)
        self.rate = torch.zeros((), device=device)
        self.rates = torch.zeros(stepper.steps, device=device)
        self.epoch: Epoch | None = None
        self.graphs: dict[int, torch.cuda.CUDAGraph] = {}
        #: the most memory that was held by the end of capturing: replays take none beyond it
        self.memory_gb: float | None = None
        #: nothing could be captured, though that was tried
        self.failed = False
        tail = stepper.seen - stepper.batch_size * (stepper.steps - 1)
        self.sizes = [stepper.batch_size] * (stepper.steps - 1) + [tail]

    def run(self, draws: Epoch, rates: Sequence[float], on_step: Callable[[int, int], None]) -> None:
        """Train an epoch; `rates` is the learning rate of each step."""
        self.ready(draws, rates)
        for i, size in enumerate(self.sizes):
            if self.capture:
                self.graphs[size].replay()
            else:
                set_lr(self.optimizer, rates[i])
                self._step(size)
            on_step(i + 1, len(self.sizes))

    def ready(self, draws: Epoch, rates: Sequence[float]) -> None:
        """Put an epoch's draws and rates where the graphs read them, and capture where nothing is captured yet."""
        self._take(draws, rates)
        if self.capture and not self.graphs:
            self._prepare()

    def again(self) -> None:
        """Replay an epoch's first step, to see how long one takes."""
        self.at.zero_()
        self.graphs[self.sizes[0]].replay()
        self.at.zero_()

    def forget(self) -> None:
        """Empty the optimizer's state where it stands, as a new optimizer's would be."""
        for value in self._moments():
            value.zero_()

    def _take(self, draws: Epoch, rates: Sequence[float]) -> None:
        self.at.zero_()
        self.rates.copy_(torch.tensor(rates, dtype=torch.float32))
        if self.epoch is None:
            self.epoch = draws
            return
        self.epoch.order.copy_(draws.order)
        for held, new in zip(self.epoch.drawn, draws.drawn, strict=True):
            held.copy_(new)
        if self.epoch.keep is not None and draws.keep is not None:
            self.epoch.keep.copy_(draws.keep)

    def _step(self, size: int) -> None:
        assert self.epoch is not None
        self.rate.copy_(self.rates.index_select(0, self.at.view(1)).view(()))
        self.stepper.step_at(self.at, size, self.epoch, self.optimizer)
        self.at.add_(1)

    def _prepare(self) -> None:
        """Capture the steps, and leave weights and moments as they were; where that fails, go on uncaptured."""
        before = self._snapshot()
        given = [group["lr"] for group in self.optimizer.param_groups]
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate  # its kernels read it from the device
        try:
            with _CAPTURING:
                self._capture()
            self.memory_gb = memory.peak_gb(self.stepper.device)
        except (RuntimeError, ValueError, TypeError) as error:  # an operation, or the optimizer, that will not have it
            _BROKEN.extend(self.graphs.values())
            self.graphs, self.capture, self.failed = {}, False, True
            # Ending a capture that an error has broken raises another one, which hides the first.
            why = f"{error} (after: {error.__context__})" if error.__context__ else str(error)
            print(f"warning: steps are launched kernel by kernel, no CUDA graph: {why}", file=sys.stderr, flush=True)
        finally:
            for group, rate in zip(self.optimizer.param_groups, given, strict=True):
                group["lr"] = rate
            self.optimizer.zero_grad(set_to_none=True)
            self._put_back(before)
            self.at.zero_()

    def _capture(self) -> None:
        device = self.stepper.device
        own, side = torch.cuda.current_stream(device), stream(device)
        collecting = gc.isenabled()
        side.wait_stream(own)
        try:
            with torch.cuda.stream(side):
                for size in sorted(set(self.sizes)):
                    for _ in range(WARM):
                        self.at.zero_()
                        self._step(size)
                self.at.zero_()
            own.wait_stream(side)
            gc.disable()  # an older graph that is collected now would break the capture
            pool = None
            for size in sorted(set(self.sizes), reverse=True):
                self.graphs[size] = torch.cuda.CUDAGraph()
                # One pool: the graphs are replayed one after the other, never side by side.
                mode = "thread_local"  # other threads may go on with their own runs
                with torch.cuda.graph(self.graphs[size], pool=pool, stream=side, capture_error_mode=mode):
                    self._step(size)
                pool = self.graphs[size].pool()
        finally:  # also where it failed: what was begun is over before weights are put back
            if collecting:
                gc.enable()
            torch.cuda.set_stream(own)
            own.wait_stream(side)

    def _snapshot(self) -> dict[str, Any]:
        weights = {name: value.clone() for name, value in self.stepper.model.state_dict().items()}
        moments = {id(value): value.clone() for value in self._moments()}
        return {"weights": weights, "moments": moments}

    @torch.no_grad()
    def _put_back(self, before: dict[str, Any]) -> None:
        for name, value in self.stepper.model.state_dict().items():
            value.copy_(before["weights"][name])
        for value in self._moments():
            if id(value) in before["moments"]:
                value.copy_(before["moments"][id(value)])
            else:  # the warm-up began it, and all of these begin at 0
                value.zero_()

    def _moments(self) -> list[torch.Tensor]:
        every = (value for state in self.optimizer.state.values() for value in state.values())
        return [value for value in every if isinstance(value, torch.Tensor)]


def stream(device: torch.device) -> torch.cuda.Stream:
    """Return the stream to capture on: the thread's own, or where that is the default one, another that it keeps.

    On the default stream nothing can be captured. PyTorch has 32 others and hands them out in turn: a new one for each
    capture would some day be the stream that another run computes on, whose work would be captured as well.
    """
    own = torch.cuda.current_stream(device)
    if own != torch.cuda.default_stream(device):
        return own
    if device not in _STREAMS.kept:
        _STREAMS.kept[device] = torch.cuda.Stream(device)
    return _STREAMS.kept[device]


def possible(stepper: Stepper, optimizer: torch.optim.Optimizer) -> bool:
    """Whether a training's steps can be captured: on CUDA, with an optimizer that needs nothing of the host."""
    return stepper.device.type == "cuda" and isinstance(optimizer, CAPTURABLE)
