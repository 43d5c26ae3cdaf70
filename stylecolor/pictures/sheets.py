"""Sheets of pictures side by side: a row for each target, with its name."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from stylecolor.errors import check_choice
from stylecolor.pictures.bit_depth import change_depth
from stylecolor.pictures.files import Picture, check_output, read_picture
from stylecolor.whole_file import written_whole
from stylecolor.working_size import resize_pixels

SUFFIXES = (".png", ".jpg", ".jpeg")
ROWS = 40
"""A sheet has no more rows, so that it can be looked at, and kept in memory."""
CELL = 256
"""px, the longest side of a picture on a sheet."""
MARGIN = 4
LINE = 18
"""px, the height of a line of text."""
QUALITY = 90

Thumbnail = UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True)
class SheetRow:
    """A row of a sheet: a target, its references, of which there may be fewer than the sheet has columns for, and the result."""

    name: str
    target: Thumbnail
    references: tuple[Thumbnail, ...]
    result: Thumbnail


def check_sheet(path: Path) -> None:
    """Refuse a sheet that cannot be written, before the work.

    Raises:
        ValueError: for another suffix.
        OSError: when there is no writing there.
    """
    check_choice(f"sheet {path}: suffix", path.suffix.lower(), SUFFIXES)
    check_output(path)


class SheetReader:
    """Reads the pictures of one sheet.

    Args:
        max_pixels: see `read_picture`.
        grey: whether the targets' L is shown instead of the targets.
    """

    def __init__(self, max_pixels: int, grey: bool) -> None:
        self._max_pixels = max_pixels
        self._grey = grey
        self._references: dict[Path, Thumbnail] = {}
        """Several rows may have the same."""

    def read_row(self, name: str, target: Path, references: Sequence[Path], output: Path) -> SheetRow:
        """A target, its references and the result, as they are in their files.

        Args:
            name: of the row.
            target: its file, as the others.
            references: any number.
            output: the result.

        Raises:
            ValueError: for a picture that cannot be read.
            OSError: likewise.
        """
        shown = self._read(target)
        for path in references:
            if path not in self._references:
                self._references[path] = self._read(path)
        others = tuple(self._references[path] for path in references)
        return SheetRow(name, _in_grey(shown) if self._grey else shown, others, self._read(output))

    def _read(self, path: Path) -> Thumbnail:
        return thumbnail(read_picture(path, self._max_pixels))


def thumbnail(picture: Picture, longest_side: int = CELL) -> Thumbnail:
    """A picture on white, of 8 bits, as large as it is or smaller, so that no side is longer than `longest_side` px."""
    height, width = picture.size
    scale = min(1.0, longest_side / max(height, width))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    pixels = change_depth(resize_pixels(picture.pixels, size), np.uint8)
    pixels = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
    if picture.alpha is None:
        return pixels
    alpha = change_depth(resize_pixels(picture.alpha[..., None], size), np.uint8).astype(np.float32) / 255
    return (pixels * alpha + 255 * (1 - alpha)).round().astype(np.uint8)


def _in_grey(pixels: Thumbnail) -> Thumbnail:
    # imported late: torch takes seconds
    from stylecolor.color import gray_rgb, rgb_to_l
    from stylecolor.painting import from_unit_range, to_unit_range

    return from_unit_range(gray_rgb(rgb_to_l(to_unit_range(pixels))), pixels.dtype)


def draw_sheet(columns: Sequence[str], rows: Sequence[SheetRow]) -> Image.Image:
    """The rows below each other, under the names of the columns."""
    heights = [max(cell.shape[0] for cell in (row.target, *row.references, row.result)) for row in rows]
    step = CELL + MARGIN
    sheet = Image.new("RGB", (len(columns) * step + MARGIN, LINE + sum(height + LINE + MARGIN for height in heights) + MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=11)
    for number, column in enumerate(columns):
        draw.text((MARGIN + number * step + CELL / 2, LINE / 2), column, fill="black", anchor="mm", font=font)
    top = LINE
    for row, height in zip(rows, heights, strict=True):
        cells = {0: row.target, **dict(enumerate(row.references, start=1)), len(columns) - 1: row.result}
        for number, cell in cells.items():
            sheet.paste(Image.fromarray(cell), (MARGIN + number * step + (CELL - cell.shape[1]) // 2, top))
        draw.text(
            (MARGIN, top + height + LINE / 2), _shorten(row.name, font, sheet.width - 2 * MARGIN), fill="black", anchor="lm", font=font
        )
        top += height + LINE + MARGIN
    return sheet


def _shorten(name: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """A name's end, which tells pictures of the same folder apart."""
    if font.getlength(name) <= width:
        return name
    start = next(start for start in range(1, len(name) + 1) if font.getlength(f"...{name[start:]}") <= width)
    return f"...{name[start:]}"


def write_sheet(path: Path, columns: Sequence[str], rows: Sequence[SheetRow]) -> None:
    """Write a sheet, whole or not at all.

    Raises:
        OSError: naming the file.
    """
    sheet = draw_sheet(columns, rows)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as aside:
            sheet.save(aside, format="PNG" if path.suffix.lower() == ".png" else "JPEG", quality=QUALITY)
    except OSError as error:
        raise OSError(f"sheet {path}: cannot be written ({error.strerror or error})") from error
