from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from stylecolor.matching import MATCHINGS, adain, match_features, symmetric_power, wct
from tests.stylecolor.restatement import match_by_hand, power

both = pytest.mark.parametrize("matching", list(MATCHINGS))


def features(*shape: int, seed: int = 0) -> Tensor:
    """Correlated channels, each with its own mean and spread."""
    generator = torch.Generator().manual_seed(seed)
    scale = torch.rand(shape[0], shape[1], 1, 1, generator=generator) * 5 + 0.2
    own = torch.randn(shape, generator=generator)
    common = torch.randn(shape[0], 1, *shape[2:], generator=generator)
    return (own + 0.7 * common) * scale + 3 * torch.randn(shape[0], shape[1], 1, 1, generator=generator)


def striped(regions: int, batch: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Hard regions of random pixels (batch, regions, height, width); one pixel in `regions + 1` belongs to none."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(0, regions + 1, (batch, 1, height, width), generator=generator)
    return (label == torch.arange(regions).view(1, -1, 1, 1)).float()


def soft(regions: int, batch: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Weights whose sum is at most 1."""
    weights = torch.rand(batch, regions + 1, height, width, generator=torch.Generator().manual_seed(seed))
    return (weights / weights.sum(1, keepdim=True))[:, :regions]


def match_regions(matching: str, content: Tensor, style: Tensor, own: Tensor, of_style: Tensor, alpha: float = 1.0) -> Tensor:
    method = MATCHINGS[matching]
    return method.match(content, method.measure(style, of_style), alpha, own)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("content_shape", [(2, 5, 6, 7), (2, 5, 1, 1), (2, 5, 2, 1)])
@pytest.mark.parametrize(
    ("matching", "style_shape"),
    # without any variance in the style the epsilon of wct decides
    [*product(MATCHINGS, [(2, 5, 6, 7), (2, 5, 9, 4), (1, 5, 4, 4)]), ("adain", (2, 5, 1, 1))],
)
def test_equals_the_formula(matching: str, content_shape: tuple[int, ...], style_shape: tuple[int, ...], alpha: float) -> None:
    content, style = features(*content_shape).double(), features(*style_shape, seed=1).double()
    matched = torch.from_numpy(match_by_hand(matching, content.numpy(), style.numpy()))
    expected = alpha * matched + (1 - alpha) * content
    tolerance = 1e-9 if matching == "adain" else 1e-2 if content_shape[2:] != (6, 7) else 1e-5
    torch.testing.assert_close(match_features(content, style, matching, alpha), expected, atol=tolerance, rtol=tolerance)
    if content_shape[2:] == (6, 7):
        single = match_features(content.float(), style.float(), matching, alpha).double()
        torch.testing.assert_close(single, expected, atol=1e-3, rtol=1e-3)


def test_the_short_names_are_the_methods() -> None:
    content, style = features(2, 5, 6, 7), features(2, 5, 9, 4, seed=1)
    assert torch.equal(adain(content, style, 0.3), match_features(content, style, "adain", 0.3))
    assert torch.equal(wct(content, style, 0.3), match_features(content, style, "wct", 0.3))


def test_a_low_contrast_channel_equals_the_formula() -> None:
    # here the variance is about the epsilon: it must stand inside the root, on both sides
    content, style = 3e-3 * features(1, 3, 5, 5).double(), 3e-3 * features(1, 3, 5, 5, seed=1).double()
    expected = torch.from_numpy(match_by_hand("adain", content.numpy(), style.numpy()))
    torch.testing.assert_close(adain(content, style), expected, atol=1e-9, rtol=1e-9)


def test_adain_gives_the_references_mean_and_standard_deviation() -> None:
    content, style = features(3, 8, 16, 16), features(3, 8, 20, 12, seed=1)
    matched = adain(content, style)
    torch.testing.assert_close(matched.mean(dim=(2, 3)), style.mean(dim=(2, 3)), atol=1e-3, rtol=0)
    torch.testing.assert_close(matched.std(dim=(2, 3)), style.std(dim=(2, 3)), atol=1e-3, rtol=1e-3)


def covariance_error(found: Tensor, expected: Tensor) -> float:
    """Relative, in the Frobenius norm; the worst sample's."""
    pairs = [[np.cov(one.double().flatten(1).numpy()) for one in pair] for pair in zip(found, expected, strict=True)]
    return max(float(np.linalg.norm(own - other) / np.linalg.norm(other)) for own, other in pairs)


@pytest.mark.parametrize(("channels", "size"), [(8, 16), (64, 32), (128, 24)])
def test_wct_gives_the_references_mean_and_covariance(channels: int, size: int) -> None:
    content, style = features(2, channels, size, size), features(2, channels, size + 4, size, seed=1)
    matched = wct(content, style)
    assert covariance_error(matched, style) < 1e-2
    assert covariance_error(adain(content, style), style) > 0.05, "the case is too easy"
    torch.testing.assert_close(matched.mean(dim=(2, 3)), style.mean(dim=(2, 3)), atol=1e-3, rtol=1e-3)


def test_wct_gives_the_covariance_of_badly_conditioned_features() -> None:
    spread = torch.logspace(0, -1.5, 32).view(1, -1, 1, 1)
    content, style = features(1, 32, 24, 24) * spread, features(1, 32, 24, 24, seed=1) * spread.flip(1)
    assert covariance_error(wct(content, style), style) < 1e-2


@both
@pytest.mark.parametrize("shape", [(2, 8, 12, 12), (2, 64, 4, 4), (1, 4, 1, 1), (1, 32, 1, 2)])
def test_content_that_equals_its_style_stays_what_it_is(matching: str, shape: tuple[int, ...]) -> None:
    content = features(*shape)
    torch.testing.assert_close(match_features(content, content, matching), content, atol=2e-3, rtol=1e-3)


@both
def test_duplicated_and_dead_channels_stay_what_they_are(matching: str) -> None:
    content = features(1, 6, 8, 8)
    content = torch.cat((content, content, torch.zeros(1, 2, 8, 8), torch.full((1, 2, 8, 8), 1e4)), dim=1)
    torch.testing.assert_close(match_features(content, content, matching), content, atol=2e-3, rtol=1e-3)


def test_wct_of_fewer_pixels_than_channels_is_finite_and_bounded() -> None:
    content, style = features(2, 48, 3, 4), features(2, 48, 4, 3, seed=1)
    matched = wct(content, style)
    assert matched.isfinite().all()
    # whitened pixels have norm sqrt(pixels - 1) at most: nothing is blown up
    assert (matched - style.mean((2, 3), keepdim=True)).norm(dim=1).max() < 12**0.5 * style.flatten(2).std(2).norm(dim=1).max() * 1.01


def test_wct_of_a_rank_deficient_content_whitens_what_varies() -> None:
    content, style = features(1, 24, 3, 3).double(), features(1, 24, 20, 20, seed=1).double()
    x, y = (one[0].flatten(1).numpy() for one in (content, style))
    values, vectors = np.linalg.eigh(np.cov(x))
    kept = values > 1e-9 * values.max()
    whitened = vectors[:, kept] @ np.diag(values[kept] ** -0.5) @ vectors[:, kept].T @ (x - x.mean(1, keepdims=True))
    expected = power(np.cov(y), 0.5) @ whitened + y.mean(1, keepdims=True)
    np.testing.assert_allclose(wct(content, style)[0].flatten(1).numpy(), expected, rtol=1e-4, atol=1e-4)


@both
@pytest.mark.parametrize("value", [0.0, 7.0, 50.0])
@pytest.mark.parametrize("shape", [(1, 4, 6, 6), (1, 4, 1, 1), (1, 64, 5, 7)])
def test_content_without_texture_becomes_the_references_mean(matching: str, shape: tuple[int, ...], value: float) -> None:
    style = features(1, shape[1], 9, 9)
    matched = match_features(torch.full(shape, value), style, matching)
    torch.testing.assert_close(matched, style.mean(dim=(2, 3), keepdim=True).expand(shape), atol=1e-2, rtol=0)


@both
def test_a_style_without_texture_becomes_its_mean(matching: str) -> None:
    matched = match_features(features(2, 6, 8, 8), torch.full((1, 6, 5, 5), 3.0), matching)
    torch.testing.assert_close(matched, torch.full((2, 6, 8, 8), 3.0), atol=3e-2, rtol=0)


@pytest.mark.parametrize("scale", [0.03, 1e3])
def test_the_epsilon_of_wct_follows_the_contrast(scale: float) -> None:
    content, style = features(1, 16, 8, 8).double(), features(1, 16, 8, 8, seed=1).double()
    # variances about the epsilon of a picture of full contrast
    content[:, :8] *= 1e-3
    torch.testing.assert_close(wct(scale * content, style), wct(content, style), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(wct(content, scale * style), scale * wct(content, style), atol=1e-3 * scale, rtol=1e-3)


@both
def test_strength_0_returns_the_content(matching: str) -> None:
    content = features(2, 4, 5, 5)
    assert torch.equal(match_features(content, features(2, 4, 5, 5, seed=1), matching, alpha=0), content)


@both
@pytest.mark.parametrize("alpha", [-0.01, 1.01, float("nan")])
def test_strengths_outside_0_to_1_are_refused(matching: str, alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha="):
        match_features(features(1, 2, 4, 4), features(1, 2, 4, 4), matching, alpha)


@pytest.mark.parametrize("matching", ["wtc", "none"])
def test_other_matchings_are_refused(matching: str) -> None:
    with pytest.raises(ValueError, match=rf"matching={matching} is not one of adain, wct"):
        match_features(features(1, 2, 4, 4), features(1, 2, 4, 4), matching)


@both
@pytest.mark.parametrize("style_size", [(14, 11), (9, 16)])
def test_hard_regions_equal_a_loop_over_masked_copies(matching: str, style_size: tuple[int, int]) -> None:
    content, style = features(2, 4, 12, 13).double(), features(2, 4, *style_size, seed=1).double()
    own, of_style = striped(3, 2, 12, 13).double(), striped(3, 2, *style_size, seed=1).double()
    found = match_regions(matching, content, style, own, of_style)
    expected = match_features(content, style, matching)
    for sample in range(2):
        for region in range(3):
            mask, style_mask = own[sample, region].bool(), of_style[sample, region].bool()
            pixels, style_pixels = content[sample][:, mask], style[sample][:, style_mask]
            alone = match_features(pixels[None, :, :, None], style_pixels[None, :, :, None], matching)
            expected[sample][:, mask] = alone[0, :, :, 0]
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
    by_hand = match_by_hand(matching, content.numpy(), style.numpy(), own.numpy(), of_style.numpy())
    np.testing.assert_allclose(found.numpy(), by_hand, atol=1e-4, rtol=1e-4)


def test_regions_with_fewer_pixels_than_channels_equal_the_formula() -> None:
    content, style = features(2, 40, 8, 9).double(), features(2, 40, 7, 10, seed=1).double()
    own, of_style = striped(6, 2, 8, 9).double(), striped(6, 2, 7, 10, seed=1).double()
    for weights in (own, of_style):
        assert 0 < weights.sum((2, 3)).min() <= weights.sum((2, 3)).max() < 40
    expected = match_by_hand("wct", content.numpy(), style.numpy(), own.numpy(), of_style.numpy())
    found = match_regions("wct", content, style, own, of_style)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4, rtol=1e-4)
    found = match_regions("wct", content.float(), style.float(), own.float(), of_style.float())
    np.testing.assert_allclose(found.numpy(), expected, atol=0.05, rtol=1e-3)


@both
@pytest.mark.parametrize("alpha", [0.4, 1.0])
def test_soft_regions_equal_the_weighted_formula(matching: str, alpha: float) -> None:
    content, style = features(2, 4, 8, 9), features(2, 4, 10, 7, seed=1)
    own, of_style = soft(3, 2, 8, 9), soft(3, 2, 10, 7, seed=1)
    found = match_regions(matching, content, style, own, of_style, alpha)
    arrays = [one.double().numpy() for one in (content, style, own, of_style)]
    expected = alpha * match_by_hand(matching, *arrays) + (1 - alpha) * arrays[0]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-3, rtol=1e-3)


@both
def test_one_reference_with_regions_serves_many_targets(matching: str) -> None:
    content, style = features(3, 4, 6, 6), features(1, 4, 9, 9, seed=1)
    own, of_style = striped(2, 3, 6, 6), striped(2, 1, 9, 9, seed=1)
    found = match_regions(matching, content, style, own, of_style)
    each = match_regions(matching, content, style.expand(3, -1, -1, -1), own, of_style.expand(3, -1, -1, -1))
    torch.testing.assert_close(found, each)


@both
def test_regions_without_a_pixel_leave_the_global_result(matching: str) -> None:
    content, style = features(2, 4, 6, 6), features(2, 4, 9, 9, seed=1)
    empty, of_style = torch.zeros(2, 3, 6, 6), striped(3, 2, 9, 9)
    found = match_regions(matching, content, style, empty, of_style)
    torch.testing.assert_close(found, match_features(content, style, matching), atol=1e-5, rtol=1e-5)


@both
@pytest.mark.parametrize("pixels", [1, 2])
def test_regions_of_a_pixel_or_two_are_finite(matching: str, pixels: int) -> None:
    content, style = features(1, 12, 6, 6), features(1, 12, 9, 9, seed=1)
    own, of_style = torch.zeros(1, 1, 6, 6), torch.zeros(1, 1, 9, 9)
    own[..., 2, :pixels] = of_style[..., 3, :pixels] = 1
    found = match_regions(matching, content, style, own, of_style)
    assert found.isfinite().all()
    if pixels == 1:
        torch.testing.assert_close(found[0, :, 2, 0], style[0, :, 3, 0], atol=1e-2, rtol=0)


@both
def test_content_that_equals_its_style_stays_region_by_region(matching: str) -> None:
    content = features(2, 6, 16, 16)
    for regions in (striped(3, 2, 16, 16), soft(3, 2, 16, 16)):
        torch.testing.assert_close(match_regions(matching, content, content, regions, regions), content, atol=5e-3, rtol=1e-3)


@both
def test_region_statistics_keep_their_digits_beside_a_large_mean(matching: str) -> None:
    content, style = features(1, 3, 12, 12) + 1e3, features(1, 3, 12, 12, seed=1) + 1e3
    core, of_style = striped(2, 1, 12, 12), striped(2, 1, 12, 12, seed=1)
    found = match_regions(matching, content, style, core, of_style)
    expected = match_by_hand(matching, content.numpy(), style.numpy(), core.numpy(), of_style.numpy())
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-2, rtol=0)


class Operations(TorchDispatchMode):
    """Counts the operations that are dispatched."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def count(call: Callable[[], Tensor]) -> tuple[int, int]:
    """Operations, and floating-point operations of the matrix products."""
    with Operations() as operations, FlopCounterMode(display=False) as flops:
        call()
    return operations.count, flops.get_total_flops()


@both
def test_many_regions_take_the_passes_of_a_few(matching: str) -> None:
    content, style = features(1, 32, 64, 64), features(1, 32, 64, 64, seed=1)
    costs = []
    for regions in (2, 20):
        own, of_style = striped(regions, 1, 64, 64), striped(regions, 1, 64, 64, seed=1)
        costs.append(count(lambda own=own, of_style=of_style: match_regions(matching, content, style, own, of_style)))
    assert costs[0][0] == costs[1][0]
    if matching == "wct":
        # a mask for each region would cost ten times as much
        assert costs[1][1] < 2 * costs[0][1]


@both
def test_samples_do_not_depend_on_each_other(matching: str) -> None:
    content, style = features(3, 12, 7, 9), features(3, 12, 8, 8, seed=1)
    own, of_style = soft(2, 3, 7, 9), soft(2, 3, 8, 8)
    together = match_regions(matching, content, style, own, of_style)
    plain = match_features(content, style, matching)
    for index in range(3):
        one = slice(index, index + 1)
        alone = match_regions(matching, content[one], style[one], own[one], of_style[one])
        torch.testing.assert_close(alone, together[one], atol=1e-3, rtol=1e-4)
        torch.testing.assert_close(match_features(content[one], style[one], matching), plain[one], atol=1e-3, rtol=1e-4)


@both
def test_memory_order_changes_no_result(matching: str) -> None:
    content, style = features(2, 6, 7, 9), features(2, 6, 8, 8, seed=1)
    own, of_style = soft(2, 2, 7, 9), soft(2, 2, 8, 8)
    expected = match_regions(matching, content, style, own, of_style), match_features(content, style, matching)
    content, style = (one.to(memory_format=torch.channels_last) for one in (content, style))
    for found, other in zip(
        (match_regions(matching, content, style, own, of_style), match_features(content, style, matching)), expected, strict=True
    ):
        assert found.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(found, other, atol=1e-4, rtol=1e-4)


@both
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32_and_kept(matching: str, dtype: torch.dtype) -> None:
    # sums of squares of these overflow float16
    content, style = (200 * features(1, 4, 32, 32)).to(dtype), (200 * features(1, 4, 32, 32, seed=1)).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        matched = match_features(content, style, matching)
        statistics = MATCHINGS[matching].measure(content)
    assert matched.dtype == dtype
    assert {tensor.dtype for tensor in statistics} == {torch.float32}
    torch.testing.assert_close(matched, match_features(content.float(), style.float(), matching).to(dtype), atol=0, rtol=0)
    assert matched.isfinite().all()


@both
def test_double_precision_is_kept(matching: str) -> None:
    content = features(1, 4, 8, 8).double()
    assert match_features(content, content, matching).dtype == torch.float64


@both
def test_a_nearly_constant_channel_stays_in_float16s_range(matching: str) -> None:
    content = torch.zeros(1, 1, 64, 64, dtype=torch.float16)
    content[0, 0, 0, 0] = 1
    style = torch.tensor([-6e4, 6e4], dtype=torch.float16).view(1, 1, 1, 2)
    assert match_features(content, style, matching).isfinite().all()


@pytest.mark.parametrize("exponent", [0.5, -0.5])
def test_symmetric_powers_equal_the_eigendecomposition(exponent: float) -> None:
    factor = torch.randn(3, 6, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    matrices = factor @ factor.mT
    expected = np.stack([power(matrix, exponent) for matrix in matrices.numpy()])
    np.testing.assert_allclose(symmetric_power(matrices, exponent).numpy(), expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("exponent", [0.5, -0.5])
def test_symmetric_powers_have_their_gradient_also_where_eigenvalues_coincide(exponent: float) -> None:
    factor = torch.randn(1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    coinciding = torch.diag(torch.tensor([2.0, 2.0, 1.0, 1.0], dtype=torch.float64))[None]
    matrices = torch.cat((factor @ factor.mT + coinciding[:, :1, :1] / 4 * torch.eye(4), coinciding)).requires_grad_()
    assert torch.autograd.gradcheck(lambda m: symmetric_power((m + m.mT) / 2, exponent), (matrices,))


@both
def test_gradient_is_right(matching: str) -> None:
    content, style = features(2, 3, 3, 4).double().requires_grad_(), features(2, 3, 2, 5, seed=1).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: match_features(x, y, matching, 0.7), (content, style))
    own, of_style = soft(2, 2, 3, 4).double(), soft(2, 2, 2, 5).double()
    assert torch.autograd.gradcheck(lambda x, y: match_regions(matching, x, y, own, of_style, 0.7), (content, style))


def test_gradient_is_right_for_regions_with_fewer_pixels_than_channels() -> None:
    content, style = features(1, 8, 3, 4).double().requires_grad_(), features(1, 8, 2, 5, seed=1).double().requires_grad_()
    own, of_style = (torch.arange(size).view(1, 1, 1, size) // 4 == torch.arange(2).view(1, 2, 1, 1) for size in (12, 10))
    weights = own.double().view(1, 2, 3, 4), of_style.double().view(1, 2, 2, 5)
    # the floor of the eigenvalues, a constant to the gradient, is worth a few 1e-4
    assert torch.autograd.gradcheck(lambda y: MATCHINGS["wct"].measure(y, weights[1]), (style,), atol=2e-3)
    assert torch.autograd.gradcheck(lambda x: match_regions("wct", x, style.detach(), *weights), (content,), atol=5e-3, rtol=1e-2)


@both
@pytest.mark.parametrize("content", [torch.zeros(1, 16, 4, 4), torch.ones(1, 16, 1, 1), features(1, 16, 2, 3)])
def test_gradients_of_rank_deficient_features_are_finite(matching: str, content: Tensor) -> None:
    content, style = content.clone().requires_grad_(), features(1, 16, 3, 3, seed=1).requires_grad_()
    match_features(content, style, matching).square().sum().backward()
    for tensor in (content, style):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()
