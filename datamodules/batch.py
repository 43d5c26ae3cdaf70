"""The typed batch: uint8 from the loader to the device; crops, float and Lab on it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from datamodules.augmentation import PackedPictures, Squares, crop, warp
from datamodules.labels import VOID
from stylecolor.color import rgb_to_lab
from stylecolor.regions import LabelMap


class Sample(NamedTuple):
    """What a data set yields: target and reference with their label maps, uncropped; see `PictureBatch` for the rest."""

    target: UInt8[np.ndarray, "height width 3"]
    target_labels: UInt8[np.ndarray, "height width"] | None
    reference: UInt8[np.ndarray, "height width 3"]
    reference_labels: UInt8[np.ndarray, "height width"] | None
    is_own_reference: bool
    key: int
    id: str


@dataclass
class PictureBatch:
    """What the loader yields: 8-bit sRGB as it was prepared, one key for each picture's random draws on the device, and the names.

    `pictures` are the targets, then their references; `own_reference` marks targets that are their own reference; `random_crops` is set
    in training; `label_values` are the labels of their label maps.
    """

    pictures: PackedPictures
    own_reference: Bool[Tensor, " batch"]
    keys: Int64[Tensor, " batch"]
    ids: list[str]
    random_crops: bool
    label_values: tuple[int, ...] = ()

    @property
    def target(self) -> PackedPictures:
        """The targets."""
        return self.pictures[: len(self)]

    @property
    def reference(self) -> PackedPictures:
        """Their references."""
        return self.pictures[len(self) :]

    def __getstate__(self) -> dict[str, Any]:
        # see PackedPictures
        return {**self.__dict__, "keys": self.keys.numpy(), "own_reference": self.own_reference.numpy()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= {**state, "keys": torch.from_numpy(state["keys"]), "own_reference": torch.from_numpy(state["own_reference"])}

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "PictureBatch":
        """Lightning calls this to move the batch."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "PictureBatch":
        """The loader calls this where pinned memory speeds the copy to the device."""
        return self._map(torch.Tensor.pin_memory)

    def _map(self, function: Callable[[Tensor], Tensor]) -> "PictureBatch":
        return replace(
            self,
            pictures=self.pictures.map(function),
            own_reference=function(self.own_reference),
            keys=function(self.keys),
        )

    def __len__(self) -> int:
        return len(self.ids)


@dataclass
class Batch:
    """What the stages read, on the device and in float32: sRGB in [0, 1], L in [0, 100], ab in Lab units, label maps if asked for."""

    target_rgb: Float[Tensor, "batch 3 height width"]
    target_l: Float[Tensor, "batch 1 height width"]
    target_ab: Float[Tensor, "batch 2 height width"]
    reference_rgb: Float[Tensor, "batch 3 height width"]
    keys: Int64[Tensor, " batch"]
    ids: list[str]
    target_labels: UInt8[Tensor, "batch height width"] | None = None
    reference_labels: UInt8[Tensor, "batch height width"] | None = None
    label_values: tuple[int, ...] = ()

    @classmethod
    def from_pictures(cls, pictures: PictureBatch, size: int, warps: bool = False) -> "Batch":
        """Crop to squares of `size` px, scale to [0, 1] and convert to Lab, on the device that holds the pictures.

        Args:
            pictures: from the loader.
            size: px.
            warps: whether any picture can be its own reference, which is then warped.
        """
        keys = pictures.keys if pictures.random_crops else None
        target = crop(pictures.target, size, keys, "target crop")
        reference = crop(pictures.reference, size, keys, "reference crop")
        if warps:
            reference = warp(reference, pictures.own_reference, pictures.keys)
        return cls.from_squares(target, reference, pictures.keys, pictures.ids, pictures.label_values)

    @classmethod
    def from_squares(
        cls, target: Squares, reference: Squares, keys: Int64[Tensor, " batch"], ids: list[str], label_values: tuple[int, ...] = ()
    ) -> "Batch":
        """From 8-bit pictures that have the right size."""
        rgb = target[0].float() / 255
        lab = rgb_to_lab(rgb)
        return cls(rgb, lab[:, :1], lab[:, 1:], reference[0].float() / 255, keys, ids, target[1], reference[1], label_values)

    def __len__(self) -> int:
        return len(self.ids)

    def label_maps(self) -> tuple[LabelMap, LabelMap]:
        """Of targets and references.

        Raises:
            ValueError: when the data has none.
        """
        if self.target_labels is None or self.reference_labels is None:
            raise ValueError("stage.regions=true: the data has no label maps; choose them with data.label_maps")
        return LabelMap(self.target_labels, self.label_values), LabelMap(self.reference_labels, self.label_values)


def collate(samples: list[Sample], random_crops: bool) -> PictureBatch:
    """Pack samples into a batch."""
    maps = [labels for sample in samples for labels in (sample.target_labels, sample.reference_labels) if labels is not None]
    counts = sum((np.bincount(labels.ravel(), minlength=VOID)[:VOID] for labels in maps), start=np.zeros(VOID, dtype=np.int64))
    return PictureBatch(
        pictures=_pack(
            [(sample.target, sample.target_labels) for sample in samples]
            + [(sample.reference, sample.reference_labels) for sample in samples]
        ),
        own_reference=torch.tensor([sample.is_own_reference for sample in samples]),
        keys=torch.tensor([sample.key for sample in samples]),
        ids=[sample.id for sample in samples],
        random_crops=random_crops,
        # found here, in the worker: on the device it would have to be waited for
        label_values=tuple(np.flatnonzero(counts).tolist()),
    )


def _pack(pictures: list[tuple[np.ndarray, np.ndarray | None]]) -> PackedPictures:
    shapes = torch.tensor([pixels.shape[:2] for pixels, _ in pictures])
    ends = shapes.prod(dim=1).cumsum(dim=0)
    # in a mix, some data sets may have no label maps
    labelled = any(labels is not None for _, labels in pictures)
    maps = (np.full(pixels.shape[:2], VOID, dtype=np.uint8) if labels is None else labels for pixels, labels in pictures)
    return PackedPictures(
        pixels=torch.from_numpy(np.concatenate([pixels.reshape(-1, 3) for pixels, _ in pictures])),
        labels=torch.from_numpy(np.concatenate([labels.ravel() for labels in maps])) if labelled else None,
        starts=torch.cat((torch.zeros(1, dtype=torch.int64), ends[:-1])),
        heights=shapes[:, 0].contiguous(),
        widths=shapes[:, 1].contiguous(),
    )
