import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylecolor.colorizer import ColorizationNet, GlobalColorizationNet, ab_classes
from stylecolor.global_hints import GlobalHints

WIDTH = 0.125

# (block, index in its Sequential, channels in, channels out), as in the authors' file
CONVOLUTIONS = (
    ("model1", 0, 4, 64), ("model1", 2, 64, 64),
    ("model2", 0, 64, 128), ("model2", 2, 128, 128),
    ("model3", 0, 128, 256), ("model3", 2, 256, 256), ("model3", 4, 256, 256),
    ("model4", 0, 256, 512), ("model4", 2, 512, 512), ("model4", 4, 512, 512),
    ("model5", 0, 512, 512), ("model5", 2, 512, 512), ("model5", 4, 512, 512),
    ("model6", 0, 512, 512), ("model6", 2, 512, 512), ("model6", 4, 512, 512),
    ("model7", 0, 512, 512), ("model7", 2, 512, 512), ("model7", 4, 512, 512),
    ("model8", 1, 256, 256), ("model8", 3, 256, 256),
    ("model9", 1, 128, 128),
    ("model10", 1, 128, 128),
    ("model3short8", 0, 256, 256), ("model2short9", 0, 128, 128), ("model1short10", 0, 64, 128),
)  # fmt: skip
UPSAMPLINGS = (("model8up", 512, 256), ("model9up", 256, 128), ("model10up", 128, 128))
NORMS = (
    ("model1", 4, 64), ("model2", 4, 128), ("model3", 6, 256), ("model4", 6, 512), ("model5", 6, 512), ("model6", 6, 512),
    ("model7", 6, 512), ("model8", 5, 256), ("model9", 3, 128),
)  # fmt: skip


def published_layout() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the authors' file, without the distribution head."""
    shapes: dict[str, tuple[int, ...]] = {"model_out.0.weight": (2, 128, 1, 1), "model_out.0.bias": (2,)}
    for block, index, channels_in, channels_out in CONVOLUTIONS:
        shapes[f"{block}.{index}.weight"] = (channels_out, channels_in, 3, 3)
        shapes[f"{block}.{index}.bias"] = (channels_out,)
    for block, channels_in, channels_out in UPSAMPLINGS:
        shapes[f"{block}.0.weight"] = (channels_in, channels_out, 4, 4)
        shapes[f"{block}.0.bias"] = (channels_out,)
    for block, index, channels in NORMS:
        shapes |= {f"{block}.{index}.{name}": (channels,) for name in ("weight", "bias", "running_mean", "running_var")}
        shapes[f"{block}.{index}.num_batches_tracked"] = ()
    return shapes


def make_colorizer(width: float = WIDTH, kind: type[ColorizationNet] = ColorizationNet, distribution: bool = False) -> ColorizationNet:
    """With random weights, random BatchNorm statistics, and an output that is not too close to 0 or to tanh's ends."""
    torch.manual_seed(0)
    colorizer = kind(width, distribution)
    for module in colorizer.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)  # pyright: ignore[reportArgumentType]
            nn.init.uniform_(module.running_var, 0.02, 0.1)  # pyright: ignore[reportArgumentType]
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.3)
    return colorizer.eval()


def inputs(batch: int = 2, height: int = 32, width: int = 40) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    l = 100 * torch.rand(batch, 1, height, width, generator=generator)
    ab = 80 * torch.randn(batch, 2, height, width, generator=generator).clamp(-1, 1)
    return l, ab, (torch.rand(batch, 1, height, width, generator=generator) < 0.2).float()


def double_inputs() -> tuple[Tensor, Tensor, Tensor]:
    l, ab, mask = inputs()
    return l.double(), ab.double(), mask.double()


