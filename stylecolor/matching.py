"""Feature matching: give content features the statistics of a style (AdaIN)."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from stylecolor.errors import check_range

EPSILON = 1e-5
"""Added to the variance on both sides, so that constant channels are well defined."""


class ChannelStatistics(NamedTuple):
    """Mean and standard deviation of each channel of each sample, shape (batch, channels, 1, 1), in at least float32."""

    mean: Float[Tensor, "batch channels 1 1"]
    std: Float[Tensor, "batch channels 1 1"]


def _full_precision(features: Tensor) -> Tensor:
    return features if features.dtype == torch.float64 else features.float()


def channel_statistics(features: Float[Tensor, "batch channels height width"]) -> ChannelStatistics:
    """Mean and `sqrt(var + 1e-5)` over height and width, with the unbiased variance (0 for a single pixel).

    Computed in float32 for half-precision features, whose sums would overflow.
    """
    features = _full_precision(features)
    pixels = features.shape[-2] * features.shape[-1]
    variance, mean = torch.var_mean(features, dim=(2, 3), correction=1 if pixels > 1 else 0, keepdim=True)
    return ChannelStatistics(mean, (variance + EPSILON).sqrt())


def match_statistics(
    content: Float[Tensor, "batch channels height width"], style: ChannelStatistics, alpha: float = 1.0
) -> Float[Tensor, "batch channels height width"]:
    """AdaIN against statistics computed before: `sigma(y) * (x - mu(x)) / sigma(x) + mu(y)`, blended with x by strength `alpha`.

    Source: Huang and Belongie, ICCV 2017, equation 8; the blend is their equation 14. The result has the content's precision.
    """
    own = channel_statistics(content)
    matched = style.std * (_full_precision(content) - own.mean) / own.std + style.mean
    if alpha != 1.0:
        matched = alpha * matched + (1 - alpha) * content
    if content.dtype == torch.float16:
        # a nearly constant channel, stretched to a wide style, can leave float16's range
        limit = torch.finfo(torch.float16).max
        matched = matched.clamp(-limit, limit)
    return matched.to(content.dtype)


def adain(
    content: Float[Tensor, "batch channels height width"],
    style: Float[Tensor, "batch channels style_height style_width"],
    alpha: float = 1.0,
) -> Float[Tensor, "batch channels height width"]:
    """Adaptive instance normalisation of content features by style features, whose picture may have another size.

    Args:
        content: the features to change.
        style: the features whose per-channel mean and standard deviation they take.
        alpha: strength in [0, 1]; 0 returns the content.

    Raises:
        ValueError: for alpha outside [0, 1].
    """
    check_range("adain: alpha", alpha, low=0, high=1)
    return match_statistics(content, channel_statistics(style), alpha)
