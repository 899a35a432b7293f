"""The sentences MLflow shows with a report, an experiment and a run: what was published, and where it stands."""

from collections.abc import Iterable, Mapping
from typing import Any

_TEXT = 500


def line(value: Any, limit: int = _TEXT) -> str:
    """Return a note's text on one line, cut to a length."""
    plain = " ".join(str(value).split())
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"


def published_sentence(report: str, experiment: str, notes: Mapping[str, Any]) -> str:
    """Return the plain sentence that says what is reproduced and what was published."""
    paper = line(notes.get("report") or report)
    if not notes.get("published"):
        return f"{experiment} of “{paper}”; no published number is bound to it."
    where = f" ({line(notes['where'])})" if notes.get("where") else ""
    return f"{experiment} of “{paper}”: published {line(notes['published'])}{where}."


def judged_note(report: str, experiment: str, notes: Mapping[str, Any], said: str, more: Iterable[str]) -> str:
    """Return the note of an experiment with verdicts: first what was published and the verdict, then what is behind."""
    first = published_sentence(report, experiment, notes).removesuffix(".")
    return "\n\n".join([f"{first}; {line(said)}.", *map(line, more)])


def report_note(report: str, profile: str, notes: Mapping[str, Any]) -> str:
    """Return a report's note; its first sentence, which MLflow's lists print raw, holds the headline numbers.

    `notes["headline"]` names them all; without it, the number bound to the experiment at hand stands for them.
    """
    paper, headline = line(notes.get("report") or report), notes.get("headline")
    if not headline and notes.get("published"):
        headline = f"{notes['published']} ({notes['where']})" if notes.get("where") else notes["published"]
    first = f"“{paper}” published {line(headline)}." if headline else f"Runs of “{paper}”, beside what it published."
    if profile != "full":
        return f"{first}\n\nOnly {profile} runs here: they show that everything works, and count for nothing."
    return f"{first}\n\nA parent run is an experiment with the means over its seeds, a child run is one seed."
