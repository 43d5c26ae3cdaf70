"""For each target its own reference: the picture of a folder whose content is the most similar."""

import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32
from torch import nn

from stylecolor.content_search import ContentIndex
from stylecolor.exemplar_colorizer import ExemplarColorizer
from stylecolor.pictures.files import Picture, read_picture
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
        read: reads its pictures. Those for which it raises ValueError or OSError are left out; what else it raises ends the search.
        option: of the command, that named the folder.

    Raises:
        ValueError: for a folder without pictures that can be read, and networks without a transfer sub-net.
    """

    def __init__(
        self, colorizer: ExemplarColorizer, folder: Path, read: Callable[[Path], Picture] = read_picture, option: str = "--match-from"
    ) -> None:
        self._colorizer = colorizer
        if colorizer.networks.transfer is None:
            raise ValueError(
                f"{option}: these weights hold no transfer sub-net, whose encoder compares pictures; take those of stage=joint"
            )
        identity = _identify(colorizer.networks.transfer.encoder, colorizer)
        self._index = ContentIndex.build(folder, lambda path: self._describe(read(path)), identity, option=option)
        self._encode = lru_cache(STYLES)(lambda path: colorizer.encode_reference(read(path)))

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

    def rank(self, picture: Picture, count: int, exclude: Path | None = None) -> list[tuple[Path, float]]:
        """The folder's pictures with the most similar content, the most similar first, and the cosine that `FoundReference` tells.

        There are fewer than `count` where the folder has no more.

        Args:
            picture: the target, which need not be in the folder.
            count: how many to find.
            exclude: a file that is not to be found: the target, where it is in the folder.

        Raises:
            ValueError: for a count below 1, and where the folder holds nothing but the excluded file.
        """
        return self._index.nearest(self._describe(picture), count, exclude)


def _identify(encoder: nn.Module, colorizer: ExemplarColorizer) -> str:
    """What features depend on besides the picture: the encoder's weights, the size and the precision."""
    digest = hashlib.sha256()
    for name, tensor in encoder.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.float().cpu().numpy().tobytes())
    return f"{digest.hexdigest()} {colorizer.size} {colorizer.precision}"
