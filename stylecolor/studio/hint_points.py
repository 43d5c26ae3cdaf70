"""Points of colour as the page shows them: marks on a preview, rows of a table, and what a click hits."""

import math
from collections.abc import Sequence
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from stylecolor.studio.requests import POINTS

if TYPE_CHECKING:
    from stylecolor.user_hints import HintPoint

COLUMNS = ("x", "y", "a", "b", "radius")
"""Of the table, in the order of the fields of `HintPoint`."""
MIDDLE = (0.5, 0.5)
"""Where points are put that nobody has clicked into a place."""
SEEN = (256, 256)
"""Height and width at which the networks see a picture."""
RADIUS = 4 / min(SEEN)
"""Of new points, a share of the picture's shorter side: `DEFAULT_RADIUS` at `SEEN`."""
MARK = 0.011
"""Radius of the marks, a share of the preview's longer side."""
SAME = 1.5
"""Colours that are closer in ab are the same to a picker, which knows 8 bits."""
REACH = 0.05
"""How far from a point a click may be that is meant for it, likewise."""
TOUCH = 0.018
"""Likewise, where a click farther away means another place."""


def default_radius(size: tuple[int, int]) -> int:
    """In pixels of a picture of this height and width."""
    return max(1, round(RADIUS * min(size)))


def rows_of(points: Sequence["HintPoint"]) -> list[list[float]]:
    """The rows of the table."""
    return [list(astuple(point)) for point in points]


def read_rows(rows: Sequence[Sequence[Any]]) -> list["HintPoint"]:
    """The points of a table's rows. Empty rows are none, and a missing radius is `DEFAULT_RADIUS`.

    Raises:
        ValueError: naming the row, counted from 1, the column and its value, for what is no number or out of range; and for too many rows.
    """
    check_count(len(rows))
    points = []
    for number, row in enumerate(rows, start=1):
        if not is_empty(row):
            try:
                points.append(_read_row(_cells_of(row)))
            except ValueError as error:
                raise ValueError(f"row {number}: {error}") from error
    return points


def is_empty(row: Sequence[Any]) -> bool:
    """Whether nothing is written in it."""
    return not any(_cells_of(row))


def _cells_of(row: Sequence[Any]) -> list[str]:
    return ["" if cell is None else str(cell).strip() for cell in row]


def _read_row(cells: Sequence[str]) -> "HintPoint":
    from stylecolor.user_hints import HintPoint

    if len(cells) != len(COLUMNS):
        raise ValueError(f"has {len(cells)} cells; a point has {', '.join(COLUMNS)}")
    values = {}
    for name, cell in zip(COLUMNS, cells, strict=True):
        if not cell:
            if name != "radius":
                raise ValueError(f"{name} is missing; a point has {', '.join(COLUMNS)}, and only radius may be left out")
            continue
        try:
            values[name] = float(cell)
        except ValueError:
            shown = cell if len(cell) <= 40 else f"{cell[:37]}..."
            raise ValueError(f"{name}={shown} is no number; write one such as 0.5") from None
    return HintPoint(**values)


def check_count(points: int) -> None:
    """Refuse more points than the studio takes.

    Raises:
        ValueError: naming both numbers.
    """
    if points > POINTS:
        raise ValueError(f"{points} points are more than the {POINTS} that the studio takes; use stylecolor hints")


def find_nearest(points: Sequence["HintPoint"], x: float, y: float, size: tuple[int, int], reach: float = REACH) -> int | None:
    """The index of the point that a click at (x, y) is meant for, None where there is none near enough.

    Args:
        points: to choose from.
        x: share of the width.
        y: share of the height.
        size: height and width of the picture.
        reach: how far the point may be, a share of the longer side.
    """
    height, width = size
    distances = [math.hypot((point.x - x) * width, (point.y - y) * height) for point in points]
    if not distances or min(distances) > reach * max(size):
        return None
    return distances.index(min(distances))


