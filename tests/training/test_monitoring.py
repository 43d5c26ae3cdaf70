"""What is measured beside the losses: speed, the gradients' norm, a profile; and the progress bar."""

import io
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from datamodules.base import PictureDataModule
from datamodules.batch import Batch
from lightning_modules.base import StepOutput
from lightning_modules.colorizer import ColorizerStage
from tests.training.runs import STAGES, from_trained, refusal, rows, run_main, tiny
from training.checkpointing import AtomicCheckpointIO


def test_the_gradients_norm_is_that_of_all_of_them_before_clipping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    norms: list[float] = []
    clip = ColorizerStage.configure_gradient_clipping

    def measure(self: ColorizerStage, *args: object, **kwargs: object) -> None:
        squares = [float((parameter.grad.double() ** 2).sum()) for parameter in self.parameters() if parameter.grad is not None]
        norms.append(sum(squares) ** 0.5)
        clip(self, *args, **kwargs)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(ColorizerStage, "configure_gradient_clipping", measure)
    arguments = ["trainer.max_steps=4", "trainer.log_every_n_steps=2", "trainer.gradient_clip_val=0.1"]
    run_main(tmp_path, *tiny("colorizer", *arguments), "trainer.log_gradient_norm=true", "hydra.run.dir=run")
    logged = rows(tmp_path / "run", "gradient_norm")
    assert [step for step, _ in logged] == ["1", "3"]
    assert [float(norm) for _, norm in logged] == pytest.approx(norms[1::2], rel=1e-4)
    assert min(norms) > 0.1


def test_speed_is_logged_by_step_and_by_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("training.monitoring.time", clock)
    monkeypatch.setattr("datamodules.base.time", clock)
    clock.slow(monkeypatch, ColorizerStage, "training_step", 3)
    arguments = ["trainer.max_steps=-1", "trainer.limit_train_batches=4"]
    run_main(tmp_path, *tiny("colorizer", *arguments), "trainer.max_epochs=2", "hydra.run.dir=run")
    names = ("speed/seconds_per_batch", "speed/pictures_per_second", "speed/waiting_for_data")
    for _, seconds, pictures, waiting in rows(tmp_path / "run", *names):
        assert float(seconds) * float(pictures) == pytest.approx(2, rel=1e-3)
        assert 0 <= float(waiting) <= 1
    epochs = rows(tmp_path / "run", "speed/seconds_per_epoch")
    assert [step for step, _ in epochs] == ["3", "7"]
    by_step = [float(seconds) for _, seconds, *_ in rows(tmp_path / "run", *names)]
    assert [float(seconds) for _, seconds in epochs] == [sum(by_step[:4]), sum(by_step[4:])]


class Clock:
    """Stands still but for what is said to take time."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def slow(self, patch: pytest.MonkeyPatch, owner: type, name: str, seconds: float) -> None:
        function = getattr(owner, name)

        def slowed(*args: Any, **kwargs: Any) -> Any:
            self.now += seconds
            return function(*args, **kwargs)

        patch.setattr(owner, name, slowed)


def test_validations_and_checkpoints_are_neither_training_nor_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("training.monitoring.time", clock)
    monkeypatch.setattr("datamodules.base.time", clock)
    clock.slow(monkeypatch, ColorizerStage, "training_step", 3)
    clock.slow(monkeypatch, ColorizerStage, "validation_step", 100)
    clock.slow(monkeypatch, AtomicCheckpointIO, "save_checkpoint", 100)
    # of training batches and, within validations, of theirs
    clock.slow(monkeypatch, PictureDataModule, "on_before_batch_transfer", 1)
    arguments = ["trainer.max_steps=8", "trainer.limit_train_batches=4", "trainer.val_check_interval=2", "trainer.max_epochs=2"]
    run_main(tmp_path, *tiny("colorizer", *arguments), "hydra.run.dir=run")
    logged = rows(tmp_path / "run", "speed/seconds_per_batch", "speed/waiting_for_data")
    # the batch right after a validation in mid-epoch has come by the time that is left out
    assert [(float(seconds), float(waiting)) for _, seconds, waiting in logged] == [
        *((4, 0.25), (4, 0.25), (3, 0), (4, 0.25)),
        *((4, 0.25), (4, 0.25), (3, 0), (4, 0.25)),
    ]
    assert [float(seconds) for _, seconds in rows(tmp_path / "run", "speed/seconds_per_epoch")] == [15, 15]


@pytest.mark.parametrize(("profiler", "timed"), [("simple", "training_step"), ("advanced", "training_step"), ("pytorch", "aten::conv2d")])
def test_a_profile_is_written_into_the_run_directory_alone(
    profiler: str, timed: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run_main(tmp_path, *tiny("colorizer"), f"trainer.profiler={profiler}", "hydra.run.dir=run")
    assert {path.name for path in tmp_path.iterdir()} == {"run"}
    report = (tmp_path / f"run/profile/fit-{profiler}.txt").read_text()
    assert timed in report
    assert timed not in "".join(capfd.readouterr())
    assert bool(list((tmp_path / "run/profile").glob("*.json"))) == (profiler == "pytorch")


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_trains_in_deterministic_mode(stage: str, tmp_path: Path, trained: Path) -> None:
    extra = from_trained(trained) if stage == "joint" else []
    try:
        run_main(tmp_path, *tiny(stage), *extra, "trainer.deterministic=true", "hydra.run.dir=run")
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
    # on a CPU nothing differs
    assert rows(tmp_path / "run", "train/loss") == rows(trained / "outputs" / stage / "first", "train/loss")


def test_an_operation_without_a_deterministic_form_is_named_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = ColorizerStage.step

    def spoiled(self: ColorizerStage, batch: Batch) -> StepOutput:
        torch.zeros(1).put_(torch.tensor([0]), torch.ones(1))
        return step(self, batch)

    monkeypatch.setattr(ColorizerStage, "step", spoiled)
    try:
        message = refusal(tmp_path, *tiny("colorizer"), "trainer.deterministic=true")
    finally:
        torch.use_deterministic_algorithms(False)
    assert "put_ does not have a deterministic implementation" in message
    assert "trainer.deterministic=warn" in message


class Terminal(io.StringIO):
    """Takes what would be shown to a person."""

    def isatty(self) -> bool:
        return True


def shown(directory: Path, monkeypatch: pytest.MonkeyPatch, stderr: io.StringIO) -> str:
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    run_main(directory, *tiny("colorizer", "trainer.enable_progress_bar=true", "trainer.max_steps=3"), "hydra.run.dir=run")
    logging.root.handlers.clear()
    return stderr.getvalue()


def test_a_terminal_shows_a_bar_with_the_losses_to_follow_and_messages_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(tmp_path, monkeypatch, Terminal())
    assert "Epoch 0 " in text
    assert "train/loss: " in text
    assert "train/huber" not in text
    assert "v_num" not in text
    assert "best val/psnr: " in text


def test_nothing_but_messages_goes_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(tmp_path, monkeypatch, io.StringIO())
    assert "Epoch" not in text
    assert "\r" not in text
    assert "best val/psnr: " in text
    assert capsys.readouterr().out == ""


def test_save_top_k_out_of_range_is_refused(tmp_path: Path) -> None:
    assert "trainer.save_top_k=0" in refusal(tmp_path, *tiny("colorizer"), "trainer.save_top_k=0")
