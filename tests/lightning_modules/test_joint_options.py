"""Every setting of stage=joint changes what a training step computes."""

import dataclasses
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lightning_modules import make_stage
from lightning_modules.config import JointConfig
from stylecolor.checkpoint import read_checkpoint
from tests.stages import WIDTH, differ, make_batch, make_colorizer_stage, make_transfer_stage, save_checkpoint, train_once

BATCH = make_batch(2, 32, labelled=True)
ALL = {"hints": "all", "empty_probability": 0.0}
"""Every pixel is shown, so that all that changes the transfer changes the step."""

CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    # the option, what both stages have, what the second one has
    ("hints", ALL, {"hints": "patches"}),
    ("hints", ALL, {"hints": "points"}),
    ("mask_probability", {"mask_probability": 0.5}, {"mask_probability": 0.9}),
    ("hint_points", {"hints": "points"}, {"hint_points": 200}),
    ("empty_probability", ALL, {"empty_probability": 0.9999}),
    ("lambda_", ALL, {"lambda_": 1.0}),
    ("delta", ALL, {"delta": 5.0}),
    ("regions", ALL, {"regions": True}),
    ("feather", {**ALL, "regions": True}, {"feather": 3}),
    ("precolor", ALL, {"precolor": "gray"}),
    ("precolor", {**ALL, "precolor": "gray"}, {"precolor": "gray_encoder"}),
    ("precolor", ALL, {"precolor": "siggraph17", "precolor_weights": "other"}),
    ("precolor", ALL, {"precolor": "eccv16", "precolor_weights": "eccv16"}),
    ("precolor_weights", {**ALL, "precolor": "siggraph17", "precolor_weights": "colorizer"}, {"precolor_weights": "other"}),
    ("transfer_checkpoint", ALL, {"transfer_checkpoint": "other_transfer"}),
    ("colorizer_checkpoint", ALL, {"colorizer_checkpoint": "other"}),
    ("pipeline", ALL, {"pipeline": "transfer"}),
    ("pipeline", ALL, {"pipeline": "precolor"}),
    ("matching", ALL, {"matching": "wct"}),
    ("matching", ALL, {"matching": "none"}),
    ("sites", ALL, {"sites": ["encoder"]}),
    ("alpha", ALL, {"alpha": 0.3}),
]
ELSEWHERE = {"name", "width", "channels_last", "weights_mirror", "optimizer"}
"""The width is the checkpoints', the memory order changes no result, the mirror is asked for published weights alone, and the optimiser
comes after the step."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Checkpoints by name."""
    directory = tmp_path_factory.mktemp("checkpoints")
    makers = {
        "transfer": make_transfer_stage,
        "other_transfer": lambda: make_transfer_stage(norm="none"),
        "colorizer": make_colorizer_stage,
        "other": make_colorizer_stage,
        "eccv16": lambda: make_colorizer_stage(network="eccv16"),
    }
    files = {}
    for index, (name, maker) in enumerate(makers.items()):
        stage = maker()
        torch.manual_seed(index)
        for parameter in stage.parameters():
            if parameter.ndim == 4 and parameter.requires_grad:
                # colours that are told apart, though nothing is trained
                nn.init.normal_(parameter, std=(2 / parameter[0].numel()) ** 0.5)
        files[name] = str(save_checkpoint(stage, directory / f"{name}.ckpt"))
    return files


def make(files: dict[str, str], settings: dict[str, Any]) -> Any:
    given: dict[str, Any] = {"width": WIDTH, "transfer_checkpoint": "transfer", "colorizer_checkpoint": "colorizer", **settings}
    paths = ("transfer_checkpoint", "colorizer_checkpoint", "precolor_weights")
    named: dict[str, Any] = {name: files[value] if name in paths else value for name, value in given.items()}
    return make_stage(JointConfig(**named))


@pytest.mark.parametrize(("option", "both", "changed"), CASES, ids=[f"{option}-{index}" for index, (option, _, _) in enumerate(CASES)])
def test_every_option_changes_the_step(files: dict[str, str], option: str, both: dict[str, Any], changed: dict[str, Any]) -> None:
    results = [train_once(make(files, settings), BATCH) for settings in (both, both, both | changed)]
    assert torch.equal(results[0], results[1])
    assert results[2].isfinite().all()
    assert differ(results[0], results[2])


def test_no_option_is_left_out() -> None:
    assert {field.name for field in dataclasses.fields(JointConfig)} - ELSEWHERE == {option for option, _, _ in CASES}


