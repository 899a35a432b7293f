"""Printed numbers: what may stand behind a value with its decimals, rounded to the nearest or cut off.

91 with 0 decimals stands for all of [90.5, 91.5] where it was rounded, and for [91, 92) where the rest was cut off.
Of an exact half, either neighbour may have been printed.
"""

from repro.spec.schema import MeasuredClaim

#: of decimal fractions as floats: a difference that is none
SLACK = 1e-9


def half_unit(decimals: int) -> float:
    """Return half of the last printed digit's unit."""
    return 0.5 * 10.0**-decimals


def middle(value: float, decimals: int, rounding: str = "nearest") -> float:
    """Return the middle of what a printed number stands for: itself, or half a unit more where it was cut off."""
    return value + half_unit(decimals) if rounding == "floor" else value


def reference(claim: MeasuredClaim) -> float:
    """Return what a claim's number stands for: the middle of it."""
    return middle(claim.value, claim.decimals, claim.rounding)


def ends(value: float, decimals: int, rounding: str = "nearest") -> tuple[float, float]:
    """Return the lowest and the highest number that a printed one stands for."""
    centre, half = middle(value, decimals, rounding), half_unit(decimals)
    return centre - half, centre + half


def prints_as(value: float, decimals: int, rounding: str, found: float) -> bool:
    """Say whether a number would be printed as `value`."""
    if rounding == "floor":
        return -SLACK <= found - value < 10.0**-decimals - SLACK
    return abs(found - value) <= half_unit(decimals) + SLACK
