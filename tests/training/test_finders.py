"""The searches before training, by Lightning's tuner."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from datamodules import make_data_module
from datamodules.config import SampleConfig
from lightning_modules.colorizer import ColorizerStage
from lightning_modules.config import ColorizerConfig
from tests.training.runs import assert_equal_training, last_checkpoint, refusal, rows, run_main, tiny
from training import finders
from training.config import TrainerConfig
from training.finders import make_search_trainer, search_batch_size, suggest_lr


def test_suggests_the_steepest_descent_of_a_known_curve() -> None:
    """A falling sigmoid of the rate's logarithm is steepest at its centre."""
    rates = np.geomspace(1e-7, 1, 100)
    losses = 1 / (1 + np.exp(2 * (np.log10(rates) + 3)))
    suggested = suggest_lr(rates, losses)
    assert suggested is not None
    assert np.log10(suggested) == pytest.approx(-3, abs=0.05)


def test_suggests_nothing_where_the_loss_falls_nowhere() -> None:
    rates = np.geomspace(1e-7, 1, 100)
    assert suggest_lr(rates, np.linspace(1, 2, 100)) is None
    assert suggest_lr(rates, np.full(100, np.nan)) is None
    assert suggest_lr(rates[:11], np.ones(11)) is None


def test_find_lr_sets_it_keeps_it_and_trains_as_if_it_had_been_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finders, "LR_STEPS", 30)
    run_main(tmp_path, *tiny("transfer"), "trainer.find_lr=true", "hydra.run.dir=run")
    found = yaml.safe_load((tmp_path / "run/config.yaml").read_text())["stage"]["optimizer"]["lr"]
    assert 1e-7 < found < 1
    assert found != 1e-3
    assert f"stage.optimizer.lr={found:.3g}" in (tmp_path / "run/train.log").read_text()
    assert Image.open(tmp_path / "run/find_lr.png").width > 100
    assert [float(rate) for _, rate in rows(tmp_path / "run", "learning_rate")] == pytest.approx([found] * 2)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        *("config.yaml", "train.log", "metrics.csv", "checkpoints", "samples", "find_lr.png")
    }
    run_main(tmp_path, *tiny("transfer"), f"stage.optimizer.lr={found}", "hydra.run.dir=given")
    assert_equal_training(last_checkpoint(tmp_path / "run"), last_checkpoint(tmp_path / "given"))

    monkeypatch.setattr(finders.Tuner, "lr_find", lambda *_, **__: pytest.fail("searched again"))
    run_main(tmp_path, "resume=run", "trainer.max_steps=3")
    assert last_checkpoint(tmp_path / "run")["global_step"] == 3


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that holds ten pictures."""
    step = ColorizerStage.training_step

    def limited(self: ColorizerStage, batch: object, index: int) -> torch.Tensor:
        if len(batch) > 10:  # pyright: ignore[reportArgumentType]
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return step(self, batch, index)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(ColorizerStage, "training_step", limited)


def searched_batch_size(directory: Path) -> int:
    data = make_data_module(SampleConfig(image_size=32, num_workers=0), seed=0)
    trainer = make_search_trainer(TrainerConfig(accelerator="cpu"), directory)
    return search_batch_size(trainer, ColorizerStage(ColorizerConfig(width=0.125)), data)


@pytest.mark.usefixtures("memory")
def test_the_largest_power_of_two_that_memory_holds_is_found(tmp_path: Path, cache_directory: Path) -> None:
    assert searched_batch_size(tmp_path) == 8
    assert not list(tmp_path.iterdir())


def test_a_batch_is_never_larger_than_the_training_split(tmp_path: Path, cache_directory: Path) -> None:
    data = make_data_module(SampleConfig(image_size=32, num_workers=0), seed=0)
    data.setup("fit")
    assert searched_batch_size(tmp_path) == len(data.datasets["train"])


def test_find_batch_size_is_kept_with_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.job.find_batch_size", lambda *_: 8)
    run_main(tmp_path, *tiny("colorizer"), "trainer.find_batch_size=true", "hydra.run.dir=run")
    assert yaml.safe_load((tmp_path / "run/config.yaml").read_text())["data"]["batch_size"] == 8


def test_what_cannot_be_searched_is_refused(tmp_path: Path) -> None:
    assert "choose data.batch_size" in refusal(tmp_path, *tiny("colorizer"), "trainer.find_batch_size=true")
    for name in ("find_lr", "find_batch_size"):
        message = refusal(tmp_path, *tiny("colorizer"), f"trainer.{name}=true", "trainer.devices=2")
        assert f"trainer.{name}" in message
        assert "trainer.devices=1" in message
    assert "fast_dev_run" in refusal(tmp_path, *tiny("colorizer"), "trainer.find_lr=true", "trainer.fast_dev_run=true")
