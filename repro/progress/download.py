"""The progress of a download: a bar on a terminal, a line every ten percent in a log."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

#: bytes here so far, bytes in all (None where that is not known)
Told = Callable[[int, int | None], None]
LINE_BYTES = 16_000_000


@contextmanager
def shown(title: str, console: "Console | None" = None) -> Iterator[Told]:
    """Yield the function to tell after every chunk; nothing shows before the first one. Writes to stderr."""
    try:
        from rich import progress as rich
        from rich.console import Console
    except ImportError:  # a bare node that has what training needs: plain lines do
        yield _lines(title, lambda text: print(text, file=sys.stderr))
        return
    console = console or Console(stderr=True)
    if not console.is_terminal:
        plain = console
        yield _lines(title, lambda text: plain.print(text, highlight=False, markup=False))
        return
    columns = (rich.TextColumn("{task.description}"), rich.BarColumn(), rich.DownloadColumn())
    speed = (rich.TransferSpeedColumn(), rich.TimeRemainingColumn())
    with rich.Progress(*columns, *speed, console=console) as progress:
        task = progress.add_task(title, total=None, visible=False, start=False)

        def told(done: int, total: int | None) -> None:
            if not progress.tasks[0].started:
                progress.start_task(task)
            progress.update(task, completed=done, total=total, visible=True)

        yield told


def _lines(title: str, echo: Callable[[str], None]) -> Told:
    """Return a teller that prints a line at the first chunk and whenever another tenth is there."""
    last = -1

    def told(done: int, total: int | None) -> None:
        nonlocal last
        step = 10 * done // total if total else done // LINE_BYTES
        if step > last:
            last = step
            of = f" of {total / 1e6:.0f} MB ({100 * done // total} %)" if total else " MB"
            echo(f"{title}: {done / 1e6:.0f}{of}")

    return told
