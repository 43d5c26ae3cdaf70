from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylecolor.pictures.labels import read_label_map
from stylecolor.regions import VOID as LIBRARY_VOID
from stylecolor.studio.label_maps import BRUSHES, VOID, label_color, label_name, overlay, read_painting, write_labels


def save_painting(path: Path, size: tuple[int, int] = (40, 60)) -> Path:
    """The first brush above, the last below, nothing at the left."""
    colors = [tuple(bytes.fromhex(color[1:])) for color in BRUSHES.values()]
    pixels = np.zeros((*size, 4), dtype=np.uint8)
    pixels[:20, 10:] = (*colors[0], 255)
    pixels[20:, 10:] = (*colors[-1], 255)
    # where a browser blends the edge of a stroke
    pixels[:, 9] = (*colors[0], 100)
    pixels[5, 30] = np.array((*colors[0], 255)) - (9, 0, 0, 20)
    Image.fromarray(pixels).save(path, format="PNG")
    return path


def test_void_is_that_of_the_library() -> None:
    assert VOID == LIBRARY_VOID


def test_each_brush_paints_its_label(tmp_path: Path) -> None:
    labels = read_painting(save_painting(tmp_path / "painting.png"), (40, 60))
    assert (labels[:20, 10:] == 1).all()
    assert (labels[20:, 10:] == len(BRUSHES)).all()
    assert (labels[:, :10] == VOID).all()


def test_a_painting_of_another_size_is_refused_unread(tmp_path: Path) -> None:
    path = save_painting(tmp_path / "painting.png")
    # hardly more than the header is left
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ValueError, match="the painting has 60 x 40 px, the photograph 61 x 40"):
        read_painting(path, (40, 61))


@pytest.mark.parametrize("contents", [b"", b"no picture", b"GIF89a" + bytes(100)])
def test_what_is_no_painting_is_refused(tmp_path: Path, contents: bytes) -> None:
    (tmp_path / "painting.png").write_bytes(contents)
    with pytest.raises(ValueError, match="the painting cannot be read; paint it again"):
        read_painting(tmp_path / "painting.png", (40, 60))


def test_a_damaged_painting_is_refused(tmp_path: Path) -> None:
    path = save_painting(tmp_path / "painting.png")
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ValueError, match="the painting cannot be read"):
        read_painting(path, (40, 60))


def test_label_maps_are_written_as_they_are_read(tmp_path: Path) -> None:
    labels = np.arange(256, dtype=np.uint8).reshape(8, 32)
    assert (read_label_map(write_labels(tmp_path / "labels.png", labels), (8, 32)) == labels).all()


def test_the_overlay_shows_labels_in_their_colours_and_the_picture_elsewhere() -> None:
    preview = Image.new("RGB", (200, 100), (50, 60, 70))
    labels = np.full((10, 20), VOID, dtype=np.uint8)
    labels[:, 10:] = 3
    shown = overlay(preview, labels).astype(int)
    assert (shown[:, :100] == (50, 60, 70)).all()
    expected = 0.4 * np.array((50, 60, 70)) + 0.6 * np.array(label_color(3))
    assert np.abs(shown[5, 105] - expected).max() <= 1
    # its number, in the middle of the region
    assert shown[40:60, 140:160].min(axis=2).max() > 200


def test_labels_that_cannot_be_painted_have_colours_of_their_own() -> None:
    colors = [label_color(label) for label in range(VOID)]
    assert len(set(colors)) == VOID
    assert all(0 <= level <= 255 for color in colors for level in color)


def test_labels_are_named_by_number_and_brush() -> None:
    assert [label_name(label) for label in (0, 1, 8, 9)] == ["0", "1 (orange)", "8 (violet)", "9"]
