"""Label maps of target and reference: which regions correspond, and their weights at every feature size."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from stylecolor.errors import check_range

VOID = 255
"""The label of pixels that belong to no region."""
MINIMUM_PIXELS = 10
"""A region needs more pixels than this, in target and in reference (Xu et al.'s code)."""
MAXIMUM_AREA_RATIO = 100.0
"""Regions whose shares of their pictures differ by this factor or more do not correspond (Xu et al.'s code)."""


def pick_columns(tensor: Tensor, columns: Sequence[int]) -> Tensor:
    """`tensor[:, columns]` without a list of indices on the device, which the host would wait for."""
    return torch.stack([tensor[:, column] for column in columns], dim=1) if columns else tensor[:, :0]


@dataclass(frozen=True)
class LabelMap:
    """A batch of label maps, `VOID` where there is no label, and the labels that may occur in it.

    `values` may name labels that do not occur. It is known on the host, so that nothing has to be read back from the device.
    """

    labels: UInt8[Tensor, "batch height width"]
    values: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.labels.dtype != torch.uint8 or self.labels.ndim != 3:
            raise ValueError(
                f"label maps: expected uint8 of shape (batch, height, width), got {self.labels.dtype} of {tuple(self.labels.shape)}"
            )

    @classmethod
    def read(cls, labels: UInt8[Tensor, "batch height width"]) -> "LabelMap":
        """With the labels that do occur, which are read back from the device.

        Raises:
            ValueError: for another type or shape.
        """
        label_map = cls(labels, ())
        return cls(label_map.labels, tuple(value for value in labels.unique().tolist() if value != VOID))

    def check_size(self, pictures: Tensor, what: str) -> None:
        """Refuse label maps that do not fit their pictures.

        Raises:
            ValueError: naming both sizes.
        """
        expected = (pictures.shape[0], *pictures.shape[-2:])
        if tuple(self.labels.shape) != expected:
            raise ValueError(f"label maps of the {what}: have shape {tuple(self.labels.shape)}, its pictures need {expected}")

    def shares(self, values: Sequence[int]) -> Float[Tensor, "batch regions"]:
        """The share of each picture that has each label; 0 for regions too small to have statistics."""
        pixels = self.labels[0].numel()
        # all labels at once, whichever are asked for
        flat = self.labels.flatten(1).long()
        counts = torch.zeros(len(flat), VOID + 1, device=flat.device).scatter_add_(1, flat, torch.ones_like(flat, dtype=torch.float32))
        counts = pick_columns(counts, values)
        return torch.where(counts > MINIMUM_PIXELS, counts / pixels, 0.0)

    def weights(self, values: Sequence[int]) -> Float[Tensor, "batch regions height width"]:
        """1 where a pixel has the label, 0 elsewhere."""
        return torch.stack([(self.labels == value).float() for value in values], dim=1)


class RegionPyramid:
    """The regions of a label map at the sizes of feature maps, each made once.

    Args:
        label_map: of the pictures whose features are asked for.
        values: the labels of the regions, in order.
        feather: pixels of the picture, to each side of a border, over which two regions blend into each other; 0 is a hard border.
        valid: which regions are to be used; pixels of the others belong to none.

    Raises:
        ValueError: for a negative feather.
    """

    def __init__(self, label_map: LabelMap, values: Sequence[int], feather: int = 0, valid: Tensor | None = None) -> None:
        check_range("feather", feather, low=0)
        weights = label_map.weights(values)
        if valid is not None:
            weights = weights * valid[:, :, None, None]
        if feather:
            side = 2 * feather + 1
            for kernel, padding in (((side, 1), (feather, 0)), ((1, side), (0, feather))):
                weights = F.avg_pool2d(weights, kernel, stride=1, padding=padding, count_include_pad=False)
        # measured with the feathered weights too: whitening by a small region's statistics would blow up pixels that these do not know
        self._weights = weights
        self._sizes: dict[torch.Size, Tensor] = {weights.shape[-2:]: weights}

    def at(self, size: torch.Size) -> Float[Tensor, "batch regions height width"]:
        """The weights at a feature map's (height, width): means over the pixels that each feature stands for."""
        if size not in self._sizes:
            height, width = size
            self._sizes[size] = F.adaptive_avg_pool2d(self._weights, (height, width))
        return self._sizes[size]


def corresponding(target: LabelMap, labels: Sequence[int], shares: Float[Tensor, "batch regions"]) -> tuple[list[int], Tensor]:
    """The labels that target and reference may share, and (batch, regions) bool: in which samples they do.

    Args:
        target: the target's label map.
        labels: the reference's labels.
        shares: how much of its picture each of them takes, see `ReferenceStyle`.
    """
    values = [label for label in labels if label in target.values]
    lent = pick_columns(shares, [labels.index(label) for label in values])
    own = target.shares(values)
    similar = (own < MAXIMUM_AREA_RATIO * lent) & (lent < MAXIMUM_AREA_RATIO * own)
    return values, (own > 0) & (lent > 0) & (similar | lent.isinf())
