"""COCO annotation files as compact arrays, kept in the cache: pycocotools' own objects take gigabytes at COCO's full size."""

import contextlib
import hashlib
import io
import json
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from pycocotools import mask as masks
from pycocotools.coco import COCO
from scipy.sparse import coo_array, csr_array

from datamodules.cache_directory import build_once, explain_cache_errors
from datamodules.labels import VOID, file_stamp

FORMAT = 1
BAD_ENTRIES_LIMIT = 0.01
"""Share of an annotation file's entries that may be unusable."""
_FAR_OUTSIDE = 100
"""Picture sizes."""


@dataclass
class Annotations:
    """An annotation file: file names, scenes (our own optional addition, else the picture's id) and, for each picture, how many
    instances of each category it shows, sparse. `skipped` are (what, why) pairs of entries that cannot be used."""

    file_names: np.ndarray
    scenes: np.ndarray
    counts: csr_array
    category_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    skipped: list[tuple[str, str]]


def read_annotations(path: Path, cache: Path) -> Annotations:
    """Read an annotation file through pycocotools, or what an earlier run has made of it.

    Raises:
        ValueError: for a damaged file, an id that stands for two pictures, and too many unusable entries.
    """
    directory = convert_once(path, cache, _convert_pictures)
    with np.load(directory / "pictures.npz") as arrays:
        found = {name: arrays[name] for name in arrays.files}
    texts = json.loads((directory / "texts.json").read_text())
    return Annotations(
        file_names=found["file_names"],
        scenes=found["scenes"],
        counts=csr_array((found["counts"], found["columns"], found["row_ends"]), shape=(len(found["scenes"]), len(texts["category_ids"]))),
        category_names=tuple(texts["category_names"]),
        category_ids=tuple(texts["category_ids"]),
        skipped=[(what, why) for what, why in texts["skipped"]],
    )


@dataclass
class InstanceMaps:
    """Label maps painted from COCO's instances: category numbers, smaller instances on top, crowd regions below all others.

    Args:
        file: whose instances they are.
        directory: of the run-length encodings in the cache.
        rows: of the pictures in the annotation file.
    """

    file: Path
    directory: Path
    rows: np.ndarray

    def __getitem__(self, chosen: np.ndarray) -> "InstanceMaps":
        return replace(self, rows=self.rows[chosen])

    def stamp(self, index: int) -> str:
        """See `LabelMaps`."""
        return self.directory.name

    def read(self, index: int) -> UInt8[np.ndarray, "height width"]:
        """See `LabelMaps`."""
        arrays = self._arrays()
        row = self.rows[index]
        height, width = arrays["sizes"][row]
        labels = np.full((height, width), VOID, dtype=np.uint8)
        for instance in range(arrays["first"][row], arrays["first"][row + 1]):
            code = arrays["codes"][arrays["code_ends"][instance] : arrays["code_ends"][instance + 1]].tobytes()
            shape = masks.decode({"size": [int(height), int(width)], "counts": code})  # pyright: ignore[reportArgumentType]
            labels[shape.astype(bool)] = arrays["categories"][instance]
        return labels

    def _arrays(self) -> dict[str, np.ndarray]:
        found = self.__dict__.get("_opened")
        if found is None:
            names = ("sizes", "first", "categories", "code_ends", "codes")
            found = self.__dict__["_opened"] = {name: np.load(self.directory / f"{name}.npy", mmap_mode="r") for name in names}
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_opened"}


def read_instance_maps(path: Path, cache: Path) -> tuple[InstanceMaps, list[tuple[str, str]]]:
    """The label maps of all pictures of an annotation file, in the order of `read_annotations`, and the instances that were skipped."""
    directory = convert_once(path, cache, _convert_instances)
    rows = np.arange(len(np.load(directory / "sizes.npy", mmap_mode="r")))
    skipped = [(what, why) for what, why in json.loads((directory / "texts.json").read_text())["skipped"]]
    return InstanceMaps(path, directory, rows), skipped


