"""Feature matching: give content features the statistics of a style, by AdaIN or by WCT, as a whole or region by region."""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from stylecolor.errors import check_choice, check_range

ADAIN_EPSILON = 1e-5
"""Added to the variance on both sides, so that constant channels are well defined."""
WCT_EPSILON = 1e-7
"""Share of the covariance's trace that is added to each of its eigenvalues, so that directions without variance are well defined."""
_ROUNDING = 1e-10
"""Variance that rounding alone can make, as a share of the mean's square: not to be whitened."""
_SMALLEST = 1e-12
_BLOCK_PIXELS = 64


class Statistics(NamedTuple):
    """What a matching takes over from a style: the whole picture's in slot 0, those of its regions in the others; at least float32.

    `spread` is the standard deviation of each channel (AdaIN) or the symmetric square root of the covariance (WCT).
    """

    mean: Float[Tensor, "batch slots channels"]
    spread: Float[Tensor, "batch slots channels"] | Float[Tensor, "batch slots channels channels"]


class Moments(NamedTuple):
    """Mean and second moments of content, by slots as in `Statistics`, and its pixels about the whole picture's mean.

    Slot means are kept as offsets from that mean, since differences of large numbers lose digits; `second` is the variance of each channel
    or the covariance. Covariances of regions that have fewer pixels than channels are kept as `factor`, whose columns' products they are.
    """

    centred: Float[Tensor, "batch pixels channels"]
    mean: Float[Tensor, "batch 1 channels"]
    offset: Float[Tensor, "batch slots channels"]
    second: Tensor
    factor: Float[Tensor, "batch regions region_pixels channels"] | None = None


class Matching(ABC):
    """A way to measure a style and to match content with it.

    `regions` are weights between 0 and 1, shape (batch, regions, height, width): how much each pixel of the features belongs to each
    region. What is left of 1 belongs to none.
    """

    def measure(self, features: Float[Tensor, "batch channels height width"], regions: Tensor | None = None) -> Statistics:
        """The statistics of features as a whole and of each region; in float32 for half-precision features, whose sums would overflow."""
        with torch.autocast(features.device.type, enabled=False):
            moments = self._moments(_pixels(features), None if regions is None else regions.flatten(2))
            return Statistics(moments.mean + moments.offset, self._root(moments))

    def match(
        self,
        content: Float[Tensor, "batch channels height width"],
        style: Statistics,
        alpha: float = 1.0,
        regions: Tensor | None = None,
    ) -> Float[Tensor, "batch channels height width"]:
        """Content features with the statistics of `style`, blended with themselves by strength `alpha`; in the content's precision.

        With regions, slot i + 1 of the style is for region i, and pixels that belong to no region take slot 0's statistics, measured on
        both sides over the whole picture.
        """
        with torch.autocast(content.device.type, enabled=False):
            weights = None if regions is None else regions.flatten(2)
            moments = self._moments(_pixels(content), weights)
            matched = self._apply(moments, style, weights, _is_channels_last(content))
            matched = matched.transpose(1, 2).unflatten(2, content.shape[-2:])
        if alpha != 1.0:
            matched = torch.lerp(_full_precision(content), matched, alpha)
        if content.dtype == torch.float16:
            # a nearly constant channel, stretched to a wide style, can leave float16's range
            limit = torch.finfo(torch.float16).max
            matched = matched.clamp(-limit, limit)
        return matched.to(content.dtype)

    @abstractmethod
    def _moments(self, pixels: Tensor, weights: Tensor | None) -> Moments:
        """Of the pixels (batch, pixels, channels) of each slot."""

    @abstractmethod
    def _root(self, moments: Moments) -> Tensor:
        """The spread that belongs to second moments."""

    @abstractmethod
    def _apply(self, moments: Moments, style: Statistics, weights: Tensor | None, channels_last: bool) -> Tensor:
        """Matched pixels (batch, pixels, channels)."""