def draw_points(preview: Image.Image, points: Sequence["HintPoint"], size: tuple[int, int], selected: int | None = None) -> Image.Image:
    """A copy of a preview with the points: their discs, and marks in their colours, numbered from 1 as the table's rows are.

    Args:
        preview: of the picture, of any size.
        points: what to draw.
        size: height and width of the picture, which the radii refer to.
        selected: the index of the point whose mark is to stand out.
    """
    drawn = preview.convert("RGB")
    draw = ImageDraw.Draw(drawn)
    mark = max(5.0, MARK * max(drawn.size))
    line = max(1, round(mark / 5))
    font = ImageFont.load_default(size=max(13, 1.8 * mark))
    scale = drawn.width / size[1]
    for index, (point, color) in enumerate(zip(points, _colors(drawn, points), strict=True)):
        centre = point.x * drawn.width, point.y * drawn.height
        # nothing is farther away than that
        disc = min(point.radius * scale, sum(drawn.size))
        if disc > mark:
            _circle(draw, centre, disc, outline="black", width=line + 2)
            _circle(draw, centre, disc - 1, outline=color, width=line)
        chosen = index == selected
        _circle(draw, centre, mark * (1.7 if chosen else 1) + line, fill="black")
        _circle(draw, centre, mark * (1.7 if chosen else 1), fill="white")
        _circle(draw, centre, mark * (1.2 if chosen else 0.75), fill=color)
        _number(draw, index + 1, centre, mark * (1.7 if chosen else 1) + 3 * line + 1, drawn.size, font, line)
    return drawn


def _circle(draw: ImageDraw.ImageDraw, centre: tuple[float, float], radius: float, **style: Any) -> None:
    x, y = centre
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), **style)


def _number(
    draw: ImageDraw.ImageDraw,
    number: int,
    centre: tuple[float, float],
    distance: float,
    size: tuple[int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    line: int,
) -> None:
    """Beside the mark, on the side where there is room."""
    right = centre[0] < size[0] * 0.9
    x = centre[0] + distance * (1 if right else -1)
    draw.text(
        (x, centre[1]), str(number), fill="white", font=font, anchor="lm" if right else "rm", stroke_width=line + 1, stroke_fill="black"
    )


def _colors(preview: Image.Image, points: Sequence["HintPoint"]) -> list[str]:
    """The points' colours at the lightness of where they are."""
    return [css_color(lightness_at(preview, point.x, point.y), point.a, point.b) for point in points]


def lightness_at(preview: Image.Image, x: float, y: float) -> float:
    """L in [0, 100] of a preview at a place in shares of its width and height."""
    pixel = min(int(x * preview.width), preview.width - 1), min(int(y * preview.height), preview.height - 1)
    return _lab_of(preview.crop((*pixel, pixel[0] + 1, pixel[1] + 1)).convert("RGB"))[0]


def ab_of(color: str) -> tuple[float, float]:
    """a and b of CIELab, to a tenth, of a colour as browsers write them: #rrggbb, rgb(...), hsl(...).

    Raises:
        ValueError: for another text.
    """
    try:
        pixel = Image.new("RGB", (1, 1), ImageColor.getrgb(color)[:3])
    except ValueError:
        raise ValueError(f"colour {color[:40]} is none that is known; write one such as #cc8844") from None
    _, a, b = _lab_of(pixel)
    return round(a, 1), round(b, 1)


def _lab_of(pixel: Image.Image) -> tuple[float, float, float]:
    # imported late: torch takes seconds
    from stylecolor.color import rgb_to_lab
    from stylecolor.painting import to_unit_range

    l, a, b = rgb_to_lab(to_unit_range(np.asarray(pixel))).flatten().tolist()
    return l, a, b


def css_color(l: float, a: float, b: float) -> str:
    """The nearest colour of sRGB, as #rrggbb."""
    import torch

    from stylecolor.color import lab_to_rgb
    from stylecolor.painting import from_unit_range

    rgb = from_unit_range(lab_to_rgb(torch.tensor([l, a, b], dtype=torch.float32).reshape(1, 3, 1, 1)), np.dtype(np.uint8))
    return "#" + bytes(rgb.flatten().tolist()).hex()


def picker_color(l: float, a: float, b: float) -> str:
    """A colour of sRGB that has this ab, at the nearest lightness at which there is one; some ab have none, and come out paler."""
    for candidate in sorted(range(2, 100, 4), key=lambda candidate: abs(candidate - l)):
        color = css_color(candidate, a, b)
        if math.dist(ab_of(color), (a, b)) < SAME:
            return color
    return css_color(60, a, b)
