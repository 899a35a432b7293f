"""The operations of AutoAugment and AugMix on one image in a Triton program: value for value those of `ops` and `warp`.

An image is 1024 pixels, each an int32 of red, green and blue in its three low bytes: a gather then moves all three.
Every product, sum and quotient of floats is to be rounded on its own: kernels of these are launched with `EXACT`.
"""

import triton
import triton.language as tl

from repro.augment.ops import CODE, IDENTITY

#: how a kernel is compiled: no product fused with a sum, and warps a program
EXACT = {"enable_fp_fusion": False, "num_warps": 8}

PIXELS, LAST = tl.constexpr(1024), tl.constexpr(31)
AUTOCONTRAST, EQUALIZE = tl.constexpr(CODE["autocontrast"]), tl.constexpr(CODE["equalize"])
POSTERIZE, SOLARIZE = tl.constexpr(CODE["posterize"]), tl.constexpr(CODE["solarize"])
ROTATE, INVERT = tl.constexpr(CODE["rotate"]), tl.constexpr(CODE["invert"])
SHEAR_X, SHEAR_Y = tl.constexpr(CODE["shear_x"]), tl.constexpr(CODE["shear_y"])
TRANSLATE_X, TRANSLATE_Y = tl.constexpr(CODE["translate_x"]), tl.constexpr(CODE["translate_y"])
COLOR, CONTRAST = tl.constexpr(CODE["color"]), tl.constexpr(CODE["contrast"])
SHARPNESS, NONE = tl.constexpr(CODE["sharpness"]), tl.constexpr(IDENTITY)


@triton.jit
def channels(image):
    """Return red, green and blue of pixels."""
    return image & 255, (image >> 8) & 255, (image >> 16) & 255


@triton.jit
def packed(red, green, blue):
    """Return pixels of red, green and blue, each 0 to 255."""
    return red | (green << 8) | (blue << 16)


@triton.jit
def _stretched(value):
    """Return autocontrast of a channel: float64, as `ops.autocontrast`."""
    low, high = tl.min(value, 0), tl.max(value, 0)
    span = (high - low).to(tl.float64)
    scale = tl.where(high > low, 255.0 / tl.where(high > low, span, 1.0), 1.0)
    offset = tl.where(high > low, -low.to(tl.float64) * scale, 0.0)
    result = value.to(tl.float64) * scale + offset
    return tl.minimum(tl.maximum(result, 0.0), 255.0).to(tl.int32)


