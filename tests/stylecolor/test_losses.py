import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stylecolor.ab_bins import encode_ab, gamut_bins
from stylecolor.encoder import VGG19Encoder
from stylecolor.losses import (
    STYLE_LAYER_WEIGHTS,
    MaskedHuberLoss,
    PerceptualLoss,
    RebalancedCrossEntropyLoss,
    gram_matrix,
    top_bin_accuracy,
)

WIDTH = 0.125


def pictures(seed: int, batch: int = 2, height: int = 32, width: int = 32) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


def loss_network() -> VGG19Encoder:
    return VGG19Encoder("random", WIDTH, depth=5)


def gram_of_numpy(features: np.ndarray) -> np.ndarray:
    channels, height, width = features.shape
    gram = np.zeros((channels, channels))
    for i in range(channels):
        for j in range(channels):
            gram[i, j] = (features[i] * features[j]).sum() / (channels * height * width)
    return gram


def test_gram_matrix_equals_its_formula() -> None:
    features = torch.randn(2, 5, 4, 7, generator=torch.Generator().manual_seed(0))
    expected = np.stack([gram_of_numpy(sample) for sample in features.double().numpy()])
    np.testing.assert_allclose(gram_matrix(features).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gram_matrix_of_half_precision_is_in_float32(dtype: torch.dtype) -> None:
    features = (300 * torch.rand(1, 8, 32, 32, generator=torch.Generator().manual_seed(0))).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        gram = gram_matrix(features)
    assert gram.dtype == torch.float32
    torch.testing.assert_close(gram, gram_matrix(features.float()), atol=0, rtol=0)
    assert gram.isfinite().all()


def perceptual_of_numpy(network: VGG19Encoder, output: Tensor, content: Tensor, style: Tensor, content_layer: int) -> tuple[float, float]:
    out, con, sty = ([features.double().numpy() for features in network(rgb)] for rgb in (output, content, style))
    batch = len(output)
    content_loss = style_loss = 0.0
    for sample in range(batch):
        difference = out[content_layer - 1][sample] - con[content_layer - 1][sample]
        content_loss += (difference**2).sum() / difference.size / batch
        for layer, weight in enumerate((1.0, 0.75, 0.2, 0.2, 0.2)):
            difference = gram_of_numpy(out[layer][sample]) - gram_of_numpy(sty[layer][sample])
            style_loss += weight * (difference**2).sum() / batch
    return content_loss, style_loss


@pytest.mark.parametrize(("content_layer", "style_size"), [(4, (32, 32)), (4, (48, 32)), (2, (32, 32))])
def test_perceptual_loss_equals_its_formula(content_layer: int, style_size: tuple[int, int]) -> None:
    network = loss_network()
    loss = PerceptualLoss(network, content_layer, normalize=False)
    output, content, style = pictures(0), pictures(1), pictures(2, 2, *style_size)
    found = loss(output, content, style)
    expected = perceptual_of_numpy(network, output, content, style, content_layer)
    assert found.content.item() == pytest.approx(expected[0], rel=1e-4)
    assert found.style.item() == pytest.approx(expected[1], rel=1e-4)


def test_the_reports_style_weights_are_the_default() -> None:
    assert STYLE_LAYER_WEIGHTS == (1.0, 0.75, 0.2, 0.2, 0.2)
    assert PerceptualLoss(loss_network(), normalize=False).style_weights == STYLE_LAYER_WEIGHTS


def test_a_picture_has_no_loss_against_itself() -> None:
    picture = pictures(0)
    terms = PerceptualLoss(loss_network())(picture, picture, picture)
    assert terms.content == 0
    assert terms.style == pytest.approx(0, abs=1e-9)


def test_normalised_layers_do_not_depend_on_the_weights_scale() -> None:
    plain, scaled = loss_network(), loss_network()
    first = scaled.features[0]
    assert isinstance(first, nn.Conv2d)
    first.weight.data *= 10  # every later activation is ten times as large, as biases are 0
    args = pictures(0), pictures(1), pictures(2)
    expected, found = PerceptualLoss(plain)(*args), PerceptualLoss(scaled)(*args)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=0)
    unnormalised = PerceptualLoss(scaled, normalize=False)(*args)
    assert unnormalised.style > 100 * PerceptualLoss(plain, normalize=False)(*args).style


