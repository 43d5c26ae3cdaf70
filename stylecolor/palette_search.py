"""For every picture of a data set, the pictures with the nearest palettes: exact for small data sets, through FAISS for big ones."""

import math
from collections.abc import Iterator
from hashlib import blake2b
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float16, Float32, Float64, Int32, Int64, UInt64

EXACT_LIMIT = 100_000
"""From this many different descriptors on FAISS finds the candidates."""

_READ = 8192
"""Rows read at once."""
_PRODUCT_BYTES = 96 * 2**20
_PAIRS = 2048
"""Pairs of rows compared at once in float64: 9 MB with 529 values, which memory allocators keep at hand."""
_SPARE = 32
"""Candidates beyond those asked for, so that exact distances decide."""
_AXES = 64
"""Main axes that FAISS compares, of 8 bits each."""
_PROBES = 64
_ROWS_PER_CELL = 40
"""Rows that place the centre of a FAISS cell; it asks for 39 at least."""
_AXES_ROWS = 32768
_SEED = 0

_Shortlists = Iterator[tuple[Int64[np.ndarray, " queries"], Int64[np.ndarray, "queries candidates"]]]
"""Some pictures, and what may be nearest to each, the picture itself not among it; -1 is no candidate."""


def nearest_palettes(
    descriptors: Float16[np.ndarray, "pictures bins"], count: int
) -> tuple[Int32[np.ndarray, "pictures {count}"], Float32[np.ndarray, "pictures {count}"]]:
    """For each picture the `count` others with the nearest palettes: `PaletteSearch` for all pictures."""
    return PaletteSearch(descriptors, count).nearest(np.arange(len(descriptors)))


class PaletteSearch:
    """Finds the `count` others with the nearest palettes, nearest first, the lower index first among equally near ones.

    `descriptors` (rows of `palette_descriptor`, in float16) may be a memory map; rows are read in chunks.

    Below `EXACT_LIMIT` different descriptors the result is exact. From there on FAISS finds candidates by the descriptors' main axes, so
    that now and then a nearest picture is missed; distances and order of those found are exact all the same. Both give the same result each
    time on the same machine.

    Raises ValueError if the descriptors are not float16 rows of length 1, if `count` is not positive, or if FAISS is needed and missing.
    """

    def __init__(self, descriptors: Float16[np.ndarray, "pictures bins"], count: int) -> None:
        if descriptors.ndim != 2 or descriptors.dtype != np.float16:
            raise ValueError(f"descriptors have type {descriptors.dtype} and shape {descriptors.shape}; give float16 (pictures, bins)")
        if count < 1:
            raise ValueError(f"count is {count}; ask for at least 1 picture")
        self.count = count
        self.rows = np.asarray(descriptors)
        self.squares, digests = _squares_and_digests(self.rows)
        self.twins = _Twins(digests)
        # no answer needs more than the first count + 1 of those with the same descriptor
        searched = np.flatnonzero(self.twins.rank <= count)
        self.index: _Index = (_Exact if len(searched) < EXACT_LIMIT else _Faiss)(self.rows, self.squares, searched)
        self.description = self.index.description
        """What searches, in a few words."""

    def nearest(
        self, queries: Int64[np.ndarray, " queries"]
    ) -> tuple[Int32[np.ndarray, "queries count"], Float32[np.ndarray, "queries count"]]:
        """Indices of the nearest others of these pictures, and their Euclidean distances; -1 and infinity where there are too few."""
        indices = np.full((len(queries), self.count), -1, dtype=np.int32)
        distances = np.full((len(queries), self.count), np.inf, dtype=np.float32)
        # all grey pictures have one descriptor, and a data set has thousands: comparing each with all the others would take long
        enough = self.twins.number[queries] >= self.count
        indices[enough] = self.twins.first(queries[enough], self.count)
        distances[enough] = 0
        others = np.flatnonzero(~enough)
        for places, candidates in self.index.shortlists(queries[others], self.count):
            self._keep_nearest(queries, others[places], candidates, indices, distances)
        return indices, distances

    def _keep_nearest(
        self,
        queries: Int64[np.ndarray, " queries"],
        places: Int64[np.ndarray, " places"],
        candidates: Int64[np.ndarray, "places candidates"],
        indices: Int32[np.ndarray, "queries count"],
        distances: Float32[np.ndarray, "queries count"],
    ) -> None:
        """Write the nearest candidates down at those places.

        Values of float16 up to 1 are multiples of 2**-24, so products and sums of them are exact in float64 whatever their order: equal
        distances come out equal.
        """
        candidates = np.sort(candidates, axis=1)
        across = max(1, min(_PAIRS, candidates.shape[1]))
        down = _PAIRS // across
        for start in range(0, len(places), down):
            place, near = places[start : start + down], candidates[start : start + down]
            query = queries[place]
            products = np.empty(near.shape)
            vectors = torch.from_numpy(self.rows[query]).double().unsqueeze(2)
            for left in range(0, near.shape[1], across):
                block = torch.from_numpy(self.rows[near[:, left : left + across]]).double()
                products[:, left : left + across] = torch.bmm(block, vectors).squeeze(2).numpy()
            squared = np.where(near >= 0, self.squares[query][:, None] + self.squares[near] - 2 * products, np.inf)
            nearest = np.argsort(squared, axis=1, kind="stable")[:, : self.count]
            kept = np.sqrt(np.take_along_axis(squared, nearest, axis=1))
            indices[place, : nearest.shape[1]] = np.where(np.isinf(kept), -1, np.take_along_axis(near, nearest, axis=1))
            distances[place, : nearest.shape[1]] = kept


