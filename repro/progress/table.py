"""A table: drawn on a terminal, aligned columns elsewhere."""

from collections.abc import Sequence

from repro.progress.training import Echo, terminal

STYLES = {"failed": "red", "stopped": "yellow", "trained": "green", "skipped": "dim"}


def show(header: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int], echo: Echo) -> None:
    """Show rows under a header; columns whose index is in `numbers` are set flush right."""
    if console := terminal():
        from rich.table import Table
        from rich.text import Text

        table = Table()
        for index, name in enumerate(header):
            table.add_column(name, justify="right" if index in numbers else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell, STYLES.get(cell, "")) for cell in row))
        console.print(table)
        return
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        cells = (f"{c:>{w}}" if i in numbers else f"{c:<{w}}" for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        echo("  ".join(cells).rstrip())
