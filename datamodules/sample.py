"""The sample data set: crops of the photographs that scikit-image and scikit-learn carry in their packages, in COCO's layout.

No download is needed. There are only seven such colour photographs, so the data shows that the machinery works, and nothing of its quality.
"""

import json
import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from datamodules.cache_directory import explain_cache_errors
from datamodules.coco import CocoDataModule
from stylecolor.cache_directory import cache_directory
from stylecolor.randomness import make_key

VERSION = 1
CROP_SIZE = 192
"""Side of the saved crops, px."""

# scene: (subject, setting); validation scenes are never seen in training
SCENES: dict[str, dict[str, tuple[str, str]]] = {
    "train": {
        "astronaut": ("person", "indoor"),
        "coffee": ("cup", "indoor"),
        "motorcycle": ("motorcycle", "indoor"),
        "china": ("building", "outdoor"),
        "rocket": ("rocket", "outdoor"),
    },
    "val": {"chelsea": ("cat", "nature"), "flower": ("flower", "nature")},
}
CROPS = {"train": 16, "val": 8}
"""Crops of each scene."""

log = logging.getLogger(__name__)


class SampleDataModule(CocoDataModule):
    """COCO's layout, made on first use in `data.root` or in the cache directory."""

    @property
    def root(self) -> Path:
        """Where the crops are."""
        return Path(self.config.root) if self.config.root else cache_directory(self.config.cache_dir) / f"sample-{VERSION}"

    def prepare_splits(self, splits: Sequence[str]) -> None:
        """Make the data set if it is not there, then index it."""
        with explain_cache_errors(cache_directory(self.config.cache_dir)):
            make_sample(self.root)
        super().prepare_splits(splits)


def make_sample(root: Path) -> None:
    """Write the data set; the same pictures every time, whole or not at all.

    Raises:
        ValueError: when something else is at `root`.
    """
    if (root / "annotations").is_dir():
        return
    if root.exists() and any(root.iterdir()):
        raise ValueError(f"data.root={root}: holds something else than the sample data set; name an empty or a new directory")
    log.info("making the sample data set in %s", root)
    aside = root.with_name(f"{root.name}.{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    for split, scenes in SCENES.items():
        _write_split(aside, split, scenes)
    try:
        if root.exists():
            root.rmdir()
        aside.replace(root)
    except OSError:
        # another run was faster: its pictures are the same
        shutil.rmtree(aside)
        if not (root / "annotations").is_dir():
            raise


def load_scene(scene: str) -> Image.Image:
    """The whole photograph of one of `SCENES`."""
    import skimage.data
    from sklearn.datasets import load_sample_image

    if scene in ("china", "flower"):
        pixels = load_sample_image(f"{scene}.jpg")
    elif scene == "motorcycle":
        pixels = skimage.data.stereo_motorcycle()[0]
    else:
        pixels = getattr(skimage.data, scene)()
    return Image.fromarray(np.ascontiguousarray(pixels))


def _write_split(root: Path, split: str, scenes: dict[str, tuple[str, str]]) -> None:
    pictures = root / f"{split}2017"
    pictures.mkdir(parents=True)
    (root / "annotations").mkdir(exist_ok=True)
    names = sorted({name for subjects in SCENES.values() for pair in subjects.values() for name in pair})
    category_ids = {name: number for number, name in enumerate(names, start=1)}
    images, annotations = [], []
    for scene, categories in scenes.items():
        picture = load_scene(scene)
        random = Random(make_key("sample", VERSION, scene))
        for _ in range(CROPS[split]):
            number = len(images) + 1
            _random_crop(picture, random).save(pictures / f"{number:012d}.jpg", quality=95)
            images.append({"id": number, "file_name": f"{number:012d}.jpg", "width": CROP_SIZE, "height": CROP_SIZE, "scene": scene})
            for name in categories:
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": number,
                        "category_id": category_ids[name],
                        "bbox": [0, 0, CROP_SIZE, CROP_SIZE],
                        "area": CROP_SIZE**2,
                        "segmentation": [[0, 0, CROP_SIZE, 0, CROP_SIZE, CROP_SIZE, 0, CROP_SIZE]],
                        "iscrowd": 0,
                    }
                )
    contents = {"images": images, "annotations": annotations, "categories": [{"id": i, "name": name} for name, i in category_ids.items()]}
    (root / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(contents))


def _random_crop(picture: Image.Image, random: Random) -> Image.Image:
    side = round(min(picture.size) * random.uniform(0.45, 0.9))
    left, top = random.randint(0, picture.width - side), random.randint(0, picture.height - side)
    return picture.resize((CROP_SIZE, CROP_SIZE), Image.Resampling.LANCZOS, box=(left, top, left + side, top + side))
