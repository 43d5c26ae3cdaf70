"""The directory of a run: what it holds, how it is found again, and that no other run is written over it."""

import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from lightning_modules.config import JointConfig
from stylecolor.choices import HINTED_NETWORKS
from stylecolor.whole_file import written_whole
from training.config import ExperimentConfig

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

CONFIG_FILE = "config.yaml"
LOG_FILE = "train.log"
METRICS_FILE = "metrics.csv"
SKIPPED_FILE = "skipped.csv"
CHECKPOINTS = "checkpoints"
LAST = "last.ckpt"
BEST = "best.ckpt"


def find_run(resume: str) -> tuple[Path, Path]:
    """The run directory and the checkpoint that `resume=` names: a run directory stands for its last checkpoint.

    Raises:
        ValueError: when there is no run, or nothing to continue from.
    """
    path = Path(resume)
    if not path.exists():
        raise ValueError(f"resume={resume}: no such run directory or checkpoint")
    directory, checkpoint = (path, path / CHECKPOINTS / LAST) if path.is_dir() else (path.resolve().parent.parent, path)
    if not (directory / CONFIG_FILE).is_file():
        raise ValueError(f"resume={resume}: {directory} is no run directory, it has no {CONFIG_FILE}")
    if not checkpoint.is_file():
        raise ValueError(f"resume={resume}: {checkpoint} does not exist, so there is nothing to continue from; start a new run")
    return directory, checkpoint


def start_run(directory: Path, config: ExperimentConfig) -> None:
    """Make the directory of a fresh run and write the composed settings into it.

    Raises:
        ValueError: when the directory holds a run already.
    """
    if _has_trained(directory):
        raise ValueError(f"hydra.run.dir={directory}: holds a run already; continue it with resume={directory}, or name another directory")
    (directory / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    write_config(directory, config)


def write_config(directory: Path, config: "DataclassInstance") -> None:
    """Write the composed settings, a dataclass, and the git revision to config.yaml."""
    with written_whole(directory / CONFIG_FILE) as aside:
        aside.write_text(f"# git revision: {git_revision()}\n{yaml.safe_dump({**asdict(config), 'resume': None}, sort_keys=False)}")


def _has_trained(directory: Path) -> bool:
    """Whether there is anything to lose: a run that was refused before its first step leaves its settings and its log alone."""
    metrics = directory / METRICS_FILE
    return any((directory / CHECKPOINTS).glob("*.ckpt")) or (metrics.is_file() and len(metrics.read_text().splitlines()) > 1)


def git_revision() -> str:
    """The commit of this source tree, with `-dirty` when it was changed; `unknown` outside a clone."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "unknown"
    return found.stdout.strip() or "unknown"


def _takes_part(run: Path) -> bool:
    """Whether a run's networks can be part of a joint run, as far as its settings tell."""
    try:
        stage = yaml.safe_load((run / CONFIG_FILE).read_text())["stage"]
        return stage.get("network", HINTED_NETWORKS[0]) in HINTED_NETWORKS
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        # a run whose settings are lost: what its checkpoint says of itself is checked when it is loaded
        return True


def find_newest_checkpoints(config: ExperimentConfig, outputs: Path) -> dict[str, str]:
    """Fill in the checkpoints that a fresh joint run leaves out: the newest best.ckpt among the runs and sweeps of each stage.

    Of the colorizers only those count that take hints.

    Returns:
        The settings that were filled in.

    Raises:
        ValueError: when a stage has none, naming the two commands to run first.
    """
    found: dict[str, str] = {}
    if not isinstance(config.stage, JointConfig) or config.resume is not None:
        return found
    for stage in ("transfer", "colorizer"):
        name = f"{stage}_checkpoint"
        if getattr(config.stage, name) is not None:
            continue
        checkpoints = [path for path in (outputs / stage).glob(f"**/{CHECKPOINTS}/{BEST}") if _takes_part(path.parent.parent)]
        newest = max(checkpoints, key=lambda path: path.stat().st_mtime, default=None)
        if newest is None:
            raise ValueError(
                f"stage.{name}: there is no {BEST} under {outputs / stage}; first run `python train.py stage=transfer` and "
                f"`python train.py stage=colorizer`, or name a checkpoint"
            )
        setattr(config.stage, name, str(newest))
        found[f"stage.{name}"] = str(newest)
    return found
