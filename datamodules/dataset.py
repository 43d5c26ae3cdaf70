"""Targets with their references: a pure function of seed, epoch and picture."""

from collections.abc import Sequence

import numpy as np
from torch.utils.data import Dataset

from datamodules.batch import Sample
from datamodules.cache import Prepared
from datamodules.references import References
from datamodules.sampler import Draw
from stylecolor.randomness import make_key


class PictureDataset(Dataset[Sample]):
    """A `Sample` for a draw.

    Args:
        prepared: the pictures of a split that are used.
        references: of the same pictures.
        seed: of every random draw.
        prefix: put before the pictures' names, to tell the data sets of a mix apart.
    """

    def __init__(self, prepared: Prepared, references: References, seed: int, prefix: str = "") -> None:
        self.prepared = prepared
        self.references = references
        self.seed = seed
        self.prefix = prefix
        self.targets = np.flatnonzero(references.has_reference())

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, draw: Draw) -> Sample:
        epoch, position = draw
        index = int(self.targets[position])
        name = self.prefix + str(self.prepared.pictures.paths[index])
        reference, kind = self.references.draw(epoch, index)
        target = self.prepared.read(index)
        lent = target if reference == index else self.prepared.read(reference)
        return Sample(*target, *lent, kind == "self", make_key(self.seed, epoch, name), name)


class ConcatenatedDataset(Dataset[Sample]):
    """Several data sets, one after the other."""

    def __init__(self, parts: Sequence[PictureDataset]) -> None:
        self.parts = parts
        self.ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, draw: Draw) -> Sample:
        epoch, position = draw
        number = int(np.searchsorted(self.ends, position, side="right"))
        return self.parts[number][epoch, position - int(self.ends[number - 1] if number else 0)]
