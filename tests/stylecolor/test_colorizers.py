import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stylecolor.ab_bins import gamut_bins
from stylecolor.checkpoint import describe
from stylecolor.choices import COLORIZER_NETWORKS, HINTED_NETWORKS, colorizer_blocks
from stylecolor.classification import ClassificationNet
from stylecolor.colorizers import (
    NETWORKS,
    Colorizer,
    block_of,
    describe_colorizer,
    load_blocks,
    load_colorizer,
    make_colorizer,
    read_colorizer,
    restore_colorizer,
)

WIDTH = 0.125


def make(name: str = "siggraph17", width: float = WIDTH, seed: int = 0, **settings: Any) -> Colorizer:
    torch.manual_seed(seed)
    network = make_colorizer(name, {"width": width, **settings})
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)  # pyright: ignore[reportArgumentType]
    return network


def released_eccv16(width: float = WIDTH, bins: int = 313) -> dict[str, Tensor]:
    """The layout of the authors' file, with bins that no rule of ours derives."""
    state = make("eccv16", width, bins=bins).state_dict()
    state["model_out.weight"] = torch.rand(2, bins, 1, 1, generator=torch.Generator().manual_seed(5)) - 0.5
    return state


def save(state: dict[str, Tensor], path: Path) -> str:
    torch.save(state, path)
    return str(path)


def save_checkpoint(network: Colorizer, path: Path, stage: str = "colorizer", description: dict[str, Any] | None = None) -> str:
    contents = {
        "state_dict": {f"colorizer.{name}": tensor for name, tensor in network.state_dict().items()} | {"precolorizer.x": torch.zeros(1)},
        "stylecolor": describe(stage, colorizer=describe_colorizer(network) if description is None else description),
        "global_step": 3,
    }
    torch.save(contents, path)
    return str(path)


def assert_equal(found: nn.Module, expected: dict[str, Tensor]) -> None:
    state = found.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in expected)


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    l = 100 * torch.rand(2, 1, 16, 24, generator=generator)
    return l, 40 * torch.randn(2, 2, 16, 24, generator=generator), (torch.rand(2, 1, 16, 24, generator=generator) < 0.2).float()


def test_the_registry_has_the_names_that_settings_may_take() -> None:
    assert tuple(NETWORKS) == COLORIZER_NETWORKS
    with pytest.raises(ValueError, match=r"stage\.network=siggraph is not one of .*did you mean siggraph17"):
        make_colorizer("siggraph", {})


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_called_alike_and_answers_with_ab(name: str) -> None:
    ab = make(name).eval()(*inputs())
    assert ab.shape == (2, 2, 16, 24)
    assert ab.dtype == torch.float32


@pytest.mark.parametrize("name", NETWORKS)
def test_a_description_restores_the_network(name: str) -> None:
    network = make(name)
    description = describe_colorizer(network)
    assert description["network"] == name
    restored = restore_colorizer(description)
    restored.load_state_dict(network.state_dict())
    assert torch.equal(restored.eval()(*inputs()), network.eval()(*inputs()))
    assert describe_colorizer(make_colorizer(name, description)) == description


def test_a_training_scripts_file_is_unwrapped(tmp_path: Path) -> None:
    state = make().state_dict()
    wrapped = {"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}, "epoch": 3}
    assert_equal(load_colorizer(save(wrapped, tmp_path / "script.pth"), "stage.weights"), state)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ({1: torch.zeros(1), "a": torch.zeros(1)}, "holds no state dict, 1 is no name"),
        ({"state_dict": {1: torch.zeros(1)}}, "holds no state dict, 1 is no name"),
        ({"stylecolor": 5}, "is no stylecolor checkpoint"),
        ({"stylecolor": {"format": 1}, "state_dict": {}}, "has checkpoint format 1"),
        ({"stylecolor": {"format": 2}, "state_dict": {}}, "is damaged, it does not say which networks"),
        ({"stylecolor": {"format": 2, "networks": {"colorizer": 5}}, "state_dict": {}}, "is damaged, it does not say which networks"),
        ({"stylecolor": {"format": 2, "networks": {}}, "state_dict": {}}, "is damaged, it does not say which stage"),
        ({"stylecolor": {"format": 2, "stage": "joint", "networks": {}}, "state_dict": {}, "global_step": 1}, "this checkpoint holds no"),
        (
            {"stylecolor": {"format": 2, "stage": "joint", "networks": {"colorizer": {}}}, "state_dict": {}, "global_step": 1},
            "this checkpoint holds no",
        ),
    ],
)
def test_readable_files_that_are_no_colorizer_are_refused(contents: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"^stage\.weights=.*odd\.pth: {message}"):
        load_colorizer(save(contents, tmp_path / "odd.pth"), "stage.weights")


