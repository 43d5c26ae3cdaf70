"""Every colorizer network takes real steps through train.py's own main function, and resumes exactly."""

import math
from pathlib import Path

import pytest
import torch
from PIL import Image

from datamodules import make_data_module
from lightning_modules.config import ColorizerConfig
from stylecolor.ab_bins import bin_prior, gamut_bins, rebalancing_weights
from stylecolor.choices import COLORIZER_NETWORKS
from stylecolor.colorizers import NETWORKS, load_colorizer, make_colorizer
from tests.training.runs import (
    assert_equal_training,
    last_checkpoint,
    only,
    refusal,
    rows,
    run_command,
    run_main,
    tiny,
)
from tests.training.test_composition import experiment

NUMBERS = {
    "siggraph17": ("loss", "huber"),
    "siggraph17_global": ("loss", "huber"),
    "eccv16": ("loss", "cross_entropy", "accuracy"),
}
POINTS = tuple(f"val/psnr_points/{points}" for points in (0, 1, 10, 100, 1000, "all"))
EVALUATED = {"siggraph17": POINTS, "siggraph17_global": ("val/psnr_global", *POINTS), "eccv16": ()}


@pytest.mark.parametrize("network", COLORIZER_NETWORKS)
def test_every_network_trains_and_shows_its_own_numbers(network: str, tmp_path: Path) -> None:
    arguments = tiny("colorizer", f"stage.network={network}", "trainer.max_steps=3")
    value = run_main(tmp_path, *arguments, "hydra.run.dir=run")
    directory = tmp_path / "run"
    steps = rows(directory, *(f"train/{name}" for name in NUMBERS[network]))
    (validation,) = rows(directory, *(f"val/{name}" for name in NUMBERS[network]), "val/psnr", *EVALUATED[network])
    assert len(steps) == 3
    for row in (*steps, validation):
        assert all(math.isfinite(float(number)) for number in row)
    assert value == pytest.approx(float(rows(directory, "val/psnr")[0][1]))
    assert all(tensor.isfinite().all() for tensor in last_checkpoint(directory)["state_dict"].values())
    curves = list(directory.glob("samples/psnr_points_*"))
    assert bool(curves) == (network != "eccv16")
    for curve in curves:
        with Image.open(curve) as picture:
            picture.load()
            assert min(picture.size) > 200

    # what the run leaves is read by the library, and by the next run
    path = directory / "checkpoints/best.ckpt"
    colorizer = load_colorizer(str(path), "checkpoint")
    assert type(colorizer) is NETWORKS[network]
    run_main(tmp_path, *arguments, "stage.optimizer.lr=1e-30", "trainer.max_steps=1", f"stage.weights={path}", "hydra.run.dir=next")
    weights = last_checkpoint(tmp_path / "next")["state_dict"]
    for name, parameter in colorizer.named_parameters():
        torch.testing.assert_close(weights[f"colorizer.{name}"], parameter.detach(), rtol=1e-6, atol=1e-12)


RESUMED = {
    "eccv16": ["stage.network=eccv16", "stage.optimizer.schedule=step", "stage.optimizer.step_epochs=1"],
    "siggraph17_global": ["stage.network=siggraph17_global", "stage.distribution=true"],
    "blocks": [
        "stage.freeze=[1,2]",
        "stage.lr_factors={3: 0.1, out: 2}",
        "stage.empty_epochs=1",
        "stage.hints=all",
        "stage.optimizer.schedule=milestones",
        "stage.optimizer.milestones=[1,2]",
    ],
}


