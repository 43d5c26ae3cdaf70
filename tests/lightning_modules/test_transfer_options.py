"""Every setting of stage=transfer changes what a training step computes."""

import dataclasses
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_modules import make_stage
from lightning_modules.config import EncoderConfig, TransferConfig, TransferLossConfig
from stylecolor.checkpoint import read_checkpoint
from stylecolor.encoder import VGG19Encoder
from tests.stages import WIDTH, differ, make_batch, make_colorizer_stage, make_transfer_stage, save_checkpoint, train_once

BATCH = make_batch(2, 32, labelled=True)
AUTHORS = {"skips": "pre_pool", "norm": "none", "padding": "reflect"}

CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    # the option, what both stages have, what the second one has
    ("width", {}, {"width": 0.25}),
    ("matching", {}, {"matching": "wct"}),
    ("matching", {}, {"matching": "none"}),
    ("sites", {}, {"sites": ["encoder"]}),
    ("sites", {}, {"sites": ["decoder", "bottleneck"]}),
    ("sites", {"skips": "pre_pool"}, {"sites": ["skips"]}),
    ("alpha", {}, {"alpha": 0.5}),
    ("skips", {}, {"skips": "pre_pool"}),
    ("norm", {}, {"norm": "none"}),
    ("padding", {}, {"padding": "reflect"}),
    ("regions", {}, {"regions": True}),
    ("feather", {"regions": True}, {"feather": 3}),
    ("precolor", {}, {"precolor": "gray"}),
    ("precolor", {"precolor": "gray"}, {"precolor": "gray_encoder"}),
    ("precolor", {"precolor_weights": "siggraph17"}, {"precolor": "siggraph17"}),
    ("precolor", {}, {"precolor": "eccv16", "precolor_weights": "eccv16"}),
    ("precolor_weights", {"precolor": "siggraph17", "precolor_weights": "siggraph17"}, {"precolor_weights": "other"}),
    ("decoder_weights", AUTHORS, {"decoder_weights": "decoder"}),
    ("encoder.weights", {"loss.network_weights": "random"}, {"encoder.weights": "encoder"}),
    ("encoder.padding", {}, {"encoder.padding": "reflect"}),
    ("encoder.gray_weights", {"precolor": "gray_encoder"}, {"encoder.gray_weights": "gray"}),
    ("loss.network_weights", {}, {"loss.network_weights": "encoder"}),
    ("loss.perceptual_coefficient", {}, {"loss.perceptual_coefficient": 0.4}),
    ("loss.reconstruction_coefficient", {}, {"loss.reconstruction_coefficient": 0.4}),
    ("loss.content_coefficient", {}, {"loss.content_coefficient": 2.0}),
    ("loss.style_coefficient", {}, {"loss.style_coefficient": 1.0}),
    ("loss.content_layer", {}, {"loss.content_layer": 2}),
    ("loss.style_weights", {}, {"loss.style_weights": [1.0, 0.0, 0.2, 0.2, 0.2]}),
    ("loss.normalize", {}, {"loss.normalize": False}),
]
ELSEWHERE = {"name", "channels_last", "weights_mirror", "optimizer"}
"""The memory order changes no result, the mirror is asked for published weights alone, and the optimiser comes after the step."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Weight files by name."""
    directory = tmp_path_factory.mktemp("weights")
    files = {"encoder": directory / "encoder.pth", "gray": directory / "gray.pth", "decoder": directory / "decoder.pth"}
    encoder = VGG19Encoder("random", WIDTH, depth=5).state_dict()
    torch.save({name: tensor.flip(0) for name, tensor in encoder.items()}, files["encoder"])
    gray = VGG19Encoder("random", WIDTH, depth=4, channels_in=1).state_dict()
    torch.save({name: tensor.flip(0) for name, tensor in gray.items()}, files["gray"])
    torch.save(decoder_of_the_authors(), files["decoder"])
    for name, network in (("siggraph17", "siggraph17"), ("other", "siggraph17"), ("eccv16", "eccv16")):
        stage = make_colorizer_stage(network=network)
        torch.manual_seed(len(name))
        for parameter in stage.colorizer.parameters():
            if parameter.ndim == 4:
                torch.nn.init.normal_(parameter, std=(2 / parameter[0].numel()) ** 0.5)
        files[name] = save_checkpoint(stage, directory / f"{name}.ckpt")
    return {name: str(path) for name, path in files.items()}


def decoder_of_the_authors() -> dict[str, Tensor]:
    widths = {
        "conv4_1": (64, 32), "conv3_4_2": (96, 32), "conv3_3": (32, 32), "conv3_2": (32, 32), "conv3_1": (32, 16),
        "conv2_2_2": (48, 16), "conv2_1": (16, 8), "conv1_2_2": (24, 8), "conv1_1": (8, 3),
    }  # fmt: skip
    generator = torch.Generator().manual_seed(3)
    state = {f"{name}.weight": torch.randn(outputs, inputs, 3, 3, generator=generator) / 20 for name, (inputs, outputs) in widths.items()}
    return state | {f"{name}.bias": torch.zeros(outputs) for name, (_, outputs) in widths.items()}


