"""Where metrics go: metrics.csv always, and W&B or TensorBoard."""

import csv
import importlib.util
import logging
import os
import secrets
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from training.config import ExperimentConfig, WandbConfig
from training.outcomes import SWEEP_VARIABLE
from training.ranks import global_rank
from training.run_directory import METRICS_FILE, git_revision

log = logging.getLogger(__name__)


class MetricsFile(Logger):
    """metrics.csv: one row a step, a new column whenever a new name turns up; a resumed run appends.

    Args:
        path: the file.
        first_step: rows of this step and later are dropped: a resumed run computes them again.
    """

    def __init__(self, path: Path, first_step: int) -> None:
        super().__init__()
        self.path = path
        self.names: list[str] = ["epoch", "step"]
        self.row: dict[str, Any] = {}
        self._open(first_step)

    @property
    def name(self) -> str:
        """Unused: the run directory is the name."""
        return ""

    @property
    def version(self) -> str:
        """Unused: the run directory is the version."""
        return ""

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """The settings are in config.yaml."""

    @rank_zero_only
    def _open(self, first_step: int) -> None:
        rows = self._read() if first_step else []
        # a crash may have cut the last row short
        self._rewrite([row for row in rows if (row["step"] or "").isdigit() and int(row["step"]) < first_step])

    def _read(self) -> list[dict[str, Any]]:
        if not self.path.is_file():
            return []
        with self.path.open(newline="") as file:
            reader = csv.DictReader(file)
            self.names = list(reader.fieldnames or self.names)
            return list(reader)

    def _rewrite(self, rows: list[dict[str, Any]]) -> None:
        aside = self.path.with_suffix(".new")
        with aside.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.names)
            writer.writeheader()
            writer.writerows(rows)
        aside.replace(self.path)

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add to the row of this step."""
        if self.row and self.row["step"] != step:
            self.save()
        self.row.update(metrics, step=step)

    @rank_zero_only
    def save(self) -> None:
        """Append the row that is being collected."""
        if not self.row:
            return
        new = [name for name in self.row if name not in self.names]
        if new:
            rows = self._read()
            self.names += new
            self._rewrite(rows)
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, self.names).writerow(self.row)
        self.row = {}

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Append the last row."""
        self.save()


def make_loggers(config: ExperimentConfig, directory: Path, first_step: int) -> list[Logger]:
    """metrics.csv and the chosen logger.

    Raises:
        ValueError: when the chosen logger's package is not installed.
    """
    loggers: list[Logger] = [MetricsFile(directory / METRICS_FILE, first_step)]
    if isinstance(config.logger, WandbConfig):
        _require("wandb")
        loggers.append(_wandb_logger(config, config.logger, directory))
    elif config.logger.name == "tensorboard":
        _require("tensorboard")
        loggers.append(TensorBoardLogger(directory, name="", version="tensorboard"))
    return loggers


def _require(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise ValueError(f"logger={package}: the package {package} is not installed; run `pip install {package}`, or use logger=csv")


def _wandb_logger(config: ExperimentConfig, settings: WandbConfig, directory: Path) -> Logger:
    import wandb
    from lightning.pytorch.loggers import WandbLogger

    directory = directory.resolve()  # W&B's service has a working directory of its own
    os.environ.setdefault("WANDB_SILENT", "true")
    offline = settings.offline or os.environ.get("WANDB_MODE") in ("offline", "disabled")
    try:
        has_key = offline or wandb.login(prompt=False, verify=False)
    except wandb.Error as error:
        raise _refused_by_wandb(error) from error
    if not has_key:
        offline = True
        if global_rank() == 0:
            log.info("W&B: no API key found, so this run is kept offline; `wandb login` before the next one to send it as it goes")
    if offline and global_rank() == 0:
        log.info("W&B: send this run later with: wandb sync %s", os.path.relpath(directory / "wandb" / "offline-run-*"))
    logger = WandbLogger(
        name=settings.run_name or directory.name,
        save_dir=directory,
        id=_run_id(directory) if global_rank() == 0 else None,
        resume="allow",
        project=settings.project,
        entity=settings.entity,
        group=settings.group or os.environ.get(SWEEP_VARIABLE),
        job_type=config.stage.name,
        tags=settings.tags,
        offline=offline,
        mode=os.environ.get("WANDB_MODE") or ("offline" if offline else "online"),
        config={**asdict(config), "git_revision": git_revision()},
    )
    try:
        # begins the run: what W&B refuses is met here, before other processes are started
        _ = logger.experiment
    except wandb.Error as error:
        raise _refused_by_wandb(error) from error
    return logger


def _refused_by_wandb(error: Exception) -> ValueError:
    return ValueError(f"logger=wandb: {str(error).strip().splitlines()[0]}; mend that, or use logger.offline=true or logger=csv")


def _run_id(directory: Path) -> str:
    """The run's id on W&B, kept in the run directory so that a resumed run goes on there."""
    file = directory / "wandb" / "run_id"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(secrets.token_hex(4))
    return file.read_text()


def close_loggers(failed: bool) -> None:
    """End the W&B run, so that the next job of the process does not log into it."""
    if "wandb" in sys.modules:
        sys.modules["wandb"].finish(exit_code=int(failed))
