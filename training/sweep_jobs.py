"""A sweep's job in a process of its own: however many processes it starts itself, and whoever launches it."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from stylecolor.overrides import hydra_value
from training.outcomes import RESULT_VARIABLE, SWEEP_VARIABLE
from training.run_directory import LOG_FILE

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_OF_OTHER_RANKS = ("SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")


@dataclass(frozen=True)
class JobOutcome:
    """How a job ended."""

    status: str
    """`completed`, `failed`, `pruned` or `interrupted`."""
    value: float | None = None
    """Its best monitored value, if it has validated."""
    error: str = ""
    seconds: float | None = None


class Signals:
    """SIGINT and SIGTERM of a process that runs jobs: they end the running job, which saves a checkpoint, and no other job is started."""

    def __init__(self) -> None:
        self.received = 0
        self.job: subprocess.Popen[bytes] | None = None
        self.forwards_to_children = False

    @contextmanager
    def forwarded(self) -> Iterator[None]:
        """Forward them to the job within the block; only a process's main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = {number: signal.signal(number, self._receive) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        if self.job is not None:
            self.job.send_signal(number)
        # a Ctrl-C of the terminal reaches them without us
        if self.forwards_to_children and number == signal.SIGTERM:
            for child in psutil.Process().children():
                child.send_signal(number)


signals = Signals()
"""Of this process."""


def run_job_process(program: Path, overrides: Sequence[str], directory: Path, sweep: str) -> JobOutcome:
    """Run `program` with a job's overrides in its run directory, to its end.

    A signal that comes meanwhile is forwarded to it. Of a job that fails, the run's log tells why.
    """
    if signals.received:
        return JobOutcome("interrupted", error="not started")
    start = time.monotonic()
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        environment = {**os.environ, RESULT_VARIABLE: file.name, SWEEP_VARIABLE: sweep}
        if environment.get("SLURM_NTASKS", "1") == "1":
            # a job that has one task starts its further processes itself
            environment = {name: value for name, value in environment.items() if name not in _OF_OTHER_RANKS}
        command = [sys.executable, str(program), *overrides, f"hydra.run.dir={hydra_value(str(directory))}", "hydra.mode=RUN"]
        # in a session of its own, so that a Ctrl-C of the terminal reaches it once, through this process
        signals.job = subprocess.Popen(command, env=environment, start_new_session=True)
        if signals.received:
            # came while the job was being started
            signals.job.send_signal(signals.received)
        status = signals.job.wait()
        signals.job = None
        written = Path(file.name).read_text()
    seconds = round(time.monotonic() - start, 1)
    told: dict[str, Any] = json.loads(written) if written else {}
    value = told.get("value")
    if status == 0:
        return JobOutcome("pruned" if told.get("pruned") else "completed", value, seconds=seconds)
    if signals.received:
        return JobOutcome("interrupted", error=f"stopped by {signal.Signals(signals.received).name}", seconds=seconds)
    error = told.get("error") or (f"ended by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}")
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / LOG_FILE).open("a") as log:
        log.write(f"error: {error}\n")
    return JobOutcome("failed", error=error, seconds=seconds)