@triton.jit
def _flattened(value):
    """Return equalize of a channel, as `ops.equalize`."""
    counts = tl.histogram(value, 256)
    top = tl.sum(tl.where(tl.arange(0, 256) == tl.max(value, 0), counts, 0), 0)
    step = (PIXELS - top) // 255
    below = tl.cumsum(counts, 0) - counts
    table = tl.minimum((step // 2 + below) // tl.maximum(step, 1), 255)
    return tl.where(step > 0, tl.gather(table, value, 0), value)


@triton.jit
def _read(image, y, x):
    """Gather whole pixels, as `warp._read`: outside is black."""
    inside = ((y | x) & ~LAST) == 0
    return tl.where(inside, tl.gather(image, tl.where(inside, y * (LAST + 1) + x, 0), 0), 0)


@triton.jit
def _between(first, second, part):
    return (second - first) * part + first


@triton.jit
def _weighted(a, b, c, d, shift: tl.constexpr, dx, dy):
    """Return one channel between four neighbours, above left to below right."""
    a, b = ((a >> shift) & 255).to(tl.float64), ((b >> shift) & 255).to(tl.float64)
    c, d = ((c >> shift) & 255).to(tl.float64), ((d >> shift) & 255).to(tl.float64)
    return _between(_between(a, b, dx), _between(c, d, dx), dy).to(tl.int32)


@triton.jit
def _bilinear(image, a, b, c, d, e, f):
    """Read with a float64 matrix, as `warp.bilinear`."""
    place = tl.arange(0, PIXELS)
    y, x = (place >> 5).to(tl.float64) + 0.5, (place & LAST).to(tl.float64) + 0.5
    xin, yin = a * x + b * y + c, d * x + e * y + f
    inside = (xin >= 0.0) & (xin < 32.0) & (yin >= 0.0) & (yin < 32.0)
    xin, yin = xin - 0.5, yin - 0.5
    x0, y0 = tl.floor(xin), tl.floor(yin)
    dx, dy = xin - x0, yin - y0
    left = tl.minimum(tl.maximum(x0, 0.0), 31.0).to(tl.int32)
    right = tl.minimum(tl.maximum(x0 + 1.0, 0.0), 31.0).to(tl.int32)
    above = tl.minimum(tl.maximum(y0, 0.0), 31.0).to(tl.int32) * (LAST + 1)
    below = tl.minimum(tl.maximum(y0 + 1.0, 0.0), 31.0).to(tl.int32) * (LAST + 1)
    above_left, above_right = tl.gather(image, above + left, 0), tl.gather(image, above + right, 0)
    below_left, below_right = tl.gather(image, below + left, 0), tl.gather(image, below + right, 0)
    red = _weighted(above_left, above_right, below_left, below_right, 0, dx, dy)
    green = _weighted(above_left, above_right, below_left, below_right, 8, dx, dy)
    blue = _weighted(above_left, above_right, below_left, below_right, 16, dx, dy)
    return tl.where(inside, packed(red, green, blue), 0)


@triton.jit
def _smooth(image):
    """Return the image smoothed as in `ops.sharpness`; the outermost pixels are copied."""
    place = tl.arange(0, PIXELS)
    y, x = place >> 5, place & LAST
    inner = (y > 0) & (y < LAST) & (x > 0) & (x < LAST)
    red, green, blue = channels(image)
    # Ten bits a channel hold the sum of three values: neighbours of neighbours cost two gathers, not six.
    wide = red | (green << 10) | (blue << 20)
    up, down = tl.maximum(place - 32, 0), tl.minimum(place + 32, PIXELS - 1)
    rows = tl.gather(wide, up, 0) + wide + tl.gather(wide, down, 0)
    before = tl.gather(rows, tl.maximum(place - 1, 0), 0)
    after = tl.gather(rows, tl.minimum(place + 1, PIXELS - 1), 0)
    red = _thirteenth(before, rows, after, red, 0)
    green = _thirteenth(before, rows, after, green, 10)
    blue = _thirteenth(before, rows, after, blue, 20)
    return tl.where(inner, packed(red, green, blue), image)


@triton.jit
def _thirteenth(before, rows, after, centre, shift: tl.constexpr):
    total = ((before >> shift) & 1023) + ((rows >> shift) & 1023) + ((after >> shift) & 1023) + 4 * centre
    return (2 * total + 13) // 26


@triton.jit
def _blend(base, value, factor):
    """Blend in float32, as `ops._blend`."""
    start = base.to(tl.float32)
    result = (value.to(tl.float32) - start) * factor + start
    return tl.minimum(tl.maximum(result, 0.0), 255.0).to(tl.int32)


@triton.jit
def _enhanced(image, code, factor):
    """Apply color, contrast, brightness or sharpness."""
    red, green, blue = channels(image)
    grey = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16
    base = tl.zeros_like(image)
    if code == COLOR:
        base = packed(grey, grey, grey)
    elif code == CONTRAST:
        mean = (2 * tl.sum(grey, 0) + PIXELS) // (2 * PIXELS)
        base = base + packed(mean, mean, mean)
    elif code == SHARPNESS:
        base = _smooth(image)
    base_red, base_green, base_blue = channels(base)
    return packed(_blend(base_red, red, factor), _blend(base_green, green, factor), _blend(base_blue, blue, factor))


@triton.jit
def _moved(image, code, magnitude, matrix, NEAREST: tl.constexpr):
    """Apply rotate, a shear or a translation."""
    place = tl.arange(0, PIXELS)
    y, x = place >> 5, place & LAST
    if (code == TRANSLATE_X) | (code == TRANSLATE_Y):
        pixels = magnitude.to(tl.int32)
        y, x = y + tl.where(code == TRANSLATE_Y, pixels, 0), x + tl.where(code == TRANSLATE_X, pixels, 0)
        image = _read(image, y, x)
    else:
        a, b, c = tl.load(matrix), tl.load(matrix + 1), tl.load(matrix + 2)
        d, e, f = tl.load(matrix + 3), tl.load(matrix + 4), tl.load(matrix + 5)
        if NEAREST:
            image = _read(image, ((d * x + e * y + f) >> 16).to(tl.int32), ((a * x + b * y + c) >> 16).to(tl.int32))
        else:
            b = tl.where(code == SHEAR_X, magnitude, b)
            d = tl.where(code == SHEAR_Y, magnitude, d)
            image = _bilinear(image, a, b, c, d, e, f)
    return image


@triton.jit
def applied(image, code, magnitude, matrix, NEAREST: tl.constexpr):
    """Apply the operation `code` to one image, as `ops.apply`; `matrix` points at what `warp` takes."""
    red, green, blue = channels(image)
    if code == AUTOCONTRAST:
        image = packed(_stretched(red), _stretched(green), _stretched(blue))
    elif code == EQUALIZE:
        image = packed(_flattened(red), _flattened(green), _flattened(blue))
    elif code == POSTERIZE:
        bits = tl.minimum(tl.maximum(magnitude, 0.0), 8.0).to(tl.int32)
        image = image & ((256 - (1 << (8 - bits))) * 0x010101)
    elif code == SOLARIZE:
        threshold = tl.ceil(magnitude).to(tl.int32)
        red, green = tl.where(red < threshold, red, 255 - red), tl.where(green < threshold, green, 255 - green)
        image = packed(red, green, tl.where(blue < threshold, blue, 255 - blue))
    elif code == INVERT:
        image = image ^ 0xFFFFFF
    elif (code >= COLOR) & (code <= SHARPNESS):
        image = _enhanced(image, code, magnitude.to(tl.float32))
    elif code != NONE:
        image = _moved(image, code, magnitude, matrix, NEAREST)
    return image
