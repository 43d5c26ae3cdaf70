"""The settings of a whole experiment: stage, data, trainer, logger."""

import re
from dataclasses import dataclass, field
from typing import Any

from datamodules.config import DataConfig
from lightning_modules.config import StageConfig
from stylecolor.errors import check_choice, check_range

ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true")
PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")


@dataclass
class LightningConfig:
    """Arguments of Lightning's Trainer, by their own names."""

    accelerator: str = "auto"
    """`auto`, `cpu`, `gpu`, `cuda` or `mps`."""
    devices: Any = 1
    """Number of devices (processes on a CPU), a list of device numbers, or `auto` for all."""
    num_nodes: int = 1
    """Machines, when started by torchrun or SLURM."""
    strategy: str = "auto"
    """`auto` (one process, or DDP for several), or how several processes work together."""
    precision: str = "32-true"
    """`32-true`, `16-mixed` (not on CPU) or `bf16-mixed`."""
    max_epochs: int | None = None
    """Epochs; -1 for no limit; null is 1, or no limit where max_steps is given."""
    max_steps: int = -1
    """Optimiser steps, whichever limit comes first; -1 for no limit."""
    max_time: str | None = None
    """Time limit, DD:HH:MM:SS."""
    limit_train_batches: Any = 1.0
    """Batches an epoch takes: a number, or a share in 0..1."""
    limit_val_batches: Any = 1.0
    """Batches a validation takes: a number, or a share in 0..1."""
    limit_test_batches: Any = 1.0
    """Batches the test takes: a number, or a share in 0..1."""
    val_check_interval: Any = 1.0
    """How often to validate: after a number of batches, or a share of an epoch in 0..1."""
    check_val_every_n_epoch: int | None = 1
    """Epochs between validations; null counts val_check_interval's batches across epochs."""
    num_sanity_val_steps: int = 0
    """Validation batches before training starts."""
    log_every_n_steps: int = 10
    """Steps between two rows of training metrics."""
    accumulate_grad_batches: int = 1
    """Batches whose gradients make one optimiser step."""
    gradient_clip_val: float | None = None
    """Largest gradient norm (or value, see gradient_clip_algorithm)."""
    gradient_clip_algorithm: str | None = None
    """`norm` (default) or `value`."""
    deterministic: Any = None
    """true refuses operations without a deterministic form, `warn` tells of them."""
    benchmark: bool | None = None
    """Let cuDNN time its algorithms; null is Lightning's own choice."""
    sync_batchnorm: bool = False
    """Share BatchNorm statistics among processes."""
    detect_anomaly: bool = False
    """Find the operation that made a NaN gradient; slow."""
    profiler: str | None = None
    """`simple`, `advanced` or `pytorch`: times every hook, function or operation; reports in the run directory's profile/."""
    fast_dev_run: Any = False
    """true (or a number) runs that many batches of everything, writing nothing but the log."""
    enable_progress_bar: bool = True
    enable_model_summary: bool = False

    def __post_init__(self) -> None:
        check_choice("trainer.accelerator", self.accelerator, ACCELERATORS)
        check_choice("trainer.precision", self.precision, PRECISIONS)
        if self.precision == "16-mixed" and self.accelerator == "cpu":
            raise ValueError("trainer.precision=16-mixed does not exist on CPU; use trainer.precision=bf16-mixed")
        check_choice("trainer.strategy", self.strategy, STRATEGIES)
        check_devices(self.devices, self.accelerator)
        check_range("trainer.num_nodes", self.num_nodes, low=1)
        for name in ("max_epochs", "max_steps"):
            limit = getattr(self, name)
            if limit is not None and (limit < -1 or limit == 0):
                raise ValueError(f"trainer.{name}={limit} must be at least 1, or -1 for no limit")
        for name in ("limit_train_batches", "limit_val_batches", "limit_test_batches", "val_check_interval"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"trainer.{name}={value} must be a number of batches or a share in 0..1")
            check_range(f"trainer.{name}", value, low=0, high=None if isinstance(value, int) else 1)
        check_range("trainer.val_check_interval", self.val_check_interval, above=0)
        if self.check_val_every_n_epoch is not None:
            check_range("trainer.check_val_every_n_epoch", self.check_val_every_n_epoch, low=1)
        check_range("trainer.num_sanity_val_steps", self.num_sanity_val_steps, low=-1)
        check_range("trainer.log_every_n_steps", self.log_every_n_steps, low=1)
        check_range("trainer.accumulate_grad_batches", self.accumulate_grad_batches, low=1)
        if self.gradient_clip_val is not None:
            check_range("trainer.gradient_clip_val", self.gradient_clip_val, low=0)
        if self.gradient_clip_algorithm is not None:
            check_choice("trainer.gradient_clip_algorithm", self.gradient_clip_algorithm, ("norm", "value"))
        if self.profiler is not None:
            check_choice("trainer.profiler", self.profiler, ("simple", "advanced", "pytorch"))
        if self.max_time is not None and not re.fullmatch(r"\d+:\d\d:\d\d:\d\d", self.max_time):
            raise ValueError(f"trainer.max_time={self.max_time} must have the form DD:HH:MM:SS")
        if not isinstance(self.fast_dev_run, bool | int) or self.fast_dev_run < 0:
            raise ValueError(f"trainer.fast_dev_run={self.fast_dev_run} must be true, false or a number of batches")
        if self.deterministic not in (None, True, False, "warn"):
            raise ValueError(f"trainer.deterministic={self.deterministic} must be true, false or warn")


