"""An Optuna study's parts, made alike by the sweep, which chooses the jobs, and by each job, which reports to it.

Optuna is imported where it is used: training without a sweep does not need it.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from training.sweep_config import OptunaSweepConfig

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.storages import RDBStorage
    from optuna.trial import Trial

BUSY_SECONDS = 60
"""How long to wait for an SQLite file that another job is writing to."""
PERCENTILE = 25.0


@dataclass(frozen=True)
class TrialAddress:
    """Where a job finds its trial."""

    storage: str
    study: str
    trial: int
    """Optuna's id of it, unique in the storage."""
    pruner: str
    n_startup_trials: int
    n_warmup_steps: int

    def to_json(self) -> str:
        """As an environment variable holds it."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> TrialAddress:
        """Inverse of `to_json`."""
        return TrialAddress(**json.loads(text))


def require_optuna() -> None:
    """Refuse to go on without Optuna, and keep it from writing to the terminal.

    Raises:
        ValueError: when it is not installed, with the remedy.
    """
    if importlib.util.find_spec("optuna") is None:
        raise ValueError("sweep: needs Optuna, which is not installed; pip install optuna")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)


def open_storage(url: str) -> RDBStorage:
    """The database behind a URL.

    Raises:
        ValueError: when it cannot be opened.
    """
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return RDBStorage(url, engine_kwargs={"connect_args": {"timeout": BUSY_SECONDS}} if url.startswith("sqlite") else None)
    except (SQLAlchemyError, ImportError, RuntimeError) as error:
        reason = " ".join(str(error.__cause__ or error).split("\n")[0].split())
        raise ValueError(f"sweep.storage={url}: cannot be opened ({reason})") from error


def make_sampler(settings: OptunaSweepConfig, finished: int) -> BaseSampler:
    """The sampler of the trials after the first `finished` ones, which must not draw the same ones again."""
    from optuna.samplers import RandomSampler, TPESampler

    seed = settings.seed + finished
    if settings.sampler == "random":
        return RandomSampler(seed=seed)
    return TPESampler(seed=seed, n_startup_trials=settings.n_startup_trials, constant_liar=settings.n_jobs > 1)


def make_pruner(name: str, n_startup_trials: int, n_warmup_steps: int) -> BasePruner:
    """The pruner that `sweep.pruner` names; its steps are validations, the first of which is 1."""
    from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner, PercentilePruner

    if name == "median":
        return MedianPruner(n_startup_trials, n_warmup_steps)
    if name == "percentile":
        return PercentilePruner(PERCENTILE, n_startup_trials, n_warmup_steps)
    return HyperbandPruner() if name == "hyperband" else NopPruner()


def open_trial(address: TrialAddress) -> Trial:
    """The job's own trial."""
    require_optuna()
    import optuna

    pruner = make_pruner(address.pruner, address.n_startup_trials, address.n_warmup_steps)
    study = optuna.load_study(study_name=address.study, storage=open_storage(address.storage), pruner=pruner)
    return optuna.trial.Trial(study, address.trial)
