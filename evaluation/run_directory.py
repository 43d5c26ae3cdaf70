"""The directory of an evaluation: how it is begun, and found again."""

from pathlib import Path

import yaml

from evaluation.config import EvaluationConfig
from training.run_directory import CONFIG_FILE, write_config

LOG_FILE = "evaluate.log"
PAIRS_FILE = "pairs.csv"
REPORT_FILE = "report.html"
CHECKPOINTS_FILE = "checkpoints.json"
"""What the checkpoints were when the evaluation began."""
PARTS = "parts"
"""Holds what is measured until everything is done, see `evaluation.parts`."""


def find_evaluation(resume: str) -> Path:
    """The directory of an evaluation that `resume=` names.

    Raises:
        ValueError: when there is none.
    """
    directory = Path(resume)
    if not (directory / CONFIG_FILE).is_file():
        raise ValueError(f"resume={resume}: no directory of an evaluation, there is no {CONFIG_FILE} in it")
    try:
        settings = yaml.safe_load((directory / CONFIG_FILE).read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"resume={resume}: {directory / CONFIG_FILE} is damaged") from error
    if not isinstance(settings, dict) or "protocols" not in settings:
        raise ValueError(f"resume={resume}: is no directory of evaluate.py")
    return directory


def start_evaluation(directory: Path, config: EvaluationConfig) -> None:
    """Make the directory of a fresh evaluation and write its settings into it.

    One that was refused before it had its pairs measured nothing, and gives way.

    Raises:
        ValueError: when the directory holds a run already.
    """
    refused = (directory / LOG_FILE).is_file() and not (directory / PAIRS_FILE).exists()
    if (directory / CONFIG_FILE).is_file() and not refused:
        raise ValueError(f"hydra.run.dir={directory}: holds a run already; go on with resume={directory}, or name another directory")
    directory.mkdir(parents=True, exist_ok=True)
    (directory / CHECKPOINTS_FILE).unlink(missing_ok=True)
    write_config(directory, config)


def is_complete(directory: Path) -> bool:
    """Whether an evaluation has come to its end."""
    return (directory / REPORT_FILE).is_file() and not (directory / PARTS).exists()
