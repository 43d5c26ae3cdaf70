import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylecolor.ab_bins import gamut_bins
from stylecolor.classification import ClassificationNet

WIDTH = 0.125

# (block, index in its Sequential, channels in, channels out), as in the authors' file
CONVOLUTIONS = (
    ("model1", 0, 1, 64), ("model1", 2, 64, 64),
    ("model2", 0, 64, 128), ("model2", 2, 128, 128),
    ("model3", 0, 128, 256), ("model3", 2, 256, 256), ("model3", 4, 256, 256),
    ("model4", 0, 256, 512), ("model4", 2, 512, 512), ("model4", 4, 512, 512),
    ("model5", 0, 512, 512), ("model5", 2, 512, 512), ("model5", 4, 512, 512),
    ("model6", 0, 512, 512), ("model6", 2, 512, 512), ("model6", 4, 512, 512),
    ("model7", 0, 512, 512), ("model7", 2, 512, 512), ("model7", 4, 512, 512),
    ("model8", 2, 256, 256), ("model8", 4, 256, 256),
)  # fmt: skip
NORMS = (
    ("model1", 4, 64), ("model2", 4, 128), ("model3", 6, 256), ("model4", 6, 512), ("model5", 6, 512), ("model6", 6, 512),
    ("model7", 6, 512),
)  # fmt: skip


def published_state(width: float = 1.0, bins: int = 313) -> dict[str, Tensor]:
    """Random weights with the names and shapes of the authors' file."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int, fan_in: int) -> Tensor:
        return torch.randn(*shape, generator=generator) * (2 / fan_in) ** 0.5

    def uniform(size: int, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(size, generator=generator)

    def scaled(channels: int) -> int:
        return channels if channels == 1 else round(channels * width)

    state: dict[str, Tensor] = {}
    for block, index, channels_in, channels_out in CONVOLUTIONS:
        shape = (scaled(channels_out), scaled(channels_in), 3, 3)
        state[f"{block}.{index}.weight"] = normal(*shape, fan_in=9 * shape[1])
        state[f"{block}.{index}.bias"] = uniform(shape[0], -0.2, 0.2)
    state["model8.0.weight"] = normal(scaled(512), scaled(256), 4, 4, fan_in=4 * scaled(512))
    state["model8.0.bias"] = uniform(scaled(256), -0.2, 0.2)
    state["model8.6.weight"] = 3 * normal(bins, scaled(256), 1, 1, fan_in=scaled(256))
    state["model8.6.bias"] = uniform(bins, -1, 1)
    state["model_out.weight"] = torch.randint(-11, 12, (2, bins, 1, 1), generator=generator) / 11
    for block, index, channels in NORMS:
        state[f"{block}.{index}.weight"] = uniform(scaled(channels), 0.5, 1.5)
        state[f"{block}.{index}.bias"] = uniform(scaled(channels), -0.3, 0.3)
        state[f"{block}.{index}.running_mean"] = uniform(scaled(channels), 0, 0.4)
        state[f"{block}.{index}.running_var"] = uniform(scaled(channels), 0.2, 0.8)
        state[f"{block}.{index}.num_batches_tracked"] = torch.tensor(7)
    return state


def run_by_hand(state: dict[str, Tensor], l: Tensor) -> tuple[Tensor, Tensor]:
    """Logits and ab, as the authors' network computes them."""

    def conv(x: Tensor, name: str, stride: int = 1, dilation: int = 1) -> Tensor:
        return F.relu(F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], stride, padding=dilation, dilation=dilation))

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (state[f"{name}.{key}"].view(1, -1, 1, 1) for key in ("running_mean", "running_var", "weight", "bias"))
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    x = (l - 50) / 100
    x = norm(conv(conv(x, "model1.0"), "model1.2", stride=2), "model1.4")
    x = norm(conv(conv(x, "model2.0"), "model2.2", stride=2), "model2.4")
    x = norm(conv(conv(conv(x, "model3.0"), "model3.2"), "model3.4", stride=2), "model3.6")
    for block, dilation in (("model4", 1), ("model5", 2), ("model6", 2), ("model7", 1)):
        for index in (0, 2, 4):
            x = conv(x, f"{block}.{index}", dilation=dilation)
        x = norm(x, f"{block}.6")
    x = F.relu(F.conv_transpose2d(x, state["model8.0.weight"], state["model8.0.bias"], stride=2, padding=1))
    x = conv(conv(x, "model8.2"), "model8.4")
    logits = F.conv2d(x, state["model8.6.weight"], state["model8.6.bias"])
    ab = F.conv2d(torch.exp(logits) / torch.exp(logits).sum(dim=1, keepdim=True), state["model_out.weight"])
    return logits, 110 * nn.Upsample(scale_factor=4, mode="bilinear")(ab)


def lightness(batch: int = 2, height: int = 32, width: int = 40) -> Tensor:
    return 100 * torch.rand(batch, 1, height, width, generator=torch.Generator().manual_seed(1))


def make_network(width: float = WIDTH, temperature: float = 0.38, bins: int = 313) -> ClassificationNet:
    """With the random weights of `published_state`."""
    network = ClassificationNet(width, bins, temperature)
    network.load_state_dict(published_state(width, bins))
    return network.eval()


def test_state_dict_has_the_published_layout() -> None:
    with torch.device("meta"):
        network = ClassificationNet(bins=313)
    expected = {name: tensor.shape for name, tensor in published_state().items()}
    assert {name: tensor.shape for name, tensor in network.state_dict().items()} == expected


