from collections import OrderedDict
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.transforms.functional import normalize

from stylecolor.encoder import IMAGENET_MEAN, IMAGENET_STD, VGG19Encoder, slice_channels

WIDTH = 0.125
RELU_I_1 = (1, 6, 11, 20, 29)
"""Indices of relu1_1 ... relu5_1 in torchvision's `features`."""


def torchvision_vgg19() -> nn.Module:
    torch.manual_seed(7)
    return torchvision.models.vgg19(weights=None)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Sequential, Path]:
    """torchvision's network and a file in its layout, classifier included (cut down: it is left out when the file is read)."""
    network = torchvision_vgg19()
    path = tmp_path_factory.mktemp("vgg") / "vgg19.pth"
    state = network.state_dict()
    torch.save(OrderedDict((name, tensor if name.startswith("features.") else tensor[:2].clone()) for name, tensor in state.items()), path)
    return network.get_submodule("features").eval(), path  # pyright: ignore[reportReturnType]


def run_torchvision(features: nn.Sequential, rgb: Tensor, average: bool) -> list[Tensor]:
    outputs = []
    x = normalize(rgb, list(IMAGENET_MEAN), list(IMAGENET_STD))
    for index, layer in enumerate(features):
        # the last four layers have nothing that is asked for, and relu in place would overwrite an earlier output
        x = nn.functional.avg_pool2d(x, 2) if average and isinstance(layer, nn.MaxPool2d) else layer(x.clone())
        if index in RELU_I_1:
            outputs.append(x)
    return outputs


@pytest.mark.parametrize(("pooling", "depth"), [("max", 5), ("average", 5), ("max", 4)])
def test_slices_equal_torchvisions_vgg19(published: tuple[nn.Sequential, Path], pooling: str, depth: int) -> None:
    features, path = published
    rgb = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = VGG19Encoder(str(path), depth=depth, pooling=pooling)(rgb)
        expected = run_torchvision(features, rgb, average=pooling == "average")[:depth]
    assert [tensor.shape[1] for tensor in found] == slice_channels(1.0, depth) == [64, 128, 256, 512, 512][:depth]
    for own, other in zip(found, expected, strict=True):
        torch.testing.assert_close(own, other, atol=1e-5, rtol=1e-4)


def test_average_pooling_replaces_every_max_pooling() -> None:
    kinds = {kind: [type(layer) for layer in VGG19Encoder("random", WIDTH, 5, kind).features] for kind in ("average", "max")}
    assert kinds["average"].count(nn.AvgPool2d) == kinds["max"].count(nn.MaxPool2d) == 4
    assert nn.MaxPool2d not in kinds["average"]
    with pytest.raises(ValueError, match="pooling='median'"):
        VGG19Encoder("random", WIDTH, pooling="median")


def test_reflection_padding_is_a_choice() -> None:
    zeros, reflect = (VGG19Encoder("random", WIDTH, padding=padding) for padding in ("zeros", "reflect"))
    assert all(torch.equal(zeros.state_dict()[name], tensor) for name, tensor in reflect.state_dict().items())
    rgb = torch.rand(1, 3, 32, 32)
    normalized = zeros.normalize(rgb)
    first = zeros.state_dict()
    expected = nn.functional.conv2d(
        nn.functional.pad(normalized, (1, 1, 1, 1), mode="reflect"), first["features.0.weight"], first["features.0.bias"]
    )
    torch.testing.assert_close(reflect(rgb)[0], expected.relu())
    assert not torch.allclose(zeros(rgb)[0], reflect(rgb)[0])
    with pytest.raises(ValueError, match=r"stage\.encoder\.padding=reflection .*did you mean reflect"):
        VGG19Encoder("random", WIDTH, padding="reflection")
    with pytest.raises(ValueError, match="channels_in=2"):
        VGG19Encoder("random", WIDTH, channels_in=2)


def test_a_slice_gives_the_features_around_its_pooling() -> None:
    encoder = VGG19Encoder("random", WIDTH)
    picture = encoder.normalize(torch.rand(1, 3, 32, 32))
    first = encoder.run_slice(0, picture)
    second = encoder.run_slice(1, first.output)
    assert first.before_pool is None
    assert first.pooled is None
    assert second.before_pool is not None
    assert second.pooled is not None
    torch.testing.assert_close(second.before_pool, encoder.features[:4](picture))
    torch.testing.assert_close(second.pooled, nn.functional.avg_pool2d(second.before_pool, 2))
    torch.testing.assert_close(second.output, encoder.features[:7](picture))


