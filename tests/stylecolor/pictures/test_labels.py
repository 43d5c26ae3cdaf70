import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylecolor.pictures.files import MAX_PIXELS
from stylecolor.pictures.labels import read_label_map

LABELS = np.arange(30, dtype=np.uint8).reshape(5, 6) * 8


def test_numbers_are_read_whatever_their_colours(tmp_path: Path) -> None:
    Image.fromarray(LABELS).save(tmp_path / "grey.png")
    palette = Image.fromarray(LABELS, mode="P")
    palette.putpalette(bytes(reversed(range(256))) * 3)
    palette.save(tmp_path / "palette.png")
    for name in ("grey.png", "palette.png"):
        found = read_label_map(tmp_path / name, (5, 6))
        assert found.dtype == np.uint8
        assert np.array_equal(found, LABELS)


@pytest.mark.parametrize("mode", ["RGB", "LA", "1", "I;16"])
def test_other_kinds_of_pictures_are_refused(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (6, 5)).save(tmp_path / "x.png")
    with pytest.raises(ValueError, match=r"label map .*x\.png: has pixels of mode"):
        read_label_map(tmp_path / "x.png", (5, 6))


def test_another_size_is_refused_before_anything_is_decoded(tmp_path: Path) -> None:
    Image.fromarray(LABELS).save(tmp_path / "x.png")
    with pytest.raises(ValueError, match=r"x\.png: has 6 x 5 px, its picture 5 x 6; they have to be the same"):
        read_label_map(tmp_path / "x.png", (6, 5))


def chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def test_the_limit_is_that_of_pictures_and_not_pillows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(LABELS).save(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert np.array_equal(read_label_map(tmp_path / "x.png", (5, 6)), LABELS)
    with pytest.raises(
        ValueError, match=r"^label map .*x\.png: its 6 x 5 px are more than max_pixels=29; raise that \(--max-megapixels\) to read it$"
    ):
        read_label_map(tmp_path / "x.png", (5, 6), max_pixels=29)
    header = (90_000).to_bytes(4, "big") + (9_000).to_bytes(4, "big") + bytes((8, 0, 0, 0, 0))
    whole = (tmp_path / "x.png").read_bytes()
    (tmp_path / "bomb.png").write_bytes(whole[:8] + chunk(b"IHDR", header) + whole[33:])
    with pytest.raises(ValueError, match=r"bomb\.png: has 90000 x 9000 px, its picture 6 x 5"):
        read_label_map(tmp_path / "bomb.png", (5, 6))
    with pytest.raises(ValueError, match=rf"bomb\.png: its 90000 x 9000 px are more than max_pixels={MAX_PIXELS}"):
        read_label_map(tmp_path / "bomb.png", (9_000, 90_000))


def test_pillows_own_refusals_name_the_file(tmp_path: Path) -> None:
    Image.fromarray(LABELS).save(tmp_path / "x.png")
    whole = (tmp_path / "x.png").read_bytes()
    text = chunk(b"zTXt", b"Title\0\0" + zlib.compress(bytes(5_000_000)))
    (tmp_path / "x.png").write_bytes(whole[:33] + text + whole[33:])
    with pytest.raises(ValueError, match=rf"^label map {tmp_path / 'x.png'}: is damaged or truncated$"):
        read_label_map(tmp_path / "x.png", (5, 6))


def test_what_is_no_whole_png_is_refused(tmp_path: Path) -> None:
    Image.fromarray(LABELS).save(tmp_path / "x.jpg")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 50), np.uint8)).save(tmp_path / "x.png")
    (tmp_path / "x.png").write_bytes((tmp_path / "x.png").read_bytes()[:300])
    for name, reason in (
        ("x.jpg", "is no PNG"),
        ("x.png", "is damaged or truncated"),
        ("none.png", "no such file"),
        (".", "is a directory"),
    ):
        with pytest.raises(ValueError, match=rf"^label map {tmp_path / name}: {reason}$"):
            read_label_map(tmp_path / name, (50, 50))