def convert_once(path: Path, cache: Path, convert: Callable[[Path, Path], None]) -> Path:
    """The directory of the cache with what `convert` has made of an annotation file; it is called in a process of its own."""
    digest = hashlib.sha256(f"{FORMAT}/{convert.__name__}/{path.resolve()}/{file_stamp(path)}".encode()).hexdigest()[:16]
    directory = cache / "annotations" / digest

    def build(aside: Path) -> None:
        # in a process of its own, which gives all its memory back
        with ProcessPoolExecutor(1) as pool:
            pool.submit(convert, path, aside).result()

    with explain_cache_errors(cache):
        build_once(directory, build)
    return directory


def _load(path: Path) -> tuple[COCO, list[dict[str, Any]], list[tuple[str, str]]]:
    """The file, its usable pictures in the order of their names, and what was skipped."""
    try:
        # pycocotools prints its progress
        with contextlib.redirect_stdout(io.StringIO()):
            coco = COCO(str(path))
        listed = coco.dataset["images"]
        if len(coco.imgs) < len(listed):
            seen: set[int] = set()
            twice = next(image["id"] for image in listed if image["id"] in seen or seen.add(image["id"]))
            raise ValueError(f"{path}: the picture id {twice} stands for two pictures")
        images, skipped, names = [], [], set()
        for image in sorted(coco.imgs.values(), key=lambda image: image["file_name"]):
            name = image["file_name"]
            inside = Path(name)
            if inside.is_absolute() or ".." in inside.parts or not inside.name:
                skipped.append((name, "its file_name leads out of the data set"))
            elif name in names:
                skipped.append((name, "is listed twice"))
            else:
                names.add(name)
                images.append(image)
        for category in coco.cats.values():
            category["name"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AssertionError, AttributeError) as error:
        raise ValueError(f"{path} is no COCO annotation file or is damaged ({error!r})") from error
    _check_share(path, len(skipped), len(listed), "pictures", skipped)
    return coco, images, skipped


def _check_share(path: Path, bad: int, whole: int, what: str, skipped: list[tuple[str, str]]) -> None:
    if bad > BAD_ENTRIES_LIMIT * whole:
        examples = "; ".join(f"{name}: {why}" for name, why in skipped[:3])
        raise ValueError(f"{path}: {bad} of its {whole} {what} cannot be used, more than {BAD_ENTRIES_LIMIT:.0%}: {examples}")


def _convert_pictures(path: Path, directory: Path) -> None:
    coco, images, skipped = _load(path)
    names = {number: category["name"] for number, category in coco.cats.items()}
    columns = {number: column for column, number in enumerate(names)}
    rows = {image["id"]: row for row, image in enumerate(images)}
    shown, bad = [], []
    for annotation in _annotations(coco, path):
        row, column = rows.get(annotation.get("image_id", -1)), columns.get(annotation.get("category_id", -1))
        if row is not None and column is not None:
            shown.append((row, column))
        elif annotation.get("image_id") not in coco.imgs:
            bad.append((f"annotation {annotation.get('id')}", f"of a picture {annotation.get('image_id')} that is not listed"))
        elif column is None:
            bad.append((f"annotation {annotation.get('id')}", f"of a category {annotation.get('category_id')} that is not listed"))
    _check_share(path, len(bad), len(coco.dataset.get("annotations", [])), "annotations", bad)
    pairs = np.array(shown, dtype=np.int64).reshape(-1, 2)
    # equal (row, column) pairs are added up
    counts = csr_array(coo_array((np.ones(len(pairs), dtype=np.int32), pairs.T), shape=(len(images), len(names))))
    counts.sum_duplicates()
    np.savez(
        directory / "pictures.npz",
        file_names=np.array([image["file_name"] for image in images], dtype=str),
        scenes=np.array([str(image.get("scene", image["id"])) for image in images], dtype=str),
        counts=counts.data,
        columns=counts.indices,
        row_ends=counts.indptr,
    )
    texts = {"category_names": list(names.values()), "category_ids": list(names), "skipped": skipped + bad}
    (directory / "texts.json").write_text(json.dumps(texts))


def _annotations(coco: COCO, path: Path) -> Iterator[dict[str, Any]]:
    annotations = coco.dataset.get("annotations", [])
    if len(coco.anns) < len(annotations):
        seen: set[int] = set()
        twice = next(item["id"] for item in annotations if item["id"] in seen or seen.add(item["id"]))
        raise ValueError(f"{path}: the annotation id {twice} stands for two annotations")
    return iter(annotations)  # pyright: ignore[reportReturnType]


