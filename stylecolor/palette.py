"""Palette descriptors, and the nearest picture in palette."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

BIN_SIZE = 10.0
"""Edge of an ab bin in Lab units."""
BIN_LIMIT = 110.0
CHROMA_FLOOR = 2.0
"""Added to the chroma weights, in Lab units, so that a nearly grey picture still has a descriptor: its greys."""

_BINS_PER_AXIS = int(2 * BIN_LIMIT / BIN_SIZE) + 1
DESCRIPTOR_SIZE = _BINS_PER_AXIS**2


def palette_descriptor(ab: Float[Tensor, "batch 2 height width"]) -> Float[Tensor, "batch bins"]:
    """Square root of the soft-binned ab histogram, weighted by chroma: a vector of length 1 for each picture.

    Every pixel is shared bilinearly among its four nearest bins (23 x 23 on a grid of 10 Lab units) and weighs chroma + 2, so that
    large grey areas do not hide the colours. Descriptors are compared by Euclidean distance, which for square roots of histograms is
    sqrt(2) times the Hellinger distance: 0 for equal palettes, sqrt(2) for disjoint ones.
    """
    batch = ab.shape[0]
    pixels = ab.flatten(2)
    weights = pixels.square().sum(dim=1).sqrt() + CHROMA_FLOOR
    position = ((pixels + BIN_LIMIT) / BIN_SIZE).clamp(0, _BINS_PER_AXIS - 1)
    low = position.floor().clamp(max=_BINS_PER_AXIS - 2)
    share = position - low
    low = low.long()
    histogram = torch.zeros(batch, DESCRIPTOR_SIZE, device=ab.device)
    for step_a in (0, 1):
        for step_b in (0, 1):
            index = (low[:, 0] + step_a) * _BINS_PER_AXIS + low[:, 1] + step_b
            part_a = share[:, 0] if step_a else 1 - share[:, 0]
            part_b = share[:, 1] if step_b else 1 - share[:, 1]
            histogram.scatter_add_(1, index, weights * part_a * part_b)
    return (histogram / histogram.sum(dim=1, keepdim=True)).sqrt()


def nearest(
    query: Float[Tensor, "queries bins"], database: Float[Tensor, "pictures bins"], allowed: Bool[Tensor, "queries pictures"]
) -> Int64[Tensor, " queries"]:
    """For each query, the allowed picture of the database with the closest descriptor; the first one of equals."""
    distance = torch.cdist(query, database).masked_fill(~allowed, float("inf"))
    return distance.argmin(dim=1)
