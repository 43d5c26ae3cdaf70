"""COCO 2017: pictures chosen by category, through pycocotools."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO

from datamodules.base import PictureDataModule
from datamodules.config import CocoConfig
from datamodules.pictures import Pictures
from stylecolor.errors import did_you_mean


class CocoDataModule(PictureDataModule):
    """The pictures of `{split}2017/` that show one of the categories of `annotations/instances_{split}2017.json`.

    A picture's entry in the annotation file may name its `scene`; pictures of one scene never lend each other their colours.
    """

    config: CocoConfig

    def _annotation_file(self, split: str) -> Path:
        return self.root / "annotations" / f"instances_{split}2017.json"

    def has_split(self, split: str) -> bool:
        """Train and val are always expected; COCO's own test split has no public annotations."""
        return split != "test" or self._annotation_file(split).is_file()

    def list_pictures(self, split: str) -> Pictures:
        """Read the annotation file and choose by category.

        Raises:
            ValueError: for a missing or damaged annotation file, an unknown category, and a category without any picture.
        """
        path = self._annotation_file(split)
        if not path.is_file():
            raise ValueError(f"data.root={self.root}: {path} is missing; data={self.config.name} needs COCO 2017's layout")
        try:
            # pycocotools prints its progress
            with contextlib.redirect_stdout(io.StringIO()):
                coco = COCO(str(path))
            images = sorted(coco.loadImgs(coco.getImgIds()), key=lambda image: image["file_name"])
            names = {category["id"]: category["name"] for category in coco.loadCats(coco.getCatIds())}
            columns = {category: column for column, category in enumerate(names)}
            rows = {image["id"]: row for row, image in enumerate(images)}
            categories = np.zeros((len(images), len(names)), dtype=bool)
            for annotation in coco.anns.values():
                categories[rows[annotation["image_id"]], columns[annotation["category_id"]]] = True
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AssertionError) as error:
            raise ValueError(f"data.root={self.root}: {path} is no COCO annotation file or is damaged ({error!r})") from error
        if not images:
            raise ValueError(f"data.root={self.root}: {path} lists no pictures")
        chosen = self._choose(split, categories, list(names.values()))
        split_directory = f"{split}2017"
        return Pictures(
            root=self.root,
            # only the name itself, so that no entry of the file can lead out of the split's directory
            paths=np.array([f"{split_directory}/{Path(image['file_name']).name}" for image in images])[chosen],
            groups=np.array([str(image.get("scene", image["id"])) for image in images])[chosen],
            categories=categories[chosen],
        )

    def _choose(self, split: str, categories: np.ndarray, names: list[str]) -> np.ndarray:
        if self.config.categories == "all":
            return np.arange(len(categories))
        wanted = np.zeros(len(categories), dtype=bool)
        for name in self.config.categories:
            if name not in names:
                raise ValueError(f"data.categories: the annotations of {split} know no category {name!r}{did_you_mean(name, names)}")
            shows = categories[:, names.index(name)]
            if split == "train" and not shows.any():
                raise ValueError(f"data.categories: no picture of the train split shows a {name!r}; leave it out")
            wanted |= shows
        if not wanted.any():
            raise ValueError(f"data.categories={self.config.categories}: no picture of the {split} split shows any of these")
        return np.flatnonzero(wanted)