@pytest.mark.parametrize("settings", RESUMED)
def test_stopped_and_resumed_equals_uninterrupted(settings: str, tmp_path: Path) -> None:
    arguments = [*tiny("colorizer", "trainer.max_steps=8"), *RESUMED[settings], "trainer.limit_train_batches=3", "trainer.max_epochs=3"]
    names = [f"train/{name}" for name in NUMBERS.get(settings, ("loss",))]
    run_main(tmp_path, *arguments, "hydra.run.dir=whole")
    # in mid-epoch, and at the end of the first epoch
    for steps in (2, 3):
        run_main(tmp_path, *arguments, f"trainer.max_steps={steps}", f"hydra.run.dir=parts{steps}")
        run_main(tmp_path, f"resume=parts{steps}", "trainer.max_steps=8")
        assert_equal_training(last_checkpoint(tmp_path / "whole"), last_checkpoint(tmp_path / f"parts{steps}"))
        assert rows(tmp_path / "whole", *names, "learning_rate") == rows(tmp_path / f"parts{steps}", *names, "learning_rate")


def test_the_settings_of_blocks_cannot_change_in_a_run_that_goes_on(tmp_path: Path) -> None:
    run_main(tmp_path, *tiny("colorizer", "trainer.max_steps=1"), "stage.freeze=[1]", "hydra.run.dir=run")
    assert "stage.freeze" in refusal(tmp_path, "resume=run", "trainer.max_steps=2", "stage.freeze=[2]")
    run_main(tmp_path, "resume=run", "trainer.max_steps=2", "stage.freeze=[1]")
    assert last_checkpoint(tmp_path / "run")["global_step"] == 2


def test_the_classes_are_weighed_by_the_colours_of_the_training_pictures(tmp_path: Path) -> None:
    arguments = tiny("colorizer", "stage.network=eccv16", "trainer.max_steps=1")
    run_main(tmp_path, *arguments, "stage.rebalancing=0.2", "hydra.run.dir=run")
    config = experiment(*arguments)
    data = make_data_module(config.data, config.seed)
    data.prepare_data()
    data.setup("fit")
    expected = rebalancing_weights(bin_prior(torch.from_numpy(data.ab_histogram()), gamut_bins()), 0.2)
    assert expected.std() > 0.1
    found = last_checkpoint(tmp_path / "run")["state_dict"]["objective.cross_entropy.weights"]
    torch.testing.assert_close(found, expected)
    run_main(tmp_path, *arguments, "stage.rebalancing=1", "hydra.run.dir=plain")
    assert (last_checkpoint(tmp_path / "plain")["state_dict"]["objective.cross_entropy.weights"] == 1).all()


@pytest.mark.slow
def test_two_processes_give_the_classification_gradients_of_one_with_twice_the_batch(tmp_path: Path, coco_root: Path) -> None:
    """With BatchNorm frozen; the class weights, which the first process finds, have to reach the other one."""
    common = [*tiny("colorizer", "data=coco", "trainer.max_steps=1", "trainer.limit_val_batches=1.0"), f"data.root={coco_root}"]
    common += ["stage.network=eccv16", "stage.freeze=[1,2,3,4,5,6,7]"]
    completed = run_command(tmp_path, *common, "trainer.devices=2", "data.batch_size=2", "hydra.run.dir=two")
    assert completed.returncode == 0, completed.stderr
    run_main(tmp_path, *common, "data.batch_size=4", "hydra.run.dir=one")
    one, two = (last_checkpoint(tmp_path / name) for name in ("one", "two"))
    for index, state in one["optimizer_states"][0]["state"].items():
        other = two["optimizer_states"][0]["state"][index]["exp_avg"]
        assert (other - state["exp_avg"]).abs().max() <= 1e-5 * state["exp_avg"].abs().max()
    (row,), (other_row,) = (rows(tmp_path / name, "val/loss", "val/accuracy", "val/psnr") for name in ("one", "two"))
    assert [float(value) for value in other_row] == pytest.approx([float(value) for value in row], rel=1e-3)


