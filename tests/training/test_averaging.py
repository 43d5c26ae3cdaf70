"""The moving average of the weights: what it is, where it is used, and that a resumed run goes on with both."""

from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_modules.colorizer import ColorizerStage
from lightning_modules.transfer import TransferStage
from stylecolor.checkpoint import read_checkpoint
from tests.data import make_camvid
from tests.training.runs import (
    RUN,
    assert_equal_training,
    from_trained,
    last_checkpoint,
    refusal,
    rows,
    run_command,
    run_main,
    tiny,
)

DECAY = 0.75
AVERAGED = f"trainer.ema_decay={DECAY}"


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, torch.Tensor]]:
    """The weights with which each training step began."""
    seen: list[dict[str, torch.Tensor]] = []
    for stage in (ColorizerStage, TransferStage):
        training_step = stage.training_step

        def remember(self: Any, *args: Any, step: Any = training_step) -> torch.Tensor:
            seen.append({name: tensor.clone() for name, tensor in self.state_dict().items()})
            return step(self, *args)

        monkeypatch.setattr(stage, "training_step", remember)
    return seen


def test_checkpoints_hold_the_average_and_what_training_goes_on_from(tmp_path: Path, weights: list[dict[str, torch.Tensor]]) -> None:
    run_main(tmp_path, *tiny("colorizer", "trainer.max_steps=4"), AVERAGED, "hydra.run.dir=run")
    last = last_checkpoint(tmp_path / "run")
    after = [*weights[1:], last["current_model_state"]]
    for name, tensor in last["state_dict"].items():
        if not tensor.is_floating_point():
            torch.testing.assert_close(tensor, after[-1][name], rtol=0, atol=0)
            continue
        expected = after[0][name].double()
        for newer in after[1:]:
            expected = DECAY * expected + (1 - DECAY) * newer[name].double()
        torch.testing.assert_close(tensor.double(), expected, rtol=1e-5, atol=1e-6)
    changed = [name for name, tensor in last["state_dict"].items() if not tensor.equal(after[-1][name])]
    assert any("running_mean" in name for name in changed)
    best = read_checkpoint(tmp_path / "run/checkpoints/best.ckpt", "checkpoint", ("colorizer",))
    torch.testing.assert_close(best.state, last["state_dict"], rtol=0, atol=0)


def test_the_weights_that_train_are_those_of_a_run_without_average(tmp_path: Path, trained: Path) -> None:
    run_main(tmp_path, *tiny("colorizer"), AVERAGED, "hydra.run.dir=run")
    without = last_checkpoint(trained / "outputs/colorizer/first")
    torch.testing.assert_close(last_checkpoint(tmp_path / "run")["current_model_state"], without["state_dict"], rtol=0, atol=0)
    assert rows(tmp_path / "run", "train/loss") == rows(trained / "outputs/colorizer/first", "train/loss")


def test_validation_and_test_measure_the_average(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: dict[str, dict[str, torch.Tensor]] = {}
    for name in ("validation_step", "test_step"):
        step = getattr(ColorizerStage, name)

        def remember(self: Any, *args: Any, name: str = name, step: Any = step) -> Any:
            measured[name] = {name: tensor.clone() for name, tensor in self.state_dict().items()}
            return step(self, *args)

        monkeypatch.setattr(ColorizerStage, name, remember)
    data = ["data=camvid", "trainer.limit_test_batches=1"]
    run_main(tmp_path, *tiny("colorizer", *data), f"data.root={make_camvid(tmp_path / 'data')}", AVERAGED, "hydra.run.dir=run")
    best = torch.load(tmp_path / "run/checkpoints/best.ckpt", weights_only=True)
    assert measured.keys() == {"validation_step", "test_step"}
    for state in measured.values():
        torch.testing.assert_close(state, best["state_dict"], rtol=0, atol=0)


@pytest.mark.parametrize(("stage", "stop"), [("transfer", 5), ("transfer", 8), ("joint", 5)])
def test_resumed_equals_uninterrupted_with_the_average(stage: str, stop: int, tmp_path: Path, trained: Path) -> None:
    extra = [*RUN, AVERAGED, *(from_trained(trained) if stage == "joint" else [])]
    run_main(tmp_path, *tiny(stage, "trainer.max_steps=12"), *extra, "hydra.run.dir=whole")
    run_main(tmp_path, *tiny(stage, f"trainer.max_steps={stop}"), *extra, "hydra.run.dir=parts")
    run_main(tmp_path, "resume=parts", "trainer.max_steps=12")
    whole, parts = last_checkpoint(tmp_path / "whole"), last_checkpoint(tmp_path / "parts")
    assert_equal_training(whole, parts)
    torch.testing.assert_close(whole["current_model_state"], parts["current_model_state"], rtol=0, atol=0)
    # the step at which it was stopped was validated besides
    assert {*rows(tmp_path / "whole", "val/loss", "val/psnr")} <= {*rows(tmp_path / "parts", "val/loss", "val/psnr")}


def test_frozen_statistics_stay_what_they_were(tmp_path: Path, trained: Path) -> None:
    run_main(tmp_path, *tiny("joint"), *from_trained(trained), AVERAGED, "hydra.run.dir=run")
    colorizer = torch.load(trained / "outputs/colorizer/first/checkpoints/best.ckpt", weights_only=True)["state_dict"]
    state = last_checkpoint(tmp_path / "run")["state_dict"]
    statistics = [name for name in colorizer if "running_" in name]
    assert statistics
    for name in statistics:
        assert state[name].equal(colorizer[name])


def test_a_run_with_an_average_cannot_go_on_without_it_and_one_without_can_begin_it(tmp_path: Path) -> None:
    run_main(tmp_path, *tiny("colorizer", "trainer.max_steps=1"), "hydra.run.dir=run")
    run_main(tmp_path, "resume=run", "trainer.max_steps=2", AVERAGED)
    assert "trainer.ema_decay" in refusal(tmp_path, "resume=run", "trainer.max_steps=3", "trainer.ema_decay=null")
    run_main(tmp_path, "resume=run", "trainer.max_steps=3", "trainer.ema_decay=0.5")
    last = last_checkpoint(tmp_path / "run")
    assert last["global_step"] == 3
    assert any(not tensor.equal(last["current_model_state"][name]) for name, tensor in last["state_dict"].items())


def test_two_processes_resume_bit_for_bit_with_the_average(tmp_path: Path) -> None:
    common = ["trainer.devices=2", "trainer.limit_train_batches=3", "trainer.max_epochs=4", AVERAGED]
    for arguments in (
        [*tiny("colorizer", "trainer.max_steps=6"), *common, "hydra.run.dir=whole"],
        [*tiny("colorizer", "trainer.max_steps=4"), *common, "hydra.run.dir=parts"],
        ["resume=parts", "trainer.max_steps=6"],
    ):
        completed = run_command(tmp_path, *arguments)
        assert completed.returncode == 0, completed.stderr
    assert_equal_training(last_checkpoint(tmp_path / "whole"), last_checkpoint(tmp_path / "parts"))


@pytest.mark.parametrize("value", ["0", "1", "-0.5", "2"])
def test_a_decay_out_of_range_is_refused(value: str, tmp_path: Path) -> None:
    assert f"trainer.ema_decay={float(value)}" in refusal(tmp_path, *tiny("colorizer"), f"trainer.ema_decay={value}")
