"""Label maps from files: which region each pixel of a picture belongs to."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError


def read_label_map(path: Path, size: tuple[int, int]) -> UInt8[np.ndarray, "height width"]:
    """Read the numbers of a PNG of 8 bits and one channel, or with a palette, whose colours are not looked at; 255 is void.

    Args:
        path: the file.
        size: height and width of the picture that it belongs to, upright.

    Raises:
        ValueError: for a missing or damaged file, another kind of picture, and another size.
    """
    try:
        with Image.open(path, formats=("PNG",)) as image:
            if image.mode not in ("L", "P"):
                raise ValueError(f"label map {path}: has pixels of mode {image.mode}; a label map is a PNG of 8 bits and one channel")
            # before the pixels are decoded: the header may claim any number
            if (image.height, image.width) != size:
                raise ValueError(
                    f"label map {path}: has {image.width} x {image.height} px, its picture {size[1]} x {size[0]}; they have to be the same"
                )
            return np.array(image)
    except FileNotFoundError as error:
        raise ValueError(f"label map {path}: no such file") from error
    except UnidentifiedImageError as error:
        raise ValueError(f"label map {path}: is no PNG") from error
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"label map {path}: cannot be read ({error})") from error
