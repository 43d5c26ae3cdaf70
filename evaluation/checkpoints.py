"""The checkpoints that an evaluation compares: what `checkpoint=` names. Imports no torch, so that a missing one is refused at once."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.choices import SEPARATORS
from stylecolor.default_checkpoint import CHECKPOINTS as PREFERRED
from stylecolor.default_checkpoint import find_default_checkpoint
from stylecolor.errors import did_you_mean
from training.run_directory import CHECKPOINTS, CONFIG_FILE

PUBLISHED = ("siggraph17", "eccv16")
"""Published colorizers, which are checkpoints by their names."""


@dataclass(frozen=True)
class NamedCheckpoint:
    """A checkpoint to evaluate."""

    name: str
    """What tables call it."""
    source: str
    """A file, or one of `PUBLISHED`."""

    @property
    def path(self) -> Path | None:
        """The file; None for a published one."""
        return None if self.source in PUBLISHED and not Path(self.source).exists() else Path(self.source)

    @property
    def run(self) -> Path | None:
        """The directory of the run that wrote it, where it still lies in one."""
        return find_checkpoint_run(self.path)

    def digest(self) -> str | None:
        """SHA-256 of the file, to notice when another one takes its place."""
        if self.path is None:
            return None
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def find_checkpoint_run(path: Path | None) -> Path | None:
    """The run directory above a checkpoint, or None where there is none."""
    if path is None or path.parent.name != CHECKPOINTS:
        return None
    run = path.parent.parent
    return run if (run / CONFIG_FILE).is_file() else None


def name_checkpoints(value: Any) -> list[NamedCheckpoint]:
    """What `checkpoint=` names, each under a name of its own: the given one, or that of its run or file.

    Raises:
        ValueError: for a file that is missing, and when null finds none.
    """
    if value is None:
        value = find_default_checkpoint(needs_reference=True, setting="checkpoint=FILE")
    if isinstance(value, dict):
        return [NamedCheckpoint(name, _find(path)) for name, path in value.items()]
    sources = [_find(path) for path in (value if isinstance(value, list) else [value])]
    return [NamedCheckpoint(name, source) for name, source in zip(_distinct(list(map(_short_name, sources))), sources, strict=True)]


def _find(source: str) -> str:
    path = Path(source)
    if path.is_dir():
        files = [path / CHECKPOINTS / name for name in PREFERRED]
        found = next((file for file in files if file.is_file()), None)
        if found is None:
            raise ValueError(f"checkpoint={source}: this directory holds no {CHECKPOINTS}/{' or '.join(PREFERRED)}; name a checkpoint")
        return str(found)
    if not path.is_file() and source not in PUBLISHED:
        raise ValueError(
            f"checkpoint={source}: no such file, nor a published colorizer ({', '.join(PUBLISHED)}){did_you_mean(source, PUBLISHED)}"
        )
    return source


def _short_name(source: str) -> str:
    path = Path(source)
    run = find_checkpoint_run(path) if path.is_file() else None
    name = path.stem if run is None else run.resolve().name
    return name.translate(str.maketrans(dict.fromkeys(SEPARATORS, "-")))


def _distinct(names: Sequence[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        candidates = (name if number == 1 else f"{name}-{number}" for number in range(1, len(names) + 1))
        found.append(next(candidate for candidate in candidates if candidate not in found))
    return found
