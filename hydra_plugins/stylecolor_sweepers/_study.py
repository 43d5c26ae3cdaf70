"""An Optuna study whose trials are jobs of a sweep.

Optuna is asked for the settings of each job and told how it ended (Akiba et al., KDD 2019; its ask-and-tell interface), so that all else is
as in any other sweep: the launcher, the job's own process, the table.
"""

import math
import sys
from collections.abc import Sequence
from typing import Any

import optuna
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, Trial, TrialState

from hydra_plugins.stylecolor_sweepers._isolation import IsolatedJobs
from stylecolor.errors import one_line
from stylecolor.overrides import hydra_value
from training.config import ExperimentConfig
from training.outcomes import TRIAL_VARIABLE
from training.sweep_config import OptunaSweepConfig
from training.sweep_table import FINISHED, Job
from training.trials import TrialAddress, make_pruner, make_sampler, open_storage

STUDY_FILE = "study.db"
HOPELESS = 3
"""A sweep whose jobs have all failed ends after so many; one that goes on tries as many again."""


class StudyOfJobs:
    """Asks a study for jobs and tells it how they ended."""

    def __init__(self, jobs: IsolatedJobs, settings: OptunaSweepConfig, overrides: Sequence[Override]) -> None:
        self.jobs = jobs
        self.settings = settings
        given = {override.get_key_element(): override for override in overrides}
        self.fixed = [str(override.input_line) for override in given.values() if not override.is_sweep_override()]
        self.space = {key: distribution(override) for key, override in given.items() if override.is_sweep_override()}
        if not self.space:
            raise ValueError(
                f"sweep={settings.name}: nothing to search; give settings ranges, such as 'stage.optimizer.lr=tag(log,interval(1e-5,1e-2))'"
            )

    def run(self) -> None:
        """Run jobs until `sweep.n_trials` of them are finished; those of an interrupted sweep in the same directory count.

        Raises:
            ValueError: for settings that do not fit, before any job is started.
            SweepFailed: when all has been run, if jobs failed.
            Interrupted: after Ctrl-C or SIGTERM; the study can go on.
        """
        experiment = self._check_bounds()
        directory = self.jobs.directory.resolve()
        self.url = self.settings.storage or f"sqlite:///{directory / STUDY_FILE}"
        # in a file of its own the name says nothing, and outlives a renaming of the directory
        self.name = self.settings.study_name or (directory.name if self.settings.storage else "sweep")
        if self.settings.storage:
            open_storage(self.url)
        with self.jobs.held():
            self.study = self._open_study(experiment.stage.monitor_mode)
            self.jobs.begin(experiment, self.settings.name)
            self._end_lost_trials()
            self.finished_before = len(self._finished())
            while (left := self.settings.n_trials - len(self._finished())) > 0 and not self._is_hopeless():
                self.jobs.task.jobs = self.settings.n_trials
                self._run_batch(min(left, self.settings.n_jobs))
            self.jobs.tell_best()
            if self._is_hopeless():
                print("not one job has succeeded so far, so no more are started", file=sys.stderr)
            self.jobs.tell_failures()

    def _check_bounds(self) -> ExperimentConfig:
        """Meet what does not fit before any job is started: every choice, and the ends of every range. Returns a job's settings."""
        ends = {key: _ends(distribution) for key, distribution in self.space.items()}
        first = {key: values[0] for key, values in ends.items()}
        experiment, _ = self.jobs.compose(self._overrides(first))
        for key, (_, *others) in ends.items():
            for value in others:
                stage = self.jobs.compose(self._overrides({**first, key: value}))[0].stage
                if stage.monitor != experiment.stage.monitor:
                    raise ValueError(
                        f"sweep={self.settings.name}: {key}={first[key]} is judged by {experiment.stage.monitor}, and {key}={value} by "
                        f"{stage.monitor}, which cannot be compared; search them one after the other"
                    )
        return experiment

    def _open_study(self, mode: str) -> optuna.Study:
        settings = self.settings
        direction = "minimize" if mode == "min" else "maximize"
        storage = open_storage(self.url)
        study = optuna.create_study(storage=storage, study_name=self.name, direction=direction, load_if_exists=True)
        if study.direction.name.lower() != direction:
            raise ValueError(f"{self.url}: the study {self.name} is to {study.direction.name.lower()} its value, not to {direction} it")
        for trial in study.trials:
            for name, known in trial.distributions.items():
                new = self.space.get(name)
                if isinstance(known, CategoricalDistribution) and isinstance(new, BaseDistribution) and new != known:
                    raise ValueError(
                        f"{name}: the choices of a sweep that goes on cannot change, they were {','.join(map(str, known.choices))}"
                    )
        study.sampler = make_sampler(settings, len(study.trials))
        study.pruner = make_pruner(settings.pruner, settings.n_startup_trials, settings.n_warmup_steps)
        return study

    def _end_lost_trials(self) -> None:
        """A sweep that was killed could not tell the study."""
        for trial in self.study.get_trials(states=[TrialState.RUNNING, TrialState.WAITING]):
            self._tell(Trial(self.study, trial._trial_id), "interrupted", None, "the sweep was killed")

    def _finished(self) -> list[FrozenTrial]:
        return [trial for trial in self.study.trials if trial.user_attrs.get("status") in FINISHED]

    def _is_hopeless(self) -> bool:
        finished = self._finished()
        return len(finished) - self.finished_before >= HOPELESS and all(trial.state == TrialState.FAIL for trial in finished)

    def _overrides(self, values: dict[str, Any]) -> list[str]:
        return [*self.fixed, *(f"{key}={value}" for key, value in values.items())]

    def _run_batch(self, size: int) -> None:
        first = len(self.jobs.table.read())
        good, bad = [], []
        for _ in range(size):
            trial = self.study.ask(self.space)
            overrides = self._overrides(trial.params)
            try:
                _, directory = self.jobs.compose(overrides)
            except ValueError as error:
                bad.append((trial, overrides, one_line(error)))
            else:
                good.append((trial, [*overrides, self._address(trial)], directory))
        # the launcher numbers the jobs that it gets one after the other
        commands = self.jobs.add([(overrides, directory) for _, overrides, directory in good], first)
        rows = [
            Job(first + len(good) + index, "failed", None, None, tuple(given), "", error) for index, (_, given, error) in enumerate(bad)
        ]
        self.jobs.table.add(rows)
        try:
            if commands:
                self.jobs.run(commands, first)
        finally:
            trials = [trial for trial, *_ in (*good, *bad)]
            for trial, row in zip(trials, self.jobs.table.read()[first:], strict=True):
                self._conclude(trial, row)

    def _address(self, trial: Trial) -> str:
        settings = self.settings
        address = TrialAddress(
            self.url, self.name, trial._trial_id, settings.pruner, settings.n_startup_trials, settings.n_warmup_steps
        )  # fmt: skip
        return f"+hydra.job.env_set.{TRIAL_VARIABLE}={hydra_value(address.to_json())}"

    def _conclude(self, trial: Trial, row: Job) -> None:
        status, error = row.status, row.error
        if status == "completed" and (row.value is None or not math.isfinite(row.value)):
            status = "failed"
            error = f"{self.jobs.stage.monitor} is {row.value}" if row.value is not None else "it validated nothing, so it cannot be judged"
            self.jobs.table.update(row.number, status=status, error=error)
        trial.set_user_attr("directory", row.directory)
        self._tell(trial, status, row.value, error)

    def _tell(self, trial: Trial, status: str, value: float | None, error: str) -> None:
        trial.set_user_attr("status", status)
        if error:
            trial.set_user_attr("error", error)
        if status == "completed":
            self.study.tell(trial, value)
        else:
            self.study.tell(trial, state=TrialState.PRUNED if status == "pruned" else TrialState.FAIL)


