"""Interrupted and resumed equals uninterrupted, bit for bit; and what `resume=` takes and refuses."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch.callbacks import Timer

from lightning_modules.transfer import TransferStage
from tests.data import make_coco
from tests.training.runs import (
    RUN,
    STAGES,
    assert_equal_runs,
    assert_equal_training,
    from_trained,
    last_checkpoint,
    refusal,
    rows,
    run_main,
    tiny,
)


# steps of an epoch of 10 batches: in mid-epoch, at a validation in mid-epoch, at the epoch's end, right after it
@pytest.mark.parametrize("stop", [3, 5, 10, 11, 20])
def test_stopped_by_max_steps_and_resumed_equals_uninterrupted(stop: int, tmp_path: Path, uninterrupted: Path) -> None:
    run_main(tmp_path, *tiny("transfer", f"trainer.max_steps={stop}"), *RUN, "hydra.run.dir=parts")
    assert last_checkpoint(tmp_path / "parts")["global_step"] == stop
    run_main(tmp_path, "resume=parts", "trainer.max_steps=23")
    assert_equal_runs(uninterrupted, tmp_path / "parts")


@pytest.mark.parametrize("stage", ["colorizer", "joint"])
def test_the_other_stages_resume_bit_for_bit_too(stage: str, tmp_path: Path, trained: Path) -> None:
    extra = [*RUN, *(from_trained(trained) if stage == "joint" else [])]
    run_main(tmp_path, *tiny(stage, "trainer.max_steps=13"), *extra, "hydra.run.dir=whole")
    run_main(tmp_path, *tiny(stage, "trainer.max_steps=4"), *extra, "hydra.run.dir=parts")
    run_main(tmp_path, "resume=parts", "trainer.max_steps=13")
    assert_equal_runs(tmp_path / "whole", tmp_path / "parts", stage)


@pytest.mark.parametrize("references", ["random", "same_category"])
def test_random_references_are_the_same_after_resuming(references: str, tmp_path: Path) -> None:
    arguments = [f"data.references={references}", *RUN]
    run_main(tmp_path, *tiny("colorizer", "trainer.max_steps=12"), *arguments, "hydra.run.dir=whole")
    run_main(tmp_path, *tiny("colorizer", "trainer.max_steps=7"), *arguments, "hydra.run.dir=parts")
    run_main(tmp_path, "resume=parts", "trainer.max_steps=12")
    assert_equal_runs(tmp_path / "whole", tmp_path / "parts", "colorizer")


@pytest.mark.parametrize("mix", [False, True])
def test_settings_with_braces_are_the_same_after_resuming(mix: bool, tmp_path: Path) -> None:
    sources = "[{name: sample, label_maps: none},{name: sample, val_fraction: 0.3}]"
    data = ["data=mix", f"data.sources={sources}", "data.weights=[0.7,0.3]"] if mix else []
    arguments = ["data.references={palette: 0.7, self: 0.3}", *data, *RUN]
    run_main(tmp_path, *tiny("colorizer", "trainer.max_steps=6"), *arguments, "hydra.run.dir=whole")
    run_main(tmp_path, *tiny("colorizer", "trainer.max_steps=4"), *arguments, "hydra.run.dir=parts")
    run_main(tmp_path, "resume=parts", "trainer.max_steps=6")
    assert_equal_runs(tmp_path / "whole", tmp_path / "parts", "colorizer")


@pytest.mark.parametrize("stop", [2, 5, 7])
def test_resumes_bit_for_bit_with_accumulated_gradients(stop: int, tmp_path: Path) -> None:
    """Five optimiser steps an epoch of ten batches."""
    arguments = [*RUN, "trainer.accumulate_grad_batches=2", "trainer.val_check_interval=1.0"]
    run_main(tmp_path, *tiny("transfer", "trainer.max_steps=12"), *arguments, "hydra.run.dir=whole")
    run_main(tmp_path, *tiny("transfer", f"trainer.max_steps={stop}"), *arguments, "hydra.run.dir=parts")
    run_main(tmp_path, "resume=parts", "trainer.max_steps=12")
    assert_equal_runs(tmp_path / "whole", tmp_path / "parts")


def test_resumes_bit_for_bit_in_an_epoch_whose_last_accumulation_is_short(tmp_path: Path) -> None:
    """Seven batches, three at a time: three optimiser steps an epoch."""
    arguments = [*RUN, "trainer.limit_train_batches=7", "trainer.accumulate_grad_batches=3", "trainer.val_check_interval=1.0"]
    run_main(tmp_path, *tiny("transfer", "trainer.max_steps=7"), *arguments, "hydra.run.dir=whole")
    run_main(tmp_path, *tiny("transfer", "trainer.max_steps=3"), *arguments, "hydra.run.dir=parts")
    run_main(tmp_path, "resume=parts", "trainer.max_steps=7")
    assert_equal_runs(tmp_path / "whole", tmp_path / "parts")


def test_a_run_with_more_epochs_equals_one_that_had_them_at_once(tmp_path: Path) -> None:
    arguments = [*tiny("transfer", "trainer.max_steps=-1"), *RUN[1:], "trainer.limit_train_batches=3", "trainer.val_check_interval=1.0"]
    run_main(tmp_path, *arguments, "trainer.max_epochs=3", "hydra.run.dir=whole")
    run_main(tmp_path, *arguments, "trainer.max_epochs=1", "hydra.run.dir=parts")
    run_main(tmp_path, "resume=parts", "trainer.max_epochs=3")
    assert_equal_runs(tmp_path / "whole", tmp_path / "parts")
    assert last_checkpoint(tmp_path / "parts")["global_step"] == 9


def test_resuming_twice_equals_uninterrupted(tmp_path: Path, uninterrupted: Path) -> None:
    run_main(tmp_path, *tiny("transfer", "trainer.max_steps=2"), *RUN, "hydra.run.dir=parts")
    for steps in (6, 23):
        run_main(tmp_path, "resume=parts", f"trainer.max_steps={steps}")
    assert_equal_runs(uninterrupted, tmp_path / "parts")


def test_validation_rows_of_a_resumed_run_stand_where_those_of_an_uninterrupted_one_do(tmp_path: Path, uninterrupted: Path) -> None:
    run_main(tmp_path, *tiny("transfer", "trainer.max_steps=10"), *RUN, "hydra.run.dir=parts")
    run_main(tmp_path, "resume=parts", "trainer.max_steps=23")
    whole, parts = (rows(directory, "val/loss", "val/psnr") for directory in (uninterrupted, tmp_path / "parts"))
    assert [step for step, *_ in whole] == ["4", "9", "14", "19", "22"]
    assert parts == whole


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of a trained run of the transfer stage."""
    return Path(shutil.copytree(trained / "outputs/transfer/first", tmp_path / "run"))


