"""Claims of time: a ratio of seconds an epoch, measured side by side by `repro bench time`, never from records.

A round's two times make one ratio, so that what slows a whole round down slows both.
"""

from collections.abc import Sequence
from math import exp, log
from statistics import fmean, median, stdev
from typing import Any, NamedTuple

from repro.judge.printed import half_unit
from repro.judge.records import Pool
from repro.judge.rows import Row, Verdict, row
from repro.judge.statistics import Interval, equivalence, interval, log_ratios
from repro.judge.timings import Group
from repro.spec.claims import experiments_of
from repro.spec.schema import TimeClaim

#: times that differ by less than 5 % are alike: a few percent change with the version of a library
ALIKE = 1.05


def time(pool: Pool, claim: TimeClaim) -> Row:
    """State how many times as long an epoch of `longer` takes: the geometric mean over rounds, and its spread."""
    names = experiments_of(claim)
    given: dict[str, Any] = {
        "experiments": names, "what": f"`{claim.shorter}` in less time than `{claim.longer}`",
        "published": claim.ratio, "reference": claim.ratio, "decimals": claim.decimals,
    }  # fmt: skip
    group, stale = pool.timings.of(pool.report, names) if pool.profile == "full" else (None, "")
    if group is None:
        said = stale or "times are compared side by side on one device, never from records"
        verdict = Verdict("not judged", stale or "no measurement side by side yet")
        return row(pool.report, claim, "not measured", said, verdict=verdict, **given)
    seconds = _pairs(group, claim)
    ratios = [longer / shorter for longer, shorter in seconds]
    ours = exp(fmean(map(log, ratios)))
    given |= {"ours": ours, "n": len(ratios), "sd": stdev(ratios) if len(ratios) > 1 else None}
    if claim.ratio is not None:
        given["difference"] = ours - claim.ratio
    why = group.why_not(names)
    given |= {"verdict": _verdict(claim, ratios, group.env_class, why), "details": _details(group, claim, seconds, why)}
    return row(pool.report, claim, "measured", why, **given)


def _pairs(group: Group, claim: TimeClaim) -> list[tuple[float, float]]:
    longer, shorter = group.timed(claim.longer), group.timed(claim.shorter)
    assert longer is not None  # `Timings.of` has looked
    assert shorter is not None
    return list(zip(longer.seconds, shorter.seconds, strict=True))


def _details(group: Group, claim: TimeClaim, seconds: Sequence[tuple[float, float]], why: str) -> tuple[str, ...]:
    rounds = f"{len(seconds)} round{'' if len(seconds) == 1 else 's'}"
    longer, shorter = (median(each) for each in zip(*seconds, strict=True))
    device = group.machine.get("device", "a device that is not named")
    said = (
        f"{rounds} on {device}, {group.env_class}, {group.date[:10]}",
        f"seconds an epoch, the median: `{claim.longer}` {longer:.3g}, `{claim.shorter}` {shorter:.3g}",
    )
    return (*said, f"not judged: {why}") if why else said


def _verdict(claim: TimeClaim, ratios: Sequence[float], env_class: str, why: str) -> Verdict:
    found = log_ratios(ratios)
    if found is None:  # one round
        return Verdict("not judged", why, n=len(ratios), environment=env_class)
    judged = verdict(found, claim.ratio, claim.decimals) if not why else Judged("not judged", why, None, None)
    return Verdict(
        judged.word, judged.why, d=found.d, low=found.low, high=found.high, low95=found.low95, high95=found.high95,
        margin=judged.margin, n=len(ratios), s=stdev(map(log, ratios)), nu=found.nu, se=found.se, p=judged.p,
        environment=env_class,
    )  # fmt: skip


class Judged(NamedTuple):
    """A verdict's word, why, the margin in logarithms, and the one-sided probability behind a negative word."""

    word: str
    why: str
    margin: float | None
    p: float | None


def verdict(found: Interval, published: float | None = None, decimals: int = 2) -> Judged:
    """Judge the logarithm of a ratio, longer over shorter: beside the published ratio, else beside 1.

    Alone: no effect within 5 % of 1, else supported above 1 and reversed below it, by the 90 % interval. Beside a
    published ratio: reproduced within 5 % of it, widened by its rounding (90 %), else exceeded or fell short where
    the 95 % interval excludes it.
    """
    if published is None:
        return _alone(found)
    half = half_unit(decimals)
    limit = log(ALIKE) + (log(published + half) - log(max(published - half, half))) / 2
    away = interval(found.d - log(published), found.se, found.nu)
    said = f"{_shown(found)}, published {published:.{decimals}f} with a margin of {100 * (exp(limit) - 1):.1f} %"
    word = {"same": "reproduced", "above": "exceeded", "below": "fell short"}.get(equivalence(away, limit))
    return Judged(word or "inconclusive", said, limit, away.below())


def _alone(found: Interval) -> Judged:
    limit, said = log(ALIKE), _shown(found)
    if -limit < found.low and found.high < limit:
        return Judged("no effect", f"{said}, within 5 % of 1", limit, found.below())
    word = "supported" if found.low > 0 else "reversed" if found.high < 0 else "inconclusive"
    return Judged(word, said, limit, found.below())


def _shown(found: Interval) -> str:
    return f"90 % interval of the ratio {exp(found.low):.3f} to {exp(found.high):.3f}"
