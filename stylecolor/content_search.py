"""The pictures of a folder that show what a target shows: found by features of their content, as a grey target has no colour to compare."""

import hashlib
import json
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, Self

import faiss
import numpy as np
from filelock import FileLock, Timeout
from jaxtyping import Float32
from rich.progress import track
from safetensors import SafetensorError
from safetensors.numpy import load, save

from stylecolor.cache_directory import cache_directory
from stylecolor.errors import check_range, one_line
from stylecolor.pictures.files import PICTURE_SUFFIXES
from stylecolor.progress import console, hide_progress
from stylecolor.whole_file import written_whole

Describe = Callable[[Path], Float32[np.ndarray, " features"]]
"""Reads a picture and gives its features, of length 1; raises ValueError or OSError for a file that is no readable picture."""

_FORMAT = 1
_SAVE_EVERY = 64
"""So many pictures at least are described between two saves, ..."""
_SAVE_SHARE = 16
"""... and this fraction of all that are known, so that saving takes a small part of the time in a folder of any size."""
_NORM_TOLERANCE = 1e-3
_SPARE = 32
"""Candidates beyond those asked for, so that exact similarities decide."""

log = logging.getLogger(__name__)


class _Description(NamedTuple):
    stamp: tuple[int, int]
    """Size in bytes and time of the last change in ns: a file with the same ones is not read again."""
    features: Float32[np.ndarray, " features"]


