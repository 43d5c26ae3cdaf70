"""Ctrl-C and SIGTERM: finish the step, save a checkpoint, stop every process."""

import signal
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from training.checkpointing import LastCheckpoint, epoch_is_complete
from training.outcomes import Interrupted
from training.processes import agree_on_largest, make_cpu_group

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopOnSignal(Callback):
    """The first signal lets the running step finish and saves last.ckpt, in all processes at the same step; the second stops at once.

    Outside training steps, where nothing can be lost, the first one stops at once too.
    """

    def __init__(self, last: LastCheckpoint) -> None:
        self.last = last
        self.received = 0
        self.in_training_step = False
        self.stopping = 0
        self._group: Any = None

    def install(self) -> None:
        """Answer the signals from now on."""
        for number in SIGNALS:
            signal.signal(number, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received or not self.in_training_step:
            raise Interrupted(number)
        self.received = number

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning has put its own handlers in place by now; a handler that raises between two ranks' collectives would hang them."""
        self.install()
        self._group = make_cpu_group(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """From here to the step's end a signal waits."""
        self._stop_if_asked()
        self.in_training_step = True

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Save here if any process was asked to stop, and stop at the next hook: this step's metrics are logged in between."""
        received = agree_on_largest(self.received, self._group)
        accumulating = (batch_idx + 1) % trainer.accumulate_grad_batches and not epoch_is_complete(trainer)
        # gathered gradients are in no checkpoint
        if received and not accumulating:
            self.last.save(trainer)
            self.stopping = received

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """last.ckpt is written before a validation, so that it may be broken off; it is not made up for after a resume."""
        self._stop_if_asked()
        self.in_training_step = False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The last hook of an epoch."""
        self._stop_if_asked()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Training is over."""
        self.in_training_step = False
        if self.received:
            raise Interrupted(self.received)

    def _stop_if_asked(self) -> None:
        if self.stopping:
            raise Interrupted(self.stopping)
