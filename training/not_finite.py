"""Training ends at a loss or a gradient that is no finite number, and keeps the batch that brought it."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from datamodules.base import PictureDataModule
from stylecolor.errors import name_few
from stylecolor.whole_file import written_whole
from training.gradients import gradient_norm
from training.processes import agree_on_largest, gather, make_cpu_group
from training.run_directory import CHECKPOINTS, LAST

CHECK_EVERY = 100
"""Batches after which is looked, if metrics are logged less often."""


@dataclass
class Step:
    """What is remembered of a batch until it is looked at; tensors stay on the device.

    `number` counts the run's batches from 0, `step` is its optimiser step, as in metrics.csv.
    """

    number: int
    step: int
    losses: dict[str, Tensor]
    gradient_norm: Tensor | None
    bad_loss: Tensor
    bad_gradient: Tensor


class StopOnNotFinite(Callback):
    """Looks every `log_every_n_steps` steps and before each last.ckpt, in all processes at once, so that none waits for another one.

    No device is waited for in between. With 16-mixed the gradients are left alone: its loss scaling makes infinite ones and skips them.

    Args:
        directory: the run directory, which gets not_finite_step_<step>.pt: the pictures (sRGB in [0, 1]), ids, keys, losses and gradient
            norm of that batch.
        check_gradients: whether to look at gradients too.
    """

    def __init__(self, directory: Path, check_gradients: bool) -> None:
        self.directory = directory
        self.check_gradients = check_gradients
        self.steps: list[Step] = []
        self.norm: Tensor | None = None
        self.step = 0
        self._group: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prepare to talk to the other processes."""
        self._group = make_cpu_group(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Note the step's number."""
        self.step = trainer.global_step
        self.norm = None

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Measure the gradients, before clipping."""
        if self.check_gradients:
            self.norm = gradient_norm(pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Remember; and look, where it is time."""
        bad_loss = ~outputs["loss"].detach().isfinite()
        bad_gradient = torch.zeros_like(bad_loss) if self.norm is None else ~self.norm.isfinite()
        number = trainer.fit_loop.epoch_loop.batch_progress.total.ready - 1
        losses: dict[str, Tensor] = pl_module.last_losses  # pyright: ignore[reportAssignmentType]
        self.steps.append(Step(number, self.step, losses, self.norm, bad_loss, bad_gradient))
        if len(self.steps) >= min(trainer.log_every_n_steps, CHECK_EVERY):  # pyright: ignore[reportAttributeAccessIssue]
            self.check(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The last steps."""
        self.check(trainer)

    def check(self, trainer: Trainer) -> None:
        """Look at all steps since the last time; every process has to call it.

        Raises:
            ValueError: naming the first step that was not finite, its pictures, and the file with them, in every process.
        """
        steps, self.steps = self.steps, []
        if not steps:
            return
        bad_losses = torch.stack([step.bad_loss for step in steps]).tolist()
        bad_gradients = torch.stack([step.bad_gradient for step in steps]).tolist()
        bad = [loss or gradient for loss, gradient in zip(bad_losses, bad_gradients, strict=True)]
        # how many steps are left from the first bad one on: the earliest of all processes has the most
        left = agree_on_largest(len(steps) - bad.index(True) if any(bad) else 0, self._group)
        if not left:
            return
        first = len(steps) - left
        # a bad gradient of one process is soon that of all, so the loss tells whose pictures it was
        by_loss = gather(bad_losses[first], self._group)
        culprit = bad_losses[first] if any(by_loss) else bad[first]
        found = gather(self._save(trainer, steps[first]) if culprit else ([], None), self._group)
        ids = [name for names, _ in found for name in names]
        paths = [str(path) for _, path in found if path is not None]
        what = f"{'loss' if any(by_loss) else 'gradient'} of step {steps[first].step}"
        again = "start again with a lower stage.optimizer.lr or trainer.gradient_clip_val=1"
        if (self.directory / CHECKPOINTS / LAST).is_file():
            changed = "trainer.gradient_clip_val=1, or start again with a lower stage.optimizer.lr"
            again = f"go on from before with resume={self.directory} {changed}"
        raise ValueError(f"the {what} is not a finite number; its pictures ({name_few(ids)}) are in {', '.join(paths)}; {again}")

    def _save(self, trainer: Trainer, step: Step) -> tuple[list[str], Path]:
        """Fetch the batch again, which is the same every time, and keep it."""
        data: PictureDataModule = trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        batch = data.training_batch(step.number)
        process = f"_process_{trainer.global_rank}" if trainer.world_size > 1 else ""
        path = self.directory / f"not_finite_step_{step.step:08d}{process}.pt"
        contents = {
            "step": step.step,
            "epoch": trainer.current_epoch,
            "ids": batch.ids,
            "keys": batch.keys,
            "target_rgb": batch.target_rgb,
            "reference_rgb": batch.reference_rgb,
            "losses": {name: float(value) for name, value in step.losses.items()},
            "gradient_norm": None if step.gradient_norm is None else float(step.gradient_norm),
        }
        with written_whole(path) as aside:
            torch.save(contents, aside)
        return batch.ids, Path(os.path.relpath(path))
