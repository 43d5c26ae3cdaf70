from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2lab

from stylecolor.pictures.files import Picture
from stylecolor.pictures.sheets import CELL, LINE, MARGIN, SheetReader, SheetRow, check_sheet, draw_sheet, thumbnail, write_sheet
from tests.stylecolor.commands.running import read, save_photograph


def flat(height: int, width: int, value: int) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_thumbnails_fit_a_cell_and_are_never_enlarged() -> None:
    for (height, width), expected in (((512, 1024), (128, 256)), ((1, 5000), (1, 256)), ((30, 20), (30, 20))):
        assert thumbnail(Picture(np.zeros((height, width, 1), np.uint8))).shape == (*expected, 3)


@pytest.mark.parametrize(("dtype", "half"), [(np.uint8, 128), (np.uint16, 32896), (np.float32, 128 / 255)])
def test_thumbnails_have_8_bits_on_white(dtype: type, half: float) -> None:
    pixels = np.full((4, 4, 1), half).astype(dtype)
    assert (thumbnail(Picture(pixels)) == 128).all()
    assert (thumbnail(Picture(np.zeros_like(pixels), pixels[..., 0])) == 127).all()


def test_a_row_shows_lightness_references_and_result(tmp_path: Path) -> None:
    files = [save_photograph(tmp_path / f"{number}.png", number, 20, 12) for number in range(3)]
    row = SheetReader(10_000, grey=False).read_row("name", files[0], files[1:2], files[2])
    for found, path in zip((row.target, *row.references, row.result), files, strict=True):
        assert np.array_equal(found, read(path))
    grey = SheetReader(10_000, grey=True).read_row("name", files[0], (), files[2]).target
    assert np.ptp(grey, axis=2).max() <= 1
    assert np.abs(rgb2lab(grey)[..., 0] - rgb2lab(read(files[0]))[..., 0]).max() < 0.5
    with pytest.raises(ValueError, match="more"):
        SheetReader(100, grey=False).read_row("name", files[0], (), files[2])


def test_a_reference_is_read_once_a_sheet_and_anew_for_the_next(tmp_path: Path) -> None:
    target, reference = (save_photograph(tmp_path / name, number, 20, 12) for number, name in enumerate(("a.png", "b.png")))
    reader = SheetReader(10_000, grey=False)
    first = reader.read_row("first", target, (reference,), target)
    save_photograph(reference, 2, 20, 12)
    assert np.array_equal(reader.read_row("second", target, (reference,), target).references[0], first.references[0])
    (anew,) = SheetReader(10_000, grey=False).read_row("third", target, (reference,), target).references
    assert np.array_equal(anew, read(reference))


def test_rows_stand_below_each_other_with_gaps_for_what_is_missing() -> None:
    rows = [
        SheetRow("first", flat(20, 30, 10), (flat(40, 20, 20),), flat(20, 30, 30)),
        SheetRow("second", flat(8, 8, 10), (), flat(8, 8, 30)),
    ]
    sheet = np.array(draw_sheet(("target", "reference", "result"), rows))
    step, top = CELL + MARGIN, LINE + 40 + LINE + MARGIN
    assert sheet.shape == (top + 8 + LINE + 2 * MARGIN, 3 * step + MARGIN, 3)
    centres = [MARGIN + number * step + CELL // 2 for number in range(3)]
    assert [int(sheet[LINE + 5, centre, 0]) for centre in centres] == [10, 20, 30]
    assert [int(sheet[top + 4, centre, 0]) for centre in centres] == [10, 255, 30]
    assert sheet[LINE + 40 : top, : CELL // 2].min() < 100, "the name"


def test_long_names_keep_their_end() -> None:
    def named(name: str) -> np.ndarray:
        return np.array(draw_sheet(("target", "result"), [SheetRow(name, flat(4, 4, 0), (), flat(4, 4, 0))]))

    assert np.array_equal(named("x" * 500 + "end.png"), named("x" * 600 + "end.png"))
    assert not np.array_equal(named("x" * 500 + "end.png"), named("x" * 500 + "other.png"))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_sheets_are_written_whole(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "new" / f"sheet{suffix}"
    check_sheet(path)
    write_sheet(path, ("target", "result"), [SheetRow("name", flat(4, 4, 0), (), flat(4, 4, 0))])
    assert Image.open(path).format == {".png": "PNG", ".jpg": "JPEG"}[suffix]
    assert list(path.parent.iterdir()) == [path]


def test_a_place_where_no_sheet_can_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, message in (
        ("sheet.webp", rf"^sheet {tmp_path}/sheet\.webp: suffix=\.webp is not one of \.png, \.jpg"),
        ("file/sheet.png", "cannot be written"),
    ):
        with pytest.raises((ValueError, OSError), match=message):
            check_sheet(tmp_path / name)
    with pytest.raises(OSError, match=rf"^sheet {tmp_path}/file/sheet\.png: cannot be written \(.+\)$"):
        write_sheet(tmp_path / "file" / "sheet.png", ("target", "result"), [SheetRow("name", flat(4, 4, 0), (), flat(4, 4, 0))])
