"""repro: do these published CIFAR-10 results hold?"""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import os

    from repro.report.frames import Results

__version__ = "0.1.0"


def load(
    reports: "str | os.PathLike[str]" = "reports",
    home: "str | os.PathLike[str] | Literal[False] | None" = None,
    profile: str = "full",
) -> "Results":
    """Return runs, claims and curves as pandas frames: `runs, claims, curves = repro.load()`.

    The runs are those of the committed evidence (`reports`) and of this machine's state folder (`home`; by default
    `$REPRO_HOME`, else `.repro`; False for none). Profile `full` holds what counts, as the pages do; `quick` and
    `smoke` hold the runs of theirs.

    runs: a row a run, repeated for each experiment that shares it (`shared`: not the first of them).
        report, experiment, profile, state, device, torch, commit, env_class, run_key, ledger (string);
        seed, fold, epochs trained (Int64); started (datetime, UTC); seconds, images_per_s, energy_j (float);
        used (bool): stands behind the numbers of `claims`, that is of a recipe the report's file holds today and
        the one chosen among several records of its run key; dirty (boolean): sources changed since the commit;
        withdrawn (string; the column is there where a record is): why, used is then False;
        `protocol/metric` such as `last/acc_pct` (float, percent or plain; missing where it was not measured);
        `batch_mean/sd_pct`, `last_batch/sd_pct`: over random orders of the images; `last_batch/n`: images in it;
        `last_batch/correct` of `total`: of all test images; `<protocol>/epoch`: the one that it chose, from 1.
    claims: a row a claim.
        report, claim, kind, experiment, protocol, metric, rounding, state, reason, declared, where, note (string);
        headline, provisional (bool); epoch, decimals, n (Int64); published as printed, reference (the number it
        stands for), ours, sd, difference = ours - reference (float). `ours` is, by kind: point, loss: the mean over n
        runs; count, data: by arithmetic; order, trend: a difference in the metric's unit; trajectory: the mean distance
        from the published points; confusion: images in other cells; convergence, time, band: a ratio.
        `experiment` of a comparison: its experiments' ids, joined by blanks. `decimals` is 0 where a kind prints none.
        verdict, why, and what it rests on: low, high (90 % interval), margin, s_star,
        agreement (the probability that the true difference lies within the margin), q (float);
        swing of an epoch's accuracy (float, points) and at_swing, the word if runs spread as much (string).
    curves: a row an epoch of each curve.
        report, experiment, run_key, metric such as `test/acc_pct` (string); seed, fold (Int64); shared, used (bool);
        epoch, from 1 (int64); value (float).
    """
    from pathlib import Path

    from repro.report import frames

    return frames.load(Path(reports), home, profile)
