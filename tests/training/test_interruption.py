"""Ctrl-C and SIGTERM: a checkpoint at the next step, every process ended, and a run that goes on as if nothing had happened."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from lightning_modules.transfer import TransferStage
from tests.training.runs import (
    RUN,
    assert_all_gone,
    assert_equal_runs,
    count_rows,
    descendants,
    finish,
    last_checkpoint,
    run_command,
    run_main,
    start_command,
    tiny,
    wait_until,
)


def interrupt(directory: Path, method: str, calls: set[int], number: signal.Signals, *arguments: str) -> int:
    """Send this process a signal in the given calls of a method of the transfer stage; returns train.py's exit status."""
    called = 0
    original = getattr(TransferStage, method)

    def signalling(self: TransferStage, *args: object) -> object:
        nonlocal called
        called += 1
        if called in calls:
            os.kill(os.getpid(), number)
        return original(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransferStage, method, signalling)
        with pytest.raises(SystemExit) as ended:
            run_main(directory, *arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


# of epochs of 10 batches with validations after 5 and 10: in mid-epoch, at the validation, before and at the epoch's end, in the next
@pytest.mark.parametrize("step", [1, 4, 5, 9, 10, 11])
def test_interrupted_in_a_step_and_resumed_equals_uninterrupted(step: int, tmp_path: Path, uninterrupted: Path) -> None:
    arguments = [*tiny("transfer", "trainer.max_steps=23"), *RUN]
    assert interrupt(tmp_path, "training_step", {step}, signal.SIGTERM, *arguments, "hydra.run.dir=parts") == 143
    assert last_checkpoint(tmp_path / "parts")["global_step"] == step
    run_main(tmp_path, "resume=parts")
    assert_equal_runs(uninterrupted, tmp_path / "parts")


# the validation in mid-epoch, at the epoch's end, in the second epoch, and after the last step, which is in mid-epoch
@pytest.mark.parametrize("validation", [1, 2, 3, 5])
def test_interrupted_in_a_validation_and_resumed_equals_uninterrupted(validation: int, tmp_path: Path, uninterrupted: Path) -> None:
    arguments = [*tiny("transfer", "trainer.max_steps=23"), *RUN]
    assert interrupt(tmp_path, "validation_step", {validation}, signal.SIGTERM, *arguments, "hydra.run.dir=parts") == 143
    assert last_checkpoint(tmp_path / "parts")["global_step"] == (5, 10, 15, 20, 23)[validation - 1]
    run_main(tmp_path, "resume=parts")
    assert_equal_runs(uninterrupted, tmp_path / "parts")


def test_interrupted_in_the_last_validation_of_the_last_epoch_keeps_what_was_trained(tmp_path: Path) -> None:
    arguments = [*tiny("transfer", "trainer.max_steps=10"), *RUN]
    assert interrupt(tmp_path, "validation_step", {2}, signal.SIGTERM, *arguments, "hydra.run.dir=run") == 143
    assert last_checkpoint(tmp_path / "run")["global_step"] == 10


@pytest.mark.parametrize("batch", [3, 4])
def test_interrupted_between_two_accumulated_batches_loses_no_gradient(batch: int, tmp_path: Path) -> None:
    """Two batches a step: a stop after the third would forget its gradient, so it comes after the fourth."""
    arguments = [*tiny("transfer", "trainer.max_steps=7"), *RUN, "trainer.accumulate_grad_batches=2", "trainer.val_check_interval=1.0"]
    assert interrupt(tmp_path, "training_step", {batch}, signal.SIGTERM, *arguments, "hydra.run.dir=parts") == 143
    run_main(tmp_path, "resume=parts")
    run_main(tmp_path, *arguments, "hydra.run.dir=whole")
    assert_equal_runs(tmp_path / "whole", tmp_path / "parts")


def test_ctrl_c_exits_130_and_says_how_to_go_on(tmp_path: Path) -> None:
    assert interrupt(tmp_path, "training_step", {2}, signal.SIGINT, *tiny("transfer", "trainer.max_steps=9"), "hydra.run.dir=run") == 130
    log = (tmp_path / "run/train.log").read_text()
    assert "stopped by SIGINT; continue with: python train.py resume=run" in log
    assert "Traceback" not in log


def test_the_second_signal_stops_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    original = TransferStage.training_step

    def impatient(self: TransferStage, *args: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 3:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            pytest.fail("goes on with the step")
        return original(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(TransferStage, "training_step", impatient)
    with pytest.raises(SystemExit) as ended:
        run_main(tmp_path, *tiny("transfer", "trainer.max_steps=9"), "hydra.run.dir=run")
    assert ended.value.code == 130


def test_a_signal_before_training_ends_the_run_without_a_checkpoint(tmp_path: Path) -> None:
    assert interrupt(tmp_path, "configure_optimizers", {1}, signal.SIGTERM, *tiny(), "hydra.run.dir=run") == 143
    assert not list((tmp_path / "run").glob("**/*.ckpt"))
    assert "continue with" not in (tmp_path / "run/train.log").read_text()
    # nothing was trained, so the directory is free
    run_main(tmp_path, *tiny(), "hydra.run.dir=run")


ENDLESS = ("trainer.max_steps=100000", "trainer.max_epochs=-1", "data.num_workers=1", "hydra.run.dir=run")


def running(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    """A command that has taken at least three steps."""
    process = start_command(directory, *tiny(), *ENDLESS, *arguments)
    wait_until(lambda: count_rows(directory / "run") >= 3, "three steps", process)
    return process


def assert_stopped_whole(directory: Path, *arguments: str) -> None:
    """What was stopped at some step goes on, for two more, as a run that never stopped."""
    checkpoint = last_checkpoint(directory / "run")
    step = checkpoint["global_step"]
    assert step >= 3
    more = [f"trainer.max_steps={step + 2}", *arguments]
    run_main_or_command = run_command if "trainer.devices=2" in arguments else run_main
    run_main_or_command(directory, "resume=run", *more)
    run_main_or_command(directory, *tiny(), *ENDLESS[1:-1], *more, "hydra.run.dir=whole")
    assert_equal_runs(directory / "whole", directory / "run")


def test_sigterm_to_the_command_saves_and_exits_143(tmp_path: Path) -> None:
    process = running(tmp_path)
    children = descendants(process)
    process.terminate()
    completed = finish(process)
    assert completed.returncode == 143, completed.stderr
    assert "Traceback" not in completed.stderr
    assert_all_gone(children)
    assert_stopped_whole(tmp_path)


def test_ctrl_c_in_the_terminal_reaches_every_process_and_exits_130(tmp_path: Path) -> None:
    process = running(tmp_path)
    children = descendants(process)
    assert children, "the loader has a process of its own"
    os.killpg(process.pid, signal.SIGINT)
    completed = finish(process)
    assert completed.returncode == 130, completed.stderr
    assert "Traceback" not in completed.stderr
    assert_all_gone(children)
    assert last_checkpoint(tmp_path / "run")["global_step"] >= 3


TWO_PROCESSES = ("trainer.devices=2", "data.num_workers=0")


@pytest.mark.slow
def test_sigterm_to_the_first_of_two_processes_saves_and_stops_both(tmp_path: Path) -> None:
    process = running(tmp_path, *TWO_PROCESSES)
    children = descendants(process)
    assert children
    process.terminate()
    completed = finish(process)
    assert completed.returncode == 143, completed.stderr
    assert "Traceback" not in completed.stderr
    assert_all_gone(children)
    assert_stopped_whole(tmp_path, *TWO_PROCESSES)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"])
def test_a_signal_to_both_processes_saves_and_stops_both(number: signal.Signals, status: int, tmp_path: Path) -> None:
    """As a terminal's Ctrl-C and a scheduler do."""
    process = running(tmp_path, *TWO_PROCESSES)
    children = descendants(process)
    os.killpg(process.pid, number)
    completed = finish(process)
    assert completed.returncode == status, completed.stderr
    assert_all_gone(children)
    assert last_checkpoint(tmp_path / "run")["global_step"] >= 3
