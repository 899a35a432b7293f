"""What CIFAR-10 itself decides: how many images and classes, and the sums that give a channel's mean and std.

The sums are over all pixels of the training images whose fingerprint is `repro.record.FULL_TRAIN`, as stored (0 to
255), in whole numbers, so that mean and standard deviation are arithmetic and depend on no library.
"""

from math import sqrt

TRAIN_IMAGES, TEST_IMAGES, CLASSES, SIDE = 50_000, 10_000, 10, 32
#: channel -> (sum of the training pixels, sum of their squares)
SUMS = {
    "red": (6_415_714_204, 1_007_102_432_534),
    "green": (6_295_060_180, 971_356_520_230),
    "blue": (5_829_907_619, 891_641_299_129),
}
_COUNTS = {
    "images": TRAIN_IMAGES + TEST_IMAGES, "train_images": TRAIN_IMAGES, "test_images": TEST_IMAGES, "classes": CLASSES,
    "images_per_class": (TRAIN_IMAGES + TEST_IMAGES) // CLASSES, "side": SIDE,
}  # fmt: skip


def fact(quantity: str, channel: str | None = None) -> float:
    """Return a quantity of a data claim; channel_mean and channel_std are of pixels in [0, 1], std with divisor n."""
    if channel is None:
        return float(_COUNTS[quantity])
    mean, std = moments(*SUMS[channel], TRAIN_IMAGES * SIDE**2)
    return mean if quantity == "channel_mean" else std


def moments(total: int, squares: int, n: int) -> tuple[float, float]:
    """Return mean and population standard deviation of n pixels / 255 from their sum and their sum of squares."""
    # Whole numbers up to the one division: no cancellation.
    return total / (255 * n), sqrt(n * squares - total**2) / (255 * n)
