"""Nearest palettes of a big data set: `python -m benchmarks.references [--pictures 118287] [--queries N]`.

Simulates the descriptors of photographs in a file, searches each picture's nearest others through the memory map (or, with `--queries`,
those of so many pictures among all), and compares a sample with the nearest by plain products with every descriptor. The growth in memory
is from the start to the peak of the search, with and without the pages of the file, which the system keeps mapped while it has room.
"""

import argparse
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import torch
from rich.console import Console
from rich.table import Table

from stylecolor.palette import BIN_LIMIT, BIN_SIZE, DESCRIPTOR_SIZE
from stylecolor.palette_search import PaletteSearch

CHUNK = 8192
PATCHES = 6
AXIS = np.arange(-BIN_LIMIT, BIN_LIMIT + 1, BIN_SIZE, dtype=np.float32)
# skin, wood and earth; foliage; sky and water; nearly grey; anything
SHARES = [0.34, 0.2, 0.16, 0.15, 0.15]
HUES = np.array([65, 115, 265, 0, 0], dtype=np.float32)
HUE_SPREADS = np.array([18, 14, 14, 60, 180], dtype=np.float32)
CHROMAS = np.array([21, 24, 20, 2, 28], dtype=np.float32)
GREY_PICTURES = 0.01


def simulate(count: int, random: np.random.Generator) -> np.ndarray:
    """Descriptors, float16 (count, bins), of pictures of a few patches of colours each, with noise in every bin."""
    kind = random.choice(len(SHARES), size=(count, PATCHES), p=SHARES)
    hue = np.deg2rad(HUES[kind] + HUE_SPREADS[kind] * random.standard_normal(kind.shape, dtype=np.float32))
    chroma = CHROMAS[kind] / 3 * random.standard_gamma(3, kind.shape, dtype=np.float32)
    chroma[random.random(count) < GREY_PICTURES] = 0
    spread = 4 + (2 + 0.25 * chroma) * random.random(kind.shape, dtype=np.float32)
    spread[chroma == 0] = 4
    # normalised below, these make the areas a Dirichlet draw
    area = random.standard_gamma(0.7, kind.shape, dtype=np.float32) + 1e-3
    centres = (chroma * np.cos(hue), chroma * np.sin(hue))
    along_a, along_b = (np.exp(-0.5 * ((AXIS - centre[..., None]) / spread[..., None]) ** 2) for centre in centres)
    weighted = along_a * (area * (chroma + 2) / spread**2)[..., None]
    histogram = np.matmul(weighted.transpose(0, 2, 1), along_b).reshape(count, DESCRIPTOR_SIZE)
    noise = random.random(histogram.shape, dtype=np.float32)
    noise[(chroma == 0).all(axis=1)] = 0.5
    histogram *= 0.4 + 1.2 * noise
    return np.sqrt(histogram / histogram.sum(axis=1, keepdims=True)).astype(np.float16)


def write_descriptors(path: Path, pictures: int) -> None:
    """A .npy file of simulated descriptors, written chunk by chunk."""
    random = np.random.default_rng(0)
    with path.open("wb") as file:
        header = {"descr": "<f2", "fortran_order": False, "shape": (pictures, DESCRIPTOR_SIZE)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, pictures, CHUNK):
            simulate(min(CHUNK, pictures - start), random).tofile(file)


class MemoryWatch(threading.Thread):
    """How far the memory of this process grows, in MB, with and without mapped files."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.process = psutil.Process()
        self.start_values = self.values()
        self.peak_values = self.start_values
        self.done = threading.Event()

    def values(self) -> tuple[int, int]:
        """Resident bytes, and those that are no file's; only Linux tells them apart."""
        memory = self.process.memory_info()
        return memory.rss, memory.rss - getattr(memory, "shared", 0)

    def run(self) -> None:
        """Look again and again."""
        while not self.done.wait(0.02):
            now = self.values()
            self.peak_values = (max(self.peak_values[0], now[0]), max(self.peak_values[1], now[1]))

    def stop(self) -> list[str]:
        """Both growths."""
        self.done.set()
        self.join()
        return [f"{(peak - start) / 2**20:.0f}" for peak, start in zip(self.peak_values, self.start_values, strict=True)]


def recall(descriptors: np.ndarray, queries: np.ndarray, distances: np.ndarray) -> float:
    """The share of the queries whose found distance is the least there is, up to the rounding of float32."""
    vectors = torch.from_numpy(descriptors[queries].astype(np.float32))
    least = torch.full((len(queries),), torch.inf)
    for start in range(0, len(descriptors), CHUNK):
        chunk = torch.from_numpy(descriptors[start : start + CHUNK].astype(np.float32))
        squared = (
            torch.addmm(chunk.square().sum(dim=1) / 2, vectors, chunk.T, alpha=-1).mul_(2).add_(vectors.square().sum(dim=1, keepdim=True))
        )
        own = np.flatnonzero((queries >= start) & (queries < start + len(chunk)))
        squared[own, queries[own] - start] = torch.inf
        least = torch.minimum(least, squared.amin(dim=1))
    return (torch.from_numpy(distances).square() <= least + 1e-5).double().mean().item()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=118287)
    parser.add_argument("--queries", type=int, help="search the nearest of so many pictures only (default: of all)")
    parser.add_argument("--count", type=int, default=1, help="nearest pictures of each")
    parser.add_argument("--sample", type=int, default=500, help="queries compared with the true nearest")
    arguments = parser.parse_args()
    random = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "descriptors.npy"
        write_descriptors(path, arguments.pictures)
        descriptors = np.load(path, mmap_mode="r")
        queries = np.sort(random.permutation(arguments.pictures)[: arguments.queries])
        watch = MemoryWatch()
        watch.start()
        begin = time.perf_counter()
        search = PaletteSearch(descriptors, arguments.count)
        built = time.perf_counter()
        _, distances = search.nearest(queries)
        searched = time.perf_counter()
        growth = watch.stop()
        sample = np.sort(random.permutation(len(queries))[: arguments.sample])
        share = recall(descriptors, queries[sample], distances[sample, 0])

    seconds = searched - built
    table = Table("measure", "value", title=f"{arguments.count} nearest, {torch.get_num_threads()} threads")
    table.add_row("pictures", f"{arguments.pictures}")
    table.add_row("queries", f"{len(queries)}")
    table.add_row("index", search.description)
    table.add_row("build, s", f"{built - begin:.1f}")
    table.add_row("search, s", f"{seconds:.1f}")
    table.add_row("queries/s", f"{len(queries) / seconds:.0f}")
    table.add_row("memory growth, MB", growth[0])
    table.add_row("memory growth without the file, MB", growth[1])
    table.add_row(f"recall@1 of {len(sample)} queries", f"{share:.4f}")
    Console().print(table)


if __name__ == "__main__":
    main()
