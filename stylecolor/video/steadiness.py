"""Colours that stay put from frame to frame of a film.

Colorized on its own, each frame draws other hints and measures other statistics, so that colours flicker though nothing in the film
changes. Here the hints of all frames of a scene share one random mask (see `stylecolor.video.film`), and the ab maps are filtered
recursively along the motion, at the networks' size: the previous frame's result, brought to where its pixels are now, is mixed with the
new map,

    ab(t) = (1 - w) * warp(ab(t - 1)) + w * new(t),    w = 1 - (1 - NEW_SHARE) * agreement,

where the agreement of L with the warped previous L, `exp(-(difference / TOLERANCE)^2)`, is near 1 where the motion explains the frame and
near 0 where it does not: what was hidden before, or out of the picture, takes its new colours at once (the visibility mask of Lai et al.,
"Learning Blind Video Temporal Consistency", ECCV 2018, section 3.2). Differences are smoothed before, so that film grain is no motion.
The motion is dense optical flow (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016).

A new scene begins where the motion leaves more than CUT of the two frames' variance of L unexplained; nothing of the old one is kept.
Between unlike photographs (100 of BSDS500 at 256 px) that share was 0.51 at the least and 0.83 in the middle. Within a scene it was below
0.1 for pans of up to 8 % of the side a frame, zooms of 10 % and noise of 8 L units, and 0.2 in the middle where brightness and contrast
jumped by 8 L units and 15 %.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

NEW_SHARE = 0.1
"""Weight of a frame's own colours where the motion explains its L: colours follow with a time constant of 1 / NEW_SHARE frames."""
TOLERANCE = 10.0
"""L units: a smoothed difference of that much leaves 1 / e of the agreement."""
CUT = 0.45
"""Unexplained share of the variance from which on a frame begins a new scene."""
_REFINEMENTS = 20
_FLOW_SMOOTHNESS = 100.0
"""Five times the default weight of the flow's smoothness."""
_SMOOTHING = 1.5
"""px at the networks' size: standard deviation of the Gaussian that smooths L before it is compared."""
_VARIANCE_FLOOR = 50.0
"""Squared L units, added to the frames' variance: the grain of a black frame is no new scene."""


@dataclass(frozen=True)
class Motion:
    """Where each pixel of a frame was in the frame before (x, y in px), and how well L agrees with L there, in [0, 1]."""

    source: Float[np.ndarray, "height width 2"]
    agreement: Float[np.ndarray, "height width"]

    def warp(self, previous: Float[np.ndarray, "height width channels"]) -> Float[np.ndarray, "height width channels"]:
        """The previous frame's values where their pixels are now."""
        return _warp(previous, self.source, cv2.INTER_CUBIC)


class MotionTracker:
    """Finds the motion between each frame and the one before, and the cuts between scenes."""

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        # flat areas, as skies, say nothing of their motion, and have to follow what surrounds them
        self._flow.setVariationalRefinementIterations(_REFINEMENTS)
        self._flow.setVariationalRefinementAlpha(_FLOW_SMOOTHNESS)
        self._previous: np.ndarray | None = None

    def advance(self, l: Float[np.ndarray, "height width"]) -> Motion | None:
        """The motion from the previous frame to this one, or None where a scene begins; L in [0, 100], all frames of one size."""
        previous, self._previous = self._previous, l
        if previous is None:
            return None
        # without a first guess, which the stubs do not know of
        flow = self._flow.calc(_levels(l), _levels(previous), None)  # pyright: ignore[reportCallIssue, reportArgumentType]
        height, width = l.shape
        source = flow + np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
        own, moved = (cv2.GaussianBlur(part, (0, 0), _SMOOTHING) for part in (l, _warp(previous, source, cv2.INTER_LINEAR)))
        if _unexplained(own, moved) > CUT:
            return None
        agreement = np.exp(-(((own - moved) / TOLERANCE) ** 2))
        inside = (source >= -0.5).all(-1) & (source[..., 0] <= width - 0.5) & (source[..., 1] <= height - 0.5)
        return Motion(source, agreement * inside)


class TemporalFilter:
    """Mixes each frame's ab map with what came before, along the motion."""

    def __init__(self) -> None:
        self._previous: np.ndarray | None = None

    def smooth(self, ab: Float[np.ndarray, "height width 2"], motion: Motion | None) -> Float[np.ndarray, "height width 2"]:
        """The ab map to show; without a motion, as at the beginning of a scene, it is the frame's own."""
        if motion is not None:
            assert self._previous is not None
            kept = ((1 - NEW_SHARE) * motion.agreement)[..., None]
            ab = ab + kept * (motion.warp(self._previous) - ab)
        self._previous = ab
        return ab


def _warp(values: np.ndarray, source: Float[np.ndarray, "height width 2"], interpolation: int) -> np.ndarray:
    columns, rows = cv2.split(source)
    return cv2.remap(values, columns, rows, interpolation, borderMode=cv2.BORDER_REPLICATE)


def _levels(l: Float[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width"]:
    return np.clip(l * 2.55 + 0.5, 0, 255).astype(np.uint8)


def _unexplained(own: Float[np.ndarray, "height width"], moved: Float[np.ndarray, "height width"]) -> float:
    """Mean squared difference, as a share of what it is between unrelated frames of these means and variances."""
    unrelated = own.var() + moved.var() + (own.mean() - moved.mean()) ** 2 + _VARIANCE_FLOOR
    return float(np.square(own - moved).mean() / unrelated)
