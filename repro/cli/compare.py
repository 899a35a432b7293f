"""The command that sets two collections of records side by side."""

from pathlib import Path

import click

from repro.cli.options import PROFILES, reports_option
from repro.errors import UserError

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("a", type=_FOLDER)
@click.argument("b", type=_FOLDER)
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@click.option(
    "--markdown", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True), metavar="FILE",
    help="Also add a summary in Markdown to the end of FILE; - prints it in place of the table.",
)  # fmt: skip
@click.option(
    "--margin", type=click.FloatRange(0, 100, min_open=True), metavar="POINTS",
    help="Accuracies within POINTS of each other count as the same (default: 0.5 to 2.0, by accuracy).",
)  # fmt: skip
@click.option("--profile", type=click.Choice(PROFILES), default="full", show_default=True, help="Runs to compare.")
@reports_option
@click.pass_context
def compare(
    ctx: click.Context, a: Path, b: Path, as_json: bool, markdown: Path | None, margin: float | None, profile: str,
    reports_dir: Path,
) -> None:  # fmt: skip
    """Compare the runs of A with those of B: the same bits, equivalent, or different.

    Each is a state folder, a bundle or a folder of reports. Exit code 1 where something differs. Runs that the
    `withdrawn.yaml` of --reports withdraws are left out, and named.
    """
    from repro.judge import compare as judging
    from repro.progress import table
    from repro.report import comparing
    from repro.spec import withdrawn
    from repro.spec.loading import load_all

    printed = str(markdown) == "-"
    if as_json and printed:
        raise UserError("--markdown -: prints, and so does --json; name a file for one of the two")
    if margin is not None and profile == "smoke":
        raise UserError("--margin: smoke runs are compared by their bits alone; leave it out, or --profile full")
    known = withdrawn.of(reports_dir)
    (ours, gone_a), (theirs, gone_b) = (known.split(comparing.read(folder, profile)) for folder in (a, b))
    rows = judging.compare(load_all(), ours, theirs, profile, margin)
    left_out = [*comparing.gone("A", gone_a), *comparing.gone("B", gone_b)]
    if markdown:
        with click.open_file(str(markdown), "a", encoding="utf-8") as file:
            file.write(comparing.as_markdown(rows, profile, (a, b), left_out))
    if as_json:
        click.echo(comparing.as_json(rows, profile, left_out))
    elif not printed:
        table.show(comparing.COLUMNS, comparing.lines(rows), comparing.NUMBERS, click.echo)
        for line in (*left_out, comparing.summary(rows)):
            click.echo(line)
    if comparing.differs(rows):
        ctx.exit(1)
