"""The results on W&B or TensorBoard."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from evaluation.config import EvaluationConfig
from training.config import WandbConfig
from training.loggers import make_tensorboard_logger, make_wandb_logger

JOB_TYPE = "evaluate"


class Dashboard:
    """Where tables and pictures are shown besides the page; with `logger=csv` and `none`, nowhere.

    Args:
        config: of the evaluation.
        directory: of the run.

    Raises:
        ValueError: for what the logger refuses.
    """

    def __init__(self, config: EvaluationConfig, directory: Path) -> None:
        self._wandb = self._tensorboard = None
        if isinstance(config.logger, WandbConfig):
            tags = [JOB_TYPE, config.data.name, *([config.experiment_name] if config.experiment_name else [])]
            self._wandb = make_wandb_logger(config.logger, directory, JOB_TYPE, tags, asdict(config)).experiment
        elif config.logger.name == "tensorboard":
            self._tensorboard = make_tensorboard_logger(directory).experiment

    def show_tables(self, tables: dict[str, pd.DataFrame], summary: pd.DataFrame) -> None:
        """Tables by name, and every mean as a number, `<protocol>/<method>/<metric>`."""
        means = {f"{row.protocol}/{row.method}/{row.metric}": float(row.mean) for row in summary.itertuples()}  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]
        if self._wandb is not None:
            import wandb

            self._wandb.log({name: wandb.Table(dataframe=_plain(table)) for name, table in tables.items()})
            self._wandb.summary.update(means)
        if self._tensorboard is not None:
            for name, mean in means.items():
                self._tensorboard.add_scalar(name, mean)
            for name, table in tables.items():
                self._tensorboard.add_text(name, _markdown(table))

    def show_pictures(self, group: str, pictures: Sequence[tuple[str, Path]]) -> None:
        """Pictures with their captions."""
        if not pictures:
            return
        if self._wandb is not None:
            import wandb

            self._wandb.log({group: [wandb.Image(str(path), caption=caption) for caption, path in pictures]})
        if self._tensorboard is not None:
            from torchvision.transforms.functional import pil_to_tensor

            for _, path in pictures:
                self._tensorboard.add_image(f"{group}/{path.stem}", pil_to_tensor(Image.open(path)))
            self._tensorboard.flush()


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    """W&B's tables take no column of mixed kinds."""
    return table.fillna({name: "" for name in table.columns if table[name].dtype == object})


def _markdown(table: pd.DataFrame) -> str:
    rows: list[Sequence[Any]] = [list(table.columns), ["---"] * len(table.columns), *table.itertuples(index=False)]
    return "\n".join("| " + " | ".join(f"{value:.5g}" if isinstance(value, float) else str(value) for value in row) + " |" for row in rows)
