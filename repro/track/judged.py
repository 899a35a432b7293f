"""What a parent run shows of its experiment's verdicts: plain words, numbers and files, made by the layer above."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from repro.track.notes import line
from repro.track.projection import digest


@dataclass(frozen=True)
class Judged:
    """The verdict of an experiment's main claim, and what is known of its other claims.

    `word` is the verdict of claim `claim`, `said` the words that end the note's first sentence, `more` its further
    paragraphs, `tally` how many claims came to which word. `numbers` are the `summary/*` of a main claim that is one
    number, in its unit (points for percentages): `mean`, `std`, `n_seeds`, `published`, `delta`, `low`, `high`,
    `margin`, `s_star`, `agreement`; empty for a comparison. `files`: artifacts; `draw` makes pictures of their content.
    """

    claim: str
    word: str
    said: str
    more: Sequence[str] = ()
    tally: str = ""
    provisional: bool = False
    numbers: Mapping[str, float | None] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    draw: Callable[[], Mapping[str, bytes]] = field(default=dict, compare=False)

    @property
    def stamp(self) -> str:
        """What tells two of them apart, the pictures aside: they follow from the rest, and drawing takes long."""
        files = {name: digest(data) for name, data in self.files.items()}
        plain = [self.claim, self.word, self.said, list(self.more), self.tally, self.provisional]
        return digest(json.dumps([*plain, dict(self.numbers), files], sort_keys=True).encode())

    def tags(self) -> dict[str, str]:
        """Return the tags: the word alone, for columns and filters, and what is to be known beside it."""
        found = {
            "repro.verdict": self.word, "repro.claim": self.claim, "repro.verdicts": self.tally,
            "repro.provisional": "true" if self.provisional else "",
        }  # fmt: skip
        return {key: line(value) for key, value in found.items() if value}

    def summary(self, metric: str) -> dict[str, float]:
        """Return `summary/*` without their prefix, as those of an experiment without verdicts are named."""
        stem = "acc" if metric == "acc_pct" else metric
        names = {"mean": f"{stem}_mean", "std": f"{stem}_std", "delta": "delta_pp" if stem == "acc" else "delta"}
        digits = 3 if metric.endswith("_pct") else 4
        finite = {key: value for key, value in self.numbers.items() if value is not None and math.isfinite(value)}
        return {names.get(key, key): round(value, digits) for key, value in finite.items()}
