import builtins
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from stylecolor import palette_search
from stylecolor.palette import palette_descriptor
from stylecolor.palette_search import PaletteSearch, nearest_palettes


def make_descriptors(pictures: int, seed: int = 0) -> np.ndarray:
    generator = torch.Generator().manual_seed(seed)
    centres = 60 * torch.randn(pictures, 2, 1, 4, generator=generator)
    ab = centres.repeat_interleave(4, dim=3) + 8 * torch.randn(pictures, 2, 4, 16, generator=generator)
    return palette_descriptor(ab).numpy().astype(np.float16)


def brute_force(descriptors: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    rows = torch.from_numpy(descriptors).double()
    all_distances = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist").fill_diagonal_(torch.inf)
    nearest, order = all_distances.sort(dim=1, stable=True)
    indices = np.full((len(rows), count), -1)
    distances = np.full((len(rows), count), np.inf, dtype=np.float32)
    others = min(count, len(rows) - 1)
    if others > 0:
        indices[:, :others], distances[:, :others] = order[:, :others], nearest[:, :others]
    return indices, distances


def assert_equals_brute_force(descriptors: np.ndarray, count: int) -> None:
    indices, distances = nearest_palettes(descriptors, count)
    assert (indices.dtype, distances.dtype) == (np.int32, np.float32)
    expected_indices, expected_distances = brute_force(descriptors, count)
    np.testing.assert_array_equal(indices, expected_indices)
    np.testing.assert_allclose(distances, expected_distances, rtol=1e-6)


@pytest.fixture
def by_faiss(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setattr(palette_search, "EXACT_LIMIT", 1)


@pytest.mark.parametrize("count", [1, 7])
def test_equals_brute_force(count: int) -> None:
    assert_equals_brute_force(make_descriptors(300), count)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(palette_search, "_READ", 64)
    monkeypatch.setattr(palette_search, "_PRODUCT_BYTES", 4 * 300 * 50)
    monkeypatch.setattr(palette_search, "_PAIRS", 20)
    assert_equals_brute_force(make_descriptors(300), 5)


@pytest.mark.parametrize("count", [1, 3, 10])
def test_the_first_of_twins_is_nearest(count: int) -> None:
    descriptors = make_descriptors(200)
    descriptors[::3] = descriptors[1]
    descriptors[[5, 8, 11]] = descriptors[2]
    assert_equals_brute_force(descriptors, count)


@pytest.mark.parametrize("count", [2, 50])
def test_the_first_of_equally_near_ones_is_nearest(count: int) -> None:
    # one colour each: all are at the same distance of all, more than the spare candidates
    assert_equals_brute_force(np.eye(200, dtype=np.float16)[np.random.default_rng(0).permutation(200)], count)


def test_rounding_hides_no_near_one() -> None:
    random = np.random.default_rng(0)
    rows = 1 + 0.002 * random.random((150, 64))
    assert_equals_brute_force((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16), 3)


@pytest.mark.parametrize("pictures", [0, 1, 2, 4])
def test_too_few_others_leave_minus_1_and_infinity(pictures: int) -> None:
    assert_equals_brute_force(make_descriptors(max(pictures, 1))[:pictures], 6)


def test_the_precision_of_products_changes_nothing() -> None:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        assert_equals_brute_force(make_descriptors(300), 4)
    finally:
        torch.set_float32_matmul_precision(before)


def test_a_memory_map_is_searched(tmp_path: Path) -> None:
    descriptors = make_descriptors(120)
    np.save(tmp_path / "descriptors.npy", descriptors)
    assert_equals_brute_force(np.load(tmp_path / "descriptors.npy", mmap_mode="r"), 3)


def test_some_queries_are_answered_alone() -> None:
    descriptors = make_descriptors(100)
    descriptors[40:60] = descriptors[0]
    queries = np.array([99, 45, 3, 0])
    for part, whole in zip(PaletteSearch(descriptors, 4).nearest(queries), nearest_palettes(descriptors, 4), strict=True):
        np.testing.assert_array_equal(part, whole[queries])


@pytest.mark.usefixtures("by_faiss")
@pytest.mark.parametrize("count", [1, 5])
def test_faiss_finds_nearly_all(count: int) -> None:
    descriptors = make_descriptors(2000)
    descriptors[:100] = descriptors[0]
    search = PaletteSearch(descriptors, count)
    assert "IVF" in search.description
    indices, distances = search.nearest(np.arange(2000))
    expected_indices, expected_distances = brute_force(descriptors, count)
    assert (indices[:, 0] == expected_indices[:, 0]).mean() >= 0.97
    assert (indices != np.arange(2000)[:, None]).all()
    assert (np.diff(distances, axis=1) >= 0).all()
    found = indices == expected_indices
    np.testing.assert_allclose(distances[found], expected_distances[found], rtol=1e-6)
    again, _ = nearest_palettes(descriptors, count)
    np.testing.assert_array_equal(again, indices)


@pytest.mark.usefixtures("by_faiss")
@pytest.mark.parametrize(("pictures", "count"), [(1, 2), (4, 6), (400, 399)])
def test_faiss_gives_all_others_that_there_are(pictures: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(palette_search, "_PROBES", 1)
    assert_equals_brute_force(make_descriptors(pictures), count)


class Products(torch.utils.data.Dataset[torch.Tensor]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> torch.Tensor:
        matrix = torch.full((256, 256), float(index))
        return (matrix @ matrix).mean()


@pytest.mark.usefixtures("by_faiss")
def test_forked_workers_go_on_after_a_search() -> None:
    descriptors = make_descriptors(1000)
    indices, _ = nearest_palettes(descriptors, 1)
    loader = DataLoader(Products(), batch_size=None, num_workers=2, multiprocessing_context="fork", timeout=20)
    assert [float(value) for value in loader] == [256.0 * i * i for i in range(4)]
    np.testing.assert_array_equal(nearest_palettes(descriptors, 1)[0], indices)


def test_without_faiss_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import_module = builtins.__import__

    def refuse(name: str, *arguments: Any, **options: Any) -> ModuleType:
        if name == "faiss":
            raise ModuleNotFoundError("No module named 'faiss'")
        return import_module(name, *arguments, **options)

    monkeypatch.setattr(palette_search, "EXACT_LIMIT", 50)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ValueError, match=r"60 pictures need FAISS.*pip install faiss-cpu, or use fewer than 50"):
        nearest_palettes(make_descriptors(60), 1)


@pytest.mark.parametrize(
    ("descriptors", "count", "message"),
    [
        (np.eye(3, dtype=np.float32), 1, "type float32"),
        (np.ones(3, dtype=np.float16), 1, r"shape \(3,\)"),
        (np.eye(3, dtype=np.float16), 0, "count is 0"),
        (np.diag([1, 1, np.nan]).astype(np.float16), 1, "descriptor 2 has length nan"),
        (np.zeros((3, 3), dtype=np.float16), 1, "descriptor 0 has length 0 instead of 1"),
    ],
)
def test_bad_input_is_refused(descriptors: np.ndarray, count: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nearest_palettes(descriptors, count)
