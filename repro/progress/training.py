"""What is shown while runs are trained: bars on a terminal, plain lines elsewhere, failures only when quiet.

All three take the same calls, with plain values, so that they may also come from another process.
"""

import sys
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from repro.record import Entry
from repro.spec.identity import Run

if TYPE_CHECKING:
    from rich.console import Console

Echo = Callable[[str], None]


class Training(Protocol):
    """What one run in training says of itself; `key` is the run's."""

    def train(self, key: str, done: int, epochs: int) -> None:
        """Training begins, or goes on, after `done` of `epochs` epochs."""

    def step(self, key: str, done: int, of: int) -> None:
        """`done` of an epoch's steps have been issued; called at every step, so it costs next to nothing."""

    def epoch(self, key: str, entry: Entry, epochs: int) -> None:
        """An epoch is over and durable."""

    def waiting(self) -> None:
        """Nothing goes on; called every second. What ends a run between two steps ends it here too."""

    def note(self, key: str, text: str, problem: bool = False) -> None:
        """Something worth a line that does not end the run."""

    def end(self, key: str, state: str, text: str) -> None:
        """The run is trained, skipped, stopped or failed."""

    def trace(self, text: str) -> None:
        """Where in our code something went wrong."""


class Lines:
    """A line for each thing that happens."""

    shows_estimates = True

    def __init__(self, echo: Echo):
        self.echo, self.several = echo, False
        self.names: dict[str, str] = {}
        self.turn = ""  # the run whose turn has come

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        return None

    def plan(self, work: Mapping[str, float], seconds: bool, workers: int, beside: int = 1) -> None:
        """Learn what each run to be trained will take: seconds, or an amount of work in some other unit.

        `workers` share the work; each has `beside` runs at once, which is no faster than one after the other.
        """
        self.several = workers * beside > 1

    def say(self, text: str) -> None:
        """Show a line that belongs to no run."""
        self.echo(text)

    def begin(self, run: Run, number: int, total: int) -> None:
        """A run's turn has come."""
        self.names[run.key], self.turn = run.name, run.key
        self.say(f"[{number}/{total}] {run.name} ({run.profile}, {run.key})")

    def train(self, key: str, done: int, epochs: int) -> None:
        """Show nothing: the first epoch's line says it."""

    def step(self, key: str, done: int, of: int) -> None:
        """Show nothing."""

    def epoch(self, key: str, entry: Entry, epochs: int) -> None:
        """Show the epoch's losses and accuracies."""
        m = entry.metrics
        self.note(
            key,
            f"epoch {entry.epoch}/{epochs}  train {m['train/acc_pct']:.2f} %  test {m['test/acc_pct']:.2f} %"
            f"  loss {m['train/loss']:.4f}  {m['time/epoch_s']:.1f} s",
        )

    def waiting(self) -> None:
        """Show nothing."""

    def note(self, key: str, text: str, problem: bool = False) -> None:
        """Show a remark, with the run's name where several are trained at once, or where another's turn has come."""
        named = self.several or key != self.turn
        self.say(f"    {self.names[key]}: {text}" if named else f"    {text}")

    def end(self, key: str, state: str, text: str) -> None:
        """Show what became of the run."""
        self.note(key, text)

    def trace(self, text: str) -> None:
        """Show it on stderr."""
        print(text, file=sys.stderr)


class Quiet(Lines):
    """Only what went wrong."""

    shows_estimates = False

    def say(self, text: str) -> None:
        """Show nothing."""

    def note(self, key: str, text: str, problem: bool = False) -> None:
        """Show problems only."""
        if problem:
            self.echo(f"{self.names[key]}: {text}")

    def end(self, key: str, state: str, text: str) -> None:
        """Show failures only."""
        self.note(key, text, problem=state == "failed")


def terminal() -> "Console | None":
    """Return the terminal that stdout is, if it can redraw lines and has the bars' characters; else None."""
    if not sys.stdout.isatty():
        return None
    try:
        "✓‖✗·━╸╺┏".encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return None
    try:
        from rich.console import Console
    except ImportError:  # a bare node that has what training needs: plain lines do
        return None
    console = Console(highlight=False)
    return console if console.is_interactive else None


def display(echo: Echo, quiet: bool = False) -> Lines:
    """Return what fits where the output goes."""
    if quiet:
        return Quiet(echo)
    if console := terminal():
        from repro.progress.bars import Bars

        return Bars(console)
    return Lines(echo)
