"""The exponential moving average of the weights: what is validated, tested, and kept in a checkpoint for inference."""

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import Tensor


class AveragedWeights(EMAWeightAveraging):
    """Lightning's average, on the training device and without waiting for it; what training goes on from stays in the checkpoint too.

    average = decay * average + (1 - decay) * weights after each optimiser step, beginning with the weights of the first one; BatchNorm's
    statistics are averaged like the weights that they belong to, and its counters are those of the newest weights.

    Args:
        decay: 0..1; the average reaches back about 1 / (1 - decay) steps.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(decay=decay)
        self.decay = decay

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """The module is not on its device yet, where Lightning would leave the average behind."""
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        """After each optimiser step; torch's own update asks the device twice how many there have been."""
        if trainer.global_step > self._latest_update_step:
            self._update(pl_module, first=self._latest_update_step == 0)
            self._latest_update_step = trainer.global_step

    @torch.no_grad()
    def _update(self, module: LightningModule, first: bool) -> None:
        assert self._average_model is not None
        average = self._average_model.module
        parameters = ((mine, new) for mine, new in zip(average.parameters(), module.parameters(), strict=True) if new.requires_grad)
        tensors: list[tuple[Tensor, Tensor]] = [*parameters, *zip(average.buffers(), module.buffers(), strict=True)]
        moving = [(mine, new) for mine, new in tensors if new.is_floating_point() and not first]
        if moving:
            torch._foreach_lerp_([mine for mine, _ in moving], [new for _, new in moving], 1 - self.decay)
        for mine, new in tensors:
            if first or not new.is_floating_point():
                mine.copy_(new)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The module keeps what training goes on from: what is tested is read from best.ckpt."""

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """A test takes the average, which stands where weights always do; Lightning would give it the newest weights."""
        if trainer.state.fn == "fit":
            super().on_load_checkpoint(trainer, pl_module, checkpoint)
