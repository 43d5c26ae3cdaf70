"""One job: build, fit, test, return the monitored value."""

import csv
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.strategies import Strategy
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from datamodules import make_data_module
from datamodules.base import PictureDataModule
from lightning_modules import make_stage
from lightning_modules.base import Stage
from stylecolor.checkpoint import Checkpoint, read_checkpoint
from training.averaging import AveragedWeights
from training.checkpointing import AtomicCheckpointIO, BestCheckpoint, FurtherCheckpoints, LastCheckpoint
from training.config import ExperimentConfig, LightningConfig, TrainerConfig
from training.early_stopping import StopWithoutImprovement
from training.finders import find_batch_size, find_lr
from training.gradients import GradientNorm
from training.interruption import StopOnSignal
from training.loggers import close_loggers, make_loggers, publish_best
from training.monitoring import RunMonitor
from training.not_finite import StopOnNotFinite
from training.outcomes import Interrupted, Pruned
from training.points_curve import RevealedPointsCurve
from training.profiling import make_profiler
from training.progress import ProgressLine, is_shown
from training.pruning import pruning_callbacks
from training.ranks import global_rank, local_rank
from training.run_directory import BEST, LOG_FILE, SKIPPED_FILE, find_run, start_run, write_config
from training.run_log import log_to
from training.samples import SamplePictures

GRACE_SECONDS = 5
"""What the other processes get to end by themselves."""

log = logging.getLogger(__name__)


def run_job(config: ExperimentConfig, directory: Path, found_checkpoints: Mapping[str, str]) -> float | None:
    """Train as configured in a run directory; `found_checkpoints` are settings that were filled in, to be logged.

    Returns:
        The best monitored value, or None when nothing was validated.

    Raises:
        ValueError: for whatever the user can mend; the traceback is in train.log.
        Interrupted: after Ctrl-C or SIGTERM, the checkpoint being saved.
    """
    resumed = find_run(config.resume)[1] if config.resume else None
    if global_rank() == 0 and resumed is None:
        start_run(directory, config)
    directory.mkdir(parents=True, exist_ok=True)
    log_to(directory / LOG_FILE)
    for setting, path in found_checkpoints.items():
        log.info("%s: using the newest, %s", setting, path)
    for name, why in config.trainer.ignored().items():
        log.warning("trainer.%s is ignored by %s", name, why)
    # gradients that are infinite are a part of 16-mixed
    guard = StopOnNotFinite(directory, config.trainer.precision != "16-mixed") if config.trainer.stop_on_nan else None
    last = LastCheckpoint(directory, config.trainer.max_steps, guard.check if guard else None)
    stop = StopOnSignal(last)
    stop.install()
    try:
        return _train(config, directory, resumed, [*([guard] if guard else []), stop, last])
    except Interrupted as interrupted:
        if last.path.is_file():
            log.info("stopped by %s; continue with: python train.py resume=%s", interrupted, directory)
        raise
    except ValueError as error:
        if "in DataLoader worker process" not in str(error):
            raise
        # what the worker said stands last, below its traceback
        raise ValueError(str(error).strip().splitlines()[-1].removeprefix("ValueError: ")) from error
    except MisconfigurationException as error:
        raise ValueError(f"trainer: {str(error).strip()}") from error
    except torch.OutOfMemoryError as error:
        raise ValueError(
            "the device is out of memory; use a smaller data.batch_size (and trainer.accumulate_grad_batches), or data.image_size"
        ) from error
    except RuntimeError as error:
        if "does not have a deterministic implementation" in str(error):
            raise ValueError(
                f"trainer.deterministic=true: {str(error).partition(',')[0]}; use trainer.deterministic=warn, or another device"
            ) from error
        if not isinstance(error, dist.DistError) and "Connection closed by peer" not in str(error):
            raise
        raise ValueError(f"another process failed: its message stands above and in {directory / LOG_FILE}") from error
    finally:
        error = sys.exception()
        if isinstance(error, Exception):
            log.error("the run failed", exc_info=True)
        close_loggers(failed=error is not None and not isinstance(error, Pruned))


