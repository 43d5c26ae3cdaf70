"""Which picture lends its colours to which target (SPEC.md, sections 9 and 13).

Never the target itself unless that is asked for (`self`), never another picture of its group, never a near-duplicate: the same photograph
in another file.
"""

import hashlib
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from random import Random

import numpy as np
import torch
from jaxtyping import Float16, Int64, UInt8
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from datamodules.cache import Prepared
from datamodules.cache_directory import build_once, explain_cache_errors
from datamodules.facts import NEAR_DUPLICATE_DISTANCE, THUMBNAIL_SIZE, near_duplicates
from stylecolor.palette_search import nearest_palettes
from stylecolor.randomness import make_key

FORMAT = 1
UNRELATED_DRAWS = 16
"""The farthest palette of so many pictures drawn at random is an unrelated one."""
_SPARE_NEIGHBOURS = 32
"""Found beyond those wanted, since some are of the target's own group."""
_PALETTE_KINDS = ("palette", "palette_top_k", "unrelated")
_CHUNK = 4096
_ALIKE = 32
"""Pictures that each one is compared with as its near-duplicates."""
_ROWS_AT_ONCE = 128

log = logging.getLogger(__name__)


class References:
    """Draws the reference of each (epoch, target), keyed by the seed, the epoch and the target's path.

    Args:
        prepared: the pictures of a split that are used.
        weights: how often each kind is drawn, see `DataConfig.references`; a target for which a kind finds nothing takes another one.
        top_k: of `palette_top_k`.
        seed: of the draws.
        cache: where groups and nearest palettes are kept.

    `nearest` are the pictures with the nearest palettes, int32 (pictures, top_k), nearest first, and `distances` how far they are (see
    `stylecolor.palette.palette_descriptor`); where there are fewer, -1 and infinity. Both are None unless a kind needs them.
    """

    def __init__(self, prepared: Prepared, weights: Mapping[str, float], top_k: int, seed: int, cache: Path) -> None:
        self.seed = seed
        self.paths = prepared.pictures.paths
        self.kinds = list(weights)
        self.weights = np.array([weights[kind] for kind in self.kinds])
        directory = cache / "references" / _digest(prepared)
        with explain_cache_errors(cache):
            build_once(directory / "groups", lambda aside: np.save(aside / "groups.npy", _groups(prepared)))
        self.groups = np.load(directory / "groups" / "groups.npy")
        self.nearest = self.distances = self.descriptors = None
        if set(_PALETTE_KINDS) & set(weights):
            count = top_k if "palette_top_k" in weights else 1
            palettes = directory / f"palettes-{count}"
            with explain_cache_errors(cache):
                build_once(palettes, lambda aside: _find_nearest(prepared.descriptors(), self.groups, count, aside))
            names = ("descriptors", "nearest", "distances")
            self.descriptors, self.nearest, self.distances = (np.load(palettes / f"{name}.npy", mmap_mode="r") for name in names)
        # one column that holds everybody stands for "any picture"
        everybody = csr_array(np.ones((len(prepared), 1), dtype=np.int32))
        categories = {"random": everybody, "unrelated": everybody, "same_category": prepared.pictures.categories}
        self._shown = {kind: table for kind, table in categories.items() if kind in weights}
        self._members = {kind: table.tocsc() for kind, table in self._shown.items()}
        self.available = np.stack([self._is_available(kind) for kind in self.kinds], axis=1)

    def _is_available(self, kind: str) -> np.ndarray:
        """Bool (pictures,): is there any reference of this kind?"""
        if kind == "self":
            return np.ones(len(self.paths), dtype=bool)
        if kind in ("palette", "palette_top_k"):
            assert self.nearest is not None
            return np.array(self.nearest[:, 0] >= 0)
        starts = self._members[kind].indptr
        members = np.split(self._members[kind].indices, starts[1:-1])
        mixed = [len(np.unique(self.groups[rows])) > 1 for rows in members]
        return np.array(self._shown[kind] @ np.array(mixed, dtype=np.int64), dtype=bool)

    def has_reference(self) -> np.ndarray:
        """Bool (pictures,): is there a reference of any of the kinds?"""
        return np.any(self.available, axis=1, keepdims=False)

    def draw(self, epoch: int, index: int) -> tuple[int, str]:
        """The reference of this target in this epoch and its kind; the target must have one."""
        random = Random(make_key(self.seed, epoch, self.paths[index], "reference"))
        allowed = np.flatnonzero(self.available[index])
        kind = self.kinds[random.choices(allowed, self.weights[allowed].tolist())[0]] if len(allowed) > 1 else self.kinds[allowed[0]]
        if kind == "self":
            return index, kind
        if kind in ("palette", "palette_top_k"):
            assert self.nearest is not None
            found = self.nearest[index]
            return int(found[0] if kind == "palette" else random.choice(found[found >= 0])), kind
        if kind != "unrelated":
            return self._draw_member(kind, index, random), kind
        drawn = [self._draw_member(kind, index, random) for _ in range(UNRELATED_DRAWS)]
        return max(drawn, key=lambda other: self.distance(index, other)), kind

    def distance(self, index: int, other: int) -> float:
        """Of the palettes of two pictures: 0 for equal, 1.41 for disjoint ones."""
        assert self.descriptors is not None
        return float(np.linalg.norm(self.descriptors[index].astype(np.float32) - self.descriptors[other].astype(np.float32)))

    def _draw_member(self, kind: str, index: int, random: Random) -> int:
        shown, members = self._shown[kind], self._members[kind]
        columns = shown.indices[shown.indptr[index] : shown.indptr[index + 1]]
        # picking and refusing is exact and, for groups far smaller than a category, takes one or two turns
        while True:
            column = random.choice(columns)
            chosen = int(random.choice(members.indices[members.indptr[column] : members.indptr[column + 1]]))
            if self.groups[chosen] != self.groups[index]:
                return chosen


