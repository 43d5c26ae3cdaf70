import numpy as np
import pytest
from skimage import data

from stylecolor.working_size import resize_labels, resize_pixels, working_size


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        ((256, 256), (256, 256)),
        ((480, 640), (256, 344)),
        ((3000, 4000), (256, 344)),
        ((50, 70), (256, 360)),
        ((1, 1), (256, 256)),
        ((1, 5000), (16, 1024)),
        ((5000, 1), (1024, 16)),
        ((100, 1000), (104, 1024)),
    ],
)
def test_the_shorter_side_has_the_size_and_the_longer_follows(picture: tuple[int, int], expected: tuple[int, int]) -> None:
    assert working_size(*picture, 256) == expected


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_shrunk_picture_is_the_mean_of_its_areas(dtype: type, channels: int) -> None:
    pixels = (data.astronaut()[:, :, :channels] * (1.0 if dtype != np.float32 else 1 / 255)).astype(dtype)
    found = resize_pixels(pixels, (128, 64))
    expected = pixels.astype(np.float64).reshape(128, 4, 64, 8, channels).mean(axis=(1, 3))
    assert found.dtype == dtype
    assert np.abs(found - expected).max() <= (0.51 if dtype != np.float32 else 1e-5)


def test_each_axis_shrinks_or_grows_on_its_own() -> None:
    columns = np.arange(0, 200, 2, dtype=np.uint8)[None, :, None]
    assert resize_pixels(columns, (16, 50)).shape == (16, 50, 1)
    assert (resize_pixels(columns, (16, 50))[:, :, 0] == np.arange(1, 200, 4)).all()
    grown = resize_pixels(np.array([[0, 100]], np.uint8)[:, :, None], (1, 8))[0, :, 0]
    assert (np.diff(grown.astype(int)) >= 0).all()
    assert len(np.unique(grown)) > 2


def test_a_picture_of_that_size_is_left_alone() -> None:
    pixels = data.astronaut()
    assert resize_pixels(pixels, (512, 512)) is pixels


def test_labels_are_never_mixed() -> None:
    labels = np.array([[3, 250], [7, 255]], np.uint8)
    found = resize_labels(labels, (16, 24))
    assert (found == labels.repeat(8, axis=0).repeat(12, axis=1)).all()
