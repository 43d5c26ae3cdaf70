"""Measures of a whole set of results: the Fréchet inception distance."""

import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor, nn

from evaluation.feature_extractors import FID_EXTRACTOR, FID_FEATURES, make_inception

RELIABLE_PICTURES = FID_FEATURES
"""With no more pictures than features, the covariances have no full rank."""


def frechet_distance(
    result_features: Float[Tensor, "results features"], truth_features: Float[Tensor, "truths features"]
) -> Float64[Tensor, ""]:
    """The Fréchet distance of two Gaussians with the means and covariances of the rows (Heusel et al. 2017, equation 6), in float64.

    Equal to what torchmetrics computes; but trace((C1 C2)^(1/2)) is taken as the nuclear norm of X1 X2^T, where C = X^T X, instead of by
    the eigenvalues of a product of two 2048 x 2048 matrices, which takes seconds to minutes for each method of each protocol.

    Raises:
        ValueError: for fewer than two rows, which have no covariance.
    """
    if min(len(result_features), len(truth_features)) < 2:
        raise ValueError("FID needs at least 2 pictures: evaluate more (limit)")
    (mean_1, factor_1), (mean_2, factor_2) = (_gaussian(features.double()) for features in (result_features, truth_features))
    common = torch.linalg.svdvals(factor_1 @ factor_2.T).sum()
    return (mean_1 - mean_2).square().sum() + factor_1.square().sum() + factor_2.square().sum() - 2 * common


def _gaussian(features: Tensor) -> tuple[Tensor, Tensor]:
    """The mean and a factor X of the covariance X^T X."""
    mean = features.mean(dim=0)
    factor = (features - mean) / (len(features) - 1) ** 0.5
    # a triangular factor has as many rows as features, however many pictures there are
    return mean, torch.linalg.qr(factor, mode="r").R if len(factor) > factor.shape[1] else factor


class SetMetrics:
    """FID from one row of features for each picture, so that the number depends on the pictures and their order alone, and not on how
    many processes measured them.

    `names` are the measures that there are; `unavailable` says of the others why and what helps.

    Args:
        device: where features are computed.
        fid_weights: a file with torch-fidelity's InceptionV3; None takes the published one, `none` leaves the measure out.
        mirror: of published weights, see `stylecolor.published_weights.obtain`.

    Raises:
        ValueError: when `fid_weights` names a file that is missing or not of that network.
    """

    def __init__(self, device: torch.device | str, fid_weights: str | None = None, mirror: str | None = None) -> None:
        self.unavailable: dict[str, str] = {}
        self.feature_extractors: dict[str, str] = {}
        self.names: tuple[str, ...] = ()
        network = make_inception(fid_weights, mirror)
        if isinstance(network, nn.Module):
            self._network = network.to(device)
            self.names = ("fid",)
            self.feature_extractors["fid"] = FID_EXTRACTOR if fid_weights is None else f"{FID_EXTRACTOR}; {fid_weights}"
        else:
            self.unavailable["fid"] = network.reason

    @torch.no_grad()
    def features(self, rgb: Float[Tensor, "batch 3 height width"]) -> Float32[Tensor, "batch features"]:
        """A row for each sRGB picture in [0, 1], of its 8 bits; each picture by itself, as in `PictureMetrics`."""
        pixels = (rgb.clamp(0, 1) * 255).round().to(torch.uint8)
        return torch.cat([self._network(picture) for picture in pixels.split(1)])

    def compute(self, result_features: Float[Tensor, "pictures features"], truth_features: Float[Tensor, "pictures features"]) -> float:
        """FID of the results of one method in one protocol, their rows in the order of the pair list; on the CPU.

        Raises:
            ValueError: for fewer than two pictures.
        """
        return float(frechet_distance(result_features.cpu(), truth_features.cpu()))


def fid_caution(pictures: int) -> str | None:
    """What to know of the FID of so few pictures; None where they are enough."""
    if pictures > RELIABLE_PICTURES:
        return None
    return (
        f"FID of {pictures} pictures is biased upwards, as their covariances of {FID_FEATURES} features are rank-deficient below "
        f"{RELIABLE_PICTURES + 1}: it orders methods on equal pictures and is not comparable with other numbers of pictures"
    )
