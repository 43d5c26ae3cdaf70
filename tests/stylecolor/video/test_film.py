from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import skimage.color
import torch
from torch import Tensor

from stylecolor.exemplar_colorizer import ExemplarColorizer
from stylecolor.pictures.files import Picture
from stylecolor.reference_style import ReferenceStyle
from stylecolor.video.film import SteadyColorizer, VideoSummary, colorize_video
from stylecolor.video.reading import VideoReader
from stylecolor.video.reference_times import ReferenceTimes
from stylecolor.video.writing import VideoWriter
from tests.stylecolor.films import RATE, frames, make_film, pan, streams

SIZE = 64


class FickleColorizer:
    """As `ExemplarColorizer`, with one colour a frame that the keys choose, and noise that nothing chooses; it keeps what it is asked."""

    def __init__(self, noise: float = 0.0) -> None:
        self.noise = noise
        self.keys: list[int] = []
        self.styles: list[ReferenceStyle | None] = []
        self.maps: list[np.ndarray] = []
        self._generator = torch.Generator().manual_seed(0)

    def working_l(self, picture: Picture) -> Tensor:
        l = skimage.color.rgb2lab(picture.pixels)[..., 0]
        return torch.from_numpy(l.astype(np.float32))[None, None]

    def predict_ab(self, l: Tensor, style: ReferenceStyle | None, *, keys: Tensor | None = None, strength: float = 1.0) -> Tensor:
        assert keys is not None
        self.keys.append(int(keys))
        self.styles.append(style)
        colour = torch.tensor([40.0, -40.0]) if len(set(self.keys)) % 2 else torch.tensor([-40.0, 40.0])
        return colour.view(1, 2, 1, 1) + self.noise * torch.randn(1, 2, *l.shape[2:], generator=self._generator)

    def paint(self, picture: Picture, l: Tensor, ab: Tensor, *, saturation: float = 1.0) -> Picture:
        self.maps.append(ab[0].permute(1, 2, 0).numpy())
        return picture


def flicker(maps: list[np.ndarray], step: int) -> float:
    return float(np.mean([np.abs(before[4:-4, 4 + step : -4] - after[4:-4, 4 : -4 - step]).mean() for before, after in pairwise(maps)]))


def test_a_scene_has_one_mask_and_the_next_has_nothing_of_it() -> None:
    colorizer = FickleColorizer()
    steady = SteadyColorizer(colorizer)
    for pixels in pan("astronaut", 6) + pan("chelsea", 6):
        steady(Picture(pixels), None)
    assert steady.scenes == 2
    assert [len(set(colorizer.keys[:6])), len(set(colorizer.keys[6:])), len(set(colorizer.keys))] == [1, 1, 2]
    for index, ab in enumerate(colorizer.maps):
        np.testing.assert_allclose(ab, np.broadcast_to([40, -40] if index < 6 else [-40, 40], ab.shape), atol=1e-3)


