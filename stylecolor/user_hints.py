"""Colours that a person puts at points of a picture: the file that lists them, and the hints that the colorizer is shown."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stylecolor.errors import check_range, did_you_mean
from stylecolor.hints import Hints
from stylecolor.whole_file import written_whole

DEFAULT_RADIUS = 4.0
_EXAMPLE = '[{"x": 0.41, "y": 0.2, "a": 23.0, "b": -11.5, "radius": 4}]'


@dataclass(frozen=True)
class HintPoint:
    """A disc of one colour.

    Raises ValueError for values outside the ranges.
    """

    x: float
    """Position of the centre in 0..1 of the picture's width, from the left."""
    y: float
    """Position of the centre in 0..1 of the picture's height, from the top."""
    a: float
    """a* of CIELab, in [-128, 127]."""
    b: float
    """b* of CIELab, in [-128, 127]."""
    radius: float = DEFAULT_RADIUS
    """In pixels of the picture."""

    def __post_init__(self) -> None:
        for name, extent in (("x", "width"), ("y", "height")):
            _check(self, name, f"it is a share of the picture's {extent}, so divide pixels by the {extent}", low=0, high=1)
        for name in ("a", "b"):
            _check(self, name, f"it is {name}* of CIELab, 0 for grey", low=-128, high=127)
        _check(self, "radius", "it is in pixels of the picture", above=0)


_FIELDS = tuple(field.name for field in fields(HintPoint))


def _check(point: HintPoint, name: str, meaning: str, **bounds: float) -> None:
    try:
        check_range(name, getattr(point, name), **bounds)
    except ValueError as error:
        raise ValueError(f"{error}; {meaning}") from error


def read_hints(path: str | Path) -> list[HintPoint]:
    """Read a JSON list of objects with the fields of `HintPoint`, of which `radius` may be left out.

    Raises:
        ValueError: naming the file, the entry (counted from 1), the field and its value, when the file is missing, is not such a list, or a
            value is outside its range.
        OSError: when the file cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"points {path}: no such file")
    try:
        # whole numbers may be too long for an int
        entries = json.loads(path.read_bytes(), parse_int=float)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"points {path}: is no JSON ({error}); write a list such as {_EXAMPLE}") from error
    if not isinstance(entries, list):
        raise ValueError(f"points {path}: holds no list of points; write a list such as {_EXAMPLE}")
    points = []
    for number, entry in enumerate(entries, start=1):
        try:
            points.append(_read_point(entry))
        except ValueError as error:
            raise ValueError(f"points {path}: entry {number}: {error}") from error
    return points


def _read_point(entry: Any) -> HintPoint:
    if not isinstance(entry, dict):
        raise ValueError(f"{_shorten(entry)} is no point; write objects, as in {_EXAMPLE}")
    for name in entry:
        if name not in _FIELDS:
            raise ValueError(f"unknown field {_shorten(name)}; a point has {', '.join(_FIELDS)}{did_you_mean(name.lower(), _FIELDS)}")
    for name in _FIELDS:
        if name not in entry and name != "radius":
            raise ValueError(f"{name} is missing; a point has {', '.join(_FIELDS)}, and only radius may be left out")
    for name, value in entry.items():
        if not isinstance(value, float):
            raise ValueError(f"{name}={_shorten(value)} is no number; write one without quotes")
    return HintPoint(**entry)


def _shorten(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def write_hints(path: str | Path, points: Sequence[HintPoint]) -> None:
    """Write what `read_hints` reads, a point a line, whole or not at all.

    Raises:
        OSError: when the file cannot be written.
    """
    lines = [json.dumps({name: float(value) for name, value in asdict(point).items()}) for point in points]
    with written_whole(Path(path)) as aside:
        aside.write_text("\n".join(("[", ",\n".join(lines), "]", "")))


def rasterize(
    points: Sequence[HintPoint], picture_size: tuple[int, int], working_size: tuple[int, int], device: torch.device | str = "cpu"
) -> Hints:
    """The points as hints of one picture at the networks' size, float32; `stylecolor.hints.combine_hints` puts them above others.

    A pixel is shown if its centre lies in a disc, and each point shows at least the pixel that it lies in, however small its disc is at
    that size. Where discs overlap, the later point's colour is shown. The result is the same on every device.

    Args:
        points: what to show.
        picture_size: height and width of the picture, which the radii refer to.
        working_size: height and width of the hints; the whole picture, whatever its aspect ratio.
        device: of the hints.
    """
    (picture_height, picture_width), (height, width) = picture_size, working_size
    rows = (np.arange(height) + 0.5) * picture_height / height
    columns = (np.arange(width) + 0.5) * picture_width / width
    ab, mask = np.zeros((1, 2, height, width), dtype=np.float32), np.zeros((1, 1, height, width), dtype=np.float32)
    for point in points:
        y, x = point.y * picture_height, point.x * picture_width
        # nothing is farther away than that
        radius = min(point.radius, picture_height + picture_width)
        down, across = _reach(y, radius, picture_height, height), _reach(x, radius, picture_width, width)
        shown = np.hypot(rows[down, None] - y, columns[across] - x) <= radius
        # 1 is the far edge of the last pixel
        shown[min(int(point.y * height), height - 1) - down.start, min(int(point.x * width), width - 1) - across.start] = True
        ab[0, :, down, across][:, shown] = [[point.a], [point.b]]
        mask[0, 0, down, across][shown] = 1
    return Hints(torch.from_numpy(ab).to(device), torch.from_numpy(mask).to(device))


def _reach(centre: float, radius: float, extent: int, pixels: int) -> slice:
    """The pixels of one axis that a disc may reach, and one more at each end against rounding."""
    first, last = ((centre + offset) * pixels / extent for offset in (-radius, radius))
    return slice(max(0, math.floor(first) - 1), min(pixels, math.floor(last) + 2))