class AdaIN(Matching):
    """Adaptive instance normalisation: `sigma(y) * (x - mu(x)) / sigma(x) + mu(y)` for each channel.

    Source: Huang and Belongie, ICCV 2017, equation 8; the strength is their equation 14. `sigma` is `sqrt(var + 1e-5)` with the unbiased
    variance; a single pixel has variance 0.
    """

    def _moments(self, pixels: Tensor, weights: Tensor | None) -> Moments:
        mean = pixels.mean(dim=1, keepdim=True)
        centred = pixels - mean
        # on CPUs twice as fast as `torch.var_mean`
        squares = centred.square()
        variance = squares.sum(dim=1, keepdim=True) / max(1, pixels.shape[1] - 1)
        if weights is None:
            return Moments(centred, mean, torch.zeros_like(mean), variance)
        share = _shares(weights)
        offset = share @ centred
        variances = (share @ squares - offset.square()).clamp(min=0) * _bessel(share)
        return Moments(centred, mean, _with_whole(offset), torch.cat((variance, variances), dim=1))

    def _root(self, moments: Moments) -> Tensor:
        return (moments.second + ADAIN_EPSILON).sqrt()

    def _apply(self, moments: Moments, style: Statistics, weights: Tensor | None, channels_last: bool) -> Tensor:
        scale = style.spread / self._root(moments)
        shift = style.mean - scale * moments.offset
        if weights is None:
            return torch.addcmul(shift, moments.centred, scale)
        return _blend(shift, weights, channels_last).addcmul_(moments.centred, _blend(scale, weights, channels_last))


class WCT(Matching):
    """Whitening and colouring: `C_y^(1/2) C_x^(-1/2) (x - mu(x)) + mu(y)` with symmetric square roots by eigendecomposition.

    Source: Li et al., NeurIPS 2017, equations 3 and 4; the symmetric form is theirs too. On both sides each eigenvalue is raised by 1e-7 of
    the covariance's trace, so that content that equals the style stays what it is, whatever its rank.
    """

    def _moments(self, pixels: Tensor, weights: Tensor | None) -> Moments:
        mean = pixels.mean(dim=1, keepdim=True)
        centred = pixels - mean
        covariance = (centred.transpose(1, 2) @ centred / max(1, pixels.shape[1] - 1)).unsqueeze(1)
        if weights is None:
            return Moments(centred, mean, torch.zeros_like(mean), covariance)
        share = _shares(weights)
        offset = share @ centred
        largest = max(1, int((share > 0).sum(-1).max()))
        if largest < pixels.shape[2]:
            # whose eigenvalues are those of a smaller matrix
            return Moments(centred, mean, _with_whole(offset), covariance, _factors(centred, offset, share, largest))
        second = _block_covariances(centred, share) - offset.unsqueeze(-1) * offset.unsqueeze(-2)
        covariances = second * _bessel(share).unsqueeze(-1)
        return Moments(centred, mean, _with_whole(offset), torch.cat((covariance, covariances), dim=1))

    def _root(self, moments: Moments) -> Tensor:
        return _regularized_power(moments, 0.5)

    def _apply(self, moments: Moments, style: Statistics, weights: Tensor | None, channels_last: bool) -> Tensor:
        # pixels are rows here, so the product is transposed
        matrix = _regularized_power(moments, -0.5) @ style.spread
        if weights is None:
            return moments.centred @ matrix.squeeze(1) + style.mean
        rest = (1 - weights.sum(1, keepdim=True)).clamp(min=0)
        return _block_apply(moments, matrix, style.mean.expand_as(moments.offset), torch.cat((rest, weights), dim=1))


MATCHINGS: dict[str, Matching] = {"adain": AdaIN(), "wct": WCT()}
"""By the names of `stage.matching`; `none` matches nowhere."""


def adain(
    content: Float[Tensor, "batch channels height width"],
    style: Float[Tensor, "batch channels style_height style_width"],
    alpha: float = 1.0,
) -> Float[Tensor, "batch channels height width"]:
    """`match_features` by AdaIN."""
    return match_features(content, style, "adain", alpha)


def wct(
    content: Float[Tensor, "batch channels height width"],
    style: Float[Tensor, "batch channels style_height style_width"],
    alpha: float = 1.0,
) -> Float[Tensor, "batch channels height width"]:
    """`match_features` by WCT."""
    return match_features(content, style, "wct", alpha)


def match_features(
    content: Float[Tensor, "batch channels height width"],
    style: Float[Tensor, "batch channels style_height style_width"],
    matching: str,
    alpha: float = 1.0,
) -> Float[Tensor, "batch channels height width"]:
    """Content features with the statistics of style features, whose picture may have another size.

    Args:
        content: the features to change.
        style: the features whose statistics they take; one for each content, or one for all.
        matching: `adain` or `wct`.
        alpha: strength in [0, 1]; 0 returns the content.

    Raises:
        ValueError: for an unknown matching and alpha outside [0, 1].
    """
    check_choice("matching", matching, MATCHINGS)
    check_range("alpha", alpha, low=0, high=1)
    method = MATCHINGS[matching]
    return method.match(content, method.measure(style), alpha)


def _full_precision(features: Tensor) -> Tensor:
    return features if features.dtype == torch.float64 else features.float()


def _pixels(features: Tensor) -> Tensor:
    """(batch, pixels, channels), without a copy in either memory order."""
    return _full_precision(features).flatten(2).transpose(1, 2)