@pytest.mark.slow
def test_two_processes_measure_the_points_of_one(tmp_path: Path, coco_root: Path) -> None:
    common = [*tiny("colorizer", "data=coco", "trainer.max_steps=1", "trainer.limit_val_batches=1.0"), f"data.root={coco_root}"]
    # BatchNorm sees other batches in two processes, so it is frozen
    common += ["stage.revealed_pictures=5", "stage.freeze=[1,2,3,4,5,6,7,8,9]", "stage.hints=all", "stage.empty_probability=0"]
    completed = run_command(tmp_path, *common, "trainer.devices=2", "data.batch_size=2", "hydra.run.dir=two")
    assert completed.returncode == 0, completed.stderr
    run_main(tmp_path, *common, "data.batch_size=4", "hydra.run.dir=one")
    (row,), (other_row,) = (rows(tmp_path / name, *POINTS) for name in ("one", "two"))
    assert [float(value) for value in other_row] == pytest.approx([float(value) for value in row], rel=1e-4)


def test_the_paper_experiment_trains_the_colorizer_in_stages(tmp_path: Path) -> None:
    composed = experiment("experiment=paper", "stage=colorizer")
    assert isinstance(composed.stage, ColorizerConfig)
    assert (composed.data.name, composed.stage.weights, composed.stage.pretrained_blocks) == ("imagenet", "siggraph17", [1, 2, 3, 4])
    optimizer = composed.stage.optimizer
    assert (optimizer.lr, optimizer.schedule, optimizer.milestones, optimizer.gamma) == (1e-5, "milestones", [10], 0.1)
    assert (composed.stage.empty_epochs, composed.trainer.max_epochs) == (5, 20)
    assert experiment("experiment=paper", "stage=colorizer", "data=coco").data.name == "coco"
    assert experiment("experiment=paper", "stage=transfer").data.name == "coco"

    torch.manual_seed(4)
    published = make_colorizer("siggraph17", {"width": 0.125, "distribution": True}).state_dict()
    torch.save(published, tmp_path / "siggraph17.pth")
    settings = ["experiment=paper", f"stage.weights={tmp_path / 'siggraph17.pth'}", "stage.optimizer.lr=1e-30", "hydra.run.dir=run"]
    run_main(tmp_path, *tiny("colorizer", "trainer.max_steps=1"), *settings)
    assert "is ignored by" not in (tmp_path / "run/train.log").read_text()
    weights = last_checkpoint(tmp_path / "run")["state_dict"]
    for name in ("model1.0.weight", "model4.4.weight"):
        torch.testing.assert_close(weights[f"colorizer.{name}"], published[name], rtol=1e-6, atol=1e-12)
    assert not torch.allclose(weights["colorizer.model5.0.weight"], published["model5.0.weight"])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["stage.network=sigraph17"], "did you mean siggraph17"),
        (["stage.freeze=[11]"], "11 is no block"),
        (["stage.freeze=1"], "stage.freeze=1"),
        (["stage.lr_factors={1: 0}"], "stage.freeze=[1]"),
        (["stage.lr_factors={1: fast}"], "block 1"),
        (["stage.revealed_points=[0,some]"], "stage.revealed_points"),
        (["stage.weights=eccv16"], "stage.network=siggraph17"),
        (["stage.optimizer.schedule=milestones"], "stage.optimizer.milestones"),
        (["stage.optimizer.milestones=[a]"], "stage.optimizer.milestones"),
        (["stage.temperature=cold"], "stage.temperature"),
    ],
    ids=str,
)
def test_refuses_in_one_line(arguments: list[str], named: str, tmp_path: Path) -> None:
    assert named in refusal(tmp_path, *tiny("colorizer"), *arguments)
    assert not list(tmp_path.glob("**/config.yaml"))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(make_colorizer("eccv16", {"width": 0.125}).state_dict(), tmp_path / "eccv16.pth")
    message = refusal(tmp_path, *tiny("colorizer"), f"stage.weights={tmp_path / 'eccv16.pth'}")
    assert "holds the network eccv16" in message
    assert "stage.network=siggraph17" in message


def test_the_curve_is_on_the_dashboards_too(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run_main(tmp_path, *tiny("colorizer", "logger=tensorboard", "trainer.max_steps=1"), "hydra.run.dir=run")
    events = EventAccumulator(str(only(tmp_path / "run", "tensorboard/events.*")))
    events.Reload()
    assert {"samples", "psnr_points"} <= set(events.Tags()["images"])