@pytest.mark.parametrize("named", ["run", "run/checkpoints/last.ckpt", "run/checkpoints/best.ckpt"])
def test_takes_a_directory_or_a_checkpoint_and_continues_in_the_same_directory(named: str, run: Path) -> None:
    before = rows(run, "train/loss")
    run_main(run.parent, f"resume={named}", "trainer.max_steps=4")
    assert last_checkpoint(run)["global_step"] == 4
    assert [step for step, *_ in rows(run, "train/loss")] == ["0", "1", "2", "3"]
    assert rows(run, "train/loss")[:2] == before
    assert not (run.parent / "outputs").exists()


def test_keeps_the_runs_own_settings_but_for_what_is_said(run: Path) -> None:
    before = yaml.safe_load((run / "config.yaml").read_text())
    run_main(run.parent, "resume=run", "trainer.max_steps=3", "data.num_workers=1")
    after = yaml.safe_load((run / "config.yaml").read_text())
    before["trainer"]["max_steps"] = 3
    before["data"]["num_workers"] = 1
    assert after == before


def test_rows_after_the_checkpoint_are_computed_again_and_stand_there_once(tmp_path: Path) -> None:
    run_main(tmp_path, *tiny("transfer", "trainer.max_steps=8"), *RUN, "hydra.run.dir=run")
    checkpoint = tmp_path / "run/checkpoints/best.ckpt"
    # the first validation's, so that the rows of three more steps are there
    shutil.copy(checkpoint, tmp_path / "run/checkpoints/kept.ckpt")
    before = rows(tmp_path / "run", "train/loss")
    step = torch.load(checkpoint, weights_only=True)["global_step"]
    run_main(tmp_path, "resume=run/checkpoints/kept.ckpt", "trainer.max_steps=9")
    after = rows(tmp_path / "run", "train/loss")
    assert [row[0] for row in after] == [str(number) for number in range(9)]
    assert step in (5, 8)
    assert after[:8] == before


