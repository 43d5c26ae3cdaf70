"""Any directory of pictures."""

import numpy as np
from scipy.sparse import csr_array

from datamodules.base import PictureDataModule
from datamodules.pictures import Pictures
from datamodules.trees import directories_of, find_pictures


class FolderDataModule(PictureDataModule):
    """All pictures below `data.root`; its `train`, `val` and `test` are the splits, if there are the first two."""

    def official_splits(self) -> tuple[str, ...]:
        """See `PictureDataModule`."""
        return directories_of(self.root, ("train", "val", "test"))

    def list_pictures(self, split: str) -> Pictures:
        """See `PictureDataModule`.

        Raises:
            ValueError: when there are none.
        """
        official = self.official_splits()
        directory = self.root / split if official else self.root
        prefix = f"{split}/" if official else ""
        paths = np.array([prefix + path for path in find_pictures(directory)], dtype=str)
        if not len(paths):
            raise ValueError(f"data.root={self.config.root}: there is no picture in {directory}")
        classes, categories = self._classes(paths, prefix)
        return Pictures(root=self.root, paths=paths, groups=paths, categories=categories, category_names=classes)

    def _classes(self, paths: np.ndarray, prefix: str) -> tuple[tuple[str, ...], csr_array]:
        """The class of a picture is the directory it lies in, counted from the split's."""
        names, columns = np.unique([path.removeprefix(prefix).rpartition("/")[0] or "." for path in paths], return_inverse=True)
        ones = np.ones(len(paths), dtype=np.int32)
        return tuple(map(str, names)), csr_array((ones, columns, np.arange(len(paths) + 1)), shape=(len(paths), len(names)))
