"""Learning rate, time and pictures per second, share of time spent waiting for data, memory."""

import time
from typing import Any

import psutil
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

GIB = 2**30


class RunMonitor(Callback):
    """Logs learning rate, speed and memory every `log_every_n_steps` steps, from the host's clock: no device is waited for.

    Validations, with the checkpoints that are written before and after them, are left out of the time. Waiting is the time from the end
    of a step until its successor's pictures have come from the loader.
    """

    def __init__(self) -> None:
        self._reset(time.perf_counter())

    def _reset(self, now: float) -> None:
        self.window_start = now
        self.step_end = now
        self.validated = False
        self.waited = 0.0
        self.pictures = 0
        self.batches = 0

    def _leave_out_validation(self, now: float) -> None:
        """Go on as if there had been nothing since the end of the step."""
        if self.validated:
            self.epoch_start += now - self.step_end
            self.window_start += now - self.step_end
            self.step_end = now
            self.validated = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self.logged_step = trainer.global_step
        # of a resumed epoch there is no other start
        self.epoch_start = time.perf_counter()
        self.whole_epoch = False
        self._reset(self.epoch_start)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the epoch's clock."""
        self.epoch_start = time.perf_counter()
        self.whole_epoch = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log how long an epoch took that was trained from its first batch to its last."""
        now = time.perf_counter()
        self._leave_out_validation(now)
        # what is done at an epoch's end is no waiting
        self.step_end = now
        if self.whole_epoch and trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            pl_module.log("speed/seconds_per_epoch", now - self.epoch_start, rank_zero_only=True)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What is between two steps is more than waiting."""
        self.validated = True

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """The loader's batch is here since the data module saw it."""
        # equal in an uninterrupted run; after a resume Lightning's count, which numbers the rows of metrics, can be one off
        trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step
        self._leave_out_validation(time.perf_counter())
        fetched = trainer.datamodule.fetched_at  # pyright: ignore[reportAttributeAccessIssue]
        self.waited += max(0.0, fetched - self.step_end)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Log at the end of each window."""
        now = time.perf_counter()
        self.step_end = now
        self.pictures += len(batch) * trainer.world_size
        self.batches += 1
        # Lightning's rule for the rows of metrics: every so many optimiser steps
        if trainer.global_step == self.logged_step or trainer.global_step % trainer.log_every_n_steps:  # pyright: ignore[reportAttributeAccessIssue]
            return
        self.logged_step = trainer.global_step
        elapsed = now - self.window_start
        values = {
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "speed/pictures_per_second": self.pictures / elapsed,
            "speed/seconds_per_batch": elapsed / self.batches,
            "speed/waiting_for_data": self.waited / elapsed,
            "memory/host_gib": psutil.Process().memory_info().rss / GIB,
        }
        if pl_module.device.type == "cuda":
            values["memory/device_gib"] = torch.cuda.max_memory_allocated(pl_module.device) / GIB
        pl_module.log_dict(values, on_step=True, on_epoch=False, rank_zero_only=True)
        self._reset(now)
