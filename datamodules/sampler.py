"""Which pictures stand in which batch: a pure function of seed, epoch and step, whatever the number of processes or interruptions."""

from collections.abc import Callable, Iterator

import numpy as np
from torch.utils.data import Sampler

from stylecolor.randomness import make_key

Draw = tuple[int, int]
"""(epoch, index of the picture)."""


class TrainBatches(Sampler[list[Draw]]):
    """Shuffled batches that continue where training stands.

    The order of an epoch covers all processes; each takes its slice of every global batch, so that N processes with batch B train on what
    one with batch N*B would. A last, smaller batch is left out.

    Args:
        pictures: number of pictures.
        batch_size: pictures in a step of one process.
        seed: of the order.
        rank: of this process.
        processes: how many there are.
        steps_done: called at the start of each epoch: how many batches this run has trained on, over all epochs and interruptions, and
            how many an epoch has at most (fewer than the pictures allow when the trainer limits them).
    """

    def __init__(
        self, pictures: int, batch_size: int, seed: int, rank: int, processes: int, steps_done: Callable[[], tuple[int, float]]
    ) -> None:
        self.pictures = pictures
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.processes = processes
        self.steps_done = steps_done
        if not len(self):
            raise ValueError(
                f"data.batch_size={batch_size}: a step of {processes} process(es) takes {batch_size * processes} pictures, "
                f"the training split has {pictures}; use a smaller data.batch_size"
            )

    def __len__(self) -> int:
        return self.pictures // (self.batch_size * self.processes)

    def __iter__(self) -> Iterator[list[Draw]]:
        done, limit = self.steps_done()
        steps = int(min(len(self), limit))
        epoch, start = divmod(done, steps)
        order = np.random.default_rng(make_key(self.seed, epoch, "order")).permutation(self.pictures)
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
