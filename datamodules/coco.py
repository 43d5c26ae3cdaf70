"""COCO 2017: pictures chosen by category, through pycocotools."""

import json
from pathlib import Path

import numpy as np

from datamodules.annotations import Annotations, read_annotations, read_instance_maps
from datamodules.base import PictureDataModule
from datamodules.config import CocoConfig
from datamodules.labels import LabelFiles, LabelMaps
from datamodules.panoptic import read_panoptic_maps
from datamodules.pictures import Pictures
from stylecolor.cache_directory import cache_directory
from stylecolor.errors import did_you_mean


class CocoDataModule(PictureDataModule):
    """The pictures of `{split}2017/` that show one of the categories of `annotations/instances_{split}2017.json`.

    A picture's entry in the annotation file may name its `scene`; pictures of one scene never lend each other their colours.
    """

    config: CocoConfig

    def _annotation_file(self, split: str) -> Path:
        return self.root / "annotations" / f"instances_{split}2017.json"

    def official_splits(self) -> tuple[str, ...]:
        """Train and val are always expected; COCO's own test split has no public annotations."""
        return ("train", "val", "test") if self._annotation_file("test").is_file() else ("train", "val")

    def label_names(self) -> dict[int, str]:
        """See `PictureDataModule`; those of stuff and panoptic maps are in annotation files of their own, which need not be there."""
        kind = self.config.label_maps
        if kind == "instances":
            annotations = read_annotations(self._annotation_file("train"), cache_directory(self.config.cache_dir))
            return dict(zip(annotations.category_ids, annotations.category_names, strict=True))
        path = self.root / "annotations" / f"{kind}_val2017.json"
        if kind == "none" or not path.is_file():
            return {}
        return {category["id"]: category["name"] for category in json.loads(path.read_bytes())["categories"]}

    def list_pictures(self, split: str) -> Pictures:
        """Read the annotation file and choose by category.

        Raises:
            ValueError: for a missing or damaged annotation file, an unknown category, and a category without any picture.
        """
        path = self._annotation_file(split)
        if not path.is_file():
            raise ValueError(f"data.root={self.root}: {path} is missing; data={self.config.name} needs COCO 2017's layout")
        cache = cache_directory(self.config.cache_dir)
        try:
            annotations = read_annotations(path, cache)
            labels, skipped = self._label_maps(split, annotations, cache)
        except ValueError as error:
            raise ValueError(f"data.root={self.root}: {error}") from error
        if not len(annotations.file_names):
            raise ValueError(f"data.root={self.root}: {path} lists no pictures")
        self.skip(split, annotations.skipped + skipped)
        pictures = Pictures(
            root=self.root,
            paths=np.array([f"{split}2017/{name}" for name in annotations.file_names]),
            groups=annotations.scenes,
            categories=annotations.counts,
            category_names=annotations.category_names,
            labels=labels,
        )
        return pictures[self._choose(split, annotations)]

    def _choose(self, split: str, annotations: Annotations) -> np.ndarray:
        if self.config.categories == "all":
            return np.arange(len(annotations.file_names))
        names = list(annotations.category_names)
        wanted = np.zeros(len(annotations.file_names), dtype=bool)
        for name in self.config.categories:
            if name not in names:
                raise ValueError(f"data.categories: the annotations of {split} know no category {name!r}{did_you_mean(name, names)}")
            shows = annotations.counts[:, [names.index(name)]].toarray()[:, 0] > 0
            if split == "train" and not shows.any():
                raise ValueError(f"data.categories: no picture of the train split shows a {name!r}; leave it out")
            wanted |= shows
        if not wanted.any():
            raise ValueError(f"data.categories={self.config.categories}: no picture of the {split} split shows any of these")
        return np.flatnonzero(wanted)

    def _label_maps(self, split: str, annotations: Annotations, cache: Path) -> tuple[LabelMaps | None, list[tuple[str, str]]]:
        kind = self.config.label_maps
        if kind == "none":
            return None, []
        if kind == "instances":
            return read_instance_maps(self._annotation_file(split), cache)
        directory = self.root / "annotations" / (f"stuff_{split}2017_pixelmaps" if kind == "stuff" else f"panoptic_{split}2017")
        if not directory.is_dir():
            raise ValueError(f"{directory} is missing, which data.label_maps={kind} needs")
        paths = np.array([str(directory.relative_to(self.root) / Path(name).with_suffix(".png")) for name in annotations.file_names])
        if kind == "stuff":
            return LabelFiles(self.root, paths, void=(0,)), []
        return read_panoptic_maps(directory.with_suffix(".json"), self.root, paths, cache), []