def distribution(override: Override) -> BaseDistribution:
    """What a swept override leaves to choose, in Hydra's words: `a,b`, `choice(...)`, `range(...)`, `interval(...)`, `tag(log, ...)`.

    Raises:
        ValueError: for what is no range.
    """
    line = override.input_line
    if override.is_choice_sweep():
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    swept = override.value()
    assert isinstance(swept, RangeSweep | IntervalSweep)
    if unknown := swept.tags - {"log"}:
        raise ValueError(f"{line}: tag({min(unknown)},...) means nothing here; the only tag is log")
    log = "log" in swept.tags
    try:
        if isinstance(swept, RangeSweep):
            values = list(swept.range())
            if not values or swept.step <= 0:
                raise ValueError("the range is empty, or its step is not positive")
            step = None if log else swept.step
            if all(isinstance(value, int) for value in values):
                return IntDistribution(int(values[0]), int(values[-1]), log=log, step=int(step or 1))
            return FloatDistribution(float(values[0]), float(values[-1]), log=log, step=step)
        assert swept.start is not None
        assert swept.end is not None
        # int(interval(1,8)) is Hydra's way to ask for whole numbers
        if isinstance(swept.start, int) and isinstance(swept.end, int):
            return IntDistribution(swept.start, swept.end, log=log)
        return FloatDistribution(swept.start, swept.end, log=log)
    except ValueError as error:
        raise ValueError(f"{line}: {one_line(error)}") from error


def _ends(distribution: BaseDistribution) -> Sequence[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return distribution.low, distribution.high