def check_devices(given: Any, accelerator: str) -> None:
    """Refuse what is no number of devices, and no list of them.

    Raises:
        ValueError: naming what `trainer.devices` takes.
    """
    devices = [int(number) for number in given.split(",")] if _is_number_list(given) else given
    if isinstance(devices, list) and accelerator != "cpu":
        numbers_only = all(isinstance(number, int) and not isinstance(number, bool) and number >= 0 for number in devices)
        good = bool(devices) and numbers_only and len(set(devices)) == len(devices)
    elif isinstance(devices, int) and not isinstance(devices, bool):
        good = devices >= 1 or (devices == -1 and accelerator != "cpu")
    else:
        good = devices == "auto"
    if not good:
        kinds = "a number of processes or auto" if accelerator == "cpu" else "a number, a list of different device numbers, -1 or auto"
        raise ValueError(f"trainer.devices={given} must be {kinds}")


def _is_number_list(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"\d+(,\d+)+", value) is not None


@dataclass
class TrainerConfig(LightningConfig):
    """Lightning's arguments, and what watches over training besides."""

    ema_decay: float | None = None
    """0..1, such as 0.999: validate, test and keep an exponential moving average of the weights; null keeps the weights themselves."""
    early_stopping_patience: int | None = None
    """Validations in a row without a better monitored value, after which training ends; null never does."""
    early_stopping_min_delta: float = 0.0
    """By how much a value has to be better to count for early_stopping_patience."""
    save_top_k: int = 1
    """More than 1 keeps that many of the best checkpoints, named by step and value, beside best.ckpt."""
    stop_on_nan: bool = True
    """End training at a loss or gradient that is no finite number, and keep its batch."""
    log_gradient_norm: bool = False
    """Log the norm of all gradients, before clipping."""
    find_lr: bool = False
    """Before a fresh run, search stage.optimizer.lr; one device."""
    find_batch_size: bool = False
    """Before a fresh run, search the largest data.batch_size that the device's memory holds; one device, no CPU."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ema_decay is not None:
            check_range("trainer.ema_decay", self.ema_decay, above=0)
            if self.ema_decay >= 1:
                raise ValueError(f"trainer.ema_decay={self.ema_decay} must be less than 1, such as 0.999")
        if self.early_stopping_patience is not None:
            check_range("trainer.early_stopping_patience", self.early_stopping_patience, low=1)
        check_range("trainer.early_stopping_min_delta", self.early_stopping_min_delta, low=0)
        check_range("trainer.save_top_k", self.save_top_k, low=1)
        for name in ("find_lr", "find_batch_size"):
            if getattr(self, name):
                self._check_search(f"trainer.{name}")

    def _check_search(self, name: str) -> None:
        if self.fast_dev_run:
            raise ValueError(f"{name}: cannot be used with trainer.fast_dev_run")
        several = len(self.devices) if isinstance(self.devices, list) else self.devices
        if self.num_nodes > 1 or (isinstance(several, int) and several > 1) or _is_number_list(self.devices):
            raise ValueError(
                f"{name}: searches on one device, this run has several (trainer.devices={self.devices}); search with trainer.devices=1 "
                "first, and give this run what is found"
            )

    def ignored(self) -> dict[str, str]:
        """Settings that were changed and have no effect, each with the setting that is why."""
        if self.early_stopping_min_delta and self.early_stopping_patience is None:
            return {"early_stopping_min_delta": "trainer.early_stopping_patience=null"}
        return {}


@dataclass
class LoggerConfig:
    """`logger=csv|none`: metrics.csv is written in any case."""

    name: str = "csv"
    """The logger, as in `logger=`."""


@dataclass
class TensorBoardConfig(LoggerConfig):
    """`logger=tensorboard`: event files in the run directory's tensorboard/."""

    name: str = "tensorboard"


@dataclass
class WandbConfig(LoggerConfig):
    """`logger=wandb`: online with an API key, offline by itself without one."""

    name: str = "wandb"
    project: str = "stylecolor"
    """The W&B project."""
    entity: str | None = None
    """The W&B user or team; null is the account's default."""
    run_name: str | None = None
    """Shown on the dashboard; null is the run directory's name."""
    group: str | None = None
    """Null, or what the jobs of a sweep get: the sweep's name."""
    tags: list[str] = field(default_factory=list)
    """Besides stage, data and experiment, which are tags by themselves."""
    offline: bool = False
    """Do not even try to go online."""
    upload_best: bool = True
    """Send best.ckpt as an artifact when an online run has ended."""


LOGGERS: dict[str, type[LoggerConfig]] = {"wandb": WandbConfig, "tensorboard": TensorBoardConfig, "csv": LoggerConfig, "none": LoggerConfig}


@dataclass
class ExperimentConfig:
    """Everything that `train.py` composes."""

    stage: StageConfig = field(default_factory=StageConfig)
    data: DataConfig = field(default_factory=DataConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    seed: int = 0
    """Of every random draw: weights, order, crops, flips, references, hints."""
    resume: str | None = None
    """A run directory or a checkpoint in one: continue there with its settings, changed by what else stands on the command line."""
    experiment_name: str | None = None
    """What `experiment=` chose; filled in."""

    def __post_init__(self) -> None:
        check_range("seed", self.seed, low=0, high=2**32 - 1)
