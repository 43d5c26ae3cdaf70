"""Label maps from files: which region each pixel of a picture belongs to."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL.PngImagePlugin import PngImageFile

from stylecolor.pictures.decoded import UnusablePictureError, check_size
from stylecolor.pictures.decoding import PNG_HEAD
from stylecolor.pictures.files import MAX_PIXELS, explained


def read_label_map(path: Path, size: tuple[int, int], max_pixels: int = MAX_PIXELS) -> UInt8[np.ndarray, "height width"]:
    """Read the numbers of a PNG of 8 bits and one channel, or with a palette, whose colours are not looked at; 255 is void.

    Args:
        path: the file.
        size: height and width of the picture that it belongs to, upright.
        max_pixels: as of `read_picture`.

    Raises:
        ValueError: for a missing or damaged file, another kind of picture, another size, and more pixels than `max_pixels`.
        OSError: for a file that must not be read.
    """
    with explained(path, "label map"), path.open("rb") as file:
        if file.read(len(PNG_HEAD)) != PNG_HEAD:
            raise UnusablePictureError("is no PNG")
        file.seek(0)
        # Image.open has a limit of its own
        with PngImageFile(file) as image:
            if image.mode not in ("L", "P"):
                raise UnusablePictureError(f"has pixels of mode {image.mode}; a label map is a PNG of 8 bits and one channel")
            # before the pixels are decoded: the header may claim any number
            if (image.height, image.width) != size:
                raise UnusablePictureError(
                    f"has {image.width} x {image.height} px, its picture {size[1]} x {size[0]}; they have to be the same"
                )
            check_size(image.width, image.height, max_pixels)
            return np.array(image)
