"""The progress of a download: a bar on a terminal, a line every ten percent in a log."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

#: bytes here so far, bytes in all (None where that is not known)
Told = Callable[[int, int | None], None]
LINE_BYTES = 16_000_000


@contextmanager
def shown(title: str, console: Console | None = None) -> Iterator[Told]:
    """Yield the function to tell after every chunk; nothing shows before the first one. Writes to stderr."""
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield _lines(title, console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task(title, total=None, visible=False, start=False)

        def told(done: int, total: int | None) -> None:
            if not progress.tasks[0].started:
                progress.start_task(task)
            progress.update(task, completed=done, total=total, visible=True)

        yield told


def _lines(title: str, console: Console) -> Told:
    """Return a teller that prints a line at the first chunk and whenever another tenth is there."""
    last = -1

    def told(done: int, total: int | None) -> None:
        nonlocal last
        step = 10 * done // total if total else done // LINE_BYTES
        if step > last:
            last = step
            of = f" of {total / 1e6:.0f} MB ({100 * done // total} %)" if total else " MB"
            console.print(f"{title}: {done / 1e6:.0f}{of}", highlight=False, markup=False)

    return told
