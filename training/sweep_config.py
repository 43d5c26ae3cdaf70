"""The settings of `sweep=`: how `-m` chooses the settings of its jobs. Imports nothing heavy."""

from dataclasses import dataclass, field

from stylecolor.errors import check_choice, check_range
from training.config import ExperimentConfig

SAMPLERS = ("tpe", "random")
PRUNERS = ("median", "percentile", "hyperband", "none")


@dataclass
class SweepConfig:
    """`sweep=grid`: every combination of the values that are given."""

    name: str = "grid"
    """How the jobs are chosen, as in `sweep=`."""


@dataclass
class OptunaSweepConfig(SweepConfig):
    """`sweep=optuna`: jobs are chosen by the values of those before, and ended early where they promise nothing."""

    name: str = "optuna"
    n_trials: int = 20
    """Jobs in all; when a sweep goes on, those that were finished before count too."""
    n_jobs: int = 1
    """Jobs that are chosen at once, for launchers that run several side by side."""
    sampler: str = "tpe"
    """`tpe` (tree-structured Parzen estimator; Bergstra et al., NeurIPS 2011) or `random`."""
    seed: int = 0
    """Of the sampler."""
    n_startup_trials: int = 5
    """Finished jobs before the sampler and the pruner start to learn from them."""
    pruner: str = "median"
    """What ends jobs early: `median` or `percentile` (the best quarter goes on) of the others at that validation, `hyperband` or `none`."""
    n_warmup_steps: int = 1
    """Validations that a job may make before `median` or `percentile` end it."""
    storage: str | None = None
    """URL of the study's database, such as postgresql://...; null is the SQLite file study.db in the sweep's directory."""
    study_name: str | None = None
    """The study's name there; null is the sweep directory's name, or `sweep` in study.db."""
    resume: str | None = None
    """The directory of a sweep that is to go on, with its own settings."""

    def __post_init__(self) -> None:
        check_range("sweep.n_trials", self.n_trials, low=1)
        check_range("sweep.n_jobs", self.n_jobs, low=1)
        check_choice("sweep.sampler", self.sampler, SAMPLERS)
        check_range("sweep.seed", self.seed, low=0, high=2**31 - 1)
        check_range("sweep.n_startup_trials", self.n_startup_trials, low=0)
        check_choice("sweep.pruner", self.pruner, PRUNERS)
        check_range("sweep.n_warmup_steps", self.n_warmup_steps, low=0)


@dataclass
class RandomSweepConfig(OptunaSweepConfig):
    """`sweep=random`: the values of each job are drawn at random, and none is ended early."""

    name: str = "random"
    sampler: str = "random"
    pruner: str = "none"


SWEEPS: dict[str, type[SweepConfig]] = {"grid": SweepConfig, "optuna": OptunaSweepConfig, "random": RandomSweepConfig}


@dataclass
class CommandConfig(ExperimentConfig):
    """All that the command line of train.py can set: an experiment, and how a sweep varies it."""

    sweep: SweepConfig = field(default_factory=SweepConfig)
