import numpy as np
import pytest
import torch
from torch import Tensor

from stylecolor.matching import adain, channel_statistics, match_statistics


def features(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    scale = torch.rand(shape[0], shape[1], 1, 1, generator=generator) * 5 + 0.2
    return torch.randn(shape, generator=generator) * scale + 3 * torch.randn(shape[0], shape[1], 1, 1, generator=generator)


def adain_of_numpy(content: np.ndarray, style: np.ndarray, alpha: float) -> np.ndarray:
    result = np.empty_like(content)
    for sample in range(content.shape[0]):
        for channel in range(content.shape[1]):
            x, y = content[sample, channel], style[sample, channel]
            sigma_x = np.sqrt((np.var(x, ddof=1) if x.size > 1 else 0) + 1e-5)
            sigma_y = np.sqrt((np.var(y, ddof=1) if y.size > 1 else 0) + 1e-5)
            result[sample, channel] = alpha * (sigma_y * (x - x.mean()) / sigma_x + y.mean()) + (1 - alpha) * x
    return result


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("content_shape", [(2, 5, 6, 7), (2, 5, 1, 1), (2, 5, 2, 1)])
@pytest.mark.parametrize("style_shape", [(2, 5, 6, 7), (2, 5, 9, 4), (2, 5, 1, 1)])
def test_equals_the_formula(content_shape: tuple[int, ...], style_shape: tuple[int, ...], alpha: float) -> None:
    content, style = features(*content_shape).double(), features(*style_shape, seed=1).double()
    expected = torch.from_numpy(adain_of_numpy(content.numpy(), style.numpy(), alpha))
    torch.testing.assert_close(adain(content, style, alpha), expected, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(adain(content.float(), style.float(), alpha).double(), expected, atol=1e-4, rtol=1e-4)


def test_a_low_contrast_channel_equals_the_formula() -> None:
    # here the variance is about the epsilon: it must stand inside the root, on both sides
    content, style = 3e-3 * features(1, 3, 5, 5).double(), 3e-3 * features(1, 3, 5, 5, seed=1).double()
    expected = torch.from_numpy(adain_of_numpy(content.numpy(), style.numpy(), 1.0))
    torch.testing.assert_close(adain(content, style), expected, atol=1e-9, rtol=1e-9)


def test_the_result_has_the_references_mean_and_standard_deviation() -> None:
    content, style = features(3, 8, 16, 16), features(3, 8, 20, 12, seed=1)
    assert (content.std(dim=(2, 3)) > 0.1).all()
    matched = adain(content, style)
    torch.testing.assert_close(matched.mean(dim=(2, 3)), style.mean(dim=(2, 3)), atol=1e-3, rtol=0)
    torch.testing.assert_close(matched.std(dim=(2, 3)), style.std(dim=(2, 3)), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("shape", [(1, 4, 6, 6), (1, 4, 1, 1)])
def test_a_constant_channel_becomes_the_references_mean(shape: tuple[int, ...]) -> None:
    style = features(1, 4, 5, 5)
    matched = adain(torch.full(shape, 7.0), style)
    torch.testing.assert_close(matched, style.mean(dim=(2, 3), keepdim=True).expand(shape), atol=1e-4, rtol=0)


def test_strength_0_returns_the_content() -> None:
    content = features(2, 4, 5, 5)
    assert torch.equal(adain(content, features(2, 4, 5, 5, seed=1), alpha=0), content)


@pytest.mark.parametrize("alpha", [-0.01, 1.01, float("nan")])
def test_strengths_outside_0_to_1_are_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha="):
        adain(features(1, 2, 4, 4), features(1, 2, 4, 4), alpha)


def test_one_reference_serves_many_targets() -> None:
    content, style = features(3, 4, 6, 6), features(1, 4, 5, 5, seed=1)
    torch.testing.assert_close(match_statistics(content, channel_statistics(style)), adain(content, style.expand(3, -1, -1, -1)))


def test_gradient_is_right() -> None:
    content, style = features(2, 3, 3, 4).double().requires_grad_(), features(2, 3, 2, 5, seed=1).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: adain(x, y, 0.7), (content, style))


def test_a_nearly_constant_channel_stays_in_float16s_range() -> None:
    content = torch.zeros(1, 1, 64, 64, dtype=torch.float16)
    content[0, 0, 0, 0] = 1
    style = torch.tensor([-6e4, 6e4], dtype=torch.float16).view(1, 1, 1, 2)
    assert adain(content, style).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32_and_kept(dtype: torch.dtype) -> None:
    # sums of squares of these overflow float16
    content, style = (200 * features(1, 4, 32, 32)).to(dtype), (200 * features(1, 4, 32, 32, seed=1)).to(dtype)
    matched = adain(content, style)
    assert matched.dtype == dtype
    assert channel_statistics(content).std.dtype == torch.float32
    torch.testing.assert_close(matched, adain(content.float(), style.float()).to(dtype), atol=0, rtol=0)
    assert matched.isfinite().all()