def test_a_finished_run_has_nothing_left_to_do_and_loses_nothing(run: Path) -> None:
    before, metrics = last_checkpoint(run), (run / "metrics.csv").read_text()
    run_main(run.parent, "resume=run")
    assert_equal_training(before, last_checkpoint(run))
    assert (run / "metrics.csv").read_text() == metrics


@pytest.mark.parametrize("names", [["it's [a], b=c (d)"], ['say "a"']], ids=str)
def test_resumes_a_run_in_a_directory_of_any_name(names: list[str], run: Path) -> None:
    directory = run.rename(run.with_name(names[0]))
    run_main(run.parent, f"resume={names[0]}", "trainer.max_steps=3")
    assert last_checkpoint(directory)["global_step"] == 3


def test_resume_may_stand_in_quotation_marks_as_hydra_has_them(run: Path) -> None:
    run_main(run.parent, "resume='run'", "trainer.max_steps=3")
    assert last_checkpoint(run)["global_step"] == 3


def test_a_fresh_run_into_a_directory_that_holds_one_is_refused(run: Path) -> None:
    before = (run / "metrics.csv").read_text(), last_checkpoint(run)
    message = refusal(run.parent, *tiny(), "hydra.run.dir=run")
    assert "resume=run" in message
    assert (run / "metrics.csv").read_text() == before[0]
    assert_equal_training(last_checkpoint(run), before[1])


def test_a_run_that_was_refused_before_its_first_step_may_be_started_again(tmp_path: Path) -> None:
    refusal(tmp_path, *tiny(), "stage.encoder.weights=nofile", "hydra.run.dir=run")
    run_main(tmp_path, *tiny(), "hydra.run.dir=run")
    assert last_checkpoint(tmp_path / "run")["global_step"] == 2


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["stage=colorizer"], "stage=transfer"),
        (["data=coco"], "data=sample"),
        (["experiment=demo"], "experiment"),
        (["stage.optimizer.lr=1e-5"], "stage.optimizer.lr"),
        (["++stage.optimizer.weight_decay=0.1"], "stage.optimizer.weight_decay"),
        (["stage.width=0.25"], "stage.width"),
        (["+stage.loss.style_coefficient=7"], "stage.loss.style_coefficient"),
        (["stage.lambda_=3"], "stage.lambda_"),
        (["trainer.max_step=3"], "trainer.max_steps"),
        (["+trainer.max_step=3"], "trainer.max_steps"),
    ],
    ids=str,
)
def test_refuses_to_resume_as_something_else(arguments: list[str], named: str, run: Path) -> None:
    metrics = (run / "metrics.csv").read_text()
    assert named in refusal(run.parent, "resume=run", *arguments)
    assert (run / "metrics.csv").read_text() == metrics
    # and the run can still be continued
    run_main(run.parent, "resume=run", "trainer.max_steps=3")
    assert last_checkpoint(run)["global_step"] == 3