def _squares_and_digests(
    rows: Float16[np.ndarray, "pictures bins"],
) -> tuple[Float64[np.ndarray, " pictures"], UInt64[np.ndarray, " pictures"]]:
    """Squared length and a hash of each row; the hashes of two different ones among 5 million are equal with a chance below 1e-6."""
    squares = np.empty(len(rows))
    digests = np.empty(len(rows), dtype=np.uint64)
    for start in range(0, len(rows), _READ):
        chunk = np.array(rows[start : start + _READ], order="C")
        lengths = squares[start : start + _READ] = torch.from_numpy(chunk).double().square().sum(dim=1).numpy()
        wrong = np.flatnonzero(~(np.abs(lengths - 1) < 0.02))
        if len(wrong):
            length = math.sqrt(lengths[wrong[0]])
            raise ValueError(f"descriptor {start + wrong[0]} has length {length:g} instead of 1; make descriptors with palette_descriptor")
        digests[start : start + _READ] = np.frombuffer(b"".join(blake2b(row, digest_size=8).digest() for row in chunk), dtype=np.uint64)
    return squares, digests


class _Twins:
    """Pictures with the same descriptor."""

    def __init__(self, digests: UInt64[np.ndarray, " pictures"]) -> None:
        self._order = np.argsort(digests, kind="stable").astype(np.int32)
        ordered = digests[self._order]
        starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)])
        sizes = np.diff(starts, append=len(ordered))
        self._start, self.rank, self.number = (np.empty(len(ordered), dtype=np.int32) for _ in range(3))
        """Of each picture: where its twins begin in the order, how many of them come before it, how many others they are."""
        self._start[self._order] = np.repeat(starts, sizes)
        self.number[self._order] = np.repeat(sizes - 1, sizes)
        self.rank[self._order] = np.arange(len(ordered)) - np.repeat(starts, sizes)

    def first(self, queries: Int64[np.ndarray, " queries"], count: int) -> Int32[np.ndarray, "queries count"]:
        """The first `count` twins of pictures that have so many."""
        twin = np.arange(count)
        # one's own place among the twins is left out
        return self._order[self._start[queries, None] + twin + (twin >= self.rank[queries, None])]


class _Index(Protocol):
    description: str

    def shortlists(self, queries: Int64[np.ndarray, " queries"], count: int) -> _Shortlists: ...


