"""Tiny data sets with the real ones' file names and formats. Run as a script to look at one: `python -m tests.data DIRECTORY`."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as masks

CATEGORIES = {"cat": 17, "zebra": 24, "giraffe": 25, "snowboard": 36, "surfboard": 42}
"""COCO's own names and ids; no picture shows a cat."""
SHOWN = ("giraffe", "zebra", "snowboard", "surfboard")
CMYK_PICTURE, TURNED_PICTURE = 2, 3
"""Positions, in the train split, of the CMYK JPEG and of the one that EXIF orientation 6 turns."""
STREET_CLASSES = 11
"""Of CamVid; 11 itself is void."""

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


# how the upright picture is turned before it is stored, so that this EXIF orientation turns it back
_STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def save_turned(pixels: Image.Image, path: Path, orientation: int, **options: Any) -> None:
    """Write the pixels turned, with the EXIF orientation (1-8) that turns them back."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = pixels.transpose(_STORED[orientation]) if orientation in _STORED else pixels
    stored.save(path, exif=exif, **options)


def regions(seed: int, width: int, height: int, classes: Sequence[int]) -> np.ndarray:
    """A label map of a few regions: every pixel has the class of the nearest of 8 random points. uint8, (height, width)."""
    random = np.random.default_rng((seed, 7))
    points = random.uniform(0, 1, (8, 2)) * (height, width)
    rows, columns = np.mgrid[0:height, 0:width]
    nearest = ((rows[..., None] - points[:, 0]) ** 2 + (columns[..., None] - points[:, 1]) ** 2).argmin(axis=-1)
    return random.permutation(np.resize(np.array(classes, dtype=np.uint8), len(points)))[nearest]


def color_of(labels: np.ndarray) -> np.ndarray:
    """A colour for each label, all of them at least 64 steps apart in some channel for labels below 64: a picture that shows its labels."""
    labels = labels.astype(np.int64)
    return np.stack((labels % 4 * 85, labels // 4 % 4 * 85, labels // 16 % 4 * 85), axis=-1).astype(np.uint8)


@dataclass
class Instance:
    """An annotated object; `segmentation` as in COCO's files: polygons, or a run-length code."""

    category: str
    segmentation: Any
    area: float
    is_crowd: bool = False

    @classmethod
    def box(cls, category: str, left: int, top: int, right: int, bottom: int, is_crowd: bool = False) -> "Instance":
        """A rectangle of whole pixels."""
        corners = [left, top, right, top, right, bottom, left, bottom]
        return cls(category, [corners], abs((right - left) * (bottom - top)), is_crowd)


def run_lengths(mask: np.ndarray, compressed: bool = False) -> dict[str, Any]:
    """The run-length code of a mask: counts of zeros and ones in turn, column by column; or pycocotools' text of it."""
    if compressed:
        counts = masks.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
        return {"size": list(mask.shape), "counts": bytes(counts).decode()}  # pyright: ignore[reportArgumentType]
    values = np.concatenate(([0], mask.astype(np.int64).ravel(order="F")))
    changes = np.flatnonzero(np.diff(values))
    return {"size": list(mask.shape), "counts": np.diff(np.concatenate(([0], changes, [mask.size]))).tolist()}


@dataclass
class CocoPicture:
    """An entry of a COCO split; `mode` and `orientation` say how the JPEG is stored, `scene` is our own optional addition.

    Each of the `categories` becomes an instance that covers the whole picture, below those of `instances`.
    """

    pixels: Image.Image
    categories: Sequence[str] = ()
    mode: str = "RGB"
    orientation: int | None = None
    scene: str | None = None
    instances: Sequence[Instance] = ()

    def save(self, path: Path) -> None:
        """Write the JPEG, turned if there is an orientation, which is then in its EXIF."""
        save_turned(self.pixels.convert(self.mode), path, self.orientation or 1, quality=95)

    def annotated(self) -> list[Instance]:
        """All instances."""
        return [Instance.box(category, 0, 0, *self.pixels.size) for category in self.categories] + list(self.instances)


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
        for instance in picture.annotated():
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": CATEGORIES[instance.category],
                    "bbox": [0, 0, width, height],
                    "area": instance.area,
                    "segmentation": instance.segmentation,
                    "iscrowd": int(instance.is_crowd),
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
        pictures[CMYK_PICTURE].mode = "CMYK"
        pictures[TURNED_PICTURE].orientation = 6
    return pictures


def make_coco(root: Path, train: int = 12, val: int = 6, test: int = 0) -> Path:
    """A COCO 2017 tree with so many annotated pictures a split; the train split has two more: one of a surfboard in greys, which is left
    out as such, and one that shows no category."""
    for split, count in (("train", train), ("val", val), ("test", test)):
        if count:
            more = [CocoPicture(photograph(998, palette=1), ["surfboard"], mode="L"), CocoPicture(photograph(999, palette=0))]
            write_coco_split(root, split, coco_pictures(split, count) + (more if split == "train" else []))
    return root


