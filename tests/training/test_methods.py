"""Every matching, site, pre-colorization and pipeline takes real steps through train.py's own main function, and so do the ablations."""

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from lightning_modules.config import JointConfig, TransferConfig
from stylecolor.checkpoint import read_checkpoint
from stylecolor.pipeline import ExemplarNetworks
from stylecolor.regions import LabelMap
from stylecolor.transfer import TransferNet
from tests.training.runs import LOSSES, from_trained, last_checkpoint, only, rows, run_command, run_main, tiny
from tests.training.test_composition import experiment
from tests.training.test_stages import initial_weights
from tests.training.test_sweeps import FakeProcess
from training import sweep_jobs

AUTHORS_DECODER = ["stage.skips=pre_pool", "stage.norm=none", "stage.padding=reflect"]
ALL_SITES = ["stage.sites=[encoder,skips,decoder]", *AUTHORS_DECODER]
REGIONS = ["stage.regions=true", "data.label_maps=instances", "data.references=self"]
TRANSFERS = {
    "adain at the bottleneck": ["stage.matching=adain"],
    "wct at the bottleneck": ["stage.matching=wct"],
    "none": ["stage.matching=none"],
    "adain in the encoder": ["stage.matching=adain", "stage.sites=[encoder]"],
    "wct in the encoder": ["stage.matching=wct", "stage.sites=[encoder]"],
    "adain in the decoder": ["stage.matching=adain", "stage.sites=[decoder]"],
    "wct in the decoder": ["stage.matching=wct", "stage.sites=[decoder]"],
    "adain at all sites": ["stage.matching=adain", *ALL_SITES],
    "wct at all sites": ["stage.matching=wct", *ALL_SITES],
    "none with the authors' decoder": ["stage.matching=none", *AUTHORS_DECODER],
    "adain by region": ["stage.matching=adain", *REGIONS, "stage.feather=2"],
    "wct by region": ["stage.matching=wct", *REGIONS, "stage.feather=2"],
    "grey target": ["stage.precolor=gray"],
    "grey encoder": ["stage.precolor=gray_encoder"],
    "eccv16": ["stage.precolor=eccv16"],
}
BOTH = {"transfer.decoder", "colorizer"}
JOINTS = {
    "wct": (["stage.matching=wct"], BOTH),
    "grey target": (["stage.precolor=gray"], BOTH),
    "grey encoder": (["stage.precolor=gray_encoder"], BOTH),
    "eccv16": (["stage.precolor=eccv16"], BOTH),
    "by region": ([*REGIONS, "stage.feather=2"], BOTH),
    "transfer alone": (["stage.pipeline=transfer"], {"transfer.decoder"}),
    "pre-colorization alone": (["stage.pipeline=precolor"], {"colorizer"}),
}
ABLATIONS: dict[str, tuple[str, str, list[Any]]] = {
    "ablation_sites": ("transfer", "sites", [["encoder"], ["decoder"], ["encoder", "decoder"], ["encoder", "skips", "decoder"]]),
    "ablation_precolor": ("joint", "precolor", ["network", "eccv16", "gray", "gray_encoder"]),
    "ablation_pipeline": ("joint", "pipeline", ["precolor", "transfer", "both"]),
}