class _Exact:
    """Shortlists of all that products in float32 cannot tell from the nearest."""

    def __init__(
        self,
        rows: Float16[np.ndarray, "pictures bins"],
        squares: Float64[np.ndarray, " pictures"],
        searched: Int64[np.ndarray, " searched"],
    ) -> None:
        self.description = "exact"
        self.rows, self.searched = rows, searched
        self.database = np.empty((len(searched), rows.shape[1]), dtype=np.float32)
        for start in range(0, len(searched), _READ):
            self.database[start : start + _READ] = _read(rows, searched[start : start + _READ])
        self.half_squares = (squares[searched] / 2).astype(np.float32)

    def shortlists(self, queries: Int64[np.ndarray, " queries"], count: int) -> _Shortlists:
        # a sum of n products of float32 is off by less than n / 2**24 of its terms' size, which is 1; and two such are compared
        doubt = 2 * (self.rows.shape[1] + 4) / 2**24
        length = min(count + _SPARE, len(self.searched))
        step = max(1, min(_READ, _PRODUCT_BYTES // (4 * max(1, len(self.searched)))))
        buffer = np.empty((min(step, len(queries)), len(self.searched)), dtype=np.float32)
        for start in range(0, len(queries), step):
            places = np.arange(start, min(start + step, len(queries)))
            own = np.searchsorted(self.searched, queries[places])
            # not torch.mm: it would round to bfloat16 where someone has set a lower precision of products
            products = np.matmul(self.database[own], self.database.T, out=buffer[: len(places)])
            half_distances = np.subtract(self.half_squares, products, out=products)
            half_distances[np.arange(len(own)), own] = np.inf
            values, found = (part.numpy() for part in torch.from_numpy(half_distances).topk(length, largest=False))
            limit = values[:, min(count, length) - 1] + doubt
            crowded = (values[:, -1] <= limit) & (length < len(self.searched))
            yield places[~crowded], np.where(np.isinf(values), -1, self.searched[found])[~crowded]
            for row in np.flatnonzero(crowded):
                yield places[row : row + 1], self.searched[half_distances[row] <= limit[row]][None]


class _Faiss:
    """Shortlists of the nearest by the main axes, in the cells around each query: 72 bytes a picture."""

    def __init__(
        self,
        rows: Float16[np.ndarray, "pictures bins"],
        squares: Float64[np.ndarray, " pictures"],
        searched: Int64[np.ndarray, " searched"],
    ) -> None:
        try:
            import faiss
        except ModuleNotFoundError as error:
            raise ValueError(
                f"nearest palettes of {len(searched)} pictures need FAISS, which is not installed; pip install faiss-cpu, "
                f"or use fewer than {EXACT_LIMIT} pictures"
            ) from error
        # each library has an OpenMP of its own; one thread in a data loader's worker must mean one thread here too, or its fork hangs
        faiss.omp_set_num_threads(torch.get_num_threads())
        self.rows, self.searched = rows, searched
        shuffled = np.random.default_rng(_SEED).permutation(searched)
        bins = rows.shape[1]
        self.axes = faiss.PCAMatrix(bins, min(_AXES, bins, len(searched)))
        self.axes.train(_read(rows, np.sort(shuffled[:_AXES_ROWS])))
        self.cells = max(1, min(2 ** round(math.log2(4 * math.sqrt(len(searched)))), len(searched) // _ROWS_PER_CELL))
        self.centres = faiss.IndexFlatL2(self.axes.d_out)
        self.index = faiss.IndexIVFScalarQuantizer(self.centres, self.axes.d_out, self.cells, faiss.ScalarQuantizer.QT_8bit)
        self.description = f"PCA{self.axes.d_out},IVF{self.cells},SQ8"
        self.index.cp.seed = _SEED
        sample = np.sort(shuffled[: self.cells * _ROWS_PER_CELL])
        self.index.train(np.concatenate([self._coordinates(chunk) for chunk in _chunks(sample)]))
        for chunk in _chunks(searched):
            self.index.add(self._coordinates(chunk))

    def _coordinates(self, chosen: Int64[np.ndarray, " chosen"]) -> Float32[np.ndarray, "chosen axes"]:
        return self.axes.apply(_read(self.rows, chosen))

    def shortlists(self, queries: Int64[np.ndarray, " queries"], count: int) -> _Shortlists:
        length = 2 * count + _SPARE
        probes = max(_PROBES, math.ceil(8 * length * self.cells / len(self.searched)))
        for places in _chunks(np.arange(len(queries))):
            asked = queries[places]
            coordinates = self._coordinates(asked)
            found = self._search(coordinates, length, probes)
            few = (found >= 0).sum(axis=1) <= count
            if few.any():
                found[few] = self._search(coordinates[few], length, self.cells)
            candidates = np.where(found >= 0, self.searched[found], -1)
            yield places, np.where(candidates == asked[:, None], -1, candidates)

    def _search(self, coordinates: Float32[np.ndarray, "queries axes"], length: int, probes: int) -> Int64[np.ndarray, "queries length"]:
        self.index.nprobe = probes
        return self.index.search(coordinates, length)[1]


def _read(rows: Float16[np.ndarray, "pictures bins"], chosen: Int64[np.ndarray, " chosen"]) -> Float32[np.ndarray, "chosen bins"]:
    # torch converts float16 ten times as fast as numpy
    return torch.from_numpy(rows[chosen]).float().numpy()


def _chunks(numbers: Int64[np.ndarray, " numbers"]) -> list[Int64[np.ndarray, " chunk"]]:
    return np.split(numbers, range(_READ, len(numbers), _READ))
