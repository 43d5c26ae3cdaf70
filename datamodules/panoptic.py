"""COCO's panoptic label maps."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from datamodules.annotations import convert_once
from datamodules.labels import VOID, file_stamp


@dataclass
class PanopticMaps:
    """COCO's panoptic PNGs, whose colours are segment numbers (red + 256 green + 65536 blue); 0 is void.

    Args:
        root: directory of the data set.
        paths: of the PNG files, relative to `root`.
        directory: of the segments' categories in the cache.
        rows: of the PNG files in the annotation file, -1 for one that it does not list.
    """

    root: Path
    paths: np.ndarray
    directory: Path
    rows: np.ndarray

    def __getitem__(self, chosen: np.ndarray) -> "PanopticMaps":
        return replace(self, paths=self.paths[chosen], rows=self.rows[chosen])

    def stamp(self, index: int) -> str:
        """See `LabelMaps`."""
        return f"{self.directory.name}/{file_stamp(self.root / str(self.paths[index]))}"

    def read(self, index: int) -> UInt8[np.ndarray, "height width"]:
        """See `LabelMaps`."""
        path, row = self.root / str(self.paths[index]), int(self.rows[index])
        if row < 0:
            raise ValueError(f"label map {path.name} is not in the panoptic annotation file")
        with Image.open(path) as picture:
            if picture.mode != "RGB":
                raise ValueError(f"label map {path} has mode {picture.mode}, not the colours of a panoptic map")
            segments = np.asarray(picture).astype(np.int64) @ np.array([1, 256, 65536])
        ends, numbers, categories = (np.load(self.directory / f"{name}.npy", mmap_mode="r") for name in ("ends", "numbers", "categories"))
        own = slice(ends[row], ends[row + 1])
        known = dict(zip(numbers[own].tolist(), categories[own].tolist(), strict=True))
        found, places = np.unique(segments, return_inverse=True)
        return np.array([known.get(number, VOID) for number in found.tolist()], dtype=np.uint8)[places.reshape(segments.shape)]


def read_panoptic_maps(path: Path, root: Path, paths: np.ndarray, cache: Path) -> PanopticMaps:
    """The label maps in these PNG files, whose segments a panoptic annotation file explains.

    Raises:
        ValueError: for a missing or damaged annotation file.
    """
    directory = convert_once(path, cache, _convert_panoptic)
    rows = {name: row for row, name in enumerate(np.load(directory / "file_names.npy").tolist())}
    return PanopticMaps(root, paths, directory, np.array([rows.get(Path(name).name, -1) for name in paths], dtype=np.int64))


def _convert_panoptic(path: Path, directory: Path) -> None:
    try:
        annotations = json.loads(path.read_bytes())["annotations"]
        names = [item["file_name"] for item in annotations]
        segments = [[(segment["id"], segment["category_id"]) for segment in item["segments_info"]] for item in annotations]
        pairs = np.array([pair for own in segments for pair in own], dtype=np.int64).reshape(-1, 2)
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path} is missing or no panoptic annotation file ({error!r})") from error
    if len(pairs) and not (pairs[:, 1].min() >= 0 and pairs[:, 1].max() < VOID):
        raise ValueError(f"{path}: category ids must be below {VOID} for label maps, one is {pairs[:, 1].max()}")
    np.save(directory / "file_names.npy", np.array(names, dtype=str))
    np.save(directory / "ends.npy", np.cumsum([0, *map(len, segments)]))
    np.save(directory / "numbers.npy", pairs[:, 0])
    np.save(directory / "categories.npy", pairs[:, 1].astype(np.uint8))
