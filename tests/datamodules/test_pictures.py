from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.pictures import READ_ERRORS, read_rgb, to_square
from tests.data import CMYK_PICTURE, GRAY_PICTURE, TURNED_PICTURE, CocoPicture, coco_pictures, photograph


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture).astype(float)


@pytest.mark.parametrize("position", [0, GRAY_PICTURE, CMYK_PICTURE, TURNED_PICTURE])
def test_pictures_of_the_tiny_data_set_decode_to_their_content(coco_root: Path, position: int) -> None:
    original = coco_pictures("train", 12)[position].pixels
    decoded = read_rgb(coco_root / "train2017" / f"{position + 1:012d}.jpg")
    assert decoded.mode == "RGB"
    assert decoded.size == original.size
    expected = original.convert("L").convert("RGB") if position == GRAY_PICTURE else original
    assert np.abs(pixels(decoded) - pixels(expected)).mean() < 4


def test_the_stored_forms_are_what_they_are_meant_to_be(coco_root: Path) -> None:
    def stored(position: int) -> Image.Image:
        return Image.open(coco_root / "train2017" / f"{position + 1:012d}.jpg")

    assert [stored(position).mode for position in (0, GRAY_PICTURE, CMYK_PICTURE, TURNED_PICTURE)] == ["RGB", "L", "CMYK", "RGB"]
    assert stored(TURNED_PICTURE).size == coco_pictures("train", 12)[TURNED_PICTURE].pixels.size[::-1]


@pytest.mark.parametrize("mode", ["P", "RGBA", "LA", "1"])
def test_other_modes_are_converted(tmp_path: Path, mode: str) -> None:
    photograph(0, 0).convert(mode).save(tmp_path / "picture.png")
    assert read_rgb(tmp_path / "picture.png").mode == "RGB"


def test_16_bit_greys_keep_their_tones(tmp_path: Path) -> None:
    tones = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    Image.fromarray(tones).save(tmp_path / "deep.png")
    decoded = pixels(read_rgb(tmp_path / "deep.png"))
    assert np.abs(decoded - (tones / 257)[:, :, None]).max() <= 1


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.95])
def test_truncated_pictures_raise_a_read_error(tmp_path: Path, share: float) -> None:
    CocoPicture(photograph(0, 0)).save(tmp_path / "picture.jpg")
    contents = (tmp_path / "picture.jpg").read_bytes()
    (tmp_path / "picture.jpg").write_bytes(contents[: int(share * len(contents))])
    with pytest.raises(READ_ERRORS):
        read_rgb(tmp_path / "picture.jpg")


def ramp(width: int, height: int) -> Image.Image:
    """Red is the column, green the row."""
    rows, columns = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack((columns, rows, np.zeros_like(rows)), axis=-1).astype(np.uint8))


@pytest.mark.parametrize(("width", "height", "left", "top"), [(96, 64, 16, 0), (64, 80, 0, 8)])
def test_a_central_crop_keeps_the_middle_as_it_is(width: int, height: int, left: int, top: int) -> None:
    square = to_square(ramp(width, height), 64, "crop")
    assert square.dtype == torch.uint8
    assert square.shape == (3, 64, 64)
    assert torch.equal(square[0], torch.arange(left, left + 64, dtype=torch.uint8).expand(64, 64))
    assert torch.equal(square[1], torch.arange(top, top + 64, dtype=torch.uint8)[:, None].expand(64, 64))


def test_cropping_keeps_the_aspect_and_squashing_does_not() -> None:
    # columns per output column, and rows per output row
    cropped, squashed = (to_square(ramp(200, 100), 50, resize).float() for resize in ("crop", "squash"))
    assert cropped[0].diff(dim=1).mean() == pytest.approx(2, abs=0.05)
    assert cropped[1].diff(dim=0).mean() == pytest.approx(2, abs=0.05)
    assert squashed[0].diff(dim=1).mean() == pytest.approx(4, abs=0.1)
    assert squashed[1].diff(dim=0).mean() == pytest.approx(2, abs=0.05)


def test_small_pictures_are_enlarged() -> None:
    assert to_square(photograph(0, 0, 20, 12), 32, "crop").shape == (3, 32, 32)


def test_random_crops_lie_inside_and_are_flipped_half_the_time() -> None:
    picture = ramp(96, 64)
    lefts, flips = [], 0
    for seed in range(200):
        square = to_square(picture, 64, "crop", Random(seed)).float()
        row = square[0, 0]
        flips += bool(row[0] > row[-1])
        assert row.sort().values.diff().sum() == pytest.approx(63, abs=1), "the crop is not a whole square"
        lefts.append(row.min().item())
    assert min(lefts) <= 3
    assert max(lefts) >= 29
    assert 70 <= flips <= 130


def test_random_pictures_depend_on_the_generator_alone() -> None:
    picture = photograph(0, 0, 96, 64)
    for resize in ("crop", "squash"):
        assert torch.equal(to_square(picture, 32, resize, Random(5)), to_square(picture, 32, resize, Random(5)))


def test_resizing_is_antialiased() -> None:
    stripes = np.zeros((256, 256, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    small = to_square(Image.fromarray(stripes), 32, "squash").float()
    assert (small - 127.5).abs().max() < 8
