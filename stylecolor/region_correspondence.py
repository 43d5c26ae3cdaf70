"""Which regions of two label maps are matched with each other, and why the others are not: for people to look at."""

from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Int64, UInt8

from stylecolor.regions import MAXIMUM_AREA_RATIO, MINIMUM_PIXELS, VOID, LabelMap, corresponding
from stylecolor.working_size import resize_labels, working_size


class Correspondence(NamedTuple):
    """What becomes of a label."""

    label: int
    target_share: float
    """Of the target's pixels that have it, in [0, 1]."""
    reference_share: float
    """Likewise of the reference."""
    matched: bool
    """Whether the target's region takes the statistics of the reference's; if not, it takes those of the whole reference."""
    reason: str
    """Why not; empty where they are matched."""


def correspondence(
    target: UInt8[np.ndarray, "height width"], reference: UInt8[np.ndarray, "reference_height reference_width"], size: int
) -> list[Correspondence]:
    """All labels of two maps, void apart, those of the largest regions of the target first.

    Args:
        target: the target's label map, of its own size.
        reference: the reference's.
        size: px, the shorter side of what the networks see, at which regions are compared.
    """
    own, lent = (_read(labels, size) for labels in (target, reference))
    values, valid = corresponding(own, lent.values, lent.shares(lent.values))
    matched = {value for value, good in zip(values, valid[0].tolist(), strict=True) if good}
    # of the maps as they came: a region that vanishes at the networks' size is to be told too
    shares = np.stack([_count(labels) / labels.size for labels in (target, reference)])
    pixels = np.stack([_count(one.labels[0].numpy()) for one in (own, lent)])
    rows = []
    for label in np.flatnonzero(shares[:, :VOID].any(axis=0)).tolist():
        reason = "" if label in matched else _reason(shares[:, label], pixels[:, label])
        rows.append(Correspondence(label, float(shares[0, label]), float(shares[1, label]), label in matched, reason))
    return sorted(rows, key=lambda row: (-row.target_share, row.label))


def _read(labels: np.ndarray, size: int) -> LabelMap:
    height, width = labels.shape
    return LabelMap.read(torch.from_numpy(resize_labels(labels, working_size(height, width, size))).unsqueeze(0))


def _count(labels: np.ndarray) -> Int64[np.ndarray, " labels"]:
    """Pixels by label."""
    # many times as fast as numpy's
    return cv2.calcHist([labels], [0], None, [VOID + 1], [0, VOID + 1]).ravel().astype(np.int64)


def _reason(shares: np.ndarray, pixels: np.ndarray) -> str:
    if not shares.all():
        return f"only in the {'target' if shares[0] else 'reference'}"
    for picture, count in zip(("target", "reference"), pixels, strict=True):
        if count <= MINIMUM_PIXELS:
            return f"too small in the {picture}: {count} px at the networks' size, where more than {MINIMUM_PIXELS} are needed"
    return f"its shares of the two pictures differ by a factor of {MAXIMUM_AREA_RATIO:g} or more"