def _is_channels_last(features: Tensor) -> bool:
    return features.is_contiguous(memory_format=torch.channels_last)


def _blend(table: Float[Tensor, "batch slots channels"], weights: Tensor, channels_last: bool) -> Float[Tensor, "batch pixels channels"]:
    """For each pixel slot 0's row and, by its weights, how much the other slots' rows differ from it; in the features' memory order."""
    first, others = table[:, :1], table[:, 1:] - table[:, :1]
    if channels_last:
        return torch.baddbmm(first, weights.transpose(1, 2), others)
    return torch.baddbmm(first.transpose(1, 2), others.transpose(1, 2), weights).transpose(1, 2)


def _shares(weights: Tensor) -> Tensor:
    """Of each pixel in its region; they sum to 1, or to 0 in empty regions."""
    return weights / weights.sum(-1, keepdim=True).clamp(min=_SMALLEST)


def _with_whole(offset: Tensor) -> Tensor:
    """The whole picture's offset from its own mean, which is 0, before those of the regions."""
    return torch.cat((torch.zeros_like(offset[:, :1]), offset), dim=1)


def _bessel(share: Tensor) -> Tensor:
    """What makes the weighted second moment unbiased: 1 / (1 - sum of squared weights); 0 where one pixel has all the weight."""
    freedom = 1 - share.square().sum(-1, keepdim=True)
    return torch.where(freedom > 1e-6, 1 / freedom.clamp(min=1e-6), 0.0)


def _regularized_power(moments: Moments, exponent: float) -> Float[Tensor, "batch slots channels channels"]:
    """The power of the covariances, their eigenvalues raised by a floor, which the gradient takes for a constant."""
    traces = [moments.second.diagonal(dim1=-2, dim2=-1).sum(-1)]
    if moments.factor is not None:
        traces.append(moments.factor.square().sum((-2, -1)))
    mean = moments.mean + moments.offset
    floor = (WCT_EPSILON * torch.cat(traces, dim=1) + _ROUNDING * mean.square().sum(-1) + _SMALLEST).detach()
    whole = moments.second.shape[1]
    identity = torch.eye(mean.shape[-1], device=mean.device, dtype=mean.dtype)
    power = symmetric_power(moments.second + floor[:, :whole, None, None] * identity, exponent)
    if moments.factor is None:
        return power
    of_factor = _FactorPower.apply(moments.factor, floor[:, whole:, None], exponent)
    return torch.cat((power, floor[:, whole:, None, None] ** exponent * identity + of_factor), dim=1)  # pyright: ignore[reportOperatorIssue]


