"""Tiny data sets with the real ones' file names and formats. Run as a script to look at one: `python -m tests.data DIRECTORY`."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

CATEGORIES = {"cat": 17, "zebra": 24, "giraffe": 25, "snowboard": 36, "surfboard": 42}
"""COCO's own names and ids; no picture shows a cat."""
SHOWN = ("giraffe", "zebra", "snowboard", "surfboard")
GRAY_PICTURE, CMYK_PICTURE, TURNED_PICTURE = 1, 2, 3
"""Positions, in the train split, of the grey JPEG, the CMYK JPEG and the one that EXIF orientation 6 turns."""

# dark, middle and light colour of each palette, 8-bit sRGB
PALETTES = (
    ((38, 66, 22), (122, 148, 61), (210, 224, 170)),  # meadow
    ((74, 40, 16), (190, 122, 52), (246, 216, 152)),  # savanna
    ((16, 38, 92), (58, 128, 202), (206, 230, 250)),  # sea
    ((70, 12, 40), (198, 60, 74), (250, 196, 160)),  # sunset
)


def photograph(seed: int, palette: int, width: int = 96, height: int = 80) -> Image.Image:
    """Smooth, photograph-like content in the colours of a palette; equal arguments give equal pixels."""
    random = np.random.default_rng((seed, palette))
    rows, columns = np.mgrid[0:height, 0:width] / max(width, height)
    field = np.zeros((2, height, width))
    for octave in (1, 2, 4, 8):
        angle, phase = random.uniform(0, 2 * np.pi, (2, 2, 1, 1))
        field += np.sin(2 * np.pi * octave * (rows * np.sin(angle) + columns * np.cos(angle)) + phase) / octave
    light = (field[0] - field[0].min()) / np.ptp(field[0])
    tint = 0.15 * field[1] / np.abs(field[1]).max()
    colors = np.array(PALETTES[palette % len(PALETTES)])
    pixels = np.stack(
        [np.interp(light + shift * tint, (0, 0.5, 1), colors[:, channel]) for channel, shift in enumerate((1, 0, -1))], axis=-1
    )
    return Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))


@dataclass
class CocoPicture:
    """An entry of a COCO split; `mode` and `orientation` say how the JPEG is stored, `scene` is our own optional addition."""

    pixels: Image.Image
    categories: Sequence[str] = ()
    mode: str = "RGB"
    orientation: int | None = None
    scene: str | None = None

    def save(self, path: Path) -> None:
        """Write the JPEG; with orientation 6 the stored pixels are turned, and EXIF says how to turn them back."""
        exif = Image.Exif()
        pixels = self.pixels.convert(self.mode)
        if self.orientation == 6:
            pixels = pixels.transpose(Image.Transpose.ROTATE_90)
            exif[0x0112] = 6
        pixels.save(path, quality=95, exif=exif)


def write_coco_split(root: Path, split: str, pictures: Sequence[CocoPicture]) -> list[Path]:
    """Write `{split}2017/*.jpg` and `annotations/instances_{split}2017.json`; returns the pictures' paths in order."""
    directory = root / f"{split}2017"
    directory.mkdir(parents=True, exist_ok=True)
    (root / "annotations").mkdir(exist_ok=True)
    images, annotations, paths = [], [], []
    for number, picture in enumerate(pictures, start=1):
        name = f"{number:012d}.jpg"
        picture.save(directory / name)
        paths.append(directory / name)
        width, height = picture.pixels.size
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        if picture.scene is not None:
            images[-1]["scene"] = picture.scene
        for category in picture.categories:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": CATEGORIES[category],
                    "bbox": [0, 0, width, height],
                    "area": width * height,
                    "segmentation": [[0, 0, width, 0, width, height, 0, height]],
                    "iscrowd": 0,
                }
            )
    contents = {"images": images, "annotations": annotations, "categories": [{"id": i, "name": name} for name, i in CATEGORIES.items()]}
    (root / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(contents))
    return paths


def coco_pictures(split: str, count: int) -> list[CocoPicture]:
    """`count` pictures that show the four categories in turn, in palettes that change every second picture."""
    seed = ("train", "val", "test").index(split) * 1000
    pictures = [
        CocoPicture(photograph(seed + i, palette=i // 2, width=80 + 8 * (i % 6), height=64 + 8 * (i % 5)), [SHOWN[i % len(SHOWN)]])
        for i in range(count)
    ]
    if split == "train" and count > TURNED_PICTURE:
        pictures[GRAY_PICTURE].mode = "L"
        pictures[CMYK_PICTURE].mode = "CMYK"
        pictures[TURNED_PICTURE].orientation = 6
    return pictures


def make_coco(root: Path, train: int = 12, val: int = 6, test: int = 0) -> Path:
    """A COCO 2017 tree with so many annotated pictures a split; the train split has one more that shows no category."""
    for split, count in (("train", train), ("val", val), ("test", test)):
        if count:
            unannotated = [CocoPicture(photograph(999, palette=0))] if split == "train" else []
            write_coco_split(root, split, coco_pictures(split, count) + unannotated)
    return root


if __name__ == "__main__":
    print(make_coco(Path(sys.argv[1])))
