"""Label maps: which class each pixel of a picture belongs to, in the numbers of its data set; `VOID` where it belongs to none."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from stylecolor.regions import VOID


class LabelMaps(Protocol):
    """The label maps of a list of pictures."""

    def __getitem__(self, chosen: np.ndarray) -> "LabelMaps":
        """Those of some of the pictures."""
        ...

    def stamp(self, index: int) -> str:
        """Changes when the label map of picture `index` does; empty when it is missing."""
        ...

    def read(self, index: int) -> UInt8[np.ndarray, "height width"]:
        """The label map of picture `index`, as large as the picture itself.

        Raises:
            ValueError, OSError: when it cannot be read.
        """
        ...


@dataclass
class LabelFiles:
    """A PNG of class numbers beside each picture.

    Args:
        root: directory of the data set.
        paths: of the PNG files, relative to `root`.
        void: numbers of the files that mean "no class".
    """

    root: Path
    paths: np.ndarray
    void: tuple[int, ...]

    def __getitem__(self, chosen: np.ndarray) -> "LabelFiles":
        return replace(self, paths=self.paths[chosen])

    def stamp(self, index: int) -> str:
        """See `LabelMaps`."""
        return file_stamp(self.root / str(self.paths[index]))

    def read(self, index: int) -> UInt8[np.ndarray, "height width"]:
        """See `LabelMaps`."""
        path = self.root / str(self.paths[index])
        with Image.open(path) as picture:
            if picture.mode not in ("L", "P"):
                raise ValueError(f"label map {path} has mode {picture.mode}, not 8-bit numbers")
            numbers = np.array(picture)
        numbers[np.isin(numbers, self.void)] = VOID
        return numbers


def file_stamp(path: Path) -> str:
    """Size and time of a file, by which a change is noticed; empty when there is none that can be looked at."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        # ValueError: a name that no file can have
        return ""
    return f"{status.st_size}:{status.st_mtime_ns}"
