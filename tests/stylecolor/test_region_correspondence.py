import numpy as np
import pytest
import torch

from stylecolor.region_correspondence import Correspondence, correspondence
from stylecolor.regions import VOID, LabelMap, corresponding


def counted(pixels: dict[int, int], side: int = 64) -> np.ndarray:
    """A map with so many pixels of each label, the rest void."""
    labels = np.full(side * side, VOID, dtype=np.uint8)
    start = 0
    for label, count in pixels.items():
        labels[start : start + count] = label
        start += count
    return labels.reshape(side, side)


def test_every_label_is_told_with_what_becomes_of_it() -> None:
    target = counted({1: 2048, 2: 1100, 3: 10, 4: 300, 0: 64})
    reference = counted({1: 1024, 2: 11, 3: 500, 5: 100, 0: 4})
    area = 64 * 64
    assert correspondence(target, reference, size=64) == [
        Correspondence(1, 2048 / area, 1024 / area, True, ""),
        Correspondence(2, 1100 / area, 11 / area, False, "its shares of the two pictures differ by a factor of 100 or more"),
        Correspondence(4, 300 / area, 0, False, "only in the target"),
        Correspondence(
            0, 64 / area, 4 / area, False, "too small in the reference: 4 px at the networks' size, where more than 10 are needed"
        ),
        Correspondence(
            3, 10 / area, 500 / area, False, "too small in the target: 10 px at the networks' size, where more than 10 are needed"
        ),
        Correspondence(5, 0, 100 / area, False, "only in the reference"),
    ]
    assert correspondence(counted({}), counted({}), size=64) == []


def test_regions_count_at_the_size_that_the_networks_see() -> None:
    labels = np.full((300, 200), 7, dtype=np.uint8)
    labels[100:104, 60:66] = 9
    assert [row.matched for row in correspondence(labels, labels, size=200)] == [True, True]
    assert [(row.label, row.matched) for row in correspondence(labels, labels, size=16)] == [(7, True), (9, False)]


@pytest.mark.parametrize("seed", range(5))
def test_the_rule_is_that_of_the_matching(seed: int) -> None:
    generator = np.random.default_rng(seed)
    counts = [dict(zip(range(12), (generator.pareto(0.5, 12) * 5 + 1).clip(max=300).astype(int), strict=True)) for _ in range(2)]
    maps = [counted(one) for one in counts]
    target, reference = (LabelMap.read(torch.from_numpy(labels)[None]) for labels in maps)
    values, valid = corresponding(target, reference.values, reference.shares(reference.values))
    expected = {value for value, good in zip(values, valid[0].tolist(), strict=True) if good}
    rows = correspondence(*maps, size=64)
    assert {row.label for row in rows if row.matched} == expected
    assert all(bool(row.reason) != row.matched for row in rows)
