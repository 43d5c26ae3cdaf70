"""Every option of stage=colorizer changes what training or evaluation does."""

from dataclasses import fields
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from lightning_modules.colorizer import ColorizerStage
from lightning_modules.config import ColorizerConfig, OptimizerConfig
from stylecolor.colorizers import make_colorizer
from tests.stages import WIDTH, make_batch, make_colorizer_stage

DISTRIBUTION = {"distribution": True}
GLOBAL = {"network": "siggraph17_global"}
ECCV16 = {"network": "eccv16"}
POINTS = {"revealed_points": [1, "all"], "revealed_pictures": 3}

# (option, its value, what stands beside it); the value is compared with the default's behaviour beside the same settings
OPTIONS: list[tuple[str, Any, dict[str, Any]]] = [
    ("width", 0.25, {}),
    ("channels_last", False, {}),
    ("network", "siggraph17_global", {}),
    ("network", "eccv16", {}),
    ("weights", "stored.pth", {}),
    ("pretrained_blocks", [1, 2], {"weights": "stored.pth"}),
    ("freeze", [1], {}),
    ("freeze", [8], ECCV16),
    ("freeze", ["global"], GLOBAL),
    ("freeze", ["class"], DISTRIBUTION),
    ("lr_factors", {10: 0.1}, {}),
    ("lr_factors", {2: 3.0}, ECCV16),
    ("empty_epochs", 1, {}),
    ("empty_probability", 1.0, {}),
    ("hints", "patches", {}),
    ("hints", "points", {}),
    ("hint_points", 100, {"hints": "points"}),
    ("mask_probability", 0.5, {}),
    ("lambda_", 1.0, {"hints": "all"}),
    ("delta", 3.0, {}),
    ("distribution", True, {}),
    ("distribution", True, GLOBAL),
    ("distribution_coefficient", 0.1, DISTRIBUTION),
    ("regression_coefficient", 0.5, {}),
    ("global_probability", 1.0, GLOBAL),
    ("temperature", 1.0, ECCV16),
    ("rebalancing", 1.0, ECCV16),
    ("rebalancing", 0.1, ECCV16),
    ("neighbours", 1, ECCV16),
    ("sigma", 20.0, ECCV16),
    ("revealed_points", [10], {}),
    ("revealed_pictures", 1, POINTS),
    ("revealed_pictures", 1, {**POINTS, **GLOBAL}),
]
OPTIMIZER_OPTIONS: list[tuple[str, Any, dict[str, Any]]] = [
    ("lr", 1e-2, {}),
    ("weight_decay", 0.1, {}),
    ("schedule", "step", {"step_epochs": 1}),
    ("gamma", 0.1, {"schedule": "step", "step_epochs": 1}),
    ("step_epochs", 1, {"schedule": "step"}),
    ("schedule", "milestones", {"milestones": [1]}),
    ("milestones", [1, 2], {"schedule": "milestones", "milestones": [1]}),
]
# what others test: names; a mirror, in tests/stylecolor; and the optimiser, here below
ELSEWHERE = {"name", "weights_mirror", "optimizer"}


def test_every_option_is_tried() -> None:
    assert {field.name for field in fields(ColorizerConfig)} - ELSEWHERE == {name for name, *_ in OPTIONS}
    assert {field.name for field in fields(OptimizerConfig)} == {name for name, *_ in OPTIMIZER_OPTIONS}


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of weights, `stored.pth`, for the test alone."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(5)
    torch.save(make_colorizer("siggraph17", {"width": WIDTH}).state_dict(), "stored.pth")


def behaviour(settings: dict[str, Any]) -> dict[str, Any]:
    """All that a stage does: what it logs, its steps over three epochs, what trains how fast, and its predictions."""
    stage = make_colorizer_stage(**settings)
    if stage.config.wants_ab_histogram():
        histogram = np.zeros((256, 256), dtype=np.int64)
        histogram[118:149, 108:139] = np.random.default_rng(0).integers(1, 1000, (31, 31))
        stage.use_ab_histogram(histogram)
    batch = make_batch(4, 32)
    found: dict[str, Any] = {"start": snapshot(stage), "rates": []}
    configured: Any = stage.configure_optimizers()
    scheduler = configured["lr_scheduler"]["scheduler"] if isinstance(configured, dict) else None
    optimizer = configured["optimizer"] if isinstance(configured, dict) else configured
    for _ in range(3):
        losses = stage.step(batch).losses
        found["losses"] = {name: value.item() for name, value in losses.items()}
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        found["rates"].append([group["lr"] for group in optimizer.param_groups])
        if scheduler is not None:
            scheduler.step()
    found["end"] = snapshot(stage)
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
    (found["logged"],) = trainer.validate(stage, DataLoader([batch], batch_size=None), verbose=False)  # pyright: ignore[reportArgumentType]
    first = next(parameter for parameter in stage.parameters() if parameter.ndim == 4 and min(parameter.shape) > 1)
    found["channels_last"] = first.is_contiguous(memory_format=torch.channels_last)
    return found


def snapshot(stage: ColorizerStage) -> dict[str, str]:
    return {name: sha256(tensor.numpy().tobytes()).hexdigest() for name, tensor in stage.state_dict().items()}


_remembered: dict[str, dict[str, Any]] = {}


def remembered(settings: dict[str, Any]) -> dict[str, Any]:
    """What many tests compare with is found once."""
    if repr(settings) not in _remembered:
        _remembered[repr(settings)] = behaviour(settings)
    return _remembered[repr(settings)]


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(("name", "value", "beside"), OPTIONS, ids=[f"{name}={value}" for name, value, _ in OPTIONS])
def test_an_option_changes_the_result(name: str, value: Any, beside: dict[str, Any]) -> None:
    assert behaviour({**beside, name: value}) != remembered(beside)


@pytest.mark.parametrize(("name", "value", "beside"), OPTIMIZER_OPTIONS, ids=[f"{name}={value}" for name, value, _ in OPTIMIZER_OPTIONS])
def test_an_option_of_the_optimiser_changes_the_result(name: str, value: Any, beside: dict[str, Any]) -> None:
    # settings that the schedule ignores must not be what differs
    without = {key: item for key, item in beside.items() if key != "milestones" or name == "milestones"}
    base = OptimizerConfig(**without)
    assert behaviour({"optimizer": OptimizerConfig(**{**beside, name: value})}) != remembered({"optimizer": base})


@pytest.mark.parametrize("beside", [{}, GLOBAL, ECCV16])
def test_the_same_settings_give_the_same_result(beside: dict[str, Any]) -> None:
    assert behaviour(beside) == remembered(beside)
