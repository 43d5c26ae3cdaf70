"""A loss or gradient that is no finite number ends training, and what brought it is kept."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from datamodules.batch import Batch
from lightning_modules.base import StepOutput
from lightning_modules.colorizer import ColorizerStage
from tests.training.runs import (
    DEADLINE_SECONDS,
    REPOSITORY,
    environment,
    last_checkpoint,
    only,
    refusal,
    rows,
    run_main,
    tiny,
)

CHECKED = ("trainer.max_steps=10", "trainer.limit_train_batches=10", "trainer.val_check_interval=2", "trainer.log_every_n_steps=50")


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[Batch]:
    """The training batches in their order, of which the fifth has an infinite loss."""
    seen: list[Batch] = []
    step = ColorizerStage.step

    def spoiled(self: ColorizerStage, batch: Batch) -> StepOutput:
        output = step(self, batch)
        if not self.training:
            return output
        seen.append(batch)
        factor = torch.inf if len(seen) == 5 else 1.0
        return output._replace(losses={name: loss * factor for name, loss in output.losses.items()})

    monkeypatch.setattr(ColorizerStage, "step", spoiled)
    return seen


def finite(state: dict[str, torch.Tensor]) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in state.values())


def test_an_infinite_loss_names_step_and_pictures_and_keeps_its_batch(tmp_path: Path, batches: list[Batch]) -> None:
    message = refusal(tmp_path, *tiny("colorizer", *CHECKED), "hydra.run.dir=run")
    assert "loss of step 4 is not a finite number" in message
    assert all(name in message for name in batches[4].ids)
    assert "resume=run" in message
    kept = torch.load(only(tmp_path / "run", "not_finite_step_00000004.pt"), weights_only=True)
    assert kept["ids"] == batches[4].ids
    for name in ("target_rgb", "reference_rgb", "keys"):
        torch.testing.assert_close(kept[name], getattr(batches[4], name), rtol=0, atol=0)
    assert kept["losses"]["huber"] == float("inf")
    # that of the validation before, not of the one right after it
    last = last_checkpoint(tmp_path / "run")
    assert last["global_step"] == 4
    assert finite(last["state_dict"])
    assert {path.name for path in (tmp_path / "run").glob("not_finite*")} == {"not_finite_step_00000004.pt"}


def test_the_run_goes_on_from_before(tmp_path: Path, batches: list[Batch]) -> None:
    refusal(tmp_path, *tiny("colorizer", *CHECKED), "hydra.run.dir=run")
    run_main(tmp_path, "resume=run", "trainer.gradient_clip_val=1")
    assert last_checkpoint(tmp_path / "run")["global_step"] == 10


def test_a_gradient_that_is_no_number_ends_training_though_its_loss_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training_step = ColorizerStage.training_step

    def spoiled(self: ColorizerStage, *args: Any) -> torch.Tensor:
        loss = training_step(self, *args)
        if self.trainer.global_step == 1:
            # the square root's slope at 0
            loss = loss + (next(self.parameters()).flatten()[:1] * 0).sqrt().sum()
        return loss

    monkeypatch.setattr(ColorizerStage, "training_step", spoiled)
    message = refusal(tmp_path, *tiny("colorizer", *CHECKED), "hydra.run.dir=run")
    assert "gradient of step 1 is not a finite number" in message
    kept = torch.load(only(tmp_path / "run", "not_finite_step_*.pt"), weights_only=True)
    assert not torch.tensor(kept["gradient_norm"]).isfinite()
    assert torch.tensor(kept["losses"]["loss"]).isfinite()
    # nothing was worth keeping
    assert not list((tmp_path / "run/checkpoints").iterdir())


def test_it_can_be_switched_off(tmp_path: Path, batches: list[Batch]) -> None:
    run_main(tmp_path, *tiny("colorizer", *CHECKED), "trainer.stop_on_nan=false", "hydra.run.dir=run")
    assert not finite(last_checkpoint(tmp_path / "run")["state_dict"])


def test_watching_changes_no_number(tmp_path: Path, trained: Path) -> None:
    run_main(tmp_path, *tiny("colorizer"), "trainer.stop_on_nan=false", "hydra.run.dir=run")
    watched = trained / "outputs/colorizer/first"
    torch.testing.assert_close(last_checkpoint(tmp_path / "run")["state_dict"], last_checkpoint(watched)["state_dict"], rtol=0, atol=0)
    assert rows(tmp_path / "run", "train/loss", "val/psnr") == rows(watched, "train/loss", "val/psnr")


SPOIL_ONE_PROCESS = """
import sys
import torch
from lightning_modules.colorizer import ColorizerStage
step = ColorizerStage.step

def spoiled(self, batch):
    output = step(self, batch)
    factor = torch.nan if self.training and self.trainer.global_step == 3 and self.trainer.global_rank == 1 else 1.0
    return output._replace(losses={name: loss * factor for name, loss in output.losses.items()})

ColorizerStage.step = spoiled
import train
train.main()
"""


def test_two_processes_end_together_and_name_the_pictures_of_the_one_that_failed(tmp_path: Path) -> None:
    script = tmp_path / "spoiled.py"
    script.write_text(SPOIL_ONE_PROCESS)
    arguments = tiny("colorizer", "trainer.max_steps=8", "trainer.log_every_n_steps=5")
    completed = subprocess.run(
        [sys.executable, str(script), *arguments, "trainer.devices=2", "hydra.run.dir=run"],
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(REPOSITORY)),
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    assert completed.returncode == 1, completed.stderr
    assert "Traceback" not in completed.stderr
    errors = [line for line in completed.stderr.splitlines() if line.startswith("error: ")]
    assert set(errors) == {errors[0]}
    assert "loss of step 3 is not a finite number" in errors[0]
    path = only(tmp_path / "run", "not_finite_*.pt")
    assert path.name == "not_finite_step_00000003_process_1.pt"
    assert all(name in errors[0] for name in torch.load(path, weights_only=True)["ids"])
