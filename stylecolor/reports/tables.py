"""The plain files of a run directory, read so that a run that is still going on can be looked at."""

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from stylecolor.errors import did_you_mean, one_line

_REVISION = re.compile(r"# git revision: (\S+)")


@dataclass(frozen=True)
class Table:
    """A CSV file: its columns' names, and its rows as text."""

    path: Path
    names: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __len__(self) -> int:
        return len(self.rows)

    def text(self, name: str) -> list[str]:
        """A column as it stands in the file."""
        column = self.names.index(name)
        return [row[column] for row in self.rows]

    def numbers(self, name: str) -> Float[np.ndarray, " rows"]:
        """A column as numbers, an empty field as NaN.

        Raises:
            ValueError: for what is no number, naming its file, row and column.
        """
        values = np.full(len(self.rows), np.nan)
        for index, text in enumerate(self.text(name)):
            if text:
                try:
                    values[index] = float(text)
                except ValueError as error:
                    raise ValueError(f"{self.path}: row {index + 1}: {name}={text} is no number; the file is damaged") from error
        return values

    def where(self, name: str, value: str) -> "Table":
        """The rows that have this value in this column."""
        column = self.names.index(name)
        return Table(self.path, self.names, [row for row in self.rows if row[column] == value])


def read_table(path: Path, required: Sequence[str]) -> Table:
    """Read a CSV file with a header; a last row without its line end is still being written, and left out.

    Raises:
        ValueError: for a file without the required columns, or with rows of another length than its header.
        OSError: when it cannot be read.
    """
    text = path.read_text(encoding="utf-8", errors="backslashreplace")
    try:
        lines = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1], newline="")))
        lines = [line for line in lines if line]
    except csv.Error as error:
        raise ValueError(f"{path}: is no CSV file: {one_line(error)}") from error
    names = lines[0] if lines else []
    for name in required:
        if name not in names:
            raise ValueError(f"{path}: has no column {name}{did_you_mean(name, names)}; the file is damaged, or another program's")
    for number, row in enumerate(lines[1:], start=1):
        if len(row) != len(names):
            raise ValueError(f"{path}: row {number} has {len(row)} fields and the header {len(names)}; the file is damaged")
    return Table(path, names, lines[1:])


@dataclass(frozen=True)
class Settings:
    """What config.yaml says: the composed settings, and the git revision of its first line."""

    values: dict[str, Any]
    revision: str

    def get(self, name: str, default: Any = None) -> Any:
        """A setting by its dotted name, as the command line has it."""
        value: Any = self.values
        for part in name.split("."):
            if not isinstance(value, dict) or part not in value:
                return default
            value = value[part]
        return value

    def flat(self) -> dict[str, Any]:
        """All settings by their dotted names; lists and empty mappings stay values."""
        return dict(_flatten(self.values, ""))


def _flatten(values: dict[str, Any], prefix: str) -> list[tuple[str, Any]]:
    found = []
    for name, value in values.items():
        if isinstance(value, dict) and value:
            found += _flatten(value, f"{prefix}{name}.")
        else:
            found.append((f"{prefix}{name}", value))
    return found


def read_settings(path: Path) -> Settings:
    """Read a config.yaml.

    Raises:
        ValueError: when it holds no settings.
        OSError: when it cannot be read.
    """
    import yaml

    text = path.read_text(encoding="utf-8", errors="backslashreplace")
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: is no YAML file: {one_line(error)}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path}: holds no settings; the file is damaged, or another program's")
    found = _REVISION.match(text)
    return Settings({str(name): value for name, value in values.items()}, found[1] if found else "unknown")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ValueError: when it holds none.
        OSError: when it cannot be read.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8", errors="backslashreplace"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: is no JSON file: {one_line(error)}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path}: holds no JSON object; the file is damaged, or another program's")
    return values
