"""Checkpoints that appear whole or not at all, and when they are written."""

import contextlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from training.run_directory import BEST, CHECKPOINTS, LAST


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the final name and renames, so that a full disk or a crash leaves the checkpoint before it whole."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Save, or keep what is there.

        Raises:
            ValueError: when the file cannot be written.
        """
        path = Path(path)
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with aside.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        # torch's zip writer turns an OSError into a RuntimeError
        except (OSError, RuntimeError) as error:
            reason = error.strerror if isinstance(error, OSError) else f"is the disk full? {error}"
            kept = "; the checkpoint before it is kept" if path.exists() else ""
            raise ValueError(f"cannot write {path} ({reason}){kept}") from error
        finally:
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Load tensors and plain values only."""
        return super().load_checkpoint(path, map_location, weights_only=True)


class BestCheckpoint(ModelCheckpoint):
    """Keeps best.ckpt, the validation with the lowest or highest monitored value, of all that the run has made."""

    def __init__(self, directory: Path, monitor: str, mode: str) -> None:
        super().__init__(
            directory / CHECKPOINTS,
            Path(BEST).stem,
            monitor=monitor,
            mode=mode,
            save_top_k=1,
            enable_version_counter=False,
            save_on_train_epoch_end=False,
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Believe best.ckpt itself: the checkpoint that the run goes on from was written before the validation of its step."""
        best = Path(str(self.dirpath)) / BEST
        if best.is_file():
            state_dict = torch.load(best, map_location="cpu", weights_only=True)["callbacks"][self.state_key]
            score = state_dict["best_model_score"]
            # of the run directory's own name, which may have changed
            paths = {"dirpath": self.dirpath, "best_model_path": str(best), "kth_best_model_path": str(best)}
            state_dict = {**state_dict, **paths, "best_k_models": {str(best): score}}
        super().load_state_dict(state_dict)


class FurtherCheckpoints(ModelCheckpoint):
    """Keeps the best validations beside best.ckpt, as step_<step>_<monitored value>.ckpt, of all that the run has made."""

    def __init__(self, directory: Path, monitor: str, mode: str, number: int) -> None:
        super().__init__(
            directory / CHECKPOINTS,
            f"step_{{step:08d}}_{monitor.rpartition('/')[2]}_{{{monitor}:.4f}}",
            monitor=monitor,
            mode=mode,
            save_top_k=number,
            auto_insert_metric_name=False,
            enable_version_counter=False,
            save_on_train_epoch_end=False,
        )
        self.surplus: list[str] = []

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Believe the files: the newest one says which there were besides, see `BestCheckpoint`."""
        directory = Path(str(self.dirpath))
        newest = max((path for path in directory.glob("step_*.ckpt") if _STEP.match(path.name)), key=_step_of, default=None)
        if newest is None:
            return
        kept = torch.load(newest, map_location="cpu", weights_only=True)["callbacks"][self.state_key]["best_k_models"]
        # of the run directory's own name, which may have changed
        values = {str(directory / Path(path).name): value for path, value in kept.items() if (directory / Path(path).name).is_file()}
        from_best = sorted(values, key=lambda path: float(values[path]), reverse=self.mode == "max")
        self.surplus = from_best[self.save_top_k :]
        self.best_k_models = {path: values[path] for path in from_best[: self.save_top_k]}
        self.best_model_path = from_best[0]
        self.best_model_score = values[from_best[0]]
        if len(self.best_k_models) == self.save_top_k:
            self.kth_best_model_path = from_best[self.save_top_k - 1]
            self.kth_value = values[self.kth_best_model_path]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remove what a run that goes on is to keep no longer; every process has read the files by now."""
        super().on_train_start(trainer, pl_module)
        if trainer.is_global_zero:
            for path in self.surplus:
                Path(path).unlink()


_STEP = re.compile(r"step_(\d+)_")


def _step_of(path: Path) -> int:
    found = _STEP.match(path.name)
    assert found is not None
    return int(found[1])


class LastCheckpoint(Callback):
    """Ends training after `max_steps` (-1 for no limit) and keeps last.ckpt: before validations, at epochs' ends and at the last step.

    Lightning's own `max_steps` is not used: a run resumed with it counts a complete epoch twice. Where `trainer.max_steps` or
    `trainer.max_time` ends training in mid-epoch, the state is that of mid-epoch, from which a run that is given more steps goes on; and
    that step is validated, so that a short run too leaves a best.ckpt.

    Args:
        directory: the run directory.
        max_steps: optimiser steps.
        check: called in every process before anything is written; raises where the weights are not worth keeping.
    """

    def __init__(self, directory: Path, max_steps: int = -1, check: Callable[[Trainer], None] | None = None) -> None:
        self.path = directory / CHECKPOINTS / LAST
        self.max_steps = max_steps
        self.check = check
        self.batches_per_epoch: int | float | None = None
        self.saved_step = -1

    def state_dict(self) -> dict[str, Any]:
        """Kept in the checkpoint."""
        return {"batches_per_epoch": self.batches_per_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Read from the checkpoint that a run goes on from."""
        self.batches_per_epoch = state_dict["batches_per_epoch"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse to go on in mid-epoch with another number of batches in an epoch: no picture would be where it was.

        Raises:
            ValueError: naming both numbers and what they depend on.
        """
        batches = trainer.num_training_batches
        if self.batches_per_epoch is not None and batches != self.batches_per_epoch:
            done = trainer.fit_loop.epoch_loop.batch_progress.total.ready
            if done % self.batches_per_epoch:
                raise ValueError(
                    f"resume: the run stands in mid-epoch, of {self.batches_per_epoch} batches, and now there are {batches}; go on with "
                    "the same data.batch_size, trainer.devices and trainer.limit_train_batches"
                )
        self.batches_per_epoch = batches

    def save(self, trainer: Trainer) -> None:
        """Write last.ckpt; every process has to call it."""
        if self.check is not None:
            self.check(trainer)
        if not trainer.fast_dev_run:  # pyright: ignore[reportAttributeAccessIssue]
            trainer.save_checkpoint(self.path)
            self.saved_step = trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Save what ends training in mid-epoch."""
        if 0 < self.max_steps <= trainer.global_step:
            # Lightning validates before a stop that was asked for, in an epoch whose turn it is
            trainer.should_stop = True
            if trainer.check_val_every_n_epoch is not None:
                trainer.check_val_every_n_epoch = 1
        if trainer.should_stop and not epoch_is_complete(trainer):
            self.save(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Before validation, which can take long."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking and self.saved_step != trainer.global_step:
            self.save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """At the end of each epoch, which is another state than that of its last step."""
        if epoch_is_complete(trainer) or self.saved_step != trainer.global_step:
            self.save(trainer)


def epoch_is_complete(trainer: Trainer) -> bool:
    """Whether the running batch is the last of its epoch."""
    return trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
