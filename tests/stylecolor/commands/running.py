"""Runs the commands on small pictures with tiny networks."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from typer.testing import CliRunner, Result

from stylecolor.cli import app
from tests.data import photograph


def run(*arguments: str | Path) -> Result:
    """In this process, with networks at work of 32 px."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def installed(*arguments: str | Path) -> list[str]:
    """The installed command, for a process of its own."""
    return [str(Path(sys.executable).with_name("stylecolor")), *map(str, arguments)]


def save_photograph(path: Path, seed: int = 0, width: int = 48, height: int = 40) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    photograph(seed, seed, width, height).save(path)
    return path


def read(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.array(picture)


def outcomes(result: Result) -> list[dict[str, Any]]:
    """What `--json` printed; nothing else may stand on stdout."""
    return [json.loads(line) for line in result.stdout.splitlines()]


def assert_done(result: Result) -> None:
    assert result.exit_code == 0, result.output
    assert "error" not in result.stderr


def assert_refused(result: Result, *parts: str) -> None:
    """Exit status 1, and one line on stderr alone that has all the parts."""
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith("error: "), result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stdout == ""
    for part in parts:
        assert part in result.stderr
