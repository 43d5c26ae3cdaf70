import numpy as np
import pytest
import skimage.color
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from stylecolor.ab_bins import bin_prior, encode_ab, gamut_bins, nearest_bins, rebalancing_weights


def some_ab(batch: int = 2, height: int = 12, width: int = 9) -> Tensor:
    return 60 * torch.randn(batch, 2, height, width, generator=torch.Generator().manual_seed(0))


def encode_by_hand(ab: np.ndarray, bins: np.ndarray, neighbours: int, sigma: float) -> np.ndarray:
    """Of (pixels, 2): (pixels, bins)."""
    distances, indices = NearestNeighbors(n_neighbors=neighbours).fit(bins).kneighbors(ab)
    encoded = np.zeros((len(ab), len(bins)))
    for pixel in range(len(ab)):
        weights = np.exp(-(distances[pixel] ** 2) / (2 * sigma**2))
        encoded[pixel, indices[pixel]] = weights / weights.sum()
    return encoded


# --- bins ---


def cells_of(levels: np.ndarray) -> set[tuple[int, int]]:
    lattice = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 1, 3)
    ab = skimage.color.rgb2lab(lattice)[:, 0, 1:]
    return {(int(a), int(b)) for a, b in np.unique(np.floor(ab / 10 + 0.5), axis=0) * 10}


def test_bins_are_the_cells_of_step_10_that_an_srgb_colour_falls_in() -> None:
    # the whole cube, at every fifth value and the two next to the ends, where the gamut's corners are
    levels = np.concatenate((np.arange(0, 256, 5), [1, 2, 253, 254])) / 255
    expected = cells_of(levels)
    found = [(int(a), int(b)) for a, b in gamut_bins().tolist()]
    assert len(found) == len(set(found)) == 261
    assert found == sorted(found)
    assert expected <= set(found)
    # those that a coarser lattice misses are cut by the gamut's border alone
    assert len(set(found) - expected) <= 2


@pytest.mark.slow
def test_bins_are_those_of_every_8_bit_colour() -> None:
    levels = np.arange(256) / 255
    green, blue = np.meshgrid(levels, levels)
    found: set[tuple[int, int]] = set()
    for red in levels:
        ab = skimage.color.rgb2lab(np.stack((np.full_like(green, red), green, blue), axis=-1))[..., 1:].reshape(-1, 2)
        found |= {(int(a), int(b)) for a, b in np.unique(np.floor(ab / 10 + 0.5), axis=0) * 10}
    assert found == {(int(a), int(b)) for a, b in gamut_bins().tolist()}


def test_bins_do_not_depend_on_who_asks_first() -> None:
    first = gamut_bins()
    first.zero_()
    assert gamut_bins().abs().amax() == 110
    assert gamut_bins().dtype == torch.float32


# --- soft encoding ---


@pytest.mark.parametrize(("neighbours", "sigma"), [(5, 5.0), (5, 12.0), (1, 5.0), (10, 5.0)])
def test_soft_encoding_equals_that_by_hand(neighbours: int, sigma: float) -> None:
    ab, bins = some_ab(), gamut_bins()
    found = encode_ab(ab, bins, neighbours, sigma)
    assert found.shape == (2, 261, 12, 9)
    expected = encode_by_hand(ab.permute(0, 2, 3, 1).reshape(-1, 2).double().numpy(), bins.numpy(), neighbours, sigma)
    np.testing.assert_allclose(found.permute(0, 2, 3, 1).reshape(-1, 261).numpy(), expected, atol=1e-4)


def test_five_bins_and_sigma_5_are_the_default() -> None:
    assert torch.equal(encode_ab(some_ab(), gamut_bins()), encode_ab(some_ab(), gamut_bins(), 5, 5.0))
    assert torch.equal((encode_ab(some_ab().clamp(-50, 50), gamut_bins()) > 0).sum(dim=1), torch.full((2, 12, 9), 5))


def test_the_encodings_mean_is_near_the_colour() -> None:
    ab = some_ab().clamp(-30, 30)
    mean = torch.einsum("nqhw,qc->nchw", encode_ab(ab, gamut_bins()), gamut_bins())
    assert (mean - ab).abs().amax() < 5


@pytest.mark.parametrize("value", [0.0, 110.0, -128.0, 1e4])
def test_any_single_colour_has_a_finite_encoding(value: float) -> None:
    encoded = encode_ab(torch.full((1, 2, 4, 4), value), gamut_bins())
    torch.testing.assert_close(encoded.sum(dim=1), torch.ones(1, 4, 4))
    assert (encoded == encoded[:, :, :1, :1]).all()


def test_encoding_is_in_float32_under_autocast() -> None:
    expected = encode_ab(some_ab(), gamut_bins())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(encode_ab(some_ab(), gamut_bins()), expected)
    assert encode_ab(some_ab().bfloat16(), gamut_bins()).dtype == torch.float32


