import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from stylecolor.randomness import make_key, normal, picture_keys, uniform


def keys(count: int, what: str = "test") -> Tensor:
    return torch.tensor([make_key(what, index) for index in range(count)])


def correlation(first: Tensor, second: Tensor) -> float:
    return float(np.corrcoef(first.flatten().double().numpy(), second.flatten().double().numpy())[0, 1])


def test_uniform_numbers_are_uniform() -> None:
    numbers = uniform(keys(20), "u", (100, 100))
    assert numbers.shape == (20, 100, 100)
    assert numbers.dtype == torch.float32
    assert numbers.amin() > 0
    assert numbers.amax() < 1
    # 200000 numbers: 6 standard errors of the mean, of the variance and of a decile's share
    assert numbers.mean().item() == pytest.approx(0.5, abs=6 * (1 / 12 / 2e5) ** 0.5)
    assert numbers.var().item() == pytest.approx(1 / 12, abs=6 * (1 / 180 / 2e5) ** 0.5)
    shares = torch.histc(numbers, bins=10, min=0, max=1) / numbers.numel()
    assert (shares - 0.1).abs().max() < 6 * (0.09 / 2e5) ** 0.5


def test_consecutive_keys_are_uniform_too() -> None:
    # one number from each of many nearly equal keys
    numbers = uniform(torch.arange(100_000), "u", (1,)).flatten()
    assert numbers.mean().item() == pytest.approx(0.5, abs=0.006)
    assert abs(correlation(numbers[:-1], numbers[1:])) < 0.02


def test_positions_keys_and_purposes_are_independent() -> None:
    numbers = uniform(keys(2), "u", (50_000,))
    limit = 6 / 50_000**0.5
    assert abs(correlation(numbers[0, :-1], numbers[0, 1:])) < limit
    assert abs(correlation(numbers[0], numbers[1])) < limit
    assert abs(correlation(numbers, uniform(keys(2), "v", (50_000,)))) < limit


def test_a_keys_numbers_are_not_its_neighbours_moved_on() -> None:
    first, second = (set(row) for row in uniform(torch.tensor([6, 7]), "u", (1000,)).tolist())
    assert len(first & second) <= 2


def test_high_and_low_bits_of_a_key_matter() -> None:
    base, low, high = uniform(torch.tensor([12345, 12345 ^ 1, 12345 ^ (1 << 61)]), "u", (20_000,))
    assert abs(correlation(base, low)) < 0.05
    assert abs(correlation(base, high)) < 0.05


def test_normal_numbers_are_normal() -> None:
    numbers = normal(keys(20), "n", (10_000,))
    assert numbers.isfinite().all()
    assert numbers.mean().item() == pytest.approx(0, abs=6 / 2e5**0.5)
    assert numbers.std().item() == pytest.approx(1, abs=6 / 4e5**0.5)
    assert (numbers.abs() < 1.96).float().mean().item() == pytest.approx(0.95, abs=0.005)
    assert (numbers.abs() > 3.5).float().mean().item() == pytest.approx(4.65e-4, abs=3e-4)


def test_the_same_call_gives_the_same_numbers_alone_or_in_a_batch() -> None:
    state = torch.random.get_rng_state()
    together = uniform(keys(4), "u", (3, 5))
    assert torch.equal(uniform(keys(4), "u", (3, 5)), together)
    assert torch.equal(torch.cat([uniform(key.unsqueeze(0), "u", (3, 5)) for key in keys(4)]), together)
    assert torch.equal(torch.random.get_rng_state(), state), "the global generator was used"


def test_the_same_numbers_in_another_process() -> None:
    program = "import torch; from stylecolor.randomness import *; print(uniform(torch.tensor([make_key(1, 'a')]), 'u', (2,)).tolist())"
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert out.strip() == str(uniform(torch.tensor([make_key(1, "a")]), "u", (2,)).tolist())


def test_keys_differ_and_fit_into_62_bits() -> None:
    made = {make_key(seed, epoch, name) for seed in range(3) for epoch in range(5) for name in ("a", "b", "c")}
    assert len(made) == 45
    assert all(0 <= key < 2**62 for key in made)


def test_pictures_keys_depend_on_every_pixel_and_its_place() -> None:
    pictures = torch.randint(0, 256, (1, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).repeat(4, 1, 1, 1)
    pictures[1, 2, 15, 15] ^= 1
    pictures[2] = pictures[0].flip(-1)
    found = picture_keys(pictures)
    assert found[0] == found[3]
    assert len(set(found.tolist())) == 3
    assert (found >= 0).all()
    assert torch.equal(picture_keys(pictures[1:2]), found[1:2])
