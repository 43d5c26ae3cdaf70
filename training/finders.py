"""Searches before training: the largest batch that the device holds, and a learning rate."""

import io
import logging
from contextlib import nullcontext, redirect_stderr
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Trainer
from lightning.pytorch.tuner import Tuner

from datamodules.base import PictureDataModule
from lightning_modules.base import Stage
from stylecolor.whole_file import written_whole
from training.checkpointing import AtomicCheckpointIO
from training.config import TrainerConfig
from training.progress import is_shown

LOWEST_LR, HIGHEST_LR = 1e-7, 1.0
LR_STEPS = 100
LEFT_OUT_STEPS = 10
"""At the curve's beginning, where the smoothed loss has not settled."""
LR_CURVE = "find_lr.png"
OF_TRAINER = (
    "accelerator", "devices", "precision", "accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm", "deterministic",
    "benchmark",
)  # fmt: skip
"""What the searches take from the run's own settings."""

log = logging.getLogger(__name__)


def make_search_trainer(settings: TrainerConfig, directory: Path) -> Trainer:
    """A trainer that logs and keeps nothing.

    Raises:
        ValueError: where there are several processes.
    """
    trainer = Trainer(
        **{name: getattr(settings, name) for name in OF_TRAINER},
        max_epochs=-1,
        # later than any search lasts
        check_val_every_n_epoch=10**9,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=directory,
        plugins=[AtomicCheckpointIO()],
        use_distributed_sampler=False,
    )
    if trainer.world_size > 1:
        raise ValueError(
            f"trainer.devices={settings.devices}: trainer.find_lr and trainer.find_batch_size search on one device; search with "
            "trainer.devices=1 first, and give this run what is found"
        )
    return trainer


def find_batch_size(settings: TrainerConfig, stage: Stage, data: PictureDataModule, directory: Path) -> int:
    """The largest power of 2 (or the whole training split) whose training steps fit on the device; `stage` and `data` are used up.

    Raises:
        ValueError: on a CPU, which ends a process whose memory is full instead of telling it so, and see `make_search_trainer`.
    """
    trainer = make_search_trainer(settings, directory)
    if trainer.strategy.root_device.type == "cpu":
        raise ValueError(
            "trainer.find_batch_size: needs a device that says when its memory is full, a CPU does not; choose data.batch_size"
        )
    return search_batch_size(trainer, stage, data)


def search_batch_size(trainer: Trainer, stage: Stage, data: PictureDataModule) -> int:
    """Double the batch until memory is full or the training split is used up."""
    Tuner(trainer).scale_batch_size(stage, datamodule=data, mode="power")
    log.info("trainer.find_batch_size: data.batch_size=%d", data.batch_size)
    return data.batch_size


def find_lr(settings: TrainerConfig, stage: Stage, data: PictureDataModule, directory: Path) -> float:
    """The learning rate at which the loss falls fastest (Smith 2017, section 3.3); `stage` and `data` are used up.

    The rate rises with each of 100 steps, from 1e-7 to 1 or until the loss has grown to four times its lowest. All parameters learn at
    the same rate meanwhile, `stage.lr_factors` or not. The curve is drawn into find_lr.png.

    Raises:
        ValueError: when the loss falls nowhere, and see `make_search_trainer`.
    """
    trainer = make_search_trainer(settings, directory)
    # the search has a bar of its own, which does not ask whether there is a terminal
    with nullcontext() if is_shown() else redirect_stderr(io.StringIO()):
        finder = Tuner(trainer).lr_find(
            stage, datamodule=data, min_lr=LOWEST_LR, max_lr=HIGHEST_LR, num_training=LR_STEPS, update_attr=False
        )
    assert finder is not None
    rates, losses = np.array(finder.results["lr"]), np.array(finder.results["loss"])
    suggested = suggest_lr(rates, losses)
    draw_lr_curve(rates, losses, suggested, directory / LR_CURVE)
    if suggested is None:
        raise ValueError(f"trainer.find_lr: the loss falls at no learning rate, see {directory / LR_CURVE}; choose stage.optimizer.lr")
    log.info("trainer.find_lr: stage.optimizer.lr=%.3g, see %s", suggested, directory / LR_CURVE)
    return suggested


def suggest_lr(rates: np.ndarray, losses: np.ndarray) -> float | None:
    """The rate of the steepest descent against the rate's logarithm; None where there is none.

    Lightning's own suggestion takes the slope against the rate itself, which is steepest at the lowest rates by their noise alone.

    Args:
        rates: rising, shape (steps,).
        losses: smoothed, shape (steps,).
    """
    rates, losses = rates[LEFT_OUT_STEPS:], losses[LEFT_OUT_STEPS:]
    finite = np.isfinite(losses)
    rates, losses = rates[finite], losses[finite]
    if len(rates) < 2:
        return None
    slopes = np.gradient(losses, np.log(rates))
    steepest = int(slopes.argmin())
    return float(f"{rates[steepest]:.3g}") if slopes[steepest] < 0 else None


def draw_lr_curve(rates: np.ndarray, losses: np.ndarray, suggested: float | None, path: Path) -> None:
    """The smoothed loss against the learning rate, with a line at the suggested one."""
    # imported late, as it takes long and few runs draw
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.5), layout="constrained")
    axis: Any = figure.subplots()
    axis.plot(rates[LEFT_OUT_STEPS:], losses[LEFT_OUT_STEPS:])
    if suggested is not None:
        axis.axvline(suggested, color="tab:red", linestyle="--", label=f"{suggested:.3g}")
        axis.legend()
    axis.set(xscale="log", xlabel="learning rate", ylabel="loss, smoothed")
    axis.grid(alpha=0.3)
    with written_whole(path) as aside:
        figure.savefig(aside, dpi=100)
