"""Films in the colours of photographs: each frame colorized, and the colours kept steady, see `stylecolor.video.steadiness`."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from stylecolor.hints import target_keys
from stylecolor.pictures.files import Picture
from stylecolor.reference_style import ReferenceStyle
from stylecolor.video.reading import Damage, Frame, VideoReader
from stylecolor.video.reference_times import ReferenceTimes
from stylecolor.video.steadiness import MotionTracker, TemporalFilter
from stylecolor.video.writing import VideoWriter

log = logging.getLogger(__name__)


class FrameColorizer(Protocol):
    """What a film needs of `stylecolor.exemplar_colorizer.ExemplarColorizer`, whose methods these are."""

    def working_l(self, picture: Picture) -> Float[Tensor, "1 1 height width"]:
        """L at the networks' size."""
        ...

    def predict_ab(
        self,
        l: Float[Tensor, "batch 1 height width"],
        style: ReferenceStyle | None,
        *,
        keys: Int64[Tensor, " batch"] | None = None,
        strength: float = 1.0,
    ) -> Float[Tensor, "batch 2 height width"]:
        """ab in Lab units; the keys choose the hints."""
        ...

    def paint(
        self, picture: Picture, l: Float[Tensor, "1 1 height width"], ab: Float[Tensor, "1 2 height width"], *, saturation: float = 1.0
    ) -> Picture:
        """The picture at its own size, with its own L."""
        ...


class SteadyColorizer:
    """Colorizes the frames of one film, in their order.

    All frames of a scene share the random mask of their hints, which is that of its first frame, and their ab maps are filtered along the
    motion.

    Args:
        colorizer: the networks.
        strength: share of the reference's colours, in [0, 1], see `ExemplarColorizer.colorize`.
        saturation: factor on all colours.
    """

    def __init__(self, colorizer: FrameColorizer, strength: float = 1.0, saturation: float = 1.0) -> None:
        self.scenes = 0
        self._colorizer = colorizer
        self._strength = strength
        self._saturation = saturation
        self._tracker = MotionTracker()
        self._filter = TemporalFilter()
        self._section: int | None = None
        self._keys: Tensor | None = None

    @torch.inference_mode()
    def __call__(self, picture: Picture, style: ReferenceStyle | None, section: int = 0) -> Picture:
        """The next frame, all of one size, in the colours of a style; another section than before begins a new scene, as a cut does."""
        l = self._colorizer.working_l(picture)
        motion = self._tracker.advance(l[0, 0].cpu().numpy())
        if motion is None or section != self._section:
            motion = None
            self._section = section
            self._keys = target_keys(l)
            self.scenes += 1
        ab = self._colorizer.predict_ab(l, style, keys=self._keys, strength=self._strength)
        steady = self._filter.smooth(ab[0].permute(1, 2, 0).cpu().numpy(), motion)
        ab = torch.from_numpy(steady).permute(2, 0, 1).unsqueeze(0).to(ab.device)
        return self._colorizer.paint(picture, l, ab, saturation=self._saturation)


@dataclass(frozen=True)
class VideoSummary:
    """What became of a film."""

    frames: int
    scenes: int
    damage: Damage


def colorize_video(
    film: VideoReader,
    writer: VideoWriter,
    colorizer: FrameColorizer,
    references: ReferenceTimes | None,
    *,
    strength: float = 1.0,
    saturation: float = 1.0,
    report: Callable[[int], object] = lambda frames: None,
) -> VideoSummary:
    """Colorize a film, frame by frame, in memory that does not grow with its length.

    Args:
        film: is read to its end.
        writer: gets a frame for each of the film's, at its time, and the packets of the other streams.
        colorizer: the networks.
        references: None for the colours that the colorization network expects. Those for after the film's end warn.
        strength: share of the reference's colours, in [0, 1], see `ExemplarColorizer.colorize`.
        saturation: factor on all colours.
        report: called with the number of frames done.

    Raises:
        OSError: when it cannot be written.
    """
    steady = SteadyColorizer(colorizer, strength, saturation)
    frames, time = 0, 0.0
    for part in film.parts():
        if not isinstance(part, Frame):
            writer.copy(part)
            continue
        time = film.seconds(part)
        style, section = (None, 0) if references is None else (references.style(time), references.section(time))
        writer.write(part._replace(pixels=steady(Picture(part.pixels), style, section).pixels))
        frames += 1
        report(frames)
    for start in references.starts if references is not None else ():
        if start > time:
            log.warning("%s: the reference for %g s on is never shown, the last frame is at %.2f s", film.path, start, time)
    return VideoSummary(frames, steady.scenes, film.damage)
