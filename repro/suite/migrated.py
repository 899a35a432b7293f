"""What two MLflow stores hold of the same runs, counted and compared."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from repro.report.markdown import plural

COLUMNS = ("what", "here", "there", "")
KINDS = ("metric rows", "params", "tags", "artifacts")


@dataclass
class Migrated:
    """What two stores hold of the same runs: run name -> kind -> (how many here, there, whether they are the same)."""

    to: str = ""
    runs: dict[str, dict[str, tuple[int, int, bool]]] = field(default_factory=dict)
    there: int = 0
    parents: tuple[int, int] = (0, 0)
    left: int = 0

    @property
    def same(self) -> bool:
        """Whether both hold the same of every run, below as many parents."""
        return len(self.runs) == self.there and self.parents[0] == self.parents[1] and not self.differing()

    def differing(self) -> dict[str, list[str]]:
        """Return the runs that differ, and in what."""
        found = {name: [kind for kind, (*_, same) in held.items() if not same] for name, held in self.runs.items()}
        return {name: kinds for name, kinds in found.items() if kinds}

    def totals(self) -> dict[str, tuple[int, int]]:
        """Return how many runs, rows, params, tags, artifacts and parents either side holds."""
        held = self.runs.values()
        sums = {kind: (sum(one[kind][0] for one in held), sum(one[kind][1] for one in held)) for kind in KINDS}
        return {"runs": (len(self.runs), self.there), **sums, "parent runs": self.parents}

    def lines(self) -> list[tuple[str, str, str, str]]:
        """Return the cells of the table."""
        odd = {kind for kinds in self.differing().values() for kind in kinds}
        return [
            (what, f"{here:,}", f"{there:,}", "differs" if what in odd or here != there else "same")
            for what, (here, there) in self.totals().items()
        ]

    def said(self) -> Iterator[str]:
        """Yield what the table does not say."""
        for name, kinds in self.differing().items():
            yield f"{name}: {', '.join(kinds)} differ"
        if self.left:
            yield f"left here: {plural(self.left, 'run')} without a whole record, in training or cut short"
        if self.same:
            yield f"{self.to} holds the same of {plural(len(self.runs), 'run')}, every row, param, tag and file"

    def plain(self) -> dict[str, Any]:
        """Return it for JSON."""
        totals = {what: {"here": here, "there": there} for what, (here, there) in self.totals().items()}
        return {"same": self.same, "to": self.to, **totals, "differing": self.differing(), "left": self.left}