def write_coco_stuff(root: Path, split: str, maps: Sequence[np.ndarray]) -> list[Path]:
    """Write `annotations/stuff_{split}2017_pixelmaps/*.png` for the first pictures: category numbers as palette indices, 0 is void."""
    directory = root / "annotations" / f"stuff_{split}2017_pixelmaps"
    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / f"{number:012d}.png" for number in range(1, len(maps) + 1)]
    for path, numbers in zip(paths, maps, strict=True):
        picture = Image.fromarray(numbers.astype(np.uint8)).convert("P")
        picture.putdata(numbers.ravel().tolist())
        picture.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
        picture.save(path)
    return paths


def write_coco_panoptic(root: Path, split: str, maps: Sequence[np.ndarray]) -> list[Path]:
    """Write `annotations/panoptic_{split}2017/*.png` and its JSON file for label maps of category numbers (0 is void).

    Every category of a picture is a segment of its own, whose number needs all three bytes of a colour.
    """
    directory = root / "annotations" / f"panoptic_{split}2017"
    directory.mkdir(parents=True, exist_ok=True)
    images, annotations, paths = [], [], []
    for number, categories in enumerate(maps, start=1):
        segments = np.where(categories > 0, 3_000_017 + 70_001 * categories.astype(np.int64) + number, 0)
        colors = np.stack((segments % 256, segments // 256 % 256, segments // 65536), axis=-1).astype(np.uint8)
        paths.append(directory / f"{number:012d}.png")
        Image.fromarray(colors).save(paths[-1])
        height, width = categories.shape
        images.append({"id": number, "file_name": f"{number:012d}.jpg", "width": width, "height": height})
        found = [
            {
                "id": int(segment),
                "category_id": int(categories[segments == segment][0]),
                "area": int((segments == segment).sum()),
                "iscrowd": 0,
            }
            for segment in np.unique(segments[segments > 0])
        ]
        annotations.append({"image_id": number, "file_name": paths[-1].name, "segments_info": found})
    contents = {"images": images, "annotations": annotations, "categories": []}
    directory.with_suffix(".json").write_text(json.dumps(contents))
    return paths


def make_camvid(root: Path, train: int = 6, val: int = 3, test: int = 3) -> Path:
    """A CamVid tree of frames that show their labels, see `color_of`; each has void pixels, whose label is 11."""
    frame = 0
    for split, count in (("train", train), ("val", val), ("test", test)):
        for directory in (split, f"{split}annot"):
            (root / directory).mkdir(parents=True, exist_ok=True)
        for _ in range(count):
            frame += 1
            labels = regions(frame, 60, 48, range(STREET_CLASSES))
            labels[:6, :10] = STREET_CLASSES
            Image.fromarray(color_of(labels)).save(root / split / f"0001TP_{6690 + 30 * frame:06d}.png")
            Image.fromarray(labels).save(root / f"{split}annot" / f"0001TP_{6690 + 30 * frame:06d}.png")
    return root


SYNSETS = ("n01440764", "n02391049", "n04146614")


def make_imagenet(root: Path, train: int = 4, val: int = 2) -> Path:
    """An ImageFolder tree: `{train,val}/<synset>/*.JPEG`, so many pictures of each of three synsets."""
    for number, synset in enumerate(SYNSETS):
        for split, count in (("train", train), ("val", val)):
            (root / split / synset).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                name = f"{synset}_{10026 + i}.JPEG" if split == "train" else f"ILSVRC2012_val_{293 + 10 * number + i:08d}.JPEG"
                photograph(3000 * number + i + 50 * (split == "val"), number).save(root / split / synset / name, quality=95)
    return root


FOLDER_FILES = ("a.jpg", "b.JPEG", "c.png", "deep/d.webp", "deep/er/e.bmp", "deep/er/f.tif", "g.gif", "other/a.jpg")
"""The pictures of `make_folder`."""


def make_folder(root: Path, pictures: int = 0) -> Path:
    """A directory of pictures in many formats and depths, with other files and hidden ones; `pictures` more JPEGs of numbers."""
    for number, name in enumerate((*FOLDER_FILES, *(f"many/{number:04d}.jpg" for number in range(pictures)))):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        photograph(5000 + number, number, 56 + 4 * (number % 5), 48).save(path, quality=95)
    for name in (".hidden.jpg", ".thumbnails/a.jpg", "deep/.git/b.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        photograph(1, 1).save(root / name)
    (root / "notes.txt").write_text("no picture")
    (root / "deep" / "picture.jpg.part").write_bytes(b"no picture")
    return root


if __name__ == "__main__":
    for make in (make_coco, make_camvid, make_imagenet, make_folder):
        print(make(Path(sys.argv[1]) / make.__name__.removeprefix("make_")))