@pytest.fixture(scope="module")
def eccv16(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The setting that pre-colorizes with a tiny eccv16 network, trained for two steps."""
    directory = tmp_path_factory.mktemp("eccv16")
    run_main(directory, *tiny("colorizer", "stage.network=eccv16"), "hydra.run.dir=run")
    return f"stage.precolor_weights={directory / 'run/checkpoints/best.ckpt'}"


@pytest.fixture(scope="module")
def pictures(cache_directory: Path) -> torch.Tensor:
    """Two photographs of the sample data set, sRGB in [0, 1], shape (2, 3, 32, 32)."""
    opened = []
    for path in sorted(cache_directory.glob("sample-*/**/*.jpg"))[:2]:
        with Image.open(path) as picture:
            opened.append(np.asarray(picture.convert("RGB").resize((32, 32))))
    return torch.from_numpy(np.stack(opened)).permute(0, 3, 1, 2).float() / 255


def label_maps() -> torch.Tensor:
    """Two halves, and a frame without a label."""
    labels = torch.full((1, 32, 32), 255, dtype=torch.uint8)
    labels[:, 4:-4, 4:16] = 1
    labels[:, 4:-4, 16:-4] = 2
    return labels


def assert_finite_losses(directory: Path, stage: str) -> None:
    names = LOSSES[stage]
    steps = rows(directory, *(f"train/{name}" for name in names))
    validations = rows(directory, *(f"val/{name}" for name in names), "val/psnr")
    assert (len(steps), len(validations)) == (2, 1)
    assert all(math.isfinite(float(value)) for row in steps + validations for value in row)


def changed_parts(directory: Path, stage: str, arguments: list[str]) -> set[str]:
    """Which parts of the networks have other weights than the run started from."""
    weights, start = last_checkpoint(directory)["state_dict"], initial_weights(stage, arguments)
    assert weights.keys() == start.keys()
    assert all(tensor.isfinite().all() for tensor in weights.values())
    changed = [name for name in start if not torch.equal(weights[name], start[name])]
    return {".".join(name.split(".")[: 2 if name.startswith("transfer.") else 1]) for name in changed}


def assert_a_picture(result: torch.Tensor) -> None:
    assert result.shape == (1, 3, 32, 32)
    assert result.isfinite().all()
    assert result.min() >= 0
    assert result.max() <= 1
    assert result.std() > 0


def run_transfer(checkpoint_file: Path, pictures: torch.Tensor) -> TransferNet:
    """The transfer sub-net of a checkpoint, after it has stylized a picture, and another by region."""
    checkpoint = read_checkpoint(checkpoint_file, "checkpoint", ("transfer",))
    network = TransferNet.from_settings(checkpoint.networks["transfer"])
    network.load_state_dict(checkpoint.network_state("transfer"))
    content, reference = pictures.split(1)
    content = content[:, :1] if checkpoint.networks["transfer"]["gray_encoder"] else content
    labels = LabelMap.read(label_maps())
    with torch.inference_mode():
        assert_a_picture(network.eval()(content, reference))
        assert_a_picture(network(content, reference, labels, labels, feather=2))
    return network


def run_pipeline(checkpoint_file: Path, pictures: torch.Tensor) -> ExemplarNetworks:
    """The pipeline of a checkpoint, after it has colorized a picture, and another by region."""
    colorizer = ExemplarNetworks.from_checkpoint(checkpoint_file)
    target, reference = pictures.split(1)
    assert_a_picture(colorizer.colorize(target, reference))
    assert_a_picture(colorizer.colorize(target, reference, target_labels=label_maps(), reference_labels=label_maps()))
    return colorizer


@pytest.mark.parametrize("method", TRANSFERS)
def test_every_method_trains_a_decoder_that_the_library_runs(method: str, tmp_path: Path, pictures: torch.Tensor, eccv16: str) -> None:
    arguments = tiny("transfer", *TRANSFERS[method], *([eccv16] if method == "eccv16" else []))
    run_main(tmp_path, *arguments, "hydra.run.dir=run")
    directory = tmp_path / "run"
    assert_finite_losses(directory, "transfer")
    assert changed_parts(directory, "transfer", arguments) == {"transfer.decoder"}
    assert "is ignored by" not in (directory / "train.log").read_text()
    network = run_transfer(directory / "checkpoints/best.ckpt", pictures)
    config = experiment(*arguments).stage
    assert isinstance(config, TransferConfig)
    for name in ("matching", "sites", "alpha", "skips", "norm", "padding"):
        assert network.settings[name] == getattr(config, name)
    assert network.settings["gray_encoder"] == (config.precolor == "gray_encoder")


@pytest.mark.parametrize("method", JOINTS)
def test_every_method_tunes_a_pipeline_that_the_library_runs(
    method: str, tmp_path: Path, pictures: torch.Tensor, trained: Path, eccv16: str
) -> None:
    settings, trains = JOINTS[method]
    arguments = tiny("joint", *from_trained(trained), *settings, *([eccv16] if method == "eccv16" else []))
    run_main(tmp_path, *arguments, "hydra.run.dir=run")
    directory = tmp_path / "run"
    assert_finite_losses(directory, "joint")
    assert changed_parts(directory, "joint", arguments) == trains
    colorizer = run_pipeline(directory / "checkpoints/best.ckpt", pictures)
    config = experiment(*arguments).stage
    assert isinstance(config, JointConfig)
    assert (colorizer.pipeline, colorizer.feather) == (config.pipeline, config.feather)
    assert colorizer.transfer is not None
    assert colorizer.transfer.settings["matching"] == (config.matching or "adain")
    assert colorizer.transfer.settings["gray_encoder"] == (config.precolor == "gray_encoder")
    assert (colorizer.precolorizer is not None) == (config.precolor == "eccv16")


def test_matching_region_and_precolor_reach_the_first_step(tmp_path: Path, eccv16: str) -> None:
    """From the same weights and pictures, each method has a loss of its own."""
    common = ["data.label_maps=instances", "data.references=self", "trainer.max_steps=1"]
    methods = {
        "adain": [],
        "wct": ["stage.matching=wct"],
        "none": ["stage.matching=none"],
        "regions": ["stage.regions=true"],
        "feather": ["stage.regions=true", "stage.feather=2"],
        "gray": ["stage.precolor=gray"],
        "eccv16": ["stage.precolor=eccv16", eccv16],
    }
    losses = {}
    for name, settings in methods.items():
        run_main(tmp_path, *tiny("transfer", *common, *settings), f"hydra.run.dir={name}")
        ((_, losses[name]),) = rows(tmp_path / name, "train/loss")
    assert len(set(losses.values())) == len(methods), losses


def ablation(name: str, stage: str, *arguments: str) -> list[str]:
    """The command line of an ablation, which chooses its stage itself."""
    return [f"experiment={name}", *(argument for argument in tiny(stage, *arguments) if not argument.startswith("stage="))]


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_runs_a_job_for_every_variant(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage, setting, values = ABLATIONS[name]
    monkeypatch.setattr(FakeProcess, "started", [], raising=False)
    monkeypatch.setattr(sweep_jobs.subprocess, "Popen", FakeProcess)
    run_main(tmp_path, *ablation(name, stage))
    found = []
    for command, _ in FakeProcess.started:
        composed = experiment(*(argument for argument in command[2:] if not argument.startswith("hydra.")))
        assert composed.stage.name == stage
        found.append(getattr(composed.stage, setting))
        if isinstance(composed.stage, TransferConfig):
            assert (composed.stage.skips, composed.stage.norm, composed.stage.padding) == ("pre_pool", "none", "reflect")
    assert found == values


@pytest.mark.slow
@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_runs_to_its_end(name: str, tmp_path: Path, pictures: torch.Tensor, trained: Path, eccv16: str) -> None:
    stage, setting, values = ABLATIONS[name]
    # the joint stage takes the newest checkpoints
    shutil.copytree(trained / "outputs", tmp_path / "outputs")
    arguments = ablation(name, stage, *([eccv16] if setting == "precolor" else []))
    completed = run_command(tmp_path, *arguments, timeout=400)
    assert completed.returncode == 0, completed.stderr
    sweep = only(tmp_path, f"outputs/{stage}/sweeps/*")
    assert {path.name for path in sweep.iterdir() if path.is_dir()} == {str(number) for number in range(len(values))}
    for number, value in enumerate(values):
        directory = sweep / str(number)
        assert yaml.safe_load((directory / "config.yaml").read_text())["stage"][setting] == value
        assert last_checkpoint(directory)["global_step"] == 2
        assert_finite_losses(directory, stage)
        run = run_transfer if stage == "transfer" else run_pipeline
        run(directory / "checkpoints/best.ckpt", pictures)