@pytest.mark.parametrize(("matching", "regions", "pipeline"), product(["adain", "wct"], [False, True], ["both", "transfer", "precolor"]))
def test_every_combination_trains_what_has_a_part_in_the_result(files: dict[str, str], matching: str, regions: bool, pipeline: str) -> None:
    settings = {"regions": True, "feather": 2} if regions else {}
    stage = make(files, {**ALL, **settings, "matching": matching, "sites": ["encoder", "decoder"], "pipeline": pipeline})
    before = {name: parameter.clone() for name, parameter in stage.named_parameters()}
    optimizer: Any = stage.configure_optimizers()
    for _ in range(2):
        optimizer.zero_grad()
        loss = stage.train().step(BATCH).losses["loss"]
        assert loss.isfinite()
        loss.backward()
        optimizer.step()
    parts = {
        name.split(".")[0] + "." + name.split(".")[1] if name.startswith("transfer") else name.split(".")[0]
        for name, parameter in stage.named_parameters()
        if not torch.equal(parameter, before[name])
    }
    expected = {"both": {"transfer.decoder", "colorizer"}, "transfer": {"transfer.decoder"}, "precolor": {"colorizer"}}
    assert parts == expected[pipeline]
    trainable = {name for name, parameter in stage.named_parameters() if parameter.requires_grad}
    assert {part for part in ("transfer.decoder", "colorizer") if any(name.startswith(part) for name in trainable)} == parts
    assert stage.eval().step(BATCH).ab.isfinite().all()


@pytest.mark.parametrize(
    "settings",
    [
        {"matching": "wct", "sites": ["decoder"], "alpha": 0.5},
        {"regions": True, "feather": 2, "pipeline": "transfer"},
        {"precolor": "gray_encoder"},
        {"precolor": "eccv16", "precolor_weights": "eccv16"},
        {"precolor": "siggraph17", "precolor_weights": "other"},
    ],
)
def test_a_resumed_stage_goes_on_as_it_was(files: dict[str, str], settings: dict[str, Any], tmp_path: Path) -> None:
    stage = make(files, {**ALL, **settings})
    path = save_checkpoint(stage, tmp_path / "own.ckpt")
    torch.manual_seed(77)
    checkpoint = read_checkpoint(path, "resume", ("joint",))
    # what the run started from may be gone
    gone = dataclasses.replace(stage.config, transfer_checkpoint="gone.ckpt", colorizer_checkpoint="gone.ckpt")
    if gone.precolor_weights is not None:
        gone = dataclasses.replace(gone, precolor_weights="gone.ckpt")
    resumed = make_stage(gone, checkpoint)
    resumed.load_state_dict(torch.load(path, weights_only=True)["state_dict"])
    assert resumed.networks() == stage.networks()
    assert not differ(train_once(resumed, BATCH), train_once(stage, BATCH))


def test_settings_without_effect_are_named(files: dict[str, str]) -> None:
    del files
    assert JointConfig().ignored() == {}
    assert JointConfig(matching="none", alpha=0.5, precolor_weights="x").ignored() == {
        "alpha": "stage.matching=none",
        "precolor_weights": "stage.precolor=network",
    }
    ignored = JointConfig(pipeline="precolor", matching="wct", regions=True, feather=1, lambda_=3.0, precolor="gray").ignored()
    assert set(ignored) == {"matching", "regions", "feather", "lambda_", "precolor"}
    assert set(ignored.values()) == {"stage.pipeline=precolor"}
    ignored = JointConfig(pipeline="transfer", hints="points", hint_points=3, empty_probability=0.5).ignored()
    assert ignored == dict.fromkeys(["hints", "hint_points", "empty_probability"], "stage.pipeline=transfer")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pipeline": "transfr"}, r"stage\.pipeline=transfr .*did you mean transfer"),
        ({"precolor": "grey"}, r"stage\.precolor=grey .*did you mean gray"),
        ({"precolor": "truth"}, r"stage\.precolor=truth is not one of"),
        ({"matching": "wtc"}, r"stage\.matching=wtc .*did you mean wct"),
        ({"alpha": 1.5}, r"stage\.alpha=1\.5"),
        ({"feather": -1}, r"stage\.feather=-1"),
        ({"hints": "none"}, r"stage\.hints=none: .*use stage\.pipeline=precolor"),
        ({"mask_probability": 1.0}, r"stage\.mask_probability=1: .*use stage\.pipeline=precolor"),
        ({"hints": "points", "hint_points": 0}, r"stage\.hint_points=0: .*use stage\.pipeline=precolor"),
        ({"empty_probability": 1.0}, r"stage\.empty_probability=1: .*use stage\.pipeline=precolor"),
        ({"sites": ["encoder", "encoder"]}, "names a site twice"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        JointConfig(**settings)


def test_regions_without_label_maps_are_refused(files: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"stage\.regions=true: the data has no label maps"):
        make(files, {"regions": True}).step(make_batch(2, 32))
