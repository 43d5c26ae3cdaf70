"""What a sweep's directory says of the sweep while it runs and afterwards: jobs.csv and sweep.json."""

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from stylecolor.whole_file import written_whole

JOBS_FILE = "jobs.csv"
SWEEP_FILE = "sweep.json"
STATUSES = ("waiting", "running", "completed", "failed", "pruned", "interrupted")
FINISHED = ("completed", "failed", "pruned")


@dataclass(frozen=True)
class Job:
    """A row of jobs.csv."""

    number: int
    status: str
    """One of `STATUSES`."""
    value: float | None
    """The best monitored value; of a pruned job that at its end."""
    seconds: float | None
    overrides: tuple[str, ...]
    """What stands on the job's command line."""
    directory: str
    """Its run directory, relative to the working directory of the sweep."""
    error: str
    """Why it failed, in one line."""


class SweepTable:
    """jobs.csv, which is whole at any time, and which the processes that run jobs side by side all change."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def describe(self, monitor: str, mode: str, sweeper: str, overrides: Sequence[str]) -> None:
        """Write sweep.json: what is monitored, `min` or `max`, who chooses the jobs, and the sweep's own command line."""
        content = {"monitor": monitor, "mode": mode, "sweeper": sweeper, "overrides": list(overrides)}
        with written_whole(self.directory / SWEEP_FILE) as path:
            path.write_text(json.dumps(content, indent=2) + "\n")

    def read(self) -> list[Job]:
        """All rows; none before there is a file.

        Raises:
            ValueError: when it is damaged.
        """
        file = self.directory / JOBS_FILE
        if not file.is_file():
            return []
        with file.open(newline="") as opened:
            try:
                return [_job(row) for row in csv.DictReader(opened)]
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"{file}: is no table of a sweep's jobs") from error

    def add(self, jobs: Sequence[Job]) -> None:
        """Put jobs at the end."""
        self._change(lambda rows: [*rows, *jobs])

    def update(self, number: int, **changes: Any) -> None:
        """Change a job's row."""
        self._change(lambda rows: [replace(job, **changes) if job.number == number else job for job in rows])

    def end(self, statuses: Sequence[str], status: str, error: str) -> None:
        """Give another status to all jobs that have one of these."""
        self._change(lambda rows: [replace(job, status=status, error=error) if job.status in statuses else job for job in rows])

    def _change(self, change: Callable[[list[Job]], list[Job]]) -> None:
        with FileLock(self.directory / ".jobs.lock"):
            jobs = change(self.read())
            with written_whole(self.directory / JOBS_FILE) as path, path.open("w", newline="") as file:
                rows = csv.DictWriter(file, [field.name for field in fields(Job)])
                rows.writeheader()
                for job in jobs:
                    rows.writerow({**asdict(job), "overrides": json.dumps(job.overrides)})


def _job(row: dict[str, str]) -> Job:
    numbers = {name: float(row[name]) if row[name] else None for name in ("value", "seconds")}
    return Job(
        number=int(row["number"]),
        status=row["status"],
        value=numbers["value"],
        seconds=numbers["seconds"],
        overrides=tuple(json.loads(row["overrides"])),
        directory=row["directory"],
        error=row["error"],
    )