@pytest.mark.parametrize("width", [WIDTH, 1.0])
def test_with_temperature_1_it_equals_the_published_network(width: float) -> None:
    network = make_network(width, temperature=1.0)
    state = {name: tensor.double() for name, tensor in published_state(width).items()}
    with torch.no_grad():
        logits, ab = run_by_hand(state, lightness().double())
        assert ab.std() > 1, "the case is too easy: the output is nearly constant"
        assert logits.std() > 0.5, "the case is too easy: every bin is as likely"
        assert network.logits(lightness()).shape == (2, 313, 8, 10)
        torch.testing.assert_close(network.logits(lightness()), logits.float(), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(network(lightness()), ab.float(), atol=2e-3, rtol=0)


@pytest.mark.parametrize("temperature", [0.38, 2.0])
def test_the_annealed_mean_equals_its_formula(temperature: float) -> None:
    network = make_network(temperature=temperature)
    logits, _ = run_by_hand({name: tensor.double() for name, tensor in published_state(WIDTH).items()}, lightness().double())
    # equation 5 of the paper, on the distribution
    annealed = torch.exp(logits.softmax(dim=1).log() / temperature)
    annealed = annealed / annealed.sum(dim=1, keepdim=True)
    ab = torch.einsum("nqhw,cq->nchw", annealed, published_state(WIDTH)["model_out.weight"][:, :, 0, 0].double()) * 110
    expected = F.interpolate(ab, scale_factor=4, mode="bilinear", align_corners=False)
    torch.testing.assert_close(network(lightness()), expected.float(), atol=5e-3, rtol=0)
    torch.testing.assert_close(network.decode(logits), expected.float(), atol=1e-3, rtol=0)


def test_the_papers_temperature_is_the_default() -> None:
    assert ClassificationNet(WIDTH).settings == {"width": WIDTH, "bins": 261, "temperature": 0.38}


def test_a_certain_bin_is_its_colour() -> None:
    network = ClassificationNet(WIDTH)
    for number in (0, 130, 260):
        logits = F.one_hot(torch.full((1, 2, 2), number), 261).permute(0, 3, 1, 2) * 50.0
        torch.testing.assert_close(network.decode(logits), gamut_bins()[number].view(1, 2, 1, 1).expand(1, 2, 8, 8), atol=1e-3, rtol=0)


def test_without_a_number_the_bins_are_the_derived_ones() -> None:
    network = ClassificationNet(WIDTH)
    torch.testing.assert_close(network.bins, gamut_bins())
    torch.testing.assert_close(network.state_dict()["model_out.weight"], (gamut_bins().T / 110)[:, :, None, None])
    assert network.state_dict()["model8.6.weight"].shape[0] == 261


def test_bins_follow_the_loaded_weights() -> None:
    expected = published_state(WIDTH)["model_out.weight"][:, :, 0, 0].T * 110
    torch.testing.assert_close(make_network().bins, expected)


def test_bins_do_not_train() -> None:
    network = ClassificationNet(WIDTH)
    network(lightness()).square().mean().backward()
    without = {name for name, parameter in network.named_parameters() if parameter.grad is None or not parameter.grad.any()}
    # a bias before a ReLU may be without any, but nothing else is
    assert without == {"model_out.weight"}
    assert [name for name, parameter in network.named_parameters() if not parameter.requires_grad] == ["model_out.weight"]


def test_hints_change_nothing() -> None:
    network = make_network()
    l = lightness()
    assert torch.equal(network(l), network(l, torch.full((2, 2, 32, 40), 30.0), torch.ones(2, 1, 32, 40)))


def test_the_result_under_autocast_is_float32_and_near_that_without() -> None:
    network = make_network()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits, ab = network.logits(lightness()), network(lightness())
    assert logits.dtype == ab.dtype == torch.float32
    assert (ab - network(lightness())).abs().mean() < 1
    assert torch.equal(ab, network.decode(logits))
    # not in steps of bf16
    assert not torch.equal(logits, logits.bfloat16().float())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_network_of_another_precision_answers_in_float32(dtype: torch.dtype) -> None:
    ab = make_network().to(dtype)(lightness().to(dtype))
    assert ab.dtype == torch.float32
    assert ab.isfinite().all()


@pytest.mark.parametrize("value", [0.0, 50.0, 100.0])
@pytest.mark.parametrize("training", [True, False])
def test_a_target_without_texture_has_finite_colours_and_gradients(value: float, training: bool) -> None:
    network = make_network().train(training)
    ab = network(torch.full((1, 1, 16, 16), value))
    ab.square().mean().backward()
    assert ab.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters() if parameter.grad is not None)


@pytest.mark.parametrize("size", [(32, 36), (20, 32), (4, 4), (33, 32)])
def test_sides_that_are_no_multiple_of_8_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"multiples of 8, got {size[0]} x {size[1]}"):
        make_network()(torch.zeros(1, 1, *size))


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_a_temperature_that_is_not_above_0_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match=r"stage\.temperature="):
        ClassificationNet(WIDTH, temperature=temperature)


@pytest.mark.parametrize("bins", [None, 313])
def test_settings_rebuild_the_network(bins: int | None) -> None:
    network = ClassificationNet(WIDTH, bins, temperature=0.7).eval()
    rebuilt = ClassificationNet.from_settings(network.settings)
    rebuilt.load_state_dict(network.state_dict())
    assert torch.equal(rebuilt.eval()(lightness()), network(lightness()))
    assert torch.equal(rebuilt.bins, network.bins)