def test_a_run_in_mid_epoch_keeps_its_number_of_batches(run: Path) -> None:
    """Otherwise no picture would be where it was."""
    message = refusal(run.parent, "resume=run", "trainer.max_steps=4", "data.batch_size=4")
    assert "data.batch_size" in message
    run_main(run.parent, "resume=run", "trainer.max_steps=3")
    assert last_checkpoint(run)["global_step"] == 3


def test_the_batch_size_may_change_at_an_epochs_end(tmp_path: Path) -> None:
    run_main(tmp_path, *tiny("transfer", "data.batch_size=20", "trainer.max_steps=4"), "hydra.run.dir=run")
    run_main(tmp_path, "resume=run", "trainer.max_steps=7", "trainer.max_epochs=3", "data.batch_size=10")
    assert [step for step, _ in rows(tmp_path / "run", "train/loss")] == [str(number) for number in range(7)]


def test_a_run_whose_time_is_up_leaves_both_checkpoints_and_goes_on(tmp_path: Path) -> None:
    steps = 0
    training_step = TransferStage.training_step

    def counted(self: TransferStage, *args: Any) -> torch.Tensor:
        nonlocal steps
        steps += 1
        return training_step(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        # a clock by which every step takes a second
        patch.setattr(TransferStage, "training_step", counted)
        patch.setattr(Timer, "time_elapsed", lambda *_: float(steps))
        run_main(tmp_path, *tiny("transfer", "trainer.max_steps=5"), "trainer.max_time=00:00:00:02", "hydra.run.dir=parts")
    assert {path.name for path in (tmp_path / "parts/checkpoints").iterdir()} == {"last.ckpt", "best.ckpt"}
    assert last_checkpoint(tmp_path / "parts")["global_step"] == 2
    run_main(tmp_path, "resume=parts", "trainer.max_time=null")
    run_main(tmp_path, *tiny("transfer", "trainer.max_steps=5"), "hydra.run.dir=whole")
    assert_equal_runs(tmp_path / "whole", tmp_path / "parts")


def test_another_logger_may_be_chosen_when_resuming(run: Path) -> None:
    run_main(run.parent, "resume=run", "trainer.max_steps=3", "logger=tensorboard")
    assert list((run / "tensorboard").glob("events.*"))


@pytest.mark.parametrize(
    ("remove", "resume", "named"),
    [
        ("", "elsewhere", "no such run"),
        ("config.yaml", "run", "no config.yaml"),
        ("config.yaml", "run/checkpoints/last.ckpt", "no config.yaml"),
        ("checkpoints/last.ckpt", "run", "nothing to continue from"),
    ],
)
def test_refuses_what_is_no_run(remove: str, resume: str, named: str, run: Path) -> None:
    if remove:
        (run / remove).unlink()
    assert named in refusal(run.parent, f"resume={resume}")


def test_refuses_a_damaged_config(run: Path) -> None:
    (run / "config.yaml").write_text("stage: {name: tran")
    assert "config.yaml" in refusal(run.parent, "resume=run")


def test_a_run_from_another_directory_continues_with_its_own_data(tmp_path: Path) -> None:
    """`data.root` stays what it was."""
    root = make_coco(tmp_path / "data", train=6, val=4)
    run_main(tmp_path, *tiny("colorizer", "data=coco"), f"data.root={root}", "hydra.run.dir=run")
    run_main(tmp_path, "resume=run", "trainer.max_steps=3")
    assert last_checkpoint(tmp_path / "run")["global_step"] == 3


@pytest.mark.parametrize("stage", STAGES)
def test_resuming_needs_none_of_the_files_that_the_run_started_from(stage: str, tmp_path: Path, trained: Path) -> None:
    shutil.copytree(trained / "outputs", tmp_path / "outputs")
    for other in {*STAGES} - {stage}:
        shutil.rmtree(tmp_path / "outputs" / other)
    run_main(tmp_path, f"resume=outputs/{stage}/first", "trainer.max_steps=3")
    assert last_checkpoint(tmp_path / "outputs" / stage / "first")["global_step"] == 3
