"""Small stages, batches and checkpoints."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from datamodules.batch import Batch
from lightning_modules import make_stage
from lightning_modules.base import Stage
from lightning_modules.colorizer import ColorizerStage
from lightning_modules.config import ColorizerConfig, EncoderConfig, JointConfig, TransferConfig
from lightning_modules.joint import JointStage
from lightning_modules.transfer import TransferStage
from stylecolor.randomness import make_key
from stylecolor.regions import VOID
from tests.data import photograph

WIDTH = 0.125


def make_labels(pictures: int, size: int, seed: int) -> torch.Tensor:
    """Maps of blocks in three labels and void."""
    blocks = torch.randint(0, 4, (pictures, 4, 4), generator=torch.Generator().manual_seed(seed))
    labels = torch.tensor([3, 5, 9, VOID], dtype=torch.uint8)[blocks]
    return labels.repeat_interleave(size // 4, dim=1).repeat_interleave(size // 4, dim=2)


def make_batch(pictures: int = 4, size: int = 64, labelled: bool = False) -> Batch:
    """Targets in four palettes, each with another picture of its palette as the reference."""
    stacked = [
        torch.stack([torch.from_numpy(np.array(photograph(seed + i, i, size, size))).permute(2, 0, 1) for i in range(pictures)])
        for seed in (100, 200)
    ]
    keys = torch.tensor([make_key("test", index) for index in range(pictures)])
    maps = [make_labels(pictures, size, seed) if labelled else None for seed in (0, 1)]
    ids, values = [f"{index}.jpg" for index in range(pictures)], (3, 5, 9) if labelled else ()
    return Batch.from_squares((stacked[0], maps[0]), (stacked[1], maps[1]), keys, ids, values)


def make_transfer_stage(**settings: Any) -> TransferStage:
    torch.manual_seed(0)
    config = TransferConfig(**{"width": WIDTH, "encoder": EncoderConfig("random"), **settings})
    stage = make_stage(config)
    assert isinstance(stage, TransferStage)
    return stage


def make_colorizer_stage(**settings: Any) -> ColorizerStage:
    torch.manual_seed(1)
    stage = make_stage(ColorizerConfig(**{"width": WIDTH, "revealed_points": [], **settings}))
    assert isinstance(stage, ColorizerStage)
    return stage


def save_checkpoint(stage: Stage, path: Path, global_step: int = 0) -> Path:
    """What a trainer saves, as far as the library reads it."""
    contents = {"state_dict": stage.state_dict(), "global_step": global_step}
    stage.on_save_checkpoint(contents)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(contents, path)
    return path


def make_joint_stage(
    directory: Path, transfer: TransferStage | None = None, colorizer: ColorizerStage | None = None, **settings: Any
) -> JointStage:
    """From checkpoints of the two other stages, written into `directory`."""
    transfer_path = save_checkpoint(transfer or make_transfer_stage(), directory / "transfer.ckpt")
    colorizer_path = save_checkpoint(colorizer or make_colorizer_stage(), directory / "colorizer.ckpt")
    given = {"width": WIDTH, "transfer_checkpoint": str(transfer_path), "colorizer_checkpoint": str(colorizer_path), **settings}
    stage = make_stage(JointConfig(**given))
    assert isinstance(stage, JointStage)
    return stage


def train_once(stage: Stage, batch: Batch) -> torch.Tensor:
    """A training step's losses and, of each tensor that trains, the sum and the size of its gradient."""
    stage.train().zero_grad()
    losses = stage.step(batch).losses
    losses["loss"].backward()
    numbers = [loss.detach().double() for loss in losses.values()]
    for parameter in stage.parameters():
        if parameter.grad is not None:
            numbers += [parameter.grad.double().sum(), parameter.grad.double().abs().sum()]
    return torch.stack(numbers)


def differ(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two steps were different by more than rounding."""
    return one.shape != other.shape or bool(((one - other).abs() > 1e-4 * (one.abs() + other.abs()) + 1e-12).any())