def test_nearest_bins_come_nearest_first() -> None:
    indices, shares = nearest_bins(some_ab(), gamut_bins())
    encoded = encode_ab(some_ab(), gamut_bins())
    assert torch.equal(encoded.gather(1, indices), shares)
    assert (shares.diff(dim=1) <= 0).all()
    assert torch.equal(indices[:, 0], encoded.argmax(dim=1))


# --- prior and weights ---


def some_histogram() -> Tensor:
    """Mostly greys, few saturated colours; and cells halfway between bins."""
    random = np.random.default_rng(0)
    ab = random.normal(0, 15, (20_000, 2)).round().clip(-80, 80).astype(int)
    counts = np.zeros((256, 256), dtype=np.int64)
    np.add.at(counts, (ab[:, 0] + 128, ab[:, 1] + 128), 1)
    return torch.from_numpy(counts)


def prior_by_hand(counts: np.ndarray, bins: np.ndarray, sigma: float) -> np.ndarray:
    frequencies = np.zeros(len(bins))
    for row, column in zip(*np.nonzero(counts), strict=True):
        distances = np.hypot(*(bins - (row - 128, column - 128)).T)
        nearest = np.flatnonzero(np.isclose(distances, distances.min()))
        frequencies[nearest] += counts[row, column] / len(nearest)
    smoothed = np.zeros(len(bins))
    for i in range(len(bins)):
        for j in range(len(bins)):
            smoothed[i] += frequencies[j] * np.exp(-((bins[i] - bins[j]) ** 2).sum() / (2 * sigma**2))
    return smoothed / smoothed.sum()


@pytest.mark.parametrize("sigma", [5.0, 8.0])
def test_prior_equals_that_by_hand(sigma: float) -> None:
    found = bin_prior(some_histogram(), gamut_bins(), sigma)
    expected = prior_by_hand(some_histogram().numpy(), gamut_bins().double().numpy(), sigma)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)
    assert found.sum().item() == pytest.approx(1)
    assert found.dtype == torch.float64


def test_bins_that_are_not_quite_on_the_grid_have_the_same_prior() -> None:
    # as those of a weight file, which were divided by 110
    rounded = gamut_bins() + 1e-4 * torch.rand(261, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(bin_prior(some_histogram(), rounded), bin_prior(some_histogram(), gamut_bins()), rtol=1e-3, atol=1e-12)


def test_an_empty_histogram_is_refused() -> None:
    with pytest.raises(ValueError, match="the ab histogram counts no pixel"):
        bin_prior(torch.zeros(256, 256, dtype=torch.int64), gamut_bins())


@pytest.mark.parametrize("uniform_share", [0.5, 0.2, 1.0])
def test_weights_equal_their_formula(uniform_share: float) -> None:
    random = np.random.default_rng(1)
    prior = random.random(20) ** 4
    prior[[3, 8, 15]] = 0
    prior /= prior.sum()
    expected = 1 / ((1 - uniform_share) * prior + uniform_share / 17)
    expected /= (prior * expected).sum()
    found = rebalancing_weights(torch.from_numpy(prior), uniform_share).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert (prior * found).sum() == pytest.approx(1, rel=1e-6)


def test_rare_colours_weigh_more_by_default_up_to_the_uniform_share() -> None:
    prior = bin_prior(some_histogram(), gamut_bins())
    weights = rebalancing_weights(prior)
    assert torch.equal(weights, rebalancing_weights(prior, 0.5))
    assert weights.dtype == torch.float32
    order = prior.argsort()
    assert (weights[order].diff() <= 0).all()
    grey = (gamut_bins() == 0).all(dim=1)
    assert weights[grey] < 1 < weights.amax()


def test_weights_of_pictures_of_a_single_colour_are_finite() -> None:
    histogram = torch.zeros(256, 256, dtype=torch.int64)
    histogram[128 + 98, 128 - 60] = 1000
    weights = rebalancing_weights(bin_prior(histogram, gamut_bins()))
    assert weights.isfinite().all()
    assert (weights > 0).all()


@pytest.mark.parametrize("uniform_share", [0.0, -0.1, 1.1, float("nan")])
def test_a_wrong_uniform_share_is_refused(uniform_share: float) -> None:
    with pytest.raises(ValueError, match="uniform_share="):
        rebalancing_weights(torch.ones(4) / 4, uniform_share)


def test_a_narrow_gaussian_gives_each_pixel_to_its_nearest_bin() -> None:
    bins = gamut_bins()
    ab = 20 * torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    encoded = encode_ab(ab, bins, sigma=1e-25)
    assert torch.equal(encoded.argmax(1), nearest_bins(ab, bins)[0][:, 0])
    torch.testing.assert_close(encoded.amax(1), torch.ones(1, 8, 8))
    histogram = torch.zeros(256, 256, dtype=torch.int64)
    histogram[128, 128] = 3
    assert bin_prior(histogram, bins, sigma=1e-25).max() == 1
