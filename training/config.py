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
class TrainerConfig:
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
    """`simple`, `advanced` or `pytorch`."""
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
        self._check_devices()
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

    def _check_devices(self) -> None:
        devices = [int(number) for number in self.devices.split(",")] if _is_number_list(self.devices) else self.devices
        if isinstance(devices, list) and self.accelerator != "cpu":
            numbers_only = all(isinstance(number, int) and not isinstance(number, bool) and number >= 0 for number in devices)
            good = bool(devices) and numbers_only and len(set(devices)) == len(devices)
        elif isinstance(devices, int) and not isinstance(devices, bool):
            good = devices >= 1 or (devices == -1 and self.accelerator != "cpu")
        else:
            good = devices == "auto"
        if not good:
            kinds = (
                "a number of processes or auto" if self.accelerator == "cpu" else "a number, a list of different device numbers, -1 or auto"
            )
            raise ValueError(f"trainer.devices={self.devices} must be {kinds}")


def _is_number_list(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"\d+(,\d+)+", value) is not None


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
    offline: bool = False
    """Do not even try to go online."""


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

    def __post_init__(self) -> None:
        check_range("seed", self.seed, low=0, high=2**32 - 1)
