"""Pictures decoded and resized once, kept as uint8 in memory-mapped files.

A cache is a directory of shards that never change: `<name>.pixels`, the rows of the pictures one after the other, and
`<name>.safetensors`, what is known of each. A shard is written aside and renamed, its table last, so that an interrupted build leaves
whole shards and nothing else; what they hold is found by a key made of path, size and time, so a changed picture is read again and the
others are not, and a subset uses what the whole set has prepared.
"""

import errno
import hashlib
import json
import logging
import math
import os
import shutil
import sys
import uuid
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from filelock import FileLock, Timeout
from jaxtyping import Bool, Float16, Float32, Int32, Int64, UInt8
from rich.console import Console
from rich.progress import Progress
from safetensors import safe_open
from safetensors.numpy import save

from datamodules.cache_directory import explain_cache_errors
from datamodules.config import DataConfig
from datamodules.facts import measure
from datamodules.labels import file_stamp
from datamodules.pictures import READ_ERRORS, Pictures, read_picture
from datamodules.workers import start_worker
from stylecolor.cache_directory import cache_directory
from stylecolor.palette import DESCRIPTOR_SIZE
from stylecolor.randomness import make_key

FORMAT = 1
_COLUMNS = {
    "key": np.int64,
    "good": np.uint8,
    "height": np.int32,
    "width": np.int32,
    "offset": np.int64,
    "color_range": np.float32,
    "descriptor": np.float16,
    "thumbnail": np.uint8,
}
"""What a shard's table holds of each picture; the last three are its `Facts`."""
_NOTHING = np.zeros((8, 8, 3), dtype=np.uint8)
"""Stands for a picture that could not be read."""
_SHARD_PICTURES = 1024
_OPEN_SHARDS = 256
"""Maps that a process holds: each takes a file descriptor, of which many systems allow 1024."""
_IN_THIS_PROCESS = 64
"""So few pictures are prepared without starting other processes."""
_USUAL_ASPECT = 1.45
"""Longer side over shorter side of photographs, on average and with some reserve."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Form:
    """What decides how a picture is prepared; equal pictures in equal form have equal bytes."""

    size: int
    resize: str
    labels: str
    keep_pixels: bool

    @property
    def bytes_per_pixel(self) -> int:
        """Red, green, blue and perhaps a label."""
        return 3 if self.labels == "none" else 4


@dataclass
class Prepared:
    """The pictures of a list in prepared form, row by row as in the list.

    `readable` says which could be read, `problems` what was wrong with the others; the other arrays hold nothing in those rows.
    """

    pictures: Pictures
    form: Form
    keys: Int64[np.ndarray, " pictures"]
    readable: Bool[np.ndarray, " pictures"]
    problems: dict[str, str]
    heights: Int32[np.ndarray, " pictures"]
    widths: Int32[np.ndarray, " pictures"]
    color_ranges: Float32[np.ndarray, " pictures"]
    thumbnails: UInt8[np.ndarray, "pictures values"]
    _shards: list[Path]
    _shard: np.ndarray
    _row: np.ndarray
    _offset: np.ndarray

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, chosen: np.ndarray) -> "Prepared":
        arrays = ("keys", "readable", "heights", "widths", "color_ranges", "thumbnails", "_shard", "_row", "_offset")
        kept = {name: getattr(self, name)[chosen] for name in arrays}
        return Prepared(pictures=self.pictures[chosen], form=self.form, problems=self.problems, _shards=self._shards, **kept)

    def read(self, index: int) -> tuple[UInt8[np.ndarray, "height width 3"], UInt8[np.ndarray, "height width"] | None]:
        """The resized, uncropped picture and its label map; from the cache, or decoded anew where `data.cache=false`.

        Raises:
            ValueError: when the picture cannot be read any more.
        """
        if not self.form.keep_pixels:
            try:
                return _read(self.pictures, index, self.form)
            except READ_ERRORS as error:
                path = self.pictures.path(index)
                raise ValueError(f"data.root: {path} could be read before and cannot be read now ({error})") from error
        height, width = int(self.heights[index]), int(self.widths[index])
        start, count = int(self._offset[index]), height * width
        stored = self._maps[int(self._shard[index])][start : start + count * self.form.bytes_per_pixel]
        labels = stored[3 * count :].reshape(height, width) if self.form.bytes_per_pixel == 4 else None
        return stored[: 3 * count].reshape(height, width, 3), labels

    @property
    def directories(self) -> set[Path]:
        """Where in the cache these pictures are."""
        return {shard.parent for shard in self._shards}

    @cached_property
    def _maps(self) -> "_MapsOnDemand":
        return _MapsOnDemand(self._shards)

    def __getstate__(self) -> dict[str, object]:
        # a worker that is not forked opens its own maps
        return {name: value for name, value in self.__dict__.items() if name != "_maps"}

    def descriptors(self) -> Float16[np.ndarray, "pictures bins"]:
        """The palette descriptors of all rows, read from the shards."""
        found = np.zeros((len(self), DESCRIPTOR_SIZE), dtype=np.float16)
        for number in np.unique(self._shard[self.readable]):
            rows = np.flatnonzero((self._shard == number) & self.readable)
            with safe_open(self._shards[number].with_suffix(".safetensors"), framework="numpy") as table:
                found[rows] = table.get_tensor("descriptor")[self._row[rows]]
        return found


class _MapsOnDemand:
    def __init__(self, shards: Sequence[Path]) -> None:
        self.shards = shards
        self.maps: OrderedDict[int, np.ndarray] = OrderedDict()

    def __getitem__(self, number: int) -> np.ndarray:
        if number in self.maps:
            self.maps.move_to_end(number)
        else:
            if len(self.maps) == _OPEN_SHARDS:
                self.maps.popitem(last=False)
            # a plain view: slicing a np.memmap itself is slow
            self.maps[number] = np.asarray(np.memmap(self.shards[number].with_suffix(".pixels"), dtype=np.uint8, mode="r"))
        return self.maps[number]


def prepare(pictures: Pictures, form: Form, config: DataConfig, what: str) -> Prepared:
    """Prepare the pictures that are not in the cache yet, and open it.

    Args:
        pictures: to prepare.
        form: of the prepared pictures.
        config: where the cache is.
        what: for progress and messages, such as "coco train".

    Raises:
        ValueError: when the cache cannot be written, or the disk is full; what was prepared until then is kept.
    """
    settings = {"format": FORMAT, "root": str(pictures.root.resolve()), **vars(form)}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
    directory = cache_directory(config.cache_dir) / "pictures" / digest
    stamps = [_stamp(pictures, index) for index in range(len(pictures))]
    keys = np.array([make_key(path, stamp) for path, stamp in zip(pictures.paths, stamps, strict=True)], dtype=np.int64)
    present = np.array([bool(stamp) for stamp in stamps], dtype=bool)
    with explain_cache_errors(cache_directory(config.cache_dir)):
        prepared = _open(directory, pictures, form, keys, present)
        if not (present & (prepared._shard < 0)).any():
            return prepared
        directory.mkdir(parents=True, exist_ok=True)
        with _only_one_builds(directory):
            # another run may have prepared them meanwhile
            prepared = _open(directory, pictures, form, keys, present)
            missing = np.flatnonzero(present & (prepared._shard < 0))
            if len(missing):
                for left in (*directory.glob("*.aside"), *(path for path in directory.glob("*.pixels") if not _table(path).exists())):
                    # by a build that was killed
                    left.unlink()
                (directory / "settings.json").write_text(json.dumps(settings, indent=2))
                _build(directory, pictures, keys, missing, form, what)
    return _open(directory, pictures, form, keys, present)


def _table(pixels: Path) -> Path:
    return pixels.with_suffix(".safetensors")


def _stamp(pictures: Pictures, index: int) -> str:
    picture = file_stamp(pictures.path(index))
    if pictures.labels is None or not picture:
        return picture
    return f"{picture}/{pictures.labels.stamp(index)}"


@contextmanager
def _only_one_builds(directory: Path) -> Iterator[None]:
    lock = FileLock(directory / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("another run prepares the same pictures; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _open(directory: Path, pictures: Pictures, form: Form, keys: np.ndarray, present: np.ndarray) -> Prepared:
    tables = sorted(directory.glob("*.safetensors"))
    if form.keep_pixels:
        # of a shard whose pixels are gone or cut off, the pictures are prepared anew
        tables = [path for path in tables if _has_its_pixels(path, form)]
    columns: dict[str, list[np.ndarray]] = {
        name: [np.zeros((0, 192) if name == "thumbnail" else 0, dtype)] for name, dtype in _COLUMNS.items()
    }
    del columns["descriptor"]  # large, and read by those who want it
    shards, rows = [np.zeros(0, dtype=np.int32)], [np.zeros(0, dtype=np.int32)]
    messages: dict[int, str] = {}
    for number, path in enumerate(tables):
        with safe_open(path, framework="numpy") as table:
            for name in columns:
                columns[name].append(table.get_tensor(name))
            messages.update({int(key): message for key, message in json.loads(table.metadata()["problems"]).items()})
        count = len(columns["key"][-1])
        shards.append(np.full(count, number, dtype=np.int32))
        rows.append(np.arange(count, dtype=np.int32))
    found = {name: np.concatenate(values) for name, values in columns.items()}
    found |= {"shard": np.concatenate(shards), "row": np.concatenate(rows)}
    order = np.argsort(found["key"], kind="stable")
    place = np.searchsorted(found["key"], keys, sorter=order)
    known = present & (place < len(order))
    known[known] = found["key"][order[place[known]]] == keys[known]
    source = order[place[known]]

    def take(name: str, absent: int = 0) -> np.ndarray:
        taken = np.full((len(keys), *found[name].shape[1:]), absent, dtype=found[name].dtype)
        taken[known] = found[name][source]
        return taken

    readable = take("good").astype(bool)
    problems = {}
    for index in np.flatnonzero(~readable):
        problems[str(pictures.paths[index])] = messages.get(int(keys[index]), "cannot be opened" if present[index] else "no such file")
    return Prepared(
        pictures=pictures,
        form=form,
        keys=keys,
        readable=readable,
        problems=problems,
        heights=take("height"),
        widths=take("width"),
        color_ranges=take("color_range"),
        thumbnails=take("thumbnail"),
        _shards=tables,
        _shard=take("shard", absent=-1),
        _row=take("row"),
        _offset=take("offset"),
    )


def _has_its_pixels(table_path: Path, form: Form) -> bool:
    pixels = table_path.with_suffix(".pixels")
    with safe_open(table_path, framework="numpy") as table:
        sizes = table.get_tensor("height").astype(np.int64) * table.get_tensor("width") * table.get_tensor("good")
    return pixels.is_file() and pixels.stat().st_size == int(sizes.sum()) * form.bytes_per_pixel


def _build(directory: Path, pictures: Pictures, keys: np.ndarray, missing: np.ndarray, form: Form, what: str) -> None:
    workers = min(os.cpu_count() or 1, 16)
    expected = (
        len(missing) * form.size**2 * form.bytes_per_pixel * (_USUAL_ASPECT if form.resize == "crop" else 1) if form.keep_pixels else 0
    )
    free = shutil.disk_usage(directory).free
    if expected > free:
        raise OSError(0, f"{len(missing)} pictures take about {expected / 2**30:.1f} GiB there, {free / 2**30:.1f} GiB are free")
    if form.keep_pixels:
        log.info("%s: preparing %d pictures in %s (about %s)", what, len(missing), directory, readable_size(expected))
    else:
        log.info("%s: reading %d pictures once, for their palettes (kept in %s)", what, len(missing), directory)
    shards = math.ceil(len(missing) / min(_SHARD_PICTURES, math.ceil(len(missing) / (4 * workers))))
    parts = np.array_split(missing, shards)
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task(what, total=len(missing))
        if len(missing) <= _IN_THIS_PROCESS:
            _build_shard(directory, pictures, keys[missing], missing, form)
        else:
            pool = ProcessPoolExecutor(workers, initializer=_start_worker)
            try:
                futures = [pool.submit(_build_shard, directory, pictures[part], keys[part], np.arange(len(part)), form) for part in parts]
                for future in as_completed(futures):
                    progress.advance(task, future.result())
            finally:
                pool.shutdown(cancel_futures=True)
    if form.keep_pixels:
        log.info(
            "%s: %s holds %s of prepared pictures", what, directory, readable_size(sum(file.stat().st_size for file in directory.iterdir()))
        )


def readable_size(count: float) -> str:
    """A number of bytes in words."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def _start_worker() -> None:
    start_worker(0)
    # the threads of the parent's OpenMP do not survive the fork
    torch.set_num_threads(1)


