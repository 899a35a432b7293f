"""AutoAugment and AugMix in one and two launches on CUDA, where they give what the operations one by one give.

The kernels are in `fused_kernels`, which needs triton; without it, or away from CUDA, the operations run one by one as
in `ops`. A `Kernels` tries its augmentation's kernels on the first batch of a device and takes them only if no value
differs. After that nothing here waits for the host, so that a step may be captured in a CUDA graph.
"""

import importlib.util
import sys
import textwrap
import threading
from collections.abc import Callable, Sequence

import torch

from repro.augment.geometry import SIDE, Scaling

#: (augmentation, device) whose kernels failed or differed, for as long as the program runs
_REFUSED: set[tuple[str, torch.device]] = set()
#: threads that share a device try, compile and warn one at a time
_TRYING = threading.Lock()


class Kernels:
    """Chooses between an augmentation's fused kernels and its operations one by one.

    `wanted` True or False chooses whatever the device; None takes the kernels on CUDA, if triton can be imported.
    """

    def __init__(self, name: str, wanted: bool | None = None):
        self.name, self.wanted = name, wanted
        self._tried: set[torch.device] = set()
        self._tables: dict[tuple[Scaling, torch.device], torch.Tensor] = {}

    def __call__(
        self, images: torch.Tensor, fused: Callable[[], torch.Tensor], single: Callable[[], torch.Tensor]
    ) -> torch.Tensor:
        """Return `fused()` where it can be had and gives what `single()` gives, else that, after a warning."""
        device = images.device
        if not len(images) or not self._chosen(device):
            return single()
        if device in self._tried:
            got = self._attempt(device, fused)
            return single() if got is None else got
        with _TRYING:
            return self._first(device, fused, single)

    def table(self, scale: Scaling, device: torch.device) -> torch.Tensor:
        """Return what `scale` makes of each value of each channel: float32 (3, 256)."""
        if (scale, device) in self._tables:
            return self._tables[scale, device]
        values = torch.arange(256, dtype=torch.uint8, device=device).view(256, 1, 1, 1).expand(256, 3, 1, 1)
        table = scale(values.contiguous()).view(256, 3).t().contiguous()
        if not _capturing(device):  # memory of a graph is written to by others
            self._tables[scale, device] = table
        return table

    def _chosen(self, device: torch.device) -> bool:
        if self.wanted is False or (self.name, device) in _REFUSED:
            return False
        return bool(self.wanted) or (device.type == "cuda" and importlib.util.find_spec("triton") is not None)

    def _first(
        self, device: torch.device, fused: Callable[[], torch.Tensor], single: Callable[[], torch.Tensor]
    ) -> torch.Tensor:
        """Return `single()`; take the kernels from the next batch on if they gave the same."""
        if _capturing(device):
            self._refuse(device, "they were not tried before a CUDA graph was captured")
            return single()
        got, expected = self._attempt(device, fused), single()
        if got is not None:
            differing = int(torch.count_nonzero(got != expected))
            if differing:
                self._refuse(device, f"{differing} of {expected.numel()} values differ")
            else:
                self._tried.add(device)
        return expected

    def _attempt(self, device: torch.device, fused: Callable[[], torch.Tensor]) -> torch.Tensor | None:
        """Return `fused()`, None where it cannot be compiled or launched."""
        if (self.name, device) in _REFUSED:
            return None
        try:
            return fused()
        except Exception as error:  # a compiler, a linker and a driver each raise their own
            self._refuse(device, textwrap.shorten(f"{type(error).__name__}: {error}", 200))
            return None

    def _refuse(self, device: torch.device, why: str) -> None:
        _REFUSED.add((self.name, device))
        print(
            f"warning: {self.name} runs operation by operation on {device}, its fused kernels are left out: {why}",
            file=sys.stderr, flush=True,
        )  # fmt: skip


def chains(images: torch.Tensor, code: torch.Tensor, magnitude: torch.Tensor, rotations: torch.Tensor) -> torch.Tensor:
    """Apply chains (B, views, width, depth) of operations, as `augmix.chains`: pixels (B, views, width, 1024).

    A pixel is an int32, red in its lowest byte: `planes` shows them as `augmix.chains` does. `rotations` (61, 6)
    float64 are the matrices of -30 to 30 degrees.
    """
    *drawn, depth = code.shape
    return _chain(images, code, magnitude, code, rotations, depth, nearest=False).view(*drawn, SIDE * SIDE)


def policy(images: torch.Tensor, entries: torch.Tensor, table: Sequence[torch.Tensor]) -> torch.Tensor:
    """Apply rows (B, depth) of a table (code, magnitude, 16.16 matrix): uint8 (B, 3, 32, 32), a view of pixels."""
    code, magnitude, matrix = table
    return planes(_chain(images, entries, magnitude, code, matrix, entries.shape[1], nearest=True))


def mix(
    images: torch.Tensor, pixels: torch.Tensor, weight: torch.Tensor, share: torch.Tensor, table: torch.Tensor
) -> torch.Tensor:
    """Mix chains of pixels with their images as `augmix.mix`: float32 (B, views, 3, 32, 32), each view channels_last.

    `table` (3, 256) holds the scaled values.
    """
    from repro.augment import fused_kernels as kernels
    from repro.augment.fused_ops import EXACT

    batch, views, width = weight.shape
    result = torch.empty(views, batch, SIDE, SIDE, 3, device=images.device)
    with torch.cuda.device_of(images):
        kernels.mix[batch * views, 3](
            images, pixels, table, weight.contiguous(), share.contiguous(), result, views, batch,
            *images.stride(), WIDTH=width, **EXACT,
        )  # fmt: skip
    return result.permute(1, 0, 4, 2, 3)


def planes(pixels: torch.Tensor) -> torch.Tensor:
    """Show pixels (..., 1024) int32 as uint8 (..., 3, 32, 32), without a copy."""
    return pixels.view(torch.uint8).view(*pixels.shape[:-1], SIDE, SIDE, 4)[..., :3].movedim(-1, -3)


def _chain(
    images: torch.Tensor, draws: torch.Tensor, magnitude: torch.Tensor, code: torch.Tensor, matrix: torch.Tensor,
    depth: int, nearest: bool,
) -> torch.Tensor:  # fmt: skip
    from repro.augment import fused_kernels as kernels
    from repro.augment.fused_ops import EXACT

    count = draws.numel() // depth
    result = torch.empty(count, SIDE * SIDE, dtype=torch.int32, device=images.device)
    with torch.cuda.device_of(images):
        kernels.chain[(count,)](
            images, result, draws.contiguous(), magnitude.contiguous(), code, matrix, count // len(images),
            *images.stride(), DEPTH=depth, NEAREST=nearest, **EXACT,
        )  # fmt: skip
    return result


def _capturing(device: torch.device) -> bool:
    if device.type != "cuda":
        return False
    with torch.cuda.device(device):
        return torch.cuda.is_current_stream_capturing()