def _train(config: ExperimentConfig, directory: Path, resumed: Path | None, guards: list[Callback]) -> float | None:
    quieten_lightning()
    checkpoint = read_checkpoint(resumed, "resume", (config.stage.name,)) if resumed else None
    if checkpoint is None:
        _search(config, directory)
    data, stage = _build(config, directory, checkpoint)
    best = BestCheckpoint(directory, stage.monitor, stage.monitor_mode)
    watching = _watch(config.trainer, stage, directory)
    trainer = make_trainer(config, directory, checkpoint, [*watching, *guards, best, KeepSettings(config, directory)])
    if local_rank() == 0:
        data.check_processes(trainer.world_size)
        _check_validation_interval(config.trainer, data, trainer.world_size)
    log.info("run directory: %s", directory)
    if checkpoint is not None and 0 <= config.trainer.max_steps <= checkpoint.global_step:
        log.info("the run has made its %d steps already; give it more with trainer.max_steps", checkpoint.global_step)
        return None
    try:
        trainer.fit(stage, datamodule=data, ckpt_path=resumed, weights_only=True)
        if trainer.global_step == (checkpoint.global_step if checkpoint else 0):
            log.warning("no step was left to make; give the run more with trainer.max_epochs or trainer.max_steps")
        elif best.best_model_score is None and resumed is not None:
            _validate_now(trainer, stage, data, best)
        if not data.has_split("test"):
            log.info("data=%s has no test split, so nothing is tested", config.data.name)
        elif Path(best.best_model_path).is_file():
            trainer.test(stage, datamodule=data, ckpt_path=best.best_model_path, verbose=False, weights_only=True)
    except BaseException:
        _end_other_processes(trainer.strategy)
        raise
    for name, value in sorted(trainer.callback_metrics.items()):
        if name.startswith("test/"):
            log.info("%s: %.4g", name, value)
    score = best.best_model_score
    if score is None:
        return None
    publish_best(config, stage.monitor, float(score), Path(best.best_model_path))
    log.info("best %s: %.4g (%s)", stage.monitor, score, os.path.relpath(best.best_model_path))
    return float(score)


def _build(config: ExperimentConfig, directory: Path, checkpoint: Checkpoint | None) -> tuple[PictureDataModule, Stage]:
    """Data and stage, the same ones each time."""
    data = make_data_module(config.data, config.seed)
    _check_data(data, directory)
    wants_histogram = checkpoint is None and local_rank() == 0 and config.stage.wants_ab_histogram()
    histogram = data.ab_histogram() if wants_histogram else None
    # after the data, whose first pass draws random numbers that later runs, which find it cached, do not
    seed_everything(config.seed, workers=True, verbose=False)
    stage = make_stage(config.stage, checkpoint)
    if histogram is not None:
        stage.use_ab_histogram(histogram)
    return data, stage


def _search(config: ExperimentConfig, directory: Path) -> None:
    """Put what is to be found before a fresh run into its settings."""
    if config.trainer.find_batch_size:
        data, stage = _build(config, directory, None)
        config.data.batch_size = find_batch_size(config.trainer, stage, data, directory)
    if config.trainer.find_lr:
        data, stage = _build(config, directory, None)
        config.stage.optimizer.lr = find_lr(config.trainer, stage, data, directory)


def _watch(settings: TrainerConfig, stage: Stage, directory: Path) -> list[Callback]:
    """What watches over training, as far as it is asked for; the average comes first, as checkpoints are written in later callbacks."""
    watching: list[Callback] = []
    if settings.ema_decay is not None:
        watching.append(AveragedWeights(settings.ema_decay))
    if settings.log_gradient_norm:
        watching.append(GradientNorm())
    if settings.early_stopping_patience is not None:
        patience, min_delta = settings.early_stopping_patience, settings.early_stopping_min_delta
        watching.append(StopWithoutImprovement(directory, stage.monitor, stage.monitor_mode, patience, min_delta))
    if settings.save_top_k > 1:
        watching.append(FurtherCheckpoints(directory, stage.monitor, stage.monitor_mode, settings.save_top_k))
    return watching


class KeepSettings(Callback):
    """Writes a run's settings once training starts: what was found, and a resumed run's, which a mistake must not change."""

    def __init__(self, config: ExperimentConfig, directory: Path) -> None:
        self.config = config
        self.directory = directory

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """In the first process alone."""
        if trainer.is_global_zero:
            write_config(self.directory, self.config)


