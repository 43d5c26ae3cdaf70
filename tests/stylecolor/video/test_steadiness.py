from itertools import pairwise

import numpy as np
import pytest
import scipy.ndimage
import skimage.color
import skimage.data

from stylecolor.video.steadiness import NEW_SHARE, Motion, MotionTracker, TemporalFilter
from tests.stylecolor.films import pan

SIZE = (96, 128)
STEP = 3


def lightness(pixels: np.ndarray) -> np.ndarray:
    return skimage.color.rgb2lab(pixels)[..., 0].astype(np.float32)


def panned(name: str = "astronaut", frames: int = 12, step: int = STEP) -> list[np.ndarray]:
    return [lightness(pixels) for pixels in pan(name, frames, SIZE, step)]


def still(agreement: float = 1.0) -> Motion:
    height, width = SIZE
    source = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
    return Motion(source, np.full(SIZE, agreement, np.float32))


def noise(seed: int = 0, frames: int = 12) -> np.ndarray:
    """ab maps of frames that have nothing to do with each other."""
    maps = np.random.default_rng(seed).normal(0, 20, (frames, *SIZE, 2))
    return scipy.ndimage.gaussian_filter(maps, (0, 3, 3, 0)).astype(np.float32)


def flicker(maps: list[np.ndarray], step: int) -> float:
    return float(np.mean([np.abs(before[8:-8, 8 + step : -8] - after[8:-8, 8 : -8 - step]).mean() for before, after in pairwise(maps)]))


@pytest.mark.parametrize("step", [1, 3, 6])
def test_the_motion_of_a_pan_is_found(step: int) -> None:
    first, second = panned(step=step)[:2]
    tracker = MotionTracker()
    assert tracker.advance(first) is None, "a film begins with a scene"
    motion = tracker.advance(second)
    assert motion is not None
    columns = np.arange(SIZE[1])
    inner = np.s_[8:-8, 8 : -8 - step]
    assert np.abs(motion.source[..., 0] - columns - step)[inner].mean() < 0.3
    assert motion.agreement[inner].mean() > 0.9
    # what has come into the picture was nowhere before
    assert motion.agreement[:, -1].max() == 0
    np.testing.assert_allclose(motion.warp(np.stack((first, first), -1))[inner][..., 0], second[inner], atol=12)


def test_colours_follow_the_formula() -> None:
    previous, new = noise(frames=2)
    for agreement in (0.0, 0.3, 1.0):
        temporal = TemporalFilter()
        temporal.smooth(previous, None)
        weight = 1 - (1 - NEW_SHARE) * agreement
        np.testing.assert_allclose(temporal.smooth(new, still(agreement)), weight * new + (1 - weight) * previous, atol=1e-4)


def test_a_scene_begins_with_its_own_colours() -> None:
    maps, temporal = noise(), TemporalFilter()
    for index, ab in enumerate(maps):
        assert np.array_equal(temporal.smooth(ab, None), ab), index


def test_flicker_falls_to_a_quarter_and_colours_stay_right() -> None:
    # the true colours, which move with the pan, under errors of each frame's own
    colours = [skimage.color.rgb2lab(pixels)[..., 1:].astype(np.float32) for pixels in pan(frames=24, size=SIZE, step=STEP)]
    single = [true + error for true, error in zip(colours, noise(frames=24), strict=True)]
    tracker, temporal = MotionTracker(), TemporalFilter()
    motions = [tracker.advance(l) for l in panned(frames=24)]
    steady = [temporal.smooth(ab, motion) for ab, motion in zip(single, motions, strict=True)]
    assert sum(motion is None for motion in motions) == 1
    assert flicker(steady, STEP) < flicker(single, STEP) / 4
    errors = [np.mean([np.abs(ab - true).mean() for ab, true in zip(maps[12:], colours[12:], strict=True)]) for maps in (steady, single)]
    assert errors[0] < errors[1] / 2, "colours lag behind the motion"


def test_a_cut_begins_a_scene() -> None:
    names = ("astronaut", "chelsea", "coffee", "rocket")
    tracker = MotionTracker()
    found = [tracker.advance(l) is None for name in names for l in panned(name, 4)]
    assert found == [True, False, False, False] * len(names)


def test_grain_and_changes_of_brightness_are_no_cuts() -> None:
    random, tracker = np.random.default_rng(0), MotionTracker()
    found = []
    for index, l in enumerate(panned()):
        grain = random.normal(0, 6, l.shape)
        found.append(tracker.advance((l * (0.95 if index % 2 else 1) + 3 * (index % 2) + grain).clip(0, 100).astype(np.float32)) is None)
    assert found == [True] + [False] * 11


def test_black_frames_are_scenes_of_their_own() -> None:
    random, tracker = np.random.default_rng(0), MotionTracker()
    black = [random.normal(2, 1.5, SIZE).clip(0).astype(np.float32) for _ in range(3)]
    found = [tracker.advance(l) is None for l in [*black, *panned(frames=3), *black]]
    assert found == [True, False, False] * 3


def test_what_was_hidden_takes_its_own_colours_at_once() -> None:
    # a square of another brightness jumps further than any motion is followed, before a ground that stays
    ground = panned("astronaut")[0]
    before, after = np.s_[20:36, 10:26], np.s_[60:76, 90:106]
    frames, colours = [ground.copy() for _ in range(2)], np.zeros((2, *SIZE, 2), np.float32)
    for index, place in enumerate((before, after)):
        frames[index][place] = (ground[place] + 50) % 100
        colours[index][place] = 60
    tracker, temporal = MotionTracker(), TemporalFilter()
    temporal.smooth(colours[0], tracker.advance(frames[0]))
    motion = tracker.advance(frames[1])
    assert motion is not None
    shown = temporal.smooth(colours[1], motion)
    assert np.abs(shown[before][3:-3, 3:-3]).mean() < 6, "the square's colour stays where it was"
    assert shown[after][3:-3, 3:-3].mean() > 45
