"""Hydra sweepers that give each job its own process: every combination of the given values, or an Optuna study."""

import sys
from dataclasses import dataclass
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.stylecolor_sweepers._isolation import IsolatedJobs, own_overrides
from training.trials import require_optuna


@dataclass
class GridSweeperConfig:
    """Settings of `sweep=grid`."""

    _target_: str = "hydra_plugins.stylecolor_sweepers.GridSweeper"
    params: dict[str, str] | None = None
    """Settings to vary besides those of the command line."""
    max_batch_size: int | None = None
    """Jobs that the launcher gets at once; null is all."""


@dataclass
class OptunaSweeperConfig:
    """Settings of `sweep=optuna`, besides those that stand under `sweep.`."""

    _target_: str = "hydra_plugins.stylecolor_sweepers.OptunaSweeper"
    params: dict[str, str] | None = None
    """Settings to vary besides those of the command line."""


for _name, _config in (("grid", GridSweeperConfig), ("optuna", OptunaSweeperConfig), ("random", OptunaSweeperConfig)):
    ConfigStore.instance().store(group="hydra/sweeper", name=f"stylecolor_{_name}", node=_config, provider="stylecolor")


class GridSweeper(Sweeper):
    """Runs all combinations of the values that are given, whatever becomes of single ones."""

    def __init__(self, params: dict[str, str] | None, max_batch_size: int | None) -> None:
        self.params = params or {}
        self.max_batch_size = max_batch_size

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra."""
        self.context = hydra_context
        self.jobs = IsolatedJobs(hydra_context, config)

    def sweep(self, arguments: list[str]) -> None:
        """Check the settings of all jobs, then run them.

        Raises:
            ValueError: for settings that do not fit, before any job is started.
            SweepFailed: after all jobs have run, if some failed.
            Interrupted: after Ctrl-C or SIGTERM.
        """
        given = parse(self.context, self.params, arguments)
        for override in given:
            if override.is_interval_sweep():
                raise ValueError(f"{override.input_line}: sweep=grid cannot try all of an interval; use sweep=optuna or sweep=random")
        (combinations,) = BasicSweeper.split_arguments(given, None)
        composed = [self.jobs.compose(overrides) for overrides in combinations]
        with self.jobs.held():
            if self.jobs.table.read():
                raise ValueError(f"hydra.sweep.dir={self.jobs.directory}: holds a sweep already; name another directory")
            self.jobs.begin(composed[0][0], "grid")
            directories = [directory for _, directory in composed]
            jobs = self.jobs.add(list(zip(combinations, directories, strict=True)), 0)
            size = self.max_batch_size or len(jobs)
            for first in range(0, len(jobs), size):
                self.jobs.run(jobs[first : first + size], first)
            # the values of different stages cannot be compared
            if len({experiment.stage.monitor for experiment, _ in composed}) == 1:
                self.jobs.tell_best()
            self.jobs.tell_failures()


class OptunaSweeper(Sweeper):
    """Runs the trials of an Optuna study, see `hydra_plugins.stylecolor_sweepers._study`."""

    def __init__(self, params: dict[str, str] | None) -> None:
        self.params = params or {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra."""
        self.context = hydra_context
        self.jobs = IsolatedJobs(hydra_context, config)
        self.settings: Any = OmegaConf.to_object(config.sweep)
        if self.settings.n_jobs > 1 and not self.jobs.side_by_side:
            print(f"sweep.n_jobs={self.settings.n_jobs}: hydra/launcher=basic runs one job after the other", file=sys.stderr)

    def sweep(self, arguments: list[str]) -> None:
        """See `StudyOfJobs.run`."""
        require_optuna()
        from hydra_plugins.stylecolor_sweepers._study import StudyOfJobs

        StudyOfJobs(self.jobs, self.settings, parse(self.context, self.params, arguments)).run()


def parse(context: HydraContext, params: dict[str, str], arguments: list[str]) -> list[Override]:
    """The overrides of a sweep's jobs, those of the command line last."""
    parser = OverridesParser.create(config_loader=context.config_loader)
    return parser.parse_overrides([*(f"{name}={value}" for name, value in params.items()), *own_overrides(arguments)])
