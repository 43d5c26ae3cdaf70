"""Finding the pictures below a directory."""

import os
from collections.abc import Iterator
from pathlib import Path

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")


def find_pictures(directory: Path) -> list[str]:
    """Paths of all pictures below a directory, relative to it, sorted; hidden files and directories are not looked at."""
    return sorted(_walk(directory, ""))


def _walk(directory: Path, prefix: str) -> Iterator[str]:
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            # a link to a directory could lead out of the data set, or in a circle
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path), f"{prefix}{entry.name}/")
            elif entry.name.lower().endswith(EXTENSIONS) and entry.is_file():
                yield prefix + entry.name


def directories_of(root: Path, splits: tuple[str, ...]) -> tuple[str, ...]:
    """Which of the splits have a directory: `train` and `val` and perhaps more, or none at all without these two."""
    found = tuple(split for split in splits if (root / split).is_dir())
    return found if {"train", "val"} <= set(found) else ()
