"""A Hydra launcher that gives each job of a sweep its own process, directory and W&B run.

Hydra's own launcher runs jobs inside the sweep's process, where Lightning's further ranks would start the whole sweep again.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, filter_overrides
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from training.outcomes import RESULT_VARIABLE, SWEEP_VARIABLE, Interrupted, SweepFailed


@dataclass
class ProcessLauncherConfig:
    """Settings of the launcher."""

    _target_: str = "hydra_plugins.stylecolor_launcher.ProcessLauncher"


ConfigStore.instance().store(group="hydra/launcher", name="process", node=ProcessLauncherConfig, provider="stylecolor")


class ProcessLauncher(Launcher):
    """Runs `train.py <overrides>` once for each job, one after the other; a job that fails does not stop the others."""

    def __init__(self) -> None:
        self.config: DictConfig | None = None
        self.hydra_context: HydraContext | None = None
        self.job: subprocess.Popen[bytes] | None = None
        self.interrupted = 0

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra."""
        self.config = config
        self.hydra_context = hydra_context

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Check the settings of all jobs, then run them.

        Raises:
            ValueError: for settings that do not fit, before any job is started.
            SweepFailed: after all jobs have run, if some failed.
            Interrupted: after Ctrl-C or SIGTERM.
        """
        jobs = [self._compose(list(overrides), initial_job_idx + index) for index, overrides in enumerate(job_overrides)]
        previous = {number: signal.signal(number, self._forward) for number in (signal.SIGINT, signal.SIGTERM)}
        results = []
        try:
            for config, overrides in zip(jobs, job_overrides, strict=True):
                results.append(self._run(config, list(filter_overrides(overrides)), len(jobs)))
                if self.interrupted:
                    raise Interrupted(self.interrupted)
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
        failed = [result for result in results if result.status == JobStatus.FAILED]
        if failed:
            for result in failed:
                print(f"failed: {result.working_dir}  {' '.join(result.overrides or [])}\n    {result._return_value}", file=sys.stderr)
            raise SweepFailed(f"{len(failed)} of {len(results)} jobs failed, listed above")
        return results

    def _compose(self, overrides: list[str], number: int) -> DictConfig:
        from training.composition import to_experiment

        assert self.hydra_context is not None
        assert self.config is not None
        config = self.hydra_context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(config):
            config.hydra.job.id = str(number)
            config.hydra.job.num = number
        job = config.copy()
        with open_dict(job):
            del job["hydra"]
        to_experiment(job)
        return config

    def _run(self, config: DictConfig, overrides: list[str], jobs: int) -> JobReturn:
        HydraConfig.instance().set_config(config)
        directory = Path(config.hydra.sweep.dir) / str(config.hydra.sweep.subdir)
        print(f"[{config.hydra.job.num + 1}/{jobs}] {' '.join(overrides)} -> {directory}", file=sys.stderr)
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            environment = {**os.environ, RESULT_VARIABLE: file.name, SWEEP_VARIABLE: Path(config.hydra.sweep.dir).name}
            command = [sys.executable, str(Path(sys.argv[0]).resolve()), *overrides, f'hydra.run.dir="{directory}"', "hydra.mode=RUN"]
            # in a session of its own, so that a Ctrl-C of the terminal reaches it once, through this process
            self.job = subprocess.Popen(command, env=environment, start_new_session=True)
            if self.interrupted:
                # came while the job was being started
                self.job.send_signal(self.interrupted)
            status = self.job.wait()
            self.job = None
            written = Path(file.name).read_text()
        outcome: dict[str, Any] = json.loads(written) if written else {}
        result = JobReturn(overrides=overrides, cfg=config, working_dir=str(directory))
        if status == 0:
            result.status = JobStatus.COMPLETED
            result.return_value = outcome.get("value")
            return result
        error = outcome.get("error") or (f"ended by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}")
        result.status = JobStatus.FAILED
        result.return_value = SweepFailed(error)
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / "train.log").open("a") as log:
            log.write(f"error: {error}\n")
        return result

    def _forward(self, number: int, frame: FrameType | None) -> None:
        self.interrupted = number
        if self.job is not None:
            self.job.send_signal(number)
