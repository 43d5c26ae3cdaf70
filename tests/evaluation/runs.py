"""Tiny runs of evaluate.py, inside the tests' process, and what they leave behind."""

import csv
from pathlib import Path

import pytest

import evaluate
from tests.training.runs import command_line

TINY = {
    "data": "sample",
    "data.image_size": "32",
    "data.batch_size": "2",
    "data.num_workers": "0",
    "trainer.accelerator": "cpu",
    "trainer.enable_progress_bar": "false",
    "logger": "none",
    "limit": "3",
    "gallery": "1",
    "lpips_weights": "none",
    "fid_weights": "none",
}


def tiny(*arguments: str) -> list[str]:
    """An evaluation of seconds: the smallest settings, changed by the arguments."""
    settings = {**TINY, **dict(argument.split("=", 1) for argument in arguments)}
    return [f"{name}={value}" for name, value in settings.items()]


def run_main(directory: Path, *arguments: str) -> None:
    """evaluate.py's own main function, in this process."""
    with command_line(directory, *arguments, script="evaluate.py"):
        evaluate.main()


def refusal(directory: Path, *arguments: str) -> str:
    """The one line in which it refuses; fails if it does not."""
    with pytest.raises(SystemExit) as refused:
        run_main(directory, *arguments)
    message = refused.value.code
    # a message as exit code is printed by Python, and the status is 1
    assert isinstance(message, str), f"exit status {message} without a message"
    assert message.startswith("error: ")
    assert "\n" not in message
    return message


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a table."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def mean_of(rows: list[dict[str, str]], protocol: str, method: str, metric: str) -> float:
    """From the rows of summary.csv."""
    (row,) = (row for row in rows if (row["protocol"], row["method"], row["metric"]) == (protocol, method, metric))
    return float(row["mean"])
