"""What a command says of its pictures: lines on stdout, errors and a progress bar on stderr."""

import json
import sys
from collections import Counter
from types import TracebackType
from typing import Self

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from stylecolor.command_line import say
from stylecolor.picture_jobs import Outcome
from stylecolor.progress import console, hide_progress


class JobReports:
    """Reports outcomes as they come; a context manager, as the progress bar has to be taken away.

    Args:
        total: how many there will be.
        as_json: whether stdout gets a JSON object a picture, and nothing else.
        name_each: whether each picture gets a line on stdout without `as_json`, too.
    """

    def __init__(self, total: int, as_json: bool, name_each: bool) -> None:
        self.total = total
        self.as_json = as_json
        self.name_each = name_each or total == 1
        self.statuses = Counter[str]()
        # on the same terminal, the lines on stdout are a progress bar of their own
        hidden = total == 1 or hide_progress() or (as_json and sys.stdout.isatty())
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        # what goes to stdout stays there, unless it is the same terminal
        self.progress = Progress(
            *columns, console=console(), disable=hidden, transient=True, redirect_stdout=not hidden and sys.stdout.isatty()
        )
        self.task = self.progress.add_task("pictures", total=total)

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.progress.stop()

    def __call__(self, outcome: Outcome) -> None:
        """Report an outcome."""
        self.statuses[outcome.status] += 1
        if outcome.error is not None:
            say(f"error: {outcome.error}", sys.stderr)
        if self.as_json:
            say(to_json(outcome), sys.stdout)
        elif self.name_each and outcome.status != "failed":
            say(_to_text(outcome), sys.stdout)
        self.progress.advance(self.task)

    def finish(self, place: str) -> None:
        """Say how many pictures there are now, and end with status 1 if any failed.

        Args:
            place: where the results are.

        Raises:
            ValueError: naming how many failed of several.
            typer.Exit: where the only one failed, which has been said.
        """
        failed = self.statuses["failed"]
        if failed and self.total == 1:
            raise typer.Exit(1)
        if self.total > 1 and not self.as_json:
            there = f", {self.statuses['skipped']} were there" if self.statuses["skipped"] else ""
            say(f"{self.statuses['done']} of {self.total} pictures done{there}: {place}", sys.stdout)
        if failed:
            raise ValueError(f"{failed} of {self.total} pictures failed")


def to_json(outcome: Outcome) -> str:
    """An object with the fields target, output, reference, similarity, seconds, status and error.

    `reference` is a path, a list of several, or null; `similarity` is null unless the reference was searched for.
    """
    references = [str(path) for path in outcome.references]
    fields = {
        "target": str(outcome.job.target),
        "output": str(outcome.job.output),
        "reference": references if len(references) > 1 else next(iter(references), None),
        "similarity": None if outcome.similarity is None else round(outcome.similarity, 4),
        "seconds": round(outcome.seconds, 3),
        "status": outcome.status,
        "error": outcome.error,
    }
    return json.dumps(fields)


def _to_text(outcome: Outcome) -> str:
    found = "" if outcome.similarity is None else f", in the colours of {outcome.references[0]} (similarity {outcome.similarity:.2f})"
    return f"{outcome.job.target} -> {outcome.job.output}{found}{' (was there)' if outcome.status == 'skipped' else ''}"
