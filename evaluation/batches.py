"""Which pairs are colorized together: always the same ones, whatever the number of processes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.utils.data import Dataset

from datamodules.batch import Batch, PictureBatch, Sample, collate
from evaluation.methods import Pictures, round_to_8_bits
from evaluation.pairs import Pair, PictureTable, own_reference
from stylecolor.randomness import make_key


@dataclass(frozen=True)
class PairBatch:
    """The pairs of a few targets, by protocol; `first` is the place of each protocol's first one in the pair list."""

    number: int
    pairs: dict[str, list[tuple[int, Pair]]]
    """(place in the pair list, pair)."""

    @property
    def targets(self) -> list[str]:
        """Their ids, each once."""
        return list(dict.fromkeys(pair.target for pairs in self.pairs.values() for _, pair in pairs))


def make_batches(pairs: Sequence[Pair], batch_size: int) -> list[PairBatch]:
    """Batches of so many targets, in the order in which they first appear."""
    targets = list(dict.fromkeys(pair.target for pair in pairs))
    numbers = {target: index // batch_size for index, target in enumerate(targets)}
    batches = [PairBatch(number, {}) for number in range(-(-len(targets) // batch_size))]
    for place, pair in enumerate(pairs):
        batches[numbers[pair.target]].pairs.setdefault(pair.protocol, []).append((place, pair))
    return batches


class PairBatches(Dataset[dict[str, PictureBatch]]):
    """The pictures of batches, by protocol."""

    def __init__(self, batches: Sequence[PairBatch], table: PictureTable, seed: int) -> None:
        self.batches = batches
        self.table = table
        self.seed = seed

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> dict[str, PictureBatch]:
        return {
            protocol: self.collate([pair for _, pair in pairs])
            for protocol, pairs in self.batches[index].pairs.items()
        }  # fmt: skip

    def collate(self, pairs: Sequence[Pair]) -> PictureBatch:
        """The pictures of some pairs; a target stands in for a reference that is not there."""
        return collate([self._sample(pair) for pair in pairs], random_crops=False)

    def _sample(self, pair: Pair) -> Sample:
        lender = pair.target if pair.reference is None else pair.reference
        target, reference = (self.table.read_with_labels(id) for id in (pair.target, lender))
        return Sample(*target, *reference, pair.protocol == "self", make_key(self.seed, 0, pair.target), pair.target)


def to_pictures(packed: PictureBatch, protocol: str, size: int, device: torch.device) -> tuple[Batch, Pictures]:
    """Cut squares out of the middle, on the device, and make the references of the protocol."""
    batch = Batch.from_pictures(packed.to(device), size)
    reference = {"self": lambda: round_to_8_bits(own_reference(batch.target_rgb)), "auto": lambda: None}.get(
        protocol, lambda: batch.reference_rgb
    )()
    return batch, Pictures(batch.target_rgb, batch.target_l, reference)
