from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from evaluation.set_metrics import SetMetrics, fid_caution, frechet_distance
from tests.data import photograph


def rows(count: int, features: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(features, features, generator=generator)
    return torch.randn(count, features, generator=generator) @ mixing + seed


def frechet_in_scipy(first: np.ndarray, second: np.ndarray) -> float:
    means, covariances = [first.mean(axis=0), second.mean(axis=0)], [np.cov(first.T), np.cov(second.T)]
    root = np.real(scipy.linalg.sqrtm(covariances[0] @ covariances[1]))
    return ((means[0] - means[1]) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)


class Unchanged(nn.Module):
    num_features = 12

    def forward(self, features: Tensor) -> Tensor:
        return features


@pytest.mark.parametrize(("first", "second"), [(40, 60), (40, 5), (4, 6), (12, 12)])
def test_the_distance_is_that_of_torchmetrics_and_of_scipy(first: int, second: int) -> None:
    results, truths = rows(first, 12, 0).double(), rows(second, 12, 1).double()
    reference = FrechetInceptionDistance(Unchanged())
    reference.update(results, real=False)
    reference.update(truths, real=True)
    distance = float(frechet_distance(results, truths))
    assert distance == pytest.approx(float(reference.compute()), rel=1e-5)
    assert distance == pytest.approx(frechet_in_scipy(results.numpy(), truths.numpy()), rel=1e-4)


def test_equal_sets_have_no_distance_and_shifted_ones_the_squared_shift() -> None:
    features = rows(30, 12, 0)
    assert float(frechet_distance(features, features)) == pytest.approx(0, abs=1e-8)
    assert float(frechet_distance(features.double() + 2, features)) == pytest.approx(12 * 4)


def test_a_single_picture_has_no_fid() -> None:
    with pytest.raises(ValueError, match="FID needs at least 2 pictures"):
        frechet_distance(rows(1, 12, 0), rows(5, 12, 1))


@pytest.fixture(scope="module")
def metrics(inception_file: Path) -> SetMetrics:
    return SetMetrics("cpu", str(inception_file))


def pictures(first: int, count: int) -> Tensor:
    shown = np.stack([np.asarray(photograph(first + number, number, 64, 48)) for number in range(count)])
    return torch.from_numpy(shown.transpose(0, 3, 1, 2).copy()).float() / 255


def test_features_are_those_of_torchmetrics(metrics: SetMetrics, inception_file: Path) -> None:
    rgb = pictures(0, 3)
    reference = FrechetInceptionDistance(2048, feature_extractor_weights_path=str(inception_file))
    features = metrics.features(rgb)
    assert features.shape == (3, 2048)
    assert features.std(dim=0).mean() > 1e-3, "the features do not tell the pictures apart"
    torch.testing.assert_close(features, reference.inception((rgb * 255).round().to(torch.uint8)), rtol=1e-3, atol=1e-5)
    assert torch.equal(metrics.features(rgb[:1] + 0.4 / 255), features[:1]), "8 bits are rounded to, not cut"
    assert metrics.names == ("fid",)
    assert metrics.unavailable == {}


def test_the_number_does_not_depend_on_how_the_pictures_were_shared(metrics: SetMetrics) -> None:
    results, truths = pictures(0, 4), pictures(10, 4)
    whole = metrics.compute(metrics.features(results), metrics.features(truths))
    shares = []
    for rgb in (results, truths):
        found = torch.empty(4, 2048)
        for rank in range(2):
            found[rank::2] = metrics.features(rgb[rank::2])
        shares.append(found)
    assert whole == metrics.compute(*shares)
    assert whole > 0


def test_few_pictures_come_with_a_caution() -> None:
    caution = fid_caution(100)
    assert caution is not None
    assert "FID of 100 pictures is biased" in caution
    assert fid_caution(2048) is not None
    assert fid_caution(2049) is None
