"""What the sweepers share: whatever launches a job, it runs in a process, a directory and a W&B run of its own.

Launchers run jobs inside their own processes, where Lightning's further ranks would start the whole sweep again. So the sweepers give them
another task: to start `train.py <overrides>` and wait for it.
"""

import contextlib
import math
import os
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict

from lightning_modules.config import StageConfig
from stylecolor.overrides import hydra_value
from training.composition import register, to_experiment
from training.config import ExperimentConfig
from training.outcomes import Interrupted, SweepFailed
from training.ranks import global_rank
from training.sweep_jobs import JobOutcome, run_job_process, signals
from training.sweep_table import Job, SweepTable

REPOSITORY = Path(__file__).resolve().parents[2]
UNFINISHED = ("waiting", "running")
OF_THE_SWEEP = ("sweep=", "sweep.", "hydra.", "hydra/")


class IsolatedTask:
    """What a launcher runs, perhaps in another process or on another machine: a job's own process, see `run_job_process`."""

    def __init__(self, table: SweepTable) -> None:
        self.table = table
        self.program = Path(sys.argv[0]).resolve()
        self.jobs = 0

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # in a launcher's process: the job is composed there
        register()

    def __call__(self, _: DictConfig) -> JobOutcome:
        """Run the job that Hydra's own settings describe, and keep its row of the table."""
        hydra = HydraConfig.get()
        number, overrides = hydra.job.num, list(hydra.overrides.task)
        directory = Path(hydra.sweep.dir) / str(hydra.sweep.subdir)
        writes = global_rank() == 0
        if signals.received:
            # Hydra has made it
            with contextlib.suppress(OSError):
                directory.rmdir()
        elif writes:
            print(f"[{number + 1}/{self.jobs}] {' '.join(overrides)} -> {directory}", file=sys.stderr)
            self.table.update(number, status="running", directory=str(directory))
        with signals.forwarded():
            outcome = run_job_process(self.program, overrides, directory, Path(hydra.sweep.dir).name)
        if writes:
            self.table.update(number, status=outcome.status, value=outcome.value, seconds=outcome.seconds, error=outcome.error)
        return outcome


class IsolatedJobs:
    """The jobs of a sweep, through Hydra's launcher."""

    def __init__(self, hydra_context: HydraContext, config: DictConfig) -> None:
        self.loader = hydra_context.config_loader
        self.config = config
        self.directory = Path(config.hydra.sweep.dir)
        self.table = SweepTable(self.directory)
        self.task = IsolatedTask(self.table)
        # launchers start Python anew, where this repository is not the script's own directory
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(hydra_context, self.task, config)
        self.stage = StageConfig()
        self.side_by_side = config.hydra.runtime.choices["hydra/launcher"] != "basic"
        signals.received = 0
        signals.forwards_to_children = self.side_by_side

    def compose(self, overrides: Sequence[str]) -> tuple[ExperimentConfig, Path]:
        """A job's settings and its sweep's directory, so that mistakes are met before any job is started.

        Raises:
            ValueError: for settings that do not fit.
        """
        config = self.loader.load_sweep_config(self.config, list(overrides))
        job = config.copy()
        with open_dict(job):
            del job["hydra"]
        return to_experiment(job), Path(config.hydra.sweep.dir)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the sweep's directory and hold it.

        Raises:
            ValueError: when another process does.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.directory / ".sweep.lock", timeout=0):
                yield
        except Timeout as error:
            raise ValueError(f"hydra.sweep.dir={self.directory}: this sweep is running already") from error

    def begin(self, experiment: ExperimentConfig, sweeper: str) -> None:
        """Write what the sweep is, by its first job's stage, and end the jobs of a killed sweep that goes on."""
        self.stage = experiment.stage
        OmegaConf.save(self.config, self.directory / "multirun.yaml")
        given = [*self.config.hydra.overrides.task, *self.config.hydra.overrides.hydra]
        command = [override for override in given if not override.startswith("hydra.mode=")]
        self.table.describe(self.stage.monitor, self.stage.monitor_mode, sweeper, command)
        self.table.end(UNFINISHED, "interrupted", "the sweep was killed")

    def add(self, jobs: Sequence[tuple[Sequence[str], Path]], first: int) -> list[list[str]]:
        """Put jobs (their overrides and the directory of the sweep) into the table as waiting, numbered from `first`.

        Returns:
            What the launcher gets of each.
        """
        self.table.add(
            [
                Job(first + index, "waiting", None, None, tuple(own_overrides(overrides)), str(directory / str(first + index)), "")
                for index, (overrides, directory) in enumerate(jobs)
            ]
        )
        # said outright, since a launcher's processes would name the sweep by another time
        return [[*overrides, f"hydra.sweep.dir={hydra_value(str(directory))}"] for overrides, directory in jobs]

    def run(self, jobs: Sequence[Sequence[str]], first: int) -> None:
        """Run what `add` has returned; how each job ended, the table tells.

        Raises:
            Interrupted: after Ctrl-C or SIGTERM; the running jobs have saved their checkpoints.
        """
        self.task.jobs = max(self.task.jobs, first + len(jobs))
        try:
            with signals.forwarded():
                returns = self.launcher.launch(jobs, initial_job_idx=first)
        except RuntimeError as error:
            # joblib and submitit raise it when they have lost the process of a job
            if not self.side_by_side:
                raise
            if not signals.received:
                self.table.end(UNFINISHED, "failed", f"its launcher lost it: {str(error).strip().splitlines()[0]}")
        else:
            for job in returns:
                if job.status != JobStatus.COMPLETED:
                    raise job._return_value
        finally:
            if signals.received:
                self.table.end(UNFINISHED, "interrupted", f"stopped by {signal.Signals(signals.received).name}")
                raise Interrupted(signals.received)

    def tell_best(self) -> None:
        """Print the best job and a command that repeats it, if any has a value."""
        sign = -1 if self.stage.monitor_mode == "min" else 1
        completed = [job for job in self.table.read() if job.status == "completed"]
        values = {job.number: sign * job.value for job in completed if job.value is not None and math.isfinite(job.value)}
        if values:
            best = max((job for job in completed if job.number in values), key=lambda job: values[job.number])
            print(f"best {self.stage.monitor}: {best.value:.6g}, job {best.number}: {best.directory}")
            print(shlex.join(["python", os.path.relpath(self.task.program), *best.overrides]))

    def tell_failures(self) -> None:
        """Print what failed.

        Raises:
            SweepFailed: if any did.
        """
        jobs = self.table.read()
        failed = [job for job in jobs if job.status == "failed"]
        if failed:
            for job in failed:
                print(f"failed: {job.directory}  {' '.join(job.overrides)}\n    {job.error}", file=sys.stderr)
            raise SweepFailed(f"{len(failed)} of {len(jobs)} jobs failed, listed above")


def own_overrides(overrides: Sequence[str]) -> list[str]:
    """What a job's own command line needs of a sweep's: nothing of the sweep or of Hydra."""
    return [each for each in overrides if not each.lstrip("+~").startswith(OF_THE_SWEEP)]
