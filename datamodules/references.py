"""Which picture lends its colours to which target: never the target itself, never another picture of its group."""

from random import Random

import numpy as np
import torch
from torch import Tensor

from datamodules.pictures import Pictures
from stylecolor.palette import nearest
from stylecolor.randomness import make_key

_CHUNK = 1024


def palette_references(pictures: Pictures, descriptors: Tensor) -> np.ndarray:
    """For each picture, the index of the one with the nearest palette, or -1 where its group is the whole split."""
    _, groups = np.unique(pictures.groups, return_inverse=True)
    groups = torch.from_numpy(groups)
    chosen = np.empty(len(pictures), dtype=np.int64)
    for start in range(0, len(pictures), _CHUNK):
        allowed = groups[start : start + _CHUNK, None] != groups[None]
        found = nearest(descriptors[start : start + _CHUNK], descriptors, allowed)
        chosen[start : start + _CHUNK] = torch.where(allowed.any(dim=1), found, -1)
    return chosen


class RandomReferences:
    """Draws a reference for each (epoch, target), among all pictures or among those that share a category; keyed by the seed."""

    def __init__(self, pictures: Pictures, seed: int, same_category: bool) -> None:
        self.seed = seed
        self.paths = pictures.paths
        _, self.groups = np.unique(pictures.groups, return_inverse=True)
        # one column that holds everybody stands for "any picture"
        self.member = pictures.categories if same_category else np.ones((len(pictures), 1), dtype=bool)
        self.members = [np.flatnonzero(column) for column in self.member.T]

    def has_reference(self) -> np.ndarray:
        """Bool (pictures,): is there any picture of another group in one of the picture's categories?"""
        mixed = np.array([len(np.unique(self.groups[members])) > 1 for members in self.members], dtype=bool)
        return np.any(self.member & mixed, axis=1, keepdims=False)

    def draw(self, epoch: int, index: int) -> int:
        """The reference of this target in this epoch; the target must have one."""
        random = Random(make_key(self.seed, epoch, self.paths[index], "reference"))
        categories = np.flatnonzero(self.member[index])
        # picking and refusing is exact and, for groups far smaller than a category, takes one or two turns
        while True:
            chosen = int(random.choice(self.members[random.choice(categories)]))
            if self.groups[chosen] != self.groups[index]:
                return chosen
