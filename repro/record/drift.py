"""Drift: two records of one run key and one class of environment that ended otherwise."""

from typing import NamedTuple

from repro.record.run import RunRecord


class Difference(NamedTuple):
    """A final number (`protocol/metric`, or `state`) with its two values."""

    name: str
    one: float | str | None
    other: float | str | None


def drift(one: RunRecord, other: RunRecord) -> list[Difference]:
    """Return what two records of one key and class end otherwise in; nothing for other keys or classes (replicates)."""
    if (one.run_key, one.env_class) != (other.run_key, other.env_class):
        return []
    return differences(one, other)


def differences(one: RunRecord, other: RunRecord) -> list[Difference]:
    """Return where two records' ends differ: state, and the final numbers that both have, to the last bit.

    The last epoch's accuracy comes first.
    """
    found = [] if one.state == other.state else [Difference("state", one.state, other.state)]
    for protocol in sorted(one.finals.keys() & other.finals.keys(), key=lambda name: (name != "last", name)):
        ours, theirs = one.finals[protocol], other.finals[protocol]
        found += [
            Difference(f"{protocol}/{metric}", ours[metric], theirs[metric])
            for metric in sorted(ours.keys() & theirs.keys())
            if str(ours[metric]) != str(theirs[metric])  # NaN, which a run that diverged has, is NaN
        ]
    return found
