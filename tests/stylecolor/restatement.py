"""Feature matching restated in numpy: one sample, one region and one list of pixels at a time."""

from collections.abc import Callable

import numpy as np

Map = Callable[[np.ndarray], np.ndarray]


def covariance(pixels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Unbiased and weighted, of pixels (pixels, channels); a single pixel varies by nothing."""
    if np.count_nonzero(weights) < 2:
        return np.zeros((pixels.shape[1], pixels.shape[1]))
    return np.atleast_2d(np.cov(pixels.T, aweights=weights))


def power(matrix: np.ndarray, exponent: float) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return vectors @ np.diag(values**exponent) @ vectors.T


def map_onto(matching: str, x: np.ndarray, x_weights: np.ndarray, y: np.ndarray, y_weights: np.ndarray) -> Map:
    """What makes pixels with the statistics of `x` into pixels with those of `y`."""
    x_mean, y_mean = np.average(x, axis=0, weights=x_weights), np.average(y, axis=0, weights=y_weights)
    x_covariance, y_covariance = covariance(x, x_weights), covariance(y, y_weights)
    if matching == "adain":
        matrix = np.diag(np.sqrt(np.diag(y_covariance) + 1e-5) / np.sqrt(np.diag(x_covariance) + 1e-5))
    else:
        identity = np.eye(x.shape[1])
        # the smallest trace is for pixels that are all alike
        x_floor, y_floor = (1e-7 * max(np.trace(one), 1e-5) for one in (x_covariance, y_covariance))
        matrix = power(y_covariance + y_floor * identity, 0.5) @ power(x_covariance + x_floor * identity, -0.5)
    return lambda pixels: (pixels - x_mean) @ matrix.T + y_mean


def match_by_hand(
    matching: str,
    content: np.ndarray,
    style: np.ndarray,
    regions: np.ndarray | None = None,
    style_regions: np.ndarray | None = None,
) -> np.ndarray:
    """Of features (batch, channels, height, width), by weights (batch, regions, height, width)."""
    result = np.empty(content.shape)
    for sample in range(len(content)):
        x, y = (features[min(sample, len(features) - 1)].astype(float).reshape(content.shape[1], -1).T for features in (content, style))
        whole = map_onto(matching, x, np.ones(len(x)), y, np.ones(len(y)))
        matched = whole(x)
        if regions is not None and style_regions is not None:
            for index, region in enumerate(regions[sample]):
                if region.any():
                    region_style = style_regions[min(sample, len(style_regions) - 1), index]
                    own = map_onto(matching, x, region.ravel(), y, region_style.ravel())
                    matched += region.reshape(-1, 1) * (own(x) - whole(x))
        result[sample] = matched.T.reshape(content.shape[1:])
    return result