def make(files: dict[str, str], settings: dict[str, Any]) -> Any:
    """A stage by flat settings; names of files are replaced by their paths."""
    nested: dict[str, Any] = {"encoder": {"weights": "random"}, "loss": {}}
    for name, value in settings.items():
        if name.endswith("weights") and isinstance(value, str):
            value = files.get(value, value)
        head, _, tail = name.rpartition(".")
        (nested[head] if head else nested)[tail] = value
    encoder, loss = EncoderConfig(**nested.pop("encoder")), TransferLossConfig(**nested.pop("loss"))
    return make_transfer_stage(encoder=encoder, loss=loss, **nested)


@pytest.mark.parametrize(("option", "both", "changed"), CASES, ids=[f"{option}-{index}" for index, (option, _, _) in enumerate(CASES)])
def test_every_option_changes_the_step(files: dict[str, str], option: str, both: dict[str, Any], changed: dict[str, Any]) -> None:
    results = [train_once(make(files, settings), BATCH) for settings in (both, both, both | changed)]
    assert torch.equal(results[0], results[1])
    assert results[2].isfinite().all()
    assert differ(results[0], results[2])


def test_no_option_is_left_out() -> None:
    nested = {"encoder": EncoderConfig, "loss": TransferLossConfig}
    names = {field.name for field in dataclasses.fields(TransferConfig)} - ELSEWHERE - nested.keys()
    names |= {f"{head}.{field.name}" for head, kind in nested.items() for field in dataclasses.fields(kind)}
    assert names == {option for option, _, _ in CASES}


@pytest.mark.parametrize(("matching", "regions", "form"), product(["adain", "wct", "none"], [False, True], ["slices", "pre_pool"]))
def test_every_combination_takes_steps(matching: str, regions: bool, form: str) -> None:
    sites = ["encoder", "decoder"] if form == "slices" else ["encoder", "skips", "decoder"]
    settings: dict[str, Any] = {"matching": matching, "regions": regions and matching != "none", "sites": sites, "skips": form}
    stage = make_transfer_stage(**settings, norm="none" if form == "pre_pool" else "batch")
    optimizer: Any = stage.configure_optimizers()
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = stage.train().step(BATCH).losses["loss"]
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert stage.eval().step(BATCH).ab.isfinite().all()


@pytest.mark.parametrize(
    "settings",
    [
        {"matching": "wct", "sites": ["encoder", "decoder"]},
        {"precolor": "gray_encoder", "encoder.gray_weights": "gray"},
        {"precolor": "eccv16", "precolor_weights": "eccv16"},
        {"precolor": "siggraph17", "precolor_weights": "siggraph17", "regions": True, "feather": 2},
        {"encoder.weights": "encoder", "encoder.padding": "reflect", "loss.network_weights": "encoder"},
        {**AUTHORS, "decoder_weights": "decoder"},
    ],
)
def test_a_resumed_stage_goes_on_as_it_was(files: dict[str, str], settings: dict[str, Any], tmp_path: Path) -> None:
    stage = make(files, settings)
    path = save_checkpoint(stage, tmp_path / "own.ckpt")
    torch.manual_seed(77)
    resumed = make_stage(stage.config, read_checkpoint(path, "resume", ("transfer",)))
    resumed.load_state_dict(torch.load(path, weights_only=True)["state_dict"])
    assert resumed.networks() == stage.networks()
    assert not differ(train_once(resumed, BATCH), train_once(stage, BATCH))


def test_settings_without_effect_are_named() -> None:
    config = TransferConfig(matching="none", alpha=0.5, feather=3, precolor_weights="x.pth", encoder=EncoderConfig(gray_weights="y.pth"))
    assert config.ignored() == {
        "alpha": "stage.matching=none",
        "feather": "stage.matching=none",
        "precolor_weights": "stage.precolor=truth",
        "encoder.gray_weights": "stage.precolor=truth",
    }
    assert TransferConfig().ignored() == {}
    assert TransferConfig(feather=3).ignored() == {"feather": "stage.regions=false"}


def test_a_precolorizer_never_trains(files: dict[str, str]) -> None:
    stage = make(files, {"precolor": "siggraph17", "precolor_weights": "siggraph17"})
    before = {name: tensor.clone() for name, tensor in stage.precolorizer.state_dict().items()}
    train_once(stage, BATCH)
    assert not stage.precolorizer.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in stage.precolorizer.state_dict().items())
    assert all(parameter.grad is None for parameter in stage.precolorizer.parameters())


def test_regions_without_label_maps_are_refused() -> None:
    with pytest.raises(ValueError, match=r"stage\.regions=true: the data has no label maps; choose them with data\.label_maps"):
        make_transfer_stage(regions=True).step(make_batch(2, 32))
