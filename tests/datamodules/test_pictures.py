import struct
import zlib
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datamodules.pictures import MAX_ASPECT, READ_ERRORS, read_picture, read_rgb
from tests.data import CMYK_PICTURE, TURNED_PICTURE, CocoPicture, coco_pictures, color_of, photograph, regions, save_turned
from tests.datamodules.modules import near_edges


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture).astype(float)


def difference(first: Image.Image, second: Image.Image) -> float:
    assert first.size == second.size
    assert first.mode == "RGB"
    return float(np.abs(pixels(first) - pixels(second.convert("RGB"))).mean())


# --- forms of files ---


@pytest.mark.parametrize("position", [0, CMYK_PICTURE, TURNED_PICTURE])
def test_pictures_of_the_tiny_data_set_decode_to_their_content(coco_root: Path, position: int) -> None:
    original = coco_pictures("train", 12)[position].pixels
    assert difference(read_rgb(coco_root / "train2017" / f"{position + 1:012d}.jpg"), original) < 4


def test_the_stored_forms_are_what_they_are_meant_to_be(coco_root: Path) -> None:
    def stored(number: int) -> Image.Image:
        return Image.open(coco_root / "train2017" / f"{number:012d}.jpg")

    assert [stored(number).mode for number in (1, CMYK_PICTURE + 1, TURNED_PICTURE + 1, 13)] == ["RGB", "CMYK", "RGB", "L"]
    assert stored(TURNED_PICTURE + 1).size == coco_pictures("train", 12)[TURNED_PICTURE].pixels.size[::-1]


def test_a_grey_jpeg_is_a_grey_colour_picture(tmp_path: Path) -> None:
    grey = photograph(0, 0).convert("L")
    grey.save(tmp_path / "grey.jpg", quality=95)
    assert difference(read_rgb(tmp_path / "grey.jpg"), grey) < 2


@pytest.mark.parametrize("mode", ["P", "1", "L", "RGB"])
@pytest.mark.parametrize("extension", ["png", "gif", "bmp", "tif"])
def test_other_modes_are_what_pillow_makes_of_them(tmp_path: Path, mode: str, extension: str) -> None:
    path = tmp_path / f"picture.{extension}"
    stored = photograph(0, 0).convert(mode)
    stored.save(path)
    assert difference(read_rgb(path), Image.open(path).convert("RGB")) == 0
    assert difference(read_rgb(path), stored) < 8


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("extension", ["png", "webp"])
def test_transparent_pictures_are_laid_on_white(tmp_path: Path, mode: str, extension: str) -> None:
    opaque = photograph(0, 0).convert(mode.removesuffix("A"))
    alpha = np.tile(np.linspace(0, 255, opaque.width).round().astype(np.uint8), (opaque.height, 1))
    transparent = opaque.copy().convert(mode)
    transparent.putalpha(Image.fromarray(alpha))
    transparent.save(tmp_path / f"picture.{extension}", lossless=True, exact=True)
    share = alpha[:, :, None] / 255
    expected = share * pixels(opaque.convert("RGB")) + (1 - share) * 255
    assert np.abs(pixels(read_rgb(tmp_path / f"picture.{extension}")) - expected).max() <= 1


def test_transparent_palette_entries_are_white(tmp_path: Path) -> None:
    picture = Image.new("P", (8, 4))
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.paste(1, (4, 0, 8, 4))
    picture.save(tmp_path / "palette.png", transparency=0)
    found = pixels(read_rgb(tmp_path / "palette.png"))
    assert (found[:, :4] == 255).all()
    assert (found[:, 4:] == (200, 100, 50)).all()


def test_16_bit_greys_keep_their_tones(tmp_path: Path) -> None:
    tones = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    for name in ("deep.png", "deep.tif"):
        Image.fromarray(tones).save(tmp_path / name)
        assert np.abs(pixels(read_rgb(tmp_path / name)) - (tones / 257)[:, :, None]).max() <= 1