def _convert_instances(path: Path, directory: Path) -> None:
    coco, images, _ = _load(path)
    sizes, first, categories, code_ends, codes, skipped = [], [0], [], [0], bytearray(), []
    for image in images:
        height, width = image.get("height"), image.get("width")
        if not (isinstance(height, int) and isinstance(width, int) and height > 0 and width > 0):
            raise ValueError(
                f"{path}: the picture {image['file_name']} has no size, which label maps need (height={height}, width={width})"
            )
        sizes.append((height, width))
        instances = [
            item for item in coco.imgToAnns.get(image["id"], []) if item.get("category_id") in coco.cats and "segmentation" in item
        ]
        # painted in this order: crowds, then the large, then the small
        for item in sorted(instances, key=lambda item: (not item.get("iscrowd", 0), -item.get("area", 0))):
            try:
                code = _encode(item["segmentation"], height, width)
            except ValueError as error:
                skipped.append((f"{image['file_name']}, annotation {item['id']}", str(error)))
                continue
            categories.append(item["category_id"])
            codes += code
            code_ends.append(len(codes))
        first.append(len(categories))
    if categories and not (min(categories) >= 0 and max(categories) < VOID):
        raise ValueError(f"{path}: category ids must be below {VOID} for label maps, one is {max(categories)}")
    _check_share(path, len(skipped), len(coco.anns), "instances", skipped)
    arrays = {
        "sizes": np.array(sizes, dtype=np.int32).reshape(-1, 2),
        "first": np.array(first, dtype=np.int64),
        "categories": np.array(categories, dtype=np.uint8),
        "code_ends": np.array(code_ends, dtype=np.int64),
        "codes": np.frombuffer(bytes(codes), dtype=np.uint8),
    }
    for name, values in arrays.items():
        np.save(directory / f"{name}.npy", values)
    (directory / "texts.json").write_text(json.dumps({"skipped": skipped}))


def _encode(segmentation: Any, height: int, width: int) -> bytes:
    """The run-length code of polygons (what is outside the picture is cut off), or of a code that COCO gives itself.

    Raises:
        ValueError: for a code of another size, and for what is no segmentation.
    """
    if isinstance(segmentation, list):
        if not all(isinstance(polygon, list) and all(map(_is_number, polygon)) for polygon in segmentation):
            raise ValueError("its polygons are no lists of numbers")
        reach = _FAR_OUTSIDE * max(height, width)
        if any(abs(value) > reach for polygon in segmentation for value in polygon):
            # pycocotools walks along every edge, and crashes on the longest
            raise ValueError("its polygons lead far outside the picture")
        polygons = [polygon for polygon in segmentation if len(polygon) >= 6]
        if not polygons:
            raise ValueError("has no polygon of three corners or more")
        return masks.merge(masks.frPyObjects(polygons, height, width))["counts"]  # pyright: ignore[reportReturnType]
    if not isinstance(segmentation, dict) or list(segmentation.get("size", [])) != [height, width]:
        size = segmentation.get("size") if isinstance(segmentation, dict) else None
        raise ValueError(f"its run-length code has the size {size}, the picture [{height}, {width}]")
    counts = segmentation.get("counts")
    if not isinstance(counts, str) and not (isinstance(counts, list) and all(isinstance(count, int) and count >= 0 for count in counts)):
        raise ValueError("its run-length code has no counts")
    if isinstance(counts, str):
        code = counts.encode()
        _check_pixels(sum(_run_lengths(code)), height, width)
        return code
    _check_pixels(sum(counts), height, width)
    return masks.frPyObjects(segmentation, height, width)["counts"]  # pyright: ignore[reportArgumentType, reportCallIssue]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _check_pixels(found: int, height: int, width: int) -> None:
    if found != height * width:
        raise ValueError(f"its run-length code has {found} pixels, the picture {height * width}")


def _run_lengths(code: bytes) -> list[int]:
    """The runs of COCO's compressed code, which pycocotools decodes without looking at their sum: five bits a character, from the third
    run on as the difference to the one before the last."""
    runs: list[int] = []
    value, shift = 0, 0
    for character in code:
        bits = character - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value, shift = 0, 0
    return runs