def test_normalised_layers_have_unit_activation_on_photograph_like_pictures() -> None:
    network = loss_network()
    loss = PerceptualLoss(network)
    smooth = nn.functional.interpolate(pictures(3, 4, 8, 8), size=64, mode="bicubic").clamp(0, 1)
    for features, scale in zip(network(smooth), loss.scales, strict=True):
        assert (features * scale).square().mean().sqrt() == pytest.approx(1, rel=0.5)


def test_no_key_of_the_loss_is_stored_and_its_absence_is_no_error() -> None:
    class Stage(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.own = nn.Linear(2, 2)
            self.perceptual = PerceptualLoss(loss_network())

    stage = Stage()
    state = stage.state_dict()
    assert set(state) == {"own.weight", "own.bias"}
    before = {name: parameter.clone() for name, parameter in stage.perceptual.named_parameters()}
    Stage().load_state_dict(state, strict=True)
    assert all(torch.equal(parameter, before[name]) for name, parameter in stage.perceptual.named_parameters())
    assert PerceptualLoss(loss_network()).state_dict() == {}
    PerceptualLoss(loss_network()).load_state_dict({}, strict=True)
    with pytest.raises(RuntimeError, match=r"own\.bias"):
        Stage().load_state_dict({"own.weight": state["own.weight"]}, strict=True)


def test_an_equal_network_elsewhere_is_still_missed() -> None:
    class Stage(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = loss_network()
            self.perceptual = PerceptualLoss(loss_network())

    with pytest.raises(RuntimeError, match=r"encoder\.features\.0\.weight"):
        Stage().load_state_dict({}, strict=True)


ODD_PICTURES = {
    "white": torch.ones(1, 3, 32, 32),
    "black": torch.zeros(1, 3, 32, 32),
    "one colour": torch.tensor([0.9, 0.1, 0.4]).view(1, 3, 1, 1).expand(1, 3, 32, 32),
    "far outside": 200 * pictures(5, 1) - 100,
}


@pytest.mark.parametrize("name", ODD_PICTURES)
@pytest.mark.parametrize("normalize", [True, False])
def test_loss_and_gradient_are_finite_for_odd_pictures(name: str, normalize: bool) -> None:
    output = ODD_PICTURES[name].clone().requires_grad_()
    loss = PerceptualLoss(loss_network(), normalize=normalize)
    for style in (ODD_PICTURES["black"], ODD_PICTURES["one colour"], pictures(6, 1)):
        terms = loss(output, ODD_PICTURES["white"], style)
        (gradient,) = torch.autograd.grad(terms.content + 1e6 * terms.style, output)
        assert terms.content.isfinite()
        assert terms.style.isfinite()
        assert gradient.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_loss_and_gradient_are_finite_in_half_precision(dtype: torch.dtype) -> None:
    loss = PerceptualLoss(loss_network(), normalize=False)
    output, content, style = pictures(0).requires_grad_(), pictures(1), pictures(2)
    expected = loss(output, content, style)
    with torch.autocast("cpu", dtype):
        terms = loss(output, content, style)
    assert terms.style.dtype == terms.content.dtype == torch.float32
    assert terms.style.item() == pytest.approx(expected.style.item(), rel=0.1)
    (gradient,) = torch.autograd.grad(terms.content + 1e6 * terms.style, output)
    assert gradient.isfinite().all()


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"stage\.loss\.content_layer=6"):
        PerceptualLoss(loss_network(), content_layer=6)
    with pytest.raises(ValueError, match=r"stage\.loss\.style_weights.*5.*got 2"):
        PerceptualLoss(loss_network(), style_weights=[1.0, 2.0])


def huber_of_numpy(prediction: np.ndarray, target: np.ndarray, mask: np.ndarray, lambda_: float, delta: float) -> float:
    weight = 1 + lambda_ * mask
    error = np.abs(weight * prediction - weight * target)
    return float(np.where(error < delta, 0.5 * error**2, delta * (error - 0.5 * delta)).mean())


@pytest.mark.parametrize(("lambda_", "delta"), [(10.0, 1.0), (0.0, 1.0), (3.0, 5.0)])
def test_huber_loss_equals_its_formula(lambda_: float, delta: float) -> None:
    generator = torch.Generator().manual_seed(0)
    target = 40 * torch.randn(3, 2, 8, 8, generator=generator)
    prediction = target + 2 * torch.randn(3, 2, 8, 8, generator=generator)
    mask = (torch.rand(3, 1, 8, 8, generator=generator) < 0.3).float()
    found = MaskedHuberLoss(lambda_, delta)(prediction, target, mask)
    assert found.item() == pytest.approx(
        huber_of_numpy(prediction.double().numpy(), target.double().numpy(), mask.double().numpy(), lambda_, delta), rel=1e-5
    )


def test_the_weight_stands_inside_the_huber() -> None:
    # error 0.5 under lambda 10: inside, |5.5| is linear, 5.5 - 0.5 = 5; outside it would be 11 * 0.125 = 1.375
    found = MaskedHuberLoss()(torch.full((1, 2, 1, 1), 10.5), torch.full((1, 2, 1, 1), 10.0), torch.ones(1, 1, 1, 1))
    assert found.item() == pytest.approx(5.0)


def test_huber_loss_is_float32_with_finite_gradient_for_any_input() -> None:
    prediction = torch.tensor([0.0, 1e-3, 110.0, -1e4]).view(1, 2, 1, 2).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = MaskedHuberLoss()(prediction, torch.zeros(1, 2, 1, 2), torch.ones(1, 1, 1, 2, dtype=torch.bfloat16))
    loss.backward()
    assert loss.dtype == torch.float32
    assert prediction.grad is not None
    assert prediction.grad.isfinite().all()


@pytest.mark.parametrize(("lambda_", "delta", "setting"), [(-1.0, 1.0, "lambda_"), (1.0, 0.0, "delta")])
def test_wrong_huber_settings_are_refused(lambda_: float, delta: float, setting: str) -> None:
    with pytest.raises(ValueError, match=rf"stage\.{setting}="):
        MaskedHuberLoss(lambda_, delta)


def some_classes(batch: int = 2, height: int = 6, width: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, the true ab at four times their resolution, and weights of the derived bins."""
    generator = torch.Generator().manual_seed(0)
    bins = len(gamut_bins())
    logits = 3 * torch.randn(batch, bins, height, width, generator=generator)
    ab = 30 * torch.randn(batch, 2, 4 * height, 4 * width, generator=generator)
    return logits, ab, 0.1 + 4 * torch.rand(bins, generator=generator)


def classes_by_hand(ab: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """(batch, bins, height, width) of (batch, 2, 4 height, 4 width)."""
    truth = np.zeros((ab.shape[0], len(bins), ab.shape[2] // 4, ab.shape[3] // 4))
    for sample, _, row, column in np.ndindex(len(ab), 1, *truth.shape[2:]):
        squares = ((bins - ab[sample, :, 4 * row, 4 * column]) ** 2).sum(axis=1)
        nearest = np.argsort(squares)[:5]
        gaussian = np.exp(-squares[nearest] / 50)
        truth[sample, nearest, row, column] = gaussian / gaussian.sum()
    return truth


def cross_entropy_by_hand(logits: np.ndarray, ab: np.ndarray, bins: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """The loss and its gradient for the logits, `v (softmax - Z) / pixels`."""
    truth = classes_by_hand(ab, bins)
    exponentials = np.exp(logits)
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    weight = weights[truth.argmax(axis=1)]
    loss = -(weight * (truth * np.log(probabilities)).sum(axis=1)).mean()
    return float(loss), weight[:, None] * (probabilities - truth) / weight.size


def test_cross_entropy_and_its_gradient_equal_their_formulas() -> None:
    logits, ab, weights = some_classes()
    loss = RebalancedCrossEntropyLoss(gamut_bins(), weights)(logits.requires_grad_(), ab)
    (gradient,) = torch.autograd.grad(loss, logits)
    expected = cross_entropy_by_hand(
        logits.detach().double().numpy(), ab.double().numpy(), gamut_bins().double().numpy(), weights.double().numpy()
    )
    assert loss.item() == pytest.approx(expected[0], rel=1e-4)
    np.testing.assert_allclose(gradient.numpy(), expected[1], atol=1e-5)


def test_cross_entropy_passes_gradcheck() -> None:
    logits, ab, weights = some_classes(batch=1, height=1, width=2)
    loss = RebalancedCrossEntropyLoss(gamut_bins(), weights)
    assert torch.autograd.gradcheck(lambda values: loss(values, ab), logits.double().requires_grad_())


def test_without_weights_all_classes_weigh_alike() -> None:
    logits, ab, _ = some_classes()
    expected, _ = cross_entropy_by_hand(logits.double().numpy(), ab.double().numpy(), gamut_bins().double().numpy(), np.ones(261))
    assert RebalancedCrossEntropyLoss(gamut_bins())(logits, ab).item() == pytest.approx(expected, rel=1e-4)


def test_class_weights_can_be_set_later_and_are_in_the_state_dict() -> None:
    logits, ab, weights = some_classes()
    loss = RebalancedCrossEntropyLoss(gamut_bins())
    loss.set_weights(weights)
    assert torch.equal(loss(logits, ab), RebalancedCrossEntropyLoss(gamut_bins(), weights)(logits, ab))
    assert set(loss.state_dict()) == {"weights"}
    resumed = RebalancedCrossEntropyLoss(gamut_bins())
    resumed.load_state_dict(loss.state_dict())
    assert torch.equal(resumed(logits, ab), loss(logits, ab))


def test_a_perfect_prediction_has_the_least_cross_entropy() -> None:
    logits, ab, weights = some_classes()
    loss = RebalancedCrossEntropyLoss(gamut_bins(), weights)
    truth = encode_ab(ab[:, :, ::4, ::4], gamut_bins())
    best = truth.clamp(min=1e-12).log().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(best, ab), best)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-6, rtol=0)
    assert loss(best, ab) < loss(logits, ab)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_cross_entropy_of_half_precision_is_in_float32(dtype: torch.dtype) -> None:
    logits, ab, weights = some_classes()
    loss = RebalancedCrossEntropyLoss(gamut_bins(), weights)
    logits = (logits * 20).to(dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(logits, ab)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, loss(logits.float(), ab), atol=0, rtol=0)
    found.backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("value", [0.0, 5.0, 110.0, -128.0])
def test_cross_entropy_of_a_picture_of_a_single_colour_is_finite(value: float) -> None:
    for scale in (0.0, 1e4):
        logits = (scale * some_classes()[0]).requires_grad_()
        loss = RebalancedCrossEntropyLoss(gamut_bins())(logits, torch.full((2, 2, 24, 20), value))
        (gradient,) = torch.autograd.grad(loss, logits)
        assert loss.isfinite()
        assert gradient.isfinite().all()


def test_accuracy_is_the_share_of_pixels_whose_likeliest_bin_is_the_truths() -> None:
    _, ab, _ = some_classes()
    truth = classes_by_hand(ab.double().numpy(), gamut_bins().double().numpy()).argmax(axis=1)
    likeliest = torch.from_numpy(truth)
    likeliest[0, :3] = (likeliest[0, :3] + 1) % 261
    logits = nn.functional.one_hot(likeliest, 261).permute(0, 3, 1, 2).float()
    # half of the first of two samples is wrong
    assert top_bin_accuracy(logits, ab, gamut_bins()).item() == pytest.approx(0.75)
