"""Finding the pictures below a directory."""

import os
from collections.abc import Iterator
from pathlib import Path

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")


def find_pictures(directory: Path) -> list[str]:
    """Paths of all pictures below a directory, relative to it, sorted; links are followed, hidden files and directories not looked at."""
    return sorted(_walk(directory, "", ()))


def _walk(directory: Path, prefix: str, above: tuple[str, ...]) -> Iterator[str]:
    here = os.path.realpath(directory)
    if here in above:
        # a link in a circle
        return
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _walk(Path(entry.path), f"{prefix}{entry.name}/", (*above, here))
            elif entry.name.lower().endswith(EXTENSIONS):
                # links that lead nowhere too, so that they are counted
                yield prefix + entry.name


def directories_of(root: Path, splits: tuple[str, ...]) -> tuple[str, ...]:
    """Which of the splits have a directory: `train` and `val` and perhaps more, or none at all without these two."""
    found = tuple(split for split in splits if (root / split).is_dir())
    return found if {"train", "val"} <= set(found) else ()
