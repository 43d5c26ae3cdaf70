"""Likely colours of a point of a target, for a person to choose a hint from."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Float

from stylecolor.ab_bins import GRID_STEP
from stylecolor.color import fit_to_gamut
from stylecolor.draft import Draft
from stylecolor.errors import check_range
from stylecolor.exemplar_colorizer import ExemplarColorizer

COUNT = 8
DISTANCE = 12.0
"""Lab units. Colours that are nearer to each other are one suggestion."""
SIMILAR_SHARE = 0.05
"""Of a picture's pixels, those whose L is nearest to the point's tell which colours such a lightness has there."""

_Weighted = tuple[Float[np.ndarray, "colors 2"], Float[np.ndarray, " colors"]]
"""ab in Lab units, and how likely each is."""


def suggest_colors(draft: Draft, colorizer: ExemplarColorizer, x: float, y: float, count: int = COUNT) -> list[tuple[float, float]]:
    """Likely ab at a point, most likely first, all of which sRGB shows at the point's L.

    First those that the networks found there: the result's, the transfer's, and those without the reference. Then the most probable classes
    of the colorization sub-net where it has a distribution over colours (Zhang et al., SIGGRAPH 2017, section 3.3), given the same hints;
    else those that are frequent where L is similar, in the result and in the references.

    Args:
        draft: colorized before, by `colorizer`.
        colorizer: asked only where it has such a distribution, once for each colorization.
        x: of the point, in 0..1 of the width.
        y: of the point, in 0..1 of the height.
        count: how many at most; there is at least one.

    Raises:
        ValueError: for a place outside the picture, and a count below 1.
    """
    check_range("x", x, low=0, high=1)
    check_range("y", y, low=0, high=1)
    check_range("count", count, low=1)
    steps, l = draft.steps, draft.working_l
    assert steps is not None
    height, width = l.shape[-2:]
    row, column = min(int(y * height), height - 1), min(int(x * width), width - 1)
    found = [ab[0, :, row, column].cpu().numpy() for ab in (steps.ab, steps.transfer_ab, steps.precolor_ab)]
    own_l = float(l[0, 0, row, column])
    distribution = draft.color_distribution(colorizer)
    if distribution is None:
        own = torch.cat((l, steps.ab), dim=1)[0].flatten(1).T.cpu().numpy()
        likely = _frequent([own, *draft.reference_lab], own_l)
    else:
        probabilities = distribution.probabilities
        rows, columns = probabilities.shape[-2:]
        at_point = probabilities[0, :, row * rows // height, column * columns // width]
        likely = distribution.colors.cpu().numpy(), at_point.cpu().numpy()
    return _choose(found, likely, own_l, count)


def _frequent(pictures: Sequence[Float[np.ndarray, "pixels 3"]], l: float) -> _Weighted:
    """The mean colours of the ab bins that the pixels of similar L fall in, and the bins' shares; each picture counts the same."""
    colors, weights = [], []
    for lab in pictures:
        similar = max(1, round(len(lab) * SIMILAR_SHARE))
        colors.append(lab[np.argsort(np.abs(lab[:, 0] - l), kind="stable")[:similar], 1:])
        weights.append(np.full(similar, 1 / similar))
    ab, weight = np.concatenate(colors).astype(np.float64), np.concatenate(weights)
    _, members = np.unique(np.round(ab / GRID_STEP), axis=0, return_inverse=True)
    shares = np.bincount(members.ravel(), weight)
    means = np.stack([np.bincount(members.ravel(), weight * channel) / shares for channel in ab.T], axis=1)
    return means, shares


def _choose(found: Iterable[np.ndarray], likely: _Weighted, l: float, count: int) -> list[tuple[float, float]]:
    """The colours that were found at the point and the most likely others, as far as they are displayable and differ."""
    colors, weights = likely
    ranked = colors[np.argsort(-weights, kind="stable")]
    displayable = _displayable(ranked, l)
    # a bin that lies outside the gamut as a whole stands for none of its colours
    inside = np.linalg.norm(displayable - ranked, axis=1) <= GRID_STEP
    chosen: list[np.ndarray] = []
    for color in np.concatenate((_displayable(np.stack(list(found)), l), displayable[inside])):
        if len(chosen) < count and all(np.linalg.norm(color - other) >= DISTANCE for other in chosen):
            chosen.append(color)
    return [(float(a), float(b)) for a, b in chosen]


def _displayable(ab: Float[np.ndarray, "colors 2"], l: float) -> Float[np.ndarray, "colors 2"]:
    """With as much of their chroma as sRGB shows at this L."""
    lab = torch.from_numpy(np.column_stack((np.full(len(ab), l), ab))).float().T[None, :, :, None]
    return fit_to_gamut(lab)[0, 1:, :, 0].T.double().numpy()