def write_deep_png(path: Path, values: np.ndarray) -> None:
    """16 bits a channel, which Pillow cannot write. values: uint16 (height, width, 3)."""

    def chunk(kind: bytes, contents: bytes) -> bytes:
        return struct.pack(">I", len(contents)) + kind + contents + struct.pack(">I", zlib.crc32(kind + contents))

    height, width = values.shape[:2]
    rows = b"".join(b"\x00" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def test_16_bit_colours_keep_their_tones(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (12, 9, 3)).astype(np.uint16)
    write_deep_png(tmp_path / "deep.png", values)
    assert np.abs(pixels(read_rgb(tmp_path / "deep.png")) - values / 257).max() <= 1


def test_32_bit_greys_do_not_wrap_around(tmp_path: Path) -> None:
    values = np.tile(np.linspace(0, 200_000, 64).astype(np.int32), (8, 1))
    Image.fromarray(values).save(tmp_path / "deep.tif")
    assert (np.diff(pixels(read_rgb(tmp_path / "deep.tif"))[0, :, 0]) >= 0).all()


@pytest.mark.parametrize("extension", ["gif", "png", "webp"])
def test_the_first_frame_of_an_animation_is_taken(tmp_path: Path, extension: str) -> None:
    frames = [Image.new("RGB", (20, 16), color) for color in ((250, 10, 20), (10, 240, 20), (5, 10, 230))]
    path = tmp_path / f"animation.{extension}"
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
    with Image.open(path) as stored:
        assert getattr(stored, "n_frames", 1) == 3
    assert np.abs(pixels(read_rgb(path)) - (250, 10, 20)).max() <= 4


def test_progressive_jpegs_are_read(tmp_path: Path) -> None:
    original = photograph(0, 1)
    original.save(tmp_path / "picture.jpg", quality=95, progressive=True)
    assert difference(read_rgb(tmp_path / "picture.jpg"), original) < 3
    small, _ = read_picture(tmp_path / "picture.jpg", 24, "crop")
    assert np.abs(small - pixels(original.resize((29, 24), Image.Resampling.BICUBIC))).mean() < 4


# a picture whose four corners are unlike each other
def cornered(width: int, height: int) -> Image.Image:
    picture = Image.new("RGB", (width, height), (128, 128, 128))
    for color, place in {(250, 0, 0): (0, 0), (0, 250, 0): (1, 0), (0, 0, 250): (0, 1), (250, 250, 0): (1, 1)}.items():
        left, top = place[0] * width // 2, place[1] * height // 2
        picture.paste(color, (left, top, left + width // 2, top + height // 2))
    return picture


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("extension", ["jpg", "png", "webp"])
def test_pictures_are_upright_as_their_exif_says(tmp_path: Path, orientation: int, extension: str) -> None:
    original = cornered(128, 96)
    path = tmp_path / f"turned.{extension}"
    save_turned(original, path, orientation)
    assert difference(read_rgb(path), original) < 4
    # 4 times too large: the decoder itself makes it smaller
    found, _ = read_picture(path, 24, "crop")
    assert np.abs(found - pixels(original.resize((32, 24), Image.Resampling.BICUBIC))).mean() < 4


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_changes_nothing(tmp_path: Path, orientation: int) -> None:
    save_turned(cornered(64, 48), tmp_path / "turned.jpg", orientation)
    assert difference(read_rgb(tmp_path / "turned.jpg"), cornered(64, 48)) < 4


def test_a_file_name_that_lies_about_its_form_does_not_matter(tmp_path: Path) -> None:
    photograph(0, 0).save(tmp_path / "picture.jpg", format="png")
    assert difference(read_rgb(tmp_path / "picture.jpg"), photograph(0, 0)) == 0


# --- files that cannot be read ---


@pytest.mark.parametrize("extension", ["jpg", "png", "webp", "gif", "tif", "bmp"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9])
def test_truncated_pictures_raise_a_read_error(tmp_path: Path, share: float, extension: str) -> None:
    path = tmp_path / f"picture.{extension}"
    photograph(0, 0).save(path)
    contents = path.read_bytes()
    path.write_bytes(contents[: int(share * len(contents))])
    with pytest.raises(READ_ERRORS):
        read_rgb(path)
    with pytest.raises(READ_ERRORS):
        read_picture(path, 16, "crop")


@pytest.mark.parametrize("contents", [b"", b"no picture at all", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.4\n", bytes(5000)])
def test_what_is_no_picture_raises_a_read_error(tmp_path: Path, contents: bytes) -> None:
    (tmp_path / "picture.jpg").write_bytes(contents)
    with pytest.raises(READ_ERRORS):
        read_picture(tmp_path / "picture.jpg", 16, "crop")


def test_a_directory_and_a_missing_file_raise_a_read_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.jpg"):
        with pytest.raises(READ_ERRORS):
            read_picture(path, 16, "crop")


@pytest.mark.parametrize("extension", ["jpg", "png"])
def test_decompression_bombs_raise_a_read_error(tmp_path: Path, extension: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"bomb.{extension}"
    photograph(0, 0, 64, 48).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 48 // 2 - 1)
    with pytest.raises(READ_ERRORS, match="decompression bomb"):
        read_picture(path, 16, "crop")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 48)
    read_picture(path, 16, "crop")


@pytest.mark.parametrize("extension", ["jpg", "png", "webp", "gif", "tif", "bmp"])
def test_damaged_bytes_raise_nothing_but_read_errors(tmp_path: Path, extension: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    buffer = BytesIO()
    photograph(0, 0, 40, 30).save(buffer, extension.replace("jpg", "jpeg").replace("tif", "tiff"), **exif_of(extension))
    whole = buffer.getvalue()
    random = Random(0)
    read = 0
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(random.randint(1, 6)):
            # most of what can go wrong is in the first bytes
            damaged[random.randrange(min(len(damaged), random.choice((64, 400, 10**6))))] = random.randrange(256)
        (tmp_path / "picture").write_bytes(damaged)
        try:
            found, _ = read_picture(tmp_path / "picture", 16, "squash")
        except READ_ERRORS:
            continue
        read += 1
        assert found.shape == (16, 16, 3)
        assert found.dtype == np.uint8
    assert read < 150, "nothing was damaged"


def exif_of(extension: str) -> dict[str, Any]:
    exif = Image.Exif()
    exif[0x0112] = 6
    return {"exif": exif} if extension in ("jpg", "png", "webp") else {}


# --- resizing ---


def ramp(width: int, height: int) -> Image.Image:
    """Red is the column, green the row."""
    rows, columns = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack((columns, rows, np.zeros_like(rows)), axis=-1).astype(np.uint8))


def resized(tmp_path: Path, picture: Image.Image, size: int, resize: str = "crop") -> np.ndarray:
    picture.save(tmp_path / "resized.png")
    found, labels = read_picture(tmp_path / "resized.png", size, resize)
    assert labels is None
    assert found.dtype == np.uint8
    return found


def test_a_picture_of_the_right_size_stays_as_it_is(tmp_path: Path) -> None:
    for size, resize in ((64, "crop"), (64, "squash")):
        picture = ramp(96 if resize == "crop" else 64, 64)
        assert np.array_equal(resized(tmp_path, picture, size, resize), np.asarray(picture))


@pytest.mark.parametrize(("width", "height"), [(200, 100), (100, 200), (90, 120), (33, 17)])
def test_the_shorter_side_gets_the_size_and_nothing_is_cropped(tmp_path: Path, width: int, height: int) -> None:
    picture = photograph(0, 0, width, height)
    scale = 48 / min(width, height)
    expected = picture.resize((round(scale * width), round(scale * height)), Image.Resampling.BICUBIC)
    assert np.array_equal(resized(tmp_path, picture, 48), np.asarray(expected))


@pytest.mark.parametrize(("width", "height"), [(200, 100), (30, 70)])
def test_squashing_gives_both_sides_the_size(tmp_path: Path, width: int, height: int) -> None:
    picture = photograph(0, 0, width, height)
    assert np.array_equal(resized(tmp_path, picture, 48, "squash"), np.asarray(picture.resize((48, 48), Image.Resampling.BICUBIC)))


@pytest.mark.parametrize(("width", "height"), [(640, 32), (32, 640)])
def test_of_a_very_long_picture_the_middle_is_taken(tmp_path: Path, width: int, height: int) -> None:
    picture = photograph(0, 0, width, height)
    found = resized(tmp_path, picture, 16)
    assert max(found.shape) == MAX_ASPECT * 16
    assert min(found.shape[:2]) == 16
    left, top = max(0, (width - 128) // 2), max(0, (height - 128) // 2)
    middle = picture.crop((left, top, left + min(width, 128), top + min(height, 128)))
    expected = np.asarray(middle.resize(found.shape[1::-1], Image.Resampling.BICUBIC)).astype(float)
    # what lies beside the middle takes part in the pixels of its edge
    inner = (slice(2, -2), slice(None)) if height > width else (slice(None), slice(2, -2))
    assert np.abs(found[inner] - expected[inner]).max() <= 1


@pytest.mark.parametrize("name", ["picture.jpg", "picture.png"])
def test_a_line_of_pixels_is_a_picture(tmp_path: Path, name: str) -> None:
    for width, height in ((1, 300), (300, 1), (1, 1)):
        photograph(0, 0, max(width, 2), max(height, 2)).resize((width, height)).save(tmp_path / name)
        found, _ = read_picture(tmp_path / name, 16, "crop")
        assert min(found.shape[:2]) == 16
        assert max(found.shape[:2]) <= 16 * MAX_ASPECT


@pytest.mark.parametrize(("width", "height"), [(407, 301), (301, 407), (640, 480), (129, 131), (64, 96)])
@pytest.mark.parametrize("resize", ["crop", "squash"])
def test_jpegs_decoded_at_a_smaller_size_look_like_whole_ones(tmp_path: Path, width: int, height: int, resize: str) -> None:
    picture = photograph(3, 1, width, height)
    picture.save(tmp_path / "picture.jpg", quality=95)
    found, _ = read_picture(tmp_path / "picture.jpg", 32, resize)
    picture.save(tmp_path / "picture.png")
    expected, _ = read_picture(tmp_path / "picture.png", 32, resize)
    assert found.shape == expected.shape
    assert np.abs(found.astype(float) - expected).mean() < 1.5, "shifted: the decoder rounds the sides of what it makes up"


def test_small_pictures_are_enlarged(tmp_path: Path) -> None:
    assert resized(tmp_path, photograph(0, 0, 20, 12), 32).shape == (32, 53, 3)


def test_resizing_is_antialiased(tmp_path: Path) -> None:
    stripes = np.zeros((256, 256, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    small = resized(tmp_path, Image.fromarray(stripes), 32, "squash").astype(float)
    assert np.abs(small - 127.5).max() < 8


# --- label maps ---


@pytest.mark.parametrize("resize", ["crop", "squash"])
@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(("width", "height", "extension"), [(200, 150, "jpg"), (150, 200, "png"), (30, 24, "png"), (900, 45, "jpg")])
def test_label_maps_are_resized_with_their_pictures(
    tmp_path: Path, resize: str, orientation: int, width: int, height: int, extension: str
) -> None:
    labels = regions(1, width, height, range(6))
    path = tmp_path / f"picture.{extension}"
    save_turned(Image.fromarray(color_of(labels)), path, orientation, **({"quality": 98, "subsampling": 0} if extension == "jpg" else {}))
    found, found_labels = read_picture(path, 48, resize, labels)
    assert found_labels is not None
    assert found_labels.shape == found.shape[:2]
    assert set(np.unique(found_labels)) <= set(np.unique(labels)), "labels were mixed"
    off = np.abs(found.astype(int) - color_of(found_labels)).max(axis=-1) > 42
    assert off.mean() < 0.09
    # only at the edges of regions, less than a pixel wide
    assert not (off & ~near_edges(found_labels)).any()


def test_a_label_map_of_another_size_is_refused(tmp_path: Path) -> None:
    CocoPicture(photograph(0, 0, 40, 30), orientation=6).save(tmp_path / "picture.jpg")
    with pytest.raises(ValueError, match="label map is 30 x 40 px, the picture 40 x 30"):
        read_picture(tmp_path / "picture.jpg", 16, "crop", np.zeros((40, 30), dtype=np.uint8))
    read_picture(tmp_path / "picture.jpg", 16, "crop", np.zeros((30, 40), dtype=np.uint8))