class ContentIndex:
    """The features of a folder's pictures, searched exactly, with FAISS. Threads may search at the same time.

    Args:
        folder: where the pictures are.
        files: their paths below the folder, sorted, and what the file system says of them.
        features: of length 1, in that order.
    """

    def __init__(self, folder: Path, files: dict[str, os.stat_result], features: Float32[np.ndarray, "pictures features"]) -> None:
        self.folder = folder
        self.names = list(files)
        self._numbers: dict[tuple[int, int], set[int]] = defaultdict(set)
        for number, stat in enumerate(files.values()):
            self._numbers[stat.st_dev, stat.st_ino].add(number)
        self._index = faiss.IndexFlatIP(features.shape[1])
        self._index.add(np.ascontiguousarray(features))

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def build(cls, folder: str | Path, describe: Describe, identity: str, cache: Path | None = None, option: str = "--match-from") -> Self:
        """Describe the pictures of a folder and of those below it, except those that are described in the cache.

        Files of other suffixes than `PICTURE_SUFFIXES` and what is hidden is not looked at. A link to a picture is a picture of the folder,
        a link to another folder is not followed, which is warned of. A picture that cannot be read is left out with a warning. What an
        interrupted call has described is kept; of two processes with the same folder, the second one waits for the first.

        Args:
            folder: where the pictures are.
            describe: gives the features of a picture.
            identity: what the features depend on besides the picture, such as the encoder and its input size; others are described anew.
            cache: the directory to keep the features in; None takes `content` in `cache_directory()`.
            option: of the command, that named the folder.

        Raises:
            ValueError: when there is no such folder, no picture in it that can be read, or when the cache cannot be used.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise ValueError(f"{option} {folder}: no such folder")
        files = _find_pictures(folder)
        if not files:
            raise ValueError(f"{option} {folder}: holds no picture; pictures are files that end in {', '.join(sorted(PICTURE_SUFFIXES))}")
        cache = cache_directory() / "content" if cache is None else cache
        with _explain_cache_errors(cache, option):
            known = _Cached(cache, folder, identity).describe(files, describe)
        described = {name: stat for name, stat in files.items() if name in known}
        if not described:
            raise ValueError(f"{option} {folder}: none of its {len(files)} pictures can be read")
        return cls(folder, described, np.stack([known[name].features for name in described]))

    def nearest(
        self, features: Float32[np.ndarray, " features"], count: int = 1, exclude: str | Path | None = None
    ) -> list[tuple[Path, float]]:
        """The pictures with the most similar content, and the cosine of the angle between their features and these; most similar first.

        Equally similar ones come in the order of their names. There are fewer than `count` where the folder has no more.

        Args:
            features: of the target, of length 1, from what has described the folder.
            count: how many to find.
            exclude: a file that is not to be found, under whatever name: the target itself.

        Raises:
            ValueError: for a count below 1, and when the folder holds nothing but the excluded file.
            OSError: when there is no such file.
        """
        check_range("count", count, low=1)
        excluded: set[int] = set()
        if exclude is not None:
            stat = Path(exclude).stat()
            excluded = self._numbers.get((stat.st_dev, stat.st_ino), excluded)
        if len(excluded) == len(self):
            raise ValueError(f"--match-from {self.folder}: holds no picture but {exclude} itself; put others beside it")
        candidates = self._candidates(features, count + len(excluded))
        # in float64 and row by row, so that equal features are equally similar, which blocks of float32 products do not promise
        similarities = (self._index.reconstruct_batch(candidates).astype(np.float64) * features.astype(np.float64)).sum(axis=1)
        order = np.lexsort((candidates, -similarities))
        found = [(int(candidates[place]), float(similarities[place])) for place in order]
        return [(self.folder / self.names[number], similarity) for number, similarity in found if number not in excluded][:count]

    def _candidates(self, features: Float32[np.ndarray, " features"], count: int) -> np.ndarray:
        """All that FAISS, which adds in float32, cannot tell from the `count` most similar ones."""
        # a sum of n products of float32 is off by less than n / 2**24 where the vectors have length 1; and two such are compared
        doubt = 2 * (self._index.d + 4) / 2**24
        length = min(count + _SPARE, len(self))
        while True:
            similarities, found = self._index.search(np.ascontiguousarray(features, dtype=np.float32)[None], length)
            if length == len(self) or similarities[0, -1] < similarities[0, count - 1] - doubt:
                return found[0]
            length = min(4 * length, len(self))


def _find_pictures(folder: Path) -> dict[str, os.stat_result]:
    """Pictures by their path below the folder, with slashes, sorted."""
    found = {}
    for directory, folders, files in os.walk(folder, onerror=_warn_of_unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in folders:
            if Path(directory, name).is_symlink():
                log.warning("%s is a link to a folder, and is not searched for references", Path(directory, name))
        for name in files:
            path = Path(directory, name)
            if not name.startswith(".") and path.suffix.lower() in PICTURE_SUFFIXES:
                try:
                    found[path.relative_to(folder).as_posix()] = path.stat()
                except OSError as error:
                    _warn_of_unreadable(error)
    return dict(sorted(found.items()))


def _warn_of_unreadable(error: OSError) -> None:
    log.warning("%s is left out as a reference: %s", error.filename, error.strerror)


class _Cached:
    """The descriptions of one folder, in one file of the cache; names in it are looked up, and never opened."""

    def __init__(self, cache: Path, folder: Path, identity: str) -> None:
        self.folder = folder
        self.settings = json.dumps([_FORMAT, str(folder.resolve()), identity])
        self.path = cache / f"{hashlib.sha256(self.settings.encode()).hexdigest()[:16]}.safetensors"

    def describe(self, files: dict[str, os.stat_result], describe: Describe) -> dict[str, _Description]:
        """The descriptions of these files, as far as they can be read."""
        with suppress(ValueError):
            known = self._read(files)
            if len(known) == len(files):
                # nothing is written where all is there: the cache may be read-only
                return known
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._only_one_describes():
            # another process may have described them meanwhile
            try:
                known = self._read(files)
            except ValueError as error:
                log.warning("%s %s; all pictures of %s are described anew", self.path, error, self.folder)
                known = {}
            self._describe_missing(files, known, describe)
        return known

    @contextmanager
    def _only_one_describes(self) -> Iterator[None]:
        lock = FileLock(self.path.with_suffix(".lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("another process describes the pictures of %s; waiting for it", self.folder)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _describe_missing(self, files: dict[str, os.stat_result], known: dict[str, _Description], describe: Describe) -> None:
        missing = [name for name in files if name not in known]
        log.info("describing %d pictures of %s, once (kept in %s)", len(missing), self.folder, self.path)
        unsaved = 0
        try:
            for name in track(missing, f"describing {self.folder}", console=console(), disable=hide_progress(), transient=True):
                try:
                    features = describe(self.folder / name)
                except (ValueError, OSError) as error:
                    log.warning("%s is left out as a reference: %s", name, one_line(error))
                    continue
                assert abs(np.linalg.norm(features) - 1) < _NORM_TOLERANCE
                known[name] = _Description(_stamp(files[name]), features)
                unsaved += 1
                if unsaved >= max(_SAVE_EVERY, len(known) // _SAVE_SHARE):
                    self._write(known)
                    unsaved = 0
        finally:
            if unsaved:
                self._write(known)

    def _read(self, files: dict[str, os.stat_result]) -> dict[str, _Description]:
        """What the cache knows of these files as they are now. Raises ValueError where it is damaged."""
        if not self.path.exists():
            return {}
        contents = self.path.read_bytes()
        try:
            tensors = load(contents)
            settings, names = (tensors[name].tobytes() for name in ("settings", "names"))
            stamps, features = map(tuple, tensors["stamps"].tolist()), tensors["features"]
            sound = settings == self.settings.encode() and (np.abs(np.linalg.norm(features, axis=1) - 1) < _NORM_TOLERANCE).all()
            described = dict(zip(json.loads(names), map(_Description, stamps, features), strict=True))
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ValueError("is damaged") from error
        if not sound:
            raise ValueError("is damaged, or belongs to another folder")
        return {name: described[name] for name, stat in files.items() if name in described and described[name].stamp == _stamp(stat)}

    def _write(self, known: dict[str, _Description]) -> None:
        tensors = {
            "settings": _as_tensor(self.settings),
            # as a tensor: safetensors limits the length of its header
            "names": _as_tensor(json.dumps(list(known))),
            "stamps": np.array([description.stamp for description in known.values()], dtype=np.int64),
            "features": np.stack([description.features for description in known.values()]).astype(np.float32),
        }
        with written_whole(self.path) as aside:
            aside.write_bytes(save(tensors))


def _stamp(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_size, stat.st_mtime_ns


def _as_tensor(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), dtype=np.uint8)


@contextmanager
def _explain_cache_errors(cache: Path, option: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ValueError(
            f"{option}: the cache cannot be used ({error.filename or cache}: {error.strerror or error}); make room, or name another "
            "directory with STYLECOLOR_CACHE"
        ) from error
