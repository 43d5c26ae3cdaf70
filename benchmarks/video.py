"""How steady the colours of films are, and how fast they come: `python -m benchmarks.video [CHECKPOINT]`.

1. Flicker on panned photographs, whose motion is known: the mean absolute difference of ab between consecutive frames, after the pan is
   undone, of frames colorized each as a picture of its own, with the hints' mask shared, and steady. The last column compares steady with
   single frames by the mean colours over time: what steadiness costs in colour.
2. Frames a second of the steps of a film.

Without a checkpoint the networks have full width and random weights, with an output as strong as colours are. Where frames are nearly grey,
the 8 bits of their pixels are most of what is measured, above all between pixels.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import skimage.color
import skimage.data
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from stylecolor.colorizer import ColorizationNet
from stylecolor.encoder import VGG19Encoder
from stylecolor.exemplar_colorizer import ExemplarColorizer
from stylecolor.hints import empty_hints
from stylecolor.pictures.files import Picture
from stylecolor.pipeline import ExemplarNetworks
from stylecolor.pretrained import read_networks
from stylecolor.transfer import TransferNet
from stylecolor.video.film import SteadyColorizer
from stylecolor.video.steadiness import MotionTracker

FRAMES = 24
PANS = ((2, 1), (2.6, 1.2))
"""px a frame, to the right and down."""
SCENES = ("astronaut", "chelsea", "rocket")
REFERENCE = "coffee"
CHROMA = 15.0
"""Mean absolute a and b that random networks are made to answer with."""
MARGIN = 12
"""px at the border that are not compared: what comes into the picture has nothing before it."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint", nargs="?", type=Path)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--frames", type=int, default=FRAMES)
    arguments = parser.parse_args()
    colorizer = load(arguments.checkpoint, arguments.size)
    console = Console()
    console.print(
        f"{colorizer.device}, {colorizer.precision}, {torch.get_num_threads()} threads, {arguments.size} px, {arguments.frames} frames"
    )
    console.print(flicker_table(colorizer, arguments.frames))
    console.print(speed_table(colorizer))


def load(checkpoint: Path | None, size: int) -> ExemplarColorizer:
    """The networks of a checkpoint or of a directory that they were saved in, or random ones."""
    if checkpoint is not None:
        return ExemplarColorizer(read_networks(checkpoint), size=size)
    torch.manual_seed(0)
    transfer = TransferNet(
        VGG19Encoder("random"), "adain", ["encoder", "skips", "decoder"], skips="pre_pool", norm="none", padding="reflect"
    )
    colorization = ColorizationNet().eval()
    last = [module for module in colorization.modules() if isinstance(module, nn.Conv2d)][-1]
    with torch.no_grad():
        l = torch.from_numpy(skimage.color.rgb2lab(photograph(REFERENCE, 64))[None, None, :, :64, 0]).float()
        last.weight *= CHROMA / colorization(l, *empty_hints(l.expand(-1, 2, -1, -1))).abs().mean()
    return ExemplarColorizer(ExemplarNetworks(transfer, colorization), size=size)


def photograph(name: str, side: int) -> np.ndarray:
    """One of scikit-image's, its shorter side so long, sRGB of 8 bits."""
    pixels = getattr(skimage.data, name)()
    scale = side / min(pixels.shape[:2])
    # blurred a little, as a picture between pixels has to be
    return cv2.GaussianBlur(cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), (0, 0), 0.7)


def pan(pixels: np.ndarray, step: tuple[float, float], side: int, frames: int) -> Iterator[Picture]:
    """A square window that moves over a photograph."""
    for index in range(frames):
        yield Picture(_shift(pixels, (index * step[0], index * step[1]), side))


def flicker(frames: Sequence[np.ndarray], step: tuple[float, float]) -> float:
    """Mean absolute difference of ab between consecutive frames, sRGB of 8 bits, after the pan is undone."""
    maps = [skimage.color.rgb2lab(frame)[..., 1:].astype(np.float32) for frame in frames]
    inner = slice(MARGIN, -MARGIN)
    return float(np.mean([np.abs(_shift(before, step, len(before)) - after)[inner, inner].mean() for before, after in pairwise(maps)]))


def _shift(pixels: np.ndarray, by: tuple[float, float], side: int) -> np.ndarray:
    matrix = np.array([[1, 0, by[0]], [0, 1, by[1]]], np.float32)
    return cv2.warpAffine(pixels, matrix, (side, side), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE)


class SharedMaskColorizer(SteadyColorizer):
    """Steady only in its hints' mask."""

    def __init__(self, colorizer: ExemplarColorizer) -> None:
        super().__init__(colorizer)
        self._filter.smooth = lambda ab, motion: ab


def flicker_table(colorizer: ExemplarColorizer, frames: int) -> Table:
    """Part 1."""
    table = Table("photograph", "px a frame", "single frames, Lab units", "shared mask", "steady", "steady against single, mean colour")
    style = colorizer.encode_reference(Picture(photograph(REFERENCE, colorizer.size)))
    for name in SCENES:
        for step in PANS:
            side = colorizer.size
            pictures = list(pan(photograph(name, side + round(max(step) * frames)), step, side, frames))
            shared, steady = SharedMaskColorizer(colorizer), SteadyColorizer(colorizer)
            films = {
                "single": [colorizer.colorize(picture, style).pixels for picture in pictures],
                "shared": [shared(picture, style).pixels for picture in pictures],
                "steady": [steady(picture, style).pixels for picture in pictures],
            }
            rates = {kind: flicker(film, step) for kind, film in films.items()}
            means = [np.mean([skimage.color.rgb2lab(frame)[..., 1:] for frame in films[kind]], axis=0) for kind in ("single", "steady")]
            shares = [f"{rates[kind]:.3f} ({rates[kind] / rates['single']:.2f})" for kind in ("shared", "steady")]
            table.add_row(name, f"{step[0]}, {step[1]}", f"{rates['single']:.3f}", *shares, f"{np.abs(means[0] - means[1]).mean():.2f}")
    return table


def speed_table(colorizer: ExemplarColorizer) -> Table:
    """Part 2."""
    table = Table("frames a second", *(f"{height}p" for height in (360, 720, 1080)))
    style = colorizer.encode_reference(Picture(photograph(REFERENCE, colorizer.size)))
    rows: dict[str, list[str]] = {"motion and filter alone": [], "whole, without decoding and encoding": []}
    for height in (360, 720, 1080):
        picture = Picture(np.ascontiguousarray(cv2.resize(photograph(SCENES[0], height), (height * 16 // 9, height))))
        l = colorizer.working_l(picture)[0, 0].cpu().numpy()
        tracker, steady = MotionTracker(), SteadyColorizer(colorizer)
        rows["motion and filter alone"].append(f"{_rate(lambda tracker=tracker, l=l: tracker.advance(l)):.1f}")
        rows["whole, without decoding and encoding"].append(f"{_rate(lambda s=steady, p=picture: s(p, style)):.2f}")
    for name, cells in rows.items():
        table.add_row(name, *cells)
    return table


def _rate(function: object, calls: int = 4) -> float:
    assert callable(function)
    function()
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return calls / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
