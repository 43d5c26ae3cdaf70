"""Tiny runs of train.py, inside the tests' process or as a command, and what they leave behind."""

import csv
import json
import logging
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

import train

REPOSITORY = Path(train.__file__).resolve().parent
STAGES = ("transfer", "colorizer", "joint")
LOSSES = {"transfer": ("loss", "reconstruction", "content", "style"), "colorizer": ("loss", "huber"), "joint": ("loss", "huber")}
DEADLINE_SECONDS = 120
"""A process that has not got so far by then hangs."""

TINY = {
    "data": "sample",
    "data.image_size": "32",
    "data.batch_size": "2",
    "data.num_workers": "0",
    "stage.width": "0.125",
    "trainer.accelerator": "cpu",
    "trainer.max_steps": "2",
    "trainer.limit_val_batches": "1",
    "trainer.log_every_n_steps": "1",
    "trainer.enable_progress_bar": "false",
    "logger": "csv",
}

RUN = (
    "trainer.limit_train_batches=10",
    "trainer.max_epochs=3",
    "trainer.val_check_interval=5",
    "stage.optimizer.schedule=step",
    "stage.optimizer.step_epochs=1",
)
"""A run to interrupt: ten batches an epoch, two validations in it, a learning rate that halves after each epoch."""


def tiny(stage: str = "transfer", *arguments: str) -> list[str]:
    """A run of a second: the smallest settings, changed by the arguments."""
    settings = {"stage": stage, **TINY}
    if stage == "transfer":
        settings["stage.encoder.weights"] = "random"
    settings.update(dict(argument.split("=", 1) for argument in arguments))
    return [f"{name}={value}" for name, value in settings.items()]


@contextmanager
def command_line(directory: Path, *arguments: str, script: str = "train.py") -> Iterator[None]:
    """Be `train.py ARGUMENTS` in a directory; whatever a run changes in its process is as before afterwards."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    root_handlers, level = list(logging.root.handlers), logging.root.level
    environment = dict(os.environ)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.chdir(directory)
        patch.setattr(sys, "argv", [str(REPOSITORY / script), *arguments])
        try:
            yield
        finally:
            if "wandb" in sys.modules:
                # its service process stays in the directory where it was started
                sys.modules["wandb"].teardown()
            os.environ.clear()
            os.environ.update(environment)
            logging.captureWarnings(False)
            logging.root.handlers[:] = root_handlers
            logging.root.setLevel(level)
            for number, handler in handlers.items():
                signal.signal(number, handler)


def run_main(directory: Path, *arguments: str) -> float | None:
    """train.py's own main function, in this process."""
    with command_line(directory, *arguments):
        return train.main()


def refusal(directory: Path, *arguments: str) -> str:
    """The one line in which train.py's main function refuses; fails if it does not."""
    with pytest.raises(SystemExit) as refused:
        run_main(directory, *arguments)
    message = refused.value.code
    # a message as exit code is printed by Python, and the status is 1
    assert isinstance(message, str), f"exit status {message} without a message"
    assert message.startswith("error: ")
    assert "\n" not in message
    return message


def environment(**changes: str) -> dict[str, str]:
    """For a command: no W&B account, one thread a process."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "PL_", "STYLECOLOR_SWEEP"))}
    return kept | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"} | changes


def start_command(directory: Path, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    """`python train.py ARGUMENTS` in a directory, running."""
    command = [sys.executable, str(REPOSITORY / "train.py"), *arguments]
    return subprocess.Popen(
        command,
        cwd=directory,
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str], timeout: float = DEADLINE_SECONDS) -> subprocess.CompletedProcess[str]:
    """Wait for a command; one that hangs is killed with all its processes, and fails the test."""
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        kill_with_descendants(process)
        stdout, stderr = process.communicate()
        pytest.fail(f"did not end within {timeout:g} s\n{stdout}\n{stderr}")
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def run_command(directory: Path, *arguments: str, timeout: float = DEADLINE_SECONDS, **variables: str) -> subprocess.CompletedProcess[str]:
    """`python train.py ARGUMENTS` in a directory, to its end."""
    return finish(start_command(directory, *arguments, **variables), timeout)


def wait_until(condition: Callable[[], bool], what: str, process: subprocess.Popen[str] | None = None) -> None:
    """Poll until something has happened; fail at the deadline, or when the process that should do it has ended."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        if process is not None and process.poll() is not None and not condition():
            pytest.fail(f"ended before {what}: {process.communicate()[1]}")
        if time.monotonic() > deadline:
            if process is not None:
                kill_with_descendants(process)
            pytest.fail(f"timed out: {what}")
        time.sleep(0.02)


