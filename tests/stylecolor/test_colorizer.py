from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylecolor.checkpoint import describe
from stylecolor.colorizer import ColorizationNet
from stylecolor.weights import load_colorizer_state

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


def make_colorizer(width: float = WIDTH) -> ColorizationNet:
    """With random weights, random BatchNorm statistics, and an output that is not too close to 0 or to tanh's ends."""
    torch.manual_seed(0)
    colorizer = ColorizationNet(width)
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


def run_by_hand(state: dict[str, Tensor], l: Tensor, ab: Tensor, mask: Tensor) -> Tensor:
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
    x = block(x, "model5", 3, dilation=2)
    x = block(x, "model6", 3, dilation=2)
    x = block(x, "model7", 3)
    x = F.relu(up(x, "model8up") + conv(x3, "model3short8.0"))
    x = norm(F.relu(conv(F.relu(conv(x, "model8.1")), "model8.3")), "model8.5")
    x = F.relu(up(x, "model9up") + conv(x2, "model2short9.0"))
    x = norm(F.relu(conv(x, "model9.1")), "model9.3")
    x = F.relu(up(x, "model10up") + conv(x1, "model1short10.0"))
    x = F.leaky_relu(conv(x, "model10.1"), 0.2)
    return 110 * torch.tanh(F.conv2d(x, state["model_out.0.weight"], state["model_out.0.bias"]))


def test_state_dict_has_the_published_layout() -> None:
    with torch.device("meta"):
        colorizer = ColorizationNet()
    assert {name: tuple(tensor.shape) for name, tensor in colorizer.state_dict().items()} == published_layout()


@pytest.mark.parametrize("width", [WIDTH, 0.5])
def test_equals_a_direct_restatement(width: float) -> None:
    colorizer = make_colorizer(width)
    with torch.no_grad():
        found = colorizer(*inputs())
        exact = run_by_hand(colorizer.double().state_dict(), *(tensor.double() for tensor in inputs()))
        found_exactly = colorizer(*(tensor.double() for tensor in inputs()))
    assert exact.std() > 1, "the case is too easy: the output is nearly constant"
    assert (exact.abs() < 105).float().mean() > 0.9, "the case is too easy: tanh is at its ends"
    torch.testing.assert_close(found_exactly, exact.float(), atol=2e-5, rtol=0)
    torch.testing.assert_close(found, exact.float(), atol=5e-3, rtol=0)


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


def test_settings_rebuild_the_network() -> None:
    colorizer = make_colorizer()
    rebuilt = ColorizationNet.from_settings(colorizer.settings)
    rebuilt.load_state_dict(colorizer.state_dict())
    assert torch.equal(rebuilt.eval()(*inputs()), colorizer(*inputs()))


def save(state: dict[str, Tensor], path: Path) -> Path:
    torch.save(state, path)
    return path


def load(path: Path, width: float = WIDTH) -> dict[str, Tensor]:
    return load_colorizer_state(path, ColorizationNet(width).state_dict(), width, "stage.weights")


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_published_file_loads_without_its_distribution_head(tmp_path: Path) -> None:
    state = make_colorizer().state_dict()
    head = {"model_class.0.weight": torch.zeros(529, 32, 1, 1), "model_class.0.bias": torch.zeros(529)}
    assert_equal(load(save({**state, **head}, tmp_path / "siggraph17.pth")), state)


@pytest.mark.parametrize("stage", ["colorizer", "joint"])
def test_a_checkpoint_loads(tmp_path: Path, stage: str) -> None:
    state = make_colorizer().state_dict()
    contents = {
        "state_dict": {f"colorizer.{name}": tensor for name, tensor in state.items()} | {"transfer.decoder.weight": torch.zeros(1)},
        "stylecolor": describe(stage, colorizer={"width": WIDTH}),
        "global_step": 3,
    }
    torch.save(contents, path := tmp_path / "best.ckpt")
    assert_equal(load(path), state)


def test_a_file_with_missing_and_unexpected_keys_is_refused_by_naming_them(tmp_path: Path) -> None:
    state = make_colorizer().state_dict()
    state["model8up.0.scale"] = state.pop("model8up.0.weight")
    path = save(state, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"stage\.weights=.*other\.pth: .*missing model8up\.0\.weight; unexpected model8up\.0\.scale"):
        load(path)


def test_a_file_of_another_width_is_refused(tmp_path: Path) -> None:
    path = save(make_colorizer(0.25).state_dict(), tmp_path / "wide.pth")
    with pytest.raises(ValueError, match=r"model1\.0\.weight has shape \(16, 4, 3, 3\) where stage\.width=0\.125 needs \(8, 4, 3, 3\)"):
        load(path)


def test_a_checkpoint_of_another_width_is_refused(tmp_path: Path) -> None:
    state = {f"colorizer.{name}": tensor for name, tensor in make_colorizer(0.25).state_dict().items()}
    torch.save({"state_dict": state, "stylecolor": describe("colorizer", colorizer={"width": 0.25}), "global_step": 0}, tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match=r"stage\.weights=.*stage\.width=0\.125"):
        load(tmp_path / "a.ckpt")


def test_a_transfer_checkpoint_is_refused(tmp_path: Path) -> None:
    contents = {"state_dict": {"transfer.x": torch.zeros(1)}, "stylecolor": describe("transfer", transfer={}), "global_step": 0}
    torch.save(contents, tmp_path / "transfer.ckpt")
    with pytest.raises(ValueError, match=r"holds no colorizer.*stage=colorizer or stage=joint"):
        load(tmp_path / "transfer.ckpt")
