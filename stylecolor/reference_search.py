"""For each target its own reference: the picture of a folder whose content is the most similar."""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32
from torch import nn

from stylecolor.content_search import ContentIndex
from stylecolor.exemplar_colorizer import ExemplarColorizer
from stylecolor.pictures.files import MAX_PIXELS, Picture, read_picture
from stylecolor.reference_style import ReferenceStyle

STYLES = 32
"""So many references' statistics are kept: targets of a folder often have the same ones."""


class FoundReference(NamedTuple):
    """A reference that was searched for."""

    path: Path
    similarity: float
    """Cosine of the angle between its features and the target's."""
    style: ReferenceStyle


class ReferenceSearch:
    """Finds references by the features of the colorizer's encoder. Thread-safe once it is made.

    Args:
        colorizer: has a transfer sub-net.
        folder: of colour pictures; what is found out about them is kept in the cache.
        max_pixels: larger pictures are left out.

    Raises:
        ValueError: for a folder without pictures that can be read, and networks without a transfer sub-net.
    """

    def __init__(self, colorizer: ExemplarColorizer, folder: Path, max_pixels: int = MAX_PIXELS) -> None:
        self._colorizer = colorizer
        if colorizer.networks.transfer is None:
            raise ValueError(
                "--match-from: these weights hold no transfer sub-net, whose encoder compares pictures; take those of stage=joint"
            )
        identity = _identify(colorizer.networks.transfer.encoder, colorizer)
        self._index = ContentIndex.build(folder, lambda path: self._describe(read_picture(path, max_pixels)), identity)
        self._encode = lru_cache(STYLES)(lambda path: colorizer.encode_reference(read_picture(path, max_pixels)))

    def _describe(self, picture: Picture) -> Float32[np.ndarray, " features"]:
        return self._colorizer.content_features(self._colorizer.working_l(picture))[0].numpy()

    def find(self, picture: Picture, path: Path) -> FoundReference:
        """The reference for a target, which is not the target itself.

        Args:
            picture: the target.
            path: its file.

        Raises:
            ValueError: where the folder holds nothing else.
        """
        reference, similarity = self._index.nearest(self._describe(picture), exclude=path)[0]
        return FoundReference(reference, similarity, self._encode(reference))


def _identify(encoder: nn.Module, colorizer: ExemplarColorizer) -> str:
    """What features depend on besides the picture: the encoder's weights, the size and the precision."""
    digest = hashlib.sha256()
    for name, tensor in encoder.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.float().cpu().numpy().tobytes())
    return f"{digest.hexdigest()} {colorizer.size} {colorizer.precision}"
