"""What several processes tell each other on the side, without waiting for a device."""

from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import Trainer


def make_cpu_group(trainer: Trainer) -> Any:
    """A group of all processes that talks on the CPU, or None where there is only one; every process has to call it."""
    if dist.is_available() and dist.is_initialized() and trainer.world_size > 1:
        return dist.new_group(backend="gloo")
    return None


def agree_on_largest(number: int, group: Any) -> int:
    """The largest of the processes' numbers; every process of the group has to call it."""
    if group is None:
        return number
    shared = torch.tensor(number)
    dist.all_reduce(shared, op=dist.ReduceOp.MAX, group=group)
    return int(shared)


def gather(value: Any, group: Any) -> list[Any]:
    """The value of each process, by rank; every process of the group has to call it."""
    if group is None:
        return [value]
    values: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(values, value, group=group)
    return values
