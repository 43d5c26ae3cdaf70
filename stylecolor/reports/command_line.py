"""Settings as the command line takes them."""

import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from stylecolor.reports.tables import Settings

_PLAIN = re.compile(r"[A-Za-z0-9_./@%+-][A-Za-z0-9_./@%+ -]*(?<! )")
_WORDS = re.compile(r"null|true|false|nan|[+-]?inf|[+-]?[\d_.]+(e[+-]?\d+)?", re.IGNORECASE)


def hydra_value(value: Any) -> str:
    """A value in the grammar of Hydra's overrides."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(map(hydra_value, value))}]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{hydra_value(item)}" for key, item in value.items()) + "}"
    if not isinstance(value, str):
        return str(value)
    # a text that reads like a number, or holds what the grammar gives a meaning to
    if _PLAIN.fullmatch(value) and not _WORDS.fullmatch(value):
        return value
    # backslashes before a quote are doubled
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", value)
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)
    return f"'{escaped}'"


def shell_command(*words: str, overrides: Iterable[str] = ()) -> str:
    """A line for the shell."""
    return shlex.join([*words, *overrides])


def repeat_command(script: str, settings: Settings) -> str:
    """The line that composes the same settings again: all that are not null, so that no default of another version counts."""
    overrides = []
    for name, value in settings.values.items():
        if isinstance(value, dict) and name != "checkpoint":
            overrides += [f"{name}={value['name']}"] if "name" in value else []
            overrides += [f"{name}.{key}={hydra_value(item)}" for key, item in value.items() if key != "name" and item is not None]
        elif value is not None:
            overrides.append(f"{name}={hydra_value(value)}")
    return shell_command("python", script, overrides=overrides)
