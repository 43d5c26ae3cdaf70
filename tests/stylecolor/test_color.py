from collections.abc import Callable

import numpy as np
import pytest
import skimage.color
import torch
from torch import Tensor

from stylecolor.color import denormalize_lab, fit_to_gamut, gray_rgb, join_lab, lab_to_rgb, normalize_lab, rgb_to_lab

CONVERSIONS = (rgb_to_lab, lab_to_rgb, fit_to_gamut)


def as_pixels(colors: list[tuple[float, float, float]]) -> Tensor:
    return torch.tensor(colors).T.reshape(1, 3, 1, -1)


def random_colors() -> Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def edge_colors() -> Tensor:
    corners = [(float(r), float(g), float(b)) for r in (0, 1) for g in (0, 1) for b in (0, 1)]
    return as_pixels(corners + [(grey / 8, grey / 8, grey / 8) for grey in range(9)] + [(0.02, 0.04, 0.05), (0.03, 0.0, 0.001)])


def lab_of_skimage(rgb: Tensor) -> Tensor:
    return torch.from_numpy(skimage.color.rgb2lab(rgb.double().numpy(), channel_axis=1))


def rgb_of_skimage(lab: Tensor) -> Tensor:
    with np.errstate(all="ignore"):
        return torch.from_numpy(skimage.color.lab2rgb(lab.double().numpy(), channel_axis=1))


@pytest.mark.parametrize("rgb", [random_colors(), edge_colors()], ids=["random", "edges"])
def test_rgb_to_lab_equals_scikit_image(rgb: Tensor) -> None:
    torch.testing.assert_close(rgb_to_lab(rgb).double(), lab_of_skimage(rgb), atol=1e-3, rtol=0)


@pytest.mark.parametrize("rgb", [random_colors(), edge_colors()], ids=["random", "edges"])
def test_lab_to_rgb_equals_scikit_image(rgb: Tensor) -> None:
    lab = lab_of_skimage(rgb).float()
    torch.testing.assert_close(lab_to_rgb(lab).double(), rgb_of_skimage(lab), atol=1e-3, rtol=0)


def test_colours_come_back_from_lab() -> None:
    rgb = torch.cat((random_colors().flatten(2), edge_colors().flatten(2).expand(2, -1, -1)), dim=2).unsqueeze(2)
    torch.testing.assert_close(lab_to_rgb(rgb_to_lab(rgb)), rgb, atol=0.2 / 255, rtol=0)


@pytest.mark.parametrize("convert", CONVERSIONS)
def test_autocast_and_half_precision_change_nothing(convert: Callable[[Tensor], Tensor]) -> None:
    colors = random_colors() if convert is rgb_to_lab else rgb_to_lab(random_colors()) * torch.tensor([1, 1.5, 1.5]).view(1, 3, 1, 1)
    expected = convert(colors)
    assert expected.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(convert(colors), expected, atol=0, rtol=0)
        half = convert(colors.bfloat16())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, convert(colors.bfloat16().float()), atol=0, rtol=0)


@pytest.mark.parametrize("convert", CONVERSIONS)
def test_float64_is_kept(convert: Callable[[Tensor], Tensor]) -> None:
    assert convert(random_colors().double()).dtype == torch.float64


@pytest.mark.parametrize("convert", CONVERSIONS)
def test_8_bit_pictures_are_refused(convert: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(ValueError, match=f"{convert.__name__}.*uint8.*255"):
        convert(torch.zeros(1, 3, 4, 4, dtype=torch.uint8))


@pytest.mark.parametrize("convert", CONVERSIONS)
@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 1, 8, 8), (1, 4, 8, 8), (2, 8, 8, 3)])
def test_other_shapes_are_refused(convert: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"{convert.__name__}.*\(batch, 3, height, width\)"):
        convert(torch.zeros(shape))


@pytest.mark.parametrize("value", [-1e4, -10.0, -1.0, -0.055, -0.01, 0.0, 0.04045, 1.0, 1.5, 10.0, 1e4])
@pytest.mark.parametrize("convert", [rgb_to_lab, lambda lab: lab_to_rgb(lab, clip=False), lab_to_rgb], ids=["to lab", "to rgb", "clipped"])
def test_values_and_gradients_are_finite_far_outside_the_range(convert: Callable[[Tensor], Tensor], value: float) -> None:
    colors = torch.tensor([[value, 0.5, 0.5], [0.5, value, 0.2], [value, value, value]]).view(3, 3, 1, 1).requires_grad_()
    result = convert(colors)
    result.sum().backward()
    assert colors.grad is not None
    assert result.isfinite().all()
    assert colors.grad.isfinite().all()