def test_weights_with_nan_are_refused_by_the_tensors_name(tmp_path: Path) -> None:
    state = make().state_dict()
    state["model3.2.weight"][0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"is damaged, model3\.2\.weight holds NaN"):
        load_colorizer(save(state, tmp_path / "nan.pth"), "stage.weights")


@pytest.mark.parametrize("name", HINTED_NETWORKS)
def test_a_file_in_the_published_layout_loads_without_its_distribution_head(name: str, tmp_path: Path) -> None:
    network = make(name, distribution=True)
    state = {key: tensor for key, tensor in network.state_dict().items() if not key.startswith("model_class.")}
    found = load_colorizer(save(network.state_dict(), tmp_path / "published.pth"), "stage.weights")
    assert_equal(found, state)
    assert describe_colorizer(found) == {"network": name, "width": WIDTH, "distribution": False}


def test_released_eccv16_weights_bring_their_bins_and_no_temperature(tmp_path: Path) -> None:
    state = released_eccv16()
    found = load_colorizer(save(state, tmp_path / "eccv16.pth"), "stage.weights")
    assert_equal(found, state)
    assert describe_colorizer(found) == {"network": "eccv16", "width": WIDTH, "bins": 313, "temperature": 1.0}
    l = inputs()[0]
    assert isinstance(found, ClassificationNet)
    with torch.no_grad():
        logits = found.eval().logits(l)
        mean = torch.einsum("bqhw,cq->bchw", logits.softmax(dim=1), state["model_out.weight"].flatten(1))
        expected = 110 * nn.functional.interpolate(mean, scale_factor=4, mode="bilinear")
        torch.testing.assert_close(found(l), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("stage", ["colorizer", "joint"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_checkpoint_loads(name: str, stage: str, tmp_path: Path) -> None:
    network = make(name)
    found = load_colorizer(save_checkpoint(network, tmp_path / "best.ckpt", stage), "stage.weights")
    assert type(found) is NETWORKS[name]
    assert_equal(found, network.state_dict())
    assert describe_colorizer(found) == describe_colorizer(network)


def test_a_checkpoint_with_the_distribution_head_loads_without_it(tmp_path: Path) -> None:
    found = load_colorizer(save_checkpoint(make(distribution=True), tmp_path / "best.ckpt"), "stage.weights")
    assert not any(name.startswith("model_class.") for name in found.state_dict())


def test_a_network_that_is_not_welcome_is_refused(tmp_path: Path) -> None:
    path = save(released_eccv16(), tmp_path / "eccv16.pth")
    with pytest.raises(
        ValueError, match=r"stage\.weights=.*eccv16\.pth: holds the network eccv16, expected siggraph17 or siggraph17_global"
    ):
        load_colorizer(path, "stage.weights", networks=HINTED_NETWORKS)


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_with_missing_and_unexpected_keys_are_refused_by_naming_them(name: str, tmp_path: Path) -> None:
    state = make(name).state_dict()
    state["model8.scale"] = state.pop("model4.0.weight")
    path = save(state, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"stage\.weights=.*other\.pth: .*missing model4\.0\.weight; unexpected model8\.scale"):
        load_colorizer(path, "stage.weights")


def test_weights_of_no_known_layout_are_compared_with_the_network_that_was_asked_for(tmp_path: Path) -> None:
    state = released_eccv16()
    del state["model_out.weight"]
    path = save(state, tmp_path / "headless.pth")
    with pytest.raises(ValueError, match=r"headless\.pth: these weights belong to another network: missing model_out\.weight$"):
        load_colorizer(path, "stage.weights", networks=("eccv16",))
    with pytest.raises(ValueError, match=r"missing model10\.1\.bias.*unexpected model8\.0\.bias"):
        load_colorizer(path, "stage.weights", networks=("siggraph17",))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_as_wide_as_its_weights(name: str, tmp_path: Path) -> None:
    wide = make(name, 0.25)
    for path in (save(wide.state_dict(), tmp_path / "wide.pth"), save_checkpoint(wide, tmp_path / "wide.ckpt")):
        assert load_colorizer(path, "stage.weights").settings["width"] == 0.25


def test_a_transfer_checkpoint_is_refused(tmp_path: Path) -> None:
    contents = {"state_dict": {"transfer.x": torch.zeros(1)}, "stylecolor": describe("transfer", transfer={}), "global_step": 0}
    torch.save(contents, tmp_path / "transfer.ckpt")
    with pytest.raises(ValueError, match=r"holds no colorizer.*stage=colorizer or stage=joint"):
        load_colorizer(str(tmp_path / "transfer.ckpt"), "stage.weights")


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_belongs_to_a_block_that_settings_can_name(name: str) -> None:
    settings = {} if name == "eccv16" else {"distribution": True}
    blocks = {block_of(key, name) for key in make(name, **settings).state_dict()}
    assert blocks == {*colorizer_blocks(name, distribution=True)}


def test_shortcuts_and_upsamplings_belong_to_the_block_that_they_lead_into() -> None:
    names = {"model8up.0.weight": "8", "model3short8.0.bias": "8", "model1short10.0.weight": "10", "model10.1.weight": "10"}
    names |= {"model1.0.weight": "1", "model_out.0.bias": "out", "model_class.0.bias": "class", "model_global.2.weight": "global"}
    assert {name: block_of(name, "siggraph17") for name in names} == names
    assert block_of("model_out.weight", "eccv16") == "8"
    assert block_of("features.0.weight", "siggraph17") is None


def start(network: Colorizer, path: str, blocks: set[str] | None = None) -> dict[str, Tensor]:
    load_blocks(network, read_colorizer(path, "stage.weights"), path, "stage.weights", blocks)
    return network.state_dict()


def test_only_the_chosen_blocks_are_taken(tmp_path: Path) -> None:
    stored, random = make(seed=1).state_dict(), make(seed=2).state_dict()
    started = start(make(seed=2), save(stored, tmp_path / "a.pth"), {"1", "8"})
    for name, tensor in started.items():
        chosen = name.startswith(("model1.", "model8.", "model8up.", "model3short8."))
        assert torch.equal(tensor, (stored if chosen else random)[name]), name


def test_blocks_that_the_weights_lack_are_refused(tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in make().state_dict().items() if not name.startswith("model4.")}
    with pytest.raises(ValueError, match=r"missing model4\.0\.bias"):
        start(make(), save(state, tmp_path / "a.pth"), {"3", "4"})


def test_a_head_that_the_weights_lack_starts_random_and_a_warning_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stored, random = make(seed=1).state_dict(), make(seed=2, distribution=True).state_dict()
    with caplog.at_level(logging.WARNING):
        started = start(make(seed=2, distribution=True), save(stored, tmp_path / "a.pth"))
    assert "block class, which starts random" in caplog.text
    assert all(torch.equal(tensor, stored.get(name, random[name])) for name, tensor in started.items())


def test_a_global_branch_starts_random_or_is_left_out_and_a_warning_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    local, whole = make(seed=1), make("siggraph17_global", seed=1)
    with caplog.at_level(logging.WARNING):
        start(make("siggraph17_global"), save(local.state_dict(), tmp_path / "local.pth"))
        assert "block global, which starts random" in caplog.text
        started = start(make(), save(whole.state_dict(), tmp_path / "global.pth"))
    assert "block global is left out" in caplog.text
    assert all(torch.equal(tensor, whole.state_dict()[name]) for name, tensor in started.items())


def test_a_head_that_the_network_lacks_is_left_out_silently(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    start(make(), save(make(distribution=True).state_dict(), tmp_path / "a.pth"))
    assert not caplog.records


@pytest.mark.parametrize(("stored", "name"), [("eccv16", "siggraph17"), ("siggraph17", "eccv16")])
def test_a_network_cannot_start_from_one_of_another_kind(stored: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"holds the network {stored}, which stage\.network={name} cannot start from"):
        start(make(name), save(make(stored).state_dict(), tmp_path / "a.pth"), {"1"})


def test_derived_bins_are_those_of_the_gamut() -> None:
    network = make("eccv16")
    assert isinstance(network, ClassificationNet)
    assert torch.equal(network.bins, gamut_bins())
