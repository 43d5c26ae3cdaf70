import math

import numpy as np
import pytest

from evaluation.statistics import bootstrap_interval


def test_the_interval_is_the_middle_of_the_resampled_means() -> None:
    values = np.random.default_rng(1).gamma(2, 3, 60)
    found = bootstrap_interval(values, seed=0)
    random = np.random.default_rng(2)
    means = np.sort([values[random.integers(0, 60, 60)].mean() for _ in range(20_000)])
    assert found.mean == values.mean()
    assert found.low == pytest.approx(means[500], abs=0.06)
    assert found.high == pytest.approx(means[-501], abs=0.06)
    # of many values the interval is about the normal one
    error = values.std(ddof=1) / math.sqrt(60)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_equal_seeds_give_equal_intervals() -> None:
    values = np.random.default_rng(0).normal(size=40)
    assert bootstrap_interval(values, 3) == bootstrap_interval(values.copy(), 3)
    assert bootstrap_interval(values, 3) != bootstrap_interval(values, 4)


def test_pictures_without_a_number_are_left_out() -> None:
    values = np.random.default_rng(0).normal(size=20)
    gaps = np.insert(values, [0, 7, 20], np.nan)
    assert bootstrap_interval(gaps, 0) == bootstrap_interval(values, 0)


def test_a_constant_is_its_own_interval() -> None:
    assert bootstrap_interval(np.full(9, 0.1), 0) == (0.1, 0.1, 0.1)


def test_an_infinite_value_leaves_no_interval() -> None:
    mean, low, high = bootstrap_interval(np.array([20.0, math.inf, 30.0]), 0)
    assert mean == math.inf
    assert math.isnan(low)
    assert math.isnan(high)


@pytest.mark.parametrize("values", [[], [3.0], [math.nan, math.nan], [3.0, math.nan]])
def test_fewer_than_two_numbers_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"needs at least 2 pictures, there are [01]"):
        bootstrap_interval(np.array(values), 0)
