import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from stylecolor.picture_jobs import Outcome, Painted, PictureWork, run_jobs
from stylecolor.pictures.files import Picture, read_picture
from stylecolor.targets import Job
from tests.stylecolor.commands.running import save_photograph

JOBS = [Job(Path(f"{number}.png"), Path("out", f"{number}.png")) for number in range(12)]


@pytest.mark.parametrize("threads", [1, 3])
def test_no_more_than_the_jobs_asked_for_are_under_way_and_each_is_reported_in_turn(threads: int) -> None:
    under_way, most = 0, 0
    lock, full = threading.Lock(), threading.Barrier(threads)

    def work(job: Job) -> Outcome:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        # all threads are in here at once
        full.wait(10)
        with lock:
            under_way -= 1
        return Outcome(job, "done")

    reported: list[Outcome] = []
    run_jobs(JOBS, work, threads, reported.append)
    assert most == threads
    assert [outcome.job for outcome in reported] == JOBS


def test_after_an_interruption_no_job_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Job] = []
    stopped = threading.Event()
    shutdown = ThreadPoolExecutor.shutdown

    def shut_down(self: ThreadPoolExecutor, wait: bool = True, *, cancel_futures: bool = False) -> None:
        shutdown(self, wait=False, cancel_futures=cancel_futures)
        # only now those that have begun may end
        stopped.set()
        shutdown(self, wait)

    def work(job: Job) -> Outcome:
        begun.append(job)
        if job != JOBS[0]:
            assert stopped.wait(10)
        return Outcome(job, "done")

    def report(outcome: Outcome) -> None:
        assert outcome.job == JOBS[0]
        raise KeyboardInterrupt

    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", shut_down)
    with pytest.raises(KeyboardInterrupt):
        run_jobs(JOBS, work, 2, report)
    assert len(begun) <= 3


def test_a_job_reads_paints_and_writes(tmp_path: Path) -> None:
    job = Job(save_photograph(tmp_path / "a.png"), tmp_path / "new" / "folder" / "a.png")

    def darken(picture: Picture, target: Path) -> Painted:
        assert target == job.target
        return Painted(picture.recolored(picture.pixels // 2), (Path("reference.png"),), 0.5)

    outcome = PictureWork(darken, 10_000, 95)(job)
    assert (outcome.status, outcome.references, outcome.similarity, outcome.error) == ("done", (Path("reference.png"),), 0.5, None)
    assert outcome.seconds > 0
    assert np.array_equal(read_picture(job.output).pixels, read_picture(job.target).pixels // 2)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("too dark,\n  by far"), "{target}: too dark, by far"),
        (OSError(28, "No space left on device", "elsewhere"), "{target}: elsewhere: No space left on device"),
        (MemoryError(), "{target}: MemoryError"),
    ],
)
def test_a_failure_is_one_line_that_names_the_target(tmp_path: Path, error: Exception, said: str) -> None:
    job = Job(save_photograph(tmp_path / "a.png"), tmp_path / "out.png")

    def fail(picture: Picture, target: Path) -> Painted:
        raise error

    outcome = PictureWork(fail, 10_000, 95)(job)
    assert (outcome.status, outcome.error) == ("failed", said.format(target=job.target))
    assert not job.output.exists()


def test_a_mistake_of_the_program_is_no_failure_of_a_picture(tmp_path: Path) -> None:
    job = Job(save_photograph(tmp_path / "a.png"), tmp_path / "out.png")

    def fail(picture: Picture, target: Path) -> Painted:
        raise AssertionError

    with pytest.raises(AssertionError):
        run_jobs([job], PictureWork(fail, 10_000, 95), 1, lambda outcome: None)
