from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from stylecolor.classification import ClassificationNet
from stylecolor.color import join_lab, rgb_to_lab
from stylecolor.colorizer import ColorizationNet, GlobalColorizationNet
from stylecolor.hints import empty_hints
from stylecolor.precolor import load_precolorizer, make_precolor, precolor_by, precolor_for_gray_encoder, precolor_gray

WIDTH = 0.125
L = torch.rand(2, 1, 16, 24, generator=torch.Generator().manual_seed(0)) * 100


def make_network(kind: type[ColorizationNet] | type[ClassificationNet] = ColorizationNet) -> nn.Module:
    torch.manual_seed(0)
    return kind(WIDTH)


def test_gray_is_l_in_three_equal_channels_without_colour() -> None:
    picture, ab = precolor_gray(L)
    torch.testing.assert_close(picture, picture[:, :1].expand(-1, 3, -1, -1), atol=5e-4, rtol=0)
    torch.testing.assert_close(rgb_to_lab(picture)[:, :1], L, atol=1e-2, rtol=0)
    assert torch.equal(ab, torch.zeros(2, 2, 16, 24))
    assert torch.equal(precolor_for_gray_encoder(L).picture, picture[:, :1])
    assert torch.equal(precolor_for_gray_encoder(L).ab, ab)


@pytest.mark.parametrize("kind", [ColorizationNet, GlobalColorizationNet, ClassificationNet])
def test_a_network_colours_without_hints_in_eval_mode_and_without_gradient(kind: type[ColorizationNet]) -> None:
    network = make_network(kind).eval()
    with torch.no_grad():
        expected = network(L, *empty_hints(torch.zeros(2, 2, 16, 24)))
    network.train()
    before = [buffer.clone() for buffer in network.buffers()]
    found = precolor_by(network)(L)
    torch.testing.assert_close(found.ab, expected)
    torch.testing.assert_close(found.picture, join_lab(L, expected))
    assert not found.ab.requires_grad
    assert not found.picture.requires_grad
    assert network.training
    assert all(torch.equal(own, other) for own, other in zip(network.buffers(), before, strict=True))


@pytest.mark.parametrize("name", ["network", "siggraph17", "eccv16"])
def test_names_of_networks_ask_the_network(name: str) -> None:
    network = make_network()
    assert torch.equal(make_precolor(name, network)(L).ab, precolor_by(network)(L).ab)


def test_gray_names_need_no_network() -> None:
    for name, expected in (("gray", precolor_gray(L)), ("gray_encoder", precolor_for_gray_encoder(L))):
        assert all(torch.equal(own, other) for own, other in zip(make_precolor(name, None)(L), expected, strict=True))


def test_other_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r"stage\.precolor=grey .*did you mean gray"):
        make_precolor("grey", None)


def save(network: nn.Module, path: Path) -> dict[str, Tensor]:
    state = network.state_dict()
    torch.save(state, path)
    return state


@pytest.mark.parametrize(("name", "kind"), [("siggraph17", ColorizationNet), ("eccv16", ClassificationNet)])
def test_a_precolorizer_comes_frozen_from_a_file(tmp_path: Path, name: str, kind: type[ColorizationNet]) -> None:
    state = save(make_network(kind), tmp_path / "weights.pth")
    network = load_precolorizer(name, str(tmp_path / "weights.pth"))
    assert isinstance(network, kind)
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert all(torch.equal(tensor, state[key]) for key, tensor in network.state_dict().items())


def test_the_published_weights_are_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLECOLOR_CACHE", str(tmp_path))
    (tmp_path / "mirror").mkdir()
    with pytest.raises(ValueError, match=r"siggraph17-df00044c\.pth"):
        load_precolorizer("siggraph17", None, mirror=str(tmp_path / "mirror"))


@pytest.mark.parametrize(("name", "other"), [("siggraph17", ClassificationNet), ("eccv16", ColorizationNet)])
def test_a_file_of_another_network_is_refused(tmp_path: Path, name: str, other: type[ColorizationNet]) -> None:
    save(make_network(other), tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=rf"stage\.precolor_weights=.*weights\.pth: holds the network \w+, expected {name}"):
        load_precolorizer(name, str(tmp_path / "weights.pth"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"stage\.precolor_weights=.*none\.pth: no such file"):
        load_precolorizer("siggraph17", str(tmp_path / "none.pth"))
