"""Where the joint stage's two checkpoints come from."""

import os
import shutil
from pathlib import Path

import pytest
import torch

from stylecolor.colorizer import ColorizationNet
from tests.training.runs import last_checkpoint, refusal, run_main, tiny


@pytest.fixture
def outputs(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained runs, to add to."""
    shutil.copytree(trained / "outputs", tmp_path / "outputs")
    return tmp_path / "outputs"


def copy_run(run: Path, to: Path, seconds: int) -> Path:
    """The best.ckpt of a copy of a run, `seconds` later than now."""
    shutil.copytree(run, to)
    checkpoint = to / "checkpoints" / "best.ckpt"
    later = checkpoint.stat().st_mtime + seconds
    os.utime(checkpoint, (later, later))
    return checkpoint


def test_takes_the_newest_best_checkpoints_also_of_sweeps_and_logs_them(outputs: Path) -> None:
    copy_run(outputs / "transfer/first", outputs / "transfer/older", -60)
    transfer = copy_run(outputs / "transfer/first", outputs / "transfer/sweeps/2030-01-01_00-00-00/1", 60)
    colorizer = outputs / "colorizer/first/checkpoints/best.ckpt"
    run_main(outputs.parent, *tiny("joint"), "hydra.run.dir=run")
    log = (outputs.parent / "run/train.log").read_text()
    for name, path in (("transfer", transfer), ("colorizer", colorizer)):
        assert f"stage.{name}_checkpoint: using the newest, {path.relative_to(outputs.parent)}" in log
        assert f"{name}_checkpoint: {path.relative_to(outputs.parent)}" in (outputs.parent / "run/config.yaml").read_text()


def test_a_newer_colorizer_that_takes_no_hints_is_passed_over(outputs: Path) -> None:
    run_main(outputs.parent, *tiny("colorizer", "stage.network=eccv16"), "hydra.run.dir=outputs/colorizer/classifier")
    newer = outputs / "colorizer/classifier/checkpoints/best.ckpt"
    later = newer.stat().st_mtime + 60
    os.utime(newer, (later, later))
    run_main(outputs.parent, *tiny("joint"), "hydra.run.dir=run")
    log = (outputs.parent / "run/train.log").read_text()
    assert "stage.colorizer_checkpoint: using the newest, outputs/colorizer/first/checkpoints/best.ckpt" in log


@pytest.mark.parametrize("missing", ["transfer", "colorizer"])
def test_with_none_it_names_the_two_commands_to_run_first(missing: str, outputs: Path) -> None:
    shutil.rmtree(outputs / missing)
    message = refusal(outputs.parent, *tiny("joint"))
    assert "python train.py stage=transfer" in message
    assert "python train.py stage=colorizer" in message
    assert not (outputs / "joint").exists() or len(list((outputs / "joint").glob("*/config.yaml"))) == 1


def test_explicit_checkpoints_are_taken_instead(outputs: Path) -> None:
    transfer = copy_run(outputs / "transfer/first", outputs.parent / "elsewhere", -60)
    run_main(outputs.parent, *tiny("joint"), f"stage.transfer_checkpoint={transfer}", "hydra.run.dir=run")
    assert f"transfer_checkpoint: {transfer}" in (outputs.parent / "run/config.yaml").read_text()
    assert "transfer_checkpoint: using" not in (outputs.parent / "run/train.log").read_text()


def test_a_checkpoint_in_any_directory_can_be_named(outputs: Path) -> None:
    """Hydra's grammar has its own view of some characters."""
    renamed = outputs.parent / """it's "a"=b, [c] (d) {e} $HOME; ä"""
    renamed.mkdir()
    (outputs / "transfer").rename(renamed / "transfer")
    checkpoint = renamed / "transfer/first/checkpoints/best.ckpt"
    quoted = str(checkpoint).replace("'", "\\'")
    run_main(outputs.parent, *tiny("joint"), f"stage.transfer_checkpoint='{quoted}'", "hydra.run.dir=run")
    run_main(outputs.parent, "resume=run", "trainer.max_steps=3")
    assert last_checkpoint(outputs.parent / "run")["global_step"] == 3


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A file in the layout in which SIGGRAPH'17 is published: bare state dict, with the head for the colour distribution."""
    torch.manual_seed(3)
    state = ColorizationNet(0.125).state_dict()
    state["model_class.0.weight"] = torch.zeros(529, 32, 1, 1)
    state["model_class.0.bias"] = torch.zeros(529)
    torch.save(state, tmp_path / "siggraph17.pth")
    return tmp_path / "siggraph17.pth"


def test_the_joint_stage_starts_from_a_file_in_the_published_layout(published: Path, outputs: Path) -> None:
    arguments = [f"stage.colorizer_checkpoint={published}", "stage.optimizer.lr=1e-30", "trainer.max_steps=1", "hydra.run.dir=run"]
    run_main(outputs.parent, *tiny("joint"), *arguments)
    assert_starts_from(published, outputs.parent / "run")


def test_the_colorizer_stage_starts_from_a_file_in_the_published_layout(published: Path, tmp_path: Path) -> None:
    arguments = [f"stage.weights={published}", "stage.optimizer.lr=1e-30", "trainer.max_steps=1", "hydra.run.dir=run"]
    run_main(tmp_path, *tiny("colorizer"), *arguments)
    assert_starts_from(published, tmp_path / "run")


@pytest.mark.parametrize("stage", ["colorizer", "joint"])
def test_the_colorizer_stage_starts_from_a_checkpoint(stage: str, outputs: Path) -> None:
    path = outputs / stage / "first/checkpoints/best.ckpt"
    arguments = [f"stage.weights={path}", "stage.optimizer.lr=1e-30", "trainer.max_steps=1", "hydra.run.dir=run"]
    run_main(outputs.parent, *tiny("colorizer"), *arguments)
    state = torch.load(path, weights_only=True)["state_dict"]
    colorizer = outputs.parent / "colorizer.pth"
    torch.save({name.removeprefix("colorizer."): tensor for name, tensor in state.items() if name.startswith("colorizer.")}, colorizer)
    assert_starts_from(colorizer, outputs.parent / "run")


def assert_starts_from(file: Path, directory: Path) -> None:
    """A run that learns next to nothing still has a file's weights."""
    weights = last_checkpoint(directory)["state_dict"]
    for name, tensor in torch.load(file, weights_only=True).items():
        # BatchNorm's statistics move however small the learning rate is
        if not name.startswith("model_class.") and not name.endswith(("running_mean", "running_var", "num_batches_tracked")):
            torch.testing.assert_close(weights[f"colorizer.{name}"], tensor, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(
    ("setting", "stage", "expected"),
    [
        ("stage.transfer_checkpoint", "colorizer", "is a checkpoint of stage=colorizer, expected stage=transfer"),
        ("stage.colorizer_checkpoint", "transfer", "holds no colorizer"),
    ],
)
def test_a_checkpoint_of_another_stage_is_refused(setting: str, stage: str, expected: str, outputs: Path) -> None:
    path = outputs / stage / "first/checkpoints/best.ckpt"
    message = refusal(outputs.parent, *tiny("joint"), f"{setting}={path}")
    assert setting in message
    assert expected in message


def test_a_transfer_checkpoint_is_no_start_for_the_colorizer(outputs: Path) -> None:
    path = outputs / "transfer/first/checkpoints/best.ckpt"
    assert "holds no colorizer" in refusal(outputs.parent, *tiny("colorizer"), f"stage.weights={path}")


def test_a_colorizer_does_not_start_from_a_checkpoint_of_another_width(outputs: Path) -> None:
    arguments = [f"stage.weights={outputs}/colorizer/first/checkpoints/best.ckpt"]
    message = refusal(outputs.parent, *tiny("colorizer", "stage.width=0.25"), *arguments)
    assert "stage.width=0.25" in message
    assert "use the" in message


def test_the_joint_networks_are_as_wide_as_their_checkpoints(outputs: Path) -> None:
    run_main(outputs.parent, *tiny("colorizer", "stage.width=0.25"), "hydra.run.dir=wider")
    run_main(
        outputs.parent, *tiny("joint", "stage.width=0.5"), "stage.colorizer_checkpoint=wider/checkpoints/best.ckpt", "hydra.run.dir=run"
    )
    networks = last_checkpoint(outputs.parent / "run")["stylecolor"]["networks"]
    assert (networks["transfer"]["width"], networks["colorizer"]["width"]) == (0.125, 0.25)
    assert "stage.width=0.5 is ignored" in (outputs.parent / "run" / "train.log").read_text()
    run_main(outputs.parent, "resume=run", "trainer.max_steps=3")
    assert last_checkpoint(outputs.parent / "run")["global_step"] == 3


def test_the_transfer_checkpoints_sites_and_strength_can_be_changed(outputs: Path) -> None:
    run_main(outputs.parent, *tiny("joint"), "stage.sites=[bottleneck,decoder]", "stage.alpha=0.5", "hydra.run.dir=run")
    settings = last_checkpoint(outputs.parent / "run")["stylecolor"]["networks"]["transfer"]
    assert (sorted(settings["sites"]), settings["alpha"]) == (["bottleneck", "decoder"], 0.5)
