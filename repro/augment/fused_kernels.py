"""Chains of operations and their mix as Triton kernels: what `ops.apply` and `augmix.mix` compute, in a launch each.

One program works on one image of one chain, or on a part of one view of one image. Importing this module needs triton;
`fused` imports it where it is used.
"""

import triton
import triton.language as tl

from repro.augment.fused_ops import LAST, PIXELS, ROTATE, applied, packed

#: arguments whose values are not compiled in, since compiling inside a captured graph is not possible; nor is the
#: alignment of what is read value by value, which differs from part to part of an epoch's draws
STRIDES = ["batch_stride", "channel_stride", "y_stride", "x_stride"]
#: degrees of the steepest rotation, the last of a table of them
STEEPEST = tl.constexpr(30)


@triton.jit(
    do_not_specialize=["sharing", *STRIDES],
    do_not_specialize_on_alignment=["draws", "magnitudes", "codes", "matrices"],
)
def chain(
    images, result, draws, magnitudes, codes, matrices, sharing,
    batch_stride, channel_stride, y_stride, x_stride, DEPTH: tl.constexpr, NEAREST: tl.constexpr,
):  # fmt: skip
    """Apply `DEPTH` operations to one image: uint8 images -> int32 pixels (chains, 1024); `sharing` chains an image.

    Bilinear: `draws` (chains, DEPTH) are codes, `magnitudes` go with them, `matrices` (61, 6) are the rotations of
    -30 to 30 degrees. Nearest: `draws` are rows of the tables `codes`, `magnitudes` and `matrices`.
    """
    program = tl.program_id(0)
    place = tl.arange(0, PIXELS)
    source = images + (program // sharing).to(tl.int64) * batch_stride
    source += (place >> 5) * y_stride + (place & LAST) * x_stride
    red = tl.load(source).to(tl.int32)
    green = tl.load(source + channel_stride).to(tl.int32)
    blue = tl.load(source + 2 * channel_stride).to(tl.int32)
    image = packed(red, green, blue)
    for step in range(DEPTH):
        at = program * DEPTH + step
        code = tl.load(draws + at).to(tl.int32)
        if NEAREST:
            magnitude, matrix = tl.load(magnitudes + code), matrices + code * 6
            code = tl.load(codes + code).to(tl.int32)
        else:
            magnitude = tl.load(magnitudes + at)
            turn = tl.minimum(tl.maximum(magnitude + STEEPEST, 0.0), 2.0 * STEEPEST).to(tl.int32)
            matrix = matrices + tl.where(code == ROTATE, turn, STEEPEST) * 6
        image = applied(image, code, magnitude, matrix, NEAREST)
    tl.store(result + program.to(tl.int64) * PIXELS + place, image)


@triton.jit(do_not_specialize=["views", "batch", *STRIDES], do_not_specialize_on_alignment=["weights", "shares"])
def mix(
    images, chains, scaled, weights, shares, result, views, batch,
    batch_stride, channel_stride, y_stride, x_stride, WIDTH: tl.constexpr,
):  # fmt: skip
    """Mix the chains of one view of one image with the image: float32 (views, batch, 32, 32, 3), as `augmix.mix`.

    `scaled` (3, 256) holds what each value of a channel becomes.
    """
    program = tl.program_id(0).to(tl.int64)  # the image and its view
    image, view = program // views, program % views
    value = tl.program_id(1) * PIXELS + tl.arange(0, PIXELS)
    pixel, channel = value // 3, value % 3
    source = images + image * batch_stride + channel * channel_stride
    original = tl.load(source + (pixel >> 5) * y_stride + (pixel & LAST) * x_stride).to(tl.int32)
    table = scaled + channel * 256
    total = tl.zeros([PIXELS], tl.float32)
    for at in range(WIDTH):
        drawn = program * WIDTH + at
        one = (tl.load(chains + drawn * PIXELS + pixel) >> (8 * channel)) & 255
        total = total + tl.load(table + one) * tl.load(weights + drawn)
    share = tl.load(shares + program)
    mixed = tl.load(table + original) * (1.0 - share) + total * share
    tl.store(result + (view * batch + image) * (3 * PIXELS) + value, mixed)
