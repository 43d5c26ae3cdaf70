"""Where metrics go: metrics.csv always, and W&B or TensorBoard."""

import csv
import importlib.util
import logging
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from stylecolor.whole_file import written_whole
from training.config import ExperimentConfig, WandbConfig
from training.outcomes import SWEEP_VARIABLE
from training.ranks import global_rank
from training.run_directory import METRICS_FILE, git_revision

if TYPE_CHECKING:
    from lightning.pytorch.loggers import WandbLogger

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
        with written_whole(self.path) as aside, aside.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.names)
            writer.writeheader()
            writer.writerows(rows)

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
        logger = make_wandb_logger(config.logger, directory, config.stage.name, _own_tags(config), asdict(config))
        loggers.append(logger)
        if global_rank() == 0:
            # its table shows the best value of each run, not the last one
            for name, best in (("val/loss", "min"), ("val/psnr", "max")):
                logger.experiment.define_metric(name, step_metric="trainer/global_step", summary=best)
    elif config.logger.name == "tensorboard":
        loggers.append(make_tensorboard_logger(directory))
    return loggers


def make_tensorboard_logger(directory: Path) -> TensorBoardLogger:
    """Event files in the run directory's tensorboard/.

    Raises:
        ValueError: when TensorBoard is not installed.
    """
    _require("tensorboard")
    return TensorBoardLogger(directory, name="", version="tensorboard")


def _require(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise ValueError(f"logger={package}: the package {package} is not installed; run `pip install {package}`, or use logger=csv")


def make_wandb_logger(
    settings: WandbConfig, directory: Path, job_type: str, tags: Sequence[str], values: Mapping[str, Any]
) -> "WandbLogger":
    """A W&B run, begun: online with an API key, offline without one.

    Args:
        settings: of the logger.
        directory: of the run.
        job_type: what kind of run it is.
        tags: that it gets besides those of the settings.
        values: its settings.

    Raises:
        ValueError: for what W&B refuses, and when it is not installed.
    """
    _require("wandb")
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
        job_type=job_type,
        tags=list(dict.fromkeys([*tags, *settings.tags])),
        offline=offline,
        mode=os.environ.get("WANDB_MODE") or ("offline" if offline else "online"),
        config={**values, "git_revision": git_revision()},
    )
    try:
        # begins the run: what W&B refuses is met here, before other processes are started
        _ = logger.experiment
    except wandb.Error as error:
        raise _refused_by_wandb(error) from error
    return logger


def _own_tags(config: ExperimentConfig) -> list[str]:
    names = [config.stage.name, config.data.name]
    return names if config.experiment_name is None else [*names, config.experiment_name]


def publish_best(config: ExperimentConfig, monitor: str, value: float, checkpoint: Path) -> None:
    """Write the best value into the W&B run's summary, and where the run is online send its checkpoint as an artifact."""
    if not isinstance(config.logger, WandbConfig) or global_rank() != 0:
        return
    import wandb

    run = wandb.run
    assert run is not None
    run.summary["best"] = {monitor: value}
    if run.offline or not config.logger.upload_best:
        return
    name = f"{config.stage.name}-{run.id}"
    artifact = wandb.Artifact(name, type="model", metadata={"monitor": monitor, "value": value, "stage": config.stage.name})
    artifact.add_file(str(checkpoint), name=checkpoint.name)
    run.log_artifact(artifact, aliases=["best"])


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
