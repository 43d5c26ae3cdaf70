"""What the stages share: optimiser and schedule, named losses, PSNR, and what a checkpoint says of itself."""

import logging
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int64
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.image import PeakSignalNoiseRatio

from datamodules.batch import Batch
from lightning_modules.config import StageConfig
from stylecolor import checkpoint
from stylecolor.checkpoint import Checkpoint
from stylecolor.color import join_lab

log = logging.getLogger(__name__)


class StepOutput(NamedTuple):
    """What a stage computes from a batch: named losses, or other numbers whose mean over the pictures says something (`loss` is the one
    to minimise), and the ab maps that the sample pictures show."""

    losses: dict[str, Tensor]
    coarse_ab: Tensor
    ab: Tensor


class Stage(LightningModule):
    """Base of the stages. A subclass defines its networks, `networks`, `loss_names` and `step`.

    `monitor` and `monitor_mode` are its config's. `further_psnr_names` are those of `further_ab`.
    """

    monitor = StageConfig.monitor
    monitor_mode = StageConfig.monitor_mode
    loss_names: tuple[str, ...] = ("loss",)
    further_psnr_names: tuple[str, ...] = ()

    def __init__(self, config: StageConfig) -> None:
        super().__init__()
        self.config = config
        for name, why in config.ignored().items():
            log.warning("stage.%s is ignored by %s", name, why)
        losses = {name: MeanMetric() for name in self.loss_names}
        psnr = {name: PeakSignalNoiseRatio(data_range=1.0, dim=(1, 2, 3)) for name in ("psnr", *self.further_psnr_names)}
        metrics = MetricCollection({**losses, **psnr}, compute_groups=False)
        self.last_losses: dict[str, Tensor] = {}
        self.val_metrics = metrics.clone(prefix="val/")
        self.test_metrics = metrics.clone(prefix="test/")

    def networks(self) -> dict[str, dict[str, Any]]:
        """The settings of each network and of the pipeline, plain values, by which a checkpoint is rebuilt."""
        raise NotImplementedError

    def step(self, batch: Batch) -> StepOutput:
        """Forward pass and losses."""
        raise NotImplementedError

    def further_ab(self, batch: Batch) -> dict[str, Tensor]:
        """Other ab maps of the batch's first pictures, as many as there are maps, whose PSNR evaluation logs by these names."""
        return {}

    def use_ab_histogram(self, histogram: Int64[np.ndarray, "256 256"]) -> None:
        """Take in, before a fresh run starts, how often each rounded ab occurs in the training pictures: cell [a + 128, b + 128].

        Called where `StageConfig.wants_ab_histogram` says so, in the first process of each machine: DDP gives buffers to the others.
        """
        raise NotImplementedError

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What the optimiser trains: all that is not frozen, at `stage.optimizer.lr`."""
        return [{"params": [parameter for parameter in self.parameters() if parameter.requires_grad]}]

    def use_memory_format(self) -> None:
        """Put convolution weights in the memory order of `stage.channels_last`; activations follow their weights."""
        if self.config.channels_last:
            self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Log every loss by name under train/, and keep them in `last_losses`."""
        losses = self.step(batch).losses
        self.last_losses = {name: value.detach() for name, value in losses.items()}
        self.log_dict({f"train/{name}": value for name, value in self.last_losses.items()}, prog_bar=True, batch_size=len(batch))
        return losses["loss"]

    def _evaluate(self, metrics: MetricCollection, batch: Batch) -> StepOutput:
        output = self.step(batch)
        for name, value in output.losses.items():
            # weighted by pictures: means stay exact whatever the batches and processes
            metrics[name].update(value, weight=len(batch))
        for name, ab in {"psnr": output.ab, **self.further_ab(batch)}.items():
            metrics[name].update(join_lab(batch.target_l[: len(ab)], ab), batch.target_rgb[: len(ab)])
        self.log_dict(metrics, on_step=False, on_epoch=True, prog_bar=True)  # pyright: ignore[reportArgumentType]
        return output

    def validation_step(self, batch: Batch, batch_index: int) -> StepOutput:
        """Log every loss and the PSNR of the joined picture under val/."""
        return self._evaluate(self.val_metrics, batch)

    def test_step(self, batch: Batch, batch_index: int) -> StepOutput:
        """Log every loss and the PSNR of the joined picture under test/."""
        return self._evaluate(self.test_metrics, batch)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam over what is not frozen."""
        settings = self.config.optimizer
        optimizer = torch.optim.Adam(self.parameter_groups(), lr=settings.lr, weight_decay=settings.weight_decay)
        if settings.schedule == "constant":
            return optimizer
        if settings.schedule == "step":
            scheduler = torch.optim.lr_scheduler.StepLR(optimizer, settings.step_epochs, settings.gamma)
        else:
            scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, settings.milestones, settings.gamma)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "epoch"}}

    def on_save_checkpoint(self, checkpoint_contents: dict[str, Any]) -> None:
        """Record stage and network settings, so that the library can read the checkpoint."""
        checkpoint_contents[checkpoint.KEY] = checkpoint.describe(self.config.name, **self.networks())


def check_resumed(resumed: Checkpoint, config: StageConfig) -> None:
    """Refuse to go on from a checkpoint whose networks were made for another width.

    Raises:
        ValueError: naming both widths.
    """
    for settings in resumed.networks.values():
        found = settings.get("width", config.width)
        if found != config.width:
            raise ValueError(
                f"resume={resumed.path}: was trained with stage.width={found:g}, this run has stage.width={config.width:g}; use the same"
            )
