"""Settings as the command line takes them."""

import shlex
from collections.abc import Iterable

from stylecolor.overrides import hydra_value
from stylecolor.reports.tables import Settings


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
