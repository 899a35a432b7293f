"""Bars on a terminal: the suite, and for each run in training its epochs and the steps of the epoch."""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.constrain import Constrain
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column

from repro.progress.pace import Pace, SuitePace, span
from repro.progress.training import Lines
from repro.record import Entry
from repro.spec.identity import Run

REFRESH_HZ = 4
STEPS_SHARE = 0.93  # of an epoch's time: 50,000 images trained on, at three passes each, then 10,000 measured
MARKS = {"trained": "[green]✓[/]", "skipped": "[dim]·[/]", "stopped": "[yellow]‖[/]", "failed": "[red]✗[/]"}


@dataclass
class Row:
    """One run in training: its two bars, and what it has reached."""

    run: Run
    epochs_bar: TaskID
    steps_bar: TaskID
    done: int = 0  # epochs
    first: int = 0  # epochs that were done when training began here
    epochs: int = 1
    pace: Pace = field(default_factory=Pace)
    first_step: tuple[int, float] | None = None  # of the epoch: its number, and when
    next_update: float = 0.0

    def images_per_s(self, step: int, now: float) -> float | None:
        """Return the rate since the epoch's first step, which may include set-up and is left out."""
        if self.first_step is None or step <= self.first_step[0]:
            self.first_step = (step, now)
            return None
        taken = now - self.first_step[1]
        return (step - self.first_step[0]) * self.run.recipe.budget.batch_size / taken if taken > 0 else None

    def share(self, epochs: float) -> float:
        """Return which share of what was to be trained here is done after so many epochs."""
        return (epochs - self.first) / max(1, self.epochs - self.first)


def _text(template: str, width: int) -> TextColumn:
    return TextColumn(template, table_column=Column(min_width=width, no_wrap=True))


@dataclass
class Inset:
    """Something drawn with the last columns left free: a `^C` echoed there does not wrap into a line of its own."""

    inner: RenderableType

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        yield Constrain(self.inner, options.max_width - 3)


class InsetProgress(Progress):
    """Rich's bars, inset."""

    def get_renderable(self) -> RenderableType:
        """Return the bars."""
        return Inset(super().get_renderable())


class Bars(Lines):
    """Bars that move in place; finished runs stay above them as lines."""

    def __init__(self, console: Console):
        super().__init__(lambda text: self.bars.console.print(text, markup=False, soft_wrap=True))
        self.bars = InsetProgress(
            _text("{task.description}", 27), BarColumn(bar_width=None), _text("{task.fields[count]}", 12),
            _text("{task.fields[left]}", 15), console=console, refresh_per_second=REFRESH_HZ, transient=True,
            expand=True, redirect_stderr=sys.stderr.isatty(),
        )  # fmt: skip
        self.rows: dict[str, Row] = {}
        self.total = self.ended = 0
        self.suite_bar: TaskID | None = None
        self.suite = SuitePace({})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        self.bars.stop()

    def plan(self, work: Mapping[str, float], seconds: bool, workers: int, beside: int = 1) -> None:
        """Show the suite's bar."""
        super().plan(work, seconds, workers, beside)
        self.suite = SuitePace(work, seconds, workers)
        self.suite_bar = self.bars.add_task("[bold]all runs[/]", total=1.0, count="", left="")
        self.bars.start()

    def begin(self, run: Run, number: int, total: int) -> None:
        """Add the run's bars."""
        self.names[run.key], self.total = run.name, total
        add = self.bars.add_task
        self.rows[run.key] = Row(
            run, add(escape(run.name), total=None, count="", left=""), add("", total=None, count="", left="")
        )
        self._show_suite()

    def train(self, key: str, done: int, epochs: int) -> None:
        """Begin the run's clock."""
        row = self.rows[key]
        row.done, row.first, row.epochs, row.pace = done, done, epochs, Pace()
        self.bars.update(row.epochs_bar, total=epochs, completed=done, count=f"epoch {min(done + 1, epochs)}/{epochs}")

    def step(self, key: str, done: int, of: int) -> None:
        """Move the bars, a few times a second."""
        row, now = self.rows[key], time.monotonic()
        if now < row.next_update and done != of:
            return
        row.next_update = now + 1 / REFRESH_HZ
        self.bars.update(
            row.steps_bar, total=of, completed=done, count="measuring" if done == of else f"step {done}/{of}"
        )
        if (rate := row.images_per_s(done, now)) is not None:
            self.bars.update(row.steps_bar, left=f"{rate:,.0f} images/s")
        self._show_left(row, row.done + STEPS_SHARE * done / of)

    def epoch(self, key: str, entry: Entry, epochs: int) -> None:
        """Count the epoch, and show its loss and accuracy."""
        row, m = self.rows[key], entry.metrics
        row.done, row.first_step = entry.epoch, None
        count = f"epoch {min(entry.epoch + 1, epochs)}/{epochs}"
        self.bars.update(row.epochs_bar, completed=entry.epoch, count=count)
        reached = f"  loss {m['train/loss']:.4f}  test {m['test/acc_pct']:.2f} %"
        self.bars.update(row.steps_bar, description=reached, completed=0)
        self._show_left(row, entry.epoch)
        self.bars.refresh()  # at once: a run of one epoch is over before the next turn

    def note(self, key: str, text: str, problem: bool = False) -> None:
        """Show a remark above the bars."""
        self.bars.console.print(f"{'[yellow]![/]' if problem else ' '} {escape(f'{self.names[key]}: {text}')}")

    def end(self, key: str, state: str, text: str) -> None:
        """Put the run's bars away and say above what became of it."""
        row = self.rows.pop(key)
        self.bars.console.print(f"{MARKS[state]} {escape(f'{row.run.name}: {text}')}")
        self.bars.remove_task(row.epochs_bar)
        self.bars.remove_task(row.steps_bar)
        self.ended += 1
        self.suite.close(key)
        self._show_suite()

    def _show_left(self, row: Row, epochs: float) -> None:
        share = row.share(epochs)
        row.pace.reach(share)
        self.suite.reach(row.run.key, share)
        if (left := row.pace.left()) is not None:
            self.bars.update(row.epochs_bar, left=f"{span(left)} left")
        self._show_suite()

    def _show_suite(self) -> None:
        left = self.suite.left()
        if self.suite_bar is not None:
            self.bars.update(
                self.suite_bar, completed=self.suite.done, count=f"{self.ended}/{self.total} runs",
                left="" if left is None else f"{span(left)} left",
            )  # fmt: skip
