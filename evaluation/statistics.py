"""How sure the mean of a measure is."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.stats import bootstrap

RESAMPLES = 2000
CONFIDENCE = 0.95
_VALUES_AT_ONCE = 2**22
"""Resampled values held at a time, so that many pictures take no more memory than few."""


class Interval(NamedTuple):
    """A mean, and between what bounds it lies with 95 % confidence."""

    mean: float
    low: float
    high: float


def bootstrap_interval(values: Float[np.ndarray, " pictures"], seed: int) -> Interval:
    """The mean of a measure over the pictures, with its percentile bootstrap interval (Efron and Tibshirani 1993, chapter 13).

    Equal values and an equal seed give the equal interval.

    Args:
        values: one a picture; NaN where it could not be measured, which is left out. An infinite one, such as the PSNR of a picture that
            equals the truth, makes the mean infinite and leaves no interval (NaN).
        seed: of the resampling.

    Raises:
        ValueError: for fewer than two numbers, which say nothing of their spread.
    """
    numbers = np.asarray(values, dtype=np.float64)
    numbers = numbers[~np.isnan(numbers)]
    if len(numbers) < 2:
        raise ValueError(f"a bootstrap interval needs at least 2 pictures, there are {len(numbers)}: evaluate more (limit)")
    mean = float(numbers.mean())
    if not np.isfinite(numbers).all():
        return Interval(mean, np.nan, np.nan)
    if np.all(numbers == numbers[0]):
        return Interval(float(numbers[0]), float(numbers[0]), float(numbers[0]))
    found = bootstrap(
        (numbers,),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        batch=max(1, _VALUES_AT_ONCE // len(numbers)),
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(mean, float(found.low), float(found.high))
