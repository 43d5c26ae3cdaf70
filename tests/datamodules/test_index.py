from pathlib import Path

import numpy as np
import pytest
import skimage.color
import torch

from datamodules import index
from datamodules.index import picture_index
from datamodules.pictures import Pictures, read_rgb, to_square
from stylecolor.palette import palette_descriptor
from tests.data import coco_pictures


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    for number, picture in enumerate(coco_pictures("train", 6)):
        picture.save(tmp_path / f"{number}.jpg")
    (tmp_path / "4.jpg").write_bytes(b"no picture")
    (tmp_path / "5.jpg").unlink()
    names = np.array([f"{number}.jpg" for number in range(6)])
    return Pictures(tmp_path, names, names, np.ones((6, 1), dtype=bool))


def test_says_what_can_be_read_and_what_palette_it_has(pictures: Pictures) -> None:
    readable, descriptors = picture_index(pictures, "train")
    assert readable.tolist() == [True, True, True, True, False, False]
    for number in range(4):
        rgb = to_square(read_rgb(pictures.path(number)), 64, "squash").numpy()
        ab = torch.from_numpy(skimage.color.rgb2lab(rgb, channel_axis=0)[1:]).float().unsqueeze(0)
        torch.testing.assert_close(descriptors[number], palette_descriptor(ab)[0], atol=1e-3, rtol=0)


def test_pictures_are_read_once(pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    first = picture_index(pictures, "train")
    monkeypatch.setattr(index, "read_rgb", None)
    second = picture_index(pictures, "train")
    assert np.array_equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_a_picture_that_changed_is_read_again(pictures: Pictures) -> None:
    assert not picture_index(pictures, "train")[0][5]
    coco_pictures("train", 6)[5].save(pictures.path(5))
    assert picture_index(pictures, "train")[0][5]
    pictures.path(0).write_bytes(pictures.path(0).read_bytes()[:200])
    assert not picture_index(pictures, "train")[0][0]


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STYLECOLOR_CACHE", str(tmp_path / "here"))
    assert index.cache_directory() == tmp_path / "here"
    monkeypatch.delenv("STYLECOLOR_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert index.cache_directory().name == "stylecolor"