def _build_shard(directory: Path, pictures: Pictures, keys: np.ndarray, rows: np.ndarray, form: Form) -> int:
    columns: dict[str, list[object]] = {name: [] for name in _COLUMNS}
    problems: dict[int, str] = {}
    name = directory / uuid.uuid4().hex
    aside = name.with_suffix(".aside")
    try:
        with aside.open("wb") as file:
            for key, index in zip(keys, rows, strict=True):
                pixels, labels = _NOTHING, None
                try:
                    pixels, labels = _read(pictures, int(index), form)
                except READ_ERRORS as error:
                    if isinstance(error, OSError) and error.errno not in (None, errno.ENOENT):
                        # the disk's fault, perhaps only now, and not the picture's: the next run tries again
                        continue
                    problems[int(key)] = str(error) or type(error).__name__
                good = int(key) not in problems
                record = (key, good, *pixels.shape[:2], file.tell(), *measure(pixels))
                for column, value in zip(columns.values(), record, strict=True):
                    column.append(value)
                if form.keep_pixels and good:
                    file.write(pixels.tobytes())
                    if labels is not None:
                        file.write(labels.tobytes())
            _to_disk(file)
        if not columns["key"]:
            return len(rows)
        if form.keep_pixels:
            aside.replace(name.with_suffix(".pixels"))
        table = {column: np.array(values, dtype=dtype) for (column, dtype), values in zip(_COLUMNS.items(), columns.values(), strict=True)}
        with aside.open("wb") as file:
            file.write(save(table, metadata={"problems": json.dumps(problems)}))
            _to_disk(file)
        aside.replace(name.with_suffix(".safetensors"))
    finally:
        aside.unlink(missing_ok=True)
        if not name.with_suffix(".safetensors").exists():
            name.with_suffix(".pixels").unlink(missing_ok=True)
    return len(rows)


def _to_disk(file: BinaryIO) -> None:
    """So that after a loss of power no name stands for contents that never came."""
    file.flush()
    os.fsync(file.fileno())


def _read(pictures: Pictures, index: int, form: Form) -> tuple[np.ndarray, np.ndarray | None]:
    labels = pictures.labels.read(index) if pictures.labels is not None else None
    return read_picture(pictures.path(index), form.size, form.resize, labels)
