"""The settings of an evaluation. Imports nothing heavy, so that a typo is refused at once."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from datamodules.config import DataConfig
from evaluation.choices import METHODS, METRICS, PRECISIONS, PROTOCOLS, SEPARATORS, SPLITS
from evaluation.figures import FIGURES
from stylecolor.errors import check_choice, check_range
from training.config import ACCELERATORS, LoggerConfig, check_devices


@dataclass
class DevicesConfig:
    """What an evaluation runs on, by the names of train.py."""

    accelerator: str = "auto"
    """`auto`, `cpu`, `gpu`, `cuda` or `mps`."""
    devices: Any = 1
    """Number of devices (processes on a CPU), a list of device numbers, or `auto` for all; their number changes no result."""
    precision: str = "32-true"
    """Of the networks' convolutions: `32-true` or `bf16-mixed`."""
    enable_progress_bar: bool = True

    def __post_init__(self) -> None:
        check_choice("trainer.accelerator", self.accelerator, ACCELERATORS)
        check_choice("trainer.precision", self.precision, PRECISIONS)
        check_devices(self.devices, self.accelerator)


@dataclass
class EvaluationConfig:
    """Everything that `evaluate.py` composes."""

    checkpoint: Any = None
    """A checkpoint of any stage, a run directory or the name of a published colorizer; a list of them, or {name: checkpoint}. Null is the
    newest one of stage=joint under outputs/."""
    protocols: Any = field(default_factory=lambda: list(PROTOCOLS))
    """Which references targets get: `self` (their own colours), `palette` (the nearest other picture), `random` (any other one), `auto`
    (none)."""
    methods: Any = None
    """Some of the comparators and of what the checkpoints can do; null is all of it."""
    metrics: Any = None
    """What is measured; null is all that can be had."""
    split: str = "val"
    """Of the data: `train`, `val` or `test`."""
    limit: int | None = None
    """The first so many pictures of the split; null is all."""
    pairs: str | None = None
    """A pair list that an evaluation left (its pairs.csv), in place of protocols and limit."""
    points: list[int] = field(default_factory=list)
    """Numbers of revealed 6 x 6 px patches of true ab, such as [0,1,2,5,10,20,50,100,200,501], at which PSNR is measured; [] measures
    none."""
    lpips_weights: str | None = None
    """A file with torchvision's AlexNet, for LPIPS; null is the published one, where it can be fetched."""
    fid_weights: str | None = None
    """A file with torch-fidelity's InceptionV3, for FID; null is the published one, where it can be fetched."""
    weights_mirror: str | None = None
    """Address or directory of a mirror of published weights; null is STYLECOLOR_WEIGHTS_MIRROR, or where their authors keep them."""
    gallery: int = 4
    """Pictures in each of the gallery's sections: best, median and worst of each protocol; 0 draws none."""
    figures: Any = field(default_factory=list)
    """Names of `evaluation.figures.FIGURES` to draw, as the experiments figure_* choose them."""
    data: DataConfig = field(default_factory=DataConfig)
    trainer: DevicesConfig = field(default_factory=DevicesConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    seed: int = 0
    """Of random references, revealed places and intervals."""
    experiment_name: str | None = None
    """The recipe that `experiment=` chose; filled in."""
    resume: str | None = None
    """The directory of an evaluation that was broken off: what it has measured is kept, the rest is measured with its settings."""

    def __post_init__(self) -> None:
        check_range("seed", self.seed, low=0, high=2**32 - 1)
        self.protocols = _names("protocols", self.protocols, PROTOCOLS)
        if self.methods is not None:
            self.methods = _names("methods", self.methods, METHODS)
        if self.metrics is not None:
            self.metrics = _names("metrics", self.metrics, METRICS)
        self.figures = _names("figures", self.figures, FIGURES, none_is_fine=True)
        check_choice("split", self.split, SPLITS)
        if self.limit is not None and self.limit < 2:
            raise ValueError(f"limit={self.limit}: an interval needs at least 2 pictures; use limit=2 or more")
        for number in self.points:
            check_range("points", number, low=0)
        if sorted(set(self.points)) != self.points:
            raise ValueError(f"points={self.points} must be different numbers in rising order")
        check_range("gallery", self.gallery, low=0)
        _check_checkpoint(self.checkpoint)


def _names(setting: str, value: Any, choices: Collection[str], none_is_fine: bool = False) -> list[str]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or not (names or none_is_fine):
        raise ValueError(f"{setting}={value} must be a list of names, such as [{','.join(list(choices)[:2])}], or one name")
    for name in names:
        check_choice(setting, name, choices)
    if len(set(names)) != len(names):
        raise ValueError(f"{setting}={','.join(names)} names something twice")
    return names


def _check_checkpoint(value: Any) -> None:
    if isinstance(value, dict):
        good = bool(value) and all(isinstance(part, str) and part for pair in value.items() for part in pair)
        good = good and not any(set(name) & set(SEPARATORS) for name in value)
    elif isinstance(value, list):
        good = bool(value) and all(isinstance(path, str) and path for path in value)
    else:
        good = value is None or (isinstance(value, str) and value != "")
    if not good:
        raise ValueError(f"checkpoint={value} must be a path, a list of paths, or {{name: path}} with names without {' '.join(SEPARATORS)}")
