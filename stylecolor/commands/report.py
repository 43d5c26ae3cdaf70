"""`stylecolor report`."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Of a training run, an evaluation or a sweep, finished or not.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="The page; else report.html in DIR.")] = None,
) -> None:
    """Write a page that shows what train.py, evaluate.py or a sweep left: one HTML file that opens offline."""
    from stylecolor.reports import render_report

    typer.echo(render_report(directory, output))
