"""A job of an Optuna sweep reports each validation, and ends early where the study says so."""

import logging
import os
from typing import TYPE_CHECKING

from lightning.pytorch import Callback, LightningModule, Trainer

from training.outcomes import TRIAL_VARIABLE, Pruned
from training.trials import TrialAddress, open_trial

if TYPE_CHECKING:
    from optuna.trial import Trial

log = logging.getLogger(__name__)


class PruneTrial(Callback):
    """Reports the monitored value to the study; a job that promises nothing stops in all processes, its checkpoints saved.

    The first process alone talks to the study, and shares what it says.
    """

    def __init__(self, address: TrialAddress) -> None:
        self.address = address
        self.trial: Trial | None = None
        self.validations = 0
        self.pruned_at: float | None = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The value is that of all processes by now."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        self.validations += 1
        value = float(trainer.callback_metrics[pl_module.monitor])  # pyright: ignore[reportCallIssue, reportArgumentType]
        if trainer.strategy.broadcast(trainer.is_global_zero and self._should_prune(value)):
            self.pruned_at = value
            trainer.should_stop = True

    def _should_prune(self, value: float) -> bool:
        if self.trial is None:
            self.trial = open_trial(self.address)
        self.trial.report(value, self.validations)
        return self.trial.should_prune()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Nothing is tested.

        Raises:
            Pruned: when the study ended the job.
        """
        if self.pruned_at is not None:
            log.info("pruned after %d validations: %s=%.4g promises nothing", self.validations, pl_module.monitor, self.pruned_at)
            raise Pruned(self.pruned_at)


def pruning_callbacks() -> list[Callback]:
    """The callback of a job of an Optuna sweep; none for other runs."""
    text = os.environ.get(TRIAL_VARIABLE)
    if text is None:
        return []
    address = TrialAddress.from_json(text)
    return [] if address.pruner == "none" else [PruneTrial(address)]
