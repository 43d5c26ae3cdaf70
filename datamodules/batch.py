"""The typed batch: uint8 from the loader to the device, float and Lab on it."""

from dataclasses import dataclass, fields
from typing import Self

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from stylecolor.color import rgb_to_lab


@dataclass
class PictureBatch:
    """What the loader yields: 8-bit sRGB, one key for each picture's random draws on the device, and the pictures' names."""

    target: UInt8[Tensor, "batch 3 height width"]
    reference: UInt8[Tensor, "batch 3 height width"]
    keys: Int64[Tensor, " batch"]
    ids: list[str]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """Lightning calls this to move the batch."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """The loader calls this where pinned memory speeds the copy to the device."""
        return self._map(torch.Tensor.pin_memory)

    def _map(self, function) -> Self:
        values = (getattr(self, field.name) for field in fields(self))
        return type(self)(*(function(value) if isinstance(value, Tensor) else value for value in values))

    def __len__(self) -> int:
        return len(self.ids)


@dataclass
class Batch:
    """What the stages read, on the device and in float32: sRGB in [0, 1], L in [0, 100], ab in Lab units."""

    target_rgb: Float[Tensor, "batch 3 height width"]
    target_l: Float[Tensor, "batch 1 height width"]
    target_ab: Float[Tensor, "batch 2 height width"]
    reference_rgb: Float[Tensor, "batch 3 height width"]
    keys: Int64[Tensor, " batch"]
    ids: list[str]

    @classmethod
    def from_pictures(cls, pictures: PictureBatch) -> "Batch":
        """Scale to [0, 1] and convert to Lab, on the device that holds the pictures."""
        target = pictures.target.float() / 255
        lab = rgb_to_lab(target)
        return cls(target, lab[:, :1], lab[:, 1:], pictures.reference.float() / 255, pictures.keys, pictures.ids)

    def __len__(self) -> int:
        return len(self.ids)


def collate(samples: list[tuple[Tensor, Tensor, int, str]]) -> PictureBatch:
    """Stack (target, reference, key, id) samples."""
    targets, references, keys, ids = zip(*samples, strict=True)
    return PictureBatch(torch.stack(targets), torch.stack(references), torch.tensor(keys), list(ids))
