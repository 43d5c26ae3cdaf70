"""The progress bar: one line on a terminal, nothing elsewhere."""

import sys
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.callbacks.progress.rich_progress import RichProgressBarTheme

SHOWN = ("train/loss", "val/loss", "val/psnr")
STEPS_ON_DEVICE = 20
"""Steps between two looks at a device's losses, each of which waits for it."""


def is_shown() -> bool:
    """Whether there is a terminal to draw on."""
    return sys.stderr.isatty()


class ProgressLine(RichProgressBar):
    """Lightning's Rich bar with the losses by which a run is followed."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=10, theme=RichProgressBarTheme(metrics_format=".4g"), console_kwargs={"stderr": True})
        self.shown: dict[str, Any] = {}

    def _get_train_description(self, current_epoch: int) -> str:
        # Lightning would say 0/-2 where there is no last epoch
        last = self.trainer.max_epochs
        text = f"Epoch {current_epoch}" if last in (None, -1) else f"Epoch {current_epoch}/{last - 1}"
        return text.ljust(len(self.validation_description))

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """The few that fit into the line."""
        every = STEPS_ON_DEVICE if torch.cuda.is_available() else 1
        if not trainer.training or trainer.global_step % every == 0:
            metrics = super().get_metrics(trainer, pl_module)
            self.shown = {name: metrics[name] for name in SHOWN if name in metrics}
        return self.shown