def descendants(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """All processes below a command, at whatever depth."""
    return psutil.Process(process.pid).children(recursive=True)


def kill_with_descendants(process: subprocess.Popen[str]) -> None:
    """For a command that hangs; the jobs of a sweep are in sessions of their own."""
    for running in [*descendants(process), process]:
        running.kill()


def assert_all_gone(processes: Sequence[psutil.Process]) -> None:
    """None of them is left running."""
    _, alive = psutil.wait_procs(processes, timeout=20)
    for process in alive:
        process.kill()
    assert not alive, f"left running: {alive}"


def assert_one_line(completed: subprocess.CompletedProcess[str]) -> str:
    """The refusal of a command: exit status 1, at most two lines, no traceback."""
    assert completed.returncode == 1, completed.stderr
    lines = completed.stderr.splitlines()
    assert len(lines) <= 2
    assert lines[-1].startswith("error: ")
    return lines[-1]


def rows(directory: Path, *names: str) -> list[tuple[str, ...]]:
    """(step, values of the named columns) of metrics.csv, where the first of them has a value."""
    with (directory / "metrics.csv").open(newline="") as file:
        return [tuple(row[name] for name in ("step", *names)) for row in csv.DictReader(file) if row[names[0]]]


def count_rows(directory: Path) -> int:
    """Rows of metrics.csv, 0 before there is one."""
    file = directory / "metrics.csv"
    return max(0, len(file.read_text().splitlines()) - 1) if file.is_file() else 0


def only(directory: Path, pattern: str) -> Path:
    """The one path that fits."""
    found = list(directory.glob(pattern))
    assert len(found) == 1, f"{pattern}: {found}"
    return found[0]


def last_checkpoint(directory: Path) -> dict[str, Any]:
    """last.ckpt of a run directory."""
    return torch.load(directory / "checkpoints" / "last.ckpt", weights_only=True)


def assert_equal_training(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Two checkpoints stand at the same step with the same weights, optimiser and schedule, bit for bit."""
    assert first["global_step"] == second["global_step"]
    assert first["epoch"] == second["epoch"]
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        torch.testing.assert_close(first[part], second[part], rtol=0, atol=0, msg=lambda text, part=part: f"{part}: {text}")


def assert_equal_runs(first: Path, second: Path, stage: str = "transfer") -> None:
    """Two run directories have the same last.ckpt, and the same rows of losses in metrics.csv, at the same steps."""
    assert_equal_training(last_checkpoint(first), last_checkpoint(second))
    names = [*(f"train/{name}" for name in LOSSES[stage]), "learning_rate"]
    assert rows(first, *names) == rows(second, *names)


def from_trained(trained: Path) -> list[str]:
    """The joint stage's checkpoints, from the fixture of that name."""
    return [f"stage.{stage}_checkpoint={trained / 'outputs' / stage / 'first' / 'checkpoints' / 'best.ckpt'}" for stage in STAGES[:2]]


def in_child(directory: Path, code: str, *arguments: str) -> Any:
    """What Python code prints as JSON, run in a fresh process with the repository on its path."""
    variables = environment(PYTHONPATH=str(REPOSITORY))
    completed = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=directory, env=variables, capture_output=True, text=True, timeout=DEADLINE_SECONDS
    )
    assert completed.returncode == 0, completed.stderr
    return json.loads(completed.stdout)
