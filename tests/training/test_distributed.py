"""Two processes on the CPU, through the command line."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.training.runs import (
    DEADLINE_SECONDS,
    LOSSES,
    REPOSITORY,
    assert_equal_runs,
    environment,
    from_trained,
    last_checkpoint,
    only,
    rows,
    run_command,
    run_main,
    tiny,
)


def gradients(directory: Path) -> list[torch.Tensor]:
    """Of a run's only step: Adam's first moment after it is a tenth of the gradient."""
    checkpoint = last_checkpoint(directory)
    assert checkpoint["global_step"] == 1
    return [state["exp_avg"] * 10 for _, state in sorted(checkpoint["optimizer_states"][0]["state"].items())]


def assert_same_gradients(stage: str, directory: Path, coco_root: Path, *arguments: str) -> None:
    """Two processes with batch 2 against one with batch 4, on a training split of 12 and a validation split of 6."""
    common = [*tiny(stage, "data=coco", "trainer.max_steps=1", "trainer.limit_val_batches=1.0"), f"data.root={coco_root}", *arguments]
    completed = run_command(directory, *common, "trainer.devices=2", "data.batch_size=2", "hydra.run.dir=two")
    assert completed.returncode == 0, completed.stderr
    run_main(directory, *common, "data.batch_size=4", "hydra.run.dir=one")
    one, two = gradients(directory / "one"), gradients(directory / "two")
    for single, double in zip(one, two, strict=True):
        largest = single.abs().max()
        assert largest > 0
        assert (double - single).abs().max() <= 1e-5 * largest
    # and the validation over both processes counts every picture once
    names = [*(f"val/{name}" for name in LOSSES[stage]), "val/psnr"]
    (row,), (other,) = (rows(directory / name, *names) for name in ("one", "two"))
    assert [float(value) for value in other] == pytest.approx([float(value) for value in row], rel=1e-3)


def test_two_processes_give_the_transfer_gradients_of_one_with_twice_the_batch(tmp_path: Path, coco_root: Path) -> None:
    assert_same_gradients("transfer", tmp_path, coco_root, "stage.norm=none")


@pytest.mark.slow
def test_two_processes_give_the_joint_gradients_of_one_with_twice_the_batch(tmp_path: Path, coco_root: Path, trained: Path) -> None:
    """Its BatchNorm is frozen."""
    assert_same_gradients("joint", tmp_path, coco_root, *from_trained(trained), "stage.hints=all", "stage.empty_probability=0")


@pytest.mark.parametrize("stage", ["colorizer", *(pytest.param(stage, marks=pytest.mark.slow) for stage in ("transfer", "joint"))])
def test_every_stage_runs_on_two_processes(stage: str, tmp_path: Path, trained: Path) -> None:
    extra = from_trained(trained) if stage == "joint" else []
    completed = run_command(tmp_path, *tiny(stage), *extra, "trainer.devices=2", "data.num_workers=1")
    assert completed.returncode == 0, completed.stderr
    directory = only(tmp_path, f"outputs/{stage}/*")
    assert last_checkpoint(directory)["global_step"] == 2
    assert [step for step, *_ in rows(directory, "train/loss")] == ["0", "1"]
    assert len(rows(directory, "val/loss", "val/psnr")) == 1
    # what the second process says would stand there twice
    assert completed.stderr.count("run directory: ") == 1
    assert (directory / "train.log").read_text().count("run directory: ") == 1


@pytest.mark.slow
@pytest.mark.parametrize("run_id", [[], ["--rdzv-id=77", "--rdzv-backend=c10d"]], ids=["default", "named"])
def test_torchrun_starts_both_in_one_run_directory(run_id: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", *run_id]
    arguments = tiny("colorizer", "trainer.devices=2")
    completed = subprocess.run(
        [*command, str(REPOSITORY / "train.py"), *arguments],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=2 * DEADLINE_SECONDS,
    )
    assert completed.returncode == 0, completed.stderr
    directory = only(tmp_path, "outputs/colorizer/*")
    assert directory.name.startswith("torchrun-77" if run_id else "torchrun-")
    assert last_checkpoint(directory)["global_step"] == 2
    assert len(rows(directory, "train/loss")) == 2


@pytest.mark.slow
def test_a_run_of_two_processes_resumes_bit_for_bit(tmp_path: Path) -> None:
    common = ["trainer.devices=2", "trainer.limit_train_batches=3", "trainer.max_epochs=4"]
    for name, steps in (("whole", 7), ("parts", 4)):
        completed = run_command(tmp_path, *tiny("transfer", f"trainer.max_steps={steps}"), *common, f"hydra.run.dir={name}")
        assert completed.returncode == 0, completed.stderr
    completed = run_command(tmp_path, "resume=parts", "trainer.max_steps=7")
    assert completed.returncode == 0, completed.stderr
    assert_equal_runs(tmp_path / "whole", tmp_path / "parts")
