"""The operations of AutoAugment and AugMix on a batch, value for value as Pillow computes them on x86-64.

Each image has its own operation (an index into `OPS`; `IDENTITY` leaves it alone) and magnitude. A magnitude is what
Pillow is given: posterize the bits kept, solarize the threshold, translate the whole pixels read to the right or
below, the enhancers their factor; rotate and shear take a matrix, read by a resampling of `warp`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

from repro.augment.geometry import SIDE
from repro.augment.warp import shift

#: AugMix's order: its nine operations, the four more of "all operations", then what AutoAugment adds
OPS = ("autocontrast", "equalize", "posterize", "rotate", "solarize", "shear_x", "shear_y", "translate_x",
       "translate_y", "color", "contrast", "brightness", "sharpness", "invert")  # fmt: skip
CODE = {name: code for code, name in enumerate(OPS)}
IDENTITY = len(OPS)
#: images computed at once on subsets: their float64 intermediates stay in a core's cache
CHUNK = 32
_WHOLE = ContextVar("whole", default=False)
WARPED = ("rotate", "shear_x", "shear_y")

#: flat images (B, 3, 1024) and their parameter (magnitude, or matrix) -> flat images
Kernel = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def apply(
    images: torch.Tensor, code: torch.Tensor, magnitude: torch.Tensor, matrix: torch.Tensor, warp: Kernel
) -> torch.Tensor:
    """Apply one operation to each image: uint8 (B, 3, 32, 32) -> uint8 (B, 3, 32, 32), contiguous.

    `code` (B,) integer, `magnitude` (B,) float64, `matrix` (B, 6) as `warp` wants it. On the CPU
    an operation runs on its images only, which on an accelerator would wait for the host; there on all images, and its
    images are kept.
    """
    subsets = images.device.type == "cpu" and not _WHOLE.get()
    flat = images.flatten(2).contiguous()
    out = flat.clone()
    warped = torch.stack([code == CODE[name] for name in WARPED]).any(0)
    jobs: list[tuple[torch.Tensor, Kernel, torch.Tensor]] = [(warped, warp, matrix)]
    jobs += [(code == CODE[name], kernel, magnitude) for name, kernel in KERNELS.items()]
    for chosen, kernel, parameter in jobs:
        if not subsets:
            out = torch.where(chosen[:, None, None], kernel(flat, parameter), out)
            continue
        for index in chosen.nonzero()[:, 0].split(CHUNK):
            if len(index):
                out[index] = kernel(flat[index], parameter[index])
    return out.view(images.shape)


@contextmanager
def as_on_accelerators() -> Iterator[None]:
    """Let a CPU, too, run each operation on all images: what an accelerator would be given can be counted there."""
    before = _WHOLE.set(True)
    try:
        yield
    finally:
        _WHOLE.reset(before)


def autocontrast(flat: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    """Stretch each channel to 0..255; a channel of one value stays."""
    low, high = (bound.double() for bound in flat.aminmax(dim=2, keepdim=True))
    span = high - low
    # A quotient of tensors: torch turns number / tensor into a reciprocal and a product, rounded twice.
    scale = torch.where(span > 0, torch.full_like(span, 255.0) / span, 1.0)
    offset = torch.where(span > 0, -low * scale, 0.0)
    # Product and sum rounded one by one and truncated, as Python does: fused, a 255 may become 254.
    return (flat.double() * scale + offset).clamp_(0, 255).to(torch.uint8)


def equalize(flat: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    """Flatten each channel's histogram; a channel with too few pixels below its top value stays."""
    index = flat.long()
    # One flat histogram of all channels: in one dimension scatter_add_ is deterministic on CUDA too.
    channel = torch.arange(flat.shape[0] * 3, device=flat.device).view(-1, 3, 1) * 256
    counts = torch.zeros(flat.shape[0] * 3 * 256, dtype=torch.int32, device=flat.device)
    counts.scatter_add_(0, (index + channel).flatten(), torch.ones_like(counts[:1]).expand(flat.numel()))
    counts = counts.view(-1, 3, 256)
    top = counts.gather(2, flat.amax(dim=2, keepdim=True).long())
    step = (SIDE * SIDE - top) // 255
    below = counts.cumsum(2, dtype=torch.int32) - counts
    table = ((step // 2 + below) // step.clamp(min=1)).clamp_(max=255).to(torch.uint8)
    return torch.where(step > 0, table.gather(2, index), flat)


def posterize(flat: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
    """Keep the highest bits of each value, 0 to 8."""
    mask = 256 - (1 << (8 - bits.clamp(0, 8).int()))
    return flat & mask.to(torch.uint8)[:, None, None]


def solarize(flat: torch.Tensor, threshold: torch.Tensor) -> torch.Tensor:
    """Invert values from the threshold up."""
    # For whole values, below the threshold is below its ceiling.
    return torch.where(flat < threshold.ceil().to(torch.int16)[:, None, None], flat, ~flat)


def invert(flat: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    """255 - value."""
    return ~flat


def translate_x(flat: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """Read each pixel so many columns to the right."""
    return shift(flat, torch.zeros_like(pixels), pixels)


def translate_y(flat: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """Read each pixel so many rows below."""
    return shift(flat, pixels, torch.zeros_like(pixels))


def color(flat: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Blend with the grey image."""
    return _blend(_grey(flat), flat, factor)


def contrast(flat: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Blend with the grey image's mean, rounded half up."""
    total = _grey(flat).sum(dim=2, keepdim=True)
    return _blend((2 * total + SIDE * SIDE) // (2 * SIDE * SIDE), flat, factor)


def brightness(flat: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Blend with black."""
    return _blend(torch.zeros_like(flat[:, :1, :1]), flat, factor)


def sharpness(flat: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Blend with the smoothed image (3x3, centre weighted 5, divided by 13; the outermost pixels are copied)."""
    image = flat.view(-1, 3, SIDE, SIDE)
    wide = image.to(torch.int16)
    rows = wide[:, :, :-2] + wide[:, :, 1:-1] + wide[:, :, 2:]
    total = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * wide[:, :, 1:-1, 1:-1]
    smooth = image.clone()
    # A thirteenth is never within 1/26 of a tie: float32 rounds it right.
    smooth[:, :, 1:-1, 1:-1] = ((total.float() + 6.5) / 13).to(torch.uint8)
    return _blend(smooth.flatten(2), flat, factor)


def _grey(flat: torch.Tensor) -> torch.Tensor:
    """Return Pillow's luma, int32 (B, 1, 1024)."""
    red, green, blue = flat.int().unbind(1)
    return ((19595 * red + 38470 * green + 7471 * blue + 32768) >> 16)[:, None]


def _blend(base: torch.Tensor, flat: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Return base + factor * (image - base): float32, product and sum rounded one by one, clamped, truncated."""
    start = base.float()
    step = (flat.float() - start).mul_(factor.float()[:, None, None])
    return step.add_(start).clamp_(0, 255).to(torch.uint8)


KERNELS: dict[str, Kernel] = {
    "autocontrast": autocontrast, "equalize": equalize, "posterize": posterize, "solarize": solarize,
    "translate_x": translate_x, "translate_y": translate_y, "color": color, "contrast": contrast,
    "brightness": brightness, "sharpness": sharpness, "invert": invert,
}  # fmt: skip