class _SymmetricPower(torch.autograd.Function):
    """The derivative of an eigendecomposition is unbounded where eigenvalues coincide; that of the power itself is not.

    Source: Daleckii and Krein; Bhatia, *Matrix Analysis*, theorem V.3.3.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, exponent: float) -> Tensor:
        values, vectors = torch.linalg.eigh(matrix)
        # rounding can leave the smallest ones of a regularised matrix below zero
        values = values.clamp(min=torch.finfo(values.dtype).eps * values[..., -1:].clamp(min=_SMALLEST))
        powers = values**exponent
        # divided differences (f(p) - f(q)) / (p - q) of the square root, 1 / (sqrt p + sqrt q), and of its inverse
        sums = values.sqrt().unsqueeze(-1) + values.sqrt().unsqueeze(-2)
        differences = 1 / sums if exponent > 0 else -powers.unsqueeze(-1) * powers.unsqueeze(-2) / sums
        ctx.save_for_backward(vectors, differences)
        return (vectors * powers.unsqueeze(-2)) @ vectors.mT

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        vectors, differences = ctx.saved_tensors
        return vectors @ ((vectors.mT @ gradients[0] @ vectors) * differences) @ vectors.mT, None


class _FactorPower(torch.autograd.Function):
    """`(X^T X + floor)^exponent - floor^exponent`, by the eigenvalues k of the smaller `X X^T`: `X^T g(X X^T) X` with
    `g(k) = ((k + floor)^exponent - floor^exponent) / k`."""

    @staticmethod
    def forward(ctx: Any, factor: Tensor, floor: Tensor, exponent: float) -> Tensor:
        values, vectors = torch.linalg.eigh(factor @ factor.mT)
        # written without differences of nearly equal numbers, and so are the divided differences of g
        root, least = (values.clamp(min=0) + floor).sqrt(), floor.sqrt()
        first, second, e = root.unsqueeze(-1), root.unsqueeze(-2), least.unsqueeze(-1)
        if exponent > 0:
            powers = 1 / (root + least)
            differences = -1 / ((first + e) * (second + e) * (first + second))
        else:
            powers = -1 / (least * root * (root + least))
            differences = (first + second + e) / (e * first * second * (first + e) * (second + e) * (first + second))
        # turned first, since g is so large where X turns out next to nothing that sums over it would lose all digits
        turned = vectors.mT @ factor
        ctx.save_for_backward(vectors, turned, powers.unsqueeze(-1), differences)
        return turned.mT @ (powers.unsqueeze(-1) * turned)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        vectors, turned, powers, differences = ctx.saved_tensors
        half = turned @ (gradients[0] + gradients[0].mT)
        return vectors @ (powers * half + (differences * (half @ turned.mT)) @ turned), None, None


def symmetric_power(matrix: Float[Tensor, "*batch n n"], exponent: float) -> Float[Tensor, "*batch n n"]:
    """The square root (`exponent` 0.5) or its inverse (-0.5) of symmetric positive definite matrices, differentiable everywhere."""
    assert abs(exponent) == 0.5
    return _SymmetricPower.apply(matrix, exponent)  # pyright: ignore[reportReturnType]


class _Blocks(NamedTuple):
    """The (pixel, slot) pairs with a weight, sorted by slot into blocks of one slot each: work does not grow with the number of slots.

    `pixel` is a row of all samples' pixels together, `weight` is 0 in the places that fill up a slot's last block.
    """

    pixel: Tensor
    weight: Tensor
    slot: Tensor


def _make_blocks(weights: Float[Tensor, "batch slots pixels"], size: int = _BLOCK_PIXELS) -> _Blocks:
    batch, slots, pixels = weights.shape
    flat = weights.reshape(batch * slots, pixels)
    slot, position = flat.nonzero(as_tuple=True)
    counts = torch.bincount(slot, minlength=batch * slots)
    blocks = (counts + size - 1) // size
    first_block = blocks.cumsum(0) - blocks
    rank = torch.arange(len(slot), device=slot.device) - (counts.cumsum(0) - counts)[slot]
    place = first_block[slot] * size + rank
    block_slot = torch.repeat_interleave(torch.arange(batch * slots, device=slot.device), blocks)
    pixel = torch.zeros(len(block_slot) * size, dtype=torch.int64, device=slot.device)
    weight = torch.zeros(len(pixel), dtype=weights.dtype, device=slot.device)
    pixel[place] = slot // slots * pixels + position
    weight[place] = flat[slot, position]
    return _Blocks(pixel.view(-1, size), weight.view(-1, size, 1), block_slot)


def _block_covariances(centred: Tensor, share: Float[Tensor, "batch slots pixels"]) -> Float[Tensor, "batch slots channels channels"]:
    """The weighted mean of each slot's outer products."""
    batch, slots, _ = share.shape
    channels = centred.shape[-1]
    blocks = _make_blocks(share)
    rows = centred.reshape(-1, channels)[blocks.pixel]
    products = (rows * blocks.weight).mT @ rows
    sums = centred.new_zeros(batch * slots, channels, channels).index_add(0, blocks.slot, products)
    return sums.view(batch, slots, channels, channels)


def _factors(centred: Tensor, offset: Tensor, share: Tensor, largest: int) -> Float[Tensor, "batch slots largest channels"]:
    """The pixels of each slot about its mean, scaled so that their products sum to its unbiased covariance."""
    batch, slots, _ = share.shape
    channels = centred.shape[-1]
    blocks = _make_blocks(share, largest)
    rows = centred.reshape(-1, channels)[blocks.pixel] - offset.reshape(-1, 1, channels)[blocks.slot]
    scale = (blocks.weight * _bessel(share).reshape(-1, 1, 1)[blocks.slot]).sqrt()
    factors = centred.new_zeros(batch * slots, largest, channels).index_copy(0, blocks.slot, rows * scale)
    return factors.view(batch, slots, largest, channels)


def _block_apply(moments: Moments, matrix: Tensor, style_mean: Tensor, weights: Tensor) -> Tensor:
    """Each pixel through the maps of the slots it belongs to, in its shares."""
    channels = moments.centred.shape[-1]
    blocks = _make_blocks(weights)
    rows = moments.centred.reshape(-1, channels)[blocks.pixel] - moments.offset.reshape(-1, 1, channels)[blocks.slot]
    matrices = matrix.reshape(-1, channels, channels)[blocks.slot]
    mapped = (rows @ matrices + style_mean.reshape(-1, 1, channels)[blocks.slot]) * blocks.weight
    result = moments.centred.new_zeros(moments.centred.shape[:2].numel(), channels)
    return result.index_add(0, blocks.pixel.flatten(), mapped.flatten(0, 1)).view(moments.centred.shape)
