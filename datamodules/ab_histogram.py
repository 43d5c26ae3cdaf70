"""How often each colour occurs in the training pictures: what the classification network's prior is made of."""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8

from datamodules.cache_directory import build_once, explain_cache_errors
from datamodules.dataset import PictureDataset
from stylecolor.color import rgb_to_lab

FORMAT = 1
MAX_PICTURES = 10_000
"""Of more pictures so many are looked at, evenly chosen, ..."""
PIXEL_STEP = 4
"""... and of each picture every fourth pixel in each direction: at 256 px 41 million pixels, far more than a prior needs."""
CELLS = 256
CENTER = 128
"""Cell [a + 128, b + 128] counts the pixels of that rounded ab."""
_PIXELS_AT_ONCE = 2**19

log = logging.getLogger(__name__)


def count_ab(parts: Sequence[PictureDataset], indices: Int64[np.ndarray, " pictures"], cache: Path) -> Int64[np.ndarray, "256 256"]:
    """Count the rounded ab of every fourth pixel in each direction, of at most 10 000 of the pictures, as they are prepared.

    Counted once and kept; memory does not grow with the number of pictures.

    Args:
        parts: data sets, one after the other.
        indices: of the pictures, sorted; those of each data set follow those of the one before.
        cache: where the histogram is kept.

    Raises:
        ValueError: when the cache cannot be written.
    """
    count = min(len(indices), MAX_PICTURES)
    chosen = indices[np.arange(count) * len(indices) // count]
    ends = np.cumsum([len(part) for part in parts])
    number = np.searchsorted(ends, chosen, side="right")
    rows = [part.targets[chosen[number == i] - (ends[i] - len(part))] for i, part in enumerate(parts)]
    directory = cache / "ab_histograms" / _digest(parts, rows)
    with explain_cache_errors(cache):
        build_once(directory, lambda aside: np.save(aside / "histogram.npy", _count(parts, rows)))
    return np.load(directory / "histogram.npy")


def _digest(parts: Sequence[PictureDataset], rows: Sequence[np.ndarray]) -> str:
    digest = hashlib.sha256(f"{FORMAT}/{PIXEL_STEP}".encode())
    for part, own in zip(parts, rows, strict=True):
        digest.update(f"/{part.prepared.form}/{len(own)}/".encode())
        digest.update(part.prepared.keys[own].tobytes())
    return digest.hexdigest()[:16]


def _count(parts: Sequence[PictureDataset], rows: Sequence[np.ndarray]) -> Int64[np.ndarray, "256 256"]:
    log.info("counting the colours of %d training pictures, once", sum(map(len, rows)))
    histogram = np.zeros(CELLS**2, dtype=np.int64)
    for part, own in zip(parts, rows, strict=True):
        pictures = max(1, _PIXELS_AT_ONCE // (part.prepared.form.size // PIXEL_STEP) ** 2)
        for start in range(0, len(own), pictures):
            read = [part.prepared.read(int(index))[0][::PIXEL_STEP, ::PIXEL_STEP] for index in own[start : start + pictures]]
            histogram += _count_pixels(np.concatenate([pixels.reshape(-1, 3) for pixels in read]))
    return histogram.reshape(CELLS, CELLS)


def _count_pixels(pixels: UInt8[np.ndarray, "pixels 3"]) -> Int64[np.ndarray, " cells"]:
    lab = rgb_to_lab(torch.from_numpy(pixels).T.reshape(1, 3, 1, -1) / 255)
    a, b = lab[0, 1:, 0].round().long() + CENTER
    return torch.bincount(a * CELLS + b, minlength=CELLS**2).numpy()
