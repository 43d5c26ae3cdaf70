"""The steps of a colorization by name, and how each is run. Imports nothing heavy, so that progress can be told before torch is there."""

from collections.abc import Callable
from typing import TypeVar

READING_TARGET = "reading the target"
READING_REFERENCE = "reading the reference"
PRECOLORING = "pre-colorizing"
TRANSFERRING = "transferring"
REFINING = "refining"
UNGUIDED = "colorizing without the reference"
PAINTING = "painting"
STEPS = (READING_REFERENCE, READING_TARGET, PRECOLORING, TRANSFERRING, REFINING, UNGUIDED, PAINTING)
"""In the order in which they come, as far as they do: `UNGUIDED` without a reference, and with hints at a strength below 1."""

_Result = TypeVar("_Result")
Step = Callable[[str, Callable[[], _Result]], _Result]
"""Called with a step's name and with what computes it; returns what that returns, or what it returned earlier."""


def run_step(name: str, compute: Callable[[], _Result]) -> _Result:
    """Compute it, as nothing is kept."""
    return compute()
