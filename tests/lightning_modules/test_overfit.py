"""Each stage learns four photographs by heart, judged by the pictures that come out."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from datamodules.batch import Batch, collate
from datamodules.config import SampleConfig
from datamodules.dataset import PictureDataset
from datamodules.sample import SampleDataModule
from lightning_modules.base import Stage
from lightning_modules.config import OptimizerConfig
from lightning_modules.transfer import TransferStage
from tests.stages import make_colorizer_stage, make_joint_stage, make_transfer_stage


@pytest.fixture(scope="module")
def photographs() -> Batch:
    """A crop of each of four scenes of the sample data set, every one with a crop of another scene as its reference."""
    module = SampleDataModule(SampleConfig(image_size=64, num_workers=0), seed=0)
    module.prepare_data()
    module.setup("fit")
    dataset = module.datasets["train"]
    assert isinstance(dataset, PictureDataset)
    scenes = dataset.prepared.pictures.groups[dataset.targets]
    firsts = [int((scenes == scene).argmax()) for scene in ("astronaut", "coffee", "china", "rocket")]
    return Batch.from_pictures(collate([dataset[0, index] for index in firsts], random_crops=False), 64)


def train(stage: Stage, batch: Batch, steps: int) -> None:
    stage.train()
    optimizer = stage.configure_optimizers()
    assert isinstance(optimizer, torch.optim.Optimizer)
    for _ in range(steps):
        optimizer.zero_grad()
        stage.training_step(batch, 0).backward()
        optimizer.step()
    stage.eval()


@torch.no_grad()
def psnr(stage: TransferStage, batch: Batch) -> float:
    output = stage.transfer(batch.target_rgb, batch.reference_rgb)
    return -10 * (output - batch.target_rgb).square().mean(dim=(1, 2, 3)).log10().mean().item()


@torch.no_grad()
def color_error(stage: Stage, batch: Batch) -> float:
    """Mean error of ab, as a share of that of the picture without colour."""
    ab = stage.eval().step(batch).ab
    return ((ab - batch.target_ab).abs().mean() / batch.target_ab.abs().mean()).item()


def with_rate(make: Callable[..., Stage], lr: float) -> Stage:
    return make(optimizer=OptimizerConfig(lr=lr))


def test_transfer_reconstructs_photographs_with_its_own_default_loss(photographs: Batch) -> None:
    stage = make_transfer_stage()
    train(stage, photographs, steps=200)
    assert psnr(stage, photographs) > 20


def test_colorizer_halves_the_error_of_the_uncoloured_picture(photographs: Batch) -> None:
    stage = make_colorizer_stage(optimizer=OptimizerConfig(lr=1e-3))
    train(stage, photographs, steps=120)
    assert color_error(stage, photographs) < 0.5


@pytest.mark.slow
def test_joint_halves_the_error_of_the_uncoloured_picture(photographs: Batch, tmp_path: Path) -> None:
    transfer = make_transfer_stage()
    train(transfer, photographs, steps=100)
    colorizer = make_colorizer_stage(optimizer=OptimizerConfig(lr=1e-3))
    train(colorizer, photographs, steps=70)
    stage = make_joint_stage(tmp_path, transfer, colorizer, optimizer=OptimizerConfig(lr=3e-4))
    before = color_error(stage, photographs)
    train(stage, photographs, steps=100)
    after = color_error(stage, photographs)
    print(f"share of the uncoloured picture's error: {before:.2f} before, {after:.2f} after")
    assert before > 0.6, "the case is too easy: the joint stage has nothing left to learn"
    assert after < 0.5