def _digest(prepared: Prepared) -> str:
    digest = hashlib.sha256(f"{FORMAT}/{NEAR_DUPLICATE_DISTANCE}/{prepared.form}".encode())
    digest.update(prepared.keys.tobytes())
    digest.update("\n".join(prepared.pictures.groups).encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


def _groups(prepared: Prepared) -> Int64[np.ndarray, " pictures"]:
    """The number of each picture's group: the pictures' own groups, joined where they share a near-duplicate."""
    _, groups = np.unique(prepared.pictures.groups, return_inverse=True)
    pairs = find_near_duplicates(prepared.thumbnails)
    if len(pairs):
        first, second = prepared.pictures.paths[pairs[0]]
        log.info("%d pairs of near-duplicates are no references of each other, such as %s and %s", len(pairs), first, second)
    links = groups[pairs]
    count = int(groups.max(initial=-1)) + 1
    _, joined = connected_components(coo_array((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(count, count)), directed=False)
    return joined[groups].astype(np.int64)


def find_near_duplicates(thumbnails: UInt8[np.ndarray, "pictures values"]) -> Int64[np.ndarray, "pairs 2"]:
    """Pairs of pictures whose thumbnails are nearly the same: of each picture, its nearest ones, so that many alike do not make a pair each
    with each. Over other pictures they are connected all the same."""
    if not len(thumbnails):
        return np.zeros((0, 2), dtype=np.int64)
    half = THUMBNAIL_SIZE // 2
    # the differences of a thumbnail's quarters are no larger than its own: they find the candidates
    quarters = thumbnails.reshape(-1, 3, 2, half, 2, half).mean(axis=(3, 5), dtype=np.float32).reshape(len(thumbnails), 12)
    tree = KDTree(quarters)
    parts = np.array_split(quarters, 1 + len(quarters) // _CHUNK)
    reach = NEAR_DUPLICATE_DISTANCE * 12
    nearest = np.concatenate([tree.query(part, k=_ALIKE + 1, p=1, distance_upper_bound=reach)[1] for part in parts])
    rows, columns = np.nonzero(nearest < len(thumbnails))
    pairs = np.unique(np.sort(np.stack((rows, nearest[rows, columns]), axis=1), axis=1), axis=0)
    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    kept = [
        part[near_duplicates(thumbnails[part[:, 0]], thumbnails[part[:, 1]])] for part in np.array_split(pairs, 1 + len(pairs) // _CHUNK)
    ]
    return np.concatenate(kept).astype(np.int64)


def _find_nearest(descriptors: Float16[np.ndarray, "pictures bins"], groups: np.ndarray, count: int, directory: Path) -> None:
    """Write descriptors.npy, nearest.npy and distances.npy: the `count` nearest palettes of other groups."""
    found, distances = nearest_palettes(descriptors, count + _SPARE_NEIGHBOURS)
    foreign = (found >= 0) & (groups[found] != groups[:, None])
    order = np.argsort(~foreign, axis=1, kind="stable")[:, :count]
    chosen = np.where(np.take_along_axis(foreign, order, 1), np.take_along_axis(found, order, 1), -1)
    lengths = np.where(chosen >= 0, np.take_along_axis(distances, order, 1), np.inf).astype(np.float32)
    # those whose neighbours are nearly all of their own group, such as frames of one film, are compared with everybody
    short = np.flatnonzero(chosen[:, -1] < 0)
    if len(short):
        everybody = torch.from_numpy(descriptors.astype(np.float32))
        for rows in np.array_split(short, math.ceil(len(short) / _ROWS_AT_ONCE)):
            every = torch.cdist(everybody[rows], everybody)
            every[torch.from_numpy(groups[rows, None] == groups)] = torch.inf
            values, columns = every.sort(dim=1, stable=True)
            width = min(count, columns.shape[1])
            lengths[rows, :width] = values[:, :width].numpy()
            chosen[rows, :width] = torch.where(values.isfinite(), columns, -1)[:, :width].numpy()
    np.save(directory / "descriptors.npy", descriptors)
    np.save(directory / "nearest.npy", chosen.astype(np.int32))
    np.save(directory / "distances.npy", lengths)