def run_by_hand(state: dict[str, Tensor], l: Tensor, ab: Tensor, mask: Tensor, told: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """ab and, if there is a head for it, the distribution; `told` are the global hints in one vector."""

    def conv(x: Tensor, name: str, dilation: int = 1) -> Tensor:
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=dilation, dilation=dilation)

    def up(x: Tensor, name: str) -> Tensor:
        return F.conv_transpose2d(x, state[f"{name}.0.weight"], state[f"{name}.0.bias"], stride=2, padding=1)

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (state[f"{name}.{key}"].view(1, -1, 1, 1) for key in ("running_mean", "running_var", "weight", "bias"))
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    def block(x: Tensor, name: str, convolutions: int, dilation: int = 1) -> Tensor:
        for index in range(convolutions):
            x = F.relu(conv(x, f"{name}.{2 * index}", dilation))
        return norm(x, f"{name}.{2 * convolutions}")

    def half(x: Tensor) -> Tensor:
        return x[:, :, ::2, ::2]

    x1 = block(torch.cat(((l - 50) / 100, ab * mask / 110, mask), dim=1), "model1", 2)
    x2 = block(half(x1), "model2", 2)
    x3 = block(half(x2), "model3", 3)
    x = block(half(x3), "model4", 3)
    if told is not None:
        for index in range(4):
            told = F.relu(told @ state[f"model_global.{2 * index}.weight"].flatten(1).T + state[f"model_global.{2 * index}.bias"])
        x = x + told[:, :, None, None]
    x = block(x, "model5", 3, dilation=2)
    x = block(x, "model6", 3, dilation=2)
    x = block(x, "model7", 3)
    x = F.relu(up(x, "model8up") + conv(x3, "model3short8.0"))
    x = norm(F.relu(conv(F.relu(conv(x, "model8.1")), "model8.3")), "model8.5")
    head = state.get("model_class.0.weight")
    classes = None if head is None else torch.einsum("bchw,kc->bkhw", x, head.flatten(1)) + state["model_class.0.bias"].view(1, -1, 1, 1)
    x = F.relu(up(x, "model9up") + conv(x2, "model2short9.0"))
    x = norm(F.relu(conv(x, "model9.1")), "model9.3")
    x = F.relu(up(x, "model10up") + conv(x1, "model1short10.0"))
    x = F.leaky_relu(conv(x, "model10.1"), 0.2)
    return 110 * torch.tanh(F.conv2d(x, state["model_out.0.weight"], state["model_out.0.bias"])), classes


def test_state_dict_has_the_published_layout() -> None:
    with torch.device("meta"):
        colorizer = ColorizationNet()
        with_head = ColorizationNet(distribution=True)
    assert shapes(colorizer) == published_layout()
    assert shapes(with_head) == published_layout() | {"model_class.0.weight": (529, 256, 1, 1), "model_class.0.bias": (529,)}


def shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def test_global_hints_have_four_1x1_convolutions_of_512() -> None:
    network = GlobalColorizationNet()
    added = {name: shape for name, shape in shapes(network).items() if name not in published_layout()}
    expected: dict[str, tuple[int, ...]] = {}
    for index, channels_in in enumerate((len(network.bins) + 1 + 1 + 1, 512, 512, 512)):
        expected |= {f"model_global.{2 * index}.weight": (512, channels_in, 1, 1), f"model_global.{2 * index}.bias": (512,)}
    assert added == expected


@pytest.mark.parametrize("width", [WIDTH, 0.5])
def test_equals_a_direct_restatement(width: float) -> None:
    colorizer = make_colorizer(width)
    with torch.no_grad():
        found = colorizer(*inputs())
        exact, _ = run_by_hand(colorizer.double().state_dict(), *double_inputs())
        found_exactly = colorizer(*double_inputs())
    assert exact.std() > 1, "the case is too easy: the output is nearly constant"
    assert (exact.abs() < 105).float().mean() > 0.9, "the case is too easy: tanh is at its ends"
    torch.testing.assert_close(found_exactly, exact.float(), atol=2e-5, rtol=0)
    torch.testing.assert_close(found, exact.float(), atol=5e-3, rtol=0)


@pytest.mark.parametrize("kind", [ColorizationNet, GlobalColorizationNet])
def test_the_distribution_equals_a_direct_restatement(kind: type[ColorizationNet]) -> None:
    colorizer = make_colorizer(kind=kind, distribution=True).double()
    told = torch.zeros(2, len(colorizer.bins) + 3).double() if isinstance(colorizer, GlobalColorizationNet) else None
    double = double_inputs()
    with torch.no_grad():
        found = colorizer.predict(*double)
        exact_ab, exact_classes = run_by_hand(colorizer.state_dict(), *double, told)
    assert found.logits is not None
    assert exact_classes is not None
    assert exact_classes.shape == (2, 529, 8, 10)
    assert exact_classes.std() > 0.1
    torch.testing.assert_close(found.logits, exact_classes)
    torch.testing.assert_close(found.ab, exact_ab.float())
    assert torch.equal(found.ab, colorizer(*double))


