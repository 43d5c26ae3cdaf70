"""Training ends when its monitored value has not become better for some validations."""

import csv
import logging
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping

from training.run_directory import METRICS_FILE

log = logging.getLogger(__name__)


class StopWithoutImprovement(EarlyStopping):
    """Lightning's early stopping, which a resumed run takes up from the values in metrics.csv.

    A checkpoint cannot hold its state: last.ckpt is written before the validation of its step.

    Args:
        directory: the run directory.
        monitor: the metric.
        mode: `min` or `max`.
        patience: validations in a row without a better value, after which training ends.
        min_delta: by how much a value has to be better to count.
    """

    def __init__(self, directory: Path, monitor: str, mode: str, patience: int, min_delta: float) -> None:
        super().__init__(monitor, min_delta, patience, mode=mode, check_on_train_epoch_end=False)
        self.metrics_file = directory / METRICS_FILE

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See the class."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count again what this run has measured so far."""
        for value in self._measured():
            self._evaluate_stopping_criteria(torch.tensor(value))

    def _measured(self) -> list[float]:
        if not self.metrics_file.is_file():
            return []
        with self.metrics_file.open(newline="") as file:
            return [float(row[self.monitor]) for row in csv.DictReader(file) if row.get(self.monitor)]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say so where this validation was the last one."""
        before = trainer.should_stop
        super().on_validation_end(trainer, pl_module)
        if trainer.should_stop and not before and trainer.is_global_zero:
            log.info(
                "stopped early: %s has not been better than %.4g for %d validations (trainer.early_stopping_patience)",
                self.monitor,
                self.best_score,
                self.wait_count,
            )
