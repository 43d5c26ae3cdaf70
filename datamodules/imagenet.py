"""ImageNet, or any tree in its layout."""

import numpy as np

from datamodules.folder import FolderDataModule
from datamodules.pictures import Pictures


class ImageNetDataModule(FolderDataModule):
    """`{train,val,test}/<class>/*.jpg`, or `<class>/*.jpg` alone."""

    def list_pictures(self, split: str) -> Pictures:
        """See `PictureDataModule`.

        Raises:
            ValueError: when pictures lie outside the class directories.
        """
        pictures = super().list_pictures(split)
        if "." in pictures.category_names:
            loose = np.flatnonzero(pictures.categories.indices == pictures.category_names.index("."))
            raise ValueError(
                f"data.root={self.config.root}: {len(loose)} pictures, such as {pictures.paths[loose[0]]}, lie in no class directory; "
                "use data=folder"
            )
        return pictures