def test_without_the_head_there_is_no_distribution() -> None:
    colorizer = make_colorizer()
    found = colorizer.predict(*inputs())
    assert found.logits is None
    assert torch.equal(found.ab, colorizer(*inputs()))


def test_global_hints_equal_a_direct_restatement() -> None:
    colorizer = make_colorizer(kind=GlobalColorizationNet).double()
    assert isinstance(colorizer, GlobalColorizationNet)
    with torch.no_grad():
        for parameter in colorizer.model_global.parameters():
            parameter *= 8
    histogram = torch.rand(2, len(colorizer.bins), generator=torch.Generator().manual_seed(3)).double()
    hints = GlobalHints(histogram, torch.tensor([[1.0], [0.0]]).double(), torch.tensor([[0.3], [0.8]]).double(), torch.ones(2, 1).double())
    double = double_inputs()
    with torch.no_grad():
        found, without = colorizer(*double, hints), colorizer(*double)
        exact, _ = run_by_hand(colorizer.state_dict(), *double, torch.cat(hints, dim=1))
        exact_without, _ = run_by_hand(colorizer.state_dict(), *double, torch.zeros(2, len(colorizer.bins) + 3).double())
    torch.testing.assert_close(found, exact.float(), atol=2e-5, rtol=0)
    torch.testing.assert_close(without, exact_without.float(), atol=2e-5, rtol=0)
    assert (found - without).abs().max() > 0.1, "the case is too easy: the hints hardly change the result"


def test_classes_are_those_of_a_grid_of_ab() -> None:
    grid = np.array([(a, b) for a in range(-110, 111, 10) for b in range(-110, 111, 10)], dtype=np.float32)
    assert len(grid) == 529
    ab = 50 * torch.randn(2, 2, 16, 24, generator=torch.Generator().manual_seed(0))
    found = ab_classes(ab).numpy()
    assert found.shape == (2, 4, 6)
    for sample, row, column in np.ndindex(*found.shape):
        pixel = ab[sample, :, 4 * row, 4 * column].numpy()
        assert found[sample, row, column] == np.square(grid - pixel).sum(axis=1).argmin()


@pytest.mark.parametrize("outside", [-128.0, 127.0])
def test_colours_beyond_the_grid_have_a_class_too(outside: float) -> None:
    assert ab_classes(torch.full((1, 2, 4, 4), outside)).tolist() == [[[0 if outside < 0 else 528]]]


def test_result_is_ab_in_lab_units_and_float32() -> None:
    colorizer = make_colorizer()
    nn.init.constant_(colorizer.model_out[0].bias, 50)  # pyright: ignore[reportArgumentType]
    with torch.autocast("cpu", torch.bfloat16):
        ab = colorizer(*inputs())
    assert ab.dtype == torch.float32
    torch.testing.assert_close(ab, torch.full((2, 2, 32, 40), 110.0))


def test_hidden_colours_never_leak() -> None:
    colorizer = make_colorizer()
    l, ab, mask = inputs()
    other = torch.where(mask.bool(), ab, -30 * ab.roll(1, dims=3) + 7)
    assert torch.equal(colorizer(l, ab, mask), colorizer(l, other, mask))
    assert not torch.equal(colorizer(l, ab, mask), colorizer(l, ab + 5, mask))


@pytest.mark.parametrize("size", [(32, 36), (20, 32), (4, 4), (33, 32)])
def test_sides_that_are_no_multiple_of_8_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"multiples of 8, got {size[0]} x {size[1]}"):
        make_colorizer()(torch.zeros(1, 1, *size), torch.zeros(1, 2, *size), torch.zeros(1, 1, *size))


@pytest.mark.parametrize("kind", [ColorizationNet, GlobalColorizationNet])
@pytest.mark.parametrize("distribution", [False, True])
def test_settings_rebuild_the_network(kind: type[ColorizationNet], distribution: bool) -> None:
    colorizer = make_colorizer(kind=kind, distribution=distribution)
    rebuilt = kind.from_settings(colorizer.settings)
    rebuilt.load_state_dict(colorizer.state_dict())
    assert torch.equal(rebuilt.eval()(*inputs()), colorizer(*inputs()))