def _validate_now(trainer: Trainer, stage: Stage, data: PictureDataModule, best: ModelCheckpoint) -> None:
    """Make up for the only validation of a run, which an interruption broke off and Lightning takes for done."""
    trainer.validate(stage, datamodule=data, verbose=False)
    best.best_model_score = trainer.callback_metrics[stage.monitor]
    best.best_model_path = str(Path(str(best.dirpath)) / BEST)
    trainer.save_checkpoint(best.best_model_path)


def quieten_lightning() -> None:
    """Advice that is wrong here: workers are chosen by data.num_workers, and the loader does continue where a resumed run stopped."""
    for name in ("lightning", "lightning.pytorch", "lightning.fabric", "lightning_utilities"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",
        ".*resuming from a checkpoint that ended.*",
        ".*number of training batches.*smaller than the logging.*",
        ".*exists and is not empty.*",
        ".*using `DistributedSampler`.*",
        ".*Checkpoint directory.*",
        ".*callbacks used to create the checkpoint need to be provided.*",
        ".*_register_pytree_node.*",
        ".*single device.*distributed.*",
        ".*treespec.*LeafSpec.*",
        ".*in eval mode at the start of training.*",
    ):
        warnings.filterwarnings("ignore", message)


def make_trainer(config: ExperimentConfig, directory: Path, resumed: Checkpoint | None, callbacks: list[Callback]) -> Trainer:
    """Lightning's trainer with the run's loggers and callbacks.

    Raises:
        ValueError: for settings that Lightning refuses.
    """
    settings: dict[str, Any] = {field.name: getattr(config.trainer, field.name) for field in fields(LightningConfig)}
    settings["max_steps"] = -1  # LastCheckpoint counts the steps
    if settings["max_epochs"] is None:
        settings["max_epochs"] = 1 if config.trainer.max_steps == -1 else -1
    settings["profiler"] = make_profiler(config.trainer.profiler, directory)
    settings["enable_progress_bar"] = config.trainer.enable_progress_bar and is_shown()
    if settings["enable_progress_bar"]:
        callbacks.append(ProgressLine())
    loggers = make_loggers(config, directory, first_step=resumed.global_step if resumed else 0)
    callbacks += [RunMonitor(), SamplePictures(directory), RevealedPointsCurve(directory), *pruning_callbacks()]
    if config.trainer.precision == "16-mixed" and not torch.accelerator.is_available():
        raise ValueError(
            "trainer.precision=16-mixed does not exist on CPU, and there is no other device here; use trainer.precision=bf16-mixed"
        )
    try:
        return Trainer(
            **settings,
            default_root_dir=directory,
            logger=loggers,
            callbacks=callbacks,
            plugins=[AtomicCheckpointIO()],
            use_distributed_sampler=False,
            min_epochs=0,
        )
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"trainer: {str(error).strip()}") from error


def _check_validation_interval(settings: TrainerConfig, data: PictureDataModule, processes: int) -> None:
    batches = data.batches_per_epoch(processes)
    interval = settings.val_check_interval
    if isinstance(interval, int) and interval > batches and settings.check_val_every_n_epoch is not None:
        raise ValueError(
            f"trainer.val_check_interval={interval} is more than the {batches} batches of an epoch; use a share in 0..1, or "
            "trainer.check_val_every_n_epoch=null to count across epochs"
        )


def _check_data(data: PictureDataModule, directory: Path) -> None:
    """Meet the data's mistakes here, in the first process of the machine, before Lightning starts the others."""
    if local_rank() == 0:
        data.prepare_data()
        data.setup("fit")
        if data.has_split("test"):
            data.setup("test")
        _list_skipped(data, directory)


def _list_skipped(data: PictureDataModule, directory: Path) -> None:
    """Write which pictures and annotations are left out, and why, so that no data set gets smaller in silence."""
    if not data.skipped:
        return
    path = directory / SKIPPED_FILE
    with path.open("w", newline="", errors="surrogateescape") as file:
        rows = csv.writer(file)
        rows.writerow(("split", "name", "reason"))
        rows.writerows((split, name, reason) for (split, name), reason in sorted(data.skipped.items()))
    log.info("%d pictures or annotations are left out: %s", len(data.skipped), path)


def _end_other_processes(strategy: Strategy) -> None:
    """Nothing is left running: processes that this one started and that do not end with it are ended."""
    launcher = strategy.launcher
    if not isinstance(launcher, _SubprocessScriptLauncher):
        return
    for end in (subprocess.Popen.terminate, subprocess.Popen.kill):
        for process in launcher.procs:
            try:
                process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                end(process)
