"""Many pictures, one after the other or several at once: the failure of one stops no other."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from stylecolor.errors import one_line
from stylecolor.pictures.files import Picture, read_picture, write_picture
from stylecolor.targets import Job


class Painted(NamedTuple):
    """A result, and whose colours it has."""

    picture: Picture
    references: tuple[Path, ...] = ()
    similarity: float | None = None
    """Of the reference's content to the target's, where it was searched for."""


Paint = Callable[[Picture, Path], Painted]
"""Makes the result of a picture and its path; several threads call it at once."""


@dataclass(frozen=True)
class Outcome:
    """What became of a job."""

    job: Job
    status: Literal["done", "skipped", "failed"]
    seconds: float = 0.0
    """For reading, painting and writing."""
    references: tuple[Path, ...] = ()
    similarity: float | None = None
    error: str | None = None


@dataclass(frozen=True)
class PictureWork:
    """Reads a job's target, paints it and writes the output.

    Args:
        paint: makes the results.
        max_pixels: larger pictures are refused.
        quality: of JPEG and WebP.
    """

    paint: Paint
    max_pixels: int
    quality: int

    def __call__(self, job: Job) -> Outcome:
        """Do a job, or say why it cannot be done."""
        start = time.perf_counter()
        try:
            painted = self.paint(read_picture(job.target, self.max_pixels), job.target)
            write_picture(job.output, painted.picture, quality=self.quality)
        except (ValueError, OSError, MemoryError) as error:
            return Outcome(job, "failed", time.perf_counter() - start, error=_name(job, one_line(error)))
        return Outcome(job, "done", time.perf_counter() - start, painted.references, painted.similarity)


def _name(job: Job, error: str) -> str:
    target, output = (" ".join(str(path).split()) for path in (job.target, job.output))
    return error if target in error or output in error else f"{target}: {error}"


def run_jobs(jobs: Sequence[Job], work: Callable[[Job], Outcome], threads: int, report: Callable[[Outcome], None]) -> None:
    """Do all jobs and report each, in their order.

    A thread works on one picture at a time, so that no more than `threads` are in memory. After Ctrl-C no job begins, and those that have
    begun end.

    Args:
        jobs: what to do.
        work: does a job; several threads call it at once.
        threads: how many.
        report: is called in this thread.
    """
    executor = ThreadPoolExecutor(threads)
    try:
        for outcome in executor.map(work, jobs):
            report(outcome)
    finally:
        executor.shutdown(cancel_futures=True)
