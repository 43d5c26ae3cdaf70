"""The wording and the range checks that settings share. Imports nothing heavy, so that a typo is refused at once."""

import difflib
import math
from collections.abc import Collection, Iterable


class NoRoomError(ValueError):
    """Memory or disk are full, which is no fault of what was asked for."""


def one_line(error: BaseException) -> str:
    """What an error says, for people: in one line, and without the system's number of it."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def name_few(names: Iterable[str], limit: int = 5) -> str:
    """The first `limit` names, sorted, and how many more there are: `a, b, c and 7 more`."""
    names = sorted(names)
    shown = ", ".join(names[:limit])
    return f"{shown} and {len(names) - limit} more" if len(names) > limit else shown


def did_you_mean(name: str, valid: Iterable[str], limit: int = 3) -> str:
    """`; did you mean a or b?`, or the empty string when nothing is close."""
    close = difflib.get_close_matches(name, list(valid), n=limit, cutoff=0.5)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def check_choice(setting: str, value: str, choices: Collection[str]) -> None:
    """Refuse a value that is none of the choices.

    Raises:
        ValueError: naming the setting, the value, the choices and the nearest one.
    """
    if value not in choices:
        raise ValueError(f"{setting}={value} is not one of {', '.join(choices)}{did_you_mean(str(value), choices)}")


def check_range(setting: str, value: float, low: float | None = None, high: float | None = None, above: float | None = None) -> None:
    """Refuse a number below `low`, above `high`, or not greater than `above`.

    Raises:
        ValueError: naming the setting, the value and the range.
    """
    if not math.isfinite(value):
        raise ValueError(f"{setting}={value} must be a finite number")
    if low is not None and high is not None and not low <= value <= high:
        raise ValueError(f"{setting}={value} is outside {low}..{high}")
    if low is not None and not value >= low:
        raise ValueError(f"{setting}={value} must be at least {low}")
    if above is not None and not value > above:
        raise ValueError(f"{setting}={value} must be greater than {above}")
