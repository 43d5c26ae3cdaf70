"""CamVid: frames of driving videos with label maps."""

import numpy as np
from scipy.sparse import csr_array

from datamodules.base import PictureDataModule
from datamodules.labels import LabelFiles
from datamodules.pictures import Pictures
from datamodules.trees import directories_of, find_pictures

CLASSES = ("sky", "building", "pole", "road", "pavement", "tree", "sign symbol", "fence", "car", "pedestrian", "bicyclist")
VOID_CLASS = 11


class CamvidDataModule(PictureDataModule):
    """`{train,val,test}/*.png`, with label maps in `{train,val,test}annot/*.png` under the same names."""

    def official_splits(self) -> tuple[str, ...]:
        """See `PictureDataModule`.

        Raises:
            ValueError: when the directory holds no CamVid.
        """
        found = directories_of(self.root, ("train", "val", "test"))
        if not found:
            raise ValueError(f"data.root={self.config.root}: there are no train and val directories; data=camvid needs both")
        return found

    def label_names(self) -> dict[int, str]:
        """See `PictureDataModule`."""
        return dict(enumerate(CLASSES)) if self.config.label_maps == "classes" else {}

    def list_pictures(self, split: str) -> Pictures:
        """See `PictureDataModule`.

        Raises:
            ValueError: when there is no picture, or no directory of label maps although they are asked for.
        """
        paths = np.array([f"{split}/{path}" for path in find_pictures(self.root / split)], dtype=str)
        if not len(paths):
            raise ValueError(f"data.root={self.config.root}: there is no picture in {self.root / split}")
        labels = None
        if self.config.label_maps == "classes":
            if not (self.root / f"{split}annot").is_dir():
                raise ValueError(f"data.label_maps=classes: {self.root / f'{split}annot'} is missing")
            labels = LabelFiles(self.root, np.array([path.replace(split, f"{split}annot", 1) for path in paths]), void=(VOID_CLASS,))
        everything = csr_array(np.ones((len(paths), 1), dtype=np.int32))
        return Pictures(self.root, paths, groups=paths, categories=everything, category_names=("street",), labels=labels)
