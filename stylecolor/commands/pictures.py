"""What the commands that make pictures of pictures share."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from stylecolor.commands.options import QUALITY
from stylecolor.errors import check_range, one_line

if TYPE_CHECKING:
    from stylecolor.picture_jobs import Outcome, Paint
    from stylecolor.pictures.files import Picture
    from stylecolor.targets import Job

log = logging.getLogger(__name__)

JOBS_A_CORE = 4
"""More pictures at once would only take memory."""
LOSSY = (".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class PictureSettings:
    """What options say of reading, working through and writing pictures."""

    output: Path | None
    max_megapixels: float | None = None
    quality: int = QUALITY
    jobs: int = 1
    skip_existing: bool = False
    as_json: bool = False
    sheet: Path | None = None

    @property
    def max_pixels(self) -> int:
        """Larger pictures are refused."""
        from stylecolor.pictures.files import MAX_PIXELS

        if self.max_megapixels is None:
            return MAX_PIXELS
        check_range("--max-megapixels", self.max_megapixels, above=0)
        return int(self.max_megapixels * 1e6)


@dataclass(frozen=True)
class PictureCommand:
    """A command over pictures.

    Args:
        settings: from its options.
        ending: of the names of its outputs, where none are given.
        references: that all targets have; each column of a sheet shows one.
        searched: the folder in which each target finds its own reference.
        own_files: further files that it reads, by the names of their options.
        target_column: what a sheet calls the targets.
        grey_targets: whether a sheet shows the targets' L.
    """

    settings: PictureSettings
    ending: str
    references: Sequence[Path] = ()
    searched: Path | None = None
    own_files: Mapping[str, Path] = field(default_factory=dict)
    target_column: str = "target"
    grey_targets: bool = True

    def run(self, targets: Sequence[str], prepare: Callable[[Sequence["Picture"]], "Paint"]) -> None:
        """Work through the targets.

        Args:
            targets: see `plan_jobs`.
            prepare: loads the networks and gives what they do to a picture, from the references' pictures. It is not called when all
                outputs are there.

        Raises:
            ValueError: for what concerns all pictures, before the work; and after it, when some failed.
        """
        # imported late: --help needs none of it
        from stylecolor.job_reports import JobReports
        from stylecolor.picture_jobs import Outcome, PictureWork, run_jobs
        from stylecolor.pictures.files import check_output, read_picture
        from stylecolor.pictures.sheets import ROWS, check_sheet
        from stylecolor.targets import plan_jobs
        from stylecolor.whole_file import remove_stale_parts

        settings = self.settings
        max_pixels = settings.max_pixels
        own_files = {**{f"--reference {path}": path for path in self.references}, **self.own_files}
        folders = {} if self.searched is None else {"--match-from": self.searched}
        jobs = plan_jobs(targets, settings.output, self.ending, settings.sheet, own_files, folders)
        there = {job for job in jobs if job.output.is_file()} if settings.skip_existing else set()
        pending = [job for job in jobs if job not in there]
        for output in {(job.output.parent, job.output.suffix): job.output for job in pending}.values():
            check_output(output)
        for folder in {job.output.parent for job in pending}:
            remove_stale_parts(folder)
        if settings.sheet is not None:
            check_sheet(settings.sheet)
        if settings.quality != QUALITY and not any(job.output.suffix.lower() in LOSSY for job in jobs):
            log.warning("--quality %d is ignored: %s files are written without loss", settings.quality, jobs[0].output.suffix)

        paint = prepare([read_picture(path, max_pixels) for path in self.references]) if pending else None

        def do(job: "Job") -> Outcome:
            if job in there:
                return Outcome(job, "skipped")
            assert paint is not None
            return PictureWork(paint, max_pixels, settings.quality)(job)

        most = JOBS_A_CORE * (os.cpu_count() or 1)
        threads = min(settings.jobs, most)
        if threads < settings.jobs:
            typer.echo(f"warning: --jobs {settings.jobs} is more than this machine has use for; {threads} are taken", err=True)
        shown: list[Outcome] = []
        with JobReports(len(jobs), settings.as_json, name_each=self.searched is not None) as reports:

            def report(outcome: Outcome) -> None:
                reports(outcome)
                if settings.sheet is not None and outcome.status != "failed" and len(shown) < ROWS:
                    shown.append(outcome)

            try:
                run_jobs(jobs, do, threads, report)
            except KeyboardInterrupt:
                done = reports.statuses.total()
                raise KeyboardInterrupt(f"{done} of {len(jobs)} pictures are done; --skip-existing goes on with the others") from None
        sheet_failed = False
        if shown and settings.sheet is not None:
            try:
                self._write_sheet(settings.sheet, shown, len(jobs), max_pixels)
            except OSError as error:
                typer.echo(f"error: {one_line(error)}", err=True)
                sheet_failed = True
        reports.finish(os.path.commonpath([job.output.parent for job in jobs]))
        if sheet_failed:
            raise typer.Exit(1)

    def _write_sheet(self, path: Path, outcomes: Sequence["Outcome"], total: int, max_pixels: int) -> None:
        from stylecolor.pictures.sheets import ROWS, SheetReader, write_sheet

        names = [f"reference {number}" for number in range(1, len(self.references) + 1)] if len(self.references) > 1 else ["reference"]
        if not self.references and self.searched is None:
            names = []
        reader, rows = SheetReader(max_pixels, self.grey_targets), []
        for outcome in outcomes:
            target, references = outcome.job.target, outcome.references or self.references
            name = f"{target}, in the colours of {outcome.references[0]}" if outcome.similarity is not None else str(target)
            rows.append(reader.read_row(name, target, references, outcome.job.output))
        write_sheet(path, (self.target_column, *names, "result"), rows)
        shown = f", the first {ROWS} of {total} pictures" if total > ROWS == len(rows) else ""
        typer.echo(f"sheet: {path}{shown}", err=True)
