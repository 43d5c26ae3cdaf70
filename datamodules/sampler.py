"""Which pictures stand in which batch: a pure function of seed, epoch and step, whatever the number of processes or interruptions."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from torch.utils.data import Sampler

from stylecolor.randomness import make_key

Draw = tuple[int, int]
"""(epoch, index of the picture)."""


@dataclass
class EpochOrder:
    """The shuffled pictures of each epoch, of one or of several data sets one after the other.

    Args:
        sizes: number of pictures of each data set.
        weights: their shares in an epoch, which is as long as the scarcest of them allows and takes other pictures of the others each
            time; None takes all pictures.
        seed: of the order.
    """

    sizes: Sequence[int]
    weights: Sequence[float] | None
    seed: int

    def __post_init__(self) -> None:
        if self.weights is not None and not all(self._taken()):
            raise ValueError(
                f"data.weights={self.weights}: of {list(self.sizes)} pictures, an epoch would take {self._taken()}; use others"
            )

    def _taken(self) -> list[int]:
        if self.weights is None:
            return list(self.sizes)
        epoch = min(size / weight for size, weight in zip(self.sizes, self.weights, strict=True))
        return [int(epoch * weight + 1e-9) for weight in self.weights]

    def __len__(self) -> int:
        return sum(self._taken())

    def of(self, epoch: int) -> np.ndarray:
        """The indices of an epoch's pictures, none twice."""
        random = np.random.default_rng(make_key(self.seed, epoch, "order"))
        if self.weights is None:
            return random.permutation(sum(self.sizes))
        starts = np.cumsum([0, *self.sizes[:-1]])
        parts = [start + random.permutation(size)[:taken] for start, size, taken in zip(starts, self.sizes, self._taken(), strict=True)]
        return random.permutation(np.concatenate(parts))


class TrainBatches(Sampler[list[Draw]]):
    """Shuffled batches that continue where training stands.

    The order of an epoch covers all processes; each takes its slice of every global batch, so that N processes with batch B train on what
    one with batch N*B would. A last, smaller batch is left out.

    Args:
        order: of the pictures.
        batch_size: pictures in a step of one process.
        rank: of this process.
        processes: how many there are.
        steps_done: called at the start of each epoch: how many batches this run has trained on, over all epochs and interruptions, and
            how many an epoch has at most (fewer than the pictures allow when the trainer limits them).
    """

    def __init__(self, order: EpochOrder, batch_size: int, rank: int, processes: int, steps_done: Callable[[], tuple[int, float]]) -> None:
        self.order = order
        self.batch_size = batch_size
        self.rank = rank
        self.processes = processes
        self.steps_done = steps_done
        if not len(self):
            raise ValueError(
                f"data.batch_size={batch_size}: a step of {processes} process(es) takes {batch_size * processes} pictures, "
                f"the training split has {len(order)}; use a smaller data.batch_size"
            )

    def __len__(self) -> int:
        return len(self.order) // (self.batch_size * self.processes)

    def __iter__(self) -> Iterator[list[Draw]]:
        done, limit = self.steps_done()
        steps = int(min(len(self), limit))
        epoch, start = divmod(done, steps)
        order = self.order.of(epoch)
        for step in range(start, steps):
            first = (step * self.processes + self.rank) * self.batch_size
            yield [(epoch, int(index)) for index in order[first : first + self.batch_size]]


class EvaluationBatches(Sampler[list[Draw]]):
    """Every picture once, in order, every process taking each N-th; draws are those of epoch 0."""

    def __init__(self, pictures: int, batch_size: int, rank: int, processes: int) -> None:
        self.indices = range(rank, pictures, processes)
        self.batch_size = batch_size
        if pictures < processes:
            raise ValueError(f"trainer.devices: a split of {pictures} pictures cannot be shared among {processes} processes; use fewer")

    def __len__(self) -> int:
        return -(-len(self.indices) // self.batch_size)

    def __iter__(self) -> Iterator[list[Draw]]:
        for start in range(0, len(self.indices), self.batch_size):
            yield [(0, index) for index in self.indices[start : start + self.batch_size]]
