"""What runs take of a GPU's memory, as records of such runs have it."""

from collections.abc import Iterable

from repro.record import RunRecord
from repro.run import Options
from repro.spec.identity import Run, recipe_hash

CURVE = "gpu/mem_gb"


def measured(runs: Iterable[Run], records: Iterable[RunRecord], options: Options) -> dict[str, float]:
    """Return key -> the most that a run of the same recipe, profile and class of environment took, in 10^9 bytes.

    Runs that none of the records measured are left out.
    """
    most: dict[tuple[str, str], float] = {}
    for record in records:
        if record.env_class == options.env_class and CURVE in record.curves and len(record.curves[CURVE]):
            of = record.recipe_hash, record.profile
            most[of] = max(most.get(of, 0.0), float(record.curves[CURVE].max()))
    hashes = {run.key: (recipe_hash(run.recipe), run.profile) for run in runs}
    return {key: most[of] for key, of in hashes.items() if of in most}
