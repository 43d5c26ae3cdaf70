"""What a user may have: grey photographs, a colour one and a clip, made from the sample photographs to try the command line on."""

from pathlib import Path

import av
import numpy as np
from PIL import Image

from datamodules.sample import SCENES, load_scene

REFERENCE = "coffee"
CLIP_SCENE = "chelsea"
CLIP_SIZE = (320, 240)
CLIP_FRAMES = 36
FRAMES_A_SECOND = 12
PAN = 3
"""px a frame."""


def make_pictures(directory: Path) -> tuple[Path, Path, Path]:
    """Write a folder of grey photographs of scenes that training never saw, a reference, and a clip that pans over one of them.

    Returns:
        The folder, the reference and the clip.
    """
    gray = directory / "gray"
    gray.mkdir(parents=True)
    for scene in SCENES["val"]:
        load_scene(scene).convert("L").save(gray / f"{scene}.jpg", quality=95)
    load_scene(REFERENCE).save(directory / "reference.jpg", quality=95)
    write_clip(load_scene(CLIP_SCENE).convert("L"), directory / "clip.mp4")
    return gray, directory / "reference.jpg", directory / "clip.mp4"


def write_clip(photograph: Image.Image, path: Path) -> None:
    """A window that moves over a grey photograph."""
    width, height = CLIP_SIZE
    with av.open(str(path), "w") as film:
        stream = film.add_stream("libx264", rate=FRAMES_A_SECOND, options={"crf": "16"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(CLIP_FRAMES):
            left, top = PAN * number, PAN * number // 4
            window = np.asarray(photograph.crop((left, top, left + width, top + height)))
            film.mux(stream.encode(av.VideoFrame.from_ndarray(window, format="gray")))
        film.mux(stream.encode(None))