def test_stays_frozen_and_in_eval_mode() -> None:
    holder = nn.Sequential(VGG19Encoder("random", WIDTH)).train()
    assert not any(module.training for module in holder[0].modules())
    assert not any(parameter.requires_grad for parameter in holder.parameters())


def test_random_weights_are_always_the_same_and_leave_the_global_generator_alone() -> None:
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    first = VGG19Encoder("random", WIDTH).state_dict()
    changed = not torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(2)
    second = VGG19Encoder("random", WIDTH).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not changed, "building the encoder drew from the global generator, so that what is built next depends on it"


def test_random_weights_are_he_normal_by_fan_out() -> None:
    for layer in VGG19Encoder("random", 0.5, 5).features[5:]:
        if isinstance(layer, nn.Conv2d):
            assert layer.weight.std().item() == pytest.approx((2 / (9 * layer.out_channels)) ** 0.5, rel=0.02)
            assert not layer.bias.any()  # pyright: ignore[reportOptionalMemberAccess]


def test_the_loss_networks_first_layers_are_the_encoders() -> None:
    shallow, deep = VGG19Encoder("random", WIDTH, 4).state_dict(), VGG19Encoder("random", WIDTH, 5).state_dict()
    assert shallow.keys() < deep.keys()
    assert all(torch.equal(shallow[name], deep[name]) for name in shallow)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_own_files_are_read(tmp_path: Path, suffix: str) -> None:
    state = {name: tensor + 1 for name, tensor in VGG19Encoder("random", WIDTH, 5).state_dict().items()}
    path = tmp_path / f"own{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    loaded = VGG19Encoder(str(path), WIDTH, 4).state_dict()
    assert all(torch.equal(loaded[name], state[name]) for name in loaded)


def refusal(weights: str, width: float = WIDTH) -> str:
    with pytest.raises(ValueError, match=r"^stage\.encoder\.weights=") as caught:
        VGG19Encoder(weights, width)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_with_missing_keys_is_refused(tmp_path: Path) -> None:
    state = VGG19Encoder("random", WIDTH).state_dict()
    del state["features.5.weight"]
    torch.save(state, path := tmp_path / "cut.pth")
    assert "features.5.weight" in refusal(str(path))


def test_a_file_with_foreign_keys_is_refused(tmp_path: Path) -> None:
    torch.save({**VGG19Encoder("random", WIDTH).state_dict(), "conv1.weight": torch.zeros(1)}, path := tmp_path / "resnet.pth")
    assert "unexpected conv1.weight" in refusal(str(path))


def test_a_file_of_another_width_is_refused(tmp_path: Path) -> None:
    torch.save(VGG19Encoder("random", 0.25).state_dict(), path := tmp_path / "wide.pth")
    message = refusal(str(path))
    assert "stage.width=0.125" in message
    assert "features.0.weight" in message


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    state = VGG19Encoder("random", WIDTH).state_dict()
    path = tmp_path / f"cut{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    contents = path.read_bytes()
    path.write_bytes(contents[: int(share * len(contents))])
    assert "damaged" in refusal(str(path))


def test_pickled_objects_are_not_loaded(tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return Path.touch, (ran,)

    torch.save({"features.0.weight": Evil()}, path := tmp_path / "evil.pth")
    assert "no weight file" in refusal(str(path))
    assert not ran.exists()


@pytest.mark.parametrize("contents", [[torch.zeros(1)], torch.zeros(3), 5])
def test_files_that_hold_no_state_dict_are_refused(tmp_path: Path, contents: object) -> None:
    torch.save(contents, path := tmp_path / "other.pth")
    assert "instead of a state dict" in refusal(str(path))


def test_files_whose_entries_are_no_tensors_are_refused(tmp_path: Path) -> None:
    torch.save(dict.fromkeys(VGG19Encoder("random", WIDTH).state_dict(), 1), path := tmp_path / "numbers.pth")
    refusal(str(path))


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    state = {f"transfer.encoder.{name}": tensor for name, tensor in VGG19Encoder("random", WIDTH).state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, path := tmp_path / "last.ckpt")
    assert "unexpected transfer.encoder.features" in refusal(str(path))


@pytest.mark.parametrize("what", ["missing file", "text file", "directory", "empty name"])
def test_what_is_no_weight_file_is_refused(tmp_path: Path, what: str) -> None:
    text = tmp_path / "weights.pth"
    text.write_text("these are no weights\n")
    path = {"missing file": str(tmp_path / "none.pth"), "text file": str(text), "directory": str(tmp_path), "empty name": ""}[what]
    refusal(path)


def test_imagenet_weights_are_refused_at_another_width() -> None:
    message = refusal("imagenet", width=0.5)
    assert "stage.width=1.0" in message
    assert "stage.encoder.weights=random" in message
