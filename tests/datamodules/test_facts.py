from io import BytesIO

import numpy as np
import pytest
import skimage.color
import torch
from PIL import Image

from datamodules.facts import NEAR_DUPLICATE_DISTANCE, measure, near_duplicates
from stylecolor.palette import palette_descriptor
from tests.data import photograph


def again(picture: Image.Image, scale: float = 1, **options: int) -> Image.Image:
    """Saved as a JPEG and read."""
    buffer = BytesIO()
    picture.resize((int(scale * picture.width), int(scale * picture.height)), Image.Resampling.LANCZOS).save(buffer, "jpeg", **options)
    return Image.open(buffer).convert("RGB")


def thumbnail(picture: Image.Image) -> np.ndarray:
    return measure(np.array(picture.resize((64, 64), Image.Resampling.BICUBIC))).thumbnail


def test_facts_equal_scikit_images() -> None:
    pixels = np.array(photograph(3, 1, 64, 48))
    facts = measure(pixels)
    ab = skimage.color.rgb2lab(pixels)[..., 1:]
    assert facts.color_range == pytest.approx(np.ptp(ab.reshape(-1, 2), axis=0).sum(), abs=1e-2)
    expected = palette_descriptor(torch.from_numpy(ab).float().permute(2, 0, 1)[None])[0].numpy()
    assert facts.descriptor.dtype == np.float16
    assert np.linalg.norm(facts.descriptor.astype(float) - expected) < 1e-2
    small = pixels.reshape(8, 6, 8, 8, 3).mean(axis=(1, 3))
    assert facts.thumbnail.shape == (192,)
    assert np.abs(facts.thumbnail.reshape(3, 8, 8).transpose(1, 2, 0) - small).max() <= 0.51


@pytest.mark.parametrize("shape", [(32, 32), (16, 61), (9, 8)])
def test_every_shape_has_facts_of_one_size(shape: tuple[int, int]) -> None:
    facts = measure(np.array(photograph(1, 1, shape[1], shape[0])))
    assert facts.thumbnail.shape == (192,)
    assert np.linalg.norm(facts.descriptor.astype(float)) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("value", [0, 77, 255])
def test_a_grey_picture_has_no_colour_range(value: int) -> None:
    assert measure(np.full((16, 16, 3), value, dtype=np.uint8)).color_range < 0.01


@pytest.mark.parametrize(("scale", "quality"), [(1, 50), (0.5, 95), (0.5, 50), (2, 75)])
def test_the_same_photograph_in_another_file_is_a_near_duplicate(scale: float, quality: int) -> None:
    for seed in range(6):
        picture = photograph(seed, seed, 128, 96)
        assert near_duplicates(thumbnail(picture), thumbnail(again(picture, scale, quality=quality)))


def test_different_photographs_are_no_near_duplicates() -> None:
    thumbnails = np.stack([thumbnail(photograph(seed, palette)) for seed in range(12) for palette in range(4)])
    found = near_duplicates(thumbnails[:, None], thumbnails[None])
    assert found.shape == (48, 48)
    assert np.array_equal(found, np.eye(48, dtype=bool))


def test_near_duplicates_are_decided_by_the_mean_difference_without_wrapping_around() -> None:
    first = np.zeros(192, dtype=np.uint8)
    second = np.full(192, 255, dtype=np.uint8)
    assert not near_duplicates(first, second)
    assert not near_duplicates(second, first)
    step = int(NEAR_DUPLICATE_DISTANCE)
    assert near_duplicates(first, first + np.uint8(step))
    assert near_duplicates(first + np.uint8(step), first)
    assert not near_duplicates(first, first + np.uint8(step + 1))