def test_gradient_of_lab_is_right() -> None:
    rgb = (0.1 + 0.8 * random_colors()[:, :, :2, :2]).double().requires_grad_()
    assert torch.autograd.gradcheck(rgb_to_lab, (rgb,))


def test_clipping_is_optional() -> None:
    lab = torch.tensor([50.0, 100.0, 0.0]).view(1, 3, 1, 1)
    assert lab_to_rgb(lab, clip=False).amin() < -0.01
    assert lab_to_rgb(lab).amin() == 0


def test_normalisation_has_the_networks_ranges_and_is_undone() -> None:
    lab = torch.stack([torch.tensor(v) for v in ([0.0, -110.0, 110.0], [100.0, 55.0, 0.0], [50.0, 0.0, -11.0])]).view(3, 3, 1, 1)
    normalized = normalize_lab(lab)
    expected = torch.tensor([[-0.5, -1.0, 1.0], [0.5, 0.5, 0.0], [0.0, 0.0, -0.1]]).view(3, 3, 1, 1)
    torch.testing.assert_close(normalized, expected)
    torch.testing.assert_close(denormalize_lab(normalized), lab)


def any_lab() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    l = 2 + 96 * torch.rand(1, 1, 48, 48, generator=generator)
    return torch.cat((l, 110 * (2 * torch.rand(1, 2, 48, 48, generator=generator) - 1)), dim=1)


def test_fitting_keeps_l_and_hue_and_lets_the_final_picture_keep_l() -> None:
    lab = any_lab()
    fitted = fit_to_gamut(lab)
    assert torch.equal(fitted[:, 0], lab[:, 0])
    cross = fitted[:, 1] * lab[:, 2] - fitted[:, 2] * lab[:, 1]
    dot = fitted[:, 1] * lab[:, 1] + fitted[:, 2] * lab[:, 2]
    assert (cross.abs() <= 1e-4 * lab[:, 1:].square().sum(1)).all()
    assert (dot >= 0).all()
    assert (lab_to_rgb(fitted, clip=False) - lab_to_rgb(fitted)).abs().max() < 2e-3
    assert (rgb_to_lab(lab_to_rgb(fitted))[:, 0] - lab[:, 0]).abs().max() < 0.2
    assert (rgb_to_lab(lab_to_rgb(lab))[:, 0] - lab[:, 0]).abs().max() > 5, "the case is too easy: clipping would do"


def test_fitting_keeps_as_much_chroma_as_fits() -> None:
    lab = any_lab()
    fitted = fit_to_gamut(lab)
    outside = (fitted - lab).abs().amax(1, keepdim=True) > 0
    # one bisection step (1/256 of the given chroma) further out is outside the gamut; two for rounding
    further = torch.cat((fitted[:, :1], fitted[:, 1:] + lab[:, 1:] / 128), dim=1)
    unclipped = lab_to_rgb(further, clip=False)
    beyond = (unclipped.amin(1, keepdim=True) < 0) | (unclipped.amax(1, keepdim=True) > 1)
    assert beyond[outside].all()
    assert outside.float().mean() > 0.5


@pytest.mark.parametrize("rgb", [random_colors(), edge_colors()], ids=["random", "edges"])
def test_fitting_leaves_colours_in_the_gamut_alone(rgb: Tensor) -> None:
    lab = rgb_to_lab(rgb)
    torch.testing.assert_close(fit_to_gamut(lab), lab, atol=0, rtol=0)


def test_joining_keeps_l_where_clipping_would_not() -> None:
    l, ab = torch.full((1, 1, 1, 1), 50.0), torch.tensor([100.0, 0.0]).view(1, 2, 1, 1)
    clipped = rgb_to_lab(lab_to_rgb(torch.cat((l, ab), dim=1)))
    assert clipped[0, 0, 0, 0] == pytest.approx(54.8, abs=0.1)
    joined = rgb_to_lab(join_lab(l, ab))
    assert joined[0, 0, 0, 0] == pytest.approx(50, abs=0.2)
    assert joined[0, 1, 0, 0] > 70
    assert joined[0, 2, 0, 0] == pytest.approx(0, abs=1)


def test_a_picture_without_colour_is_grey_and_keeps_l() -> None:
    l = torch.linspace(0, 100, 64).view(1, 1, 8, 8)
    rgb = gray_rgb(l)
    assert (rgb.amax(1) - rgb.amin(1)).max() < 1e-3
    torch.testing.assert_close(rgb_to_lab(rgb)[:, :1], l, atol=0.01, rtol=0)