def test_another_section_begins_a_scene_in_the_same_picture() -> None:
    colorizer = FickleColorizer()
    steady = SteadyColorizer(colorizer)
    for index, pixels in enumerate(pan(frames=6)):
        steady(Picture(pixels), None, section=index // 3)
    assert steady.scenes == 2
    np.testing.assert_allclose(colorizer.maps[3], np.broadcast_to([-40, 40], colorizer.maps[3].shape), atol=1e-3)


def test_noise_of_single_frames_falls_below_a_quarter() -> None:
    plain, colorizer = FickleColorizer(10.0), FickleColorizer(10.0)
    steady = SteadyColorizer(colorizer)
    for pixels in pan(frames=20):
        steady(Picture(pixels), None)
        plain.paint(Picture(pixels), torch.zeros(1), plain.predict_ab(torch.zeros(1, 1, 64, 96), None, keys=torch.zeros(1)))
    assert flicker(colorizer.maps, 2) < flicker(plain.maps, 2) / 4


@pytest.fixture(scope="module")
def colorizer(joint_checkpoint: Path) -> ExemplarColorizer:
    return ExemplarColorizer.from_checkpoint(joint_checkpoint, size=SIZE, device="cpu", precision="float32")


@pytest.fixture(scope="module")
def style(colorizer: ExemplarColorizer) -> ReferenceStyle:
    return colorizer.encode_reference(pan("coffee", 1)[0])


def test_films_are_steadier_than_their_single_frames(colorizer: ExemplarColorizer, style: ReferenceStyle) -> None:
    pictures = [Picture(pixels) for pixels in pan(frames=16, size=(64, 96), step=1)]
    steady = SteadyColorizer(colorizer)
    single = [skimage.color.rgb2lab(colorizer.colorize(picture, style).pixels) for picture in pictures]
    film = [skimage.color.rgb2lab(steady(picture, style).pixels) for picture in pictures]
    assert steady.scenes == 1
    assert flicker([lab[..., 1:] for lab in film], 1) < flicker([lab[..., 1:] for lab in single], 1) / 4
    # and of the same lightness and, over time, of about the same colours
    assert np.abs(np.array(film)[..., 0] - np.array(single)[..., 0]).mean() < 0.3
    means = [np.mean(labs, axis=0)[..., 1:] for labs in (film, single)]
    assert np.abs(means[0] - means[1]).mean() < np.abs(means[1]).mean() / 4


def colorize(
    colorizer: ExemplarColorizer, source: Path, target: Path, references: ReferenceTimes | None, reported: list[int] | None = None
) -> VideoSummary:
    with VideoReader(source) as film, VideoWriter(target, film, 0) as writer:
        return colorize_video(film, writer, colorizer, references, report=(reported if reported is not None else []).append)


def test_a_film_is_colorized_frame_for_frame(tmp_path: Path, colorizer: ExemplarColorizer, style: ReferenceStyle) -> None:
    source = make_film(tmp_path / "source.mp4", [*pan("astronaut", 5), *pan("chelsea", 5)], grey=True)
    reported: list[int] = []
    summary = colorize(colorizer, source, tmp_path / "target.mp4", ReferenceTimes([(0.0, style)]), reported)
    assert (summary.frames, summary.scenes, bool(summary.damage)) == (10, 2, False)
    assert reported == list(range(1, 11))
    found, expected = frames(tmp_path / "target.mp4"), frames(source)
    assert [time for time, _ in found] == [time for time, _ in expected]
    assert streams(tmp_path / "target.mp4") == streams(source)
    for (_, own), (_, other) in zip(found, expected, strict=True):
        lab, grey = skimage.color.rgb2lab(own), skimage.color.rgb2lab(other)
        assert np.abs(lab[..., 0] - grey[..., 0]).mean() < 1.5
        assert np.abs(lab[..., 1:]).mean() > 3 * np.abs(grey[..., 1:]).mean() + 2


def test_references_change_at_their_times(tmp_path: Path, colorizer: ExemplarColorizer, style: ReferenceStyle) -> None:
    source = make_film(tmp_path / "source.mp4", pan(frames=12, step=1), grey=True, sound=None)
    other = colorizer.encode_reference(pan("chelsea", 1)[0])
    both = ReferenceTimes([(0.0, style), (6 / RATE, other)])
    films = {}
    for name, references in (("first", ReferenceTimes([(0.0, style)])), ("both", both)):
        summary = colorize(colorizer, source, tmp_path / f"{name}.mp4", references)
        films[name] = np.array([pixels for _, pixels in frames(tmp_path / f"{name}.mp4")]).astype(int)
        assert summary.scenes == {"first": 1, "both": 2}[name]
    differences = np.abs(films["first"] - films["both"]).mean(axis=(1, 2, 3))
    assert differences[:6].max() < differences[6:].min() / 10


def test_a_reference_for_after_the_end_warns(
    tmp_path: Path, colorizer: ExemplarColorizer, style: ReferenceStyle, caplog: pytest.LogCaptureFixture
) -> None:
    source = make_film(tmp_path / "source.mp4", pan(frames=3), grey=True, sound=None)
    colorize(colorizer, source, tmp_path / "target.mp4", ReferenceTimes([(0.0, style), (2 / RATE, style), (0.1, style)]))
    assert [record.getMessage() for record in caplog.records] == [
        f"{source}: the reference for 0.1 s on is never shown, the last frame is at 0.08 s"
    ]


def test_a_film_without_a_reference_is_precolorized(tmp_path: Path, colorizer: ExemplarColorizer) -> None:
    source = make_film(tmp_path / "source.mp4", pan(frames=3), grey=True, sound=None)
    assert colorize(colorizer, source, tmp_path / "target.mp4", None).frames == 3
    assert np.ptp(frames(tmp_path / "target.mp4")[0][1], axis=2).mean() > 1
